package fence

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// simulated is how long each cluster is simulated for.
const simulated = 12 * time.Second

// total is what some simulations found.
type total struct {
	seeds, uses, stale, refused, waits, slow, installs, operations int
	illegal                                                        []uint64 // seeds whose history porcupine refuses
	unknown                                                        int
	first                                                          uint64 // the first seed with a stale use
}

// simulate runs some seeds, on all processors, until one history is illegal.
func simulate(r rule, from, seeds uint64) total {
	var (
		sum  = total{first: math.MaxUint64}
		mu   sync.Mutex
		next atomic.Uint64
		wait sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for {
				seed := from + next.Add(1) - 1
				mu.Lock()
				done := seed >= from+seeds || len(sum.illegal) > 0
				mu.Unlock()
				if done {
					return
				}
				w := newWorld(seed, r)
				w.run(simulated)
				result := w.history.check()
				mu.Lock()
				sum.add(w, seed, result)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return sum
}

func (t *total) add(w *world, seed uint64, result porcupine.CheckResult) {
	t.seeds++
	t.uses += w.uses
	t.stale += w.stale
	t.refused += w.refused
	t.waits += w.waits
	t.slow += w.slow
	t.installs += w.installs
	t.operations += len(w.history.operations)
	if w.stale > 0 {
		t.first = min(t.first, seed)
	}
	switch result {
	case porcupine.Illegal:
		t.illegal = append(t.illegal, seed)
	case porcupine.Unknown:
		t.unknown++
	case porcupine.Ok:
	}
}

// TestSimulation shows the rule of this package under faults: no use that begins after a mutation has returned answers by
// the state before it. Every step of every node may be delayed; nodes stop, restart, lag, install snapshots, join and are
// removed; lines are cut one way or both; the lead moves.
func TestSimulation(t *testing.T) {
	sum := simulate(rule{}, 0, seeds)
	if sum.stale > 0 || len(sum.illegal) > 0 || sum.unknown > 0 {
		t.Fatalf("%d stale uses (first seed %d), histories refused %v, not decided %d", sum.stale, sum.first, sum.illegal, sum.unknown)
	}
	if sum.uses < 100*seeds || sum.waits < 5*seeds || sum.slow < seeds || sum.installs < seeds/2 {
		t.Errorf("the simulation does too little to show anything: %+v", sum)
	}
	t.Logf("%d seeds of %v: %d answers under a lease, %d refused for want of one, %d mutations returned, %d of them after a lease "+
		"had run out, %d snapshots installed, %d operations checked: 0 stale",
		sum.seeds, simulated, sum.uses, sum.refused, sum.waits, sum.slow, sum.installs, sum.operations)
}

// TestBrokenRules breaks each part of the rule in turn. The simulation must find a stale use, and porcupine must find it too
// from what clients saw alone.
func TestBrokenRules(t *testing.T) {
	for _, r := range []rule{
		{name: "lease from the last contact with the leader", lastContact: true},
		{name: "mutations do not wait", noWait: true},
		{name: "uses ask for no lease", noLease: true},
		{name: "removed nodes are not waited for", skipRemoved: true},
		{name: "lease from when the tick is applied", fromApply: true},
		{name: "clock before state", clockBeforeState: true, from: 525},
		{name: "a clock read ahead of time", cachedClock: true},
		{name: "state before lease", stateBeforeLease: true, from: 110},
		{name: "lease before its state is published", grantEarly: true},
		{name: "report before the state is published", reportEarly: true},
		{name: "an installed snapshot goes unnoticed", forgetRestored: true},
		{name: "a start goes unnoticed", forgetStart: true, from: 760},
		{name: "nonces survive a restart", keepNonces: true, from: 375},
		{name: "a node stays alone when others join", alone: true, from: 270},
		{name: "clocks that differ by a twentieth", drift: 0.05},
	} {
		t.Run(r.name, func(t *testing.T) {
			sum := simulate(r, r.from, 2000)
			if sum.stale == 0 {
				t.Errorf("no stale use in %d seeds", sum.seeds)
			}
			if len(sum.illegal) == 0 {
				t.Errorf("porcupine found nothing in %d seeds", sum.seeds)
			}
			t.Logf("%d seeds: %d stale uses of %d, first seed %d, refused histories %v", sum.seeds, sum.stale, sum.uses, sum.first, sum.illegal)
		})
	}
}

// TestSeedsRepeat keeps the simulation a function of its seed, so that what a run finds can be looked at again.
func TestSeedsRepeat(t *testing.T) {
	for seed := range uint64(20) {
		a, b := newWorld(seed, rule{}), newWorld(seed, rule{})
		a.run(simulated)
		b.run(simulated)
		if !slices.Equal(a.history.operations, b.history.operations) {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}
