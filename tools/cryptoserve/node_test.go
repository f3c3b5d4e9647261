package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

const goodToken = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJkZW1vIn0.Z29vZA"

// node stands in for a node of the appliance in the sessions of this program. It encrypts nothing: its ciphertext is the
// request, marked and with the plaintext reversed. Sessions against a real node are part of the system tests.
type node struct {
	server *httptest.Server

	mu     sync.Mutex
	status int    // of a problem for every request; 0 is none
	code   string // of the problem
	state  string
	page   bool // answer like some other web server
}

// frame is the ciphertext of the stand-in.
type frame struct {
	Mark, Context string
	AAD, Reversed []byte
}

func newNode() *node {
	n := &node{state: "operational"}
	n.server = httptest.NewUnstartedServer(n)
	n.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	n.server.StartTLS()
	return n
}

func (n *node) close() { n.server.Close() }

func (n *node) change(args []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status, n.code, n.state, n.page = 0, "", "operational", false
	switch {
	case len(args) == 3 && args[0] == "problem":
		status, err := strconv.Atoi(args[1])
		n.status, n.code = status, args[2]
		return err
	case len(args) == 2 && args[0] == "state":
		n.state = args[1]
		return nil
	case len(args) == 1 && args[0] == "page":
		n.page = true
		return nil
	case len(args) == 1 && args[0] == "well":
		return nil
	default:
		return fmt.Errorf("node: bad arguments %q", args)
	}
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	status, code, state, page := n.status, n.code, n.state, n.page
	n.mu.Unlock()
	switch {
	case page:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>hello</html>"))
	case r.URL.Path == "/health/state" && status == 0:
		answer(w, stateStatus(state), "application/json", stateOf(state))
	case r.URL.Path != "/health/state" && r.Header.Get("Authorization") != "Bearer "+goodToken:
		refuse(w, 401, "unauthenticated")
	case status != 0:
		refuse(w, status, code)
	case r.URL.Path == "/api/v1/crypto/encrypt":
		encryptFrame(w, r)
	case r.URL.Path == "/api/v1/crypto/decrypt":
		decryptFrame(w, r)
	default:
		refuse(w, 404, "not-found")
	}
}

func stateStatus(state string) int {
	if state == "operational" || state == "degraded" {
		return 200
	}
	return 503
}

func stateOf(state string) wire.State {
	s := wire.State{State: state, Reasons: []wire.Reason{}, Version: "v9.9.9", Node: "node-1", Cluster: "cluster-1"}
	if state != "operational" {
		s.Reasons = append(s.Reasons, wire.Reason{
			Code: "hsm-unavailable", Detail: "the token does not answer", NextStep: "check the \x1b[31mtoken",
		})
	}
	return s
}

func encryptFrame(w http.ResponseWriter, r *http.Request) {
	var req wire.EncryptRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Plaintext == nil {
		refuse(w, 400, "malformed-request")
		return
	}
	if req.Context == "secret-projects" {
		refuse(w, 403, "forbidden")
		return
	}
	sealed, err := json.Marshal(frame{Mark: "\x00frame", Context: req.Context, AAD: req.AssociatedData, Reversed: reversed(req.Plaintext)})
	if err != nil {
		refuse(w, 500, "internal")
		return
	}
	warnings := []string{}
	if req.Context == "old" {
		warnings = append(warnings, "this context is about to end")
	}
	answer(w, 200, "application/json", wire.EncryptResponse{
		Ciphertext: sealed, Algorithm: "AES-256-GCM", KeyID: "key_" + req.Context + "_1", Format: 4, Warnings: warnings,
	})
}

func decryptFrame(w http.ResponseWriter, r *http.Request) {
	var req wire.DecryptRequest
	var sealed frame
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		refuse(w, 400, "malformed-request")
		return
	}
	if json.Unmarshal(req.Ciphertext, &sealed) != nil || sealed.Mark != "\x00frame" || sealed.Context != req.Context ||
		string(sealed.AAD) != string(req.AssociatedData) {
		refuse(w, 400, "decrypt-failed")
		return
	}
	answer(w, 200, "application/json", wire.DecryptResponse{
		Plaintext: reversed(sealed.Reversed), KeyID: "key_" + req.Context + "_1", Rewrap: req.Context == "old",
	})
}

func refuse(w http.ResponseWriter, status int, code string) {
	answer(w, status, client.ProblemType, wire.Problem{
		Status: status, Code: code, Title: "Title", Detail: "detail of " + code, RequestID: "req-42", State: "operational",
	})
}

func answer(w http.ResponseWriter, status int, media string, body any) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a lost answer shows in the session
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c
	}
	return out
}
