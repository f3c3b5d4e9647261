package cluster

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
)

func benchNode(b *testing.B) *Node {
	cfg := testConfig(b, b.TempDir())
	cfg.Log = nil
	n := mustOpen(b, cfg)
	mustPropose(b, n, seed()...)
	return n
}

// BenchmarkPropose measures one proposer: each proposal is durable on this disk.
func BenchmarkPropose(b *testing.B) {
	n := benchNode(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Propose(ctx, command.LeaseUsage{Key: keyID("apple", 3), Count: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProposeParallel measures 32 proposers for each processor, who share the writes to the disk.
func BenchmarkProposeParallel(b *testing.B) {
	n := benchNode(b)
	ctx := b.Context()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := n.Propose(ctx, command.LeaseUsage{Key: keyID("apple", 3), Count: 1}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkView(b *testing.B) {
	n := benchNode(b)
	for name, lookup := range map[string]func(v *View) bool{
		"view only":   func(v *View) bool { return v != nil },
		"context":     func(v *View) bool { return v.Tenant("ten-a").Context("apple") != nil },
		"version":     func(v *View) bool { return v.Tenant("ten-a").Version(keyID3) != nil },
		"application": func(v *View) bool { return v.Application("app-1") != nil },
		"session":     func(v *View) bool { return v.Session(session1) != nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !lookup(n.View()) {
					b.Fatal("not found")
				}
			}
		})
	}
}

var (
	keyID3   = keyID("apple", 3)
	session1 = [32]byte(fill(32, 1))
)

// BenchmarkSnapshot writes and reads the state of some thousand records.
func BenchmarkSnapshot(b *testing.B) {
	f := testFSM(b)
	applyAll(b, f.db, seed()...)
	for i := range 5000 {
		applyAll(b, f.db, newUser("ten-a", fmt.Sprintf("usr-%d", i+2)))
	}
	f.publish(effects{applied: 1})
	b.Run("round trip", func(b *testing.B) {
		for b.Loop() {
			roundTrip(b, f)
		}
	})
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			f.view.Load().Digest()
		}
	})
}

// BenchmarkBackup is of a state of 20,000 records: the digest, the records, and reading them with all checks.
func BenchmarkBackup(b *testing.B) {
	f := testFSM(b)
	applyAll(b, f.db, seed()...)
	for i := range 20000 {
		applyAll(b, f.db, newUser("ten-a", fmt.Sprintf("usr-%d", i+2)))
	}
	f.publish(effects{applied: 1})
	v := f.view.Load()
	records := recordsOf(b, v)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(records)))
		for b.Loop() {
			recordsOf(b, v)
		}
	})
	b.Run("rehearse", func(b *testing.B) {
		b.SetBytes(int64(len(records)))
		for b.Loop() {
			if _, err := Rehearse(bytes.NewReader(records)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMillionVersions measures a node with a million key versions: how long a write waits while a snapshot is taken, the first
// and a later one, and how long the node takes to start again.
func BenchmarkMillionVersions(b *testing.B) {
	const contexts, each, writers = 1000, 1000, 128
	cfg := testConfig(b, b.TempDir())
	cfg.Log, cfg.SnapshotThreshold = nil, 1<<30
	n := mustOpen(b, cfg)
	mustPropose(b, n, seed()...)
	var fill sync.WaitGroup
	for w := range writers {
		fill.Go(func() {
			for i := w; i < contexts; i += writers {
				name := fmt.Sprintf("context-%d", i)
				id := func(number int) string { return fmt.Sprintf("key_%s_%x", name, number) }
				if out, err := n.Propose(b.Context(), newContext("ten-a", name, id(1))); err != nil || out.Refused != 0 {
					b.Error(out, err)
					return
				}
				for v := 2; v <= each; v++ {
					rotate := command.RotateContext{Version: newVersion("ten-a", name, uint32(v), id(v))}
					if out, err := n.Propose(b.Context(), rotate); err != nil || out.Refused != 0 {
						b.Error(out, err)
						return
					}
				}
			}
		})
	}
	fill.Wait()
	if b.Failed() {
		return
	}
	// longest returns how long the slowest of the writes took that ran beside do, and how long do took.
	longest := func(do func()) (slowest, took time.Duration) {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				if _, err := n.Propose(b.Context(), command.LeaseUsage{Key: keyID("apple", 3), Count: 1}); err != nil {
					b.Error(err)
					return
				}
				slowest = max(slowest, time.Since(began))
			}
		}()
		began := time.Now()
		do()
		took = time.Since(began)
		close(stop)
		<-done
		return slowest, took
	}
	calm, _ := longest(func() { time.Sleep(5 * time.Second) })
	b.ReportMetric(float64(calm.Milliseconds()), "slowest-write-ms")
	for _, which := range []string{"first", "next"} {
		stop, took := longest(func() {
			if err := n.Snapshot(); err != nil {
				b.Error(err)
			}
		})
		b.ReportMetric(float64(stop.Milliseconds()), which+"-snapshot-slowest-write-ms")
		b.ReportMetric(took.Seconds(), which+"-snapshot-s")
	}
	mustClose(b, n)
	for b.Loop() {
		n = mustOpen(b, cfg)
		b.StopTimer()
		mustClose(b, n)
		b.StartTimer()
	}
}

// BenchmarkProposeOfThree measures 32 proposers for each processor on all three nodes of a cluster whose network is in memory and
// whose logs share this disk.
func BenchmarkProposeOfThree(b *testing.B) {
	g := newGroup(b, 3)
	ctx := b.Context()
	for name, parallelism := range map[string]int{"one at a time": 0, "many": 32} {
		for _, by := range []string{"leader", "follower"} {
			b.Run(name+" on the "+by, func(b *testing.B) {
				n := g.leader()
				if by == "follower" {
					n = g.follower()
				}
				propose := func() {
					if _, err := n.Propose(ctx, command.LeaseUsage{Key: keyID("apple", 3), Count: 1}); err != nil {
						b.Error(err)
					}
				}
				if parallelism == 0 {
					for b.Loop() {
						propose()
					}
					return
				}
				b.SetParallelism(parallelism)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						propose()
					}
				})
			})
		}
	}
	for _, by := range []string{"leader", "follower"} {
		n := g.leader()
		if by == "follower" {
			n = g.follower()
		}
		b.Run("barrier on the "+by, func(b *testing.B) {
			for b.Loop() {
				if err := n.Barrier(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("fence", func(b *testing.B) {
		n := g.leader()
		for b.Loop() {
			out, err := n.Propose(ctx, command.RevokeApplicationTokens{Tenant: "ten-a", Application: "app-1", NotBefore: 5})
			if err != nil && out.Refused == 0 {
				b.Fatal(err)
			}
		}
	})
}
