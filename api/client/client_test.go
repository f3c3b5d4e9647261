package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/api/wire"
)

const testToken = "eyJ0ZXN0.dG9rZW4.c2ln"

// serve starts a TLS server and returns a Client that trusts it, with pauses too short to matter.
func serve(t *testing.T, handler http.HandlerFunc) (*Client, *httptest.Server) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	c, err := New(Config{
		Server: server.URL,
		CA:     certificate(server),
		Token:  StaticToken(testToken),
		Retry:  Retry{MinWait: time.Microsecond, MaxWait: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c, server
}

func certificate(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func answer(t *testing.T, w http.ResponseWriter, status int, media string, body any) {
	t.Helper()
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		t.Errorf("encode the answer: %v", err)
	}
}

func refuse(t *testing.T, w http.ResponseWriter, status int, code string, retryable bool) {
	t.Helper()
	answer(t, w, status, ProblemType, wire.Problem{
		Status: status, Code: code, Title: "Title of " + code, Detail: "detail of " + code,
		RequestID: "req-1", State: "operational", Retryable: retryable,
	})
}

// TestCalls checks for each method what goes over the wire and what comes back.
func TestCalls(t *testing.T) {
	const bearer = "Bearer " + testToken
	tests := []struct {
		name          string
		call          func(context.Context, *Client) (any, error)
		method, path  string
		authorization string
		body          string
		answer        string
		want          any
	}{
		{
			name: "encrypt",
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.Encrypt(ctx, wire.EncryptRequest{Plaintext: []byte("hello"), Context: "user-pii", AssociatedData: []byte("aad")})
			},
			method: "POST", path: "/api/v1/crypto/encrypt", authorization: bearer,
			body:   `{"plaintext":"aGVsbG8=","context":"user-pii","associated_data":"YWFk"}`,
			answer: `{"ciphertext":"AAEC","algorithm":"AES-256-GCM","key_id":"key_user-pii_01","format":4,"warnings":[],"later":1}`,
			want: wire.EncryptResponse{
				Ciphertext: []byte{0, 1, 2}, Algorithm: "AES-256-GCM", KeyID: "key_user-pii_01", Format: 4, Warnings: []string{},
			},
		},
		{
			name: "encrypt nothing",
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.Encrypt(ctx, wire.EncryptRequest{Context: "default"})
			},
			method: "POST", path: "/api/v1/crypto/encrypt", authorization: bearer,
			body:   `{"plaintext":"","context":"default"}`,
			answer: `{"ciphertext":"AA=="}`,
			want:   wire.EncryptResponse{Ciphertext: []byte{0}},
		},
		{
			name: "decrypt",
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.Decrypt(ctx, wire.DecryptRequest{Ciphertext: []byte{0, 1, 2}, Context: "user-pii"})
			},
			method: "POST", path: "/api/v1/crypto/decrypt", authorization: bearer,
			body:   `{"ciphertext":"AAEC","context":"user-pii"}`,
			answer: `{"plaintext":"aGVsbG8=","key_id":"k","rewrap":true}`,
			want:   wire.DecryptResponse{Plaintext: []byte("hello"), KeyID: "k", Rewrap: true},
		},
		{
			name:   "contexts",
			call:   func(ctx context.Context, c *Client) (any, error) { return c.Contexts(ctx) },
			method: "GET", path: "/api/v1/contexts", authorization: bearer,
			answer: `{"contexts":[{"name":"default","version":2}]}`,
			want:   []wire.Context{{Name: "default", Version: 2}},
		},
		{
			name:   "rotate",
			call:   func(ctx context.Context, c *Client) (any, error) { return c.Rotate(ctx, "odd/name") },
			method: "POST", path: "/api/v1/contexts/odd%2Fname/rotate", authorization: bearer,
			answer: `{"context":"odd/name","key_id":"k2","version":2,"previous_key_id":"k1"}`,
			want:   wire.RotateResponse{Context: "odd/name", KeyID: "k2", Version: 2, Previous: "k1"},
		},
		{
			name:   "refresh",
			call:   func(ctx context.Context, c *Client) (any, error) { return c.Refresh(ctx, "r1") },
			method: "POST", path: "/api/v1/auth/refresh",
			body:   `{"refresh_token":"r1"}`,
			answer: `{"access_token":"a2","refresh_token":"r2","token_type":"bearer"}`,
			want:   wire.RefreshResponse{AccessToken: "a2", RefreshToken: "r2", TokenType: "bearer"},
		},
		{
			name:   "state",
			call:   func(ctx context.Context, c *Client) (any, error) { return c.State(ctx) },
			method: "GET", path: "/health/state",
			answer: `{"state":"operational","reasons":[],"version":"v1","node":"n","cluster":"c"}`,
			want:   wire.State{State: "operational", Reasons: []wire.Reason{}, Version: "v1", Node: "n", Cluster: "c"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != tt.method || r.URL.EscapedPath() != tt.path {
					t.Errorf("got %s %s, want %s %s", r.Method, r.URL.EscapedPath(), tt.method, tt.path)
				}
				if got := r.Header.Get("Authorization"); got != tt.authorization {
					t.Errorf("Authorization is %q, want %q", got, tt.authorization)
				}
				if r.TLS == nil || r.TLS.Version < tls.VersionTLS12 {
					t.Error("not over TLS 1.2 or newer")
				}
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != tt.body {
					t.Errorf("body is %q (%v), want %q", body, err, tt.body)
				}
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				_, _ = io.WriteString(w, tt.answer) // a failure shows in the client
			})
			got, err := tt.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", tt.want) {
				t.Errorf("got  %#v\nwant %#v", got, tt.want)
			}
		})
	}
}

