package engine_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

const day = 24 * time.Hour

// edit changes a context as an administrator's change would.
func (w *world) edit(context string, change func(*directory.Context)) {
	w.t.Helper()
	next := *w.ledger.View().Tenant(w.tenant).Context(context)
	change(&next)
	next.Revision++
	w.propose(command.ChangeContext{Context: next})
}

func (w *world) duties() error { return w.engine.RunDuties(w.t.Context()) }

func (w *world) mustDo() {
	w.t.Helper()
	if err := w.duties(); err != nil {
		w.t.Fatal(err)
	}
}

// TestRotationByAge rotates what is old enough and nothing else.
func TestRotationByAge(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "disabled"})
	w.newContext(w.tenant, engine.ContextSpec{Name: "suspended"})
	for _, c := range []string{"user-pii", "disabled", "suspended"} {
		w.edit(c, func(r *directory.Context) { r.RotationDays = 30 })
	}
	w.propose(command.SetContextStatus{Tenant: w.tenant, Name: "disabled", Status: directory.Disabled})
	if _, err := w.engine.SuspendVersion(t.Context(), w.owner(), w.activeKey("suspended"), "stop"); err != nil {
		t.Fatal(err)
	}
	rotated, never := w.newKey(algs.Ed25519, keys.Host), w.newKey(algs.HMACSHA256, keys.Host)
	off := w.newKey(algs.X25519, keys.Host)
	for _, name := range []string{rotated, off} {
		if err := w.engine.SetKeyRotation(t.Context(), w.owner(), name, 30); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.engine.SetKeyDisabled(t.Context(), w.owner(), off, true); err != nil {
		t.Fatal(err)
	}
	versions := func() (list []uint32) {
		tenant := w.ledger.View().Tenant(w.tenant)
		for _, c := range []string{"user-pii", "payment-data", "disabled", "suspended"} {
			list = append(list, tenant.Context(c).Versions)
		}
		for _, o := range []string{rotated, never, off} {
			list = append(list, tenant.Object(o).Versions)
		}
		return list
	}
	for _, c := range []struct {
		at   time.Duration
		want [7]uint32
	}{
		{30*day - time.Minute, [7]uint32{1, 1, 1, 1, 1, 1, 1}},
		{30*day + time.Minute, [7]uint32{2, 1, 1, 1, 2, 1, 1}},
		{60 * day, [7]uint32{2, 1, 1, 1, 2, 1, 1}},
		{60*day + 2*time.Minute, [7]uint32{3, 1, 1, 1, 3, 1, 1}},
	} {
		w.clock.Store(int64(c.at))
		for range 2 {
			w.mustDo()
			if got := [7]uint32(versions()); got != c.want {
				t.Errorf("after %v: versions %v, want %v", c.at, got, c.want)
			}
		}
	}
	r := w.audit.last.Load()
	if r.Action != string(policy.RotateKey) || r.Kind != "appliance" || r.Administrative || r.Result != audit.Success || r.Tenant != w.tenant {
		t.Errorf("recorded %+v", r)
	}
}

// TestRotationByCount counts what this node has not told yet, and what others have.
func TestRotationByCount(t *testing.T) {
	w := newWorld(t)
	w.edit("user-pii", func(r *directory.Context) { r.RotateAfter = 10 })
	w.propose(command.MergeUsage{Usage: []keys.Usage{{Key: w.activeKey("user-pii"), Tenant: w.tenant, Protected: 6, Processed: 100}}})
	for range 3 {
		w.mustEncrypt("user-pii", "x", "")
	}
	w.mustDo()
	if n := w.ledger.View().Tenant(w.tenant).Context("user-pii").Versions; n != 1 {
		t.Errorf("%d versions after 9 messages", n)
	}
	w.mustEncrypt("user-pii", "x", "")
	for range 2 {
		w.mustDo()
		if n := w.ledger.View().Tenant(w.tenant).Context("user-pii").Versions; n != 2 {
			t.Errorf("%d versions after 10 messages", n)
		}
	}
}

