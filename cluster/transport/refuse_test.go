package transport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestClientsRefused dials a member with every credential that must not be let in. Each of them is refused for both protocols
// of members, and the one that is right is not.
func TestClientsRefused(t *testing.T) {
	w := newWorld(t)
	server := w.node("node_a", withJoin)
	_ = Streams[string](server.Transport)
	go func() { // Raft takes what is accepted
		s := server.streams.Load()
		for {
			select {
			case <-s.conns:
			case <-s.done:
				return
			}
		}
	}()
	key := newKey(t)
	now := time.Now()
	good := w.ca.issue(t, testCluster, "node_b", key, now)
	w.add("node_b", good.Leaf)
	removed := newKey(t)
	other := newAuthority(t)

	custom := func(change func(*x509.Certificate)) *tls.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(7), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
			URIs:        []*url.URL{NodeURI(testCluster, "node_b")},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		change(template)
		der, err := x509.CreateCertificate(rand.Reader, template, w.ca.cert, key.Public(), w.ca.key)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: [][]byte{der, w.ca.cert.Raw}, PrivateKey: key}
	}
	uri := func(s string) *tls.Certificate {
		return custom(func(c *x509.Certificate) {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		})
	}
	// A certificate below a CA that the cluster CA never meant to be one, and one that a member's own key signed.
	below := func() *tls.Certificate {
		c, err := NodeCertificate(good.Leaf, key, testCluster, "node_b", key.Public(), now)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: [][]byte{c, good.Certificate[0], w.ca.cert.Raw}, PrivateKey: key}
	}
	tests := []struct {
		name string
		cert *tls.Certificate // nil for none
		ok   bool
	}{
		{"a member", good, true},
		{"no certificate", nil, false},
		{"another CA", other.issue(t, testCluster, "node_b", key, now), false},
		{"another CA of the same name, the right one in the chain", &tls.Certificate{
			Certificate: [][]byte{other.issue(t, testCluster, "node_b", key, now).Certificate[0], w.ca.cert.Raw}, PrivateKey: key}, false},
		{"the right CA and another key", w.ca.issue(t, testCluster, "node_b", newKey(t), now), false},
		{"a stranger", w.ca.issue(t, testCluster, "node_x", newKey(t), now), false},
		{"a removed member's new certificate in another's name", w.ca.issue(t, testCluster, "node_b", removed, now), false},
		{"a removed member's new certificate in its own name", w.ca.issue(t, testCluster, "node_removed", removed, now), false},
		{"in the server's own name", w.ca.issue(t, testCluster, "node_a", removed, now), false},
		{"the server's own certificate with another key", &tls.Certificate{Certificate: server.cert.Certificate, PrivateKey: key}, false},
		{"the server's own certificate and key, as a copy of the node has them", server.cert, false},
		{"a member's certificate without its key", &tls.Certificate{Certificate: good.Certificate, PrivateKey: removed}, false},
		{"expired", w.ca.issue(t, testCluster, "node_b", key, now.Add(-CertificateLife-time.Minute)), false},
		{"not valid yet", w.ca.issue(t, testCluster, "node_b", key, now.Add(CertificateBackdate+time.Minute)), false},
		{"backdated for a clock that is behind", w.ca.issue(t, testCluster, "node_b", key, now.Add(CertificateBackdate-time.Minute)), true},
		{"another cluster", w.ca.issue(t, "cluster_other", "node_b", key, now), false},
		{"no URI", custom(func(c *x509.Certificate) { c.URIs = nil; c.DNSNames = []string{"node_b"} }), false},
		{"two URIs", custom(func(c *x509.Certificate) {
			c.URIs = []*url.URL{NodeURI(testCluster, "node_b"), NodeURI(testCluster, "node_a")}
		}), false},
		{"another scheme", uri("https://" + testCluster + "/node_b"), false},
		{"a query in the URI", uri("cryptoserve://" + testCluster + "/node_b?x"), false},
		{"a longer path in the URI", uri("cryptoserve://" + testCluster + "/x/../node_b"), false},
		{"a user in the URI", uri("cryptoserve://x@" + testCluster + "/node_b"), false},
		{"for servers only", custom(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), false},
		{"of a CA", custom(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), false},
		{"below a member", below(), false},
		{"the CA itself", &tls.Certificate{Certificate: [][]byte{w.ca.cert.Raw}, PrivateKey: w.ca.key}, false},
	}
	for _, tt := range tests {
		for _, proto := range []string{protoRaft, protoNode} {
			t.Run(tt.name+" "+proto, func(t *testing.T) {
				c := &tls.Config{NextProtos: []string{proto}}
				if tt.cert != nil {
					// Whatever the server's hints about certificates are.
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tt.cert, nil }
				}
				err := welcomed(client(t, server.Addr(), c))
				if (err == nil) != tt.ok {
					t.Errorf("answer %v, want accepted=%v", err, tt.ok)
				}
				if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
					t.Errorf("it was left waiting: %v", err)
				}
			})
		}
	}
}

