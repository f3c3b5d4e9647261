package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
)

// maxCommand bounds an encoded command, far below what slows Raft down.
const maxCommand = 256 << 10

const opPropose = "cluster.Propose"

// Propose makes the command part of the log and returns its outcome once this node has applied it; View shows its effect
// then.
//
// An outcome that is refused comes back with an error of its kind. Otherwise errors are of kind Malformed or TooLarge (the
// command was not proposed), Conflict (the cluster is not finalised at the version that the command needs), NotLeader (no leader
// took it: it was not proposed) or LedgerUnavailable, which leaves it open whether the command was or will be applied.
//
// In a cluster of several nodes any of them may be asked. The command takes effect once, however often its entry had to be
// repeated within the deadline of ctx, five seconds when it has none. A command that takes a right away is answered when no node
// honours the right any more; Outcome.Fenced tells how long that took.
func (n *Node) Propose(ctx context.Context, c command.Command) (command.Outcome, error) {
	encoded, err := command.Encode(c)
	if err != nil {
		return command.Outcome{}, fault.Wrap(fault.Malformed, opPropose, "", err)
	}
	if len(encoded) > maxCommand {
		return command.Outcome{}, fault.New(fault.TooLarge, opPropose,
			fmt.Sprintf("the change takes %d bytes, and at most %d are allowed", len(encoded), maxCommand))
	}
	if err := n.mayWrite(c); err != nil {
		return command.Outcome{}, err
	}
	var outcome command.Outcome
	if n.solo.Load() {
		outcome, err = n.commit(ctx, encoded, takesRights(c))
	} else {
		outcome, err = n.replicate(ctx, encoded, takesRights(c))
	}
	if err != nil {
		return command.Outcome{}, err
	}
	if outcome.Refused != 0 {
		refusal := fault.New(outcome.Refused, opPropose, outcome.Detail)
		if outcome.Cause != "" {
			refusal.Err = outcome.Cause
		}
		return outcome, refusal
	}
	return outcome, nil
}

func unavailable(err error) error {
	return fault.Wrap(fault.LedgerUnavailable, opPropose, "the change could not be made sure", err)
}

// ended returns why the node takes nothing any more, nil while it does.
func (n *Node) ended() error {
	if err := n.fsm.failure(); err != nil {
		return err
	}
	select {
	case <-n.closed:
		return ErrClosed
	default:
		return nil
	}
}

// commit seals an encoded command, has Raft commit it and returns what applying it gave. It is for a cluster of one: a command
// whose outcome is not known is not repeated. When another node was added meanwhile, its lease may be older than the entry: a
// fenced command is waited for as in replicate.
func (n *Node) commit(ctx context.Context, encoded []byte, fenced bool) (command.Outcome, error) {
	if err := errors.Join(context.Cause(ctx), n.ended()); err != nil {
		return command.Outcome{}, unavailable(err)
	}
	data, err := n.fsm.entries.seal(encoded)
	if err != nil {
		return command.Outcome{}, unavailable(err)
	}
	index, outcome, err := n.enter(ctx, data)
	if err != nil {
		return command.Outcome{}, n.raftError(err)
	}
	if !fenced || outcome.Refused != 0 || n.solo.Load() {
		return outcome, nil // nobody is added to Raft while solo is set, so nobody was before the entry
	}
	ctx, cancel := withLimit(ctx)
	defer cancel()
	return n.fenced(ctx, index, outcome)
}

// entered is how an entry went.
type entered struct {
	index    uint64
	response any
	err      error
}

// enter has Raft commit a sealed entry on this node, which must lead, and returns its index and what applying it gave. Errors of
// Raft come as they are.
func (n *Node) enter(ctx context.Context, data []byte) (uint64, command.Outcome, error) {
	done := make(chan entered, 1)
	// Neither handing an entry to Raft nor waiting for it can be given up, so both happen aside.
	go func() {
		n.entering.RLock() // not while a backup is restored
		defer n.entering.RUnlock()
		stop := n.watchdog.watch()
		f := n.raft.Apply(data, enqueueTimeout(ctx))
		err := f.Error()
		stop(err)
		if err != nil {
			done <- entered{err: err}
			return
		}
		done <- entered{index: f.Index(), response: f.Response()} // an error of the state machine comes as a response too
	}()
	select {
	case e := <-done:
		if e.err != nil {
			return 0, command.Outcome{}, e.err
		}
		switch r := e.response.(type) {
		case command.Outcome:
			return e.index, r, nil
		case error:
			return 0, command.Outcome{}, r
		default:
			return 0, command.Outcome{}, fmt.Errorf("the state machine answered with a %T", r)
		}
	case <-ctx.Done():
		return 0, command.Outcome{}, context.Cause(ctx)
	}
}

// enqueueTimeout returns how long an entry may wait to be taken by Raft: until the context ends, without end when it does
// not.
func enqueueTimeout(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Millisecond)
}

// raftError gives an error of Raft its kind. Only where another node leads is it worth asking elsewhere.
func (n *Node) raftError(err error) error {
	if errors.Is(err, raft.ErrNotLeader) {
		if _, id := n.raft.LeaderWithID(); id != "" && id != raft.ServerID(n.cfg.NodeID) {
			return fault.Wrap(fault.NotLeader, opPropose, "another node leads", err)
		}
	}
	return unavailable(err)
}
