package transport

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

const testCluster = "cluster_0123456789abcdef"

// authority is a cluster CA with its key, as every member has it.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key := newKey(t)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "CA of a test"},
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key}
}

// issue makes a node's certificate as NodeCertificate does at that time.
func (a *authority) issue(t testing.TB, cluster, node string, key crypto.Signer, at time.Time) *tls.Certificate {
	t.Helper()
	der, err := NodeCertificate(a.cert, a.key, cluster, node, key.Public(), at)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// world is a cluster: its CA and who is a member of it.
type world struct {
	t  testing.TB
	ca *authority

	mu      sync.Mutex
	members map[string][32]byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{t: t, ca: newAuthority(t), members: map[string][32]byte{}}
}

func (w *world) member(id string) ([32]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key, ok := w.members[id]
	return key, ok
}

func (w *world) add(id string, leaf *x509.Certificate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members[id] = KeyHash(leaf)
}

func (w *world) remove(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.members, id)
}

// node is a transport with what it shows.
type node struct {
	*Transport
	world *world
	key   *ecdsa.PrivateKey
	peer  Peer
	log   *buffer

	mu   sync.Mutex
	cert *tls.Certificate
	err  error
}

func (n *node) show(c *tls.Certificate, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cert, n.err = c, err
}

func (n *node) certificate() (*tls.Certificate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cert, n.err
}

// node starts a member that echoes calls. Options change its config.
func (w *world) node(id string, options ...func(*Config)) *node {
	w.t.Helper()
	n := &node{world: w, key: newKey(w.t), log: &buffer{}}
	n.cert = w.ca.issue(w.t, testCluster, id, n.key, time.Now())
	w.add(id, n.cert.Leaf)
	cfg := Config{
		ClusterID: testCluster, NodeID: id, Listen: "127.0.0.1:0", Certificate: n.certificate,
		Authority: func() *x509.Certificate { return w.ca.cert }, Member: w.member, Log: slog.New(slog.NewTextHandler(n.log, nil)),
	}
	for _, o := range options {
		o(&cfg)
	}
	tr, err := Listen(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Transport = tr
	n.peer = Peer{ID: id, Address: tr.Addr()}
	tr.Handle(func(_ context.Context, from, method string, request []byte) ([]byte, error) {
		return append([]byte(from+" "+method+" "), request...), nil
	})
	w.t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			w.t.Errorf("Close of %s: %v", id, err)
		}
	})
	return n
}

func withJoin(c *Config) {
	c.Join = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("joined " + r.URL.Path))
	})
}

// buffer is a log that goroutines may write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// within returns a context for one test step.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// client makes a connection as a stranger with its own TLS library may: it verifies nothing.
func client(t testing.TB, address string, c *tls.Config) (*tls.Conn, error) {
	t.Helper()
	raw, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	c.InsecureSkipVerify = true
	conn := tls.Client(raw, c)
	_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
	return conn, conn.Handshake()
}

// welcomed tells whether the server lets the connection in: it sends the first byte.
func welcomed(conn *tls.Conn, err error) error {
	if err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// failingKey is a key in a token that is away.
type failingKey struct {
	crypto.Signer
	err error
}

func (k failingKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, k.err }