// TestHandshakesRefused tries what is no handshake for a member, or for anybody.
func TestHandshakesRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.node("node_a", withJoin)
	plain := w.node("node_p") // no join, no Raft
	key := newKey(t)
	cert := w.ca.issue(t, testCluster, "node_b", key, time.Now())
	w.add("node_b", cert.Leaf)
	with := func(c *tls.Config) *tls.Config {
		c.Certificates = []tls.Certificate{*cert}
		return c
	}
	tests := []struct {
		name   string
		server *node
		client *tls.Config
		ok     bool
	}{
		{"one protocol", server, with(&tls.Config{NextProtos: []string{protoNode}}), true},
		{"no protocol", server, with(&tls.Config{}), false},
		{"an unknown protocol", server, with(&tls.Config{NextProtos: []string{"h2"}}), false},
		{"a version that is not there", server, with(&tls.Config{NextProtos: []string{"cryptoserve-node/2"}}), false},
		{"two protocols, join first", server, &tls.Config{NextProtos: []string{protoJoin, protoNode}}, false},
		{"two protocols, join last", server, with(&tls.Config{NextProtos: []string{protoNode, protoJoin}}), false},
		{"TLS 1.2", server, with(&tls.Config{NextProtos: []string{protoNode}, MaxVersion: tls.VersionTLS12}), false},
		{"TLS 1.2 for joining", server, &tls.Config{NextProtos: []string{protoJoin}, MaxVersion: tls.VersionTLS12}, false},
		{"Raft while it does not run", server, with(&tls.Config{NextProtos: []string{protoRaft}}), false},
		{"joining where it is not served", plain, &tls.Config{NextProtos: []string{protoJoin}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := welcomed(client(t, tt.server.Addr(), tt.client))
			if (err == nil) != tt.ok {
				t.Errorf("answer %v, want accepted=%v", err, tt.ok)
			}
		})
	}
	t.Run("no sessions to resume", func(t *testing.T) {
		cache := &countingCache{}
		conn, err := client(t, server.Addr(), with(&tls.Config{NextProtos: []string{protoNode}, ClientSessionCache: cache, ServerName: "x"}))
		if err := welcomed(conn, err); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = io.ReadAll(conn)
		if cache.puts.Load() != 0 {
			t.Error("the server gave a session ticket")
		}
	})
	t.Run("garbage", func(t *testing.T) {
		for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x00\x00\x00\x00", "SSH-2.0-x\r\n", "\x16\x03\x01\xff\xff"} {
			conn, err := net.Dial("tcp", server.Addr())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write([]byte(garbage))
			_ = conn.(*net.TCPConn).CloseWrite()
			_ = conn.SetReadDeadline(time.Now().Add(handshakeLimit))
			answer, err := io.ReadAll(conn)
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Errorf("%q: not closed", garbage)
			}
			if len(answer) > 0 && answer[0] != 21 { // an alert
				t.Errorf("%q got the answer %q", garbage, answer)
			}
			conn.Close()
		}
	})
	if _, err := server.world.node("node_c").Call(within(t, 5*time.Second), server.peer, "m", nil); err != nil {
		t.Errorf("a member, after all this: %v", err)
	}
}

