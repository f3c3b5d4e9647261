package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cryptoserve/api"
	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

const (
	encryptPath = "/api/v1/crypto/encrypt"
	decryptPath = "/api/v1/crypto/decrypt"
	refreshPath = "/api/v1/auth/refresh"
)

func TestEncryptDecrypt(t *testing.T) {
	f := newFixture(t)
	for _, http2 := range []bool{false, true} {
		for _, size := range []int{0, 1, 32, 1000, 100_000, 1 << 20} {
			t.Run(fmt.Sprintf("http2 %v, %d bytes", http2, size), func(t *testing.T) {
				client := f.newClient(t, http2)
				plaintext := strings.Repeat("x", size)
				a := send(t, client, f.request(t, "POST", encryptPath,
					`{"plaintext":"`+b64(plaintext)+`","context":"user-pii","associated_data":"`+b64("row 7")+`"}`))
				if a.StatusCode != http.StatusOK || (a.ProtoMajor == 2) != http2 {
					t.Fatalf("%s %s: %s", a.Proto, a.Status, a.body)
				}
				var e wire.EncryptResponse
				if err := json.Unmarshal(a.body, &e); err != nil {
					t.Fatal(err)
				}
				want, err := json.Marshal(e)
				if err != nil || !bytes.Equal(a.body, want) {
					t.Errorf("the answer is not what wire encodes to: %s", want)
				}
				body, err := json.Marshal(wire.DecryptRequest{Ciphertext: e.Ciphertext, Context: "user-pii", AssociatedData: []byte("row 7")})
				if err != nil {
					t.Fatal(err)
				}
				a = send(t, client, f.request(t, "POST", decryptPath, string(body)))
				var d wire.DecryptResponse
				if err := json.Unmarshal(a.body, &d); err != nil {
					t.Fatal(err)
				}
				if string(d.Plaintext) != plaintext || d.KeyID != keyID || !d.Rewrap {
					t.Errorf("decrypted %d bytes with %s, rewrap %v", len(d.Plaintext), d.KeyID, d.Rewrap)
				}
				if want, err := json.Marshal(d); err != nil || !bytes.Equal(a.body, want) {
					t.Errorf("the answer is not what wire encodes to: %s", want)
				}
			})
		}
	}
}

// TestPlainCurl sends what `curl -d` sends when it is told no media type.
func TestPlainCurl(t *testing.T) {
	f := newFixture(t)
	for _, mediaType := range []string{"", "application/x-www-form-urlencoded", "application/json; charset=UTF-8"} {
		a := f.do(t, "POST", encryptPath, `{"plaintext":"aGVsbG8=","context":"user-pii"}`, func(r *http.Request) {
			r.Header.Del("Content-Type")
			if mediaType != "" {
				r.Header.Set("Content-Type", mediaType)
			}
		})
		if a.StatusCode != http.StatusOK {
			t.Errorf("media type %q: %s", mediaType, a.body)
		}
	}
}

func TestContextsAndRotate(t *testing.T) {
	f := newFixture(t)
	token, hash := auth.NewSessionToken()
	f.engine.sessions[hash] = &policy.Subject{Kind: policy.KindUser, ID: "user-1", Expires: farFuture}
	asUser := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }

	a := f.do(t, "GET", "/api/v1/contexts", "", asUser)
	const want = `{"contexts":[{"name":"user-pii","description":"people","algorithm":"AES-256-GCM","format":4,` +
		`"derivation":"salted","status":"active","key_id":"key_user-pii_0123456789abcdef","version":3,` +
		`"created_at":"2026-01-01T00:00:00Z","algorithm_policy":{"enforcement":"enforce","allowed_algorithms":[],` +
		`"minimum_bits":0,"require_quantum_safe":false},"rotation_days":0,"rotate_after":0,"self_service":false,` +
		`"consistency":"lease","revision":0}]}`
	if string(a.body) != want {
		t.Errorf("contexts: %s", a.body)
	}
	for _, body := range []string{"", "{}"} {
		a = f.do(t, "POST", "/api/v1/contexts/user-pii/rotate", body, asUser)
		var r wire.RotateResponse
		if err := json.Unmarshal(a.body, &r); err != nil {
			t.Fatal(err)
		}
		if r != (wire.RotateResponse{Context: "user-pii", KeyID: "key_user-pii_fedcba9876543210", Version: 4, Previous: keyID}) {
			t.Errorf("rotate with body %q: %s", body, a.body)
		}
	}
	if c := f.engine.calls[0]; c.Subject.ID != "user-1" || c.Source != "127.0.0.1" || c.Start.IsZero() {
		t.Errorf("the engine saw %+v", c)
	}
}