func TestConfigRefused(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no server", Config{}, "is not a URL"},
		{"plain http", Config{Server: "http://node"}, "must start with https://"},
		{"no scheme", Config{Server: "node:8443"}, "is not a URL"},
		{"with path", Config{Server: "https://node/api"}, "only a host and a port"},
		{"with user", Config{Server: "https://me:secret@node"}, "only a host and a port"},
		{"with query", Config{Server: "https://node?x=1"}, "only a host and a port"},
		{"no host", Config{Server: "https://:8443"}, "is not a URL"},
		{"CA is no PEM", Config{Server: "https://node", CA: []byte("x")}, "no PEM certificate"},
		{"CA is empty", Config{Server: "https://node", CA: []byte{}}, "no PEM certificate"},
		{"negative attempts", Config{Server: "https://node", Retry: Retry{Attempts: -1}}, "Retry needs"},
		{"pauses the wrong way round", Config{Server: "https://node", Retry: Retry{MinWait: 2, MaxWait: 1}}, "Retry needs"},
		{"negative time-out", Config{Server: "https://node", Timeout: -1}, "must not be negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestProblem(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(t, w, http.StatusForbidden, ProblemType, wire.Problem{
			Status: 403, Code: "forbidden", Title: "Forbidden", Detail: "not \x1b[31mgranted\n", RequestID: "req-7", State: "operational",
			Errors: []wire.ProblemField{{Field: "context", Detail: "is not granted"}},
		})
	})
	_, err := c.Encrypt(t.Context(), wire.EncryptRequest{Plaintext: []byte("attack at dawn"), Context: "x"})
	var problem *Error
	if !errors.As(err, &problem) {
		t.Fatalf("got %T %v, want *Error", err, err)
	}
	if problem.Status != 403 || problem.Code != "forbidden" || problem.RequestID != "req-7" || problem.State != "operational" ||
		problem.Retryable || len(problem.Fields) != 1 {
		t.Errorf("got %+v", problem)
	}
	want := "not [31mgranted: context: is not granted (forbidden, HTTP 403, request req-7)"
	if err.Error() != want {
		t.Errorf("got  %q\nwant %q", err, want)
	}
}

