package audit

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	for _, d := range []struct {
		name string
		Durability
	}{{"strict", Strict}, {"relaxed", Relaxed}} {
		for _, appenders := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", d.name, appenders), func(b *testing.B) {
				l, err := Open(Config{Dir: b.TempDir(), Node: "node-1", Durability: d.Durability})
				if err != nil {
					b.Fatal(err)
				}
				awaitSpare(l)
				r := sample()
				b.ReportAllocs()
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range appenders {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := l.Append(r); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
				b.StopTimer()
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

func BenchmarkAppendBody(b *testing.B) {
	failed, foreign := make([]Item, 100), make([]Item, 100)
	for i := range failed {
		failed[i] = Item{In: 262, Code: "decrypt-failed", Cause: "commitment"}
		foreign[i] = Item{In: 262, Out: 32, KeyID: "key_user-pii_fedcba9876543210"}
	}
	for _, bm := range []struct {
		name  string
		items []Item
	}{
		{"no items", nil}, {"100 items", manyOf(100).Items}, {"1000 items", manyOf(1000).Items},
		{"100 failed", failed}, {"100 of another key", foreign}, {"longest", longest().Items},
	} {
		b.Run(bm.name, func(b *testing.B) {
			r := sample()
			r.Items = bm.items
			buf := appendBody(nil, "node-1", r.Time, r)
			b.ReportAllocs()
			for b.Loop() {
				buf = appendBody(buf[:0], "node-1", r.Time, r)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, bm := range []struct {
		name    string
		record  *Record
		records int
	}{{"no items", sample(), 10000}, {"100 items", manyOf(100), 3000}, {"longest", longest(), 20}} {
		b.Run(bm.name, func(b *testing.B) {
			seg := buildOf(slices.Repeat([]*Record{bm.record}, bm.records)...)
			b.SetBytes(int64(seg.end))
			b.ReportAllocs()
			for b.Loop() {
				if s, found := scanned(b, seg.bytes); len(found) > 0 || s.records != uint64(bm.records) {
					b.Fatal(found)
				}
			}
			b.ReportMetric(float64(b.N)*float64(bm.records)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
