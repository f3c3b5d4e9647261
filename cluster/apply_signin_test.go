package cluster

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// accept shows the code of the n-th tenant's invitation at a time.
func accept(n byte, at int64, changes ...func(*directory.User)) command.AcceptInvitation {
	c := command.AcceptInvitation{Hash: codeHash(n, 3), At: at, User: directory.User{ID: "usr-new", Name: "newcomer", CreatedAt: at}}
	for _, change := range changes {
		change(&c.User)
	}
	return c
}

func TestInvitationsRefuse(t *testing.T) {
	fresh := newInvitation("ten-a", "invitation_2", codeHash(9, 3), 10, lasting)
	with := func(f func(*directory.Invitation)) command.Command {
		return changed(fresh, func(c *command.CreateInvitation) { f(&c.Invitation) })
	}
	const over = "unknown, used or over"
	refuses(t, map[string]refusal{
		"no id":            {with(func(i *directory.Invitation) { i.ID = "" }), fault.Malformed, "invitation is not valid", nil},
		"zero in id":       {with(func(i *directory.Invitation) { i.ID = "i\x00" }), fault.Malformed, "invitation is not valid", nil},
		"no roles":         {with(func(i *directory.Invitation) { i.Roles = nil }), fault.Malformed, "invitation is not valid", nil},
		"unknown role":     {with(func(i *directory.Invitation) { i.Roles = []directory.Role{"king"} }), fault.Malformed, "invitation is not valid", nil},
		"long address":     {with(func(i *directory.Invitation) { i.Email = strings.Repeat("n", directory.EmailMax+1) }), fault.Malformed, "invitation is not valid", nil},
		"ends at once":     {with(func(i *directory.Invitation) { i.ExpiresAt = i.CreatedAt }), fault.Malformed, "invitation is not valid", nil},
		"no tenant":        {with(func(i *directory.Invitation) { i.Tenant = "ten-z" }), fault.NotFound, "tenant does not exist", nil},
		"zero in tenant":   {with(func(i *directory.Invitation) { i.Tenant = "t\x00" }), fault.NotFound, "tenant does not exist", nil},
		"used id":          {with(func(i *directory.Invitation) { i.ID = inviteOne }), fault.Conflict, "exists already", nil},
		"used code":        {with(func(i *directory.Invitation) { i.Hash = codeHash(1, 3) }), fault.Conflict, "exists already", nil},
		"code of ten-b":    {with(func(i *directory.Invitation) { i.Hash = codeHash(2, 3) }), fault.Conflict, "exists already", nil},
		"drop: unknown":    {command.DropInvitation{Tenant: "ten-a", ID: "invitation_9"}, fault.NotFound, "does not exist", nil},
		"drop: of another": {command.DropInvitation{Tenant: "ten-b", ID: "invitation_2"}, fault.NotFound, "does not exist", []command.Command{fresh}},

		"accept: unknown code":     {accept(9, 20), fault.Unauthenticated, over, nil},
		"accept: expired":          {accept(1, lasting), fault.Unauthenticated, over, nil},
		"accept: used":             {accept(1, 20, func(u *directory.User) { u.ID, u.Name = "usr-2", "second" }), fault.Unauthenticated, over, []command.Command{accept(1, 20)}},
		"accept: dropped":          {accept(1, 20), fault.Unauthenticated, over, []command.Command{command.DropInvitation{Tenant: "ten-a", ID: inviteOne}}},
		"accept: tenant disabled":  {accept(1, 20), fault.Unauthenticated, over, []command.Command{command.SetTenantStatus{Tenant: "ten-a", Status: directory.Disabled}}},
		"accept: maker disabled":   {accept(1, 20), fault.Unauthenticated, over, []command.Command{statusOf(1, directory.Disabled)}},
		"accept: maker gone":       {accept(1, 20), fault.Unauthenticated, over, []command.Command{deletionOf(1)}},
		"accept: used name":        {accept(1, 20, func(u *directory.User) { u.Name = "name of " + userID("ten-a", 1) }), fault.Conflict, "user with this name", nil},
		"accept: used id":          {accept(1, 20, func(u *directory.User) { u.ID = userID("ten-b", 1) }), fault.Conflict, "user with this id", nil},
		"accept: no name":          {accept(1, 20, func(u *directory.User) { u.Name = "" }), fault.Malformed, "no valid id or name", nil},
		"accept: used identity":    {accept(1, 20, func(u *directory.User) { u.Issuer, u.Subject = issuerOne, subjectOne }), fault.Conflict, "name at the identity provider exists", nil},
		"accept: ten-b's is other": {accept(2, 20), fault.Unauthenticated, over, []command.Command{command.SetTenantStatus{Tenant: "ten-b", Status: directory.Disabled}}},
	})
}

