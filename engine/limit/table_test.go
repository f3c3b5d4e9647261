package limit

import (
	"runtime"
	"strconv"
	"testing"
	"time"
)

const (
	places = 10_000
	flood  = 1_000_000
)

// TestFlood makes up a million keys while one is held back: it stays held back, and memory stays bounded.
func TestFlood(t *testing.T) {
	rate := Rate{PerSecond: 0.001, Burst: 2}
	day := Allowance{Records: 2, Window: 24 * time.Hour}
	buckets, failures, budget := NewBuckets[string](places), NewFailures[string](places), NewBudget[string](places)
	tests := []struct {
		name string
		call func(key string, now time.Time) bool
		len  func() int
	}{
		{"buckets", func(key string, now time.Time) bool { _, ok := buckets.Allow(key, rate, 1, now); return ok }, buckets.table.len},
		{"failures", func(key string, now time.Time) bool {
			_, ok := failures.Check(key, now)
			if ok {
				failures.Failed(key, now)
			}
			return ok
		}, failures.table.len},
		{"budget", func(key string, now time.Time) bool { _, ok := budget.Spend(key, day, 1, 100, now); return ok }, budget.table.len},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := inUse()
			for tt.call("victim", start) { // until it is held back
			}
			passed := 0
			for i := range flood {
				if tt.call(strconv.Itoa(i), start) {
					passed++
				}
			}
			if tt.call("victim", start) {
				t.Error("the flood freed a key")
			}
			// Every place and the shared record of every shard may have passed a burst.
			if most := (places + maxShards) * 2; passed > most {
				t.Errorf("%d of the flood passed, at most %d should", passed, most)
			}
			if n := tt.len(); n > places || n < places*3/4 {
				t.Errorf("%d keys are remembered, at most %d should", n, places)
			}
			if grown := inUse() - before; grown > 1024*places {
				t.Errorf("%d bytes are in use after the flood", grown)
			}
		})
	}
	runtime.KeepAlive(buckets)
	runtime.KeepAlive(failures)
	runtime.KeepAlive(budget)
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestDropsTheFullOnesFirst fills two places, one of which is as good as new by the time a third key comes.
func TestDropsTheFullOnesFirst(t *testing.T) {
	slow, fast := Rate{PerSecond: 0.01, Burst: 1}, Rate{PerSecond: 1, Burst: 1}
	b := NewBuckets[string](2)
	b.Allow("slow", slow, 1, start)
	b.Allow("fast", fast, 1, start)
	if _, ok := b.Allow("new", fast, 1, start.Add(time.Second)); !ok {
		t.Error("a new key was refused though there was a place for it")
	}
	if _, ok := b.Allow("slow", slow, 1, start.Add(2*time.Second)); ok {
		t.Error("a key was forgotten before its bucket was full")
	}
}

func TestUseKeepsAPlace(t *testing.T) {
	r := Rate{PerSecond: 1, Burst: 2}
	b := NewBuckets[string](1)
	b.Allow("k", r, 2, start)
	b.Allow("k", r, 1, start.Add(1500*time.Millisecond))
	b.Allow("new", r, 1, start.Add(2*time.Second)) // when k would be full if it had not been used again
	if retry, ok := b.Allow("k", r, 2, start.Add(2*time.Second)); ok || retry != time.Second {
		t.Errorf("%v, %v; want a wait of a second", retry, ok)
	}
}

func TestSharedRecord(t *testing.T) {
	slow := Rate{PerSecond: 0.01, Burst: 3}
	b := NewBuckets[string](1)
	b.Allow("k", slow, 3, start)
	for i, want := range []bool{true, true, true, false, false} {
		if _, ok := b.Allow(strconv.Itoa(i), slow, 1, start); ok != want {
			t.Errorf("new key %d: passed=%v, want %v", i, ok, want)
		}
	}
	// k is full after 300 s, and so is what the new keys share; a second before, each has 2 of 3.
	if _, ok := b.Allow("late", slow, 3, start.Add(299*time.Second)); ok {
		t.Error("keys without a place have more than they share")
	}
	if _, ok := b.Allow("late", slow, 3, start.Add(300*time.Second)); !ok {
		t.Error("a new key was refused after the place was free")
	}
}