type countingCache struct{ puts atomic.Int32 }

func (*countingCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *countingCache) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.puts.Add(1)
	}
}

// TestSlowHandshakes opens connections that never begin a handshake. They end by themselves, and members get in meanwhile.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	ended := make(chan time.Duration, 2*maxHandshakes)
	began := time.Now()
	for range 2 * maxHandshakes {
		conn, err := net.Dial("tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{0x16, 0x03, 0x01}) // the beginning of a record
		go func() {
			_, _ = io.ReadAll(conn)
			ended <- time.Since(began)
		}()
	}
	if _, err := b.Call(within(t, 2*time.Second), a.peer, "m", nil); err != nil {
		t.Errorf("a member beside %d slow strangers: %v", 2*maxHandshakes, err)
	}
	a.pending.mu.Lock()
	held := a.pending.all.Len()
	a.pending.mu.Unlock()
	if held > maxHandshakesPerAddress {
		t.Errorf("%d handshakes from one address are under way, want at most %d", held, maxHandshakesPerAddress)
	}
	for range 2 * maxHandshakes {
		select {
		case <-ended:
		case <-time.After(handshakeLimit + 5*time.Second):
			t.Fatal("a slow handshake is not ended")
		}
	}
}

// TestImpersonation dials one member's address where another answers.
func TestImpersonation(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.node("node_a"), w.node("node_b"), w.node("node_c")
	sc := Streams[string](c.Transport)
	defer sc.Close()
	sa := Streams[string](a.Transport)
	defer sa.Close()
	wrong := Peer{ID: b.peer.ID, Address: c.peer.Address}
	_, err := a.Call(within(t, 5*time.Second), wrong, "m", nil)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrRefused) {
		t.Errorf("Call = %v, want it unreachable and refused", err)
	}
	if conn, err := sa.Dial(wrong.String(), time.Second); !errors.Is(err, ErrRefused) {
		t.Errorf("Dial = %v, %v, want it refused", conn, err)
	}
	if _, err := sa.Dial(c.peer.Address, time.Second); err == nil {
		t.Error("Raft dialled an address without the node that it expects there")
	}
	if _, err := a.Call(within(t, 5*time.Second), Peer{ID: "node_a", Address: a.Addr()}, "m", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call of itself = %v", err)
	}
	// The node that was dialled was removed, took its name from its own minted certificate and knows the CA key.
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{*w.ca.issue(t, testCluster, "node_b", newKey(t), time.Now())}, NextProtos: []string{protoNode},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(make([]byte, welcomeBytes))
		}
	}()
	if _, err := a.Call(within(t, 5*time.Second), Peer{ID: "node_b", Address: ln.Addr().String()}, "m", nil); !errors.Is(err, ErrRefused) {
		t.Errorf("Call of a node with a minted certificate = %v, want it refused", err)
	}
}

