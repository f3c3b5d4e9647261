package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// TestWhoMayChangeWhom walks roles against roles: nobody touches somebody who has a role that he may not give.
func TestWhoMayChangeWhom(t *testing.T) {
	w := newWorld(t)
	callers := map[directory.Role]*engine.Call{}
	for _, role := range directory.Roles {
		callers[role] = w.as(role)
	}
	allowed := map[directory.Role][]directory.Role{
		directory.Admin: {directory.Viewer, directory.Developer},
		directory.Owner: {directory.Viewer, directory.Developer, directory.Admin, directory.Owner},
	}
	n := 0
	for by, c := range callers {
		for _, role := range directory.Roles {
			n++
			target := w.account(w.tenant, "target "+string(by)+" "+string(role), role)
			want := fault.Forbidden
			if slices.Contains(allowed[by], role) {
				want = fault.Unknown
			}
			acts := map[string]func() error{
				"disable": func() error {
					return errorOf(w.engine.SetUserDisabled(t.Context(), callOf(c.Subject), target.ID, true))
				},
				"enable": func() error {
					return errorOf(w.engine.SetUserDisabled(t.Context(), callOf(c.Subject), target.ID, false))
				},
				"end sessions": func() error { return w.engine.EndUserSessions(t.Context(), callOf(c.Subject), target.ID) },
				"roles": func() error {
					return errorOf(w.engine.SetUserRoles(t.Context(), callOf(c.Subject), target.ID, []directory.Role{role}))
				},
				"create": func() error {
					return errorOf(w.engine.AddUser(t.Context(), callOf(c.Subject), engine.UserSpec{Name: "new " + target.Name, Roles: []directory.Role{role}}))
				},
				"invite": func() error {
					return errorOf(w.engine.CreateInvitation(t.Context(), callOf(c.Subject), engine.InvitationSpec{Roles: []directory.Role{role}, Hash: hashOf()}))
				},
				"delete": func() error { return w.engine.DeleteUser(t.Context(), callOf(c.Subject), target.ID) },
			}
			if want != fault.Unknown { // hashing takes long
				acts["reset"] = func() error {
					return w.engine.ResetPassword(t.Context(), callOf(c.Subject), target.ID, []byte(goodPassword))
				}
			}
			for _, name := range []string{"disable", "enable", "end sessions", "roles", "create", "invite", "reset", "delete"} {
				if act := acts[name]; act != nil {
					if err := act(); fault.Of(err) != want {
						t.Errorf("a %s does %s to a %s: %v", by, name, role, err)
					}
				}
			}
		}
	}
	if n != 49 {
		t.Errorf("%d pairs", n)
	}
}

