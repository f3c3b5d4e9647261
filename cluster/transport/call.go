package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxCallsPerNode bounds the calls to one node that are under way, and those of one node that run here.
	maxCallsPerNode = 256
	// holdOff is how long a node that could not be reached is not dialled again: a caller that tries in a loop must not cost a
	// handshake, and the token a signature, each time.
	holdOff = 100 * time.Millisecond

	watchInterval = 500 * time.Millisecond
	silentTicks   = 4  // without a byte after a ping, and the peer is given up
	idleTicks     = 30 // between pings while nothing is asked
)

// Call sends a request to a node and returns its answer. ctx bounds it, and the peer learns how long that is. The request must
// not be changed afterwards: when ctx ends early it may still be on its way.
//
// Errors: *RemoteError is the peer's answer; ErrUnreachable says that the request was not sent, with ErrRefused when the nodes do
// not accept each other; ErrInterrupted that it was sent and its outcome is not known; ErrTooLarge. The last three also hold
// ctx's error when that ended it.
func (t *Transport) Call(ctx context.Context, peer Peer, method string, request []byte) ([]byte, error) {
	switch {
	case len(request) > MaxMessageBytes:
		return nil, fmt.Errorf("%s: %w: %d bytes of at most %d", method, ErrTooLarge, len(request), MaxMessageBytes)
	case method == "" || len(method) > maxMethodBytes:
		return nil, fmt.Errorf("a method has 1 to %d bytes, not %d", maxMethodBytes, len(method))
	}
	answer, err := t.call(ctx, peer, method, request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return answer, nil
}

func (t *Transport) call(ctx context.Context, peer Peer, method string, request []byte) ([]byte, error) {
	l, err := t.link(peer)
	if err != nil {
		return nil, err
	}
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("node %s: %w: %d calls are under way: %w", peer, ErrUnreachable, maxCallsPerNode, ctx.Err())
	}
	for {
		c, fresh, err := l.get(ctx)
		if err != nil {
			return nil, err
		}
		if err := t.still(c.conn); err != nil {
			c.end(err)
			if !fresh {
				continue
			}
			return nil, fmt.Errorf("node %s: %w: %w", peer, ErrUnreachable, err)
		}
		answer, err := c.call(ctx, method, request)
		// A connection that had ended unnoticed: nothing was sent, and a new one may do.
		if !fresh && errors.Is(err, ErrUnreachable) && ctx.Err() == nil && t.ctx.Err() == nil {
			continue
		}
		return answer, err
	}
}

// link is the way to one node: at most one connection, dialled when it is needed, by one goroutine for all that wait.
type link struct {
	t     *Transport
	peer  Peer
	slots chan struct{}

	mu      sync.Mutex
	caller  *caller
	dialing chan struct{} // closed when the dial is over; nil while there is none
	err     error         // of the last dial
	failed  time.Time
}

// link returns the way to a node. A node that has another address now gets a new one.
func (t *Transport) link(peer Peer) (*link, error) {
	if !validID(peer.ID) || peer.Address == "" {
		return nil, fmt.Errorf("%w: %q is not a node and its address", ErrUnreachable, peer.String())
	}
	if _, ok := t.cfg.Member(peer.ID); !ok {
		return nil, fmt.Errorf("node %s: %w: it is %w", peer, ErrUnreachable, ErrRefused)
	}
	if t.ctx.Err() != nil {
		return nil, fmt.Errorf("node %s: %w: %w", peer, ErrUnreachable, ErrClosed)
	}
	t.linksMu.Lock()
	defer t.linksMu.Unlock()
	l := t.links[peer.ID]
	if l == nil || l.peer != peer {
		if l != nil {
			l.retire()
		}
		l = &link{t: t, peer: peer, slots: make(chan struct{}, maxCallsPerNode)}
		t.links[peer.ID] = l
	}
	return l, nil
}

// retire ends the connection of a link that is no longer used.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.caller != nil {
		l.caller.end(errors.New("the node has another address now"))
	}
}