// TestNothingIsGainedByGettingAPlace lets a key use up the shared record and then get a place of its own.
func TestNothingIsGainedByGettingAPlace(t *testing.T) {
	t.Run("buckets", func(t *testing.T) {
		b, slow := NewBuckets[string](1), Rate{PerSecond: 0.01, Burst: 3}
		b.Allow("k", Rate{PerSecond: 1, Burst: 1}, 1, start)
		b.Allow("new", slow, 3, start)
		if retry, ok := b.Allow("new", slow, 1, start.Add(time.Second)); ok || retry < 99*time.Second {
			t.Errorf("%v, %v; want a wait of 99 s", retry, ok)
		}
		if b.table.shards[0].entries["new"] == nil {
			t.Error("it has no place")
		}
	})
	t.Run("failures", func(t *testing.T) {
		f := NewFailures[string](1)
		f.Check("k", start)
		fail(f, "new", 1, start)
		for range 9 {
			f.Failed("new", start)
		}
		f.Succeeded("new") // success is not shared
		if retry, ok := f.Check("new", start.Add(time.Second)); ok || retry != 63*time.Second {
			t.Errorf("%v, %v; want a wait of 63 s", retry, ok)
		}
	})
	t.Run("budget", func(t *testing.T) {
		b, day := NewBudget[string](1), Allowance{Records: 5, Window: 24 * time.Hour}
		b.Spend("k", Allowance{Records: 5, Window: time.Second}, 1, 0, start)
		b.Spend("new", day, 4, 0, start)
		if retry, ok := b.Spend("new", day, 2, 0, start.Add(time.Second)); ok || retry != day.Window-time.Second {
			t.Errorf("%v, %v; want a wait of a day", retry, ok)
		}
		b.Spend("new", day, 1, 0, start.Add(time.Second))
		if n, _ := b.Used("new", day.Window, start.Add(time.Second)); n != 5 {
			t.Errorf("%d records used, want 5", n)
		}
	})
}

// TestSuccessGivesUpThePlace: who has succeeded is worth no place for a quarter of an hour.
func TestSuccessGivesUpThePlace(t *testing.T) {
	f := NewFailures[string](1)
	now := fail(f, "k", 3, start)
	f.Check("new", now) // looks for a place, and learns how long k needs its own
	f.Succeeded("k")
	f.Check("other", now.Add(2*time.Second))
	if f.table.shards[0].entries["other"] == nil {
		t.Error("there was no place after the success")
	}
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct{ keys, shards int }{{-1, 1}, {0, 1}, {1, 1}, {255, 1}, {256, 2}, {1000, 4}, {100_000, 256}, {1 << 30, 256}} {
		b := newTable[int, bucket](tt.keys)
		places := 0
		for i := range b.shards {
			places += b.shards[i].places
		}
		if len(b.shards) != tt.shards || places > max(tt.keys, 1) || places < max(tt.keys, 1)-maxShards {
			t.Errorf("%d keys: %d places in %d shards", tt.keys, places, len(b.shards))
		}
	}
}

// TestFailuresKeepTheirPlace: the wait is over long before the failures are forgotten, and the place is kept till then.
func TestFailuresKeepTheirPlace(t *testing.T) {
	f := NewFailures[string](1)
	now := fail(f, "k", 7, start).Add(Forget - time.Second)
	f.Check("new", now)
	f.Check("k", now)
	if retry, ok := f.Check("k", now); ok || retry != 8*time.Second {
		t.Errorf("%v, %v; want a wait of 8 s", retry, ok)
	}
	if f.Check("new", now.Add(Forget)); f.table.shards[0].entries["new"] == nil {
		t.Error("there was no place after the failures were forgotten")
	}
}
