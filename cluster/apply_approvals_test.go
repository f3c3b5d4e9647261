package cluster

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// The request of everything: user 1 of ten-a wants orchardKey(1, 1) destroyed, which needs two approvals, until lasting.

func vote(user int, at int64, changes ...func(*command.DecideApproval)) command.DecideApproval {
	c := approveFirst(user)
	c.Decision.At = at
	for _, change := range changes {
		change(&c)
	}
	return c
}

func against(c *command.DecideApproval) { c.Decision.Approve = false }

func withdraw(id string, user int) command.CancelApproval {
	return command.CancelApproval{Tenant: "ten-a", ID: id, User: userID("ten-a", user), At: 300}
}

func requestOf(t testing.TB, db *memdb.MemDB) *directory.Approval {
	t.Helper()
	a := tenantA(db).Approval(approvalOne)
	if a == nil {
		t.Fatal("the request is gone")
	}
	return a
}

func TestApprovalsRefuse(t *testing.T) {
	old := orchardKey(1, 1)
	request := func(f func(*directory.Approval)) command.Command {
		c := newRequest("ten-a", "approval_2", userID("ten-a", 1), 2, directory.ActDestroyKey, destruction("ten-a", old))
		f(&c.Approval)
		return c
	}
	holding := func(c command.Command) command.Command {
		return request(func(a *directory.Approval) { a.Command = encoded(c) })
	}
	long := strings.Repeat("r", directory.ReasonMax+1)
	const invalid, number, rights = "request for approval is not valid", "number of approvers was changed", "rights of the one who wanted it"
	const gone, decided = "request for approval does not exist", "decided already: it is "
	refuses(t, map[string]refusal{
		"no tenant":       {request(func(a *directory.Approval) { a.Tenant = "ten-z" }), fault.NotFound, "tenant does not exist", nil},
		"no id":           {request(func(a *directory.Approval) { a.ID = "" }), fault.Malformed, invalid, nil},
		"zero in id":      {request(func(a *directory.Approval) { a.ID = "a\x00" }), fault.Malformed, invalid, nil},
		"long reason":     {request(func(a *directory.Approval) { a.Reason = long }), fault.Malformed, invalid, nil},
		"ends at once":    {request(func(a *directory.Approval) { a.ExpiresAt = a.CreatedAt }), fault.Malformed, invalid, nil},
		"executed before": {request(func(a *directory.Approval) { a.State = directory.ApprovalExecuted }), fault.Malformed, invalid, nil},
		"no state":        {request(func(a *directory.Approval) { a.State = directory.ApprovalUnknown }), fault.Malformed, invalid, nil},
		"decided before": {request(func(a *directory.Approval) {
			a.Decisions = []directory.Decision{{User: userID("ten-a", 3), Approve: true, At: 1}}
		}), fault.Malformed, invalid, nil},
		"with a time":           {request(func(a *directory.Approval) { a.DecidedAt = 1 }), fault.Malformed, invalid, nil},
		"another act":           {request(func(a *directory.Approval) { a.Act = directory.ActDeleteTenant }), fault.Malformed, invalid, nil},
		"no act":                {request(func(a *directory.Approval) { a.Act = "" }), fault.Malformed, invalid, nil},
		"a command of no act":   {request(func(a *directory.Approval) { a.Act, a.Command = "", encoded(command.LeaseUsage{Key: old}) }), fault.Malformed, invalid, nil},
		"another act's command": {holding(deletion(1, 5)), fault.Malformed, invalid, nil},
		"a cancellation":        {holding(cancelled(old)), fault.Malformed, invalid, nil},
		"a destruction itself":  {holding(destroy(old, 5)), fault.Malformed, invalid, nil},
		"key of another tenant": {holding(destruction("ten-b", orchardKey(2, 1))), fault.Malformed, invalid, nil},
		"asks for one":          {request(func(a *directory.Approval) { a.Required = 1 }), fault.Conflict, number, nil},
		"asks for none":         {request(func(a *directory.Approval) { a.Required = 0 }), fault.Conflict, number, nil},
		"needs none by now":     {request(func(*directory.Approval) {}), fault.Conflict, number, []command.Command{noApprovals}},
		"needs none, asks none": {request(func(a *directory.Approval) { a.Required = 0 }), fault.Conflict, number, []command.Command{noApprovals}},
		"needs three by now":    {request(func(*directory.Approval) {}), fault.Conflict, number, []command.Command{settings(2, rule(directory.ActDestroyKey, 3))}},
		"used id":               {request(func(a *directory.Approval) { a.ID = approvalOne }), fault.Conflict, "exists already", nil},
		"requester unknown":     {request(func(a *directory.Approval) { a.Requester = "usr-none" }), fault.Forbidden, rights, nil},
		"no requester":          {request(func(a *directory.Approval) { a.Requester = "" }), fault.Forbidden, rights, nil},
		"requester disabled":    {request(func(a *directory.Approval) { a.Revision = 1 }), fault.Forbidden, rights, []command.Command{statusOf(1, directory.Disabled)}},
		"requester, later":      {request(func(a *directory.Approval) { a.Revision = 1 }), fault.Forbidden, rights, nil},
		"requester's tenant": {request(func(a *directory.Approval) { a.Requester = userID("ten-b", 1) }), fault.Forbidden, rights, []command.Command{
			command.SetTenantStatus{Tenant: "ten-b", Status: directory.Disabled},
		}},

		"decide: unknown":         {vote(3, 200, func(c *command.DecideApproval) { c.ID = "approval_9" }), fault.NotFound, gone, nil},
		"decide: of another":      {vote(3, 200, func(c *command.DecideApproval) { c.Tenant, c.Decision.User = "ten-b", userID("ten-b", 3) }), fault.NotFound, gone, []command.Command{command.ScheduleTenantDeletion{Tenant: "ten-b", At: 1}, command.DeleteTenant{Tenant: "ten-b", At: 2}}},
		"decide: user of ten-b":   {vote(3, 200, func(c *command.DecideApproval) { c.Decision.User = userID("ten-b", 3) }), fault.Malformed, "decision is not valid", nil},
		"decide: unknown user":    {vote(99, 200), fault.Malformed, "decision is not valid", nil},
		"decide: disabled user":   {vote(3, 200), fault.Malformed, "decision is not valid", []command.Command{statusOf(3, directory.Disabled)}},
		"decide: no time":         {vote(3, 0), fault.Malformed, "decision is not valid", nil},
		"decide: long reason":     {vote(3, 200, func(c *command.DecideApproval) { c.Decision.Reason = long }), fault.Malformed, "decision is not valid", nil},
		"decide: the requester":   {vote(1, 200), fault.Forbidden, "cannot approve it", nil},
		"reject: the requester":   {vote(1, 200, against), fault.Forbidden, "cannot approve it", nil},
		"decide: twice":           {vote(3, 201), fault.Conflict, "the user has decided already", []command.Command{vote(3, 200)}},
		"decide: once each way":   {vote(3, 201, against), fault.Conflict, "the user has decided already", []command.Command{vote(3, 200)}},
		"decide: expired":         {vote(3, lasting), fault.Conflict, "has expired", nil},
		"decide: second, expired": {vote(4, lasting), fault.Conflict, "has expired", []command.Command{vote(3, 200)}},
		"decide: executed":        {vote(2, 202), fault.Conflict, decided + "executed", []command.Command{vote(3, 200), vote(4, 201)}},
		"decide: rejected":        {vote(4, 202), fault.Conflict, decided + "rejected", []command.Command{vote(3, 200, against)}},
		"decide: cancelled":       {vote(4, 202), fault.Conflict, decided + "cancelled", []command.Command{withdraw(approvalOne, 1)}},
		"decide: failed":          {vote(2, 202), fault.Conflict, decided + "failed", []command.Command{rolesOf(1, directory.Owner), vote(3, 200), vote(4, 201)}},

		"cancel: unknown":      {withdraw("approval_9", 1), fault.NotFound, gone, nil},
		"cancel: another user": {withdraw(approvalOne, 2), fault.Forbidden, "only the one who wanted", nil},
		"cancel: twice":        {withdraw(approvalOne, 1), fault.Conflict, decided + "cancelled", []command.Command{withdraw(approvalOne, 1)}},
		"cancel: executed":     {withdraw(approvalOne, 1), fault.Conflict, decided + "executed", []command.Command{vote(3, 200), vote(4, 201)}},
		"cancel: rejected":     {withdraw(approvalOne, 1), fault.Conflict, decided + "rejected", []command.Command{vote(3, 200, against)}},
	})
}

