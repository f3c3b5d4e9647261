package engine_test

import (
	"slices"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

const corp = "https://id.example.org"

func (w *world) signIn(edit func(*engine.Identity)) (engine.SessionInfo, error) {
	who := &engine.Identity{Provider: "corp", Tenant: "first", Issuer: corp, Subject: "s-1", Email: "alice@example.org", Name: "Alice"}
	if edit != nil {
		edit(who)
	}
	return w.engine.SignIn(w.t.Context(), from("192.0.2.5"), who, hashOf())
}

func give(roles ...directory.Role) func(*engine.Identity) {
	return func(i *engine.Identity) { i.Roles = roles }
}

// managed is a provider whose mapping gives these roles.
func managed(roles ...directory.Role) func(*engine.Identity) {
	return func(i *engine.Identity) { i.Roles, i.Rules.Manages = roles, true }
}

func TestSignInIsNeverLinkedByName(t *testing.T) {
	w := newWorld(t)
	local := w.account(w.tenant, "alice@example.org", directory.Owner)
	if _, err := w.signIn(nil); fault.Of(err) != fault.Unauthenticated || w.audit.last.Load().Cause != "unknown-user" {
		t.Errorf("without role and invitation: %v", err)
	}
	info, err := w.signIn(give(directory.Viewer))
	if err != nil || info.User.ID == local.ID || info.User.Name != "Alice" || info.User.Has(directory.Owner) || info.Record.Provider != "corp" {
		t.Fatalf("signed in as %+v, %v", info.User, err)
	}
	again, err := w.signIn(func(i *engine.Identity) { i.Email, i.Name, i.Roles = "other@example.org", "Other", nil })
	if err != nil || again.User.ID != info.User.ID || !slices.Equal(again.User.Roles, info.User.Roles) {
		t.Errorf("again: %+v, %v", again.User, err)
	}
	for name, edit := range map[string]func(*engine.Identity){
		"another subject": func(i *engine.Identity) { i.Subject = "s-2" },
		"another issuer":  func(i *engine.Identity) { i.Issuer = "https://evil.example.org" },
		"no issuer":       func(i *engine.Identity) { i.Issuer, i.Roles = "", []directory.Role{directory.Viewer} },
		"another tenant":  func(i *engine.Identity) { i.Tenant, i.Roles = "nowhere", []directory.Role{directory.Viewer} },
	} {
		if _, err := w.signIn(edit); fault.Of(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.login(from("192.0.2.6"), "first", "Alice", goodPassword); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("with a password: %v", err)
	}
	boss := w.signedIn(local)
	if err := w.engine.ResetPassword(t.Context(), boss, info.User.ID, []byte(goodPassword)); fault.Of(err) != fault.Conflict {
		t.Errorf("a password for a user of a provider: %v", err)
	}
	if _, err := w.engine.SetUserDisabled(t.Context(), callOf(boss.Subject), info.User.ID, true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.signIn(give(directory.Viewer)); fault.Of(err) != fault.Unauthenticated || w.audit.last.Load().Cause != "disabled" {
		t.Errorf("disabled: %v", err)
	}
}

func TestSignInWithInvitation(t *testing.T) {
	w := newWorld(t)
	hash := hashOf()
	_, err := w.engine.CreateInvitation(t.Context(), w.as(directory.Owner), engine.InvitationSpec{Roles: []directory.Role{directory.Admin}, Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	w.newTenant("second")
	invited := func(i *engine.Identity) { i.Invitation = &hash }
	if _, err := w.signIn(func(i *engine.Identity) { invited(i); i.Tenant = "second" }); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("an invitation of another tenant: %v", err)
	}
	if _, err := w.signIn(func(i *engine.Identity) { invited(i); i.Rules.Manages = true }); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("where the provider decides alone: %v", err)
	}
	if w.ledger.View().Invitation(hash) == nil || w.ledger.View().Tenant(w.tenant).UserIdentified(corp, "s-1") != nil {
		t.Error("a sign-in that was refused used the invitation")
	}
	info, err := w.signIn(invited)
	if err != nil || !slices.Equal(info.User.Roles, []directory.Role{directory.Admin}) || info.User.Tenant != w.tenant || info.User.Subject != "s-1" {
		t.Fatalf("signed in as %+v, %v", info.User, err)
	}
	if _, err := w.signIn(func(i *engine.Identity) { invited(i); i.Subject = "s-2" }); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("the invitation a second time: %v", err)
	}
}

func TestMappedRoles(t *testing.T) {
	w := newWorld(t)
	w.account(w.tenant, "boss", directory.Owner)
	info, err := w.signIn(managed(directory.Admin, directory.Developer, directory.Operator))
	if err != nil || !slices.Equal(info.User.Roles, []directory.Role{directory.Developer, directory.Admin}) {
		t.Fatalf("first: %+v, %v", info.User, err)
	}
	before := info
	info, err = w.signIn(managed(directory.Viewer))
	if err != nil || !slices.Equal(info.User.Roles, []directory.Role{directory.Viewer}) || info.User.ID != before.User.ID {
		t.Fatalf("lowered: %+v, %v", info.User, err)
	}
	if w.engine.SessionSubject(before.Record.Hash) == nil {
		t.Error("a change of roles ended a session, whose rights follow the record anyway")
	}
	if _, err := w.signIn(managed()); fault.Of(err) != fault.Unauthenticated || w.audit.last.Load().Cause != "roles" {
		t.Errorf("without a group: %v", err)
	}
	if w.engine.SessionSubject(info.Record.Hash) != nil {
		t.Error("without a group, an old session goes on")
	}
	info, err = w.signIn(func(i *engine.Identity) {
		managed(directory.Viewer, directory.Auditor)(i)
		i.Rules.ApplianceRoles = true
	})
	if err != nil || !info.User.Has(directory.Auditor) {
		t.Errorf("with roles of the appliance: %+v, %v", info.User, err)
	}
	info, err = w.signIn(managed(directory.Developer))
	if err != nil || !slices.Equal(info.User.Roles, []directory.Role{directory.Developer, directory.Auditor}) {
		t.Errorf("a role that the provider may not take: %+v, %v", info.User, err)
	}
}

// TestMappingKeepsTheLastOwner: the group is gone, and nobody else could put things right.
func TestMappingKeepsTheLastOwner(t *testing.T) {
	w := newWorld(t)
	info, err := w.signIn(managed(directory.Owner))
	if err != nil {
		t.Fatal(err)
	}
	info, err = w.signIn(managed(directory.Viewer))
	if err != nil || !info.User.Has(directory.Owner) {
		t.Errorf("signed in as %+v, %v", info.User, err)
	}
}
