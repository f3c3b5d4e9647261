package cluster

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

func rolesOf(n int, roles ...directory.Role) command.SetUserRoles {
	return command.SetUserRoles{Tenant: "ten-a", User: userID("ten-a", n), Roles: roles}
}

func statusOf(n int, s directory.Status) command.SetUserStatus {
	return command.SetUserStatus{Tenant: "ten-a", User: userID("ten-a", n), Status: s}
}

func deletionOf(n int) command.DeleteUser {
	return command.DeleteUser{Tenant: "ten-a", User: userID("ten-a", n)}
}

func TestUsersRefuse(t *testing.T) {
	fresh := user("ten-a", 9, directory.Viewer)
	with := func(f func(*directory.User)) command.Command {
		return changed(fresh, func(c *command.CreateUser) { f(&c.User) })
	}
	const unknown, owner = "user does not exist", "no owner left"
	one := []command.Command{deletionOf(2)} // one owner is left
	disabled := []command.Command{statusOf(2, directory.Disabled)}
	hers := userID("ten-b", 1)
	password := func(user, password string) command.SetPassword {
		return command.SetPassword{Tenant: "ten-a", User: user, Password: password}
	}
	refuses(t, map[string]refusal{
		"create: no roles":           {with(func(u *directory.User) { u.Roles = nil }), fault.Malformed, "roles are not valid", nil},
		"create: unknown role":       {with(func(u *directory.User) { u.Roles = []directory.Role{"king"} }), fault.Malformed, "roles are not valid", nil},
		"create: role twice":         {with(func(u *directory.User) { u.Roles = []directory.Role{directory.Viewer, directory.Viewer} }), fault.Malformed, "roles are not valid", nil},
		"create: long name":          {with(func(u *directory.User) { u.Name = strings.Repeat("n", directory.UserNameMax+1) }), fault.Malformed, "too long", nil},
		"create: long address":       {with(func(u *directory.User) { u.Email = strings.Repeat("n", directory.EmailMax+1) }), fault.Malformed, "too long", nil},
		"create: issuer alone":       {with(func(u *directory.User) { u.Issuer = issuerOne }), fault.Malformed, "at an identity provider", nil},
		"create: subject alone":      {with(func(u *directory.User) { u.Subject = subjectOne }), fault.Malformed, "at an identity provider", nil},
		"create: zero in issuer":     {with(func(u *directory.User) { u.Issuer, u.Subject = "i\x00", "s" }), fault.Malformed, "at an identity provider", nil},
		"create: zero in subject":    {with(func(u *directory.User) { u.Issuer, u.Subject = "i", "s\x00" }), fault.Malformed, "at an identity provider", nil},
		"create: used identity":      {with(func(u *directory.User) { u.Issuer, u.Subject = issuerOne, subjectOne }), fault.Conflict, "name at the identity provider exists", nil},
		"create: two ways in":        {with(func(u *directory.User) { u.Issuer, u.Subject, u.Password = issuerOne, "s", "$x" }), fault.Malformed, "and has a password", nil},
		"create: tenant, zero":       {with(func(u *directory.User) { u.Tenant = "t\x00" }), fault.NotFound, "tenant does not exist", nil},
		"create: name, zero":         {with(func(u *directory.User) { u.Name = "n\x00" }), fault.Malformed, "no valid id or name", nil},
		"roles: unknown user":        {rolesOf(99, directory.Owner), fault.NotFound, unknown, nil},
		"roles: user of ten-b":       {command.SetUserRoles{Tenant: "ten-a", User: hers, Roles: []directory.Role{directory.Owner}}, fault.NotFound, unknown, nil},
		"roles: none":                {rolesOf(3), fault.Malformed, "roles are not valid", nil},
		"roles: unknown":             {rolesOf(3, "king"), fault.Malformed, "roles are not valid", nil},
		"roles: twice":               {rolesOf(3, directory.Admin, directory.Admin), fault.Malformed, "roles are not valid", nil},
		"roles: last owner":          {rolesOf(1, directory.Admin), fault.Conflict, owner, one},
		"roles: last enabled owner":  {rolesOf(1, directory.Admin), fault.Conflict, owner, disabled},
		"roles: both at once":        {rolesOf(1, directory.Admin), fault.Conflict, owner, []command.Command{rolesOf(2, directory.Admin)}},
		"status: unknown user":       {statusOf(99, directory.Enabled), fault.NotFound, unknown, nil},
		"status: user of ten-b":      {command.SetUserStatus{Tenant: "ten-a", User: hers, Status: directory.Disabled}, fault.NotFound, unknown, nil},
		"status: none":               {statusOf(3, directory.StatusUnknown), fault.Malformed, "status is unknown", nil},
		"status: last owner":         {statusOf(1, directory.Disabled), fault.Conflict, owner, one},
		"status: last enabled owner": {statusOf(1, directory.Disabled), fault.Conflict, owner, disabled},
		"delete: unknown user":       {deletionOf(99), fault.NotFound, unknown, nil},
		"delete: user of ten-b":      {command.DeleteUser{Tenant: "ten-a", User: hers}, fault.NotFound, unknown, nil},
		"delete: last owner":         {deletionOf(1), fault.Conflict, owner, one},
		"delete: last enabled owner": {deletionOf(1), fault.Conflict, owner, disabled},
		"password: unknown user":     {password(userID("ten-a", 99), "$x"), fault.NotFound, unknown, nil},
		"password: user of ten-b":    {password(hers, "$x"), fault.NotFound, unknown, nil},
		"password: empty":            {password(userID("ten-a", 1), ""), fault.Conflict, "or the password is empty", nil},
		"password: of the provider":  {password(userID("ten-a", 5), "$x"), fault.Conflict, "signs in at an identity provider", nil},
		"sessions: unknown user":     {command.EndSessions{Tenant: "ten-a", User: userID("ten-a", 99)}, fault.NotFound, unknown, nil},
		"sessions: user of ten-b":    {command.EndSessions{Tenant: "ten-a", User: hers}, fault.NotFound, unknown, nil},
		"session: no hash":           {newSession("ten-a", userID("ten-a", 3), 0, 10, 20), fault.Malformed, "no hash", nil},
		"session: user disabled":     {newSession("ten-a", userID("ten-a", 3), 99, 10, 20), fault.Unauthenticated, "is disabled", []command.Command{statusOf(3, directory.Disabled)}},
		"session: tenant disabled":   {newSession("ten-a", userID("ten-a", 3), 99, 10, 20), fault.Unauthenticated, "is disabled", []command.Command{command.SetTenantStatus{Tenant: "ten-a", Status: directory.Disabled}}},
	})
}

