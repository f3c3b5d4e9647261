package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

const (
	// digestLimit bounds the comparison of digests.
	digestLimit = 10 * time.Second
	opTransfer  = "cluster.TransferLeadership"
)

// nodeStatus is what this node says of itself.
func (n *Node) nodeStatus() directory.NodeStatus {
	s := n.Status()
	lease := int64(-1)
	if !n.solo.Load() {
		lease = n.fence.Remaining().Milliseconds()
	}
	return directory.NodeStatus{
		ID: n.cfg.NodeID, Reachable: true, Reason: s.Reason, Leader: s.Leader, Voter: s.Voter, Healthy: s.Healthy,
		Applied: s.Applied, LastIndex: s.LastIndex, Term: s.Term, Lease: lease, Program: n.cfg.Program,
		CommandVersion: command.Newest(), LogWrite: s.LogWrite.Microseconds(),
	}
}

// Nodes returns how each active member is now, in order of id. One that does not answer within a second is not reachable.
func (n *Node) Nodes(ctx context.Context) []directory.NodeStatus {
	ids := n.activeIDs()
	found := make([]directory.NodeStatus, len(ids))
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var wait sync.WaitGroup
	for i, id := range ids {
		wait.Go(func() { found[i] = n.statusOf(ctx, id) })
	}
	wait.Wait()
	return found
}

// activeIDs are the active members, and this node, in order.
func (n *Node) activeIDs() []string {
	ids := []string{n.cfg.NodeID}
	for _, m := range n.View().activeMembers() {
		if m.ID != n.cfg.NodeID {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (n *Node) statusOf(ctx context.Context, id string) directory.NodeStatus {
	if id == n.cfg.NodeID {
		return n.nodeStatus()
	}
	var r statusReply
	asked := time.Now()
	err := n.call(ctx, id, methodStatus, struct{}{}, &r)
	if err != nil || r.Status.ID != id {
		if err == nil {
			err = fmt.Errorf("it says that it is %q", r.Status.ID)
		}
		return directory.NodeStatus{ID: id, Reason: err.Error(), Voter: n.votes(id)}
	}
	took := time.Since(asked)
	r.Status.Skew = r.Now - asked.Add(took/2).UnixMilli()
	return r.Status
}

func (n *Node) votes(id string) bool {
	return slices.ContainsFunc(n.servers(), func(s raft.Server) bool { return string(s.ID) == id && s.Suffrage == raft.Voter })
}

// Digests returns the digest of each active member's state at one index, in order of id: that of an entry which has every node
// keep its state. A node that does not reach it in time, or was restored from a later snapshot, has none.
func (n *Node) Digests(ctx context.Context) []directory.NodeDigest {
	ids := n.activeIDs()
	found := make([]directory.NodeDigest, len(ids))
	ctx, cancel := context.WithTimeout(ctx, digestLimit)
	defer cancel()
	index, err := n.reach(ctx, func(ctx context.Context) (uint64, error) { return n.place(ctx, true) })
	if err != nil {
		for i, id := range ids {
			found[i] = directory.NodeDigest{ID: id, Reason: err.Error()}
		}
		return found
	}
	var wait sync.WaitGroup
	for i, id := range ids {
		wait.Go(func() {
			r, err := n.digestOf(ctx, id, index)
			found[i] = directory.NodeDigest{ID: id, Applied: index, Digest: r.Digest}
			if err != nil {
				found[i] = directory.NodeDigest{ID: id, Reason: err.Error()}
			}
		})
	}
	wait.Wait()
	slices.SortFunc(found, func(a, b directory.NodeDigest) int { return cmp.Compare(a.ID, b.ID) })
	return found
}

func (n *Node) digestOf(ctx context.Context, id string, index uint64) (r digestReply, err error) {
	if id == n.cfg.NodeID {
		return n.serveDigest(ctx, indexCall{index})
	}
	return r, n.call(ctx, id, methodDigest, indexCall{index}, &r)
}

func (n *Node) serveDigest(ctx context.Context, c indexCall) (digestReply, error) {
	if err := n.fence.Reached(ctx, c.Index); err != nil {
		return digestReply{}, err
	}
	v := n.fsm.marked.at(c.Index)
	if v == nil {
		return digestReply{}, fmt.Errorf("the node does not have the state at entry %d any more", c.Index)
	}
	return digestReply{v.Digest()}, nil
}

// TransferLeadership hands the leadership to a member with a vote, or to any that is up to date when the id is empty.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	ctx, cancel := withLimit(ctx)
	defer cancel()
	leader := n.leader()
	for ; leader == ""; leader = n.leader() {
		if !n.sleep(ctx, lookAgain) {
			return fault.Wrap(fault.LedgerUnavailable, opTransfer, "there is no leader", errNoLeader)
		}
	}
	switch leader {
	case to:
		return nil
	case n.cfg.NodeID:
		return n.transfer(ctx, to)
	}
	var r reply
	if err := n.call(ctx, leader, methodTransfer, transferCall{to}, &r); err != nil {
		return fault.Wrap(fault.LedgerUnavailable, opTransfer, "the leader did not answer", err)
	}
	switch r.Code {
	case codeDone:
		return nil
	case codeRefused:
		return fault.New(fault.Conflict, opTransfer, r.Detail)
	default:
		return fault.New(fault.LedgerUnavailable, opTransfer, r.Detail)
	}
}

func (n *Node) serveTransfer(ctx context.Context, c transferCall) reply {
	err := n.transfer(ctx, c.To)
	switch {
	case err == nil:
		return reply{Code: codeDone}
	case errors.Is(err, fault.Conflict):
		return reply{Code: codeRefused, Detail: detailOf(err)}
	default:
		return reply{Code: codeLost, Detail: "the leadership was not handed over: " + err.Error()}
	}
}

// detailOf returns what a caller may read of an error.
func detailOf(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return ""
}

// transfer hands this node's leadership over.
func (n *Node) transfer(ctx context.Context, to string) error {
	servers := n.servers()
	switch {
	case to == n.cfg.NodeID:
		return nil
	case voters(servers) < 2:
		return fault.New(fault.Conflict, opTransfer, "no other node has a vote")
	case to != "" && !n.votes(to):
		return fault.New(fault.Conflict, opTransfer, "the node has no vote: it is no member, or has not caught up yet")
	}
	var f raft.Future
	if to == "" {
		f = n.raft.LeadershipTransfer()
	} else {
		f = n.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to))
	}
	if err := await(ctx, f); err != nil {
		return fault.Wrap(fault.LedgerUnavailable, opTransfer, "the leadership was not handed over", err)
	}
	return nil
}
