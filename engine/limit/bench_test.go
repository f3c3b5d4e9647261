package limit

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

type pair struct{ tenant, context string }

var wide = Rate{PerSecond: 1e9, Burst: 1e9}

func pairs() []pair {
	all := make([]pair, 1024)
	for i := range all {
		all[i] = pair{"tenant-" + strconv.Itoa(i%8), "context-" + strconv.Itoa(i)}
	}
	return all
}

// parallel measures calls with known keys, each goroutine with keys in another order.
func parallel(b *testing.B, call func(key pair, now time.Time)) {
	keys := pairs()
	for _, k := range keys {
		call(k, time.Now())
	}
	var goroutines atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for i := int(goroutines.Add(1)) * 97; pb.Next(); i++ {
			call(keys[i%len(keys)], now)
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	buckets := NewBuckets[pair](100_000)
	parallel(b, func(k pair, now time.Time) { buckets.Allow(k, wide, 1, now) })
}

func BenchmarkAllowOneKey(b *testing.B) {
	buckets := NewBuckets[pair](100_000)
	parallel(b, func(_ pair, now time.Time) { buckets.Allow(pair{"t", "c"}, wide, 1, now) })
}

func BenchmarkAllowUnlimited(b *testing.B) {
	buckets := NewBuckets[pair](100_000)
	parallel(b, func(k pair, now time.Time) { buckets.Allow(k, Rate{}, 1, now) })
}

// BenchmarkAllowFlood measures unknown keys when there is no place.
func BenchmarkAllowFlood(b *testing.B) {
	buckets := NewBuckets[int](1000)
	r := Rate{PerSecond: 1e-6, Burst: 10}
	for i := range 10_000 {
		buckets.Allow(i, r, 1, start)
	}
	for i := 10_000; b.Loop(); i++ {
		buckets.Allow(i, r, 1, start)
	}
}

func BenchmarkCheck(b *testing.B) {
	failures := NewFailures[pair](100_000)
	parallel(b, func(k pair, now time.Time) { failures.Check(k, now) })
}

func BenchmarkSpend(b *testing.B) {
	budget := NewBudget[pair](100_000)
	a := Allowance{Records: 1 << 60, Window: time.Hour}
	parallel(b, func(k pair, now time.Time) { budget.Spend(k, a, 1, 100, now) })
}
