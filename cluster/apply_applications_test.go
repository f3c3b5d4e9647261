package cluster

import (
	"reflect"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

var orchardGrant = []directory.Grant{{Context: orchard, Encrypt: true, Decrypt: true}}

func change(grants ...directory.Grant) command.ChangeApplication {
	return command.ChangeApplication{
		Tenant: "ten-a", Application: appID("ten-a"), Team: "cider", Description: "presses", Grants: grants, Before: orchardGrant,
	}
}

func newAppKey(kid string) command.SetApplicationKey {
	return command.SetApplicationKey{
		Tenant: "ten-a", Application: appID("ten-a"), KeyID: kid, PublicKey: fill(32, 8), SealedKey: fill(93, 8), Certificate: fill(32, 8),
	}
}

func TestApplicationsRefuse(t *testing.T) {
	fresh := newApplication("ten-a", "app-new", orchard)
	owned := func(name, environment string) command.CreateApplication {
		c := fresh
		c.Application.Name, c.Application.CreatedBy, c.Application.Environment = name, userID("ten-a", 1), environment
		return c
	}
	with := func(f func(*directory.Application)) command.Command {
		return changed(fresh, func(c *command.CreateApplication) { f(&c.Application) })
	}
	budget := func(b *directory.Budget) directory.Grant {
		return directory.Grant{Context: orchard, Decrypt: true, Budget: b}
	}
	key := func(f func(*command.SetApplicationKey)) command.Command { return changed(newAppKey("kid-2"), f) }
	const unknown = "application does not exist"
	refuses(t, map[string]refusal{
		"create: maker with a zero byte": {with(func(a *directory.Application) { a.CreatedBy = "u\x00" }), fault.Malformed, "no valid maker", nil},
		"create: environment with one":   {owned("fresh", "e\x00"), fault.Malformed, "no valid maker or environment", nil},
		"create: same of one maker":      {owned("name of "+appID("ten-a"), "production"), fault.Conflict, "has an application with this name", nil},
		"create: no name":                {with(func(a *directory.Application) { a.Name = "" }), fault.Malformed, "no valid id or name", nil},
		"create: short certificate":      {with(func(a *directory.Application) { a.Certificate = fill(31, 1) }), fault.Malformed, "key or certificate is not valid", nil},
		"create: used certificate":       {with(func(a *directory.Application) { a.Certificate = fill(32, 1) }), fault.Conflict, "has this certificate's key", nil},
		"create: certificate of ten-b":   {with(func(a *directory.Application) { a.Certificate = fill(32, 2) }), fault.Conflict, "has this certificate's key", nil},
		"create: short public key":       {with(func(a *directory.Application) { a.PublicKey = fill(31, 1) }), fault.Malformed, "key or certificate is not valid", nil},
		"create: bad budget":             {with(func(a *directory.Application) { a.Grants = []directory.Grant{budget(&directory.Budget{})} }), fault.Malformed, "budget of a grant", nil},
		"create: tenant with zero byte":  {with(func(a *directory.Application) { a.Tenant = "t\x00" }), fault.NotFound, "tenant does not exist", nil},

		"change: unknown":      {changed(change(), func(c *command.ChangeApplication) { c.Application = "app-none" }), fault.NotFound, unknown, nil},
		"change: of ten-b":     {changed(change(), func(c *command.ChangeApplication) { c.Application = appID("ten-b") }), fault.NotFound, unknown, nil},
		"change: by ten-b":     {changed(change(), func(c *command.ChangeApplication) { c.Tenant = "ten-b" }), fault.NotFound, unknown, nil},
		"change: twice":        {change(), fault.Conflict, "changed in between", []command.Command{change()}},
		"change: other rights": {changed(change(), func(c *command.ChangeApplication) { c.Before = []directory.Grant{{Context: orchard, Encrypt: true}} }), fault.Conflict, "changed in between", nil},
		"change: other context": {changed(change(), func(c *command.ChangeApplication) {
			c.Before = []directory.Grant{{Context: "pear", Encrypt: true, Decrypt: true}}
		}), fault.Conflict, "changed in between", nil},
		"change: budget now": {changed(change(), func(c *command.ChangeApplication) {
			c.Before = []directory.Grant{{Context: orchard, Encrypt: true, Decrypt: true, Budget: &directory.Budget{Seconds: 1}}}
		}), fault.Conflict, "changed in between", nil},
		"change: no such context": {change(directory.Grant{Context: "pear"}), fault.NotFound, "granted context does not exist", nil},
		"change: zero byte":       {change(directory.Grant{Context: "p\x00"}), fault.NotFound, "granted context does not exist", nil},
		"change: granted twice":   {change(orchardGrant[0], orchardGrant[0]), fault.Malformed, "granted twice", nil},
		"change: bad budget":      {change(budget(&directory.Budget{Records: 1})), fault.Malformed, "budget of a grant", nil},

		"status: unknown":  {command.SetApplicationStatus{Tenant: "ten-a", Application: "app-none", Status: directory.Enabled}, fault.NotFound, unknown, nil},
		"status: of ten-b": {command.SetApplicationStatus{Tenant: "ten-a", Application: appID("ten-b"), Status: directory.Enabled}, fault.NotFound, unknown, nil},
		"status: none":     {command.SetApplicationStatus{Tenant: "ten-a", Application: appID("ten-a")}, fault.Malformed, "status is unknown", nil},

		"key: unknown":             {key(func(c *command.SetApplicationKey) { c.Application = "app-none" }), fault.NotFound, unknown, nil},
		"key: of ten-b":            {key(func(c *command.SetApplicationKey) { c.Application = appID("ten-b") }), fault.NotFound, unknown, nil},
		"key: no id":               {newAppKey(""), fault.Malformed, "no new id", nil},
		"key: the same id":         {newAppKey("kid"), fault.Malformed, "no new id", nil},
		"key: short":               {key(func(c *command.SetApplicationKey) { c.PublicKey = fill(31, 1) }), fault.Malformed, "key or certificate is not valid", nil},
		"key: short certificate":   {key(func(c *command.SetApplicationKey) { c.Certificate = fill(33, 1) }), fault.Malformed, "key or certificate is not valid", nil},
		"key: neither":             {key(func(c *command.SetApplicationKey) { c.PublicKey, c.Certificate = nil, nil }), fault.Malformed, "neither a key nor a certificate", nil},
		"key: another certificate": {key(func(c *command.SetApplicationKey) { c.Certificate = fill(32, 2) }), fault.Conflict, "has this certificate's key", nil},

		"revoke: unknown":  {command.RevokeApplicationTokens{Tenant: "ten-a", Application: "app-none", NotBefore: 1}, fault.NotFound, unknown, nil},
		"revoke: of ten-b": {command.RevokeApplicationTokens{Tenant: "ten-a", Application: appID("ten-b"), NotBefore: 1}, fault.NotFound, unknown, nil},
		"revoke: no time":  {command.RevokeApplicationTokens{Tenant: "ten-a", Application: appID("ten-a")}, fault.Malformed, "no valid time", nil},

		"delete: unknown":  {command.DeleteApplication{Tenant: "ten-a", Application: "app-none"}, fault.NotFound, unknown, nil},
		"delete: of ten-b": {command.DeleteApplication{Tenant: "ten-a", Application: appID("ten-b")}, fault.NotFound, unknown, nil},
		"delete: twice": {
			command.DeleteApplication{Tenant: "ten-a", Application: appID("ten-a")}, fault.NotFound, unknown,
			[]command.Command{command.DeleteApplication{Tenant: "ten-a", Application: appID("ten-a")}},
		},
	})
}

// TestApplicationNames: one maker has one of a name in an environment; others, and other environments, may have the same.
func TestApplicationNames(t *testing.T) {
	same := func(id, maker, environment string) command.CreateApplication {
		c := newApplication("ten-a", id)
		c.Application.Name, c.Application.CreatedBy, c.Application.Environment = "name of "+appID("ten-a"), maker, environment
		return c
	}
	db := world(t)
	mustApply(t, db, same("app-2", userID("ten-a", 1), "test"), same("app-3", userID("ten-a", 2), "production"),
		same("app-4", "", ""), same("app-5", "", ""), same("app-6", userID("ten-a", 1), ""))
	a := tenantA(db)
	for _, c := range []struct{ id, maker, environment string }{
		{appID("ten-a"), userID("ten-a", 1), "production"}, {"app-2", userID("ten-a", 1), "test"}, {"app-3", userID("ten-a", 2), "production"},
		{"app-6", userID("ten-a", 1), ""},
	} {
		if found := a.ApplicationOf(c.maker, "name of "+appID("ten-a"), c.environment); found == nil || found.ID != c.id {
			t.Errorf("%v: found %+v", c, found)
		}
	}
}

// TestApplicationWithoutAKey authenticates with its certificate.
func TestApplicationWithoutAKey(t *testing.T) {
	c := newApplication("ten-a", "app-2")
	c.Application.PublicKey, c.Application.Certificate = nil, fill(32, 9)
	db := world(t)
	mustApply(t, db, c)
	if a := newView(db, 0).ApplicationByCertificate([32]byte(fill(32, 9))); a == nil || a.ID != "app-2" {
		t.Fatalf("%+v", a)
	}
}

func TestApplicationChanges(t *testing.T) {
	db := world(t)
	app := func() *directory.Application { return tenantA(db).Application(appID("ten-a")) }
	first := *app()
	granted := []directory.Grant{{Context: orchard, Decrypt: true, Compromised: true, Budget: &directory.Budget{Records: 5, Seconds: 60}}}
	mustApply(t, db, change(granted...))
	want := first
	want.Team, want.Description, want.Grants = "cider", "presses", granted
	if !reflect.DeepEqual(*app(), want) {
		t.Fatalf("%+v", app())
	}
	// The same budget by value, and then no grant at all.
	mustApply(t, db, changed(change(), func(c *command.ChangeApplication) {
		c.Before = []directory.Grant{{Context: orchard, Decrypt: true, Compromised: true, Budget: &directory.Budget{Records: 5, Seconds: 60}}}
	}))
	if len(app().Grants) != 0 {
		t.Fatalf("%+v", app())
	}
	if out := applyAll(t, db, changed(change(), func(c *command.ChangeApplication) { c.Before = granted }))[0]; out.Refused != fault.Conflict {
		t.Fatalf("%+v", out)
	}
	two := []directory.Grant{{Context: orchard, Encrypt: true}, {Context: "pear", Decrypt: true}}
	mustApply(t, db, newContext("ten-a", "pear", keyID("pear", 9)), changed(change(two...), func(c *command.ChangeApplication) { c.Before = nil }))
	if !reflect.DeepEqual(app().Grants, two) {
		t.Fatalf("%+v", app())
	}
	mustApply(t, db, command.SetApplicationStatus{Tenant: "ten-a", Application: appID("ten-a"), Status: directory.Disabled})
	if app().Status != directory.Disabled || newView(db, 0).RefreshFamily(familyID("ten-a")) == nil {
		t.Fatalf("%+v", app())
	}
}

// TestApplicationBudgetsCompare: grants that differ in their budget alone are not the same.
func TestApplicationBudgetsCompare(t *testing.T) {
	budget := func(n uint64) []directory.Grant {
		return []directory.Grant{{Context: orchard, Budget: &directory.Budget{Records: n, Seconds: 1}}}
	}
	if !sameGrants(budget(1), budget(1)) || sameGrants(budget(1), budget(2)) || sameGrants(budget(1), []directory.Grant{{Context: orchard}}) {
		t.Fatal("budgets are compared wrongly")
	}
}

// TestApplicationTokensEnd: a new key, a revocation and the end of the application end its families, and no others.
func TestApplicationTokensEnd(t *testing.T) {
	id := appID("ten-a")
	for name, c := range map[string]struct {
		command command.Command
		holds   func(*directory.Application) bool
	}{
		"key": {newAppKey("kid-2"), func(a *directory.Application) bool {
			return a.KeyID == "kid-2" && reflect.DeepEqual([][]byte{a.PublicKey, a.SealedKey, a.Certificate}, [][]byte{fill(32, 8), fill(93, 8), fill(32, 8)})
		}},
		"certificate alone, the same": {
			command.SetApplicationKey{Tenant: "ten-a", Application: id, KeyID: "kid-2", Certificate: fill(32, 1)},
			func(a *directory.Application) bool {
				return len(a.PublicKey) == 0 && len(a.SealedKey) == 0 && len(a.Certificate) == 32
			},
		},
		"key alone": {
			command.SetApplicationKey{Tenant: "ten-a", Application: id, KeyID: "kid-2", PublicKey: fill(32, 9)},
			func(a *directory.Application) bool { return len(a.Certificate) == 0 && len(a.PublicKey) == 32 },
		},
		"revocation": {
			command.RevokeApplicationTokens{Tenant: "ten-a", Application: id, NotBefore: 70},
			func(a *directory.Application) bool { return a.NotBefore == 70 && a.KeyID == "kid" },
		},
		"deletion": {
			command.DeleteApplication{Tenant: "ten-a", Application: id}, func(a *directory.Application) bool { return a == nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, newApplication("ten-a", "app-other"), newRefresh("ten-a", "app-other", "ref-other", 77, 10, lasting), c.command)
			v := newView(db, 0)
			if !c.holds(v.Tenant("ten-a").Application(id)) {
				t.Fatalf("%+v", v.Tenant("ten-a").Application(id))
			}
			if v.RefreshFamily(familyID("ten-a")) != nil || v.RefreshFamily("ref-other") == nil || v.RefreshFamily(familyID("ten-b")) == nil {
				t.Fatal("a family stays, or one of another application went")
			}
		})
	}
}

