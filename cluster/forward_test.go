package cluster

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

var leaseOne = command.LeaseUsage{Key: keyID("apple", 3), Count: 1}

func leased(n *Node) uint64 { return n.View().Tenant("ten-a").Version(keyID("apple", 3)).Leased }

// forwarded returns an entry as a member seals it.
func forwarded(t testing.TB, n *Node, c command.Command) []byte {
	t.Helper()
	data, err := n.fsm.entries.seal(encoded(c))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestForwards: what a leader makes of calls that no honest member would make, or makes twice.
func TestForwards(t *testing.T) {
	g := newGroup(t, 2)
	leader, follower := g.leader(), g.follower()
	ask := func(n *Node, data []byte) reply {
		t.Helper()
		return n.servePropose(testContext(t), follower.cfg.NodeID, proposeCall{data})
	}
	once := command.Once{ID: [16]byte{1}, Command: encoded(leaseOne), After: leader.View().applied}
	good := forwarded(t, follower, once)
	if r := ask(leader, good); r.Code != codeDone || r.Outcome.Total != 1 {
		t.Fatalf("%+v", r)
	}
	t.Run("replayed", func(t *testing.T) {
		end := leader.raft.LastIndex()
		r := ask(leader, good)
		if r.Code != codeDone || r.Outcome.Total != 1 || leased(leader) != 1 {
			t.Fatalf("%+v", r)
		}
		if now := leader.raft.LastIndex(); now > end+5 { // ticks go on
			t.Fatalf("the log went from %d to %d", end, now)
		}
	})
	t.Run("in the name of others", func(t *testing.T) {
		for i, c := range []command.Command{
			command.ResetMembers{Survivor: follower.cfg.NodeID, At: 9}, command.AddMember{}, command.CreateCluster{},
			command.UpdateMember{ID: leader.cfg.NodeID, Address: "192.0.2.9:8444", CommandVersion: 1 << 20},
		} {
			forged := command.Once{ID: [16]byte{2, byte(i)}, Command: encoded(c), After: leader.View().applied}
			if r := ask(leader, forwarded(t, follower, forged)); r.Code != codeRefused {
				t.Errorf("%T: %+v", c, r)
			}
		}
		self := command.UpdateMember{ID: follower.cfg.NodeID, Address: "192.0.2.9:8444", CommandVersion: command.Newest()}
		if !mayForward(follower.cfg.NodeID, command.Once{Command: encoded(self)}) {
			t.Error("a member may not speak of itself")
		}
	})
	t.Run("refused", func(t *testing.T) {
		damaged := append([]byte(nil), good...)
		damaged[len(damaged)/2] ^= 1
		foreign, err := newEntryKey(follower.fsm.frames.key, "another cluster").seal(encoded(once))
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{
			"nothing": nil, "damaged": damaged, "in clear": encoded(once), "of another cluster": foreign,
			"not once":       forwarded(t, follower, leaseOne),
			"a tick":         forwarded(t, follower, command.Tick{}),
			"not a command":  mustSeal(t, follower, []byte("x")),
			"a later type":   mustSeal(t, follower, mustMarshal(t, map[int]any{1: 1, 2: 60000, 3: []byte{0xa0}})),
			"of version two": forwarded(t, follower, command.Once{ID: [16]byte{9}, Command: encoded(command.RecordBackup{})}),
		} {
			end := leader.View().applied
			if r := ask(leader, data); r.Code != codeRefused || r.Detail == "" {
				t.Errorf("%s: %+v", name, r)
			}
			if leader.fsm.failure() != nil || leader.View().applied > end+3 {
				t.Errorf("%s: it reached the log", name)
			}
		}
		if r := ask(follower, good); r.Code != codeNotLeader {
			t.Errorf("a follower: %+v", r)
		}
	})
	t.Run("of a stranger", func(t *testing.T) {
		for _, method := range []string{methodPropose, methodPlace, methodRefresh, methodApplied, methodStatus, methodDigest, methodTransfer} {
			if _, err := leader.serve(testContext(t), "node-9", method, nil); err == nil || !strings.Contains(err.Error(), "not an active member") {
				t.Errorf("%s: %v", method, err)
			}
		}
		if _, err := leader.serve(testContext(t), follower.cfg.NodeID, "other", nil); err == nil || !strings.Contains(err.Error(), "not known") {
			t.Error(err)
		}
		for _, method := range []string{methodPropose, methodPlace, methodRefresh, methodApplied, methodStatus, methodDigest, methodTransfer} {
			if _, err := leader.serve(testContext(t), follower.cfg.NodeID, method, []byte{0xff}); !errors.Is(err, command.ErrMalformed) {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
	if leased(leader) != 1 {
		t.Fatalf("%d were leased", leased(leader))
	}
	g.agree()
}

func mustSeal(t testing.TB, n *Node, b []byte) []byte {
	t.Helper()
	data, err := n.fsm.entries.seal(b)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := command.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMangledForwards: forwards come twice, late, out of order, and their answers are lost. Each proposal takes effect once.
func TestMangledForwards(t *testing.T) {
	g := newGroup(t, 3)
	follower := g.follower()
	g.net.Mangle(0.5)
	var lost atomic.Int64
	g.net.LoseAnswers(func(_, _, method string) bool {
		return method == methodPropose && lost.Add(1)%20 == 0
	})
	const writers, each = 8, 25
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range each {
				ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
				if out, err := follower.Propose(ctx, leaseOne); err != nil || out.Granted != 1 {
					t.Errorf("%+v, %v", out, err)
				}
				cancel()
			}
		})
	}
	wait.Wait()
	g.net.Mangle(0)
	g.net.LoseAnswers(nil)
	time.Sleep(100 * time.Millisecond) // for the late ones
	g.agree()
	if got := leased(g.leader()); got != writers*each || lost.Load() < 10 {
		t.Fatalf("%d of %d took effect; %d forwards", got, writers*each, lost.Load())
	}
}

// TestNoQuorum: what cannot be committed is not known to be, and is said so within the deadline.
func TestNoQuorum(t *testing.T) {
	g := newGroup(t, 3)
	for i := 1; i <= 3; i++ {
		g.net.Isolate(nodeID(i))
	}
	for _, n := range g.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		began := time.Now()
		_, err := n.Propose(ctx, leaseOne)
		if kind := fault.Of(err); kind != fault.LedgerUnavailable && kind != fault.NotLeader {
			t.Errorf("%v", err)
		}
		if err := n.Barrier(ctx); fault.Of(err) != fault.LedgerUnavailable {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		cancel()
	}
	eventually(t, "no node has a lease", func() bool {
		for _, n := range g.nodes {
			if !n.Expired(n.Lease()) {
				return false
			}
		}
		return true
	})
	for _, n := range g.nodes {
		if s := n.Status(); s.Healthy || s.Reason == "" {
			t.Errorf("%+v", s)
		}
	}
	g.net.Heal()
	g.voters(3)
	g.agree()
	if got := leased(g.leader()); got > 1 { // of the leader's own proposal nobody knows
		t.Fatalf("%d took effect", got)
	}
}

// TestFenceIsCutShort: the right is gone for good, but the caller is told that not every node may know.
func TestFenceIsCutShort(t *testing.T) {
	g := newGroup(t, 3)
	cut := g.follower()
	g.net.Isolate(cut.cfg.NodeID)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	disable := command.SetApplicationStatus{Tenant: "ten-a", Application: "app-1", Status: directory.Disabled}
	_, err := g.leader().Propose(ctx, disable)
	if fault.Of(err) != fault.LedgerUnavailable || !strings.Contains(detailOf(err), "the change was made") {
		t.Fatal(err)
	}
	if g.leader().View().Application("app-1").Status != directory.Disabled {
		t.Fatal("the change was not made")
	}
}

// TestRightsAreTaken: every command that takes a right away waits for the other nodes, and nothing else does.
func TestRightsAreTaken(t *testing.T) {
	for _, c := range oneOfEachType() {
		if takesRights(c) && !changesRights(c) && c.Type() != command.TypeRevokeRefresh {
			t.Errorf("%T takes a right and changes none", c)
		}
	}
	for _, c := range []command.Command{
		command.SetKeyDisabled{Disabled: true}, command.SetTenantStatus{Status: directory.Disabled},
		command.SetApplicationStatus{Status: directory.Disabled}, command.SetUserStatus{Status: directory.Disabled},
		command.SetContextStatus{Status: directory.Disabled}, command.SetVersionState{}, command.ScheduleTenantDeletion{},
		command.ScheduleDestruction{}, command.DecideApproval{Decision: directory.Decision{Approve: true}}, command.DeleteTenant{},
		command.ChangeSettings{}, command.ChangeApplication{}, command.SetApplicationKey{}, command.RevokeApplicationTokens{},
		command.DeleteApplication{}, command.RevokeRefresh{}, command.SetUserRoles{}, command.DeleteUser{}, command.SetPassword{},
		command.EndSession{}, command.EndSessions{}, command.PutPolicy{}, command.DeletePolicy{}, command.ChangeContext{},
		command.DeleteContext{}, command.DestroyVersion{}, command.SetMinimumVersion{}, command.RemoveMember{}, command.ResetMembers{},
	} {
		if !takesRights(c) || !takesRights(byOwner(c)) || !takesRights(command.Once{Command: encoded(byOwner(c))}) {
			t.Errorf("%T does not wait", c)
		}
	}
	if !takesRights(command.Guarded{Command: []byte{0xff}}) || !takesRights(command.Once{Command: []byte{0xff}}) {
		t.Error("what cannot be read is taken for harmless")
	}
	for _, c := range []command.Command{
		command.SetKeyDisabled{}, command.SetTenantStatus{Status: directory.Enabled}, leaseOne, command.RotateContext{}, command.Tick{},
		command.ScheduleDestruction{Cancel: true}, command.DecideApproval{}, command.CreateUser{}, command.UpdateMember{},
	} {
		if takesRights(c) {
			t.Errorf("%T waits", c)
		}
	}
}

// TestSoloNeedsNothing: a cluster of one member writes neither ticks nor outcomes, and its lease has no end.
func TestSoloNeedsNothing(t *testing.T) {
	g := newGroup(t, 1)
	n := g.leader()
	before := n.raft.LastIndex()
	mustPropose(t, n, leaseOne)
	time.Sleep(300 * time.Millisecond)
	if now := n.raft.LastIndex(); now != before+1 || n.Lease() != math.MaxInt64 || n.Expired(n.Lease()) {
		t.Fatalf("the log went from %d to %d, the lease is %d", before, now, n.Lease())
	}
	if kept := all[answered](n.View().txn, tableAnswered, indexID); len(kept) != 0 {
		t.Fatalf("%d outcomes are kept", len(kept))
	}
}