// TestApprovalByTwo: nothing is done before the second approval, and the waiting period begins with it.
func TestApprovalByTwo(t *testing.T) {
	db := world(t)
	out := applyAll(t, db, vote(3, 200, func(c *command.DecideApproval) { c.Decision.Reason = "agreed" }))[0]
	a := requestOf(t, db)
	if out != (command.Outcome{Approval: directory.ApprovalPending}) || a.State != directory.ApprovalPending || a.DecidedAt != 0 ||
		!reflect.DeepEqual(a.Decisions, []directory.Decision{{User: userID("ten-a", 3), At: 200, Approve: true, Reason: "agreed"}}) {
		t.Fatalf("%+v, %+v", out, a)
	}
	if v := tenantA(db).Version(orchardKey(1, 1)); v.DestroyAt != 0 {
		t.Fatalf("it was done after one approval: %+v", v)
	}
	out = applyAll(t, db, vote(2, 700))[0]
	a = requestOf(t, db)
	if out != (command.Outcome{Approval: directory.ApprovalExecuted}) || a.State != directory.ApprovalExecuted || a.DecidedAt != 700 || len(a.Decisions) != 2 {
		t.Fatalf("%+v, %+v", out, a)
	}
	if v := tenantA(db).Version(orchardKey(1, 1)); v.DestroyAt != 700+1000 || v.Reason != "because" {
		t.Fatalf("%+v", v)
	}
	if newView(db, 0).Tenant("ten-b").Approval(approvalOne).State != directory.ApprovalPending || newView(db, 0).Tenant("ten-b").Version(orchardKey(2, 1)).DestroyAt != 0 {
		t.Fatal("another tenant's request was decided")
	}
}

