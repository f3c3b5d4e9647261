package cluster

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// takeBackup returns what a node has now, as a restore reads it.
func takeBackup(t testing.TB, n *Node) *BackupState {
	t.Helper()
	var b bytes.Buffer
	if _, _, _, err := n.WriteBackup(&b); err != nil {
		t.Fatal(err)
	}
	s, err := ReadBackup(&b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRestoreSurvivesRestart: a node has the state of the backup after a restore, writes go on, and the same state is there when it
// starts again, right after the restore and after more writes.
func TestRestoreSurvivesRestart(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	s := takeBackup(t, n)
	if lost := s.Losses(n.View()); lost != 0 {
		t.Errorf("%d losses of nothing", lost)
	}
	mustPropose(t, n, newTenant("ten-late"), newContext("ten-late", "late", keyID("late", 1)))
	if lost := s.Losses(n.View()); lost != 3 {
		t.Errorf("%d losses of a tenant with a context and its version", lost)
	}
	epoch := n.Epoch()
	if err := n.Restore(testContext(t), s, 99); err != nil {
		t.Fatal(err)
	}
	if n.Expired(n.Lease()) {
		t.Fatal("a node that is alone has no lease after a restore")
	}
	if n.View().Tenant("ten-late").Record() != nil || n.View().Tenant("ten-a").Record() == nil || n.Epoch() == epoch {
		t.Fatal("the state is not that of the backup, or the epoch did not change")
	}
	_, restored := n.Digest()
	mustClose(t, n)
	n = mustOpen(t, cfg)
	if _, d := n.Digest(); d != restored {
		t.Fatal("another state after the restart")
	}
	mustPropose(t, n, newTenant("ten-after"))
	if err := n.Compact(testContext(t)); err != nil {
		t.Fatal(err)
	}
	_, after := n.Digest()
	mustClose(t, n)
	n = mustOpen(t, cfg)
	defer mustClose(t, n)
	if _, d := n.Digest(); d != after || n.View().Tenant("ten-after").Record() == nil {
		t.Fatal("a write after the restore is gone")
	}
}

// TestRestoreKeepsDestroyedKeys: what was destroyed since the backup stays destroyed.
func TestRestoreKeepsDestroyedKeys(t *testing.T) {
	n := mustOpen(t, testConfig(t, t.TempDir()))
	defer mustClose(t, n)
	mustPropose(t, n, seed()...)
	first := n.View().Tenant("ten-a").Versions()[0]
	mustPropose(t, n, command.RotateContext{Version: newVersion(first.Tenant, first.Context, first.Number+1, keyID(first.Context, 77))})
	s := takeBackup(t, n)
	mustPropose(t, n, destruction(first.Tenant, first.ID), command.DestroyVersion{Tenant: first.Tenant, Key: first.ID, At: 1100})
	if err := n.Restore(testContext(t), s, 99); err != nil {
		t.Fatal(err)
	}
	if v := n.View().Tenant("ten-a").Version(first.ID); v.State != keys.Destroyed || len(v.Salt) != 0 {
		t.Fatalf("%+v", v)
	}
}

// TestRestoreOnAllNodes: a restore reaches all nodes, is refused where none leads, and loses no removal of a member that was
// acknowledged while it ran.
func TestRestoreOnAllNodes(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	s := takeBackup(t, leader)
	mustPropose(t, leader, newTenant("ten-late"))
	for _, n := range g.nodes {
		if n != leader {
			if err := n.Restore(testContext(t), s, 99); !errors.Is(err, fault.NotLeader) {
				t.Fatalf("on a follower: %v", err)
			}
		}
	}
	// Writers go on meanwhile: what is acknowledged after the restore is there, whatever was before it may be gone.
	ctx, stop := context.WithTimeout(testContext(t), 20*time.Second)
	defer stop()
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for ctx.Err() == nil {
				_, _ = leader.Propose(ctx, newSchedule(0))
			}
		})
	}
	if err := leader.Restore(testContext(t), s, 99); err != nil {
		t.Fatal(err)
	}
	stop()
	wait.Wait()
	mustPropose(t, leader, newTenant("ten-after"))
	for id, n := range g.nodes {
		g.ready(n)
		v := n.View()
		if v.Tenant("ten-late").Record() != nil || v.Tenant("ten-after").Record() == nil || len(v.Members()) != 3 {
			t.Errorf("%s has another state", id)
		}
	}
	g.agree()
}

// TestRestoreKeepsRemovedMember: a member that was removed after the backup stays removed.
func TestRestoreKeepsRemovedMember(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	s := takeBackup(t, leader)
	gone := g.follower().cfg.NodeID
	mustPropose(t, leader, command.RemoveMember{ID: gone, At: 9})
	if err := leader.Restore(testContext(t), s, 99); err != nil && !errors.Is(err, fault.LedgerUnavailable) {
		t.Fatal(err)
	}
	if m := leader.View().Member(gone); m == nil || m.Status != directory.MemberRemoved {
		t.Fatalf("%+v", m)
	}
}
