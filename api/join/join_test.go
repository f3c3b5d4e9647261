package join

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// cluster stands in for the engine: it keeps one request, checks each signature, and answers as a test says.
type cluster struct {
	mu       sync.Mutex
	got      any
	answer   *engine.JoinAnswer
	failure  error
	sources  []string
	refusals []string
}

func (c *cluster) seen(call *engine.Call, got any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.Receipt = audit.Receipt{Node: "node_1", Sequence: 7}
	c.got, c.sources = got, append(c.sources, call.Source)
	return c.failure
}

func (c *cluster) RequestJoin(_ context.Context, call *engine.Call, in *engine.JoinRequest) (*directory.Join, error) {
	if err := c.seen(call, *in); err != nil {
		return nil, err
	}
	key, err := directory.ParseNodeKey(in.Join.NodeKey)
	digest := in.Join.RequestDigest()
	if err != nil || !ecdsa.VerifyASN1(key, digest[:], in.Signature) {
		return nil, fault.New(fault.Forbidden, "test", "the signature is wrong")
	}
	made := in.Join
	made.ID = "join_1"
	return &made, nil
}

func (c *cluster) JoinStatus(_ context.Context, call *engine.Call, id string, hash [32]byte) (*engine.JoinAnswer, error) {
	return c.answer, c.seen(call, []any{id, hash})
}

func (c *cluster) CompleteJoin(_ context.Context, call *engine.Call, in *engine.JoinProof) error {
	return c.seen(call, *in)
}

func (c *cluster) Refuse(_ context.Context, _ *engine.Call, action policy.Action, _ string, refusal error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals = append(c.refusals, string(action)+" "+fault.Of(refusal).Code())
	return refusal
}

// serve starts a handler over TLS and returns its address and a client that trusts it.
func serve(t *testing.T, c *cluster) (*httptest.Server, *Client) {
	t.Helper()
	var log bytes.Buffer
	server := httptest.NewTLSServer(Handler(c, slog.New(slog.NewTextHandler(&log, nil))))
	t.Cleanup(func() {
		server.Close()
		if strings.Contains(log.String(), secretText) {
			t.Error("the secret stands in the log")
		}
	})
	return server, &Client{HTTP: server.Client(), Addresses: []string{strings.TrimPrefix(server.URL, "https://")}}
}

func secretOf() Secret { return Secret(bytes.Repeat([]byte{7}, 32)) }

// secretText is the secret as it travels.
const secretText = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="

func nodeKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func check() directory.KeyCheckValues {
	return directory.KeyCheckValues{Master: []byte("11111111"), WrapPrivate: []byte("22222222"), WrapSecret: []byte("33333333")}
}

