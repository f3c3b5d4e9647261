package cluster

import (
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// byOwner is a command of user 1 of ten-a, authorised at 50.
func byOwner(c command.Command, changes ...func(*command.Guarded)) command.Guarded {
	g := command.Guarded{Tenant: "ten-a", User: userID("ten-a", 1), Session: codeHash(1, 1), At: 50, Command: encoded(c)}
	for _, change := range changes {
		change(&g)
	}
	return g
}

func approveFirst(user int) command.DecideApproval {
	return command.DecideApproval{
		Tenant: "ten-a", ID: approvalOne, Decision: directory.Decision{User: userID("ten-a", user), At: 200, Approve: true},
	}
}

func TestGuardedRefuses(t *testing.T) {
	const ended = "the session has ended, or the user's rights have changed"
	inner := command.SetKeyDisabled{Tenant: "ten-a", Name: press, Disabled: true}
	own := userID("ten-a", 1)
	roles := func(roles ...directory.Role) command.SetUserRoles {
		return command.SetUserRoles{Tenant: "ten-a", User: own, Roles: roles}
	}
	status := func(s directory.Status) command.SetUserStatus {
		return command.SetUserStatus{Tenant: "ten-a", User: own, Status: s}
	}
	other := userID("ten-a", 2)
	request := newRequest("ten-a", "approval_2", other, 2, directory.ActDestroyKey, destruction("ten-a", orchardKey(1, 1)))
	refuses(t, map[string]refusal{
		"user disabled":           {byOwner(inner), fault.Unauthenticated, ended, []command.Command{status(directory.Disabled)}},
		"user disabled, enabled":  {byOwner(inner), fault.Unauthenticated, ended, []command.Command{status(directory.Disabled), status(directory.Enabled)}},
		"user deleted":            {byOwner(inner), fault.Unauthenticated, ended, []command.Command{command.DeleteUser{Tenant: "ten-a", User: own}}},
		"roles changed":           {byOwner(inner), fault.Unauthenticated, ended, []command.Command{roles(directory.Viewer)}},
		"roles changed and back":  {byOwner(inner), fault.Unauthenticated, ended, []command.Command{roles(directory.Viewer), roles(directory.Owner)}},
		"a later revision":        {byOwner(inner, func(g *command.Guarded) { g.Revision = 1 }), fault.Unauthenticated, ended, nil},
		"session ended":           {byOwner(inner), fault.Unauthenticated, ended, []command.Command{command.EndSession{Hash: codeHash(1, 1)}}},
		"all sessions ended":      {byOwner(inner), fault.Unauthenticated, ended, []command.Command{command.EndSessions{Tenant: "ten-a", User: own}}},
		"session expired":         {byOwner(inner, func(g *command.Guarded) { g.At = lasting }), fault.Unauthenticated, ended, nil},
		"session unknown":         {byOwner(inner, func(g *command.Guarded) { g.Session = codeHash(3, 1) }), fault.Unauthenticated, ended, nil},
		"session of another user": {byOwner(inner, func(g *command.Guarded) { g.Session = codeHash(1, 5) }), fault.Unauthenticated, ended, nil},
		"session of ten-b":        {byOwner(inner, func(g *command.Guarded) { g.Session = codeHash(2, 1) }), fault.Unauthenticated, ended, nil},
		"user of ten-b":           {byOwner(inner, func(g *command.Guarded) { g.User = userID("ten-b", 1) }), fault.Unauthenticated, ended, nil},
		"all of ten-b but tenant": {byOwner(inner, func(g *command.Guarded) { g.User, g.Session = userID("ten-b", 1), codeHash(2, 1) }), fault.Unauthenticated, ended, nil},
		"tenant disabled": {byOwner(inner), fault.Unauthenticated, ended, []command.Command{
			command.SetTenantStatus{Tenant: "ten-a", Status: directory.Disabled},
		}},
		"tenant waits for deletion": {byOwner(inner), fault.Unauthenticated, ended, []command.Command{
			command.ScheduleTenantDeletion{Tenant: "ten-a", At: 1, Wait: 5},
		}},
		"tenant unknown": {byOwner(inner, func(g *command.Guarded) { g.Tenant = "ten-z" }), fault.Unauthenticated, ended, nil},

		"refused inside": {byOwner(command.SetKeyDisabled{Tenant: "ten-a", Name: "none"}), fault.NotFound, "the key does not exist", nil},
		"a cluster":      {byOwner(newCluster()), fault.Conflict, "the cluster exists already", nil},
		"an act that needs approval": {
			byOwner(destruction("ten-a", orchardKey(1, 1))), fault.Forbidden, "the act needs approval", nil,
		},
		"asks as another":       {byOwner(request), fault.Forbidden, "in the name of another", nil},
		"decides as another":    {byOwner(approveFirst(2)), fault.Forbidden, "in the name of another", nil},
		"withdraws as another":  {byOwner(command.CancelApproval{Tenant: "ten-a", ID: approvalOne, User: other, At: 60}), fault.Forbidden, "in the name of another", nil},
		"signs in as another":   {byOwner(command.DecideDevice{UserCode: "CODE-9", Tenant: "ten-a", User: other, Approve: true, At: 60}), fault.Forbidden, "in the name of another", []command.Command{newDevice("CODE-9", codeHash(9, 4), 10, lasting)}},
		"own request, own vote": {byOwner(approveFirst(1)), fault.Forbidden, "cannot approve it", nil},
	})
}

// TestGuardedLooksAtEachRecord: no command leaves records that contradict each other so; the rule does not rely on it.
func TestGuardedLooksAtEachRecord(t *testing.T) {
	act := command.SetKeyDisabled{Tenant: "ten-a", Name: press}
	for name, c := range map[string]struct {
		command command.Guarded
		change  func(s *directory.Session, u *directory.User)
	}{
		"session of another tenant": {byOwner(act), func(s *directory.Session, _ *directory.User) { s.Tenant = "ten-b" }},
		"user of another tenant":    {byOwner(act), func(_ *directory.Session, u *directory.User) { u.Tenant = "ten-b" }},
		"disabled, same revision":   {byOwner(act), func(_ *directory.Session, u *directory.User) { u.Status = directory.Disabled }},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			s, u := *newView(db, 0).Session(codeHash(1, 1)), *tenantA(db).User(userID("ten-a", 1))
			c.change(&s, &u)
			edit(db, func(txn *memdb.Txn) {
				put(txn, tableSessions, &s)
				put(txn, tableUsers, &u)
			})
			if out := applyAll(t, db, c.command)[0]; out.Refused != fault.Unauthenticated || out.Cause != "session" {
				t.Fatalf("%+v", out)
			}
		})
	}
}

