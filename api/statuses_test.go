package api_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cryptoserve/api"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
)

// operation is how to get each status of an operation of the document but that of success, which the request gets as it
// stands.
type operation struct {
	method, path, body string
	success            int // 0 means 200
	// server are the statuses that the server itself gives, and what it takes for each.
	server map[int]func(*http.Request)
	// engine are the statuses that the use case gives, and the kind of error that it returns for each.
	engine map[int]fault.Kind
}

// What the use cases of the engine can fail with, by status.
var (
	reading    = map[int]fault.Kind{403: fault.Forbidden, 500: fault.Internal, 503: fault.AuditUnavailable}
	computing  = map[int]fault.Kind{403: fault.AlgorithmNotApproved, 500: fault.Internal, 503: fault.Unavailable}
	protecting = map[int]fault.Kind{403: fault.AlgorithmDisallowed, 409: fault.KeyState, 500: fault.Internal, 503: fault.HSMUnavailable}
	processing = map[int]fault.Kind{403: fault.Forbidden, 500: fault.Internal, 503: fault.HSMUnavailable}
	finding    = map[int]fault.Kind{403: fault.Forbidden, 404: fault.NotFound, 500: fault.Internal, 503: fault.AuditUnavailable}
	changing   = map[int]fault.Kind{403: fault.Forbidden, 409: fault.Conflict, 500: fault.Internal, 503: fault.NotLeader}
	// With a key object that may not exist, or a version of it.
	changingOne = map[int]fault.Kind{
		403: fault.Forbidden, 404: fault.NotFound, 409: fault.Conflict, 500: fault.Internal, 503: fault.LedgerUnavailable,
	}
	processingOne = map[int]fault.Kind{
		403: fault.Forbidden, 404: fault.NotFound, 409: fault.KeyState, 500: fault.Internal, 503: fault.HSMUnavailable,
	}
	making = map[int]fault.Kind{403: fault.Forbidden, 500: fault.Internal, 503: fault.HSMUnavailable}
)

// failures says which of them an operation has.
var failures = map[string]map[int]fault.Kind{
	"rewrap": protecting, "encryptBatch": protecting, "decryptBatch": processing, "rewrapBatch": protecting, "dataKey": protecting,
	"dataKeyWrapped": protecting, "sign": protecting, "verify": processingOne, "mac": protecting, "verifyMAC": processingOne,
	"encapsulate": protecting, "decapsulate": processingOne, "agree": processingOne, "keyEncrypt": protecting,
	"keyDecrypt": processingOne, "hash": computing, "deriveKey": computing, "random": computing, "hashPassword": computing,
	"verifyPassword": computing, "algorithms": reading, "fips": reading, "createContext": changing, "listKeys": reading,
	"createKey": changingOne, "readKey": finding, "publicKey": finding, "rotateKey": changingOne, "disableKey": changingOne,
	"enableKey": changingOne, "createImport": making, "importKey": changingOne, "importLegacy": changingOne,
}

// otherwise are the statuses of operations that tests of their own look at.
var otherwise = map[string][]int{
	"changeSettings": {200}, // TestSettingsWithoutApproval
}

