package audit

import (
	"fmt"
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

func BenchmarkVerify(b *testing.B) {
	seg := build(10000)
	b.SetBytes(int64(seg.end))
	for b.Loop() {
		if s, found := scanned(b, seg.bytes); len(found) > 0 || s.records != 10000 {
			b.Fatal(found)
		}
	}
	b.ReportMetric(float64(b.N)*10000/b.Elapsed().Seconds(), "records/s")
}
