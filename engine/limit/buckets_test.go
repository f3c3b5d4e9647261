package limit

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cryptoserve/engine/fault"
)

func TestBuckets(t *testing.T) {
	two := Rate{PerSecond: 2, Burst: 4}
	type call struct {
		after time.Duration
		rate  Rate
		n     int
		retry time.Duration
		ok    bool
	}
	tests := []struct {
		name  string
		calls []call
	}{
		{"burst, then the rate", []call{{0, two, 4, 0, true}, {0, two, 1, 500 * time.Millisecond, false}, {500 * time.Millisecond, two, 1, 0, true},
			{0, two, 3, 1500 * time.Millisecond, false}}},
		{"all or none", []call{{0, two, 3, 0, true}, {0, two, 2, 500 * time.Millisecond, false}, {0, two, 1, 0, true}}},
		{"no more than the burst after silence", []call{{0, two, 4, 0, true}, {time.Hour, two, 4, 0, true}, {0, two, 1, 500 * time.Millisecond, false}}},
		{"zero is no limit", []call{{0, Rate{}, 1 << 40, 0, true}, {0, Rate{}, 1 << 40, 0, true}}},
		{"nothing is always allowed", []call{{0, two, 4, 0, true}, {0, two, 0, 0, true}}},
		{"more than the burst", []call{{0, two, 5, Never, false}}},
		{"less than nothing", []call{{0, two, 4, 0, true}, {0, two, -4, Never, false}, {0, two, 1, 500 * time.Millisecond, false}}},
		{"less than nothing without a limit", []call{{0, Rate{}, -1, Never, false}}},
		{"no burst", []call{{0, Rate{PerSecond: 5}, 1, Never, false}}},
		{"no rate", []call{{0, Rate{Burst: 5}, 1, Never, false}}},
		{"not a number", []call{{0, Rate{PerSecond: math.NaN(), Burst: 5}, 1, Never, false}}},
		{"infinite", []call{{0, Rate{PerSecond: math.Inf(1), Burst: 5}, 1, Never, false}}},
		{"negative", []call{{0, Rate{PerSecond: -1, Burst: 5}, 1, Never, false}}},
		{"a faster rate applies at once", []call{{0, two, 4, 0, true}, {0, Rate{PerSecond: 4, Burst: 4}, 1, 250 * time.Millisecond, false}}},
		{"a slower rate counts from the change", []call{{0, two, 4, 0, true}, {time.Second, Rate{PerSecond: 1, Burst: 4}, 2, 0, true},
			{0, Rate{PerSecond: 1, Burst: 4}, 1, time.Second, false}}},
		{"a smaller burst", []call{{0, two, 1, 0, true}, {0, Rate{PerSecond: 2, Burst: 1}, 1, 0, true}, {0, two, 1, 500 * time.Millisecond, false}}},
		{"a larger burst is not given", []call{{0, two, 4, 0, true}, {0, Rate{PerSecond: 2, Burst: 400}, 1, 500 * time.Millisecond, false}}},
		{"a clock set back gives nothing", []call{{0, two, 4, 0, true}, {-time.Hour, two, 1, 500 * time.Millisecond, false}}},
		{"a clock set back locks nobody out", []call{{0, two, 4, 0, true}, {-time.Hour, two, 1, 500 * time.Millisecond, false},
			{500 * time.Millisecond, two, 1, 0, true}}},
		{"a call that is behind waits for the clock too", []call{{0, two, 4, 0, true}, {-time.Second, two, 1, 1500 * time.Millisecond, false},
			{1500 * time.Millisecond, two, 1, 0, true}}},
		{"a rate that takes for ever", []call{{0, Rate{PerSecond: 1e-300, Burst: 1}, 1, 0, true}, {0, Rate{PerSecond: 1e-300, Burst: 1}, 1, Never, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, now := NewBuckets[string](10), start
			for i, c := range tt.calls {
				now = now.Add(c.after)
				if retry, ok := b.Allow("k", c.rate, c.n, now); retry != c.retry || ok != c.ok {
					t.Fatalf("call %d: %v, %v; want %v, %v", i, retry, ok, c.retry, c.ok)
				}
				if _, ok := b.Allow("other", two, 1, now); !ok && i == 0 {
					t.Fatal("another key was refused")
				}
			}
		})
	}
}

func TestUnlimitedLeavesNoTrace(t *testing.T) {
	b := NewBuckets[int](10)
	for i := range 5 {
		b.Allow(i, Rate{}, 1, start)
		b.Allow(i, Rate{PerSecond: 1, Burst: 1}, 2, start)
	}
	if n := b.table.len(); n != 0 {
		t.Errorf("%d keys are remembered", n)
	}
}

// TestBucketsBound compares with the definition: between any two calls that passed.
func TestBucketsBound(t *testing.T) {
	type passed struct {
		at time.Time
		n  int
	}
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{PerSecond: rapid.Float64Range(0.01, 1000).Draw(t, "rate"), Burst: rapid.IntRange(1, 50).Draw(t, "burst")}
		b, high := NewBuckets[string](1), start
		var all []passed
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			var now time.Time
			if len(all) > 0 && rapid.IntRange(0, 4).Draw(t, "race") == 0 {
				now = high.Add(-time.Duration(rapid.Int64Range(0, int64(leeway)).Draw(t, "behind")))
			} else {
				now = high.Add(time.Duration(rapid.Int64Range(0, 3e9).Draw(t, "step")))
				high = now
			}
			n := rapid.IntRange(1, r.Burst).Draw(t, "n")
			retry, ok := b.Allow("k", r, n, now)
			if !ok {
				if retry <= 0 {
					t.Fatalf("refused with a wait of %v", retry)
				}
				if high = now.Add(retry); rapid.Bool().Draw(t, "early") && retry > 10*time.Microsecond {
					if _, ok := b.Allow("k", r, n, high.Add(-10*time.Microsecond)); ok && r.PerSecond < 1000 {
						t.Fatalf("passed before the wait of %v was over", retry)
					}
				}
				if again, ok := b.Allow("k", r, n, high); !ok {
					t.Fatalf("told to wait %v, then to wait %v", retry, again)
				}
			}
			all = append(all, passed{high, n})
			sum := 0
			for i := len(all) - 1; i >= 0; i-- {
				sum += all[i].n
				bound := float64(r.Burst) + (high.Sub(all[i].at)+time.Nanosecond).Seconds()*r.PerSecond
				if float64(sum) > bound+1e-6 {
					t.Fatalf("%d tokens in %v, at most %v", sum, high.Sub(all[i].at), bound)
				}
			}
		}
	})
}