// TestRequest: all that the node says arrives, and it is signed.
func TestRequest(t *testing.T) {
	c := &cluster{}
	_, client := serve(t, c)
	key, public := nodeKey(t)
	r := Request{
		Secret: secretOf(), Node: "node_2", Name: "host", Address: "h:8444", API: "h:8443", Method: directory.JoinWrap, NodeKey: public,
		JoinKey: []byte("join key"), OAEP: "SHA-256", Check: check(), CommandVersion: 3, Program: "1.0",
	}
	if err := r.Sign(key); err != nil {
		t.Fatal(err)
	}
	got, err := client.Request(t.Context(), r)
	want := directory.Join{
		Hash: secretOf().Hash(), Node: "node_2", Name: "host", Address: "h:8444", API: "h:8443", Method: directory.JoinWrap, NodeKey: public,
		JoinKey: []byte("join key"), OAEP: "SHA-256", Check: check(), CommandVersion: 3, Program: "1.0",
	}
	if err != nil || got.ID != "join_1" || got.Fingerprint != directory.FormatFingerprint(want.Fingerprint()) {
		t.Fatalf("%+v, %v", got, err)
	}
	if in := c.got.(engine.JoinRequest); !reflect.DeepEqual(in.Join, want) || c.sources[0] != "127.0.0.1" {
		t.Errorf("the cluster was asked %+v by %q", in.Join, c.sources)
	}
	r.Name = "another"
	if _, err := client.Request(t.Context(), r); fault.Of(err) != fault.Forbidden || !strings.Contains(err.Error(), "the signature is wrong") {
		t.Errorf("changed behind the signature: %v", err)
	}
	// A method without keys to wrap leaves all of that out.
	r.Method, r.JoinKey, r.OAEP, r.API = directory.JoinShared, nil, "", ""
	if err := r.Sign(key); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Request(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	c := &cluster{}
	_, client := serve(t, c)
	ask := func(state directory.JoinState, more ...func(*engine.JoinAnswer)) (Status, error) {
		c.answer = &engine.JoinAnswer{Join: &directory.Join{State: state}}
		for _, f := range more {
			f(c.answer)
		}
		return client.Status(t.Context(), "join_1", secretOf())
	}
	for _, state := range []directory.JoinState{directory.JoinWaiting, directory.JoinDenied} {
		if got, err := ask(state); err != nil || got.State != state || got.Approved != nil {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if !reflect.DeepEqual(c.got, []any{"join_1", secretOf().Hash()}) {
		t.Errorf("the cluster was asked %v", c.got)
	}
	approved := func(a *engine.JoinAnswer) {
		a.Cluster = &directory.Cluster{ID: "cluster_1", CACertificate: []byte("certificate"), CAKey: []byte("wrapped"), CommandVersion: 4}
		a.Check = check()
		a.Members = []*directory.Member{{ID: "node_1", Address: "h:8444", Key: [32]byte{5}}}
	}
	want := Status{State: directory.JoinDone, Approved: &Approved{
		ClusterID: "cluster_1", CACertificate: []byte("certificate"), CAKey: []byte("wrapped"), Check: check(),
		Members: []Member{{ID: "node_1", Address: "h:8444", Key: [32]byte{5}}}, CommandVersion: 4,
	}}
	if got, err := ask(directory.JoinDone, approved); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	transfer := &directory.KeyTransfer{Master: []byte("m"), WrapPrivate: []byte("p"), WrapSecret: []byte("s"), Check: check()}
	want.State, want.Approved.Transfer = directory.JoinApproved, transfer
	got, err := ask(directory.JoinApproved, approved, func(a *engine.JoinAnswer) { a.Join.Transfer = transfer })
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	// A cluster that says what it cannot mean is not believed.
	for name, wrong := range map[string]func(*engine.JoinAnswer){
		"waiting, with keys":     func(a *engine.JoinAnswer) { approved(a); a.Join.State = directory.JoinWaiting },
		"approved, without":      func(a *engine.JoinAnswer) { a.Join.State = directory.JoinApproved },
		"no state":               func(a *engine.JoinAnswer) { a.Join.State = directory.JoinUnknown },
		"a member without an id": func(a *engine.JoinAnswer) { approved(a); a.Members[0].ID = "" },
		"a member nowhere":       func(a *engine.JoinAnswer) { approved(a); a.Members[0].Address = "h" },
	} {
		if got, err := ask(directory.JoinApproved, wrong); !errors.Is(err, errAnswer) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestComplete(t *testing.T) {
	c := &cluster{}
	_, client := serve(t, c)
	key, _ := nodeKey(t)
	if err := client.Complete(t.Context(), "join_1", secretOf(), check(), key); err != nil {
		t.Fatal(err)
	}
	in := c.got.(engine.JoinProof)
	values := check()
	digest := directory.JoinCompleteDigest("join_1", &values)
	if in.ID != "join_1" || in.Hash != secretOf().Hash() || !reflect.DeepEqual(in.Check, check()) || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], in.Signature) {
		t.Errorf("%+v", in)
	}
}

// TestErrors: the new node learns the kind of each failure, and in the same words what is wrong with a code.
func TestErrors(t *testing.T) {
	c := &cluster{}
	_, client := serve(t, c)
	for _, kind := range fault.Kinds() {
		c.failure = &fault.Error{Kind: kind, Op: "test", Detail: "detail", RetryAfter: 1500 * time.Millisecond}
		_, err := client.Status(t.Context(), "join_1", secretOf())
		wait := fault.RetryAfterOf(err)
		if fault.Of(err) != kind || wait != 2*time.Second {
			t.Errorf("%s: %v, wait %s", kind.Code(), err, wait)
		}
		if kind == fault.Unauthenticated && !strings.Contains(err.Error(), "the invitation code is unknown, used or over") {
			t.Errorf("%v", err)
		}
	}
	c.failure = &fault.Error{Kind: fault.Malformed, Op: "test", Detail: "a field", Fields: []fault.Field{{Name: "node_key", Detail: "is none"}}}
	if _, err := client.Request(t.Context(), Request{}); !strings.Contains(fmt.Sprint(err), "a field; node_key: is none") {
		t.Error(err)
	}
	c.failure = errors.New("something inside")
	if _, err := client.Status(t.Context(), "join_1", secretOf()); fault.Of(err) != fault.Internal || strings.Contains(err.Error(), "something inside") {
		t.Errorf("%v", err)
	}
}

// TestClientGoesOn to the next node when one does not answer or cannot, and not when one has decided.
func TestClientGoesOn(t *testing.T) {
	good := &cluster{answer: &engine.JoinAnswer{Join: &directory.Join{State: directory.JoinWaiting}}}
	server, client := serve(t, good)
	address := client.Addresses[0]
	sick := &cluster{failure: fault.New(fault.LedgerUnavailable, "test", "no leader")}
	other := httptest.NewUnstartedServer(Handler(sick, nil))
	other.TLS = server.TLS.Clone()
	other.StartTLS()
	defer other.Close()
	second := strings.TrimPrefix(other.URL, "https://")
	for name, list := range map[string][]string{
		"dead, good": {"127.0.0.1:1", address}, "sick, good": {second, address}, "good, dead": {address, "127.0.0.1:1"},
	} {
		client.Addresses = list
		if got, err := client.Status(t.Context(), "join_1", secretOf()); err != nil || got.State != directory.JoinWaiting {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	client.Addresses = []string{"127.0.0.1:1", second}
	if _, err := client.Status(t.Context(), "join_1", secretOf()); !fault.Of(err).Retryable() || !strings.Contains(err.Error(), "no leader") {
		t.Errorf("%v", err)
	}
	sick.failure = fault.New(fault.Unauthenticated, "test", "no")
	client.Addresses = []string{second, address}
	if _, err := client.Status(t.Context(), "join_1", secretOf()); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("%v", err)
	}
	client.Addresses = nil
	if _, err := client.Status(t.Context(), "join_1", secretOf()); fault.Of(err) != fault.Malformed {
		t.Errorf("%v", err)
	}
	client.Addresses = []string{"no address"}
	if _, err := client.Status(t.Context(), "join_1", secretOf()); err == nil {
		t.Error("no error")
	}
}

// TestStrangeAnswers: what is no answer of a cluster is none, and the secret follows no redirect.
func TestStrangeAnswers(t *testing.T) {
	var status int
	var header, body string
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		name, value, _ := strings.Cut(header, ": ")
		w.Header().Set(name, value)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	client := &Client{HTTP: server.Client(), Addresses: []string{strings.TrimPrefix(server.URL, "https://")}}
	const jsonType, problemType = "Content-Type: application/json", "Content-Type: application/problem+json"
	for name, answer := range map[string]struct {
		status       int
		header, body string
	}{
		"a page":          {200, "Content-Type: text/html", "<html>"},
		"no JSON":         {200, jsonType, "{"},
		"too long":        {200, jsonType, `{"state":"` + strings.Repeat("a", maxAnswer) + `"}`},
		"a redirect":      {307, "Location: " + server.URL + "/elsewhere", ""},
		"half a problem":  {400, problemType, "{"},
		"created":         {201, jsonType, `{"state":"waiting"}`},
		"unknown problem": {400, problemType, `{"code":"new"}`},
	} {
		status, header, body, asked = answer.status, answer.header, answer.body, 0
		if _, err := client.Status(t.Context(), "join_1", secretOf()); fault.Of(err) != fault.Internal || asked != 1 {
			t.Errorf("%s: %v, asked %d times", name, err, asked)
		}
	}
}

// TestBadRequests: the handler is strict, and says so in a problem document that quotes nothing.
func TestBadRequests(t *testing.T) {
	c := &cluster{answer: &engine.JoinAnswer{Join: &directory.Join{State: directory.JoinWaiting}}}
	server, _ := serve(t, c)
	const good = `{"id":"join_1","secret":"` + secretText + `"}`
	for name, test := range map[string]struct {
		method, path, media, body string
		status                    int
	}{
		"well":            {"POST", "/v1/status", "application/json", good, 200},
		"well, charset":   {"POST", "/v1/status", "application/json; charset=utf-8", good, 200},
		"GET":             {"GET", "/v1/status", "application/json", good, 404},
		"another path":    {"POST", "/v1/other", "application/json", good, 404},
		"the API":         {"GET", "/api/v1/cluster", "", "", 404},
		"no media type":   {"POST", "/v1/status", "", good, 400},
		"a form":          {"POST", "/v1/status", "application/x-www-form-urlencoded", good, 400},
		"a query":         {"POST", "/v1/status?a=b", "application/json", good, 400},
		"nothing":         {"POST", "/v1/status", "application/json", "", 400},
		"null":            {"POST", "/v1/request", "application/json", "[]", 400},
		"unknown member":  {"POST", "/v1/status", "application/json", good[:len(good)-1] + `,"x":1}`, 400},
		"twice":           {"POST", "/v1/status", "application/json", good[:len(good)-1] + `,"id":"x"}`, 400},
		"another case":    {"POST", "/v1/status", "application/json", strings.Replace(good, `"id"`, `"ID"`, 1), 400},
		"more behind":     {"POST", "/v1/status", "application/json", good + "{}", 400},
		"number for text": {"POST", "/v1/status", "application/json", strings.Replace(good, `"join_1"`, "1", 1), 400},
		"bad base64":      {"POST", "/v1/status", "application/json", strings.Replace(good, "BwcH", "B?cH", 1), 400},
		"huge":            {"POST", "/v1/status", "application/json", strings.Repeat(" ", maxBody+1) + good, 413},
	} {
		t.Run(name, func(t *testing.T) {
			c.mu.Lock()
			c.got, c.refusals = nil, nil
			c.mu.Unlock()
			r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", test.media)
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != test.status || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Request-Id") == "" {
				t.Fatalf("%s %v: %s", resp.Status, resp.Header, body)
			}
			if test.status == 200 {
				if c.got == nil || resp.Header.Get("Audit-Receipt") == "" {
					t.Errorf("the cluster was not asked, or there is no receipt")
				}
				return
			}
			var p wire.Problem
			if err := json.Unmarshal(body, &p); err != nil || p.Status != test.status || p.RequestID == "" || c.got != nil {
				t.Errorf("%v, %s, the cluster was asked %v", err, body, c.got)
			}
			if bytes.Contains(body, []byte("BwcHBwcH")) || bytes.Contains(body, []byte("join_1")) {
				t.Errorf("it quotes what was sent: %s", body)
			}
			if want := test.status != 404; want != (len(c.refusals) == 1) {
				t.Errorf("recorded: %v", c.refusals)
			}
		})
	}
	// A secret of another length is none, whatever its hash.
	for _, secret := range []string{"", "AA==", secretText[:40] + "BwcHBwcHBwcHBwc="} {
		body := `{"id":"join_1","secret":"` + secret + `"}`
		resp, err := server.Client().Post(server.URL+"/v1/status", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if !reflect.DeepEqual(c.got, []any{"join_1", [32]byte{}}) {
			t.Errorf("%q: the cluster was asked %v", secret, c.got)
		}
	}
}

// FuzzRequest sends bodies of any kind. The handler never panics, and answers each with JSON.
func FuzzRequest(f *testing.F) {
	c := &cluster{answer: &engine.JoinAnswer{Join: &directory.Join{State: directory.JoinWaiting}}}
	h := Handler(c, nil)
	for i := range 3 {
		f.Add(i, `{"id":"join_1","secret":"`+secretText+`"}`)
		f.Add(i, `{"node":"n","node_key":"AAAA","check":{"master":"AAAA"},"command_version":1}`)
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		path := []string{"/v1/request", "/v1/status", "/v1/complete"}[uint(i)%3]
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code >= 500 {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
