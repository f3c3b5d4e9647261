package api_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"cryptoserve/api"
	"cryptoserve/api/apitest"
	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

const (
	appID = "app_shop_0000000000000001"
	keyID = "key_user-pii_0123456789abcdef"
)

// refusal is one call of Refuse.
type refusal struct {
	action   policy.Action
	resource string
	code     string
	cause    string
	subject  string
	id       string
	source   string
}

// standIn stands for the engine: it encrypts under one AES key, and does whatever a test wants to see mapped to HTTP. It
// is also the Authority of package auth, with one application and one refresh family for each token.
type standIn struct {
	aead cipher.AEAD
	app  *directory.Application
	key  ed25519.PrivateKey

	mu       sync.Mutex
	sequence uint64
	calls    []engine.Call
	refusals []refusal
	sessions map[[32]byte]*policy.Subject
	hashes   map[string][32]byte
	issued   [][32]byte // hashes of the sessions that were asked for
	// failure is what each use case fails with, auditFailure what Refuse does. before runs at the start of a use case.
	failure      error
	auditFailure error
	before       func(*engine.Call)
	approval     bool // acts wait for it
	invited      [32]byte
	keepsKeys    bool     // of applications
	missing      []string // of an application that exists
	rotated      *directory.Application
	// got is what the newest use case was asked for. The rest is of streams: what they end with, and what broke them.
	got           any
	streamFailure error
	streamPanics  bool
	cutShort      bool          // before the range is complete
	linger        time.Duration // before and behind a last byte of its own
	broken        []error
	crowded       bool // Admit refuses
}

func newStandIn(tb testing.TB) *standIn {
	tb.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		tb.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		tb.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return &standIn{
		aead: aead, key: private, sessions: map[[32]byte]*policy.Subject{}, hashes: map[string][32]byte{},
		app: &directory.Application{
			ID: appID, Tenant: "tenant-1", Name: "shop", Status: directory.Enabled, KeyID: "kid-1", PublicKey: public,
			Grants: []directory.Grant{{Context: "user-pii", Encrypt: true, Decrypt: true}},
		},
	}
}

// begin is the start of each use case: it writes the audit record, so to speak.
func (s *standIn) begin(c *engine.Call) error {
	s.mu.Lock()
	before, failure := s.before, s.failure
	s.sequence++
	c.Receipt = audit.Receipt{Node: "node-1", Sequence: s.sequence}
	s.calls = append(s.calls, *c)
	s.mu.Unlock()
	if before != nil {
		before(c)
	}
	return failure
}

func (s *standIn) Encrypt(_ context.Context, c *engine.Call, in *engine.EncryptRequest) (engine.EncryptResult, error) {
	if err := s.begin(c); err != nil {
		return engine.EncryptResult{}, err
	}
	aad := append([]byte(in.Context+"\x00"), in.AssociatedData...)
	return engine.EncryptResult{
		Ciphertext: s.aead.Seal(in.Dst[:0], nil, in.Plaintext, aad),
		Algorithm:  "AES-256-GCM", KeyID: keyID, Format: 4,
	}, nil
}

func (s *standIn) Decrypt(_ context.Context, c *engine.Call, in *engine.DecryptRequest) (engine.DecryptResult, error) {
	if err := s.begin(c); err != nil {
		return engine.DecryptResult{}, err
	}
	aad := append([]byte(in.Context+"\x00"), in.AssociatedData...)
	plaintext, err := s.aead.Open(in.Dst[:0], nil, in.Ciphertext, aad)
	if err != nil {
		return engine.DecryptResult{}, fault.New(fault.DecryptFailed, "stand-in", "the tag of the frame is wrong")
	}
	return engine.DecryptResult{Plaintext: plaintext, KeyID: keyID, Rewrap: true}, nil
}

func (s *standIn) Contexts(_ context.Context, c *engine.Call) ([]engine.ContextInfo, error) {
	if err := s.begin(c); err != nil {
		return nil, err
	}
	return []engine.ContextInfo{{
		Record: &directory.Context{
			Name: "user-pii", Description: "people", Algorithm: "AES-256-GCM", Format: 4, Derivation: directory.Salted,
			Status: directory.Enabled, ActiveKey: keyID, Versions: 3, CreatedAt: 1_767_225_600_000,
		},
		Version: &keys.Version{ID: keyID, Number: 3},
	}}, nil
}

func (s *standIn) RotateContext(_ context.Context, c *engine.Call, name string) (engine.RotateResult, error) {
	if err := s.begin(c); err != nil {
		return engine.RotateResult{}, err
	}
	return engine.RotateResult{
		Context: name, Version: &keys.Version{ID: "key_user-pii_fedcba9876543210", Number: 4}, Previous: keyID,
	}, nil
}

func (s *standIn) Refuse(_ context.Context, c *engine.Call, action policy.Action, resource string, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auditFailure != nil {
		return s.auditFailure
	}
	s.sequence++
	c.Receipt = audit.Receipt{Node: "node-1", Sequence: s.sequence}
	r := refusal{action: action, resource: resource, code: fault.Of(cause).Code(), cause: string(fault.CauseOf(cause)), id: c.RequestID, source: c.Source}
	if c.Subject != nil {
		r.subject = c.Subject.ID
	}
	s.refusals = append(s.refusals, r)
	return cause
}

