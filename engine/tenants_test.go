package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

const testDay = 24 * time.Hour

func TestWhoMayDoWhatToTenants(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	acme := w.newTenant("acme")
	hash := byte(0)
	invite := func() engine.OwnerInvitation {
		hash++
		return engine.OwnerInvitation{Email: "o@acme.example", Hash: [32]byte{hash}}
	}
	useCases := []struct {
		action  policy.Action
		auditor bool
		run     func(*engine.Call) error
	}{
		{policy.ListTenants, true, func(c *engine.Call) error { _, err := w.engine.Tenants(ctx, c); return err }},
		{policy.CreateTenant, false, func(c *engine.Call) error { _, _, err := w.engine.FoundTenant(ctx, c, "new", invite()); return err }},
		{policy.CreateTenant, false, func(c *engine.Call) error { _, _, err := w.engine.InviteOwner(ctx, c, "acme", invite()); return err }},
		{policy.DisableTenant, false, func(c *engine.Call) error {
			_, err := w.engine.SetTenantStatus(ctx, c, "acme", directory.Disabled)
			return err
		}},
		{policy.EnableTenant, false, func(c *engine.Call) error {
			_, err := w.engine.SetTenantStatus(ctx, c, acme, directory.Enabled)
			return err
		}},
		{policy.DeleteTenant, false, func(c *engine.Call) error {
			_, _, err := w.engine.DeleteTenant(ctx, c, acme, engine.TenantDeletion{})
			return err
		}},
		{policy.RestoreTenant, false, func(c *engine.Call) error { _, err := w.engine.RestoreTenant(ctx, c, "acme"); return err }},
	}
	owner, admin := w.person(w.tenant, "ow", directory.Owner), w.person(w.tenant, "ad", directory.Admin)
	auditor, operator := w.person(w.tenant, "au", directory.Auditor), w.person(w.tenant, "op", directory.Operator)
	for _, u := range useCases {
		for _, by := range []struct {
			name string
			call *engine.Call
			want fault.Kind
		}{
			{"nobody", callOf(nil), fault.Unauthenticated}, {"an application", w.call(), fault.Forbidden}, {"an owner", callOf(owner), fault.Forbidden},
			{"an admin", callOf(admin), fault.Forbidden}, {"an auditor", callOf(auditor), fault.Forbidden}, {"an operator", callOf(operator), fault.Unknown},
		} {
			want := by.want
			if by.name == "an auditor" && u.auditor {
				want = fault.Unknown
			}
			var err error
			records := w.records(func() { err = u.run(by.call) })
			if fault.Of(err) != want {
				t.Errorf("%s by %s: %v, want %v", u.action, by.name, err, want)
			}
			results := []audit.Result{audit.Denied}
			switch {
			case want == fault.Unknown && u.action == policy.ListTenants:
				results = []audit.Result{audit.Success}
			case want == fault.Unknown:
				results = []audit.Result{audit.Started, audit.Success}
			}
			var got []audit.Result
			for _, r := range records {
				got = append(got, r.Result)
				if r.Action != string(u.action) {
					t.Errorf("%s by %s: recorded as %s", u.action, by.name, r.Action)
				}
			}
			if !slices.Equal(got, results) {
				t.Errorf("%s by %s: recorded %v, want %v", u.action, by.name, got, results)
			}
		}
	}
}