// TestRemoval removes a member with open connections in both directions.
func TestRemoval(t *testing.T) {
	tests := []struct {
		name string
		do   func(a *node)
	}{
		{"drop", func(a *node) {
			a.world.remove("node_b")
			a.Drop("node_b")
		}},
		{"recheck", func(a *node) {
			a.world.remove("node_b")
			a.Recheck()
		}},
		{"recheck of another key", func(a *node) {
			a.world.add("node_b", a.cert.Leaf)
			a.Recheck()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.node("node_a")
			own := newWorld(t) // in which node_b still believes that it is a member
			own.ca = w.ca
			b := own.node("node_b")
			w.add("node_b", b.cert.Leaf)
			own.add("node_a", a.cert.Leaf)
			c := w.node("node_c")

			sa := Streams[string](a.Transport)
			sb := Streams[string](b.Transport)
			in := make(chan net.Conn, 1)
			go func() {
				conn, _ := sa.Accept()
				in <- conn
			}()
			out, err := sb.Dial(a.peer.String(), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			inbound := <-in
			waits := make(chan struct{})
			b.Handle(func(ctx context.Context, _, _ string, _ []byte) ([]byte, error) {
				close(waits)
				<-ctx.Done()
				return nil, ctx.Err()
			})
			result := make(chan error, 1)
			go func() {
				_, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil)
				result <- err
			}()
			<-waits
			if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
				t.Fatal(err)
			}

			began := time.Now()
			tt.do(a)
			_ = out.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err = out.Read(make([]byte, 1))
			if ne, ok := errors.AsType[net.Error](err); err == nil || ok && ne.Timeout() {
				t.Errorf("the stream of the removed member: %v, want its end", err)
			}
			_ = inbound.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err = inbound.Read(make([]byte, 1))
			if ne, ok := errors.AsType[net.Error](err); err == nil || ok && ne.Timeout() {
				t.Errorf("the stream from the removed member: %v, want its end", err)
			}
			if err := <-result; !errors.Is(err, ErrInterrupted) {
				t.Errorf("the call under way to the removed member: %v", err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("the connections ended after %v", took)
			}
			_ = out.Close()
			eventually(t, "the removed member sees the end", func() bool { return len(b.conns.list()) == 0 })
			// New ones, in each direction; the node may also make itself a new certificate.
			b.show(w.ca.issue(t, testCluster, "node_b", b.key, time.Now()), nil)
			if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); !errors.Is(err, ErrRefused) {
				t.Errorf("a call from the removed member: %v", err)
			}
			if _, err := sb.Dial(a.peer.String(), time.Second); !errors.Is(err, ErrRefused) {
				t.Errorf("a stream from the removed member: %v", err)
			}
			if _, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil); !errors.Is(err, ErrRefused) {
				t.Errorf("a call to the removed member: %v", err)
			}
			if _, err := c.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
				t.Errorf("another member: %v", err)
			}
			if b.RefusedBy() != 1 || a.RefusedBy() != 0 || c.RefusedBy() != 0 {
				t.Errorf("refused by %d, %d and %d nodes", b.RefusedBy(), a.RefusedBy(), c.RefusedBy())
			}
			w.add("node_b", b.cert.Leaf)
			eventually(t, "it is a member again", func() bool {
				_, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil)
				return err == nil && b.RefusedBy() == 0
			})
		})
	}
}

// TestRemovedCallerWithoutDrop shows that a removal counts for the next call, before anybody closes the connection.
func TestRemovedCallerWithoutDrop(t *testing.T) {
	w, own := newWorld(t), newWorld(t)
	own.ca = w.ca
	a, b := w.node("node_a"), own.node("node_b")
	w.add("node_b", b.cert.Leaf)
	own.add("node_a", a.cert.Leaf)
	var handled atomic.Int32
	a.Handle(func(context.Context, string, string, []byte) ([]byte, error) {
		handled.Add(1)
		return nil, nil
	})
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
		t.Fatal(err)
	}
	w.remove("node_b")
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err == nil || handled.Load() != 1 {
		t.Errorf("call of a removed member = %v, handled %d times", err, handled.Load())
	}
	own.remove("node_a")
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); !errors.Is(err, ErrRefused) {
		t.Errorf("call to a removed member = %v", err)
	}
	w.add("node_b", b.cert.Leaf)
	own.add("node_a", a.cert.Leaf)
	time.Sleep(holdOff)
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil || handled.Load() != 2 {
		t.Fatalf("call of a member again = %v", err)
	}
	own.add("node_a", b.cert.Leaf) // the connection proved another key
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); !errors.Is(err, ErrRefused) || handled.Load() != 2 {
		t.Errorf("call to a member that has another key now = %v", err)
	}
}

// TestRemovalDuringHandshake removes a member after its certificate was verified and before its connection is in the list that
// Drop goes through.
func TestRemovalDuringHandshake(t *testing.T) {
	w := newWorld(t)
	asked := 0
	a := w.node("node_a", func(c *Config) {
		c.Member = func(id string) ([32]byte, bool) {
			key, ok := w.member(id)
			if id == "node_b" {
				if asked++; asked > 1 {
					return key, false
				}
			}
			return key, ok
		}
	})
	b := w.node("node_b")
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call = %v, want the node unreachable", err)
	}
	if n := len(a.conns.list()); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

