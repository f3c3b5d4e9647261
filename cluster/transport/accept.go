package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

const welcomeBytes = 8

func (t *Transport) accept() {
	for {
		conn, err := t.listener.Accept()
		if err == nil {
			// In the order in which they came, so that the oldest is the oldest.
			p := t.pending.add(conn)
			if p == nil || !t.spawn(func() { t.admit(conn, p) }) {
				_ = conn.Close()
			}
			continue
		}
		if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		t.notices.warn(noticeAccept, slog.Any("error", err))
		select { // out of file descriptors, for example
		case <-t.ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// admit does the handshake of an incoming connection and hands it to what serves its protocol.
func (t *Transport) admit(raw net.Conn, p *pendingConn) {
	conn := tls.Server(raw, t.tls.choose)
	ctx, cancel := context.WithTimeout(t.ctx, handshakeLimit)
	err := conn.HandshakeContext(ctx)
	cancel()
	t.pending.remove(p)
	if err != nil {
		t.noticeHandshake(err, slog.String("from", raw.RemoteAddr().String()))
		_ = raw.Close()
		return
	}
	proto := conn.ConnectionState().NegotiatedProtocol
	if proto == protoJoin && t.join != nil {
		t.join.accept(conn)
		return
	}
	c, err := t.enlist(conn, proto, true)
	if err == nil {
		err = c.welcome(t.cfg.now())
	}
	if err != nil {
		t.noticeHandshake(err, slog.String("from", raw.RemoteAddr().String()))
		_ = raw.Close()
		if c != nil {
			_ = c.Close()
		}
		return
	}
	switch proto {
	case protoRaft:
		q := t.streams.Load()
		if q == nil || !q.put(c) {
			_ = c.Close()
		}
	case protoNode:
		t.serveCalls(c)
	default: // forClient let it in
		_ = c.Close()
	}
}

func (t *Transport) noticeHandshake(err error, attrs ...slog.Attr) {
	if t.ctx.Err() != nil {
		return
	}
	kind := noticeHandshake
	if r, ok := errors.AsType[*refusal](err); ok {
		kind = noticePeer
		attrs = append(attrs, slog.String("node", r.node))
	}
	t.notices.warn(kind, append(attrs, slog.Any("error", err))...)
}

// enlist takes a connection whose handshake is over among those of members. It asks for the member once more when a Drop or
// a Recheck already sees it, so that none falls between the handshake and the list.
func (t *Transport) enlist(conn *tls.Conn, proto string, inbound bool) (*memberConn, error) {
	cs := conn.ConnectionState()
	if cs.NegotiatedProtocol != proto || len(cs.PeerCertificates) == 0 {
		return nil, fmt.Errorf("the peer does not speak %s", proto)
	}
	leaf := cs.PeerCertificates[0]
	c := &memberConn{
		Conn: conn, node: nodeOf(leaf), leaf: leaf, key: KeyHash(leaf), usage: x509.ExtKeyUsageServerAuth, proto: proto, inbound: inbound,
	}
	if inbound {
		c.usage = x509.ExtKeyUsageClientAuth
	}
	if !t.conns.add(c) {
		return nil, ErrClosed
	}
	if err := t.still(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// welcome tells the dialling side that it was accepted, and this node's clock.
func (c *memberConn) welcome(now time.Time) error {
	if err := c.SetWriteDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, welcomeBytes), uint64(now.UnixNano()))
	if _, err := c.Write(b); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// connect dials a node, and returns when it has accepted this one. Its errors are ErrUnreachable, with ErrRefused when one of
// the nodes does not accept the other.
func (t *Transport) connect(ctx context.Context, peer Peer, proto string) (*memberConn, error) {
	c, err := t.dial(ctx, peer, proto)
	switch {
	case err == nil:
		t.refusals.Delete(peer.ID)
		return c, nil
	case t.ctx.Err() != nil:
		return nil, fmt.Errorf("node %s: %w: %w", peer, ErrUnreachable, ErrClosed)
	case refusedByPeer(err):
		t.refusals.Store(peer.ID, struct{}{})
		t.notices.warn(noticeRefused, slog.String("by", peer.String()))
		return nil, fmt.Errorf("node %s: %w: this node is %w there: %w", peer, ErrUnreachable, ErrRefused, err)
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		t.notices.warn(noticePeer, slog.String("to", peer.String()), slog.String("node", r.node), slog.Any("error", err))
	}
	return nil, fmt.Errorf("node %s: %w: %w", peer, ErrUnreachable, err)
}

// RefusedBy returns how many nodes did not accept this one when it last dialled them: a node that was removed while it was away
// learns of it in no other way.
func (t *Transport) RefusedBy() int {
	n := 0
	t.refusals.Range(func(_, _ any) bool { n++; return true })
	return n
}

func (t *Transport) dial(ctx context.Context, peer Peer, proto string) (*memberConn, error) {
	if peer.ID == t.cfg.NodeID {
		return nil, errors.New("a node does not dial itself")
	}
	if _, ok := t.cfg.Member(peer.ID); !ok {
		return nil, refuse(peer.ID, "node %s is not a member", peer.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	tcp, cancelTCP := context.WithTimeout(ctx, connectLimit)
	raw, err := t.cfg.Dial(tcp, "tcp", peer.Address)
	cancelTCP()
	if err != nil {
		return nil, err
	}
	// Until it is in the registry, the end of the transport must reach it too.
	stop := context.AfterFunc(t.ctx, func() { _ = raw.Close() })
	defer stop()
	conn := tls.Client(raw, t.clientTLS(proto, peer.ID))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	c, err := t.enlist(conn, proto, false)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	if err := t.awaitWelcome(ctx, c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (t *Transport) awaitWelcome(ctx context.Context, c *memberConn) error {
	began := time.Now()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	var b [welcomeBytes]byte
	_, err := io.ReadFull(c, b[:])
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	t.measure(c.node, time.Unix(0, int64(binary.BigEndian.Uint64(b[:]))), time.Since(began)) //nolint:gosec // as i64
	return c.SetDeadline(time.Time{})
}