// TestInvitationDecides: tenant, roles and status come from the invitation, whatever the record says, and it serves once.
func TestInvitationDecides(t *testing.T) {
	db := world(t)
	mustApply(t, db, accept(1, lasting-1, func(u *directory.User) {
		u.Tenant, u.Roles, u.Status, u.Revision = "ten-b", []directory.Role{directory.Owner, directory.Operator}, directory.Disabled, 9
		u.Email, u.Password, u.DisplayName = "new@example.com", "$x", "New User"
	}))
	want := directory.User{
		ID: "usr-new", Tenant: "ten-a", Name: "newcomer", Roles: []directory.Role{directory.Developer}, Status: directory.Enabled,
		CreatedAt: lasting - 1, Email: "new@example.com", Password: "$x", DisplayName: "New User",
	}
	if u := tenantA(db).User("usr-new"); u == nil || !reflect.DeepEqual(*u, want) {
		t.Fatalf("%+v", u)
	}
	if len(tenantA(db).Invitations()) != 0 || newView(db, 0).Invitation(codeHash(1, 3)) != nil || newView(db, 0).Invitation(codeHash(2, 3)) == nil {
		t.Fatal("the invitation stays, or another went")
	}
	// One of the appliance has no maker who could go.
	mustApply(t, db, changed(newInvitation("ten-a", "invitation_2", codeHash(9, 3), 10, lasting), func(c *command.CreateInvitation) {
		c.Invitation.CreatedBy = ""
	}), accept(9, 20, func(u *directory.User) { u.ID, u.Name = "usr-next", "next" }))
}

// TestInvitationOfNoTenant: no command leaves one; the rule does not rely on it.
func TestInvitationOfNoTenant(t *testing.T) {
	db := world(t)
	edit(db, func(txn *memdb.Txn) {
		drop(txn, tableTenants, first[directory.Tenant](txn, tableTenants, indexID, "ten-a"))
	})
	if out := applyAll(t, db, accept(1, 20))[0]; out.Refused != fault.Unauthenticated || out.Cause != "invitation" {
		t.Fatalf("%+v", out)
	}
}

// TestInvitationsAreBounded: what expired makes room, what another tenant has takes none.
func TestInvitationsAreBounded(t *testing.T) {
	db := world(t)
	edit(db, func(txn *memdb.Txn) {
		for i := 1; i < maxInvitations; i++ {
			c := newInvitation("ten-a", fmt.Sprintf("waiting-%04d", i), [32]byte(fmt.Appendf(nil, "%032d", i)), 10, 20+int64(i%2))
			put(txn, tableInvitations, &c.Invitation)
		}
	})
	fresh := func(tenant, id string, n byte, at int64) command.CreateInvitation {
		return newInvitation(tenant, id, codeHash(n, 3), at, lasting)
	}
	out := applyAll(t, db, fresh("ten-a", "full", 9, 20), fresh("ten-b", "free", 10, 20), fresh("ten-a", "room", 11, 21))
	if out[0].Refused != fault.Conflict || !strings.Contains(out[0].Detail, "too many") || out[1].Refused != 0 || out[2].Refused != 0 {
		t.Fatalf("%+v", out)
	}
	// Those that ended at 20 are gone, those that end at 21 are not.
	if n := len(tenantA(db).Invitations()); n != 1+maxInvitations/2+1 {
		t.Fatalf("%d invitations", n)
	}
}

func redeem(n byte, at int64, changes ...func(*directory.Session)) command.RedeemDevice {
	c := command.RedeemDevice{Hash: codeHash(n, 4), Session: directory.Session{
		Hash: codeHash(n, 9), CreatedAt: at, ExpiresAt: lasting * 2, Provider: "device", Source: "192.0.2.1",
	}}
	for _, change := range changes {
		change(&c.Session)
	}
	return c
}

