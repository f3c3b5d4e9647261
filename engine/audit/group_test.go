package audit

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCallersShareASync lets three callers bring one record after the other, each when the one before was answered. Whoever
// comes first after a sync waits for those who had a part in it, so a round costs one sync and not two.
func TestCallersShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty()
		cfg := smallConfig(t)
		cfg.storage, cfg.SegmentBytes = d, 1<<20
		l := mustOpen(t, cfg)
		defer mustClose(t, l)
		awaitSpare(l)
		slow := func() { <-time.After(200 * time.Microsecond) }
		d.beforeSync.Store(&slow)
		const callers, rounds = 3, 100
		before := d.syncs.Load()
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				<-time.After(time.Duration(caller) * 10 * time.Microsecond)
				for range rounds {
					if _, err := l.Append(sample()); err != nil {
						t.Error(err)
						return
					}
					<-time.After(time.Duration(caller+1) * 20 * time.Microsecond) // they do not come back at once
				}
			})
		}
		all.Wait()
		if syncs := d.syncs.Load() - before; syncs > rounds+rounds/10 {
			t.Errorf("%d syncs for %d rounds of %d callers", syncs, rounds, callers)
		}
	})
}

// TestCallerAloneNeverWaits wants no gathering when nobody else comes, and only one short one when a second caller has left.
func TestCallerAloneNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustOpen(t, smallConfig(t))
		defer mustClose(t, l)
		alone := func() time.Duration {
			start := time.Now()
			mustAppend(t, l, 1)
			return time.Since(start)
		}
		for range 5 {
			if waited := alone(); waited != 0 {
				t.Fatalf("a caller alone waited for %v", waited)
			}
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { mustAppend(t, l, 1) })
		}
		both.Wait()
		if waited := alone() + alone() + alone(); waited > 2*gatherFor {
			t.Fatalf("after a second caller left: waited for %v", waited)
		}
	})
}
