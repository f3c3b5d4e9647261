package cluster

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// other returns a node that is none of these.
func (g *group) other(not ...*Node) *Node {
	g.t.Helper()
next:
	for _, n := range g.nodes {
		for _, o := range not {
			if n == o {
				continue next
			}
		}
		return n
	}
	g.t.Fatal("there is no other node")
	return nil
}

// failed waits until a node has stopped.
func (g *group) failed(n *Node, want error) {
	g.t.Helper()
	select {
	case err := <-n.Failed():
		if !errors.Is(err, want) {
			g.t.Fatalf("it stopped with %v", err)
		}
	case <-testContext(g.t).Done():
		g.t.Fatal("it goes on")
	}
}

// stop closes a node and forgets it.
func (g *group) stop(n *Node) {
	g.t.Helper()
	mustClose(g.t, n)
	g.net.Port(n.cfg.NodeID).Kill()
	delete(g.nodes, n.cfg.NodeID)
}

// kill ends a node as kill -9 does, as far as the others can see.
func (g *group) kill(n *Node) {
	g.net.Port(n.cfg.NodeID).Kill()
	delete(g.nodes, n.cfg.NodeID)
	_ = n.raft.Shutdown().Error() // without the hand-over of Close
}

func TestRemoveFollower(t *testing.T) {
	g := newGroup(t, 3)
	leader, gone := g.leader(), g.follower()
	out, err := leader.Propose(testContext(t), command.RemoveMember{ID: gone.cfg.NodeID, At: 5})
	if err != nil || out.Fenced == 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if !gone.Expired(gone.Lease()) {
		t.Fatal("a removed node has a lease when the removal has been answered")
	}
	g.failed(gone, ErrRemoved)
	eventually(t, "it is taken out of Raft", func() bool { return voters(leader.servers()) == 2 && len(leader.servers()) == 2 })
	if _, err := gone.Propose(testContext(t), leaseOne); fault.Of(err) != fault.LedgerUnavailable && fault.Of(err) != fault.NotLeader {
		t.Fatalf("a removed node proposes: %v", err)
	}
	if s := gone.Status(); s.Healthy || s.Reason == "" {
		t.Fatalf("%+v", s)
	}
	if _, ok := leader.Member(gone.cfg.NodeID); ok {
		t.Fatal("a removed node is a member")
	}
	g.stop(gone)
	// It cannot come back: not with its directory, and not by another record.
	back := g.start(int(gone.cfg.NodeID[len(gone.cfg.NodeID)-1]-'0'), false)
	time.Sleep(1500 * time.Millisecond)
	if !back.Expired(back.Lease()) || back.leads() {
		t.Fatal("a removed node serves again")
	}
	if len(leader.servers()) != 2 || leader.View().Member(back.cfg.NodeID).Status != directory.MemberRemoved {
		t.Fatal("a removed node is back")
	}
	delete(g.nodes, back.cfg.NodeID)
	mustPropose(t, leader, leaseOne)
	g.agree()
}

// TestRemoveCutOff: a node that is cut off while it is removed learns nothing. Its lease runs out before the answer.
func TestRemoveCutOff(t *testing.T) {
	g := newGroup(t, 3)
	leader, gone := g.leader(), g.follower()
	g.net.Isolate(gone.cfg.NodeID)
	mustPropose(t, leader, command.RemoveMember{ID: gone.cfg.NodeID, At: 5})
	if !gone.Expired(gone.Lease()) {
		t.Fatal("a removed node has a lease when the removal has been answered")
	}
	g.net.Heal()
	eventually(t, "it is taken out of Raft", func() bool { return len(leader.servers()) == 2 })
	time.Sleep(time.Second)
	if !gone.Expired(gone.Lease()) || gone.leads() || !leader.leads() {
		t.Fatal("it serves again, or disturbs the others")
	}
}

