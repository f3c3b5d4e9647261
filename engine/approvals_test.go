package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// settings returns the present settings of the world's tenant, changed.
func (w *world) settings(change func(*directory.Settings)) directory.Settings {
	s := *w.ledger.Node.View().Tenant(w.tenant).Record().Of()
	change(&s)
	return s
}

// setSettings changes the settings of the world's tenant, which need no approval yet.
func (w *world) setSettings(change func(*directory.Settings)) {
	w.t.Helper()
	waiting, err := w.engine.ChangeSettings(w.t.Context(), w.owner(), w.settings(change), "")
	if err != nil || waiting != nil {
		w.t.Fatalf("change of settings: %v, %v", waiting, err)
	}
}

func needs(act directory.Act, approvers uint8) func(*directory.Settings) {
	return func(s *directory.Settings) {
		s.Approvals = append(s.Approvals, directory.ApprovalRule{Act: act, Approvers: approvers})
		if act != directory.ActChangeSettings && s.Approvers(directory.ActChangeSettings) == 0 {
			s.Approvals = append(s.Approvals, directory.ApprovalRule{Act: directory.ActChangeSettings, Approvers: max(1, approvers)})
		}
	}
}

// TestApprovals: m of n others, each once, and only then the act.
func TestApprovals(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	first, second := w.userNamed("ann", directory.Admin), w.userNamed("bob", directory.Owner)
	w.owner()
	w.setSettings(needs(directory.ActChangeSettings, 2))

	want := w.settings(func(s *directory.Settings) { s.SubjectRate = directory.Rate{PerSecond: 9, Burst: 9} })
	asked, err := w.engine.ChangeSettings(ctx, w.owner(), want, "slow them down")
	if err != nil || asked == nil || asked.Required != 2 || asked.State != directory.ApprovalPending {
		t.Fatalf("%+v, %v", asked, err)
	}
	if last := w.audit.last.Load(); last.Cause != "approval-asked" || last.Action != string(policy.ChangeSettings) {
		t.Errorf("the record is %+v", last)
	}
	if now := w.settings(func(*directory.Settings) {}); now.SubjectRate.PerSecond != 0 {
		t.Error("the change was made before its approval")
	}

	decide := func(c *engine.Call, approve bool) (*directory.Approval, error) {
		return w.engine.DecideApproval(ctx, c, asked.ID, approve, "because")
	}
	if _, err := decide(w.owner(), true); !errors.Is(err, fault.Forbidden) {
		t.Errorf("the requester's own approval: %v", err)
	}
	if _, err := decide(w.userCall(w.tenant, directory.Developer), true); !errors.Is(err, fault.Forbidden) {
		t.Errorf("a developer's approval: %v", err)
	}
	if _, err := decide(w.userCall(w.newTenant("other"), directory.Owner), true); !errors.Is(err, fault.NotFound) {
		t.Errorf("another tenant's approval: %v", err)
	}
	if got, err := decide(first, true); err != nil || got.State != directory.ApprovalPending {
		t.Fatalf("the first: %+v, %v", got, err)
	}
	if _, err := decide(first, true); !errors.Is(err, fault.Conflict) {
		t.Errorf("the first again: %v", err)
	}
	if got, err := decide(second, true); err != nil || got.State != directory.ApprovalExecuted || len(got.Decisions) != 2 {
		t.Fatalf("the second: %+v, %v", got, err)
	}
	if now := w.settings(func(*directory.Settings) {}); now.SubjectRate.PerSecond != 9 {
		t.Error("the act was not carried out")
	}
	if _, err := decide(w.userNamed("cyd", directory.Admin), false); !errors.Is(err, fault.Conflict) {
		t.Errorf("after the end: %v", err)
	}
}

// TestApprovalsThatEnd: rejected, withdrawn and expired requests carry nothing out, nor does one whose requester lost his rights.
func TestApprovalsThatEnd(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	admin := w.userNamed("ann", directory.Admin)
	asker := w.userNamed("bob", directory.Owner)
	w.owner()
	w.setSettings(needs(directory.ActChangeSettings, 1))
	ask := func() *directory.Approval {
		t.Helper()
		a, err := w.engine.ChangeSettings(ctx, asker, w.settings(func(s *directory.Settings) { s.AddressRate = directory.Rate{PerSecond: 1, Burst: 1} }), "")
		if err != nil || a == nil {
			t.Fatalf("%v, %v", a, err)
		}
		return a
	}
	unchanged := func(why string) {
		t.Helper()
		if w.settings(func(*directory.Settings) {}).AddressRate.PerSecond != 0 {
			t.Errorf("%s, and it was carried out", why)
		}
	}

	a := ask()
	if got, err := w.engine.DecideApproval(ctx, admin, a.ID, false, "no"); err != nil || got.State != directory.ApprovalRejected {
		t.Errorf("rejected: %+v, %v", got, err)
	}
	unchanged("rejected")

	a = ask()
	if _, err := w.engine.CancelApproval(ctx, admin, a.ID); !errors.Is(err, fault.Forbidden) {
		t.Errorf("withdrawn by another: %v", err)
	}
	if got, err := w.engine.CancelApproval(ctx, asker, a.ID); err != nil || got.State != directory.ApprovalCancelled {
		t.Errorf("withdrawn: %+v, %v", got, err)
	}
	if _, err := w.engine.DecideApproval(ctx, admin, a.ID, true, ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("approved after it was withdrawn: %v", err)
	}
	unchanged("withdrawn")

	a = ask()
	w.clock.Store(int64(8 * 24 * time.Hour))
	late := w.userNamed("late", directory.Admin)
	if _, err := w.engine.DecideApproval(ctx, late, a.ID, true, ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("approved a day too late: %v", err)
	}
	w.clock.Store(0)
	unchanged("expired")

	a = ask()
	w.propose(setRoles(asker, directory.Owner, directory.Viewer))
	if got, err := w.engine.DecideApproval(ctx, admin, a.ID, true, ""); err != nil || got.State != directory.ApprovalFailed {
		t.Errorf("the requester's roles have changed: %+v, %v", got, err)
	}
	unchanged("the requester's roles had changed")
}

