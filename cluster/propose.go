package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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
// command was not proposed), NotLeader (it was not proposed here: another node leads) or LedgerUnavailable, which leaves
// it open whether the command was or will be applied.
func (n *Node) Propose(ctx context.Context, c command.Command) (command.Outcome, error) {
	encoded, err := command.Encode(c)
	if err != nil {
		return command.Outcome{}, fault.Wrap(fault.Malformed, opPropose, "", err)
	}
	if len(encoded) > maxCommand {
		return command.Outcome{}, fault.New(fault.TooLarge, opPropose,
			fmt.Sprintf("the change takes %d bytes, and at most %d are allowed", len(encoded), maxCommand))
	}
	outcome, err := n.commit(ctx, encoded)
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

// commit seals an encoded command, has Raft commit it and returns what applying it gave.
func (n *Node) commit(ctx context.Context, encoded []byte) (command.Outcome, error) {
	if err := context.Cause(ctx); err != nil {
		return command.Outcome{}, unavailable(err)
	}
	if err := n.fsm.failure(); err != nil {
		return command.Outcome{}, unavailable(err)
	}
	select {
	case <-n.closed:
		return command.Outcome{}, unavailable(ErrClosed)
	default:
	}
	data, err := n.fsm.entries.seal(encoded)
	if err != nil {
		return command.Outcome{}, unavailable(err)
	}
	type answer struct {
		response any
		err      error
	}
	answered := make(chan answer, 1)
	// Neither handing an entry to Raft nor waiting for it can be given up, so both happen aside.
	go func() {
		stop := n.watchdog.watch()
		f := n.raft.Apply(data, enqueueTimeout(ctx))
		err := f.Error()
		stop(err == nil)
		if err != nil {
			answered <- answer{err: err}
			return
		}
		answered <- answer{response: f.Response()} // an error of the state machine comes as a response too
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return command.Outcome{}, n.raftError(a.err)
		}
		switch r := a.response.(type) {
		case command.Outcome:
			return r, nil
		case error:
			return command.Outcome{}, unavailable(r)
		default:
			return command.Outcome{}, unavailable(fmt.Errorf("the state machine answered with a %T", r))
		}
	case <-ctx.Done():
		return command.Outcome{}, unavailable(context.Cause(ctx))
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

// watchdog notices a leader whose own entries do not commit. Raft does not: a leader whose disk hangs goes on sending
// heartbeats and keeps its leadership (hashicorp/raft#503), and one whose leadership transfer was left half done refuses
// every entry (hashicorp/raft#696).
type watchdog struct {
	limit time.Duration
	leads func() bool
	stuck atomic.Bool
}

func newWatchdog(limit time.Duration, leads func() bool) *watchdog {
	return &watchdog{limit: limit, leads: leads}
}

// watch begins the wait for one entry. The function that it returns ends it, and tells whether the entry was committed.
func (w *watchdog) watch() (stop func(committed bool)) {
	timer := time.AfterFunc(w.limit, func() {
		if w.leads() {
			w.stuck.Store(true)
		}
	})
	return func(committed bool) {
		timer.Stop()
		if committed && w.stuck.Load() {
			w.stuck.Store(false)
		}
	}
}

// tripped reports whether an entry waited too long and none was committed since.
func (w *watchdog) tripped() bool { return w.stuck.Load() }