func TestRefresh(t *testing.T) {
	f := newFixture(t)
	first, _, err := f.issuer.StartRefresh(t.Context(), &engine.Call{}, f.engine.app)
	if err != nil {
		t.Fatal(err)
	}
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }
	a := f.do(t, "POST", refreshPath, `{"refresh_token":"`+first+`"}`, anonymous)
	var got wire.RefreshResponse
	if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", a.Status, a.body)
	}
	a = f.do(t, "POST", encryptPath, `{"plaintext":"","context":"user-pii"}`, func(r *http.Request) {
		r.Header.Set("Authorization", "bearer "+got.AccessToken)
	})
	if a.StatusCode != http.StatusOK {
		t.Errorf("the new access token: %s", a.body)
	}
	a = f.do(t, "POST", refreshPath, `{"refresh_token":"`+first+`"}`, anonymous)
	if a.StatusCode != http.StatusUnauthorized {
		t.Errorf("the used refresh token: %s", a.Status)
	}
	a = f.do(t, "POST", refreshPath, `{"refresh_token":"`+got.RefreshToken+`"}`, anonymous)
	if a.StatusCode != http.StatusUnauthorized {
		t.Errorf("the newest token of a revoked family: %s", a.Status)
	}
}

func TestHealth(t *testing.T) {
	var notReady error
	state := wire.State{State: "degraded", Version: "1.0.0", Node: "node-1", Cluster: "c", Reasons: []wire.Reason{
		{Code: "hsm-unavailable", Detail: "the token does not answer", NextStep: "check the HSM"},
	}}
	f := newFixture(t, func(c *api.Config) {
		c.Ready = func() error { return notReady }
		c.State = func() wire.State { return state }
	})
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }
	get := func(path string) answer { return f.do(t, "GET", path, "", anonymous) }
	if a := get("/health/live"); string(a.body) != `{"status":"ok"}` {
		t.Errorf("live: %s", a.body)
	}
	if a := get("/health/ready"); a.StatusCode != http.StatusOK || string(a.body) != `{"status":"ok"}` {
		t.Errorf("ready: %s %s", a.Status, a.body)
	}
	notReady = errors.New("sealed")
	if a := get("/health/ready"); a.StatusCode != http.StatusServiceUnavailable || string(a.body) != `{"status":"unavailable"}` {
		t.Errorf("not ready: %s %s", a.Status, a.body)
	}
	notReady = fault.New(fault.StaleReplica, "test", "the others are away")
	want := `{"status":"unavailable","reason":"the others are away"}`
	if a := get("/health/ready"); a.StatusCode != http.StatusServiceUnavailable || string(a.body) != want {
		t.Errorf("not ready for a reason: %s %s", a.Status, a.body)
	}
	var got wire.State
	if a := get("/health/state"); json.Unmarshal(a.body, &got) != nil || !reflect.DeepEqual(got, state) {
		t.Errorf("state: %s", a.body)
	}
	if a := get("/openapi.yaml"); !bytes.Equal(a.body, api.OpenAPI()) || a.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("openapi.yaml: %d bytes of %s", len(a.body), a.Header.Get("Content-Type"))
	}
	if n := len(f.engine.refusals) + f.engine.reached(); n != 0 {
		t.Errorf("%d audit records for health probes", n)
	}
}

