package cluster

import (
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"testing"
	"time"

	"cryptoserve/cluster/clustertest"
	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
)

// group is a cluster of nodes in this process.
type group struct {
	t     testing.TB
	net   *clustertest.Network
	dir   string
	nodes map[string]*Node
	adapt func(*Config) // of every node that starts
}

func nodeID(i int) string { return fmt.Sprintf("node-%d", i) }

func member(id string) directory.Member {
	m := newMember(id).Member
	m.CommandVersion = command.Newest()
	return m
}

// newGroup returns a cluster of so many nodes, all with a vote, with the records of seed.
func newGroup(t testing.TB, size int) *group {
	return newGroupWith(t, size, func(*Config) {})
}

func newGroupWith(t testing.TB, size int, adapt func(*Config)) *group {
	t.Helper()
	g := &group{t: t, net: clustertest.New(1), dir: t.TempDir(), nodes: map[string]*Node{}, adapt: adapt}
	first := g.start(1, false)
	g.ready(first)
	mustPropose(t, first, seed()...)
	mustPropose(t, first, command.AddMember{Member: member(nodeID(1))})
	for i := 2; i <= size; i++ {
		g.join(i)
	}
	g.voters(size)
	return g
}

func (g *group) config(i int, join bool) Config {
	cfg := testConfig(g.t, filepath.Join(g.dir, nodeID(i)))
	cfg.NodeID, cfg.Join, cfg.voteAfter = nodeID(i), join, time.Millisecond
	if !testing.Verbose() {
		cfg.Log = nil
	} else {
		cfg.Log = cfg.Log.With(slog.String("node", nodeID(i)))
	}
	for id := range g.nodes { // as a file that the appliance keeps
		cfg.Seeds = append(cfg.Seeds, member(id))
	}
	g.adapt(&cfg)
	return cfg
}

// start starts a node, also one that has been here before.
func (g *group) start(i int, join bool) *Node {
	g.t.Helper()
	cfg := g.config(i, join)
	port := g.net.Port(nodeID(i))
	cfg.Network = port
	n, err := Open(testContext(g.t), cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	port.Allow(func(id string) bool { _, ok := n.Member(id); return ok })
	g.nodes[nodeID(i)] = n
	g.t.Cleanup(func() {
		port.Kill()
		_ = n.raft.Shutdown().Error() // without the hand-over of Close, which finds nobody
		if err := n.Close(); err != nil {
			g.t.Errorf("close %s: %v", nodeID(i), err)
		}
	})
	return n
}

// join adds a node as a completed join does.
func (g *group) join(i int) *Node {
	g.t.Helper()
	via := g.leader()
	n := g.start(i, true)
	g.record(via, i)
	return n
}

// record completes the join of a node.
func (g *group) record(via *Node, i int) {
	g.t.Helper()
	c, j := newJoinInvitation(i, 1, lasting), newJoin(i, 2, lasting)
	j.Join.Node, j.Join.Name, j.Join.CommandVersion = nodeID(i), nodeID(i), command.Newest()
	mustPropose(g.t, via, c, j, decided(&j.Join, true, 3), command.CompleteJoin{ID: j.Join.ID, At: 4})
}

func (g *group) ready(n *Node) {
	g.t.Helper()
	if err := n.Ready(testContext(g.t)); err != nil {
		g.t.Fatal(err)
	}
}

// leader waits until a node leads and the others know it.
func (g *group) leader() *Node {
	g.t.Helper()
	var found *Node
	eventually(g.t, "one node leads", func() bool {
		found = nil
		for _, n := range g.nodes {
			if n.leads() && n.ended() == nil {
				if found != nil {
					return false
				}
				found = n
			}
		}
		return found != nil
	})
	return found
}

// follower returns a node that does not lead.
func (g *group) follower() *Node {
	g.t.Helper()
	leader := g.leader()
	for _, n := range g.nodes {
		if n != leader && n.ended() == nil {
			return n
		}
	}
	g.t.Fatal("there is no follower")
	return nil
}

// voters waits until so many nodes have votes and every node holds a lease.
func (g *group) voters(count int) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%d nodes have votes and leases", count), func() bool {
		for _, n := range g.nodes {
			if n.ended() != nil {
				continue
			}
			if voters(n.servers()) != count || n.Expired(n.Lease()) {
				return false
			}
		}
		return true
	})
}

// agree compares the digests of all nodes.
func (g *group) agree() {
	g.t.Helper()
	digests := g.leader().Digests(testContext(g.t))
	for _, d := range digests {
		if d.Reason != "" || d.Applied != digests[0].Applied || d.Digest != digests[0].Digest {
			g.t.Fatalf("digests %+v", digests)
		}
	}
}

func TestThreeNodes(t *testing.T) {
	g := newGroup(t, 3)
	follower := g.follower()
	out, err := follower.Propose(testContext(t), command.LeaseUsage{Key: keyID("apple", 3), Count: 7})
	if err != nil || out.Granted != 7 || out.Total != 7 || out.Fenced != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if follower.View().Tenant("ten-a").Version(keyID("apple", 3)).Leased != 7 {
		t.Fatal("the view of the node that proposed does not show what was answered")
	}
	for _, n := range g.nodes {
		if err := n.Barrier(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if n.View().Tenant("ten-a").Version(keyID("apple", 3)).Leased != 7 {
			t.Fatal("a node is behind after a barrier")
		}
		if lease := n.Lease(); lease == math.MaxInt64 || n.Expired(lease) {
			t.Fatalf("the lease is %d", lease)
		}
	}
	out, err = follower.Propose(testContext(t), command.SetApplicationStatus{Tenant: "ten-a", Application: "app-1", Status: directory.Disabled})
	if err != nil || out.Fenced == 0 || out.Fenced > fenceLease/2 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, n := range g.nodes {
		if n.View().Application("app-1").Status != directory.Disabled {
			t.Fatal("a node honours a right that was taken away")
		}
	}
	g.agree()
}

// TestInvariant04CutOffNode: a right is taken away while a follower is cut off. The answer comes after the follower's lease.
func TestInvariant04CutOffNode(t *testing.T) {
	g := newGroup(t, 3)
	cut := g.follower()
	g.net.Isolate(cut.cfg.NodeID)
	began := time.Now()
	out, err := g.leader().Propose(testContext(t), command.SetApplicationStatus{Tenant: "ten-a", Application: "app-1", Status: directory.Disabled})
	if err != nil || out.Fenced < time.Second {
		t.Fatalf("%+v, %v", out, err)
	}
	if cut.View().Application("app-1").Status != directory.Enabled || !cut.Expired(cut.Lease()) {
		t.Fatal("the node that is cut off has a lease, or was not cut off")
	}
	if took := time.Since(began); took > fenceLease+500*time.Millisecond {
		t.Fatalf("it took %v", took)
	}
	g.net.Heal()
	g.voters(3)
	g.agree()
}

// TestLeaderGone: the leader ends in the middle of proposals from a follower. Each takes effect once.
func TestLeaderGone(t *testing.T) {
	g := newGroup(t, 3)
	leader, follower := g.leader(), g.follower()
	const count = 200
	gone := make(chan struct{})
	for i := range count {
		if i == count/4 {
			go func() {
				defer close(gone)
				g.net.Isolate(leader.cfg.NodeID)
			}()
		}
		out, err := follower.Propose(testContext(t), command.LeaseUsage{Key: keyID("apple", 3), Count: 1})
		if err != nil || out.Total != uint64(i+1) {
			t.Fatalf("proposal %d: %+v, %v", i, out, err)
		}
	}
	<-gone
	g.net.Heal()
	g.voters(3)
	g.agree()
}
