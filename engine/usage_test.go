package engine_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/keys"
)

// legacy returns the world's record of the context that writes format 3.
func (w *world) legacy() (activeKey string, versions uint32) {
	c := w.ledger.View().Tenant(w.tenant).Context("legacy")
	return c.ActiveKey, c.Versions
}

// draw draws messages from a version's budget as another node would.
func (w *world) draw(keyID string, n uint64) {
	w.t.Helper()
	if _, err := w.ledger.Propose(w.t.Context(), command.LeaseUsage{Key: keyID, Count: n}); err != nil {
		w.t.Fatal(err)
	}
}

// TestOneLeaseForAllWhoWait holds the first draw until every other call has seen that nothing is left.
func TestOneLeaseForAllWhoWait(t *testing.T) {
	const callers = 8
	w := newWorld(t)
	id, _ := w.legacy()
	var leases atomic.Int64
	w.ledger.onPropose = func(c command.Command) error {
		if _, ok := c.(command.LeaseUsage); ok && leases.Add(1) == 1 {
			for w.engine.LeaseLeft(id) > -callers-1 { // one each, and the second look of the call that draws
				runtime.Gosched()
			}
		}
		return nil
	}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if _, err := w.encrypt("legacy", "x", ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := leases.Load(); n != 1 {
		t.Errorf("%d leases for %d calls at once", n, callers)
	}
	// Each call took one message of it, and the late ones are served without another draw.
	if left := w.engine.LeaseLeft(id); left != 1<<20-callers {
		t.Errorf("%d messages are left", left)
	}
}

// TestRotationByCountLooksFirst rotates by hand after the draw that passes the mark and before the rotation that follows it.
func TestRotationByCountLooksFirst(t *testing.T) {
	w := newWorld(t)
	id, _ := w.legacy()
	w.draw(id, keys.RotateAt-1)
	var once sync.Once
	w.ledger.afterPropose = func(_ context.Context, c command.Command) {
		if _, ok := c.(command.LeaseUsage); ok {
			once.Do(func() { w.rotate("legacy") })
		}
	}
	out := w.mustEncrypt("legacy", "x", "")
	if active, versions := w.legacy(); versions != 2 || out.KeyID != active {
		t.Errorf("encrypted with %s; version %d, %s, is active", out.KeyID, versions, active)
	}
}

// TestRotationByCountOutlivesItsCaller cancels the call that drew the lease.
func TestRotationByCountOutlivesItsCaller(t *testing.T) {
	w := newWorld(t)
	id, _ := w.legacy()
	w.draw(id, keys.RotateAt-1)
	ctx, hangUp := context.WithCancel(t.Context())
	bounded := false
	w.ledger.afterPropose = func(ctx context.Context, c command.Command) {
		switch c.(type) {
		case command.LeaseUsage:
			hangUp()
		case command.RotateContext:
			_, bounded = ctx.Deadline()
		}
	}
	_, err := w.engine.Encrypt(ctx, w.call(), &engine.EncryptRequest{Context: "legacy"})
	if active, _ := w.legacy(); active == id {
		t.Fatalf("not rotated; the call ended with %v", err)
	}
	if !bounded {
		t.Error("the rotation has no bound")
	}
}

// TestLeaseOfASupersededVersion rotates between the choice of the version and the draw: the call starts over and does not
// tell its caller that the budget is used up.
func TestLeaseOfASupersededVersion(t *testing.T) {
	w := newWorld(t)
	var once sync.Once
	w.ledger.onPropose = func(c command.Command) error {
		if _, ok := c.(command.LeaseUsage); ok {
			once.Do(func() { w.rotate("legacy") })
		}
		return nil
	}
	out := w.mustEncrypt("legacy", "x", "")
	if active, _ := w.legacy(); out.KeyID != active {
		t.Errorf("encrypted with %s, %s is active", out.KeyID, active)
	}
	if n := w.engine.Meters(); n != 1 {
		t.Errorf("%d meters for one context", n)
	}
}

func TestMetersOfOldVersionsAreDropped(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "closed-3", Format: 3})
	w.app = w.newApplication(w.tenant, "other", "legacy", "closed-3")
	w.mustEncrypt("closed-3", "x", "")
	for range 4 {
		w.mustEncrypt("legacy", "x", "")
		w.rotate("legacy")
	}
	w.mustEncrypt("legacy", "x", "")
	if n := w.engine.Meters(); n != 2 {
		t.Errorf("%d meters for two contexts", n)
	}
}