// TestEachStatusOfTheDocumentIsAnswered gets every status that the document lists from its operation, and so nothing can
// stand in the document that no request is answered with.
func TestEachStatusOfTheDocumentIsAnswered(t *testing.T) {
	const longest = 64 << 10
	var notReady error
	var stateFails, readyFails bool // once, with a panic
	fails := func(now *bool) {
		if *now {
			*now = false
			panic("test")
		}
	}
	f := newFixture(t, func(c *api.Config) {
		c.Limits.CryptoBodyBytes, c.Limits.ImportBodyBytes = longest, longest
		c.Ready = func() error {
			fails(&readyFails)
			return notReady
		}
		c.State = func() wire.State {
			fails(&stateFails)
			return wire.State{State: "operational", Node: "node-1"}
		}
	})
	encrypted := f.do(t, "POST", encryptPath, goodEncrypt)
	var frame wire.EncryptResponse
	if err := json.Unmarshal(encrypted.body, &frame); err != nil {
		t.Fatal(err)
	}
	decryptBody, err := json.Marshal(wire.DecryptRequest{Ciphertext: frame.Ciphertext, Context: "user-pii"})
	if err != nil {
		t.Fatal(err)
	}
	refreshToken, _, err := f.issuer.StartRefresh(t.Context(), &engine.Call{}, f.engine.app)
	if err != nil {
		t.Fatal(err)
	}

	query := func(r *http.Request) { r.URL.RawQuery = "a=b" }
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }
	long := func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(" ", longest+1))), longest+1
	}
	text := func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	part := func(value string, announced int64) func(*http.Request) {
		return func(r *http.Request) {
			r.URL.RawQuery = "context=user-pii"
			r.Header.Set("Content-Type", "application/octet-stream")
			r.Header.Set("Range", value)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("!abcdef")), announced
		}
	}
	operations := map[string]operation{
		"encrypt": {
			"POST", encryptPath, goodEncrypt,
			0, map[int]func(*http.Request){400: query, 401: anonymous, 413: long, 415: text}, protecting,
		},
		"decrypt": {
			"POST", decryptPath, string(decryptBody),
			0, map[int]func(*http.Request){
				206: part("bytes=1-2", 7), 400: query, 401: anonymous, 411: part("bytes=1-2", -1), 413: long, 415: text,
				416: part("bytes=6-", 7),
			}, processing,
		},
		"refresh": {
			"POST", refreshPath, `{"refresh_token":"` + refreshToken + `"}`,
			0, map[int]func(*http.Request){400: query, 413: long, 415: text},
			// Conflict: the application signs its own tokens.
			map[int]fault.Kind{401: fault.Unauthenticated, 409: fault.Conflict, 429: fault.RateLimited, 500: fault.Internal, 503: fault.LedgerUnavailable},
		},
		"listContexts": {
			"GET", "/api/v1/contexts", "",
			0, map[int]func(*http.Request){400: query, 401: anonymous}, reading,
		},
		"rotateContext": {
			"POST", "/api/v1/contexts/user-pii/rotate", "{}",
			0, map[int]func(*http.Request){400: query, 401: anonymous, 413: long, 415: text}, changingOne,
		},
		"live": {method: "GET", path: "/health/live"},
		"ready": {method: "GET", path: "/health/ready", server: map[int]func(*http.Request){
			500: func(*http.Request) { readyFails = true },
			503: func(*http.Request) { notReady = errors.New("sealed") },
		}},
		"state": {method: "GET", path: "/health/state", server: map[int]func(*http.Request){
			500: func(*http.Request) { stateFails = true },
		}},
		"openapi":      {method: "GET", path: "/openapi.yaml"},
		"encryptBatch": {method: "POST", path: "/api/v1/crypto/batch/encrypt", body: `{"context":"a","items":[{"plaintext":"AA=="}]}`},
		"decryptBatch": {method: "POST", path: "/api/v1/crypto/batch/decrypt", body: `{"context":"a","items":[{"ciphertext":"AA=="}]}`},
		"rewrapBatch":  {method: "POST", path: "/api/v1/crypto/batch/rewrap", body: `{"context":"a","items":[{"ciphertext":"AA=="}]}`},
	}
	operations["readBackup"] = operation{method: "GET", path: backupsPath + "/" + backupID}
	operations["registerApplication"] = operation{method: "POST", path: registerPath, body: `{"app_name":"shop"}`}
	for id, c := range inviting {
		operations[id] = operation{method: c.method, path: c.path, body: c.text(t), success: c.status}
	}
	maps.Copy(operations, accountOperations())
	failures := maps.Clone(failures)
	for _, area := range areas {
		_, of := area(f)
		maps.Copy(failures, of)
	}
	for id, c := range useCases(f) {
		operations[id] = operation{method: c.method, path: c.path, body: c.text(t), success: c.status}
	}
	crowded := func(*http.Request) { f.engine.crowd(true) }
	takesBody, forAnybody := map[string]bool{}, map[string]bool{}
	for _, op := range loadDocument(t).Operations() {
		takesBody[op.ID], forAnybody[op.ID] = op.HasBody, op.Anonymous
	}
	for id, kinds := range failures {
		o := operations[id]
		o.engine, o.server = kinds, map[int]func(*http.Request){400: query}
		if !forAnybody[id] {
			o.server[401] = anonymous
		}
		if id == "finishSignIn" {
			o.server[400] = func(r *http.Request) { r.URL.RawQuery = "%zz" }
		}
		if takesBody[id] {
			o.server[413], o.server[415] = long, text
		}
		switch id {
		case "destroyVersion":
			o.server[http.StatusAccepted] = askedFor
		case "deleteTenant":
			o.server[http.StatusAccepted] = func(*http.Request) { f.engine.approval = true }
		}
		operations[id] = o
	}
	for _, op := range loadDocument(t).Operations() {
		o := operations[op.ID]
		if o.method != op.Method || !strings.HasPrefix(o.path, strings.SplitN(op.Path, "{", 2)[0]) {
			t.Fatalf("%s: the test has no request", op.ID)
		}
		success := max(o.success, http.StatusOK)
		want := append([]int{success}, otherwise[op.ID]...)
		if _, limited := o.engine[429]; o.server[401] != nil && !limited { // what needs a subject
			o.server = maps.Clone(o.server)
			o.server[429] = crowded
		}
		get := func(status int, edit func(*http.Request)) {
			f.engine.approval = false
			r := f.request(t, o.method, o.path, o.body, edit)
			if a := send(t, f.client, r); a.StatusCode != status {
				t.Errorf("%s: %s, want %d: %s", op.ID, a.Status, status, a.body)
			}
		}
		get(success, func(*http.Request) {})
		for status, edit := range o.server {
			want = append(want, status)
			notReady = nil
			get(status, edit)
			f.engine.crowd(false)
		}
		for status, kind := range o.engine {
			want = append(want, status)
			fresh, _, err := f.issuer.StartRefresh(t.Context(), &engine.Call{}, f.engine.app)
			if err != nil {
				t.Fatal(err)
			}
			if op.ID == "refresh" {
				o.body = `{"refresh_token":"` + fresh + `"}`
			}
			f.engine.failure = fault.New(kind, "test", "the detail")
			get(status, func(*http.Request) {})
			f.engine.failure = nil
		}
		if slices.Sort(want); !slices.Equal(op.Statuses, want) {
			t.Errorf("%s: the document lists %v, the operation gives %v", op.ID, op.Statuses, want)
		}
	}
}
