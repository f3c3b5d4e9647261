package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

const (
	// proposeLimit bounds a proposal whose context has no deadline: several failovers.
	proposeLimit = 5 * time.Second
	// forwardLimit is how long one leader is waited for before the leader is asked for again.
	forwardLimit = 2 * time.Second
	// lookAgain is how often a node that waits for a leader looks whether there is one, or another.
	lookAgain = 10 * time.Millisecond
)

var (
	errNoLeader  = errors.New("there is no leader")
	errNewLeader = errors.New("another node leads now")
)

// attempt is how one try to commit an entry failed.
type attempt struct {
	err    error
	handed bool // the entry may be part of the log, or become it
	final  bool // the next try would fail in the same way
}

func (a *attempt) Error() string { return a.err.Error() }

func (a *attempt) Unwrap() error { return a.err }

// replicate commits an encoded command of a cluster of several nodes, wherever the leader is. It takes effect once however many
// tries that takes. With fenced it returns when no node acts on the state before it any more.
func (n *Node) replicate(ctx context.Context, encoded []byte, fenced bool) (command.Outcome, error) {
	ctx, cancel := withLimit(ctx)
	defer cancel()
	once := command.Once{Command: encoded, After: n.View().applied}
	_, _ = rand.Read(once.ID[:]) // never returns an error: crypto/rand documents that it ends the program instead
	wrapped, err := command.Encode(once)
	if err != nil {
		return command.Outcome{}, unavailable(err)
	}
	data, err := n.fsm.entries.seal(wrapped)
	if err != nil {
		return command.Outcome{}, unavailable(err)
	}
	index, outcome, err := n.submitUntil(ctx, data, fenced)
	if err != nil {
		return command.Outcome{}, err
	}
	if err := n.fence.Reached(ctx, index); err != nil {
		return command.Outcome{}, fault.Wrap(fault.LedgerUnavailable, opPropose,
			"the change was made, but this node has not seen it yet", err)
	}
	if !fenced || outcome.Refused != 0 {
		return outcome, nil
	}
	return n.fenced(ctx, index, outcome)
}

// fenced returns when no node acts any more on the state before the entry at index.
func (n *Node) fenced(ctx context.Context, index uint64, outcome command.Outcome) (command.Outcome, error) {
	waited, err := n.fence.Wait(ctx, index, n.others(), n.ask)
	if err != nil {
		return command.Outcome{}, fault.Wrap(fault.LedgerUnavailable, opPropose, fmt.Sprintf("the change was made, but it is not known "+
			"that every node has seen it: one that is cut off may act on the old state for %v more; repeating the change is safe, and "+
			"answers when that is over", fenceLease), err)
	}
	outcome.Fenced = max(waited, 1)
	return outcome, nil
}

// withLimit gives a context without a deadline one.
func withLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, proposeLimit)
}

// submitUntil tries to commit an entry until that succeeds, the next try would fail too, or ctx ends.
func (n *Node) submitUntil(ctx context.Context, data []byte, fenced bool) (uint64, command.Outcome, error) {
	handed := false
	for pause := lookAgain; ; pause = min(2*pause, 100*time.Millisecond) {
		index, outcome, failed := n.submit(ctx, data, fenced)
		if failed == nil {
			return index, outcome, nil
		}
		handed = handed || failed.handed
		if failed.final || !n.sleep(ctx, pause) {
			if handed {
				return 0, command.Outcome{}, unavailable(failed)
			}
			return 0, command.Outcome{}, fault.Wrap(fault.NotLeader, opPropose, "no leader took the change, and nothing was changed", failed)
		}
	}
}

// sleep returns false when ctx or the node has ended.
func (n *Node) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return n.fsm.failure() == nil
	case <-ctx.Done():
		return false
	case <-n.ctx.Done():
		return false
	}
}

// submit tries to commit an entry once.
func (n *Node) submit(ctx context.Context, data []byte, fenced bool) (uint64, command.Outcome, *attempt) {
	if err := n.ended(); err != nil {
		return 0, command.Outcome{}, &attempt{err: err, final: true}
	}
	leader := n.leader()
	switch leader {
	case "":
		return 0, command.Outcome{}, &attempt{err: errNoLeader}
	case n.cfg.NodeID:
		index, outcome, err := n.enter(ctx, data)
		if err != nil {
			return 0, command.Outcome{}, &attempt{err: err, handed: mayBeLogged(err)}
		}
		if fenced {
			n.nudge()
		}
		return index, outcome, nil
	}
	ctx, cancel := n.whileLeading(ctx, leader)
	defer cancel()
	var r reply
	if err := n.call(ctx, leader, methodPropose, proposeCall{data}, &r); err != nil {
		return 0, command.Outcome{}, &attempt{err: err, handed: !unreached(err)}
	}
	switch {
	case r.Code == codeDone && r.Outcome != nil:
		return r.Index, r.Outcome.outcome(), nil
	case r.Code == codeNotLeader, r.Code == codeRefused:
		return 0, command.Outcome{}, &attempt{err: errors.New(r.Detail), final: r.Code == codeRefused}
	default:
		return 0, command.Outcome{}, &attempt{err: errors.New(r.Detail), handed: true}
	}
}