// TestRevocationGoesForward: a revocation that comes late takes nothing back.
func TestRevocationGoesForward(t *testing.T) {
	db := world(t)
	for _, c := range []struct{ at, want int64 }{{70, 70}, {60, 70}, {80, 80}} {
		mustApply(t, db, command.RevokeApplicationTokens{Tenant: "ten-a", Application: appID("ten-a"), NotBefore: c.at})
		if got := tenantA(db).Application(appID("ten-a")).NotBefore; got != c.want {
			t.Fatalf("after %d: %d", c.at, got)
		}
	}
}

func TestRevokeRefresh(t *testing.T) {
	db := world(t)
	revoked := func(id string) bool { return newView(db, 0).RefreshFamily(id).Revoked }
	mustApply(t, db, command.RevokeRefresh{Tenant: "ten-a", Family: "ref-none"}, command.RevokeRefresh{Tenant: "ten-a", Family: familyID("ten-b")})
	if revoked(familyID("ten-a")) || revoked(familyID("ten-b")) {
		t.Fatal("a family was revoked that nobody named, or another tenant's")
	}
	mustApply(t, db, command.RevokeRefresh{Tenant: "ten-a", Family: familyID("ten-a")}, command.RevokeRefresh{Tenant: "ten-a", Family: familyID("ten-a")})
	if !revoked(familyID("ten-a")) {
		t.Fatal("the family is not revoked")
	}
	if out := applyAll(t, db, command.RotateRefresh{
		Family: familyID("ten-a"), Presented: codeHash(1, 2), Next: codeHash(9, 9), At: 20, ExpiresAt: lasting,
	})[0]; out.Refused != fault.Unauthenticated || out.Cause != "refresh-revoked" {
		t.Fatalf("%+v", out)
	}
}

