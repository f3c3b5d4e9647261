package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recheckInterval is how often the transport judges its open connections by itself, for certificates that run out.
const recheckInterval = time.Minute

// closeLimit bounds the wait of Close for handlers that do not heed their context.
const closeLimit = 5 * time.Second

// Config is what Listen needs. Its functions are called by many goroutines, at every handshake and call, and must be fast.
type Config struct {
	ClusterID, NodeID string // letters, digits, and "_-."
	// Listen is the address of the port, host:port; port 0 lets the system choose. Advertise is what other nodes dial;
	// empty means the address of the listener.
	Listen, Advertise string
	// Certificate returns this node's newest certificate (NodeCertificate) followed by the CA's, and its key. The key may be
	// in a token that is away: an error, or one of the key's Sign, ends that handshake and is logged.
	Certificate func() (*tls.Certificate, error)
	// Authority returns the certificate of the cluster CA; nil refuses every peer.
	Authority func() *x509.Certificate
	// Member returns the SHA-256 of the SubjectPublicKeyInfo of a node that is a member now; ok is false for a stranger and
	// for one that was removed.
	Member func(nodeID string) (key [32]byte, ok bool)
	// Unknown is called, at most once a second and never twice at a time, when a peer has a certificate of this cluster and
	// is not a member here: this node may be behind, and can look for a newer list. May be nil.
	Unknown func(ctx context.Context, nodeID string)
	// Join answers requests without a client certificate. It is the only thing that does. Nil refuses them.
	Join http.Handler
	// Dial makes the TCP connections; nil means a net.Dialer. Tests put delays and partitions here.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Skewed is what is added to the clock of this node. For tests.
	Skewed time.Duration
	Log    *slog.Logger // nil discards
}

func (c Config) validate() error {
	switch {
	case !validID(c.ClusterID) || !validID(c.NodeID):
		return fmt.Errorf("the ids of cluster %q and node %q must be of letters, digits, underscore, hyphen and dot", c.ClusterID, c.NodeID)
	case c.Certificate == nil || c.Authority == nil || c.Member == nil:
		return errors.New("certificate, authority and members must be given")
	}
	return nil
}

func (c Config) now() time.Time { return time.Now().Add(c.Skewed) }

// Peer is a node and where it listens. Its text form is ID@host:port.
type Peer struct {
	ID      string
	Address string
}

func (p Peer) String() string { return p.ID + "@" + p.Address }

// ParsePeer reads what Peer.String wrote.
func ParsePeer(s string) (Peer, error) {
	id, address, ok := strings.Cut(s, "@")
	if !ok || !validID(id) || address == "" {
		return Peer{}, fmt.Errorf("%q is not a node and its address, NODE@HOST:PORT", s)
	}
	return Peer{ID: id, Address: address}, nil
}

// Handler answers the calls of other nodes. from is the authenticated id of the caller. ctx ends when the caller no longer waits,
// its connection ends or it is no member any more. An error that is not a *RemoteError reaches the caller as CodeInternal
// without its text. It is called by many goroutines at the same time.
type Handler func(ctx context.Context, from, method string, request []byte) ([]byte, error)

// Transport is the cluster port of this node and its connections to other nodes. Goroutines may share it.
type Transport struct {
	cfg      Config
	listener net.Listener
	address  string // advertised
	notices  *notices
	tls      serverTLS
	pending  pending
	conns    registry
	join     *joinServer
	handler  atomic.Pointer[Handler]
	streams  atomic.Pointer[streamQueue]
	skews    sync.Map // node id -> time.Duration
	refusals sync.Map // node id -> struct{}, of nodes that did not accept this one when it last dialled them
	slots    sync.Map // node id -> chan struct{}, for calls of that node that run here

	linksMu sync.Mutex
	links   map[string]*link // by node id

	unknownMu   sync.Mutex
	unknownAt   time.Time
	unknownBusy bool

	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed against wg.Go after wg.Wait
	closed bool
	wg     sync.WaitGroup
}