func (s *standIn) Application(id string) *directory.Application {
	if id != s.app.ID {
		return nil
	}
	return s.app
}

func (s *standIn) SessionSubject(hash [32]byte) *policy.Subject { return s.sessions[hash] }

func (s *standIn) AccessSigner(context.Context, string) (crypto.Signer, string, error) {
	return s.key, s.app.KeyID, nil
}

func (s *standIn) RefreshKey(context.Context) (secret.Bytes, error) {
	return secret.New(make([]byte, 32)), nil
}

func (s *standIn) StartRefresh(_ context.Context, _ *engine.Call, f directory.RefreshFamily) error {
	s.hashes[f.ID] = f.Hash
	return nil
}

func (s *standIn) RotateRefresh(_ context.Context, c *engine.Call, r engine.RefreshRotation) error {
	if err := s.begin(c); err != nil {
		return err
	}
	if s.hashes[r.Family] != r.Presented {
		delete(s.hashes, r.Family)
		return fault.New(fault.Unauthenticated, "stand-in", "used before")
	}
	s.hashes[r.Family] = r.Next
	return nil
}

// reached returns how many requests got to a use case.
func (s *standIn) reached() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// breaks returns how many streams broke off.
func (s *standIn) breaks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.broken)
}

// lastRefusal returns the newest refusal.
func (s *standIn) lastRefusal(tb testing.TB) refusal {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refusals) == 0 {
		tb.Fatal("nothing was recorded as refused")
	}
	return s.refusals[len(s.refusals)-1]
}

// logBuffer is where the server under test logs to.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fixture is a server on a real socket with TLS, and a client that holds each answer to the document.
type fixture struct {
	engine  *standIn
	issuer  *auth.Issuer
	server  *api.Server
	log     *logBuffer
	client  *http.Client
	roots   *x509.CertPool
	address string
	url     string
	token   string
	served  chan error
}

// newFixture starts a server. Edit changes its configuration first.
func newFixture(tb testing.TB, edit ...func(*api.Config)) *fixture {
	tb.Helper()
	f := &fixture{engine: newStandIn(tb), log: new(logBuffer), served: make(chan error, 1)}
	certificate, roots := selfSigned(tb)
	f.roots = roots
	verifier, err := auth.NewVerifier(auth.VerifierConfig{Directory: f.engine})
	if err != nil {
		tb.Fatal(err)
	}
	if f.issuer, err = auth.NewIssuer(f.engine, nil); err != nil {
		tb.Fatal(err)
	}
	config := api.Config{
		Engine: f.engine, Auth: verifier, Tokens: f.issuer,
		State: func() wire.State { return wire.State{State: "operational", Node: "node-1"} },
		Ready: func() error { return nil },
		Log:   slog.New(slog.NewJSONHandler(f.log, nil)),
		TLS: api.TLSConfig(false, false, func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate, nil
		}),
		SignIn: providers{}, Rules: map[string]engine.ProviderRules{"corp": {Manages: true}},
	}
	for _, e := range edit {
		e(&config)
	}
	if f.server, err = api.New(config); err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	f.address = l.Addr().String()
	f.url = "https://" + f.address
	go func() { f.served <- f.server.Serve(l) }()
	f.client = f.newClient(tb, true)
	if f.token, _, err = f.issuer.IssueAccess(tb.Context(), f.engine.app); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		f.client.CloseIdleConnections()
		// A test may have shut the server down already.
		_ = f.server.Shutdown(context.Background())
	})
	return f
}

// newClient returns a client with connections of its own.
func (f *fixture) newClient(tb testing.TB, http2 bool) *http.Client {
	tb.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: http2,
	}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     apitest.NewTransport(tb, transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// plainClient returns an HTTP/1.1 client whose answers are not held to the document.
func (f *fixture) plainClient(tb testing.TB) *http.Client {
	tb.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func selfSigned(tb testing.TB) (*tls.Certificate, *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// answer is an answer read to its end.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) problem(tb testing.TB) wire.Problem {
	tb.Helper()
	var p wire.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		tb.Fatalf("%s: %v", a.body, err)
	}
	return p
}

// request makes a request with the application's token and a JSON body, which edit may change.
func (f *fixture) request(tb testing.TB, method, path, body string, edit ...func(*http.Request)) *http.Request {
	tb.Helper()
	var reader io.Reader
	if body != "" {
		reader = bytes.NewReader([]byte(body))
	}
	r, err := http.NewRequestWithContext(tb.Context(), method, f.url+path, reader)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+f.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edit {
		e(r)
	}
	return r
}

func (f *fixture) do(tb testing.TB, method, path, body string, edit ...func(*http.Request)) answer {
	tb.Helper()
	return send(tb, f.client, f.request(tb, method, path, body, edit...))
}

func send(tb testing.TB, c *http.Client, r *http.Request) answer {
	tb.Helper()
	resp, err := c.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return answer{resp, body}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