// TestOwnersRace: of two owners who each take the other's role away, the second is refused, however his right was checked
// before. One of them stays.
func TestOwnersRace(t *testing.T) {
	for name, each := range map[string]func(n int) command.Command{
		"roles":  func(n int) command.Command { return rolesOf(n, directory.Viewer) },
		"status": func(n int) command.Command { return statusOf(n, directory.Disabled) },
		"delete": func(n int) command.Command { return deletionOf(n) },
	} {
		t.Run(name, func(t *testing.T) {
			bySecond := func(c command.Command) command.Guarded {
				return byOwner(c, func(g *command.Guarded) { g.User, g.Session = userID("ten-a", 2), codeHash(1, 5) })
			}
			// The one whose right went is refused for that.
			db := world(t)
			mustApply(t, db, byOwner(each(2)))
			if out := applyAll(t, db, bySecond(each(1)))[0]; out.Refused != fault.Unauthenticated {
				t.Fatalf("%+v", out)
			}
			// Who gives up his own place is refused as the last.
			db = world(t)
			mustApply(t, db, byOwner(each(1)))
			if out := applyAll(t, db, bySecond(each(2)))[0]; out.Refused != fault.Conflict || out.Detail != lastOwner.Detail {
				t.Fatalf("%+v", out)
			}
		})
	}
}

func TestUserRolesAndStatus(t *testing.T) {
	db := world(t)
	get := func(n int) directory.User { return *tenantA(db).User(userID("ten-a", n)) }
	first := get(3)
	mustApply(t, db, rolesOf(3, directory.Owner, directory.Auditor))
	want := first
	want.Roles, want.Revision = []directory.Role{directory.Owner, directory.Auditor}, 1
	if !reflect.DeepEqual(get(3), want) {
		t.Fatalf("%+v", get(3))
	}
	// With a third owner the others may go, one after the other, and one who stays an owner may change.
	mustApply(t, db, statusOf(1, directory.Disabled), rolesOf(2, directory.Viewer), rolesOf(3, directory.Owner))
	if u := get(1); u.Status != directory.Disabled || u.Revision != 1 {
		t.Fatalf("%+v", u)
	}
	// A disabled owner is none: he may lose the role, and go.
	mustApply(t, db, rolesOf(1, directory.Viewer), statusOf(1, directory.Enabled), deletionOf(1))
	if tenantA(db).User(userID("ten-a", 1)) != nil || tenantA(db).UserNamed(first.Name) == nil {
		t.Fatal("the wrong user is gone")
	}
	// ten-b's owners do not count.
	if out := applyAll(t, db, deletionOf(3))[0]; out.Refused != fault.Conflict {
		t.Fatalf("%+v", out)
	}
}

