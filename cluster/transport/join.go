package transport

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the endpoint that strangers reach.
const (
	maxJoins           = 32
	maxJoinsPerAddress = 4
	maxJoinBytes       = 1 << 20
	joinReadLimit      = 10 * time.Second // for a whole request
	joinAnswerLimit    = 60 * time.Second
	joinIdleLimit      = 30 * time.Second
)

// joinServer is an HTTP/1.1 server for connections of protoJoin.
type joinServer struct {
	server *http.Server
	addr   net.Addr
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once

	mu   sync.Mutex
	open map[string]int // by address
	all  int
}

func newJoinServer(h http.Handler, addr net.Addr, log *slog.Logger) *joinServer {
	return &joinServer{
		addr: addr, conns: make(chan net.Conn), done: make(chan struct{}), open: map[string]int{},
		server: &http.Server{
			Handler:           http.MaxBytesHandler(h, maxJoinBytes),
			ReadHeaderTimeout: joinReadLimit, ReadTimeout: joinReadLimit, WriteTimeout: joinAnswerLimit, IdleTimeout: joinIdleLimit,
			MaxHeaderBytes: 16 << 10,
			ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
}

// serve runs until close.
func (s *joinServer) serve() { _ = s.server.Serve(s) }

func (s *joinServer) close() {
	s.once.Do(func() { close(s.done) })
	_ = s.server.Close()
}

// accept hands over a connection, unless there are too many, or too many from its address.
func (s *joinServer) accept(conn net.Conn) {
	host := hostOf(conn)
	s.mu.Lock()
	if s.all >= maxJoins || s.open[host] >= maxJoinsPerAddress {
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.all++
	s.open[host]++
	s.mu.Unlock()
	c := &plainConn{Conn: conn, closed: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.open[host]--; s.open[host] == 0 {
			delete(s.open, host)
		}
	}}
	select {
	case s.conns <- c:
	case <-s.done:
		_ = c.Close()
	}
}

// Accept makes joinServer the listener of its HTTP server.
func (s *joinServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Addr returns the address of the port.
func (s *joinServer) Addr() net.Addr { return s.addr }

// Close does nothing: close does.
func (s *joinServer) Close() error { return nil }

// plainConn hides from net/http that a connection is one of TLS: it would refuse an ALPN protocol that it does not know.
type plainConn struct {
	net.Conn
	once   sync.Once
	closed func() // may be nil
}

// Close closes the connection.
func (c *plainConn) Close() error {
	if c.closed != nil {
		c.once.Do(c.closed)
	}
	return c.Conn.Close()
}

// JoinClient returns the HTTP client of a node that wants to join, for https URLs with the address of a member's cluster port.
// It knows the cluster by the SHA-256 of its CA's certificate (DER), from the invitation: the server must show that CA and a
// certificate that the CA issued for a node of the cluster. An empty clusterID accepts any cluster of that CA.
//
// It cannot tell whether that node was removed: whoever answers a join must prove more than this.
func JoinClient(fingerprint [32]byte, clusterID string) *http.Client {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13, NextProtos: []string{protoJoin}, SessionTicketsDisabled: true,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies chain and name
		VerifyConnection:   func(cs tls.ConnectionState) error { return verifyJoin(cs, fingerprint, clusterID) },
	}
	dialer := &net.Dialer{Timeout: handshakeLimit, KeepAliveConfig: keepAlive}
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				raw, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				conn := tls.Client(raw, config)
				ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
				defer cancel()
				if err := conn.HandshakeContext(ctx); err != nil {
					_ = raw.Close()
					return nil, err
				}
				return &plainConn{Conn: conn}, nil
			},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("a node joins over https only")
			},
			MaxIdleConnsPerHost:   1,
			IdleConnTimeout:       joinIdleLimit / 2,
			ResponseHeaderTimeout: joinAnswerLimit,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func verifyJoin(cs tls.ConnectionState, fingerprint [32]byte, clusterID string) error {
	if cs.NegotiatedProtocol != protoJoin {
		return fmt.Errorf("the server does not speak %s: is this the address of a cluster port?", protoJoin)
	}
	if len(cs.PeerCertificates) < 2 {
		return refuse("", "the server does not show the certificate of its CA")
	}
	ca := cs.PeerCertificates[len(cs.PeerCertificates)-1]
	if sha256.Sum256(ca.Raw) != fingerprint {
		return refuse("", "the CA of the server is not the one of the invitation: check the address and ask for a new invitation")
	}
	_, err := issued(cs.PeerCertificates[0], ca, x509.ExtKeyUsageServerAuth, clusterID, time.Now())
	return err
}