func TestHeaders(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/health/live", "/openapi.yaml", "/api/v1/contexts", "/nothing"} {
		a := f.do(t, "GET", path, "")
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, a.Header)
		}
		if a.ContentLength != int64(len(a.body)) {
			t.Errorf("%s: Content-Length %d for %d bytes", path, a.ContentLength, len(a.body))
		}
	}
	a := f.do(t, "GET", "/api/v1/contexts", "")
	want := fmt.Sprintf("node-1/%d/%s", f.engine.sequence, strings.Repeat("0", 64))
	if got := a.Header.Get("Audit-Receipt"); got != want {
		t.Errorf("Audit-Receipt is %q, want %q", got, want)
	}
}

func TestRequestID(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		given []string
		kept  bool
	}{
		"good":           {[]string{"a.B_9-z"}, true},
		"longest":        {[]string{strings.Repeat("a", 64)}, true},
		"absent":         {nil, false},
		"empty":          {[]string{""}, false},
		"too long":       {[]string{strings.Repeat("a", 65)}, false},
		"quote":          {[]string{`a"b`}, false},
		"space":          {[]string{"a b"}, false},
		"letters beyond": {[]string{"é"}, false},
		"two":            {[]string{"a", "b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do(t, "POST", encryptPath, `{}`, func(r *http.Request) { r.Header["X-Request-Id"] = c.given })
			id := a.Header.Get("X-Request-ID")
			if kept := c.given != nil && id == c.given[0]; kept != c.kept {
				t.Errorf("the id is %q", id)
			}
			if p := a.problem(t); p.RequestID != id || p.Instance != "urn:cryptoserve:request:"+id {
				t.Errorf("the problem names %q and %q", p.RequestID, p.Instance)
			}
			if r := f.engine.lastRefusal(t); r.id != id || r.source != "127.0.0.1" {
				t.Errorf("the audit record names %q from %q", r.id, r.source)
			}
		})
	}
	first, second := f.do(t, "GET", "/health/live", ""), f.do(t, "GET", "/health/live", "")
	if first.Header.Get("X-Request-ID") == second.Header.Get("X-Request-ID") {
		t.Error("two requests have one id")
	}
}

// TestSourceIsThePeer makes sure that no header moves the blame.
func TestSourceIsThePeer(t *testing.T) {
	f := newFixture(t)
	f.do(t, "POST", encryptPath, `{"plaintext":"","context":"user-pii"}`, func(r *http.Request) {
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		r.Header.Set("Forwarded", "for=203.0.113.9")
		r.Header.Set("X-Real-IP", "203.0.113.9")
	})
	if got := f.engine.calls[0].Source; got != "127.0.0.1" {
		t.Errorf("the source is %q", got)
	}
}