func decide(code string, user int, approve bool, at int64) command.DecideDevice {
	return command.DecideDevice{UserCode: code, Tenant: "ten-a", User: userID("ten-a", user), Approve: approve, At: at}
}

func TestDevicesRefuse(t *testing.T) {
	fresh := newDevice("CODE-NEW", codeHash(9, 4), 10, lasting)
	with := func(f func(*directory.Device)) command.Command {
		return changed(fresh, func(c *command.CreateDevice) { f(&c.Device) })
	}
	const invalid, none, over = "sign-in is not valid", "no sign-in waits", "unknown, used or over"
	waiting := []command.Command{fresh}
	refuses(t, map[string]refusal{
		"no code":        {with(func(d *directory.Device) { d.UserCode = "" }), fault.Malformed, invalid, nil},
		"zero in code":   {with(func(d *directory.Device) { d.UserCode = "c\x00" }), fault.Malformed, invalid, nil},
		"approved":       {with(func(d *directory.Device) { d.State = directory.DeviceApproved }), fault.Malformed, invalid, nil},
		"with a user":    {with(func(d *directory.Device) { d.User = userID("ten-a", 1) }), fault.Malformed, invalid, nil},
		"with a tenant":  {with(func(d *directory.Device) { d.Tenant = "ten-a" }), fault.Malformed, invalid, nil},
		"ends at once":   {with(func(d *directory.Device) { d.ExpiresAt = d.CreatedAt }), fault.Malformed, invalid, nil},
		"used hash":      {with(func(d *directory.Device) { d.Hash = codeHash(1, 4) }), fault.Conflict, "exists already", nil},
		"used user code": {with(func(d *directory.Device) { d.UserCode = "CODE-0001" }), fault.Conflict, "exists already", nil},

		"decide: unknown code":  {decide("CODE-NONE", 1, true, 20), fault.NotFound, none, nil},
		"decide: unknown user":  {decide("CODE-NEW", 99, true, 20), fault.NotFound, "user does not exist", waiting},
		"decide: user of ten-b": {changed(decide("CODE-NEW", 1, true, 20), func(c *command.DecideDevice) { c.User = userID("ten-b", 1) }), fault.NotFound, "user does not exist", waiting},
		"decide: disabled user": {decide("CODE-NEW", 1, true, 20), fault.Unauthenticated, "is disabled", []command.Command{fresh, statusOf(1, directory.Disabled)}},
		"decide: expired":       {decide("CODE-NEW", 1, true, lasting), fault.NotFound, none, waiting},
		"decide: approved":      {decide("CODE-NEW", 2, false, 20), fault.NotFound, none, []command.Command{fresh, decide("CODE-NEW", 1, true, 20)}},
		"decide: denied":        {decide("CODE-NEW", 2, true, 20), fault.NotFound, none, []command.Command{fresh, decide("CODE-NEW", 1, false, 20)}},

		"redeem: unknown":         {redeem(8, 30), fault.Unauthenticated, over, nil},
		"redeem: undecided":       {redeem(9, 30), fault.Unauthenticated, over, waiting},
		"redeem: denied":          {redeem(9, 30), fault.Unauthenticated, over, []command.Command{fresh, decide("CODE-NEW", 1, false, 20)}},
		"redeem: expired":         {redeem(1, lasting), fault.Unauthenticated, over, nil},
		"redeem: twice":           {redeem(1, 30, func(s *directory.Session) { s.Hash = codeHash(1, 10) }), fault.Unauthenticated, over, []command.Command{redeem(1, 30)}},
		"redeem: user disabled":   {redeem(1, 30), fault.Unauthenticated, over, []command.Command{statusOf(1, directory.Disabled)}},
		"redeem: enabled again":   {redeem(1, 30), fault.Unauthenticated, over, []command.Command{statusOf(1, directory.Disabled), statusOf(1, directory.Enabled)}},
		"redeem: user gone":       {redeem(1, 30), fault.Unauthenticated, over, []command.Command{deletionOf(1)}},
		"redeem: sessions ended":  {redeem(1, 30), fault.Unauthenticated, over, []command.Command{command.EndSessions{Tenant: "ten-a", User: userID("ten-a", 1)}}},
		"redeem: tenant disabled": {redeem(1, 30), fault.Unauthenticated, over, []command.Command{command.SetTenantStatus{Tenant: "ten-a", Status: directory.Disabled}}},
		"redeem: ends at once":    {redeem(1, 30, func(s *directory.Session) { s.ExpiresAt = 30 }), fault.Malformed, "ends before it begins", nil},
		"redeem: used session":    {redeem(1, 30, func(s *directory.Session) { s.Hash = codeHash(1, 5) }), fault.Conflict, "session exists already", nil},
	})
}