// TestRefreshNeedsItsApplication: tokens of what is disabled or gone do not rotate, and do not count as used.
func TestRefreshNeedsItsApplication(t *testing.T) {
	rotate := command.RotateRefresh{Family: familyID("ten-a"), Presented: codeHash(1, 2), Next: codeHash(9, 9), At: 20, ExpiresAt: lasting}
	for name, after := range map[string]command.Command{
		"application disabled": command.SetApplicationStatus{Tenant: "ten-a", Application: appID("ten-a"), Status: directory.Disabled},
		"tenant disabled":      command.SetTenantStatus{Tenant: "ten-a", Status: directory.Disabled},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, after)
			before := newView(db, 0).Digest()
			if out := applyAll(t, db, rotate)[0]; out.Refused != fault.Unauthenticated || out.Cause != "application" {
				t.Fatalf("%+v", out)
			}
			if newView(db, 0).Digest() != before {
				t.Fatal("a refused command changed the state")
			}
		})
	}
	// No command leaves a family without its application or its tenant; the rule does not rely on it.
	for name, remove := range map[string]func(txn *memdb.Txn){
		"application gone": func(txn *memdb.Txn) {
			drop(txn, tableApplications, first[directory.Application](txn, tableApplications, indexID, appID("ten-a")))
		},
		"tenant gone": func(txn *memdb.Txn) {
			drop(txn, tableTenants, first[directory.Tenant](txn, tableTenants, indexID, "ten-a"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			edit(db, remove)
			if out := applyAll(t, db, rotate)[0]; out.Refused != fault.Unauthenticated || out.Cause != "application" {
				t.Fatalf("%+v", out)
			}
		})
	}
}