// TestNobodyRaisesHimself tries each way to a role that one does not have, and the removal of the last owner.
func TestNobodyRaisesHimself(t *testing.T) {
	w := newWorld(t)
	boss := w.account(w.tenant, "boss", directory.Owner)
	owner := w.signedIn(boss)
	adminUser := w.account(w.tenant, "admin", directory.Admin)
	admin := w.signedIn(adminUser)
	roles := func(list ...directory.Role) []directory.Role { return list }
	own := func(c *engine.Call) *engine.Call { return callOf(c.Subject) }
	other := w.account(w.newTenant("second"), "stranger", directory.Viewer)
	for name, tt := range map[string]struct {
		act  func() error
		want fault.Kind
	}{
		"admin makes himself an owner": {func() error {
			return errorOf(w.engine.SetUserRoles(t.Context(), own(admin), adminUser.ID, roles(directory.Owner)))
		}, fault.Forbidden},
		"admin makes himself less": {func() error {
			return errorOf(w.engine.SetUserRoles(t.Context(), own(admin), adminUser.ID, roles(directory.Viewer)))
		}, fault.Forbidden},
		"owner makes himself operator": {func() error {
			return errorOf(w.engine.SetUserRoles(t.Context(), own(owner), boss.ID, roles(directory.Owner, directory.Operator)))
		}, fault.Forbidden},
		"last owner steps down": {func() error {
			return errorOf(w.engine.SetUserRoles(t.Context(), own(owner), boss.ID, roles(directory.Viewer)))
		}, fault.Conflict},
		"owner disables himself":        {func() error { return errorOf(w.engine.SetUserDisabled(t.Context(), own(owner), boss.ID, true)) }, fault.Forbidden},
		"owner deletes himself":         {func() error { return w.engine.DeleteUser(t.Context(), own(owner), boss.ID) }, fault.Forbidden},
		"owner resets his own password": {func() error { return w.engine.ResetPassword(t.Context(), own(owner), boss.ID, []byte(goodPassword)) }, fault.Forbidden},
		"no roles":                      {func() error { return errorOf(w.engine.SetUserRoles(t.Context(), own(owner), adminUser.ID, nil)) }, fault.Malformed},
		"a role twice": {func() error {
			return errorOf(w.engine.SetUserRoles(t.Context(), own(owner), adminUser.ID, roles(directory.Viewer, directory.Viewer)))
		}, fault.Malformed},
		"a role that is none": {func() error {
			return errorOf(w.engine.SetUserRoles(t.Context(), own(owner), adminUser.ID, roles("root")))
		}, fault.Malformed},
		"a user of another tenant":      {func() error { return w.engine.DeleteUser(t.Context(), own(owner), other.ID) }, fault.NotFound},
		"a user who does not exist":     {func() error { return w.engine.DeleteUser(t.Context(), own(owner), "user_0") }, fault.NotFound},
		"reading one of another tenant": {func() error { return errorOf(w.engine.User(t.Context(), own(owner), other.ID)) }, fault.NotFound},
		"an application lists users":    {func() error { return errorOf(w.engine.Users(t.Context(), w.call())) }, fault.Forbidden},
		"nobody asks who he is":         {func() error { return errorOf(w.engine.WhoAmI(t.Context(), callOf(nil))) }, fault.Unauthenticated},
		"an application asks who it is": {func() error { return errorOf(w.engine.WhoAmI(t.Context(), w.call())) }, fault.Forbidden},
		"a session of somebody else": {func() error {
			return w.engine.EndSession(t.Context(), own(admin), engine.SessionID(owner.Subject.Session))
		}, fault.NotFound},
		"a user with the name of another": {func() error {
			return errorOf(w.engine.AddUser(t.Context(), own(owner), engine.UserSpec{Name: "admin", Roles: roles(directory.Viewer)}))
		}, fault.Conflict},
		"a user with an invisible name": {func() error {
			return errorOf(w.engine.AddUser(t.Context(), own(owner), engine.UserSpec{Name: "admin\u200b", Roles: roles(directory.Viewer)}))
		}, fault.Malformed},
		"a user with blanks at the end": {func() error {
			return errorOf(w.engine.AddUser(t.Context(), own(owner), engine.UserSpec{Name: "admin ", Roles: roles(directory.Viewer)}))
		}, fault.Malformed},
		"a user with a strange address": {func() error {
			return errorOf(w.engine.AddUser(t.Context(), own(owner), engine.UserSpec{Name: "x", Email: "a@b@c", Roles: roles(directory.Viewer)}))
		}, fault.Malformed},
		"a user with a short password": {func() error {
			return errorOf(w.engine.AddUser(t.Context(), own(owner), engine.UserSpec{Name: "x", Password: []byte("short"), Roles: roles(directory.Viewer)}))
		}, fault.Malformed},
		"an invitation of another tenant": {func() error { return w.engine.DropInvitation(t.Context(), own(owner), "invitation_0") }, fault.NotFound},
		"an invitation with a bad address": {func() error {
			return errorOf(w.engine.CreateInvitation(t.Context(), own(owner), engine.InvitationSpec{Email: "x", Roles: roles(directory.Viewer)}))
		}, fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			records := w.watched()
			if err := tt.act(); fault.Of(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			last := (*records)[len(*records)-1]
			if last.Result != audit.Denied || last.Code != tt.want.Code() || len(*records) > 2 {
				t.Errorf("recorded %+v", *records)
			}
		})
	}
	if u := w.userNow(boss.ID); u == nil || !u.Has(directory.Owner) || u.Status != directory.Enabled {
		t.Errorf("the owner is %+v", u)
	}
}

