package transport

import (
	"context"
	"net"
	"sync"
	"time"
)

// StreamLayer is raft.StreamLayer with A = raft.ServerAddress: what Raft's network transport accepts and dials. Addresses are
// the text form of a Peer, NODE@HOST:PORT, also in Raft's configuration, so that a message for one member never reaches another
// that has its address now: Raft would take the answer for that of the first, and count one copy as two.
type StreamLayer[A ~string] struct {
	t *Transport
	q *streamQueue
}

// Streams opens the port for Raft. Before, and after Close of what it returns, dials for Raft are refused. A second call
// ends what the first returned.
func Streams[A ~string](t *Transport) *StreamLayer[A] {
	q := &streamQueue{conns: make(chan net.Conn), done: make(chan struct{})}
	if old := t.streams.Swap(q); old != nil {
		old.close()
	}
	if t.ctx.Err() != nil {
		q.close()
	}
	return &StreamLayer[A]{t: t, q: q}
}

// streamQueue hands accepted streams to Raft.
type streamQueue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// put hands over a stream; false when Raft has ended or does not accept.
func (q *streamQueue) put(c net.Conn) bool {
	limit := time.NewTimer(handshakeLimit)
	defer limit.Stop()
	select {
	case <-q.done: // also when somebody accepts
		return false
	default:
	}
	select {
	case q.conns <- c:
	case <-q.done:
		return false
	case <-limit.C:
		return false
	}
	select {
	case <-q.done: // in the same moment: Close may not have seen it
		return false
	default:
		return true
	}
}

func (q *streamQueue) close() { q.once.Do(func() { close(q.done) }) }

// Accept returns the next stream that a member opened.
func (s *StreamLayer[A]) Accept() (net.Conn, error) {
	select {
	case c := <-s.q.conns:
		return c, nil
	case <-s.q.done:
		return nil, net.ErrClosed
	}
}

// Dial opens a stream to NODE@HOST:PORT and returns when that node has accepted it. It fails when another node answers.
func (s *StreamLayer[A]) Dial(address A, timeout time.Duration) (net.Conn, error) {
	peer, err := ParsePeer(string(address))
	if err != nil {
		return nil, err
	}
	select {
	case <-s.q.done:
		return nil, net.ErrClosed
	default:
	}
	ctx := s.t.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c, err := s.t.connect(ctx, peer, protoRaft)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.q.done: // while it was dialled, so that Close did not see it
		_ = c.Close()
		return nil, net.ErrClosed
	default:
		return c, nil
	}
}

// Close ends Raft's streams, in both directions, and refuses new ones. Calls go on.
func (s *StreamLayer[A]) Close() error {
	s.q.close()
	if s.t.streams.CompareAndSwap(s.q, nil) {
		s.t.conns.closeIf(func(c *memberConn) bool { return c.proto == protoRaft })
	}
	return nil
}

// Addr returns this node's own address for Raft.
func (s *StreamLayer[A]) Addr() net.Addr {
	return peerAddr{Peer{ID: s.t.cfg.NodeID, Address: s.t.address}}
}

type peerAddr struct{ Peer }

// Network returns "tcp".
func (peerAddr) Network() string { return "tcp" }
