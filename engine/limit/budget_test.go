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

func TestBudget(t *testing.T) {
	hour := Allowance{Records: 10, Bytes: 1000, Window: time.Hour}
	type call struct {
		after          time.Duration
		allowance      Allowance
		records, bytes int64
		retry          time.Duration
		ok             bool
	}
	tests := []struct {
		name  string
		calls []call
	}{
		{"all of it at once", []call{{0, hour, 10, 1000, 0, true}, {0, hour, 1, 0, time.Hour, false}, {time.Hour, hour, 10, 1000, 0, true}}},
		{"records run out", []call{{0, hour, 10, 1, 0, true}, {time.Minute, hour, 1, 1, 59 * time.Minute, false}, {0, hour, 0, 999, 0, true}}},
		{"bytes run out", []call{{0, hour, 1, 1000, 0, true}, {0, hour, 1, 1, time.Hour, false}, {0, hour, 9, 0, 0, true}}},
		{"neither is taken when one does not fit", []call{{0, hour, 1, 900, 0, true}, {0, hour, 9, 101, time.Hour, false}, {0, hour, 9, 100, 0, true}}},
		{"the edge of an hour", []call{{59 * time.Minute, hour, 10, 0, 0, true}, {2 * time.Minute, hour, 1, 0, 58 * time.Minute, false}}},
		{"waits for no more than must go", []call{{0, hour, 4, 0, 0, true}, {10 * time.Minute, hour, 6, 0, 0, true},
			{0, hour, 3, 0, 50 * time.Minute, false}, {0, hour, 5, 0, time.Hour, false}, {50 * time.Minute, hour, 4, 0, 0, true}}},
		{"spends of one part go together", []call{{0, hour, 4, 0, 0, true}, {3 * time.Minute, hour, 6, 0, 0, true}, {0, hour, 1, 0, time.Hour, false}}},
		{"records not bounded", []call{{0, Allowance{Bytes: 10, Window: time.Hour}, math.MaxInt64, 10, 0, true},
			{0, Allowance{Bytes: 10, Window: time.Hour}, math.MaxInt64, 0, 0, true}, {0, hour, 1, 0, time.Hour, false}}},
		{"bytes not bounded", []call{{0, Allowance{Records: 1, Window: time.Hour}, 1, math.MaxInt64, 0, true},
			{0, Allowance{Records: 1, Window: time.Hour}, 0, math.MaxInt64, 0, true}}},
		{"no limit", []call{{0, Allowance{}, math.MaxInt64, math.MaxInt64, 0, true}, {0, hour, 10, 1000, 0, true}}},
		{"more than the allowance", []call{{0, hour, 11, 0, Never, false}, {0, hour, 0, 1001, Never, false}, {0, hour, 10, 1000, 0, true}}},
		{"less than nothing", []call{{0, hour, 10, 0, 0, true}, {0, hour, -5, 0, Never, false}, {0, hour, 0, -5, Never, false},
			{0, hour, 1, 0, time.Hour, false}}},
		{"nothing", []call{{0, hour, 10, 1000, 0, true}, {0, hour, 0, 0, 0, true}}},
		{"a bound without a window", []call{{0, Allowance{Records: 1}, 1, 0, Never, false}}},
		{"a smaller allowance applies at once", []call{{0, hour, 5, 0, 0, true}, {0, Allowance{Records: 4, Window: time.Hour}, 1, 0, time.Hour, false}}},
		{"a larger allowance applies at once", []call{{0, hour, 10, 0, 0, true}, {0, Allowance{Records: 11, Window: time.Hour}, 1, 0, 0, true}}},
		{"a shorter window applies at once", []call{{0, hour, 10, 0, 0, true}, {time.Minute, Allowance{Records: 10, Window: time.Minute}, 10, 0, 0, true}}},
		{"a longer window applies at once", []call{{0, hour, 10, 0, 0, true},
			{30 * time.Minute, Allowance{Records: 10, Window: 24 * time.Hour}, 1, 0, 24*time.Hour - 30*time.Minute, false}}},
		{"a clock set back gives nothing and locks nobody out", []call{{0, hour, 10, 0, 0, true},
			{-48 * time.Hour, hour, 1, 0, time.Hour, false}, {time.Hour, hour, 10, 0, 0, true}}},
		{"a call that is behind waits for a window at most", []call{{0, hour, 10, 0, 0, true}, {-time.Second, hour, 1, 0, time.Hour, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, now := NewBudget[string](10), start
			for i, c := range tt.calls {
				now = now.Add(c.after)
				if retry, ok := b.Spend("k", c.allowance, c.records, c.bytes, now); retry != c.retry || ok != c.ok {
					t.Fatalf("call %d: %v, %v; want %v, %v", i, retry, ok, c.retry, c.ok)
				}
			}
			if _, ok := b.Spend("other", hour, 10, 1000, now); !ok {
				t.Error("another key was refused")
			}
		})
	}
}

func TestUsed(t *testing.T) {
	b, hour := NewBudget[string](1), Allowance{Records: 10, Window: time.Hour}
	used := func(key string, now time.Time, wantRecords, wantBytes int64) {
		t.Helper()
		if records, bytes := b.Used(key, time.Hour, now); records != wantRecords || bytes != wantBytes {
			t.Errorf("%s has used %d records and %d bytes, want %d and %d", key, records, bytes, wantRecords, wantBytes)
		}
	}
	used("k", start, 0, 0)
	b.Spend("k", hour, 3, 30, start)
	b.Spend("k", hour, 4, 40, start.Add(30*time.Minute))
	b.Spend("k", hour, 8, 1, start.Add(30*time.Minute)) // refused
	used("k", start.Add(30*time.Minute), 7, 70)
	used("k", start.Add(time.Hour), 4, 40)
	used("unknown", start.Add(time.Hour), 0, 0)
	b.Spend("shares", hour, 5, 50, start.Add(time.Hour)) // there is one place
	used("shares too", start.Add(time.Hour), 5, 50)
	used("k", start.Add(90*time.Minute), 0, 0)
}

// TestBudgetBound compares with a list of all spends: no window holds more than the allowance, and what a window that is a
// sixteenth longer has room for is not refused.
func TestBudgetBound(t *testing.T) {
	type spent struct {
		at             time.Time
		records, bytes int64
	}
	rapid.Check(t, func(t *rapid.T) {
		a := Allowance{Records: rapid.Int64Range(0, 20).Draw(t, "records"), Bytes: rapid.Int64Range(1, 100).Draw(t, "bytes"),
			Window: time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "window"))}
		b, high := NewBudget[string](1), start
		var all []spent
		within := func(window time.Duration) (records, bytes int64) {
			for _, s := range all {
				if high.Sub(s.at) < window {
					records, bytes = records+s.records, bytes+s.bytes
				}
			}
			return records, bytes
		}
		room := func(records, bytes, moreRecords, moreBytes int64) bool {
			return (a.Records == 0 || records+moreRecords <= a.Records) && bytes+moreBytes <= a.Bytes
		}
		for i := range rapid.IntRange(1, 80).Draw(t, "calls") {
			var now time.Time
			if i > 0 && rapid.IntRange(0, 4).Draw(t, "race") == 0 {
				now = high.Add(-time.Duration(rapid.Int64Range(0, int64(leeway)).Draw(t, "behind")))
			} else {
				high = high.Add(time.Duration(rapid.Int64Range(0, max(1, int64(a.Window)/rapid.SampledFrom([]int64{1, 8, 40}).Draw(t, "scale"))).Draw(t, "step")))
				now = high
			}
			records, bytes := rapid.Int64Range(0, max(a.Records, 1)).Draw(t, "r"), rapid.Int64Range(1, a.Bytes).Draw(t, "b")
			if a.Records > 0 {
				records = min(records, a.Records)
			}
			usedRecords, usedBytes := within(a.Window + a.Window/parts)
			retry, ok := b.Spend("k", a, records, bytes, now)
			if !ok && room(usedRecords, usedBytes, records, bytes) {
				t.Fatalf("refused %d and %d with %d and %d used", records, bytes, usedRecords, usedBytes)
			}
			if !ok {
				if retry <= 0 || retry > a.Window {
					t.Fatalf("a wait of %v", retry)
				}
				if rapid.Bool().Draw(t, "gives up") {
					continue
				}
				high = high.Add(retry)
				if again, ok := b.Spend("k", a, records, bytes, high); !ok {
					t.Fatalf("told to wait %v, then to wait %v", retry, again)
				}
			}
			all = append(all, spent{high, records, bytes})
			if r, by := within(a.Window); !room(r, by, 0, 0) {
				t.Fatalf("%d records and %d bytes in a window of %v", r, by, a.Window)
			}
		}
	})
}