func TestApprovalRejectedAndCancelled(t *testing.T) {
	db := world(t)
	out := applyAll(t, db, vote(4, 200), vote(3, 201, against))[1]
	if a := requestOf(t, db); out != (command.Outcome{Approval: directory.ApprovalRejected}) || a.State != directory.ApprovalRejected || a.DecidedAt != 201 || len(a.Decisions) != 2 {
		t.Fatalf("%+v, %+v", out, a)
	}
	db = world(t)
	mustApply(t, db, withdraw(approvalOne, 1))
	if a := requestOf(t, db); a.State != directory.ApprovalCancelled || a.DecidedAt != 300 {
		t.Fatalf("%+v", a)
	}
	if v := tenantA(db).Version(orchardKey(1, 1)); v.DestroyAt != 0 {
		t.Fatalf("%+v", v)
	}
}

// TestApprovalCountsUsersAsTheyAre: whoever approved and was disabled, deleted or given other roles before the end does not
// count. Enabled again, he may approve again.
func TestApprovalCountsUsersAsTheyAre(t *testing.T) {
	for name, c := range map[string]struct {
		changes []command.Command
		again   bool
	}{
		"disabled":              {[]command.Command{statusOf(3, directory.Disabled)}, false},
		"disabled, and enabled": {[]command.Command{statusOf(3, directory.Disabled), statusOf(3, directory.Enabled)}, true},
		"deleted":               {[]command.Command{deletionOf(3)}, false},
		"other roles":           {[]command.Command{rolesOf(3, directory.Viewer)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, vote(3, 200))
			mustApply(t, db, c.changes...)
			if n := len(requestOf(t, db).Decisions); n != 0 {
				t.Fatalf("%d decisions are left", n)
			}
			if out := applyAll(t, db, vote(4, 201))[0]; out.Refused != 0 || out.Approval != directory.ApprovalPending {
				t.Fatalf("%+v", out)
			}
			last := vote(2, 202)
			if c.again {
				last = vote(3, 202)
			}
			if out := applyAll(t, db, last)[0]; out.Refused != 0 || out.Approval != directory.ApprovalExecuted {
				t.Fatalf("%+v", out)
			}
		})
	}
	// Of others, of other requests and of requests that are decided nothing is taken back.
	db := world(t)
	second := newRequest("ten-a", "approval_2", userID("ten-a", 1), 2, directory.ActDestroyKey, destruction("ten-a", orchardKey(1, 1)))
	mustApply(t, db, second, vote(3, 200), vote(4, 201), vote(4, 202, func(c *command.DecideApproval) { c.ID = "approval_2" }), rolesOf(3, directory.Viewer))
	if a, b := requestOf(t, db), tenantA(db).Approval("approval_2"); len(a.Decisions) != 2 || len(b.Decisions) != 1 {
		t.Fatalf("%+v, %+v", a, b)
	}
}

