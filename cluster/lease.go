package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/cluster/fence"
	"cryptoserve/engine/fault"
)

// fenceLease is how long a lease is.
const fenceLease = fence.Lease

// encodedTick is an empty tick: a place in the log.
var encodedTick = mustEncode(command.Tick{})

func mustEncode(c command.Command) []byte {
	b, err := command.Encode(c)
	if err != nil {
		panic(fmt.Sprintf("cluster: encode a %T: %v", c, err)) // a constant
	}
	return b
}

// Lease returns until when this node may answer from its state, on a clock of its own: math.MaxInt64 for a cluster of one, 0 when
// it may not. It is one atomic load.
func (n *Node) Lease() int64 { return n.fence.Lease() }

// Expired reads the clock of Lease. Whoever uses a right reads the lease, then the state, then asks this, in that order.
func (n *Node) Expired(lease int64) bool { return n.fence.Expired(lease) }

// refreshLoop sends a fresh nonce to the leader all the time, so that a tick renews this node's lease.
func (n *Node) refreshLoop() {
	n.every(n.ctx, fence.RefreshEvery, func(ctx context.Context) {
		leader := n.leader()
		if n.solo.Load() || leader == "" || n.fsm.retired.Load() || n.fsm.failure() != nil {
			return
		}
		nonce := n.fence.Refresh()
		if leader == n.cfg.NodeID {
			n.refreshes.Add(fence.Refresh{Node: leader, Nonce: nonce})
			return
		}
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		_ = n.call(ctx, leader, methodRefresh, refreshCall{nonce}, nil) // the next one makes up for it
	})
}

func (n *Node) serveRefresh(from string, c refreshCall) error {
	if !n.leads() {
		return errors.New("this node does not lead")
	}
	if !n.refreshes.Add(fence.Refresh{Node: from, Nonce: c.Nonce}) {
		return errors.New("there are too many nodes")
	}
	return nil
}

// tickLoop appends, on the leader, what nodes have sent. That is also the leader's own entry by which the watchdog sees that it
// can still commit.
func (n *Node) tickLoop() {
	n.every(n.ctx, fence.TickEvery, func(ctx context.Context) {
		taken := n.refreshes.Take()
		if len(taken) == 0 || n.solo.Load() || !n.leads() {
			return
		}
		_ = n.tick(ctx, taken) // who was not renewed sends again
	})
}

// tick appends a tick with nonces and returns its index when this node has applied it.
func (n *Node) tick(ctx context.Context, taken []fence.Refresh) error {
	var t command.Tick
	for _, r := range taken {
		t.Refreshes = append(t.Refreshes, command.Refresh{Node: r.Node, Nonce: r.Nonce})
	}
	data, err := n.fsm.entries.seal(mustEncode(t))
	if err != nil {
		return err
	}
	_, _, err = n.enter(ctx, data)
	return err
}

// nudge has the leader append an empty tick behind what was committed just now. Followers learn that an entry is committed with the
// next one that they are sent, or up to two commit timeouts later.
func (n *Node) nudge() {
	select {
	case n.nudges <- struct{}{}:
	default: // one that has not begun will do
	}
}

func (n *Node) nudgeLoop() {
	for {
		select {
		case <-n.nudges:
		case <-n.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(n.ctx, callLimit)
		_, _ = n.placeHere(ctx, false) // without, they learn it later
		cancel()
	}
}

// every calls f until ctx ends, at most once in a time, and at once first.
func (n *Node) every(ctx context.Context, d time.Duration, f func(context.Context)) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		f(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// rounds lets many callers share one place in the log. A caller joins the round that has not begun yet: its entry comes after
// everything that was committed before the call.
type rounds struct {
	mu      sync.Mutex
	next    *round
	running bool
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// join waits for a round that begins after the call. One that has begun goes on when ctx ends.
func (r *rounds) join(ctx context.Context, do func() (uint64, error)) (uint64, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		r.running = true
		go r.run(do)
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (r *rounds) run(do func() (uint64, error)) {
	for {
		r.mu.Lock()
		now := r.next
		r.next = nil
		r.running = now != nil
		r.mu.Unlock()
		if now == nil {
			return
		}
		now.index, now.err = do()
		close(now.done)
	}
}

// Barrier returns once this node has applied all that was committed anywhere before the call. Many callers share one entry of the
// log. A context without a deadline is given five seconds.
func (n *Node) Barrier(ctx context.Context) error {
	ctx, cancel := withLimit(ctx)
	defer cancel()
	_, err := n.reach(ctx, n.shared)
	return err
}

// reach gets a place in the log, asking again while there is no leader that gives one, and waits until this node has applied it.
func (n *Node) reach(ctx context.Context, get func(context.Context) (uint64, error)) (uint64, error) {
	for pause := lookAgain; ; pause = min(2*pause, 100*time.Millisecond) {
		err := n.ended()
		if err != nil {
			return 0, unavailable(err)
		}
		var index uint64
		if index, err = get(ctx); err == nil {
			err = n.fence.Reached(ctx, index)
		}
		if err == nil {
			return index, nil
		}
		if !n.sleep(ctx, pause) {
			return 0, fault.Wrap(fault.LedgerUnavailable, "cluster.Barrier", "this node cannot tell whether it is up to date", err)
		}
	}
}

// shared returns the place of a round that begins now.
func (n *Node) shared(ctx context.Context) (uint64, error) {
	return n.rounds.join(ctx, func() (uint64, error) {
		ctx, cancel := context.WithTimeout(n.ctx, forwardLimit)
		defer cancel()
		return n.place(ctx, false)
	})
}

// place returns the index of an entry that is appended after the call.
func (n *Node) place(ctx context.Context, mark bool) (uint64, error) {
	leader := n.leader()
	switch leader {
	case "":
		return 0, errNoLeader
	case n.cfg.NodeID:
		return n.placeHere(ctx, mark)
	}
	ctx, cancel := n.whileLeading(ctx, leader)
	defer cancel()
	var r reply
	if err := n.call(ctx, leader, methodPlace, placeCall{mark}, &r); err != nil {
		return 0, err
	}
	if r.Code != codeDone {
		return 0, errors.New(r.Detail)
	}
	return r.Index, nil
}

// placeHere appends the entry on the leader.
func (n *Node) placeHere(ctx context.Context, mark bool) (uint64, error) {
	encoded := encodedTick
	if mark {
		encoded = mustEncode(command.Tick{Mark: true})
	}
	data, err := n.fsm.entries.seal(encoded)
	if err != nil {
		return 0, err
	}
	index, _, err := n.enter(ctx, data)
	return index, err
}

func (n *Node) servePlace(ctx context.Context, c placeCall) reply {
	if !n.leads() {
		return reply{Code: codeNotLeader, Detail: "the node that was asked does not lead"}
	}
	get := n.shared
	if c.Mark {
		get = func(ctx context.Context) (uint64, error) { return n.placeHere(ctx, true) }
	}
	index, err := get(ctx)
	if err != nil {
		return reply{Code: codeNotLeader, Detail: err.Error()}
	}
	n.nudge()
	return reply{Code: codeDone, Index: index}
}