func TestGuardedApplies(t *testing.T) {
	db := world(t)
	mustApply(t, db,
		byOwner(command.SetKeyDisabled{Tenant: "ten-a", Name: press, Disabled: true}),
		// An operator acts on other tenants: what he may do there, the engine decided.
		byOwner(command.SetKeyDisabled{Tenant: "ten-b", Name: press, Disabled: true}, func(g *command.Guarded) { g.At = lasting - 1 }),
		byOwner(command.CancelApproval{Tenant: "ten-a", ID: approvalOne, User: userID("ten-a", 1), At: 60}),
	)
	v := newView(db, 0)
	if !v.Tenant("ten-a").Object(press).Disabled || !v.Tenant("ten-b").Object(press).Disabled {
		t.Fatal("a guarded command did nothing")
	}
	// The revision is that of the record, whatever it is.
	mustApply(t, db,
		command.SetUserRoles{Tenant: "ten-a", User: userID("ten-a", 1), Roles: []directory.Role{directory.Owner}},
		byOwner(command.SetKeyDisabled{Tenant: "ten-a", Name: press}, func(g *command.Guarded) { g.Revision = 1 }),
	)
	if newView(db, 0).Tenant("ten-a").Object(press).Disabled {
		t.Fatal("a guarded command of a changed user did nothing")
	}
}

// TestChangesRightsOfGuarded: what is decided anew after a guarded command is what the command in it asks for.
func TestChangesRightsOfGuarded(t *testing.T) {
	for _, c := range []command.Command{
		command.SetKeyDisabled{}, command.TouchSession{}, command.MergeUsage{}, command.EndSession{}, command.DecideApproval{},
		command.SetVersionState{}, command.CreateDevice{}, command.ChangeSettings{},
	} {
		if changesRights(byOwner(c)) != changesRights(c) {
			t.Errorf("%T", c)
		}
	}
	if !changesRights(command.Guarded{Command: []byte{0xff}}) {
		t.Error("a command that cannot be read is taken for harmless")
	}
}

// TestChangesRights lists what changes nothing that was decided before it; all other commands do.
func TestChangesRights(t *testing.T) {
	harmless := map[command.Type]bool{}
	for _, c := range []command.Command{
		command.LeaseUsage{}, command.CreateRefresh{}, command.RotateRefresh{}, command.CreateSession{}, command.CreateImport{},
		command.TouchSession{}, command.CreateInvitation{}, command.DropInvitation{}, command.CreateDevice{}, command.DecideDevice{},
		command.RedeemDevice{}, command.MergeUsage{}, command.RequestApproval{}, command.CancelApproval{}, command.RevokeRefresh{},
		command.Tick{}, command.AddMember{}, command.UpdateMember{}, command.CreateJoinInvitation{}, command.DropJoinInvitation{},
		command.RequestJoin{}, command.DecideJoin{}, command.CompleteJoin{}, command.SetBackupSchedule{}, command.RecordBackup{},
	} {
		harmless[c.Type()] = true
	}
	for _, c := range oneOfEachType() {
		inside, _ := innermost(c)
		if changesRights(c) == harmless[inside.Type()] {
			t.Errorf("%T: %v", c, changesRights(c))
		}
	}
}