// TestApprovalFails when the requester's rights are not what they were, or what he wanted is refused by now. It is decided all
// the same, and says why.
func TestApprovalFails(t *testing.T) {
	const rights = "the rights of the one who wanted it have changed"
	for name, c := range map[string]struct {
		changes []command.Command
		detail  string
	}{
		"requester disabled":   {[]command.Command{statusOf(1, directory.Disabled)}, rights},
		"disabled and enabled": {[]command.Command{statusOf(1, directory.Disabled), statusOf(1, directory.Enabled)}, rights},
		"requester deleted":    {[]command.Command{deletionOf(1)}, rights},
		"requester's roles":    {[]command.Command{rolesOf(1, directory.Admin)}, rights},
		"already scheduled":    {[]command.Command{noApprovals, destruction("ten-a", orchardKey(1, 1)), settings(3, rule(directory.ActDestroyKey, 2))}, "already as asked"},
		"version gone":         {nil, "the key version does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, c.changes...)
			if c.changes == nil {
				edit(db, func(txn *memdb.Txn) {
					drop(txn, tableVersions, first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 1)))
				})
			}
			out := applyAll(t, db, vote(3, 200), vote(4, 201))[1]
			a := requestOf(t, db)
			if out.Refused != 0 || out.Approval != directory.ApprovalFailed || !strings.Contains(out.Detail, c.detail) ||
				a.State != directory.ApprovalFailed || a.DecidedAt != 201 || len(a.Decisions) != 2 {
				t.Fatalf("%+v, %+v", out, a)
			}
			if v := tenantA(db).Version(orchardKey(1, 1)); v != nil && v.DestroyAt == 1201 {
				t.Fatal("it was done")
			}
		})
	}
}

// TestApprovalNumberGoesUpOnly: a tenant that asks for more approvers meanwhile gets more, and one that asks for fewer gets as
// many as when the request was made.
func TestApprovalNumberGoesUpOnly(t *testing.T) {
	for name, c := range map[string]struct {
		rules []directory.ApprovalRule
		votes int
	}{
		"more":  {[]directory.ApprovalRule{rule(directory.ActDestroyKey, 3)}, 3},
		"fewer": {[]directory.ApprovalRule{rule(directory.ActDestroyKey, 1)}, 2},
		"none":  {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, settings(2, c.rules...))
			for i := 1; i <= c.votes; i++ {
				want := directory.ApprovalPending
				if i == c.votes {
					want = directory.ApprovalExecuted
				}
				if out := applyAll(t, db, vote(1+i, 200))[0]; out.Approval != want || out.Refused != 0 {
					t.Fatalf("approval %d: %+v", i, out)
				}
			}
		})
	}
}

// TestApprovalOfEachAct: what was asked for is done, once, at the time of the last approval.
func TestApprovalOfEachAct(t *testing.T) {
	wanted := settings(2, rule(directory.ActDestroyKey, 1), rule(directory.ActDeleteTenant, 1), rule(directory.ActChangeSettings, 1))
	operator := userID("ten-b", 1)
	for act, c := range map[directory.Act]struct {
		command command.Command
		done    func(*TenantView) bool
	}{
		directory.ActDestroyKey: {destruction("ten-a", orchardKey(1, 1)), func(v *TenantView) bool { return v.Version(orchardKey(1, 1)).DestroyAt == 1700 }},
		directory.ActDeleteTenant: {deletion(100, 1000), func(v *TenantView) bool {
			return v.Record().DeleteAt == 1700 && v.Record().Status == directory.Disabled
		}},
		directory.ActChangeSettings: {settings(3, rule(directory.ActDeleteTenant, 2)), func(v *TenantView) bool {
			return v.Record().Of().Approvers(directory.ActDeleteTenant) == 2 && v.Record().Of().Revision == 3
		}},
	} {
		t.Run(string(act), func(t *testing.T) {
			db := world(t)
			// Who wants it may be of another tenant: an operator. Whose tenant it is decides.
			mustApply(t, db, wanted, newRequest("ten-a", "approval_2", operator, 1, act, c.command))
			if c.done(tenantA(db)) {
				t.Fatal("it was done before")
			}
			out := applyAll(t, db, vote(3, 700, func(c *command.DecideApproval) { c.ID = "approval_2" }))[0]
			if out != (command.Outcome{Approval: directory.ApprovalExecuted}) || !c.done(tenantA(db)) {
				t.Fatalf("%+v", out)
			}
		})
	}
	// The operator's tenant is disabled: so is he.
	db := world(t)
	mustApply(t, db, wanted, newRequest("ten-a", "approval_2", operator, 1, directory.ActDeleteTenant, deletion(100, 1000)),
		command.SetTenantStatus{Tenant: "ten-b", Status: directory.Disabled})
	if out := applyAll(t, db, vote(3, 700, func(c *command.DecideApproval) { c.ID = "approval_2" }))[0]; out.Approval != directory.ApprovalFailed {
		t.Fatalf("%+v", out)
	}
}