// TestFirstOwner comes in by the invitation that the operator gave him.
func TestFirstOwner(t *testing.T) {
	w := newWorld(t)
	operator := callOf(w.person(w.tenant, "op", directory.Operator))
	tenant, invitation, err := w.engine.FoundTenant(t.Context(), operator, "acme", engine.OwnerInvitation{Hash: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(invitation.Roles, []directory.Role{directory.Owner}) || invitation.Tenant != tenant.ID || invitation.CreatedBy != operator.Subject.ID ||
		time.UnixMilli(invitation.ExpiresAt).Sub(time.UnixMilli(invitation.CreatedAt)) != 7*testDay {
		t.Errorf("the invitation is %+v", invitation)
	}
	// A second one, because the first was lost.
	if _, _, err := w.engine.InviteOwner(t.Context(), operator, "acme", engine.OwnerInvitation{Hash: [32]byte{2}}); err != nil {
		t.Fatal(err)
	}
	user := directory.User{ID: "user_first", Name: "first", CreatedAt: time.Now().UnixMilli()}
	if _, err := w.ledger.Propose(t.Context(), command.AcceptInvitation{Hash: [32]byte{2}, User: user, At: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	if u := w.ledger.View().Tenant(tenant.ID).User("user_first"); u == nil || !u.Has(directory.Owner) {
		t.Errorf("the first owner is %+v", u)
	}
	if _, _, err := w.engine.InviteOwner(t.Context(), operator, "acme", engine.OwnerInvitation{Hash: [32]byte{3}}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a third invitation by the operator: %v", err)
	}
	for name, email := range map[string]string{"": "", "acme": "", "Acme": "", "a b": "", "tenant_1": "", "fine": "nobody", "fine2": "O <o@acme.example>"} {
		want := fault.Malformed
		if name == "acme" {
			want = fault.Conflict
		}
		_, _, err := w.engine.FoundTenant(t.Context(), operator, name, engine.OwnerInvitation{Email: email, Hash: [32]byte{9}})
		if fault.Of(err) != want {
			t.Errorf("a tenant %q for %q: %v", name, email, err)
		}
	}
}

func TestOwnTenantIsSafe(t *testing.T) {
	w := newWorld(t)
	operator := callOf(w.person(w.tenant, "op", directory.Operator))
	if _, err := w.engine.SetTenantStatus(t.Context(), operator, w.tenant, directory.Disabled); !errors.Is(err, fault.Conflict) {
		t.Errorf("disable: %v", err)
	}
	if _, _, err := w.engine.DeleteTenant(t.Context(), operator, "first", engine.TenantDeletion{}); !errors.Is(err, fault.Conflict) {
		t.Errorf("delete: %v", err)
	}
	if _, err := w.engine.SetTenantStatus(t.Context(), operator, "nobody", directory.Disabled); !errors.Is(err, fault.NotFound) {
		t.Errorf("a tenant that does not exist: %v", err)
	}
	if _, _, err := w.engine.DeleteTenant(t.Context(), operator, "no\x00body", engine.TenantDeletion{}); !errors.Is(err, fault.NotFound) {
		t.Errorf("delete a tenant that does not exist: %v", err)
	}
}

// TestDisabledTenant has no rights, and gets them back.
func TestDisabledTenant(t *testing.T) {
	w := newWorld(t)
	operator := callOf(w.person(w.newTenant("operators"), "op", directory.Operator))
	owner := w.person(w.tenant, "ow", directory.Owner)
	w.mustEncrypt("user-pii", "p", "")
	if _, err := w.engine.SetTenantStatus(t.Context(), operator, "first", directory.Disabled); err != nil {
		t.Fatal(err)
	}
	if _, err := w.encrypt("user-pii", "p", ""); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("an application: %v", err)
	}
	if w.engine.SessionSubject(owner.Session) != nil {
		t.Error("a session of it stands for somebody")
	}
	if _, err := w.engine.SetTenantStatus(t.Context(), operator, "first", directory.Enabled); err != nil {
		t.Fatal(err)
	}
	w.mustEncrypt("user-pii", "p", "")
}

// TestDeletionOfATenant waits, can be taken back, and in the end leaves nothing, in memory neither.
func TestDeletionOfATenant(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.DestroyMinimum = 7 * testDay })
	operators := w.newTenant("operators")
	operator := func() *engine.Call { return callOf(w.person(operators, "op"+time.Now().String(), directory.Operator)) }
	frame := w.mustEncrypt("user-pii", "p", "").Ciphertext
	days := func(n uint32) *uint32 { return &n }
	remove := func(wait *uint32) (*directory.Tenant, error) {
		tenant, waiting, err := w.engine.DeleteTenant(t.Context(), operator(), "first", engine.TenantDeletion{WaitDays: wait})
		if waiting != nil {
			t.Error("it waits for approval")
		}
		return tenant, err
	}
	for _, n := range []uint32{0, 6, 367, 1 << 31} {
		if _, err := remove(days(n)); !errors.Is(err, fault.Malformed) {
			t.Errorf("in %d days: %v", n, err)
		}
	}
	tenant, err := remove(nil)
	if err != nil {
		t.Fatal(err)
	}
	if wait := time.UnixMilli(tenant.DeleteAt).Sub(w.now()).Round(time.Hour); wait != 30*testDay || tenant.Status != directory.Disabled {
		t.Errorf("it is deleted in %v and %v until then", wait, tenant.Status)
	}
	if _, err := w.engine.SetTenantStatus(t.Context(), operator(), "first", directory.Enabled); !errors.Is(err, fault.Conflict) {
		t.Errorf("enabled while it waits: %v", err)
	}
	if _, err := w.engine.RestoreTenant(t.Context(), operator(), "first"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.RestoreTenant(t.Context(), operator(), "first"); !errors.Is(err, fault.Conflict) {
		t.Errorf("restored twice: %v", err)
	}
	if _, err := w.engine.SetTenantStatus(t.Context(), operator(), "first", directory.Enabled); err != nil {
		t.Fatal(err)
	}
	if out, err := w.decrypt("user-pii", frame, ""); err != nil || string(out.Plaintext) != "p" {
		t.Fatalf("after it was restored: %v", err)
	}

	if _, err := remove(days(7)); err != nil {
		t.Fatal(err)
	}
	purge := func() {
		t.Helper()
		if err := w.engine.PurgeTenants(t.Context()); err != nil {
			t.Error(err)
		}
	}
	w.clock.Store(int64(6 * testDay))
	if records := w.records(purge); len(records) != 0 || w.ledger.View().TenantNamed("first") == nil {
		t.Errorf("a day too early: %d records", len(records))
	}
	w.clock.Store(int64(7*testDay + time.Minute))
	cached := w.engine.CachedKeys()
	records := w.records(purge)
	if len(records) != 2 || records[1].Action != string(policy.PurgeTenant) || records[1].Result != audit.Success || records[1].Resource != w.tenant {
		t.Errorf("recorded %+v", records)
	}
	if cached == 0 || w.engine.CachedKeys() != 0 {
		t.Errorf("%d keys were in memory, and %d are", cached, w.engine.CachedKeys())
	}
	view := w.ledger.View()
	if view.TenantNamed("first") != nil || len(view.Tenant(w.tenant).Versions()) != 0 || view.Application(w.app.ID) != nil {
		t.Error("something of the tenant is left")
	}
	if _, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("decrypting: %v", err)
	}
	if records := w.records(purge); len(records) != 0 {
		t.Errorf("the second time: %d records", len(records))
	}
}

// TestDeletionWithApproval: the tenant's own users decide, where its settings say so.
func TestDeletionWithApproval(t *testing.T) {
	w := newWorld(t)
	operator := callOf(w.person(w.newTenant("operators"), "op", directory.Operator))
	settings := directory.Settings{Revision: 1, Approvals: []directory.ApprovalRule{{Act: directory.ActDeleteTenant, Approvers: 1}}}
	if _, err := w.ledger.Propose(t.Context(), command.ChangeSettings{Tenant: w.tenant, Settings: settings}); err != nil {
		t.Fatal(err)
	}
	owner := w.person(w.tenant, "ow", directory.Owner)
	_, waiting, err := w.engine.DeleteTenant(t.Context(), operator, "first", engine.TenantDeletion{Reason: "over"})
	if err != nil || waiting == nil || waiting.Tenant != w.tenant || waiting.Reason != "over" || waiting.Required != 1 {
		t.Fatalf("got %+v, %v", waiting, err)
	}
	if r := w.audit.last.Load(); r.Cause != "approval-asked" || r.Resource != w.tenant {
		t.Errorf("recorded %+v", r)
	}
	if record := w.ledger.View().TenantNamed("first"); record.Status != directory.Enabled || record.DeleteAt != 0 {
		t.Error("it has begun")
	}
	out, err := w.ledger.Propose(t.Context(), command.DecideApproval{
		Tenant: w.tenant, ID: waiting.ID, Decision: directory.Decision{User: owner.ID, At: time.Now().UnixMilli(), Approve: true},
	})
	if err != nil || out.Approval != directory.ApprovalExecuted {
		t.Fatalf("the decision: %v, %v", out, err)
	}
	if record := w.ledger.View().TenantNamed("first"); record.Status != directory.Disabled || record.DeleteAt == 0 {
		t.Error("it has not begun")
	}
}