// TestBudgetChanges changes the window all the time: no window as short as the shortest ever holds more than the largest
// allowance, and the number of groups stays bounded.
func TestBudgetChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, now := NewBudget[string](1), start
		sums := map[time.Time]int64{}
		for range rapid.IntRange(1, 120).Draw(t, "calls") {
			a := Allowance{Records: 100, Window: rapid.SampledFrom([]time.Duration{8, time.Second, time.Minute, time.Hour}).Draw(t, "window")}
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "step")))
			n := rapid.Int64Range(1, 10).Draw(t, "n")
			if _, ok := b.Spend("k", a, n, 0, now); !ok {
				continue
			}
			sums[now] += n
			used := int64(0)
			for at, n := range sums {
				if now.Sub(at) < 8 {
					used += n
				}
			}
			if used > a.Records {
				t.Fatalf("%d records in 8 ns", used)
			}
			if k := len(b.table.shards[0].find("k").spends); k > maxSpends {
				t.Fatalf("%d groups", k)
			}
		}
	})
}

// TestManySpendsAreMerged lets the window grow so that nothing ever leaves it: all stays counted, in few groups.
func TestManySpendsAreMerged(t *testing.T) {
	b, window, groups := NewBudget[string](1), parts*time.Second, 0
	for i := range int64(2000) {
		now := start.Add(time.Duration(i) * time.Second)
		for window <= now.Sub(start) {
			window *= 2
		}
		b.Spend("k", Allowance{Records: 2000, Window: window}, 1, 10, now)
		if records, bytes := b.Used("k", window, now); records != i+1 || bytes != 10*(i+1) {
			t.Fatalf("%d records and %d bytes after %d spends", records, bytes, i+1)
		}
		groups = max(groups, len(b.table.shards[0].find("k").spends))
	}
	if groups != maxSpends {
		t.Errorf("%d groups, want %d", groups, maxSpends)
	}
}

func TestBudgetTogether(t *testing.T) {
	b := NewBudget[string](1000)
	var records atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			n := int64(i%7 + 1)
			if _, ok := b.Spend("k", Allowance{Records: 500, Window: time.Hour}, n, 1, start); ok {
				records.Add(n)
			}
			b.Used("k", time.Hour, start)
		})
	}
	wg.Wait()
	if n := records.Load(); n != 500 {
		t.Errorf("%d records passed, want 500", n)
	}
}

func TestAllowanceValidate(t *testing.T) {
	for _, a := range []Allowance{{}, {1, 0, 1}, {0, 1, time.Hour}, {0, 0, time.Hour}} {
		if err := a.Validate(); err != nil {
			t.Errorf("%v: %v", a, err)
		}
	}
	for _, a := range []Allowance{{1, 0, 0}, {0, 1, 0}, {-1, 1, 1}, {1, -1, 1}, {1, 1, -1}, {0, 0, -1}} {
		if err := a.Validate(); fault.Of(err) != fault.Malformed {
			t.Errorf("%v: %v", a, err)
		}
	}
}
