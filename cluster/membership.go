package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/fence"
	"cryptoserve/engine/directory"
)

const (
	// reconcileEvery is how often the leader compares Raft's configuration with the records of members, besides when these change.
	reconcileEvery = 200 * time.Millisecond
	// caughtUpWithin is how many entries a new node may be behind, caughtUpFor how long it must have been no further, to get a vote.
	caughtUpWithin = 500
	caughtUpFor    = time.Second
	// changeLimit bounds the wait for one change of Raft's configuration, aloneLimit that for the last leases of others to end.
	changeLimit = 5 * time.Second
	aloneLimit  = 2 * fenceLease
	// farewell is how long a removed node is still sent entries, over connections that it has, so that it learns of its removal.
	farewell = 500 * time.Millisecond
)

// ErrRemoved is a node that is no member of the cluster any more.
var ErrRemoved = errors.New("this node was removed from the cluster; stop it, and to use the machine again clear its data " +
	"directory and let it join as a new node")

// reconcileLoop keeps Raft's configuration as the records of members say, one change at a time.
func (n *Node) reconcileLoop() {
	t := time.NewTicker(reconcileEvery)
	defer t.Stop()
	r := reconciler{known: map[string]directory.Member{}, removed: map[string]time.Time{}, caught: map[string]time.Time{}}
	for {
		before := r.current
		r.current = n.Current()
		n.tellNetwork(&r, r.current && !before)
		if err := n.reconcile(n.ctx, &r); err != nil && n.ctx.Err() == nil {
			n.cfg.raftLog().Warn("the membership is not yet as recorded", "error", err.Error())
		}
		select {
		case <-t.C:
		case <-n.fsm.membersChanged:
		case <-n.raft.LeaderCh():
		case <-n.ctx.Done():
			return
		}
	}
}

// reconciler is what reconcileLoop remembers.
type reconciler struct {
	known   map[string]directory.Member // what the network was told of
	removed map[string]time.Time        // since when a node is seen as removed; zero when the network was told
	caught  map[string]time.Time        // since when a node without a vote is close behind
	current bool                        // this node held a lease
}

// parted reports whether a node was removed so long ago that it had the time to learn of it.
func (r *reconciler) parted(id string) bool { return time.Since(r.removed[id]) >= farewell }

// tellNetwork ends the connections of who is no member any more. New ones are refused already: see Member. Changed says that who
// counts as a member may have changed besides the records, as it does when this node is given a lease.
func (n *Node) tellNetwork(r *reconciler, changed bool) {
	for _, m := range n.View().Members() {
		if m.ID == n.cfg.NodeID {
			continue
		}
		if since, ok := r.removed[m.ID]; ok && !since.IsZero() && r.parted(m.ID) {
			r.removed[m.ID], changed = time.Time{}, true
			n.net.Drop(m.ID)
		}
		before, ok := r.known[m.ID]
		if ok && before == *m {
			continue
		}
		r.known[m.ID] = *m
		if m.Status != directory.MemberRemoved {
			changed = true
			continue
		}
		if _, ok := r.removed[m.ID]; !ok {
			r.removed[m.ID] = time.Now()
		}
	}
	if changed {
		n.net.Recheck()
	}
}

// reconcile makes at most one change.
func (n *Node) reconcile(ctx context.Context, r *reconciler) error {
	if err := n.ended(); err != nil {
		return nil //nolint:nilerr // Failed and Status tell
	}
	leads := n.leads()
	if n.fsm.retired.Load() && !leads {
		n.fail(ErrRemoved)
		return nil
	}
	if !leads {
		return nil
	}
	index, servers, err := n.configuration()
	if err != nil {
		return err
	}
	if err := n.catchUp(ctx); err != nil {
		return err
	}
	v := n.View()
	in := map[string]raft.ServerSuffrage{}
	for _, s := range servers {
		in[string(s.ID)] = s.Suffrage
	}
	for id := range in {
		if m := v.Member(id); id != n.cfg.NodeID && m != nil && m.Status == directory.MemberRemoved {
			if !r.parted(id) {
				continue
			}
			return n.change(ctx, "remove the node "+id, n.raft.RemoveServer(raft.ServerID(id), index, changeLimit))
		}
	}
	for _, m := range v.activeMembers() {
		if _, ok := in[m.ID]; !ok && m.ID != n.cfg.NodeID {
			if err := n.leaveSolo(ctx); err != nil {
				return err
			}
			return n.change(ctx, "add the node "+m.ID,
				n.raft.AddNonvoter(raft.ServerID(m.ID), raft.ServerAddress(m.ID), index, changeLimit))
		}
	}
	for _, s := range servers {
		if s.Suffrage == raft.Nonvoter && n.caughtUp(ctx, string(s.ID), r.caught) {
			delete(r.caught, string(s.ID))
			return n.change(ctx, "give the node "+string(s.ID)+" a vote", n.raft.AddVoter(s.ID, s.Address, index, changeLimit))
		}
	}
	if n.fsm.retired.Load() {
		switch voters(servers) {
		case 0, 1:
			return nil
		case 2: // the other one cannot be elected without this one, of which it accepts nothing any more: it must not need it
			return n.change(ctx, "leave", n.raft.RemoveServer(raft.ServerID(n.cfg.NodeID), index, changeLimit))
		}
		return n.change(ctx, "hand over the leadership", n.raft.LeadershipTransfer())
	}
	if len(servers) == 1 && string(servers[0].ID) == n.cfg.NodeID && !n.solo.Load() {
		return n.enterSolo(ctx)
	}
	return nil
}