// second returns another engine over the same ledger, as another node that takes itself for the leader would have it.
func (w *world) second() *engine.Engine {
	w.t.Helper()
	e, err := engine.New(engine.Config{
		Vault: w.vault, Ledger: w.ledger, Audit: w.audit, DestroyMinimum: -1,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Close)
	return e
}

// TestTwoLeaders both want the same acts before either is applied: each is done once.
func TestTwoLeaders(t *testing.T) {
	w := newWorld(t, noWait)
	other := w.second()
	w.edit("user-pii", func(r *directory.Context) { r.RotationDays = 1 })
	key := w.newKey(algs.Ed25519, keys.Host)
	if err := w.engine.SetKeyRotation(t.Context(), w.owner(), key, 1); err != nil {
		t.Fatal(err)
	}
	old := w.activeKey("payment-data")
	w.rotate("payment-data")
	now := 0
	if _, err := w.engine.DestroyVersion(t.Context(), w.owner(), old, "r", &now); err != nil {
		t.Fatal(err)
	}
	w.clock.Store(int64(day + time.Hour))
	// Each act waits for the other engine to want it too.
	var mu sync.Mutex
	waiting := map[command.Type]chan struct{}{}
	var done, refused atomic.Int64
	w.ledger.onPropose = func(c command.Command) error {
		mu.Lock()
		partner, here := waiting[c.Type()]
		if here {
			close(partner)
		} else {
			partner = make(chan struct{})
			waiting[c.Type()] = partner
		}
		mu.Unlock()
		<-partner
		return nil
	}
	w.audit.onAppend = func(r *audit.Record) {
		switch {
		case r.Result == audit.Success:
			done.Add(1)
		case r.Result == audit.Denied && r.Code == fault.Conflict.Code():
			refused.Add(1)
		}
	}
	var both sync.WaitGroup
	for _, e := range []*engine.Engine{w.engine, other} {
		both.Go(func() {
			if err := e.RunDuties(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	w.ledger.onPropose, w.audit.onAppend = nil, nil
	tenant := w.ledger.View().Tenant(w.tenant)
	if tenant.Context("user-pii").Versions != 2 || tenant.Object(key).Versions != 2 || w.version(old).State != keys.Destroyed {
		t.Errorf("versions %d and %d, state %s", tenant.Context("user-pii").Versions, tenant.Object(key).Versions, w.version(old).State)
	}
	if done.Load() != 3 || refused.Load() != 3 {
		t.Errorf("%d acts done, %d refused", done.Load(), refused.Load())
	}
}

// TestRotationOfAnotherVersion: what somebody rotates after a round has looked at it is not rotated again.
func TestRotationOfAnotherVersion(t *testing.T) {
	w := newWorld(t)
	for _, c := range []string{"payment-data", "user-pii"} {
		w.edit(c, func(r *directory.Context) { r.RotationDays = 1 })
	}
	w.clock.Store(int64(2 * day))
	var done atomic.Bool
	w.ledger.onPropose = func(command.Command) error { // of the first of the two
		if !done.Swap(true) {
			w.rotate("user-pii")
		}
		return nil
	}
	w.mustDo()
	for _, c := range []string{"payment-data", "user-pii"} {
		if n := w.ledger.View().Tenant(w.tenant).Context(c).Versions; n != 2 {
			t.Errorf("%s has %d versions", c, n)
		}
	}
}

// TestDutiesAreTheLeaders: no other node does them.
func TestDutiesAreTheLeaders(t *testing.T) {
	follower := &following{}
	w := newWorld(t, func(c *engine.Config) {
		follower.Ledger = c.Ledger
		c.Ledger = follower
	})
	w.edit("user-pii", func(r *directory.Context) { r.RotationDays = 1 })
	w.clock.Store(int64(2 * day))
	before := w.ledger.writes.Load()
	w.mustDo()
	if w.ledger.writes.Load() != before || follower.compacted != 1 {
		t.Errorf("a follower made %d changes and looked %d times for what to remove", w.ledger.writes.Load()-before, follower.compacted)
	}
}

// following is a ledger of a node that does not lead.
type following struct {
	engine.Ledger
	compacted int
}

func (*following) Leads() bool { return false }

func (f *following) Compact(ctx context.Context) error {
	f.compacted++
	return f.Ledger.Compact(ctx)
}

// TestFailedDutyRests and does not stop the others; it is tried again later.
func TestFailedDutyRests(t *testing.T) {
	w := newWorld(t)
	for _, c := range []string{"user-pii", "payment-data"} {
		w.edit(c, func(r *directory.Context) { r.RotationDays = 1 })
	}
	w.clock.Store(int64(2 * day))
	tries := 0
	broken := fault.New(fault.LedgerUnavailable, "test", "broken")
	w.ledger.onPropose = func(c command.Command) error {
		if r, ok := c.(command.RotateContext); ok && r.Version.Context == "payment-data" {
			tries++
			return broken
		}
		return nil
	}
	if err := w.duties(); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if n := w.ledger.View().Tenant(w.tenant).Context("user-pii").Versions; n != 2 {
		t.Error("one failure stopped the others")
	}
	w.mustDo()
	if tries != 1 {
		t.Errorf("tried %d times at once", tries)
	}
	w.clock.Add(int64(11 * time.Minute))
	if err := w.duties(); !errors.Is(err, broken) || tries != 2 {
		t.Errorf("later: %v, %d tries", err, tries)
	}
}

// TestRoundsAreBounded: what one round leaves is done by the next.
func TestRoundsAreBounded(t *testing.T) {
	w := newWorld(t, noWait)
	const versions = 120
	now := 0
	for range versions {
		id := w.activeKey("user-pii")
		w.rotate("user-pii")
		if _, err := w.engine.DestroyVersion(t.Context(), w.owner(), id, "r", &now); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (n int) {
		for _, v := range w.ledger.View().Tenant(w.tenant).Versions() {
			if v.DestroyAt != 0 {
				n++
			}
		}
		return n
	}
	for _, want := range []int{20, 0} {
		w.mustDo()
		if n := left(); n != want {
			t.Errorf("%d are left, want %d", n, want)
		}
	}
}

// TestDestructionIsRecordedAndTakesTheSalt from the state and the disk, at its time and not before.
func TestDestructionIsRecordedAndTakesTheSalt(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	id := w.activeKey("user-pii")
	w.rotate("user-pii")
	if _, err := w.engine.DestroyVersion(t.Context(), w.owner(), id, "r", nil); err != nil {
		t.Fatal(err)
	}
	w.clock.Store(int64(7*day - time.Minute))
	w.mustDo()
	if w.version(id).State != keys.Deactivated {
		t.Fatal("destroyed before its time")
	}
	w.clock.Store(int64(7*day + time.Minute))
	w.mustDo()
	if v := w.version(id); v.State != keys.Destroyed || v.DestroyedAt == 0 || len(v.Salt) != 0 {
		t.Errorf("the version is %+v", v)
	}
	r := w.audit.last.Load()
	if r.Action != string(policy.ShredVersion) || r.KeyID != id || r.Kind != "appliance" || r.Tenant != w.tenant || r.Result != audit.Success {
		t.Errorf("recorded %+v", r)
	}
	if _, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.DecryptFailed) {
		t.Errorf("its frame: %v", err)
	}
}

// TestPurge deletes the tenants that are due, even one whose versions wait.
func TestPurge(t *testing.T) {
	w := newWorld(t)
	other := w.newTenant("other")
	w.newContext(other, engine.ContextSpec{Name: "theirs"})
	wait := int64(30 * day / time.Millisecond)
	w.propose(command.ScheduleTenantDeletion{Tenant: other, At: time.Now().UnixMilli(), Wait: wait})
	w.clock.Store(int64(29 * day))
	w.mustDo()
	if w.ledger.View().Tenant(other).Record() == nil {
		t.Fatal("deleted before its time")
	}
	w.clock.Store(int64(31 * day))
	w.mustDo()
	if v := w.ledger.View(); v.Tenant(other).Record() != nil || len(v.Tenant(other).Versions()) != 0 || v.Tenant(w.tenant).Record() == nil {
		t.Error("the wrong tenants are there")
	}
	if r := w.audit.last.Load(); r.Action != string(policy.PurgeTenant) || r.Resource != other || r.Result != audit.Success {
		t.Errorf("recorded %+v", r)
	}
}