// TestExpiry closes a live connection whose certificate has run out; with the renewed one the next call gets through.
func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	short := w.ca.issue(t, testCluster, "node_b", b.key, time.Now().Add(-CertificateLife+1200*time.Millisecond))
	b.show(short, nil)
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
		t.Fatal(err)
	}
	a.Recheck()
	if n := len(a.conns.list()); n != 1 {
		t.Fatalf("%d connections after Recheck of a valid certificate, want 1", n)
	}
	time.Sleep(time.Until(short.Leaf.NotAfter) + 1100*time.Millisecond)
	a.Recheck()
	if n := len(a.conns.list()); n != 0 {
		t.Errorf("%d connections after Recheck of an expired certificate, want 0", n)
	}
	eventually(t, "the other end closed", func() bool { return len(b.conns.list()) == 0 })
	b.show(w.ca.issue(t, testCluster, "node_b", b.key, time.Now()), nil)
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
		t.Errorf("with the renewed certificate: %v", err)
	}
}

// TestTokenAway lets the node's own certificate and its key fail, at either end.
func TestTokenAway(t *testing.T) {
	away := errors.New("C_Sign: the token was removed")
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	good := a.cert
	broken := *good
	broken.PrivateKey = failingKey{a.key, away}
	for name, show := range map[string]func(){
		"certificate": func() { a.show(nil, away) },
		"none yet":    func() { a.show(nil, nil) },
		"sign":        func() { a.show(&broken, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			show()
			time.Sleep(holdOff)
			a.notices.mu.Lock()
			clear(a.notices.last)
			a.notices.mu.Unlock()
			before := strings.Count(a.log.String(), noticeToken)
			for range 3 {
				if _, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRefused) {
					t.Errorf("a call from the node without token: %v", err)
				}
				if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRefused) {
					t.Errorf("a call to the node without token: %v", err)
				}
			}
			if n := strings.Count(a.log.String(), noticeToken) - before; n != 1 {
				t.Errorf("%d lines in the log, want 1:\n%s", n, a.log)
			}
		})
	}
	a.show(good, nil)
	time.Sleep(holdOff)
	if _, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil); err != nil {
		t.Errorf("with the token again: %v", err)
	}
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
		t.Errorf("with the token again: %v", err)
	}
}

// TestUnknown asks the owner for a newer list, once in a second, only for certificates of this cluster.
func TestUnknown(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int32
	b := w.node("node_b")
	cert := b.cert
	w.remove("node_b")
	a := w.node("node_a", func(c *Config) {
		c.Unknown = func(_ context.Context, id string) {
			if id != "node_b" {
				t.Errorf("asked for %s", id)
			}
			asked.Add(1)
			w.add("node_b", cert.Leaf)
		}
	})
	foreign := newAuthority(t).issue(t, testCluster, "node_b", b.key, time.Now())
	b.show(foreign, nil)
	shown := &tls.Config{NextProtos: []string{protoNode}, Certificates: []tls.Certificate{*foreign}}
	if err := welcomed(client(t, a.Addr(), shown)); err == nil {
		t.Error("a certificate of another CA is accepted")
	}
	if asked.Load() != 0 {
		t.Error("asked about a certificate of another CA")
	}
	b.show(cert, nil)
	for range 10 {
		_ = welcomed(client(t, a.Addr(), &tls.Config{NextProtos: []string{protoNode}, Certificates: []tls.Certificate{*cert}}))
	}
	eventually(t, "the question", func() bool { return asked.Load() == 1 })
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
		t.Errorf("after the list is newer: %v", err)
	}
	w.remove("node_b")
	again := &tls.Config{NextProtos: []string{protoNode}, Certificates: []tls.Certificate{*cert}}
	_ = welcomed(client(t, a.Addr(), again))
	time.Sleep(50 * time.Millisecond)
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times within a second", n)
	}
}
