package clustertest

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// brief is a run that injects each fault of a list about once in a few seconds.
func brief(t *testing.T, c Cluster, d time.Duration, faults ...Fault) *Report {
	t.Helper()
	r, err := Run(t.Context(), c, Options{
		Seed: 1, Duration: d, Faults: faults, Lease: toyLease, Quiet: 100 * time.Millisecond, Reads: true, Log: t.Logf, Artifacts: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r)
	return r
}

// TestChaosPasses takes a service that keeps its promises through every fault.
func TestChaosPasses(t *testing.T) {
	t.Parallel()
	r := brief(t, startToys(t, ""), 5500*time.Millisecond)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	seen := map[Fault]bool{}
	for _, one := range r.Injected {
		seen[one.Fault] = true
	}
	if len(seen) < 8 {
		t.Errorf("only %d kinds of faults came in the time: %v", len(seen), seen)
	}
	for k := range kinds {
		if c := r.Counts[Kind(k)]; k > 0 && (c == nil || c.OK < 5) {
			t.Errorf("%v: %+v", Kind(k), c)
		}
	}
	for _, text := range []string{"seed 1", "lost ", "stale uses ", "linearisable ", "yes"} {
		if !strings.Contains(r.String(), text) {
			t.Errorf("the table has no %q", text)
		}
	}
}

// TestChaosFindsBugs takes services that break one promise each.
func TestChaosFindsBugs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		bug    string
		faults []Fault
		found  func(r *Report) bool
	}{
		{bugStaleLease, []Fault{IsolateFollower}, func(r *Report) bool { return len(r.Stale) > 0 && r.Fence == "Illegal" }},
		{bugLazy, []Fault{KillLeader}, func(r *Report) bool { return len(r.Lost) > 0 && !r.Linearisable() }},
		{bugDouble, []Fault{PauseFollower}, func(r *Report) bool { return !r.Linearisable() }},
		{bugDiverge, []Fault{PauseFollower}, func(r *Report) bool {
			return slices.ContainsFunc(r.Failures, func(err error) bool { return strings.Contains(err.Error(), "differ at index") })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.bug, func(t *testing.T) {
			t.Parallel()
			r := brief(t, startToys(t, tt.bug), 2*time.Second, tt.faults...)
			if !tt.found(r) || r.Err() == nil {
				t.Errorf("the bug was not found: %v", r.Err())
			} else {
				t.Log(r.Err())
			}
		})
	}
}

func TestFaultsNeedTheirParts(t *testing.T) {
	bare := []*Node{{Name: "n1"}}
	for _, f := range AllFaults {
		possible := f == KillLeader || f == KillAll || f == StopLeader || f == PauseLeader
		if err := f.Possible(bare); (err == nil) != possible {
			t.Errorf("%s: %v", f, err)
		}
	}
	if Fault("earthquake").Possible(bare) == nil {
		t.Error("an unknown fault is possible")
	}
}