// TestApprovalOfAnEndlessWait: the sum that was good when it was asked for must be good when it is decided.
func TestApprovalOfAnEndlessWait(t *testing.T) {
	db := world(t)
	mustApply(t, db, newRequest("ten-a", "approval_2", userID("ten-a", 1), 2, directory.ActDestroyKey,
		changed(destruction("ten-a", orchardKey(1, 1)), func(c *command.ScheduleDestruction) { c.Wait = math.MaxInt64 - 100 })))
	second := func(c *command.DecideApproval) { c.ID = "approval_2" }
	if out := applyAll(t, db, vote(3, 200, second), vote(4, 201, second))[1]; out.Approval != directory.ApprovalFailed {
		t.Fatalf("%+v", out)
	}
}

// TestApprovalsAreBounded: what ended long ago goes with the next request, what ended lately when there is no room, the oldest
// first, and what waits stays.
func TestApprovalsAreBounded(t *testing.T) {
	const at = keepApprovals + 10_000
	one := func(tenant, id string, created int64) *directory.Approval {
		c := newRequest(tenant, id, userID(tenant, 1), 2, directory.ActDestroyKey, destruction(tenant, orchardKey(1, 1)))
		c.Approval.CreatedAt, c.Approval.ExpiresAt = created, created+5000
		return &c.Approval
	}
	fill := func(t *testing.T, n int, of func(i int, a *directory.Approval)) *memdb.MemDB {
		db := world(t)
		edit(db, func(txn *memdb.Txn) {
			drop(txn, tableApprovals, first[directory.Approval](txn, tableApprovals, indexID, "ten-a", approvalOne))
			for i := range n {
				a := one("ten-a", fmt.Sprintf("a-%04d", i), at-1)
				of(i, a)
				put(txn, tableApprovals, a)
			}
		})
		return db
	}
	ask := func(t *testing.T, db *memdb.MemDB, tenant string) command.Outcome {
		return applyAll(t, db, command.RequestApproval{Approval: *one(tenant, "the-new", at)})[0]
	}
	ids := func(db *memdb.MemDB) string {
		var b bytes.Buffer
		for _, a := range tenantA(db).Approvals() {
			b.WriteString(a.ID + " ")
		}
		return b.String()
	}
	t.Run("long ago", func(t *testing.T) {
		db := fill(t, 6, func(i int, a *directory.Approval) {
			switch i {
			case 0: // expired before the bound, and at it
				a.ExpiresAt = at - keepApprovals - 1
			case 1:
				a.ExpiresAt = at - keepApprovals
			case 2: // decided before the bound, and at it, whenever they would have expired
				a.State, a.DecidedAt = directory.ApprovalRejected, at-keepApprovals-1
			case 3:
				a.State, a.DecidedAt = directory.ApprovalExecuted, at-keepApprovals
			case 4:
				a.State, a.DecidedAt, a.ExpiresAt = directory.ApprovalCancelled, at-5, 1
			}
		})
		if out := ask(t, db, "ten-a"); out.Refused != 0 || ids(db) != "a-0001 a-0003 a-0004 a-0005 the-new " {
			t.Fatalf("%+v, %s", out, ids(db))
		}
		if newView(db, 0).Tenant("ten-b").Approval(approvalOne) == nil {
			t.Fatal("another tenant's request went")
		}
	})
	t.Run("all wait", func(t *testing.T) {
		db := fill(t, maxApprovals, func(int, *directory.Approval) {})
		before := newView(db, 0).Digest()
		if out := ask(t, db, "ten-a"); out.Refused != fault.Conflict || !strings.Contains(out.Detail, "too many") || newView(db, 0).Digest() != before {
			t.Fatalf("%+v", out)
		}
		if out := ask(t, db, "ten-b"); out.Refused != 0 {
			t.Fatalf("another tenant's requests count: %+v", out)
		}
	})
	t.Run("one less", func(t *testing.T) {
		db := fill(t, maxApprovals-1, func(int, *directory.Approval) {})
		if out := ask(t, db, "ten-a"); out.Refused != 0 || len(tenantA(db).Approvals()) != maxApprovals {
			t.Fatalf("%+v", out)
		}
	})
	t.Run("two ended lately", func(t *testing.T) {
		db := fill(t, maxApprovals, func(i int, a *directory.Approval) {
			switch i {
			case 10:
				a.State, a.DecidedAt = directory.ApprovalCancelled, at-20
			case 20:
				a.ExpiresAt = at - 30
			}
		})
		out := ask(t, db, "ten-a")
		if out.Refused != 0 || tenantA(db).Approval("a-0020") != nil || tenantA(db).Approval("a-0010") == nil || len(tenantA(db).Approvals()) != maxApprovals {
			t.Fatalf("%+v, %d", out, len(tenantA(db).Approvals()))
		}
	})
}