// get returns the connection; fresh tells that it was dialled for this.
func (l *link) get(ctx context.Context) (c *caller, fresh bool, err error) {
	l.mu.Lock()
	if l.caller != nil && !l.caller.ended() {
		c := l.caller
		l.mu.Unlock()
		return c, false, nil
	}
	if l.dialing == nil {
		if l.err != nil && time.Since(l.failed) < holdOff {
			err := l.err
			l.mu.Unlock()
			return nil, false, err
		}
		dialing := make(chan struct{})
		if !l.t.spawn(func() { l.dial(dialing) }) {
			l.mu.Unlock()
			return nil, false, fmt.Errorf("node %s: %w: %w", l.peer, ErrUnreachable, ErrClosed)
		}
		l.dialing = dialing
	}
	dialing := l.dialing
	l.mu.Unlock()
	select {
	case <-dialing:
	case <-ctx.Done():
		return nil, false, fmt.Errorf("node %s: %w: no connection yet: %w", l.peer, ErrUnreachable, ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, false, l.err
	}
	return l.caller, true, nil
}

// dial makes the connection, on the transport's time: who asked first may give up sooner than the others.
func (l *link) dial(dialing chan struct{}) {
	conn, err := l.t.connect(l.t.ctx, l.peer, protoNode)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(dialing)
	l.dialing = nil
	if l.err = err; err != nil {
		l.failed = time.Now()
		return
	}
	c := &caller{pipe: newPipe(conn), t: l.t, waiting: map[uint64]*waiting{}}
	if !l.t.spawn(c.write) || !l.t.spawn(c.read) || !l.t.spawn(c.watch) {
		c.end(ErrClosed)
	}
	l.caller = c
}

// caller is the calling side of a connection.
type caller struct {
	*pipe
	t *Transport

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*waiting
	pinged  time.Time // of the last ping, guarded by mu
}

// waiting is a call that has no answer yet.
type waiting struct {
	state  atomic.Int32
	began  time.Time
	answer chan answer // one place
}

type answer struct {
	body []byte
	err  error
}

const (
	stateQueued int32 = iota
	stateSent
	stateAbandoned // before it was sent; it never will be
)

func (c *caller) call(ctx context.Context, method string, request []byte) ([]byte, error) {
	w := &waiting{began: time.Now(), answer: make(chan answer, 1)}
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = w
	c.mu.Unlock()
	defer c.forget(id)

	var limit time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(time.Until(deadline), time.Millisecond)
	}
	o := outgoing{
		head: requestHead(id, limit, method, len(request)), payload: request,
		claim: func() bool { return w.state.CompareAndSwap(stateQueued, stateSent) },
	}
	select {
	case c.queue <- o:
	case <-c.done:
	case <-ctx.Done():
	}
	select {
	case a := <-w.answer:
		return a.body, a.err
	case <-c.done:
		select {
		case a := <-w.answer: // the last thing that arrived
			return a.body, a.err
		default:
			return nil, c.lost(w, c.err)
		}
	case <-ctx.Done():
		err := c.lost(w, ctx.Err())
		if errors.Is(err, ErrInterrupted) {
			c.offer(outgoing{head: appendHead(nil, kindCancel, id, 0)})
		}
		return nil, err
	}
}

// lost says what a call without an answer comes to: a request that was not sent by now never will be.
func (c *caller) lost(w *waiting, cause error) error {
	if w.state.CompareAndSwap(stateQueued, stateAbandoned) {
		return fmt.Errorf("node %s: %w: %w", c.conn.node, ErrUnreachable, cause)
	}
	return fmt.Errorf("node %s: %w: %w", c.conn.node, ErrInterrupted, cause)
}

func (c *caller) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// read hands answers to those that wait, until the connection ends.
func (c *caller) read() {
	r := bufio.NewReaderSize(c.pipe, bufferBytes)
	for {
		f, err := readFrame(r)
		if err == nil {
			err = c.take(f)
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

func (c *caller) take(f frame) error {
	clock, body, err := parseClock(f.body)
	if err != nil {
		return err
	}
	var a answer
	switch f.kind {
	case kindAnswer:
		a.body = body
	case kindRefusal:
		refused, err := parseRefusal(body)
		if err != nil {
			return err
		}
		a.err = fmt.Errorf("node %s: %w", c.conn.node, refused)
		if refused.Code == codeTimeout {
			a.err = fmt.Errorf("node %s: %w: the node gave up: %w", c.conn.node, ErrInterrupted, context.DeadlineExceeded)
		}
	case kindPong:
		c.mu.Lock()
		pinged := c.pinged
		c.mu.Unlock()
		c.t.measure(c.conn.node, clock.wall, time.Since(pinged))
		return nil
	default:
		return fmt.Errorf("%w: kind %d from the side that answers", errFrame, f.kind)
	}
	c.mu.Lock()
	w := c.waiting[f.id]
	delete(c.waiting, f.id)
	c.mu.Unlock()
	if w == nil { // its caller has gone
		return nil
	}
	c.t.measure(c.conn.node, clock.wall, time.Since(w.began)-clock.taken)
	w.answer <- a
	return nil
}

// watch gives the connection up when the peer is silent. It counts its own ticks, so that a pause of this process is no
// silence of the peer.
func (c *caller) watch() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var heard uint64
	var quiet int
	asked := false
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		if now := c.heard.Load(); now != heard || c.large.Load() {
			heard, quiet, asked = now, 0, false
			continue
		}
		quiet++
		if asked {
			if quiet >= silentTicks {
				c.end(errors.New("the node is silent"))
				return
			}
			continue
		}
		c.mu.Lock()
		ping := len(c.waiting) > 0 || quiet >= idleTicks
		if ping {
			c.pinged = time.Now()
		}
		c.mu.Unlock()
		if ping {
			c.offer(outgoing{head: appendHead(nil, kindPing, 0, 0)})
			asked, quiet = true, 0
		}
	}
}