// leader returns the node that leads as far as this one knows, "" when there is none.
func (n *Node) leader() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

// whileLeading returns a context that also ends when another node leads, or when the leader took too long.
func (n *Node) whileLeading(ctx context.Context, leader string) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	ctx, cancel := context.WithTimeout(ctx, forwardLimit)
	look := time.NewTicker(lookAgain)
	go func() {
		defer look.Stop()
		for {
			select {
			case <-look.C:
				if n.leader() != leader {
					stop(errNewLeader)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(); stop(nil) }
}

// mayBeLogged reports whether an entry that Raft answered with this error may be part of the log, or become it.
func mayBeLogged(err error) bool {
	return !errors.Is(err, raft.ErrNotLeader) && !errors.Is(err, raft.ErrLeadershipTransferInProgress) &&
		!errors.Is(err, raft.ErrEnqueueTimeout)
}

// mayForward reports whether a member may ask the leader for a command: not for one that begins or resets a cluster, which no
// running cluster needs, and not for one in which another member speaks of itself.
func mayForward(from string, once command.Once) bool {
	inside, ok := innermost(once)
	if !ok {
		return false
	}
	switch c := inside.(type) {
	case command.CreateCluster, command.AddMember, command.ResetMembers, command.Tick:
		return false
	case command.UpdateMember:
		return c.ID == from
	default:
		return true
	}
}

// servePropose commits an entry for another member, if it is what a member of this cluster seals and this version may write. One
// that was committed before is answered from the state.
func (n *Node) servePropose(ctx context.Context, from string, c proposeCall) reply {
	encoded, err := n.fsm.entries.open(c.Data)
	if err != nil {
		return reply{Code: codeRefused, Detail: "the entry does not open"}
	}
	decoded, err := command.Decode(encoded)
	if err != nil {
		return reply{Code: codeRefused, Detail: "the entry holds no command that this node knows"}
	}
	once, ok := decoded.(command.Once)
	if !ok {
		return reply{Code: codeRefused, Detail: "the entry is not one that takes effect once"}
	}
	if !mayForward(from, once) {
		return reply{Code: codeRefused, Detail: "a member does not ask for this on behalf of others"}
	}
	if !n.leads() {
		return reply{Code: codeNotLeader, Detail: "the node that was asked does not lead"}
	}
	if err := n.mayWrite(once); err != nil {
		return reply{Code: codeRefused, Detail: err.Error()}
	}
	if before := n.View().answered(once.ID); before != nil {
		return reply{Code: codeDone, Index: before.Index, Outcome: before}
	}
	index, outcome, err := n.enter(ctx, c.Data)
	switch {
	case err == nil:
		n.nudge()
		return reply{Code: codeDone, Index: index, Outcome: answer(once.ID, index, outcome)}
	case mayBeLogged(err):
		return reply{Code: codeLost, Detail: "it is not known whether the entry was committed: " + err.Error()}
	default:
		return reply{Code: codeNotLeader, Detail: err.Error()}
	}
}

// mayWrite refuses a command that the cluster's version does not allow.
func (n *Node) mayWrite(c command.Command) error {
	cluster := n.View().Cluster()
	allowed := cluster.Commands()
	if cluster == nil || allowed >= command.Newest() {
		return nil
	}
	needs, err := command.Needs(c)
	if err != nil {
		return fault.Wrap(fault.Malformed, opPropose, "", err)
	}
	if needs <= allowed {
		return nil
	}
	return fault.New(fault.Conflict, opPropose, fmt.Sprintf("the change needs version %d of the cluster, which is finalised at version %d: "+
		"upgrade every node, then finalise version %d", needs, allowed, needs))
}

// others returns every other node that is or ever was a member.
func (n *Node) others() []string {
	var ids []string
	for _, m := range n.View().Members() {
		if m.ID != n.cfg.NodeID {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// ask returns nil when a node has published everything up to an index.
func (n *Node) ask(ctx context.Context, node string, index uint64) error {
	return n.call(ctx, node, methodApplied, indexCall{index}, nil)
}

func (n *Node) serveApplied(ctx context.Context, c indexCall) error {
	ctx, cancel := context.WithTimeout(ctx, 2*fenceLease)
	defer cancel()
	return n.fence.Reached(ctx, c.Index)
}

// answered returns the kept outcome of what takes effect once.
func (v *View) answered(id [16]byte) *answered {
	return first[answered](v.txn, tableAnswered, indexID, string(id[:]))
}

// activeMembers returns the members that were not removed, in order of id.
func (v *View) activeMembers() []*directory.Member { return activeMembers(v.txn) }