// TestDeviceBecomesASession of the user who approved it, whatever the record says.
func TestDeviceBecomesASession(t *testing.T) {
	db := world(t)
	mustApply(t, db, newDevice("CODE-NEW", codeHash(9, 4), 10, lasting))
	if d := newView(db, 0).DeviceByUserCode("CODE-NEW"); d == nil || d.State != directory.DevicePending {
		t.Fatalf("%+v", d)
	}
	mustApply(t, db, decide("CODE-NEW", 3, true, lasting-1))
	if d := newView(db, 0).Device(codeHash(9, 4)); d.State != directory.DeviceApproved || d.User != userID("ten-a", 3) || d.Tenant != "ten-a" {
		t.Fatalf("%+v", d)
	}
	mustApply(t, db, redeem(9, lasting-1, func(s *directory.Session) { s.User, s.Tenant = userID("ten-b", 1), "ten-b" }))
	want := directory.Session{
		Hash: codeHash(9, 9), User: userID("ten-a", 3), Tenant: "ten-a", CreatedAt: lasting - 1, ExpiresAt: lasting * 2,
		Provider: "device", Source: "192.0.2.1",
	}
	if s := newView(db, 0).Session(codeHash(9, 9)); s == nil || !reflect.DeepEqual(*s, want) {
		t.Fatalf("%+v", s)
	}
	if newView(db, 0).Device(codeHash(9, 4)) != nil || newView(db, 0).Device(codeHash(1, 4)) == nil {
		t.Fatal("a sign-in that was redeemed stays, or another went")
	}
	mustApply(t, db, newDevice("CODE-NEW", codeHash(10, 4), 10, lasting), decide("CODE-NEW", 3, false, 20))
	if d := newView(db, 0).Device(codeHash(10, 4)); d.State != directory.DeviceDenied || d.User != userID("ten-a", 3) {
		t.Fatalf("%+v", d)
	}
}

// TestDeviceOfNobody: no command leaves one whose user is gone; the rule does not rely on it.
func TestDeviceOfNobody(t *testing.T) {
	db := world(t)
	edit(db, func(txn *memdb.Txn) {
		drop(txn, tableUsers, first[directory.User](txn, tableUsers, indexID, userID("ten-a", 1)))
		u := *first[directory.User](txn, tableUsers, indexID, userID("ten-b", 1))
		u.Status = directory.Disabled
		put(txn, tableUsers, &u)
	})
	for _, out := range applyAll(t, db, redeem(1, 30), redeem(2, 30)) {
		if out.Refused != fault.Unauthenticated || out.Cause != "device" {
			t.Fatalf("%+v", out)
		}
	}
}

func TestDevicesAreBounded(t *testing.T) {
	db := world(t) // two wait
	edit(db, func(txn *memdb.Txn) {
		for i := 2; i < maxDevices; i++ {
			c := newDevice(fmt.Sprintf("W-%06d", i), [32]byte(fmt.Appendf(nil, "%032d", i)), 10, 20+int64(i%2))
			put(txn, tableDevices, &c.Device)
		}
	})
	fresh := func(code string, n byte, at int64) command.CreateDevice {
		return newDevice(code, codeHash(n, 4), at, lasting)
	}
	out := applyAll(t, db, fresh("FULL", 9, 20), fresh("ROOM", 10, 21))
	if out[0].Refused != fault.RateLimited || out[1].Refused != 0 {
		t.Fatalf("%+v", out)
	}
	if n := len(all[directory.Device](db.Txn(false), tableDevices, indexID)); n != 2+(maxDevices-2)/2+1 {
		t.Fatalf("%d sign-ins", n)
	}
}