// TestApprovalsMustBePossible: settings cannot ask for more approvers than there are.
func TestApprovalsMustBePossible(t *testing.T) {
	w := newWorld(t)
	w.owner()
	w.userNamed("ann", directory.Admin)
	if _, err := w.engine.ChangeSettings(t.Context(), w.owner(), w.settings(needs(directory.ActDestroyKey, 2)), ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("two approvers of two users: %v", err)
	}
	alone := func(s *directory.Settings) {
		s.Approvals = []directory.ApprovalRule{{Act: directory.ActDestroyKey, Approvers: 1}}
	}
	if _, err := w.engine.ChangeSettings(t.Context(), w.owner(), w.settings(alone), ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("rules that one user can take away: %v", err)
	}
	w.setSettings(needs(directory.ActDestroyKey, 1))
}

// TestApproversAreOthers: no user whom the requester made up, or can be, approves.
func TestApproversAreOthers(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.owner()
	w.userNamed("ann", directory.Admin)
	reset := w.userNamed("bob", directory.Admin)
	w.setSettings(needs(directory.ActChangeSettings, 1))
	a, err := w.engine.ChangeSettings(ctx, w.owner(), w.settings(func(s *directory.Settings) { s.DestroyWait = 1 }), "")
	if err != nil || a == nil {
		t.Fatalf("%v, %v", a, err)
	}
	w.later(time.Minute)
	late := w.userNamed("late", directory.Admin)
	w.propose(command.SetPassword{Tenant: w.tenant, User: reset.Subject.ID, Password: "$x", By: a.Requester, Keep: reset.Subject.Session})
	for name, c := range map[string]*engine.Call{"made after the request": late, "whose password the requester chose": reset} {
		if _, err := w.engine.DecideApproval(ctx, c, a.ID, true, ""); !errors.Is(err, fault.Forbidden) {
			t.Errorf("approved by a user %s: %v", name, err)
		}
	}
	if details := engine.ApprovalDetails(a); !slices.Contains(details, "destructions wait 1ms") || !slices.Contains(details, "act settings.change needs 1 approvers") {
		t.Errorf("those who decide read %q", details)
	}
}

// TestSettingsOfAnotherRevision: two owners who change the settings at once do not undo each other.
func TestSettingsOfAnotherRevision(t *testing.T) {
	w := newWorld(t)
	stale := w.settings(func(s *directory.Settings) { s.DestroyWait = 1 })
	w.setSettings(func(s *directory.Settings) { s.DestroyWait = 2 })
	if _, err := w.engine.ChangeSettings(t.Context(), w.owner(), stale, ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("settings of an older revision: %v", err)
	}
	if got, err := w.engine.Settings(t.Context(), w.userCall(w.tenant, directory.Viewer)); err != nil || got.DestroyWait != 2 || got.Revision != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*directory.Settings){
		"burst of nothing": func(s *directory.Settings) { s.AddressRate.PerSecond = 1 },
		"unknown act":      needs("key.eat", 1),
		"no approvers":     needs(directory.ActDestroyKey, 0),
		"act twice": func(s *directory.Settings) {
			needs(directory.ActDestroyKey, 1)(s)
			needs(directory.ActDestroyKey, 1)(s)
		},
		"no window":     func(s *directory.Settings) { s.Budget = &directory.Budget{Records: 1} },
		"negative wait": func(s *directory.Settings) { s.DestroyWait = -1 },
	} {
		if _, err := w.engine.ChangeSettings(t.Context(), w.owner(), w.settings(change), ""); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInvariant04ChangesAreRefusedWhenTheRightIsLostMeanwhile: between the look at an administrator's rights and the entry of
// his command in the log, each way of losing them refuses it.
func TestInvariant04ChangesAreRefusedWhenTheRightIsLostMeanwhile(t *testing.T) {
	for name, lose := range map[string]func(*world, *engine.Call){
		"role":    func(w *world, c *engine.Call) { w.propose(setRoles(c, directory.Viewer)) },
		"user":    func(w *world, c *engine.Call) { w.propose(disableUser(c)) },
		"deleted": func(w *world, c *engine.Call) { w.propose(deleteUser(c)) },
		"session": func(w *world, c *engine.Call) { w.propose(endSession(c)) },
		"tenant":  func(w *world, _ *engine.Call) { w.propose(disableTenant(w.tenant)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.owner()
			admin := w.userNamed("ann", directory.Admin)
			before := w.rotations("user-pii")
			w.beforeNext(func() { lose(w, admin) })
			if _, err := w.engine.RotateContext(t.Context(), admin, "user-pii"); !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("got %v", err)
			}
			if after := w.rotations("user-pii"); after != before {
				t.Error("the context was rotated all the same")
			}
			if last := w.audit.last.Load(); last.Code != fault.Unauthenticated.Code() || last.Action != string(policy.RotateContext) {
				t.Errorf("the record is %+v", last)
			}
		})
	}
}