// catchUp has a new leader apply everything that was committed before it led: by older records it would add a node again that was
// removed.
func (n *Node) catchUp(ctx context.Context) error {
	term := n.raft.CurrentTerm()
	if n.caughtUpIn == term {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	if _, err := n.placeHere(ctx, false); err != nil {
		return fmt.Errorf("apply what was committed before this node led: %w", err)
	}
	if n.raft.CurrentTerm() != term {
		return errors.New("the leader changes")
	}
	n.caughtUpIn = term
	return nil
}

func voters(servers []raft.Server) (count int) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			count++
		}
	}
	return count
}

// configuration returns Raft's newest configuration, committed or not, and its index.
func (n *Node) configuration() (index uint64, servers []raft.Server, err error) {
	for range 10 {
		before := n.raft.Stats()["latest_configuration_index"]
		future := n.raft.GetConfiguration()
		if err := future.Error(); err != nil {
			return 0, nil, fmt.Errorf("read the membership: %w", err)
		}
		if n.raft.Stats()["latest_configuration_index"] == before {
			index, err = strconv.ParseUint(before, 10, 64)
			return index, future.Configuration().Servers, err
		}
	}
	return 0, nil, errors.New("read the membership: it changes all the time")
}

// servers returns the nodes in Raft's newest configuration.
func (n *Node) servers() []raft.Server {
	future := n.raft.GetConfiguration()
	if future.Error() != nil {
		return nil
	}
	return future.Configuration().Servers
}

// change waits for a change of Raft's configuration.
func (n *Node) change(ctx context.Context, what string, f raft.Future) error {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	if err := await(ctx, f); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	n.cfg.raftLog().Info("membership: " + what)
	return nil
}

// await waits for Raft, which cannot be told to give up.
func await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// caughtUp reports whether a node without a vote has been close behind for a while.
func (n *Node) caughtUp(ctx context.Context, id string, since map[string]time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var r statusReply
	if err := n.call(ctx, id, methodStatus, struct{}{}, &r); err != nil || !r.Status.Healthy ||
		r.Status.Applied+caughtUpWithin < n.View().applied {
		delete(since, id)
		return false
	}
	if since[id].IsZero() {
		since[id] = time.Now()
	}
	return time.Since(since[id]) >= cmp.Or(n.cfg.voteAfter, caughtUpFor)
}

// enterSolo makes this node's lease endless: Raft's configuration names nobody else, so nobody else can commit anything. Before,
// everything in the log is applied, and who was a member has no lease any more.
func (n *Node) enterSolo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, aloneLimit)
	defer cancel()
	index, err := n.placeHere(ctx, false)
	if err != nil {
		return fmt.Errorf("go on as the only node: %w", err)
	}
	if _, err := n.fence.Wait(ctx, index, n.others(), n.ask); err != nil {
		return fmt.Errorf("go on as the only node: %w", err)
	}
	servers := n.servers()
	if len(servers) != 1 || !n.leads() || n.ended() != nil || len(n.View().activeMembers()) > 1 {
		return nil
	}
	n.solo.Store(true)
	n.fence.SetAlone(true)
	return nil
}

// leaveSolo ends the endless lease before Raft is asked to add a node. A tick has brought a usual one by then, so that nothing is
// refused meanwhile.
func (n *Node) leaveSolo(ctx context.Context) error {
	if !n.solo.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	if err := n.tick(ctx, []fence.Refresh{{Node: n.cfg.NodeID, Nonce: n.fence.Refresh()}}); err != nil {
		return fmt.Errorf("prepare for a second node: %w", err)
	}
	n.endSolo()
	return nil
}
