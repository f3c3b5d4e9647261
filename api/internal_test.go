package api

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// echo is an engine that gives back what it gets: the frame is the plaintext. It has nothing but what encrypts and decrypts.
func (echo) Admit(*engine.Call, policy.Action) error { return nil }

type echo struct {
	Engine

	failure error
	given   *[]byte
}

func (e echo) Encrypt(_ context.Context, c *engine.Call, in *engine.EncryptRequest) (engine.EncryptResult, error) {
	c.Receipt.Node, c.Receipt.Sequence = "node-1", 1
	return engine.EncryptResult{
		Ciphertext: append(in.Dst[:0], in.Plaintext...), Algorithm: "AES-256-GCM", KeyID: "key_user-pii_0123456789abcdef", Format: 4,
	}, e.failure
}

func (e echo) Decrypt(_ context.Context, c *engine.Call, in *engine.DecryptRequest) (engine.DecryptResult, error) {
	c.Receipt.Node, c.Receipt.Sequence = "node-1", 1
	return engine.DecryptResult{Plaintext: append(in.Dst[:0], in.Ciphertext...), KeyID: "key_user-pii_0123456789abcdef"}, e.failure
}

// batch gives the items back.
func (echo) batch(c *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error) {
	c.Receipt.Node, c.Receipt.Sequence = "node-1", 1
	out := engine.BatchResult{Items: make([]engine.BatchItemResult, len(in.Items)), Dst: in.Dst[:0]}
	for i := range in.Items {
		start := len(out.Dst)
		out.Dst = append(out.Dst, in.Items[i].Data...)
		out.Items[i] = engine.BatchItemResult{
			Data: out.Dst[start:], Algorithm: "AES-256-GCM", KeyID: "key_user-pii_0123456789abcdef", Format: 4,
		}
	}
	return out, nil
}

func (e echo) EncryptBatch(_ context.Context, c *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error) {
	return e.batch(c, in)
}

func (e echo) DecryptBatch(_ context.Context, c *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error) {
	return e.batch(c, in)
}

func (echo) HashPassword(_ context.Context, c *engine.Call, _ string, pass []byte) (engine.PasswordResult, error) {
	c.Receipt.Node, c.Receipt.Sequence = "node-1", 1
	return engine.PasswordResult{Hash: strconv.Itoa(len(pass)), Algorithm: "scrypt"}, nil
}

// KeyDecrypt keeps what it returns, to see what becomes of it.
func (e echo) KeyDecrypt(_ context.Context, c *engine.Call, in *engine.KeyDecryptRequest) (engine.SecretResult, error) {
	c.Receipt.Node, c.Receipt.Sequence = "node-1", 1
	*e.given = bytes.Clone(in.Ciphertext)
	return engine.SecretResult{Secret: *e.given, KeyID: "key_user-pii_0123456789abcdef", Algorithm: "RSA-OAEP-2048"}, nil
}

func (echo) Refuse(_ context.Context, _ *engine.Call, _ policy.Action, _ string, cause error) error {
	return cause
}

type anyone struct{ subject *policy.Subject }

func (a anyone) Authenticate(string) (*policy.Subject, error) { return a.subject, nil }

func (a anyone) Verify(string) (*policy.Subject, error) { return a.subject, nil }

func (a anyone) Certificate(*x509.Certificate) (*policy.Subject, error) { return a.subject, nil }

func (anyone) Issue(context.Context, *engine.Call, *directory.Application) (auth.Tokens, error) {
	return auth.Tokens{}, nil
}

func (anyone) Revoke(context.Context, *engine.Call, string) error { return nil }

func (anyone) Refresh(context.Context, *engine.Call, string) (auth.Tokens, error) {
	return auth.Tokens{}, nil
}

