package cluster

import (
	"fmt"
	"testing"

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
	f.publish(1, 0)
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