// TestOwnersThatDoNotCount: in a tenant without an enabled owner anybody may go, and the last one may be enabled as he is.
func TestOwnersThatDoNotCount(t *testing.T) {
	db := world(t)
	sleeping := newUser("ten-z", "usr-owner")
	sleeping.User.Status = directory.Disabled
	mustApply(t, db, newTenant("ten-z"), sleeping, user("ten-z", 5, directory.Viewer),
		command.SetUserRoles{Tenant: "ten-z", User: userID("ten-z", 5), Roles: []directory.Role{directory.Admin}},
		command.SetUserStatus{Tenant: "ten-z", User: userID("ten-z", 5), Status: directory.Disabled},
		command.DeleteUser{Tenant: "ten-z", User: userID("ten-z", 5)},
		command.SetUserRoles{Tenant: "ten-z", User: "usr-owner", Roles: []directory.Role{directory.Admin}},
		command.SetUserRoles{Tenant: "ten-z", User: "usr-owner", Roles: []directory.Role{directory.Owner}},
		command.DeleteUser{Tenant: "ten-z", User: "usr-owner"},
		deletionOf(2), statusOf(1, directory.Enabled), rolesOf(1, directory.Owner, directory.Auditor))
	if len(newView(db, 0).Tenant("ten-z").Users()) != 0 || !tenantA(db).User(userID("ten-a", 1)).Has(directory.Auditor) {
		t.Fatal("somebody stays who had to go, or has not the roles that he was given")
	}
}

// TestSignInsEnd: what ends a user's sessions also ends what he approved that would become one, and nobody else's.
func TestSignInsEnd(t *testing.T) {
	own := userID("ten-a", 1)
	for name, c := range map[string]struct {
		command command.Command
		keeps   bool // his second session
		enabled bool // he can redeem at all
	}{
		"disabled":           {statusOf(1, directory.Disabled), false, false},
		"deleted":            {deletionOf(1), false, false},
		"password":           {command.SetPassword{Tenant: "ten-a", User: own, Password: "$x"}, false, true},
		"password, keep one": {command.SetPassword{Tenant: "ten-a", User: own, Password: "$x", Keep: codeHash(9, 1)}, true, true},
		"sessions":           {command.EndSessions{Tenant: "ten-a", User: own}, false, true},
		"sessions, keep one": {command.EndSessions{Tenant: "ten-a", User: own, Keep: codeHash(9, 1)}, true, true},
		"keep another's":     {command.EndSessions{Tenant: "ten-a", User: own, Keep: codeHash(1, 5)}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			second := newSession("ten-a", own, 0, 10, lasting)
			second.Session.Hash = codeHash(9, 1)
			mustApply(t, db, second, c.command)
			v := newView(db, 0)
			if v.Session(codeHash(1, 1)) != nil || (v.Session(codeHash(9, 1)) != nil) != c.keeps {
				t.Fatal("a session stays that had to end, or the one to keep ended")
			}
			if v.Session(codeHash(1, 5)) == nil || v.Session(codeHash(2, 1)) == nil || v.Device(codeHash(2, 4)) == nil {
				t.Fatal("another user's session or sign-in ended")
			}
			if v.Device(codeHash(1, 4)) != nil {
				t.Fatal("a sign-in that he approved stays")
			}
		})
	}
	db := world(t)
	mustApply(t, db, statusOf(1, directory.Enabled), rolesOf(1, directory.Owner), command.EndSession{Hash: codeHash(1, 5)}, command.EndSession{Hash: codeHash(1, 5)})
	v := newView(db, 0)
	if v.Session(codeHash(1, 1)) == nil || v.Session(codeHash(1, 5)) != nil || v.Device(codeHash(1, 4)) == nil {
		t.Fatal("a session ended that nothing ended, or one stays")
	}
}

func TestPasswordChange(t *testing.T) {
	db := world(t)
	before := *tenantA(db).User(userID("ten-a", 3))
	mustApply(t, db, command.SetPassword{Tenant: "ten-a", User: userID("ten-a", 3), Password: "$y"})
	before.Password = "$y"
	if got := *tenantA(db).User(userID("ten-a", 3)); !reflect.DeepEqual(got, before) {
		t.Fatalf("%+v", got)
	}
}

func TestTouchSession(t *testing.T) {
	db := world(t)
	for _, c := range []struct{ at, want int64 }{{50, 50}, {40, 50}, {60, 60}} {
		mustApply(t, db, command.TouchSession{Hash: codeHash(1, 1), At: c.at}, command.TouchSession{Hash: codeHash(7, 7), At: c.at})
		if s := newView(db, 0).Session(codeHash(1, 1)); s.SeenAt != c.want || s.LastSeen() != c.want {
			t.Fatalf("after %d: %+v", c.at, s)
		}
	}
	if newView(db, 0).Session(codeHash(7, 7)) != nil {
		t.Fatal("a session that has ended is back")
	}
}

// TestSessionOfAUserWithoutTenant: no command leaves one; the rule does not rely on it.
func TestSessionOfAUserWithoutTenant(t *testing.T) {
	db := world(t)
	edit(db, func(txn *memdb.Txn) {
		drop(txn, tableTenants, first[directory.Tenant](txn, tableTenants, indexID, "ten-a"))
	})
	if out := applyAll(t, db, newSession("ten-a", userID("ten-a", 3), 99, 10, 20))[0]; out.Refused != fault.Unauthenticated {
		t.Fatalf("%+v", out)
	}
}