func echoServer(tb testing.TB) *Server {
	tb.Helper()
	a := anyone{&policy.Subject{Kind: policy.KindApplication, ID: "app"}}
	s, err := New(Config{
		Engine: echo{given: new([]byte)}, Auth: a, Tokens: a, Log: slog.New(slog.DiscardHandler), TLS: TLSConfig(false, false, nil),
		State: func() wire.State { return wire.State{State: "operational"} }, Ready: func() error { return nil },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func post(path, body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
}

// TestNothingSecretStaysInTheBuffers looks at the pooled memory after each kind of request (invariant 7).
func TestNothingSecretStaysInTheBuffers(t *testing.T) {
	const secretText = "correct horse battery staple"
	encoded := base64.StdEncoding.EncodeToString([]byte(secretText))
	escaped := strings.ReplaceAll(encoded, "Y", `\u0059`)
	if escaped == encoded {
		t.Fatal("nothing is escaped")
	}
	for name, r := range map[string]*http.Request{
		"encrypt":          post("/api/v1/crypto/encrypt", `{"plaintext":"`+encoded+`","context":"user-pii"}`),
		"encrypt, escaped": post("/api/v1/crypto/encrypt", `{"plaintext":"`+escaped+`","context":"user-pii"}`),
		"encrypt, refused": post("/api/v1/crypto/encrypt", `{"plaintext":"`+encoded+`","x":1}`),
		"encrypt, broken":  post("/api/v1/crypto/encrypt", `{"plaintext":"`+encoded[:len(encoded)-4]+`****","context":"user-pii"}`),
		"encrypt, chunked": post("/api/v1/crypto/encrypt", strings.Repeat(" ", 5000)+`{"plaintext":"`+encoded+`","context":"user-pii"}`),
		"decrypt":          post("/api/v1/crypto/decrypt", `{"ciphertext":"`+encoded+`","context":"user-pii"}`),
		"batch":            post("/api/v1/crypto/batch/encrypt", `{"context":"a","items":[{"plaintext":"`+encoded+`","reference":"`+secretText+`"}]}`),
		"batch, refused":   post("/api/v1/crypto/batch/encrypt", `{"context":"a","items":[{"plaintext":"`+encoded+`"},{"plaintext":"`+escaped+`"},7]}`),
		"batch, decrypt":   post("/api/v1/crypto/batch/decrypt", `{"context":"a","items":[{"ciphertext":"`+encoded+`"},{"ciphertext":"`+encoded+`"}]}`),
		"password":         post("/api/v1/crypto/password/hash", `{"password":"`+secretText+`"}`),
		"password, escape": post("/api/v1/crypto/password/hash", `{"password":"\u0063`+secretText[1:]+`"}`),
		"password, refuse": post("/api/v1/crypto/password/hash", `{"password":"`+secretText+`","x":1}`),
		"key":              post("/api/v1/crypto/key/decrypt", `{"key":"k","ciphertext":"`+encoded+`"}`),
		"key, refused":     post("/api/v1/crypto/key/decrypt", `{"key":"k","ciphertext":"`+encoded+`","x":1}`),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "encrypt, chunked" {
				r.ContentLength = -1
			}
			s := echoServer(t)
			x := new(exchange)
			s.exchanges.New = func() any { return x }
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if want := map[bool]int{true: 400, false: 200}[strings.Contains(name, "refuse") || strings.Contains(name, "broken")]; w.Code != want {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			buffers := map[string][]byte{"body": x.body, "arena": x.json.arena, "plain": x.json.plain}
			if strings.HasSuffix(r.URL.Path, "/decrypt") {
				buffers["result"], buffers["out"], buffers["given"] = x.result, x.out, *s.config.Engine.(echo).given
			}
			for _, list := range [][]engine.BatchItem{x.json.batch[:cap(x.json.batch)], x.batch.Items} {
				if slices.ContainsFunc(list, func(i engine.BatchItem) bool { return i.Data != nil }) {
					t.Error("an item is still held")
				}
			}
			for part, b := range buffers {
				b = b[:cap(b)]
				if bytes.Contains(b, []byte(secretText[:12])) || bytes.Contains(b, []byte(encoded[:8])) {
					t.Errorf("%s still holds the plaintext", part)
				}
			}
			if cap(x.body) == 0 {
				t.Error("the exchange under test was not used")
			}
		})
	}
}

func TestLargeBuffersAreNotKept(t *testing.T) {
	s := echoServer(t)
	x := new(exchange)
	s.exchanges.New = func() any { return x }
	body := `{"ciphertext":"` + base64.StdEncoding.EncodeToString(make([]byte, largestPooled)) + `","context":"user-pii"}`
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, post("/api/v1/crypto/decrypt", body))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	for part, b := range map[string][]byte{"body": x.body, "arena": x.json.arena, "result": x.result, "out": x.out} {
		if cap(b) > largestPooled {
			t.Errorf("%s keeps %d bytes", part, cap(b))
		}
	}
}

// brokenWriter fails and keeps what it was given, as the HTTP/2 server does when a stream ends during a write.
type brokenWriter struct {
	http.ResponseWriter
	held []byte
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	b.held = p
	return 0, errors.New("stream closed")
}

func TestABufferThatMayStillBeReadIsNotReused(t *testing.T) {
	s := echoServer(t)
	x := new(exchange)
	s.exchanges.New = func() any { return x }
	w := &brokenWriter{ResponseWriter: httptest.NewRecorder()}
	s.Handler().ServeHTTP(w, post("/api/v1/crypto/decrypt", `{"ciphertext":"aGVsbG8=","context":"user-pii"}`))
	if !strings.HasPrefix(string(w.held), `{"plaintext":"aGVsbG8="`) {
		t.Errorf("the buffer was changed: %q", w.held)
	}
	if x.out != nil {
		t.Error("the buffer went back to the pool")
	}
}

func TestProblemTableIsComplete(t *testing.T) {
	for _, kind := range fault.Kinds() {
		if r, ok := problems[kind]; !ok || r.status < 400 || r.title == "" {
			t.Errorf("%s has no row", kind.Code())
		}
	}
	if len(problems) != len(fault.Kinds()) {
		t.Errorf("%d rows for %d kinds", len(problems), len(fault.Kinds()))
	}
}

func TestSlowRequestsAreLogged(t *testing.T) {
	for name, slow := range map[string]bool{"slow": true, "usual": false} {
		t.Run(name, func(t *testing.T) {
			s := echoServer(t)
			var log bytes.Buffer
			s.config.Log = slog.New(slog.NewTextHandler(&log, nil))
			if slow {
				s.config.Limits.SlowRequest = 0
			}
			s.Handler().ServeHTTP(httptest.NewRecorder(), post("/api/v1/crypto/encrypt", `{"plaintext":"","context":"user-pii"}`))
			if got := strings.Contains(log.String(), "slow request"); got != slow {
				t.Errorf("the log is %q", log.String())
			}
		})
	}
}

func TestServerLogLevels(t *testing.T) {
	var log bytes.Buffer
	l := serverLog(slog.New(slog.NewTextHandler(&log, nil)))
	l.Print("http: TLS handshake error from 192.0.2.1:5: EOF")
	if log.Len() != 0 {
		t.Errorf("a failed handshake is logged at info: %s", log.String())
	}
	l.Print("http: Accept error: too many open files; retrying in 5ms")
	if !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("an accept error gives %q", log.String())
	}
}

// TestAFullListenerCloses: Accept ends although no connection does.
func TestAFullListenerCloses(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 1)
	slots <- struct{}{}
	l := newListener(inner, slots)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
	case <-time.After(20 * time.Second): // it takes no time at all
		t.Error("Accept goes on")
	}
	if err := l.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}
