package transport

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), nil
}

// TestJoin reaches the join endpoint without a certificate, and nothing else.
func TestJoin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.node("node_a", withJoin)
	fingerprint := sha256.Sum256(w.ca.cert.Raw)
	wrong := fingerprint
	wrong[31] ^= 1
	// A server that owns neither the CA's key nor a certificate of it, and shows the CA behind its own.
	forged := func(change func(*tls.Certificate)) string {
		other := newAuthority(t)
		c := other.issue(t, testCluster, "node_a", newKey(t), time.Now())
		change(c)
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*c}, NextProtos: []string{protoJoin}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_ = conn.(*tls.Conn).Handshake()
					_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"))
				}()
			}
		}()
		return ln.Addr().String()
	}
	expired := w.node("node_e", withJoin)
	expired.show(w.ca.issue(t, testCluster, "node_e", expired.key, time.Now().Add(-2*CertificateLife)), nil)
	tests := []struct {
		name        string
		address     string
		fingerprint [32]byte
		cluster     string
		ok          bool
	}{
		{"right", a.Addr(), fingerprint, testCluster, true},
		{"any cluster", a.Addr(), fingerprint, "", true},
		{"another fingerprint", a.Addr(), wrong, testCluster, false},
		{"another cluster", a.Addr(), fingerprint, "cluster_other", false},
		{"expired", expired.Addr(), fingerprint, testCluster, false},
		{"another CA", forged(func(*tls.Certificate) {}), fingerprint, testCluster, false},
		{"the CA shown behind another's certificate", forged(func(c *tls.Certificate) {
			c.Certificate[1] = w.ca.cert.Raw
		}), fingerprint, testCluster, false},
		{"the CA shown behind another's chain", forged(func(c *tls.Certificate) {
			c.Certificate = append(c.Certificate, w.ca.cert.Raw)
		}), fingerprint, testCluster, false},
		{"no CA shown", forged(func(c *tls.Certificate) { c.Certificate = c.Certificate[:1] }), fingerprint, testCluster, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := JoinClient(tt.fingerprint, tt.cluster)
			defer c.CloseIdleConnections()
			for range 2 {
				body, err := get(t, c, "https://"+tt.address+"/v1/join")
				if ok := err == nil && body == "joined /v1/join"; ok != tt.ok {
					t.Errorf("answer %q, %v, want ok=%v", body, err, tt.ok)
				}
				if !tt.ok && err == nil {
					t.Errorf("the client sent its request")
				}
			}
		})
	}
	t.Run("not over plain http", func(t *testing.T) {
		if _, err := get(t, JoinClient(fingerprint, testCluster), "http://"+a.Addr()+"/"); err == nil {
			t.Error("a request went out without TLS")
		}
	})
	t.Run("a large body", func(t *testing.T) {
		big := w.node("node_big", func(c *Config) {
			c.Join = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				}
			})
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+big.Addr(), bytes.NewReader(make([]byte, maxJoinBytes+1)))
		if err != nil {
			t.Fatal(err)
		}
		c := JoinClient(fingerprint, testCluster)
		defer c.CloseIdleConnections()
		answer, err := c.Do(r)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("status %d", answer.StatusCode)
			}
		}
	})
	t.Run("what joiners cannot say", func(t *testing.T) {
		conn, err := client(t, a.Addr(), &tls.Config{NextProtos: []string{protoJoin}})
		if err != nil {
			t.Fatal(err)
		}
		// A frame of calls on the connection of a joiner.
		if _, err := conn.Write(append(requestHead(1, time.Second, "propose", 4), "\r\n\r\n"...)); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
			t.Errorf("answer %q", answer)
		}
		if strings.Contains(string(answer), "node_") {
			t.Errorf("a call was answered: %q", answer)
		}
	})
}

// TestJoinsBounded lets one address have few connections, and gives the places back.
func TestJoinsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.node("node_a", withJoin)
	var open []*tls.Conn
	for range maxJoinsPerAddress {
		conn, err := client(t, a.Addr(), &tls.Config{NextProtos: []string{protoJoin}})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	taken := func() int {
		a.join.mu.Lock()
		defer a.join.mu.Unlock()
		return a.join.all
	}
	eventually(t, "all places are taken", func() bool { return taken() == maxJoinsPerAddress })
	conn, err := client(t, a.Addr(), &tls.Config{NextProtos: []string{protoJoin}})
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if ne, ok := errors.AsType[net.Error](err); err == nil || ok && ne.Timeout() {
		t.Errorf("one connection too many: %v", err)
	}
	if _, err := w.node("node_b").Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
		t.Errorf("a member meanwhile: %v", err)
	}
	for _, c := range open {
		c.Close()
	}
	eventually(t, "the places are free", func() bool { return taken() == 0 })
	c := JoinClient(sha256.Sum256(w.ca.cert.Raw), testCluster)
	defer c.CloseIdleConnections()
	if _, err := get(t, c, "https://"+a.Addr()+"/"); err != nil {
		t.Error(err)
	}
}

// TestNodeCertificate reads the certificate back.
func TestNodeCertificate(t *testing.T) {
	ca := newAuthority(t)
	now := time.Now()
	c := ca.issue(t, testCluster, "node_a", newKey(t), now).Leaf
	if len(c.URIs) != 1 || c.URIs[0].String() != "cryptoserve://"+testCluster+"/node_a" {
		t.Errorf("URIs %v", c.URIs)
	}
	from, to := now.Sub(c.NotBefore), c.NotAfter.Sub(now)
	if from.Round(time.Minute) != CertificateBackdate || to.Round(time.Minute) != CertificateLife {
		t.Errorf("valid from %v before to %v after", from, to)
	}
	if late := ca.issue(t, testCluster, "node_a", newKey(t), ca.cert.NotAfter.Add(-time.Hour)).Leaf; !late.NotAfter.Equal(ca.cert.NotAfter) {
		t.Errorf("valid until %v, the CA until %v", late.NotAfter, ca.cert.NotAfter)
	}
	for _, id := range []string{"", "a/b", "a b", "a%2fb", strings.Repeat("n", maxNodeIDBytes+1)} {
		bad := ca.issue(t, testCluster, id, newKey(t), now).Leaf
		if got, err := issued(bad, ca.cert, x509.ExtKeyUsageClientAuth, testCluster, now); !errors.Is(err, ErrRefused) {
			t.Errorf("node id %q: %q, %v", id, got, err)
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if id, err := issued(c, ca.cert, usage, testCluster, now); err != nil || id != "node_a" {
			t.Errorf("issued = %q, %v", id, err)
		}
	}
}