// TestBucketsJumps lets the clock jump: what passes is bounded by the forward steps, and waiting helps in the end.
func TestBucketsJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{PerSecond: 1, Burst: 3}
		b, now, forward, passed := NewBuckets[string](1), start, time.Duration(0), 0
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			step := time.Duration(rapid.Int64Range(-int64(2*time.Hour), int64(time.Hour)).Draw(t, "step"))
			if rapid.Bool().Draw(t, "small") {
				step /= 3600
			}
			now = now.Add(step)
			forward += max(step, 0)
			if _, ok := b.Allow("k", r, 1, now); ok {
				passed++
			}
			if float64(passed) > 3+forward.Seconds()+1e-6 {
				t.Fatalf("%d passed; the clock went forward %v in all", passed, forward)
			}
		}
		if retry, ok := b.Allow("k", r, 1, now); !ok {
			if retry > time.Second+leeway {
				t.Fatalf("a wait of %v", retry)
			}
			if _, ok := b.Allow("k", r, 1, now.Add(retry)); !ok {
				t.Fatal("refused after the wait")
			}
		}
	})
}

func TestBucketsTogether(t *testing.T) {
	b := NewBuckets[string](1000)
	var passed [2]atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			if _, ok := b.Allow([]string{"a", "b"}[i%2], Rate{PerSecond: 1, Burst: 100}, 1, start); ok {
				passed[i%2].Add(1)
			}
		})
	}
	wg.Wait()
	if passed[0].Load() != 100 || passed[1].Load() != 100 {
		t.Errorf("%d and %d passed; want 100 each", passed[0].Load(), passed[1].Load())
	}
}

func TestRateValidate(t *testing.T) {
	for _, r := range []Rate{{}, {0.001, 1}, {1e6, 1e6}} {
		if err := r.Validate(); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, r := range []Rate{{1, 0}, {0, 1}, {-1, 1}, {1, -1}, {math.NaN(), 1}, {math.Inf(1), 1}, {math.MaxFloat64, 1}} {
		if err := r.Validate(); fault.Of(err) != fault.Malformed {
			t.Errorf("%v: %v", r, err)
		}
	}
}