// Listen opens the cluster port and serves it until Close.
func Listen(cfg Config) (*Transport, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("cluster port: %w", err)
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	listener, err := lc.Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("cluster port: %w", err)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	}
	t := &Transport{
		cfg: cfg, listener: listener, address: cfg.Advertise, notices: newNotices(cfg.Log),
		links: map[string]*link{},
	}
	if t.address == "" {
		t.address = listener.Addr().String()
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.tls = t.newServerTLS()
	t.pending.init()
	t.conns.init()
	if cfg.Join != nil {
		t.join = newJoinServer(cfg.Join, listener.Addr(), t.notices.log)
		t.spawn(t.join.serve)
	}
	t.spawn(t.accept)
	t.spawn(t.recheckLoop)
	return t, nil
}

// keepAlive ends connections whose other side has gone without a word, after 25 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// Addr returns the address that other nodes dial.
func (t *Transport) Addr() string { return t.address }

// Handle sets what answers calls. Until then they are refused with CodeNotReady; nil sets that again.
func (t *Transport) Handle(h Handler) {
	if h == nil {
		t.handler.Store(nil)
		return
	}
	t.handler.Store(&h)
}

// Drop closes every connection with a node, at both ends, and ends its calls. It does not keep the node out: Config.Member must
// refuse it already.
func (t *Transport) Drop(nodeID string) {
	if n := t.conns.closeIf(func(c *memberConn) bool { return c.node == nodeID }); n > 0 {
		t.notices.warn(noticeDropped, slog.String("node", nodeID), slog.Int("connections", n))
	}
}

// Recheck closes the connections whose node is no member any more, or has another key now, or whose certificate has run out.
// It happens by itself once a minute.
func (t *Transport) Recheck() {
	t.conns.closeIf(func(c *memberConn) bool {
		node, err := t.member(c.leaf, c.usage)
		if err == nil && node == c.node {
			return false
		}
		t.notices.warn(noticeDropped, slog.String("node", c.node), slog.Any("error", err))
		return true
	})
}

func (t *Transport) recheckLoop() {
	tick := time.NewTicker(recheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-tick.C:
			t.Recheck()
		}
	}
}

// Skew tells how far the clock of a node is ahead of this node's, negative when it is behind, as measured by the newest
// message from it. Half a second of it may be the network. Zero when it is not known.
func (t *Transport) Skew(nodeID string) time.Duration {
	if d, ok := t.skews.Load(nodeID); ok {
		return d.(time.Duration)
	}
	return 0
}

// measure notes the clock of a node: peer is what it said, waited how long the message and its answer were under way. A
// measurement across a pause of this process is worth nothing and left out.
func (t *Transport) measure(nodeID string, peer time.Time, waited time.Duration) {
	if waited < 0 || waited > time.Second {
		return
	}
	t.skews.Store(nodeID, peer.Add(waited/2).Sub(t.cfg.now()))
}

// unknown tells the owner of a node that has a certificate and is no member here.
func (t *Transport) unknown(nodeID string) {
	if t.cfg.Unknown == nil {
		return
	}
	t.unknownMu.Lock()
	defer t.unknownMu.Unlock()
	if t.unknownBusy || !t.unknownAt.IsZero() && time.Since(t.unknownAt) < noticeInterval {
		return
	}
	t.unknownAt = time.Now()
	t.unknownBusy = t.spawn(func() {
		ctx, cancel := context.WithTimeout(t.ctx, 10*time.Second)
		defer cancel()
		defer func() {
			t.unknownMu.Lock()
			defer t.unknownMu.Unlock()
			t.unknownBusy = false
		}()
		t.cfg.Unknown(ctx, nodeID)
	})
}

// spawn runs f in a goroutine that Close waits for; false after Close.
func (t *Transport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Go(f)
	return true
}

// Close closes the port and every connection, and waits until nothing of the transport runs, for at most five seconds.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	err := t.listener.Close()
	t.pending.closeAll()
	if q := t.streams.Swap(nil); q != nil {
		q.close()
	}
	t.conns.stop()
	t.conns.closeIf(func(*memberConn) bool { return true })
	if t.join != nil {
		t.join.close()
	}
	ended := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(ended)
	}()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-ended:
		return err
	case <-limit.C:
		return errors.Join(err, errors.New("cluster port: handlers of calls still run"))
	}
}