func TestRemoveLeader(t *testing.T) {
	g := newGroup(t, 3)
	gone := g.leader()
	via := g.other(gone)
	mustPropose(t, via, command.RemoveMember{ID: gone.cfg.NodeID, At: 5})
	g.failed(gone, ErrRemoved)
	if !gone.Expired(gone.Lease()) {
		t.Fatal("a removed node has a lease")
	}
	delete(g.nodes, gone.cfg.NodeID)
	leader := g.leader()
	eventually(t, "it is taken out of Raft", func() bool { return len(leader.servers()) == 2 })
	mustPropose(t, leader, leaseOne)
	g.agree()
}

// TestShrinkToOne: two nodes become one, which then needs no ticks, and two again.
func TestShrinkToOne(t *testing.T) {
	g := newGroup(t, 2)
	leader, gone := g.leader(), g.follower()
	if _, err := leader.Propose(testContext(t), command.RemoveMember{ID: leader.cfg.NodeID, At: 5}); err != nil {
		t.Fatal(err)
	}
	g.failed(leader, ErrRemoved)
	delete(g.nodes, leader.cfg.NodeID)
	eventually(t, "the other one is alone", func() bool { return gone.solo.Load() && gone.Lease() == math.MaxInt64 })
	mustPropose(t, gone, leaseOne)
	if _, err := gone.Propose(testContext(t), command.RemoveMember{ID: gone.cfg.NodeID, At: 6}); !errors.Is(err, fault.Conflict) {
		t.Fatalf("the last member: %v", err)
	}
	served := true
	done := make(chan struct{})
	joined := make(chan struct{})
	go func() { // it never has to refuse while another one joins
		defer close(done)
		for {
			select {
			case <-joined:
				return
			default:
				served = served && !gone.Expired(gone.Lease())
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	g.join(3)
	g.voters(2)
	close(joined)
	<-done
	if !served {
		t.Error("the node had no lease while another one joined")
	}
	g.agree()
}

// TestReplaceDeadNode: a node dies for good, a new one joins, and the dead one is removed.
func TestReplaceDeadNode(t *testing.T) {
	g := newGroup(t, 3)
	dead := g.follower()
	g.kill(dead)
	g.join(4)
	leader := g.leader()
	eventually(t, "the new node has a vote", func() bool { return voters(leader.servers()) == 4 })
	mustPropose(t, leader, command.RemoveMember{ID: dead.cfg.NodeID, At: 5})
	g.voters(3)
	g.agree()
	// What follows needs no wait for the dead one any more.
	out, err := leader.Propose(testContext(t), command.RevokeRefresh{Tenant: "ten-a", Family: "ref-1"})
	if err != nil || out.Fenced > fenceLease/2 {
		t.Fatalf("%+v, %v", out, err)
	}
}

// TestColdStart: all nodes end and start again. None has a state before one leads.
func TestColdStart(t *testing.T) {
	g := newGroup(t, 3)
	mustPropose(t, g.follower(), leaseOne)
	for _, n := range []*Node{g.nodes[nodeID(1)], g.nodes[nodeID(2)], g.nodes[nodeID(3)]} {
		g.kill(n)
		mustClose(t, n)
	}
	known := []directory.Member{member(nodeID(1)), member(nodeID(2)), member(nodeID(3))}
	g.adapt = func(c *Config) { c.Seeds = known }
	for i := 1; i <= 3; i++ {
		if n := g.start(i, false); !n.Expired(n.Lease()) {
			t.Fatal("a node has a lease before it knows anything")
		}
	}
	g.voters(3)
	for _, n := range g.nodes {
		g.ready(n)
		if leased(n) != 1 {
			t.Fatal("a write is gone")
		}
	}
	g.agree()
}

func TestNodesAndTransfer(t *testing.T) {
	g := newGroup(t, 3)
	via := g.follower()
	all := via.Nodes(testContext(t))
	if len(all) != 3 {
		t.Fatalf("%+v", all)
	}
	leaders := 0
	for i, s := range all {
		if s.ID != nodeID(i+1) || !s.Reachable || !s.Healthy || !s.Voter || s.Lease <= 0 || s.Lease > 2000 || s.Term == 0 ||
			s.CommandVersion != command.Newest() || s.LogWrite <= 0 || s.Skew < -500 || s.Skew > 500 {
			t.Errorf("%+v", s)
		}
		if s.Leader {
			leaders++
		}
	}
	if leaders != 1 {
		t.Fatalf("%d leaders", leaders)
	}
	if err := via.TransferLeadership(testContext(t), via.cfg.NodeID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leads", via.leads)
	if err := via.TransferLeadership(testContext(t), "node-9"); !errors.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	if err := g.other(via).TransferLeadership(testContext(t), "node-9"); !errors.Is(err, fault.Conflict) {
		t.Fatalf("by way of a follower: %v", err)
	}
	if err := via.TransferLeadership(testContext(t), ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another one leads", func() bool { return !via.leads() && via.leader() != "" })
	dead := g.follower()
	g.net.Isolate(dead.cfg.NodeID)
	began := time.Now()
	for _, s := range g.other(dead).Nodes(testContext(t)) {
		if (s.ID == dead.cfg.NodeID) == s.Reachable || !s.Reachable && (s.Reason == "" || !s.Voter) {
			t.Errorf("%+v", s)
		}
	}
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Fatalf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, d := range g.leader().Digests(ctx) {
		if (d.ID == dead.cfg.NodeID) != (d.Reason != "") {
			t.Errorf("%+v", d)
		}
	}
}

// TestDigestsWhileWriting: digests are of one index, whatever is written meanwhile.
func TestDigestsWhileWriting(t *testing.T) {
	g := newGroup(t, 3)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = g.nodes[nodeID(2)].Propose(t.Context(), leaseOne)
			}
		}
	}()
	for range 20 {
		g.agree()
	}
	close(stop)
	<-stopped
}

// TestDigestsTellDivergence: a node with another state is seen.
func TestDigestsTellDivergence(t *testing.T) {
	g := newGroup(t, 3)
	ill := g.follower()
	edit(ill.fsm.db, func(txn *memdb.Txn) { drop(txn, tableUsers, ill.View().Tenant("ten-a").User("usr-1")) })
	digests := g.leader().Digests(testContext(t))
	different := map[[32]byte]int{}
	for _, d := range digests {
		different[d.Digest]++
		if d.Reason != "" {
			t.Fatalf("%+v", d)
		}
	}
	if len(different) != 2 {
		t.Fatalf("%+v", digests)
	}
}

// TestCloseHandsOver: a leader that is closed is followed by another at once.
func TestCloseHandsOver(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	term := leader.raft.CurrentTerm()
	began := time.Now()
	g.stop(leader)
	next := g.leader()
	if took := time.Since(began); took > electionTimeout || next.raft.CurrentTerm() != term+1 {
		t.Fatalf("after %v, in term %d after %d", took, next.raft.CurrentTerm(), term)
	}
	mustPropose(t, g.other(next), leaseOne)
}

// TestNoVoteBeforeCaughtUp: a node that cannot follow gets no vote, and one that can gets it after a second.
func TestNoVoteBeforeCaughtUp(t *testing.T) {
	g := newGroupWith(t, 1, func(c *Config) { c.voteAfter = 0 })
	leader := g.leader()
	n := g.start(2, true)
	g.net.Isolate(n.cfg.NodeID)
	g.record(leader, 2)
	eventually(t, "it is added", func() bool { return len(leader.servers()) == 2 })
	time.Sleep(2 * caughtUpFor)
	for _, s := range leader.servers() {
		if s.ID == raft.ServerID(n.cfg.NodeID) && s.Suffrage != raft.Nonvoter {
			t.Fatal("it has a vote")
		}
	}
	mustPropose(t, leader, leaseOne) // whose quorum is the one node
	healed := time.Now()
	g.net.Heal()
	g.voters(2)
	if took := time.Since(healed); took < caughtUpFor {
		t.Fatalf("it got its vote after %v", took)
	}
	g.agree()
}
