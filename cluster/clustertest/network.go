package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Handler answers calls.
type Handler = func(ctx context.Context, from, method string, request []byte) ([]byte, error)

var errCut = errors.New("clustertest: the nodes cannot reach each other")

// Network joins ports. Goroutines may share it.
type Network struct {
	mu     sync.Mutex
	random *rand.Rand
	ports  map[string]*Port
	cut    map[[2]string]bool // from, to
	delay  time.Duration
	mangle float64
	lose   func(from, to, method string) bool
}

// New returns a network without ports. The seed decides what is repeated and how late.
func New(seed uint64) *Network {
	return &Network{
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // for a test that must run the same again
		ports:  map[string]*Port{}, cut: map[[2]string]bool{},
	}
}

// Port returns the port of a node, as it is after the node's process has started: what was open before is closed.
func (n *Network) Port(node string) *Port {
	p := &Port{network: n, node: node, accepted: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	old := n.ports[node]
	n.ports[node] = p
	n.mu.Unlock()
	if old != nil {
		old.Kill()
	}
	return p
}

// Cut loses everything between two nodes, without a word to either.
func (n *Network) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay loses everything that one node sends to another.
func (n *Network) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{from, to}] = true
}

// Isolate cuts a node off from all others.
func (n *Network) Isolate(node string) {
	n.mu.Lock()
	var others []string
	for id := range n.ports {
		if id != node {
			others = append(others, id)
		}
	}
	n.mu.Unlock()
	for _, o := range others {
		n.Cut(node, o)
	}
}

// Heal ends all cuts. Connections that have lost something stay dead.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// Delay holds every message for a time.
func (n *Network) Delay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Mangle has a part of all calls executed a second time, up to 50 ms later, and holds calls for up to 5 ms, so that they overtake
// each other.
func (n *Network) Mangle(part float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mangle = part
}

// LoseAnswers has calls executed whose answers are lost while f says so; nil ends that.
func (n *Network) LoseAnswers(f func(from, to, method string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = f
}

func (n *Network) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]string{from, to}]
}

func (n *Network) port(node string) *Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ports[node]
}

func (n *Network) held() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.delay
}

// drawn returns for how long a call is held, whether it is repeated, and after what time.
func (n *Network) drawn() (hold time.Duration, twice bool, later time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	hold = n.delay
	if n.mangle == 0 {
		return hold, false, 0
	}
	hold += time.Duration(n.random.Int64N(int64(5 * time.Millisecond)))
	return hold, n.random.Float64() < n.mangle, time.Duration(n.random.Int64N(int64(50 * time.Millisecond)))
}

// Port is what a node has of the network.
type Port struct {
	network  *Network
	node     string
	accepted chan net.Conn

	mu      sync.Mutex
	handler Handler
	allow   func(node string) bool
	conns   map[*conn]struct{}
	closed  chan struct{}
	once    sync.Once
}