// TestOutageDoesNotFloodTheLog sends many requests while the token is away: the log tells it, in a few lines.
func TestOutageDoesNotFloodTheLog(t *testing.T) {
	f := newFixture(t)
	f.engine.failure = fault.New(fault.HSMUnavailable, "test", "the token is away")
	start := time.Now()
	for range 50 {
		a := f.do(t, "POST", encryptPath, `{"plaintext":"","context":"user-pii"}`)
		if a.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s: %s", a.Status, a.body)
		}
	}
	lines := strings.Count(f.log.String(), "request refused")
	if most := 10 + 1 + int(time.Since(start)/time.Second); lines < 1 || lines > most {
		t.Errorf("%d lines for 50 refusals, want 1 to %d", lines, most)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	f := newFixture(t)
	for name, v := range map[string]any{"value": "s3cret plaintext", "runtime error": nil} {
		t.Run(name, func(t *testing.T) {
			f.engine.before = func(c *engine.Call) {
				c.Receipt.Sequence = 0
				if v != nil {
					panic(v)
				}
				_ = []byte(c.RequestID)[1<<20] // out of range: the panic is the point
			}
			a := f.do(t, "POST", encryptPath, `{"plaintext":"`+b64("s3cret")+`","context":"user-pii"}`)
			p := a.problem(t)
			if a.StatusCode != http.StatusInternalServerError || p.Code != "internal" {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			if r := f.engine.lastRefusal(t); r.action != policy.Encrypt || r.code != "internal" || r.subject != appID {
				t.Errorf("recorded %+v", r)
			}
			log := f.log.String()
			if !strings.Contains(log, p.RequestID) || !strings.Contains(log, "standin_test.go") {
				t.Errorf("the log names no request id or no stack: %s", log)
			}
			if strings.Contains(log, "s3cret") || strings.Contains(log, b64("s3cret")) {
				t.Errorf("the log holds payload: %s", log)
			}
			f.engine.before = nil
			if a := f.do(t, "POST", encryptPath, `{"plaintext":"","context":"user-pii"}`); a.StatusCode != http.StatusOK {
				t.Errorf("the next request: %s", a.Status)
			}
		})
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	good := func() api.Config {
		f := newStandIn(t)
		verifier, err := auth.NewVerifier(auth.VerifierConfig{Directory: f})
		if err != nil {
			t.Fatal(err)
		}
		issuer, err := auth.NewIssuer(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		return api.Config{
			Engine: f, Auth: verifier, Tokens: issuer, Log: discard, TLS: api.TLSConfig(false, false, nil),
			State: func() wire.State { return wire.State{} }, Ready: func() error { return nil },
		}
	}
	if _, err := api.New(good()); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*api.Config){
		"no engine":        func(c *api.Config) { c.Engine = nil },
		"no auth":          func(c *api.Config) { c.Auth = nil },
		"no tokens":        func(c *api.Config) { c.Tokens = nil },
		"no state":         func(c *api.Config) { c.State = nil },
		"no ready":         func(c *api.Config) { c.Ready = nil },
		"no log":           func(c *api.Config) { c.Log = nil },
		"no TLS":           func(c *api.Config) { c.TLS = nil },
		"any TLS":          func(c *api.Config) { c.TLS.MinVersion = 0 },
		"negative size":    func(c *api.Config) { c.Limits.BodyBytes = -1 },
		"no streams":       func(c *api.Config) { c.Limits.Streams = -1 },
		"no connections":   func(c *api.Config) { c.Limits.Connections = -1 },
		"a body above all": func(c *api.Config) { c.Limits.AllBodiesBytes = c.Limits.CryptoBodyBytes + 16<<20 - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			edit(&c)
			if _, err := api.New(c); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestEachKindIsAnswered(t *testing.T) {
	f := newFixture(t)
	want := map[fault.Kind]int{
		fault.Malformed: 400, fault.Unauthenticated: 401, fault.Forbidden: 403, fault.NotFound: 404, fault.Conflict: 409,
		fault.KeyState: 409, fault.AlgorithmDisallowed: 403, fault.AlgorithmNotApproved: 403, fault.DecryptFailed: 400,
		fault.ContextMismatch: 400, fault.TooLarge: 413, fault.RateLimited: 429, fault.NotLeader: 503, fault.HSMUnavailable: 503,
		fault.AuditUnavailable: 503, fault.LedgerUnavailable: 503, fault.Unavailable: 503, fault.Internal: 500,
		fault.StaleReplica: 503,
	}
	encrypt, ok := loadDocument(t).Find("POST", encryptPath)
	if !ok {
		t.Fatal("encrypt is not in the document")
	}
	hidden := map[fault.Kind]bool{fault.Unauthenticated: true, fault.DecryptFailed: true, fault.Internal: true}
	for _, kind := range fault.Kinds() {
		t.Run(kind.Code(), func(t *testing.T) {
			f.engine.failure = fmt.Errorf("outer: %w", fault.Wrap(kind, "op", "the detail", errors.New("the cause")))
			client := f.client
			if !slices.Contains(encrypt.Statuses, want[kind]) {
				client = f.plainClient(t) // encrypt never answers so
			}
			a := send(t, client, f.request(t, "POST", encryptPath, `{"plaintext":"","context":"user-pii"}`))
			if want[kind] == 0 || a.StatusCode != want[kind] {
				t.Fatalf("status %d, want %d", a.StatusCode, want[kind])
			}
			p := a.problem(t)
			if p.Code != kind.Code() || p.Type != "urn:cryptoserve:problem:"+kind.Code() || p.Title == "" {
				t.Errorf("the problem is %s", a.body)
			}
			if p.Retryable != kind.Retryable() || p.State != "operational" {
				t.Errorf("retryable %v in state %q", p.Retryable, p.State)
			}
			if (p.Detail == "the detail") == hidden[kind] || p.Detail == "" {
				t.Errorf("the detail is %q", p.Detail)
			}
			if bytes.Contains(a.body, []byte("cause")) {
				t.Errorf("the cause left the node: %s", a.body)
			}
			wantRetry := a.StatusCode == 429 || a.StatusCode == 503
			if got := a.Header.Get("Retry-After") != ""; got != wantRetry {
				t.Errorf("Retry-After present: %v", got)
			}
			logged := strings.Contains(f.log.String(), p.RequestID)
			if logged != (a.StatusCode >= 500) {
				t.Errorf("logged: %v", logged)
			}
			if n := len(f.engine.refusals); n != 0 {
				t.Errorf("%d records beside the use case's own", n)
			}
		})
	}
	for name, err := range map[string]error{"no kind": errors.New("secret cause"), "unknown kind": &fault.Error{Detail: "secret"}} {
		t.Run(name, func(t *testing.T) {
			f.engine.failure = err
			a := f.do(t, "POST", encryptPath, `{"plaintext":"","context":"user-pii"}`)
			if a.StatusCode != 500 || bytes.Contains(a.body, []byte("secret")) {
				t.Errorf("%s: %s", a.Status, a.body)
			}
		})
	}
}

// TestDecryptFailuresLookAlike compares whole bodies: only the request id may differ (invariant 9).
func TestDecryptFailuresLookAlike(t *testing.T) {
	f := newFixture(t)
	fixed := func(r *http.Request) { r.Header.Set("X-Request-ID", "same") }
	var first []byte
	for _, e := range []*fault.Error{
		fault.New(fault.DecryptFailed, "a", "wrong tag"),
		fault.Wrap(fault.DecryptFailed, "b", "no such key", errors.New("cause")),
		{Kind: fault.DecryptFailed, Op: "c", Fields: []fault.Field{{Name: "ciphertext", Detail: "short"}}},
	} {
		f.engine.failure = e
		a := f.do(t, "POST", decryptPath, `{"ciphertext":"AAAA","context":"user-pii"}`, fixed)
		if first == nil {
			first = a.body
		}
		if !bytes.Equal(a.body, first) {
			t.Errorf("%s differs from %s", a.body, first)
		}
	}
}

// TestFenceHeader: a change tells how long it waited until no node honoured what it took away, and nothing else does.
func TestFenceHeader(t *testing.T) {
	f := newFixture(t)
	took := time.Duration(0)
	f.engine.before = func(c *engine.Call) { c.Fenced = took }
	disable := func() answer { return f.do(t, "POST", "/api/v1/contexts/user-pii/disable", "") }
	for want, d := range map[string]time.Duration{"": 0, "2431": 2431 * time.Microsecond, "1": time.Nanosecond} {
		took = d
		if a := disable(); a.StatusCode != http.StatusOK || a.Header.Get("Fence-Microseconds") != want {
			t.Errorf("%v: %s, %q", d, a.Status, a.Header.Get("Fence-Microseconds"))
		}
	}
	f.engine.failure = fault.New(fault.LedgerUnavailable, "test", "who knows")
	took = time.Second
	if a := disable(); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Fence-Microseconds") != "" {
		t.Errorf("a change that failed: %s, %q", a.Status, a.Header.Get("Fence-Microseconds"))
	}
}
