package cluster

import (
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
)

// TestInvariant04StrangersOfABadMember: a node was told, before it started, of a member that the cluster never let in. It counts
// only while the node may be behind: whoever told of it may have been removed since.
func TestInvariant04StrangersOfABadMember(t *testing.T) {
	stranger := nodeID(9)
	g := newGroupWith(t, 3, func(cfg *Config) { cfg.Seeds = append(cfg.Seeds, member(stranger)) })
	n := g.follower()
	g.ready(n)
	if _, ok := n.Member(stranger); ok {
		t.Error("a node that holds a lease takes one for a member that its state does not know")
	}
	if _, err := n.serve(testContext(t), stranger, methodStatus, mustMarshal(t, struct{}{})); err == nil {
		t.Error("a stranger's call is answered")
	}
	g.net.Isolate(n.cfg.NodeID)
	eventually(t, "its lease runs out", func() bool { return n.Expired(n.Lease()) })
	if _, ok := n.Member(stranger); !ok {
		t.Error("a node that is behind does not know whom it was told of")
	}
	g.net.Heal()
	g.voters(3)
}

// TestInvariant04NoLongerAlone: a right is taken away on a node that is alone when the call begins and not any more when the entry
// is written. The call waits for the lease of the others.
func TestInvariant04NoLongerAlone(t *testing.T) {
	var leader atomic.Pointer[Node]
	g := newGroupWith(t, 3, func(cfg *Config) {
		cfg.wrap = func(l raft.LogStore, s raft.StableStore) (raft.LogStore, raft.StableStore) {
			return &faultyLogs{l, func(next func() error) error {
				if n := leader.Load(); n != nil {
					n.solo.Store(false) // as leaveSolo does
				}
				return next()
			}}, s
		}
	})
	cut, n := g.follower(), g.leader()
	g.net.Isolate(cut.cfg.NodeID)
	n.solo.Store(true)
	leader.Store(n)
	out, err := n.Propose(testContext(t), command.SetApplicationStatus{Tenant: "ten-a", Application: "app-1", Status: directory.Disabled})
	leader.Store(nil)
	if err != nil || out.Fenced == 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if cut.View().Application("app-1").Status != directory.Enabled || !cut.Expired(cut.Lease()) {
		t.Fatal("the node that is cut off has a lease, or was not cut off")
	}
	g.net.Heal()
	g.voters(3)
}