func TestUsersAreListed(t *testing.T) {
	w := newWorld(t)
	owner := w.as(directory.Owner)
	w.account(w.newTenant("second"), "stranger", directory.Viewer)
	u, err := w.engine.AddUser(t.Context(), owner, engine.UserSpec{Name: "zoë", Email: "z@example.org", Roles: []directory.Role{directory.Viewer}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.engine.Users(t.Context(), callOf(owner.Subject))
	if err != nil || len(list) != 2 || list[1].ID != u.ID || list[1].Email != "z@example.org" {
		t.Errorf("listed %+v, %v", list, err)
	}
	if got, err := w.engine.User(t.Context(), callOf(owner.Subject), u.ID); err != nil || got.Name != "zoë" {
		t.Errorf("read %+v, %v", got, err)
	}
	me, err := w.engine.WhoAmI(t.Context(), callOf(owner.Subject))
	if err != nil || me.User.ID != owner.Subject.ID || me.Tenant.Name != "first" || me.Record.Hash != owner.Subject.Session ||
		!slices.Contains(me.Actions, policy.ChangeSettings) || slices.Contains(me.Actions, policy.CreateTenant) || !slices.IsSorted(me.Actions) {
		t.Errorf("the owner is %+v, %v", me, err)
	}
	all, err := w.engine.Roles(t.Context(), callOf(owner.Subject))
	if err != nil || len(all) != len(directory.Roles) || all[3].Role != directory.Owner || !slices.Equal(all[3].Actions, policy.Actions(directory.Owner)) {
		t.Errorf("the roles are %+v, %v", all, err)
	}
	w.later(time.Hour)
	newer := w.signedIn(w.userNow(owner.Subject.ID))
	sessions, err := w.engine.Sessions(t.Context(), callOf(owner.Subject))
	if err != nil || len(sessions) != 2 || sessions[0].Hash != newer.Subject.Session {
		t.Errorf("the sessions are %+v, %v", sessions, err)
	}
	w.engine.WaitBackground()
	w.later(8 * 24 * time.Hour)
	if sessions, err := w.engine.Sessions(t.Context(), w.signedIn(w.userNow(owner.Subject.ID))); err != nil || len(sessions) != 1 {
		t.Errorf("the sessions of later are %+v, %v", sessions, err)
	}
}

// accept takes an invitation under a new name.
func (w *world) accept(hash [32]byte, name string) (engine.SessionInfo, error) {
	return w.engine.AcceptInvitation(w.t.Context(), from("192.0.2.7"), &engine.AcceptRequest{
		Invitation: hash, Name: name, Password: []byte(goodPassword), Session: hashOf(),
	})
}

func TestInvitation(t *testing.T) {
	w := newWorld(t)
	owner := w.as(directory.Owner)
	hash := hashOf()
	i, err := w.engine.CreateInvitation(t.Context(), owner, engine.InvitationSpec{
		Email: "bob@example.org", Roles: []directory.Role{directory.Developer}, Hash: hash,
	})
	if err != nil || i.ExpiresAt-i.CreatedAt != engine.InvitationLifetime.Milliseconds() || i.CreatedBy != owner.Subject.ID {
		t.Fatalf("made %+v, %v", i, err)
	}
	if list, err := w.engine.Invitations(t.Context(), callOf(owner.Subject)); err != nil || len(list) != 1 || list[0].ID != i.ID {
		t.Errorf("listed %+v, %v", list, err)
	}
	for name, err := range map[string]error{
		"unknown code":   errorOf(w.accept(hashOf(), "bob")),
		"short password": errorOf(w.engine.AcceptInvitation(t.Context(), from("192.0.2.7"), &engine.AcceptRequest{Invitation: hash, Name: "bob", Password: []byte("short")})),
		"no name":        errorOf(w.accept(hash, "")),
		"used name":      errorOf(w.accept(hash, "a owner")),
	} {
		want := map[string]fault.Kind{"unknown code": fault.Unauthenticated, "used name": fault.Conflict}[name]
		if want == fault.Unknown {
			want = fault.Malformed
		}
		if fault.Of(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	info, err := w.accept(hash, "bob")
	if err != nil || info.User.Name != "bob" || info.User.Email != "bob@example.org" || !slices.Equal(info.User.Roles, i.Roles) ||
		info.Record.Provider != "invitation" || w.engine.SessionSubject(info.Record.Hash) == nil {
		t.Fatalf("accepted as %+v, %v", info.User, err)
	}
	if _, err := w.accept(hash, "carol"); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("accepted twice: %v", err)
	}
	if _, err := w.login(from("192.0.2.7"), "first", "bob", goodPassword); err != nil {
		t.Errorf("the password: %v", err)
	}
}

// TestInvitationEnds by time, by hand, and with the rights of whoever wrote it.
func TestInvitationEnds(t *testing.T) {
	w := newWorld(t)
	boss := w.as(directory.Owner)
	for name, end := range map[string]func(i *directory.Invitation, by *directory.User) error{
		"late": func(*directory.Invitation, *directory.User) error { w.later(7*24*time.Hour + time.Second); return nil },
		"withdrawn": func(i *directory.Invitation, _ *directory.User) error {
			return w.engine.DropInvitation(t.Context(), boss, i.ID)
		},
		"inviter lowered": func(_ *directory.Invitation, by *directory.User) error {
			return errorOf(w.engine.SetUserRoles(t.Context(), boss, by.ID, []directory.Role{directory.Admin}))
		},
		"inviter disabled": func(_ *directory.Invitation, by *directory.User) error {
			return errorOf(w.engine.SetUserDisabled(t.Context(), boss, by.ID, true))
		},
		"inviter gone": func(_ *directory.Invitation, by *directory.User) error {
			return w.engine.DeleteUser(t.Context(), boss, by.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer w.clock.Store(w.clock.Load())
			by := w.account(w.tenant, "inviter "+name, directory.Owner)
			hash := hashOf()
			i, err := w.engine.CreateInvitation(t.Context(), w.signedIn(by), engine.InvitationSpec{Roles: []directory.Role{directory.Owner}, Hash: hash})
			if err != nil {
				t.Fatal(err)
			}
			if err := end(i, by); err != nil {
				t.Fatal(err)
			}
			if _, err := w.accept(hash, "guest "+name); fault.Of(err) != fault.Unauthenticated {
				t.Errorf("got %v", err)
			}
			if cause := w.audit.last.Load().Cause; cause != "invitation" && cause != "inviter" {
				t.Errorf("the cause is %q", cause)
			}
		})
	}
}

// TestAdminCannotDropOwnersInvitation: what he may not give he may not take away.
func TestAdminCannotDropOwnersInvitation(t *testing.T) {
	w := newWorld(t)
	i, err := w.engine.CreateInvitation(t.Context(), w.as(directory.Owner), engine.InvitationSpec{Roles: []directory.Role{directory.Owner}, Hash: hashOf()})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.engine.DropInvitation(t.Context(), w.as(directory.Admin), i.ID); fault.Of(err) != fault.Forbidden {
		t.Errorf("got %v", err)
	}
}

// redeem asks how a sign-in stands.
func (w *world) redeem(hash [32]byte) (engine.SessionInfo, error) {
	w.later(5 * time.Second)
	return w.engine.RedeemDevice(w.t.Context(), from("192.0.2.9"), hash, hashOf())
}

func (w *world) newDevice() (*directory.Device, [32]byte) {
	w.t.Helper()
	hash := hashOf()
	d, err := w.engine.CreateDevice(w.t.Context(), from("192.0.2.9"), hash, "cryptoserve on laptop")
	if err != nil {
		w.t.Fatal(err)
	}
	return d, hash
}

func TestDevice(t *testing.T) {
	w := newWorld(t)
	u := w.account(w.tenant, "alice", directory.Viewer)
	c := w.signedIn(u)
	d, hash := w.newDevice()
	if len(d.UserCode) != 9 || strings.ContainsAny(d.UserCode, "AEIOU0123456789") {
		t.Errorf("the code is %q", d.UserCode)
	}
	if _, err := w.redeem(hash); err != engine.ErrDevicePending { //nolint:errorlint // the one error itself
		t.Errorf("before: %v", err)
	}
	typed := strings.ToLower(strings.ReplaceAll(d.UserCode, "-", " "))
	seen, err := w.engine.Device(t.Context(), callOf(c.Subject), typed)
	if err != nil || seen.Client != "cryptoserve on laptop" || seen.Source != "192.0.2.9" {
		t.Errorf("saw %+v, %v", seen, err)
	}
	if _, err := w.engine.DecideDevice(t.Context(), callOf(c.Subject), typed, true); err != nil {
		t.Fatal(err)
	}
	if r := w.audit.last.Load(); r.Resource != engine.SessionID(hash) || r.Cause != "approved" || r.Subject != u.ID {
		t.Errorf("recorded %+v", r)
	}
	w.later(2 * time.Second)
	if _, err := w.engine.DecideDevice(t.Context(), callOf(c.Subject), typed, false); fault.Of(err) != fault.NotFound {
		t.Errorf("decided twice: %v", err)
	}
	info, err := w.redeem(hash)
	if err != nil || info.User.ID != u.ID || info.Record.Provider != "device" || w.engine.SessionSubject(info.Record.Hash) == nil {
		t.Fatalf("redeemed %+v, %v", info, err)
	}
	if _, err := w.redeem(hash); err != engine.ErrDeviceExpired { //nolint:errorlint // the one error itself
		t.Errorf("redeemed twice: %v", err)
	}
}

func TestDeviceRefused(t *testing.T) {
	w := newWorld(t)
	boss := w.as(directory.Owner)
	u := w.account(w.tenant, "alice", directory.Viewer)
	approve := func(d *directory.Device, yes bool) error {
		w.later(2 * time.Second)
		return errorOf(w.engine.DecideDevice(t.Context(), w.signedIn(w.userNow(u.ID)), d.UserCode, yes))
	}
	for name, tt := range map[string]struct {
		act  func(d *directory.Device) error
		want error
	}{
		"denied": {func(d *directory.Device) error { return approve(d, false) }, engine.ErrDeviceDenied},
		"late":   {func(*directory.Device) error { w.later(10 * time.Minute); return nil }, engine.ErrDeviceExpired},
		"password reset meanwhile": {func(d *directory.Device) error {
			if err := approve(d, true); err != nil {
				return err
			}
			return w.engine.ResetPassword(t.Context(), callOf(boss.Subject), u.ID, []byte(goodPassword))
		}, engine.ErrDeviceExpired},
		"asked too often": {func(d *directory.Device) error {
			for range 2 {
				_, _ = w.engine.RedeemDevice(t.Context(), from("192.0.2.9"), d.Hash, hashOf())
			}
			w.later(-4 * time.Second) // takes back what redeem waits
			return nil
		}, engine.ErrDeviceSlowDown},
	} {
		t.Run(name, func(t *testing.T) {
			d, hash := w.newDevice()
			if err := tt.act(d); err != nil {
				t.Fatal(err)
			}
			if _, err := w.redeem(hash); err != tt.want { //nolint:errorlint // the one error itself
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := w.redeem(hashOf()); err != engine.ErrDeviceExpired { //nolint:errorlint // the one error itself
		t.Errorf("an unknown code: %v", err)
	}
	if _, err := w.engine.CreateDevice(t.Context(), from("192.0.2.9"), hashOf(), "a\x1b[31mb"); fault.Of(err) != fault.Malformed {
		t.Errorf("a name that steers a terminal: %v", err)
	}
}

// TestUserCodesCannotBeGuessed by a user, whatever address he comes from.
func TestUserCodesCannotBeGuessed(t *testing.T) {
	w := newWorld(t)
	c := w.as(directory.Viewer)
	tried := 0
	for i := range 200 {
		call := callOf(c.Subject)
		call.Source = strings.Repeat("1", 1+i)
		if _, err := w.engine.Device(t.Context(), call, "BCDF-GHJK"); fault.Of(err) == fault.NotFound {
			tried++
		}
		w.later(time.Second)
	}
	if tried > 12 {
		t.Errorf("%d guesses in 200 s", tried)
	}
}

// TestAccountsNeedTheSession: without the session no use case of accounts gives anything.
func TestAccountsNeedTheSession(t *testing.T) {
	w := newWorld(t)
	c := w.as(directory.Owner)
	id := c.Subject.ID
	if _, err := w.ledger.Propose(t.Context(), command.EndSession{Hash: c.Subject.Session}); err != nil {
		t.Fatal(err)
	}
	for name, act := range map[string]func(c *engine.Call) error{
		"who am I":    func(c *engine.Call) error { return errorOf(w.engine.WhoAmI(t.Context(), c)) },
		"sessions":    func(c *engine.Call) error { return errorOf(w.engine.Sessions(t.Context(), c)) },
		"end session": func(c *engine.Call) error { return w.engine.EndSession(t.Context(), c, "x") },
		"logout":      func(c *engine.Call) error { return w.engine.Logout(t.Context(), c) },
		"password": func(c *engine.Call) error {
			return w.engine.ChangePassword(t.Context(), c, []byte("x"), []byte(goodPassword))
		},
		"roles": func(c *engine.Call) error { return errorOf(w.engine.Roles(t.Context(), c)) },
		"users": func(c *engine.Call) error { return errorOf(w.engine.Users(t.Context(), c)) },
		"user":  func(c *engine.Call) error { return errorOf(w.engine.User(t.Context(), c, id)) },
		"add": func(c *engine.Call) error {
			return errorOf(w.engine.AddUser(t.Context(), c, engine.UserSpec{Name: "x", Roles: []directory.Role{"viewer"}}))
		},
		"set roles": func(c *engine.Call) error {
			return errorOf(w.engine.SetUserRoles(t.Context(), c, id, []directory.Role{"viewer"}))
		},
		"disable":      func(c *engine.Call) error { return errorOf(w.engine.SetUserDisabled(t.Context(), c, id, true)) },
		"delete":       func(c *engine.Call) error { return w.engine.DeleteUser(t.Context(), c, id) },
		"reset":        func(c *engine.Call) error { return w.engine.ResetPassword(t.Context(), c, id, []byte(goodPassword)) },
		"end sessions": func(c *engine.Call) error { return w.engine.EndUserSessions(t.Context(), c, id) },
		"invitations":  func(c *engine.Call) error { return errorOf(w.engine.Invitations(t.Context(), c)) },
		"invite": func(c *engine.Call) error {
			return errorOf(w.engine.CreateInvitation(t.Context(), c, engine.InvitationSpec{Roles: []directory.Role{"viewer"}}))
		},
		"withdraw":      func(c *engine.Call) error { return w.engine.DropInvitation(t.Context(), c, "x") },
		"read device":   func(c *engine.Call) error { return errorOf(w.engine.Device(t.Context(), c, "BCDF-GHJK")) },
		"decide device": func(c *engine.Call) error { return errorOf(w.engine.DecideDevice(t.Context(), c, "BCDF-GHJK", true)) },
		"nobody decides": func(*engine.Call) error {
			return errorOf(w.engine.DecideDevice(t.Context(), callOf(nil), "BCDF-GHJK", true))
		},
	} {
		records := w.watched()
		writes := w.ledger.writes.Load()
		if err := act(callOf(c.Subject)); fault.Of(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
		if len(*records) != 1 || (*records)[0].Result != audit.Denied || w.ledger.writes.Load() != writes {
			t.Errorf("%s: recorded %+v", name, *records)
		}
	}
}
