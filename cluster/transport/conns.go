package transport

import (
	"container/list"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
)

// Limits of connections. Over a limit the oldest one goes: of two that claim a place, the newer one is alive.
const (
	maxHandshakes           = 64 // not authenticated yet
	maxHandshakesPerAddress = 32
	maxStreamsPerNode       = 64 // of Raft, from one node
	maxCallersPerNode       = 4  // one is the rule; others are left over from a process that died
)

// memberConn is a connection whose other end is a member. Close ends it at once, without TLS's close_notify: what goes over
// it has lengths, so that a cut is noticed, and a close must not wait for a peer that does not read.
type memberConn struct {
	*tls.Conn
	node    string
	leaf    *x509.Certificate
	key     [32]byte         // KeyHash of leaf
	usage   x509.ExtKeyUsage // what the peer uses its certificate for
	proto   string
	inbound bool

	owner *registry
	place *list.Element
}

// Close ends the connection.
func (c *memberConn) Close() error {
	c.owner.remove(c)
	return c.NetConn().Close()
}

// registry knows the open connections with members, oldest first.
type registry struct {
	mu   sync.Mutex
	all  *list.List // of *memberConn
	done bool
}

func (r *registry) init() { r.all = list.New() }

// add takes a connection; false when the transport is closed. Of too many that the node opened for this protocol it closes
// the oldest.
func (r *registry) add(c *memberConn) bool {
	limit := maxStreamsPerNode
	if c.proto == protoNode {
		limit = maxCallersPerNode
	}
	r.mu.Lock()
	if r.done {
		r.mu.Unlock()
		return false
	}
	var oldest *memberConn
	if c.inbound {
		n := 0
		for e := r.all.Front(); e != nil; e = e.Next() {
			o := e.Value.(*memberConn)
			if !o.inbound || o.node != c.node || o.proto != c.proto {
				continue
			}
			if n++; n == 1 {
				oldest = o
			}
		}
		if n < limit {
			oldest = nil
		}
	}
	c.owner = r
	c.place = r.all.PushBack(c)
	r.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
	return true
}

func (r *registry) remove(c *memberConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.place != nil {
		r.all.Remove(c.place)
		c.place = nil
	}
}

// closeIf closes the connections that f picks, and returns how many. f runs without the lock.
func (r *registry) closeIf(f func(*memberConn) bool) int {
	n := 0
	for _, c := range r.list() {
		if f(c) {
			_ = c.Close()
			n++
		}
	}
	return n
}

func (r *registry) list() []*memberConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*memberConn, 0, r.all.Len())
	for e := r.all.Front(); e != nil; e = e.Next() {
		out = append(out, e.Value.(*memberConn))
	}
	return out
}

// stop refuses connections from now on.
func (r *registry) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
}

// pending knows the connections that are in their handshake, oldest first. A stranger that keeps connections open without
// a handshake pushes out its own.
type pending struct {
	mu   sync.Mutex
	all  *list.List // of *pendingConn
	done bool
}

type pendingConn struct {
	conn  net.Conn
	host  string
	place *list.Element
}

func (p *pending) init() { p.all = list.New() }

// add takes a connection; nil when the transport is closed.
func (p *pending) add(conn net.Conn) *pendingConn {
	c := &pendingConn{conn: conn, host: hostOf(conn)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil
	}
	here := 0
	var oldestHere *pendingConn
	for e := p.all.Front(); e != nil; e = e.Next() {
		o := e.Value.(*pendingConn)
		if o.host != c.host {
			continue
		}
		if here++; here == 1 {
			oldestHere = o
		}
	}
	switch {
	case here >= maxHandshakesPerAddress:
		p.evict(oldestHere)
	case p.all.Len() >= maxHandshakes:
		p.evict(p.all.Front().Value.(*pendingConn))
	}
	c.place = p.all.PushBack(c)
	return c
}

func (p *pending) evict(c *pendingConn) {
	p.all.Remove(c.place)
	c.place = nil
	_ = c.conn.Close()
}

// remove tells that the handshake of a connection is over.
func (p *pending) remove(c *pendingConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.place != nil {
		p.all.Remove(c.place)
		c.place = nil
	}
}

func (p *pending) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	for e := p.all.Front(); e != nil; e = e.Next() {
		_ = e.Value.(*pendingConn).conn.Close()
	}
}

// hostOf returns the address of the other end without its port.
func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}