// TestBadAnswers sends what a proxy, another program or a broken server may send.
func TestBadAnswers(t *testing.T) {
	tests := []struct {
		name          string
		status        int
		media, body   string
		wantStatus    int // 0: not an *Error
		wantErrAnswer bool
	}{
		{name: "web page", status: 200, media: "text/html", body: "<html>", wantErrAnswer: true},
		{name: "no JSON", status: 200, media: "application/json", body: "c2VjcmV0", wantErrAnswer: true},
		{name: "wrong type", status: 200, media: "application/json", body: `{"plaintext":17}`, wantErrAnswer: true},
		{name: "bad base64", status: 200, media: "application/json", body: `{"plaintext":"c2VjcmV0!"}`, wantErrAnswer: true},
		{name: "too long", status: 200, media: "application/json", body: `{"plaintext":"` + strings.Repeat("A", 4096) + `"}`, wantErrAnswer: true},
		{name: "too long problem", status: 400, media: ProblemType, body: strings.Repeat("A", 4096), wantErrAnswer: true},
		{name: "error page", status: 404, media: "text/html", body: "<html>", wantStatus: 404},
		{name: "redirect", status: 307, media: "text/html", wantStatus: 307},
		{name: "problem that is no JSON", status: 400, media: ProblemType, body: "{", wantStatus: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int32
			c, server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.Header().Set("Content-Type", tt.media)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body) // the client may have closed
			})
			c, err := New(Config{Server: server.URL, CA: certificate(server), Token: StaticToken(testToken), Retry: c.retry, MaxAnswerBytes: 1024})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			_, err = c.Decrypt(t.Context(), wire.DecryptRequest{Ciphertext: []byte("x"), Context: "default"})
			var problem *Error
			if got := errors.As(err, &problem); got != (tt.wantStatus != 0) || got && problem.Status != tt.wantStatus {
				t.Errorf("got %T %v", err, err)
			}
			if errors.Is(err, ErrAnswer) != tt.wantErrAnswer {
				t.Errorf("ErrAnswer: got %v", err)
			}
			if strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error shows the answer: %v", err)
			}
			if calls.Load() != 1 {
				t.Errorf("%d tries, want 1: no such answer gets better", calls.Load())
			}
		})
	}
}

func TestUntrustedServer(t *testing.T) {
	var calls atomic.Int32
	_, server := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	server.Config.ErrorLog = discard()
	var attempts atomic.Int32
	c, err := New(Config{Server: server.URL, Token: StaticToken(testToken)}) // the system's roots do not know it
	if err != nil {
		t.Fatal(err)
	}
	transport, ok := c.http.Transport.(*http.Transport)
	if !ok {
		t.Fatal("not an *http.Transport")
	}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		attempts.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	_, err = c.Encrypt(t.Context(), wire.EncryptRequest{Context: "default"})
	var connect *ConnectError
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &connect) || connect.Sent || !errors.As(err, &bad) {
		t.Fatalf("got %T %v, want an unsent *ConnectError with the certificate's fault", err, err)
	}
	if calls.Load() != 0 || attempts.Load() != 1 {
		t.Errorf("%d requests arrived, %d connections; want 0 and 1", calls.Load(), attempts.Load())
	}
}

func TestStateOfUnavailableNode(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(t, w, http.StatusServiceUnavailable, "application/json", wire.State{
			State: "failed", Reasons: []wire.Reason{{Code: "hsm-unavailable", NextStep: "plug it in"}},
		})
	})
	state, err := c.State(t.Context())
	if err != nil || state.State != "failed" || len(state.Reasons) != 1 || state.Reasons[0].NextStep != "plug it in" {
		t.Fatalf("got %+v, %v", state, err)
	}
}

func TestNoToken(t *testing.T) {
	tests := []struct {
		name   string
		source TokenSource
	}{
		{"none", nil},
		{"empty", StaticToken("")},
		{"with a line feed", StaticToken("abc\ndef")},
		{"with a space", StaticToken("Bearer abc")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int32
			c, _ := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
			_, err := c.WithToken(tt.source).Contexts(t.Context())
			if !errors.Is(err, ErrNoToken) || calls.Load() != 0 {
				t.Fatalf("got %v after %d requests", err, calls.Load())
			}
		})
	}
}

func TestTokenIsNotPrinted(t *testing.T) {
	token := StaticToken(testToken)
	for _, format := range []string{"%s", "%v", "%+v", "%#v", "%q"} {
		if got := fmt.Sprintf(format, token); strings.Contains(got, testToken) {
			t.Errorf("%s prints the token", format)
		}
	}
	var log bytes.Buffer
	jsonLogger(&log).Info("x", "token", token)
	if strings.Contains(log.String(), testToken) || !strings.Contains(log.String(), "token of") {
		t.Errorf("log line: %s", log.String())
	}
}