// Allow has the port refuse nodes that f does not know as members.
func (p *Port) Allow(f func(node string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allow = f
}

func (p *Port) allows(node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.allow == nil || p.allow(node)
}

// Kill ends the port as the end of the process does.
func (p *Port) Kill() {
	p.once.Do(func() { close(p.closed) })
	p.drop(func(*conn) bool { return true })
	p.Handle(nil)
}

// Handle sets what answers calls.
func (p *Port) Handle(h func(ctx context.Context, from, method string, request []byte) ([]byte, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = h
}

// Drop closes the connections with a node.
func (p *Port) Drop(node string) { p.drop(func(c *conn) bool { return c.to == node }) }

// Recheck closes the connections with nodes that Allow refuses.
func (p *Port) Recheck() { p.drop(func(c *conn) bool { return !p.allows(c.to) }) }

func (p *Port) drop(which func(*conn) bool) {
	p.mu.Lock()
	var all []*conn
	for c := range p.conns {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		if which(c) {
			_ = c.Close()
		}
	}
}

// Call asks another node.
func (p *Port) Call(ctx context.Context, node, _, method string, request []byte) ([]byte, error) {
	n := p.network
	hold, twice, later := n.drawn()
	if err := sleep(ctx, hold); err != nil {
		return nil, err
	}
	if p.isClosed() || n.isCut(p.node, node) {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", errCut, ctx.Err())
	}
	other := n.port(node)
	if other == nil || other.isClosed() || !other.allows(p.node) || !p.allows(node) {
		return nil, fmt.Errorf("clustertest: the node %s does not answer", node)
	}
	other.mu.Lock()
	handler := other.handler
	other.mu.Unlock()
	if handler == nil {
		return nil, fmt.Errorf("clustertest: the node %s is not ready", node)
	}
	if twice {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = sleep(ctx, later)
			_, _ = handler(ctx, p.node, method, request)
		}()
	}
	type answer struct {
		b   []byte
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		b, err := handler(ctx, p.node, method, request)
		answered <- answer{b, err}
	}()
	select {
	case a := <-answered:
		n.mu.Lock()
		lose := n.lose
		n.mu.Unlock()
		if n.isCut(node, p.node) || other.isClosed() || lose != nil && lose(p.node, node, method) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", errCut, ctx.Err())
		}
		if a.err != nil {
			return nil, fmt.Errorf("clustertest: the node %s says: %w", node, a.err)
		}
		return a.b, sleep(ctx, n.held())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Port) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// Streams returns the way for Raft. Closing it closes the port's streams.
func (p *Port) Streams() raft.StreamLayer { return &streams{p, make(chan struct{}), &sync.Once{}} }

type streams struct {
	port *Port
	done chan struct{}
	once *sync.Once
}

func (s *streams) Accept() (net.Conn, error) {
	select {
	case c := <-s.port.accepted:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	case <-s.port.closed:
		return nil, net.ErrClosed
	}
}

func (s *streams) Close() error {
	s.once.Do(func() { close(s.done) })
	s.port.drop(func(*conn) bool { return true })
	return nil
}

func (s *streams) Addr() net.Addr { return addr(s.port.node) }

type addr string

func (addr) Network() string  { return "memory" }
func (a addr) String() string { return string(a) }

// Dial opens a stream to NODE@ADDRESS.
func (s *streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	node, _, _ := strings.Cut(string(address), "@")
	p, n := s.port, s.port.network
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	if p.isClosed() {
		return nil, net.ErrClosed
	}
	if n.isCut(p.node, node) || n.isCut(node, p.node) {
		select {
		case <-limit.C:
		case <-s.done:
		case <-p.closed:
		}
		return nil, errCut
	}
	other := n.port(node)
	if other == nil || other.isClosed() || !other.allows(p.node) || !p.allows(node) {
		return nil, fmt.Errorf("clustertest: the node %s does not answer", node)
	}
	a, b := net.Pipe()
	mine, theirs := p.conn(a, node), other.conn(b, p.node)
	select {
	case other.accepted <- theirs:
		return mine, nil
	case <-limit.C:
	case <-other.closed:
	case <-p.closed:
	}
	_ = mine.Close()
	_ = theirs.Close()
	return nil, fmt.Errorf("clustertest: the node %s does not answer", node)
}

// conn is one end of a stream.
type conn struct {
	net.Conn
	port *Port
	to   string
	mu   sync.Mutex
	lost bool
}

func (p *Port) conn(c net.Conn, to string) *conn {
	wrapped := &conn{Conn: c, port: p, to: to}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		p.conns = map[*conn]struct{}{}
	}
	p.conns[wrapped] = struct{}{}
	return wrapped
}

// Write sends, or loses this and all that follows.
func (c *conn) Write(b []byte) (int, error) {
	if d := c.port.network.held(); d > 0 {
		time.Sleep(d)
	}
	c.mu.Lock()
	c.lost = c.lost || c.port.network.isCut(c.port.node, c.to)
	lost := c.lost
	c.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.port.mu.Lock()
	delete(c.port.conns, c)
	c.port.mu.Unlock()
	return c.Conn.Close()
}
