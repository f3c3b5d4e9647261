package main

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
	"cryptoserve/engine/keywrap"
)

const goodToken = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJkZW1vIn0.Z29vZA"

// node stands in for a node of the appliance in the sessions of this program. It encrypts nothing: its ciphertext is the
// request, marked and with the plaintext turned around bit by bit. TestDaemon runs the program against a real node.
type node struct {
	server *httptest.Server

	mu     sync.Mutex
	status int    // of a problem for every request; 0 is none
	code   string // of the problem
	state  string
	page   bool   // answer like some other web server
	pairs  bool   // refuse streams, as contexts with a key pair do
	cut    bool   // break each stream off in its middle
	open   bool   // end each stream in order, but without saying that it is complete
	last   string // the last request but those for the state: method, path, body
	count  int    // of requests
	fence  string // microseconds that changes took until no node honoured any more what they took away
	waits  bool   // answer changes with the approval that they wait for
}

// header is what stands before the body of the stand-in's ciphertexts.
type header struct {
	V    int    `json:"v"`
	Mark string `json:"mark"`
	Ctx  string `json:"ctx"`
	AAD  []byte `json:"aad"`
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
	n.status, n.code, n.state, n.page, n.pairs, n.cut, n.open = 0, "", "operational", false, false, false, false
	n.waits, n.fence = false, ""
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
	case len(args) == 1 && args[0] == "pairs":
		n.pairs = true
		return nil
	case len(args) == 1 && args[0] == "cut":
		n.cut = true
		return nil
	case len(args) == 1 && args[0] == "open":
		n.open = true
		return nil
	case len(args) == 1 && args[0] == "waits":
		n.waits = true
		return nil
	case len(args) == 2 && args[0] == "fence":
		n.fence = args[1]
		return nil
	case len(args) == 1 && args[0] == "well":
		return nil
	default:
		return fmt.Errorf("node: bad arguments %q", args)
	}
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	status, code, state, page, pairs, waits := n.status, n.code, n.state, n.page, n.pairs, n.waits
	if n.fence != "" {
		w.Header().Set(wire.FenceHeader, n.fence)
	}
	n.mu.Unlock()
	streams := r.Header.Get("Content-Type") == "application/octet-stream"
	switch {
	case page:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>hello</html>"))
	case r.URL.Path == "/health/state" && status == 0:
		answer(w, stateStatus(state), "application/json", stateOf(state))
	case r.URL.Path != "/health/state" && !signsIn(r) && r.Header.Get("Authorization") != "Bearer "+goodToken:
		refuse(w, 401, "unauthenticated")
	case status != 0:
		refuse(w, status, code)
	case waits:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, cannedApproval)
	case streams && pairs:
		refuse(w, 403, "algorithm-disallowed")
	case streams:
		n.record(r, nil)
		n.stream(w, r)
	default:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			refuse(w, 400, "malformed-request")
			return
		}
		n.record(r, body)
		n.compute(w, r, body)
	}
}

func (n *node) record(r *http.Request, body []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = r.Method + " " + r.URL.RequestURI() + " " + string(body)
	n.count++
}

func (n *node) compute(w http.ResponseWriter, r *http.Request, body []byte) {
	switch r.URL.Path {
	case "/api/v1/crypto/encrypt":
		encryptFrame(w, body)
	case "/api/v1/crypto/decrypt":
		decryptFrame(w, body)
	case "/api/v1/crypto/rewrap":
		var req wire.RewrapRequest
		if json.Unmarshal(body, &req) != nil {
			refuse(w, 400, "malformed-request")
			return
		}
		answer(w, 200, "application/json", wire.EncryptResponse{Ciphertext: append(req.Ciphertext, '!'), KeyID: "k2", Format: 4})
	case "/api/v1/crypto/batch/encrypt", "/api/v1/crypto/batch/decrypt", "/api/v1/crypto/batch/rewrap":
		batch(w, strings.TrimPrefix(r.URL.Path, "/api/v1/crypto/batch/"), body)
	case "/api/v1/key-imports":
		var req wire.CreateImportRequest
		if json.Unmarshal(body, &req) != nil {
			refuse(w, 400, "malformed-request")
			return
		}
		_, public := importPair()
		answer(w, 201, "application/json", wire.ImportResponse{
			ImportID: "import_1", Protection: req.Protection, PublicKey: public, OAEPHash: "SHA-256", ExpiresAt: "2031-01-01T00:00:00Z",
		})
	case "/api/v1/key-imports/import_1":
		importKey(w, body)
	case "/api/v1/legacy-imports":
		importLegacy(w, body)
	default:
		for _, of := range cannedOf {
			if text, ok := of[r.Method+" "+r.URL.Path]; ok {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, text)
				return
			}
		}
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

// prefix returns the header of a ciphertext with its length before it.
func prefix(context string, aad []byte) []byte {
	text, err := json.Marshal(header{V: 4, Mark: "frame", Ctx: context, AAD: aad})
	if err != nil {
		panic(err)
	}
	return append(binary16(len(text)), text...)
}

func binary16(n int) []byte { return []byte{byte(n >> 8), byte(n)} }

// opens reads the header of a ciphertext and reports whether it is of this context and associated data.
func opens(r io.Reader, context string, aad []byte) bool {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return false
	}
	text := make([]byte, int(size[0])<<8|int(size[1]))
	if _, err := io.ReadFull(r, text); err != nil {
		return false
	}
	var h header
	return json.Unmarshal(text, &h) == nil && h.Mark == "frame" && h.Ctx == context && string(h.AAD) == string(aad)
}

func encryptFrame(w http.ResponseWriter, body []byte) {
	var req wire.EncryptRequest
	if err := json.Unmarshal(body, &req); err != nil || req.Plaintext == nil {
		refuse(w, 400, "malformed-request")
		return
	}
	if req.Context == "secret-projects" {
		refuse(w, 403, "forbidden")
		return
	}
	warnings := []string{}
	if req.Context == "old" {
		warnings = append(warnings, "this context is about to end")
	}
	answer(w, 200, "application/json", wire.EncryptResponse{
		Ciphertext: append(prefix(req.Context, req.AssociatedData), turned(req.Plaintext)...),
		Algorithm:  "AES-256-GCM", KeyID: "key_" + req.Context + "_1", Format: 4, Warnings: warnings,
	})
}

func decryptFrame(w http.ResponseWriter, body []byte) {
	var req wire.DecryptRequest
	if err := json.Unmarshal(body, &req); err != nil {
		refuse(w, 400, "malformed-request")
		return
	}
	frame := bytes.NewReader(req.Ciphertext)
	if !opens(frame, req.Context, req.AssociatedData) {
		refuse(w, 400, "decrypt-failed")
		return
	}
	rest, _ := io.ReadAll(frame) // of memory
	answer(w, 200, "application/json", wire.DecryptResponse{
		Plaintext: turned(rest), KeyID: "key_" + req.Context + "_1", Rewrap: req.Context == "old",
	})
}

// stream does what the routes of streams do, in constant memory.
func (n *node) stream(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	cut, open := n.cut, n.open
	n.mu.Unlock()
	context := r.URL.Query().Get("context")
	aad, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Associated-Data"))
	if err != nil {
		refuse(w, 400, "malformed-request")
		return
	}
	encrypts := r.URL.Path == "/api/v1/crypto/encrypt"
	if !encrypts && !opens(r.Body, context, aad) {
		refuse(w, 400, "decrypt-failed")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Key-Id", "key_"+context+"_1")
	h.Set("X-Rewrap", strconv.FormatBool(!encrypts && context == "old"))
	if span := r.Header.Get("Range"); span != "" {
		part(w, r, span)
		return
	}
	h.Set("Trailer", "X-Stream-Status, Audit-Receipt")
	if encrypts && context == "old" {
		h.Add("X-Warning", "this context is about to end")
	}
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.WriteHeader(http.StatusOK)
	if encrypts {
		_, _ = w.Write(prefix(context, aad))
	}
	buf := make([]byte, 64<<10)
	for sent := 0; ; sent++ {
		got, err := r.Body.Read(buf)
		if cut && (sent > 0 || err != nil) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(io.Discard, r.Body) // a client that still sends could lose the beginning of the answer with it
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(turned(buf[:got]))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	if !open {
		h.Set("X-Stream-Status", "complete")
		h.Set("Audit-Receipt", "node-1/7/00ff")
	}
}

func part(w http.ResponseWriter, r *http.Request, span string) {
	rest, err := io.ReadAll(r.Body)
	first, last := 0, len(rest)-1
	if _, scanErr := fmt.Sscanf(span, "bytes=%d-%d", &first, &last); err != nil || scanErr != nil && !strings.HasSuffix(span, "-") {
		refuse(w, 400, "malformed-request")
		return
	}
	last = min(last, len(rest)-1)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(rest)))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(turned(rest[first : last+1]))
}

// batch fails the items whose reference or ciphertext says so.
func batch(w http.ResponseWriter, act string, body []byte) {
	var in wire.BatchDecryptRequest
	var plain wire.BatchEncryptRequest
	if json.Unmarshal(body, &in) != nil || json.Unmarshal(body, &plain) != nil {
		refuse(w, 400, "malformed-request")
		return
	}
	var out wire.BatchEncryptResponse
	var opened wire.BatchDecryptResponse
	for i, item := range in.Items {
		switch {
		case item.Reference == "bad" || string(item.Ciphertext) == "bad":
			failed := &wire.ItemError{Code: "decrypt-failed", Detail: "decryption failed"}
			out.Results = append(out.Results, wire.BatchEncryptResult{Reference: item.Reference, Error: failed})
			opened.Results = append(opened.Results, wire.BatchDecryptResult{Reference: item.Reference, Error: failed})
			out.Failed++
			opened.Failed++
		case act == "decrypt":
			opened.Results = append(opened.Results, wire.BatchDecryptResult{Reference: item.Reference, Plaintext: turned(item.Ciphertext)})
		case act == "encrypt":
			out.Results = append(out.Results, wire.BatchEncryptResult{
				Reference: item.Reference, Ciphertext: turned(plain.Items[i].Plaintext), KeyID: "k1",
			})
		default:
			out.Results = append(out.Results, wire.BatchEncryptResult{Ciphertext: append(item.Ciphertext, '!'), KeyID: "k2"})
		}
	}
	if act == "decrypt" {
		answer(w, 200, "application/json", opened)
		return
	}
	answer(w, 200, "application/json", out)
}

// importPair is the pair that keys are wrapped for. Each run of the program is a run of this test binary, and needs none.
var importPair = sync.OnceValues(func() (*rsa.PrivateKey, string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
})

// importKey answers with the key's bytes as its description, in hex.
func importKey(w http.ResponseWriter, body []byte) {
	var req wire.ImportKeyRequest
	if json.Unmarshal(body, &req) != nil {
		refuse(w, 400, "malformed-request")
		return
	}
	private, _ := importPair()
	key, err := keywrap.Unwrap(private, "SHA-256", req.WrappedKey, 8192)
	if err != nil {
		refuse(w, 400, "malformed-request")
		return
	}
	answer(w, 201, "application/json", wire.Key{
		Name: req.Name, Context: req.Context, Algorithm: req.Algorithm, Protection: req.Protection, Status: "active",
		Description: fmt.Sprintf("%x %s", key, strings.ReplaceAll(req.PublicKey, "\n", "")),
		Versions:    []wire.KeyVersion{{KeyID: "k1", Version: 1, State: "active", Imported: true}},
	})
}

// importLegacy wants the master key of "master" and "salt" as HKDF-Extract gives it.
func importLegacy(w http.ResponseWriter, body []byte) {
	var req wire.LegacyImportRequest
	if json.Unmarshal(body, &req) != nil || (req.Master == 0) != (req.ImportID == "import_1") {
		refuse(w, 400, "malformed-request")
		return
	}
	if req.Master == 0 {
		want, err := hkdf.Extract(sha256.New, []byte("master"), []byte("salt"))
		if err != nil {
			panic(err)
		}
		private, _ := importPair()
		if got, err := keywrap.Unwrap(private, "SHA-256", req.WrappedMaster, 32); err != nil || !bytes.Equal(got, want) {
			refuse(w, 400, "decrypt-failed")
			return
		}
		req.Master = 1
	}
	answer(w, 201, "application/json", wire.LegacyImportResponse{Master: req.Master, Keys: len(req.Keys) + len(req.HybridKeys)})
}

const cannedKey = `{"name":"signer","context":"general","description":"","purpose":"sign","algorithm":"ML-DSA-65","protection":"host",` +
	`"status":"active","key_id":"key_general_2","created_at":"2031-01-01T00:00:00Z",` +
	`"fips":{"approved_algorithm":"yes","runs_in":"library","validated_module":false},` +
	`"versions":[{"key_id":"key_general_2","version":2,"state":"active","imported":true,"created_at":"2031-01-02T00:00:00Z"},` +
	`{"key_id":"key_general_1","version":1,"state":"deactivated","imported":false,"created_at":"2031-01-01T00:00:00Z"}]}`

const cannedContext = `{"name":"invoices","description":"what is owed","algorithm":"AES-256-GCM","format":4,"derivation":"salted",` +
	`"status":"active","key_id":"key_invoices_1","version":1,"created_at":"2031-01-01T00:00:00Z",` +
	`"algorithm_policy":{"enforcement":"none","allowed_algorithms":[],"minimum_bits":0,"require_quantum_safe":false}}`

// cannedOf are the answers of routes that need no thought, by the file of the commands that call them: each adds its own.
var cannedOf = []map[string]string{canned}

// canned are those of the first files.
var canned = map[string]string{
	"GET /api/v1/algorithms": `{"algorithms":[` +
		`{"name":"AES-256-GCM","class":"aead","key_bits":256,"security_bits":256,"quantum_safe":true,"source":"SP 800-38D",` +
		`"approved_algorithm":"yes","runs_in":"module","validated_module":false,"token_keys":false,"protect":true,"process":true},` +
		`{"name":"Ed25519","class":"signature","security_bits":128,"source":"RFC 8032",` +
		`"approved_algorithm":"yes","runs_in":"module","validated_module":false,"token_keys":true,"protect":true,"process":true}]}`,
	"GET /api/v1/system/fips": `{"mode":"preferred","module":"latest","module_enabled":true,"approved_algorithms":60,"algorithms":80,` +
		`"approved_outside_module":["ML-DSA-65"],"token":"SoftHSM is not validated"}`,
	"GET /api/v1/contexts":                  `{"contexts":[` + cannedContext + `]}`,
	"POST /api/v1/contexts":                 cannedContext,
	"POST /api/v1/contexts/invoices/rotate": `{"context":"invoices","key_id":"k2","version":2,"previous_key_id":"k1"}`,
	"GET /api/v1/keys":                      `{"keys":[` + cannedKey + `]}`,
	"POST /api/v1/keys":                     cannedKey,
	"GET /api/v1/keys/signer":               cannedKey,
	"POST /api/v1/keys/signer/rotate":       cannedKey,
	"POST /api/v1/keys/signer/disable":      cannedKey,
	"POST /api/v1/keys/signer/enable":       cannedKey,
	"GET /api/v1/keys/signer/public":        `{"key_id":"key_general_2","version":2,"algorithm":"ML-DSA-65","public_key":"AAEC","pem":"-----BEGIN PUBLIC KEY-----\n"}`,
	"POST /api/v1/crypto/sign":              `{"signature":"c2lnbmF0dXJl","key_id":"key_general_2","version":2,"algorithm":"ML-DSA-65","warnings":["rotate it"]}`,
	"POST /api/v1/crypto/verify":            `{"valid":true,"key_id":"key_general_2","algorithm":"ML-DSA-65","warnings":[]}`,
	"POST /api/v1/crypto/mac":               `{"mac":"bWFj","key_id":"k1","version":1,"algorithm":"HMAC-SHA256","warnings":[]}`,
	"POST /api/v1/crypto/mac/verify":        `{"valid":false,"algorithm":"HMAC-SHA256","warnings":[]}`,
	"POST /api/v1/crypto/hash":              `{"digest":"AAEC","hex":"000102","algorithm":"SHA-256","warnings":[]}`,
	"POST /api/v1/crypto/kdf":               `{"key":"a2V5","algorithm":"HKDF-SHA256","warnings":[]}`,
	"POST /api/v1/crypto/random":            `{"random":"AAEC"}`,
	"POST /api/v1/crypto/password/hash":     `{"hash":"$argon2id$v=19$x","algorithm":"Argon2id","warnings":[]}`,
	"POST /api/v1/crypto/password/verify":   `{"valid":true,"needs_rehash":true,"algorithm":"Argon2id","warnings":[]}`,
	"POST /api/v1/crypto/kem/encapsulate":   `{"ciphertext":"AAEC","shared_secret":"c2VjcmV0","key_id":"k1","algorithm":"ML-KEM-768","warnings":[]}`,
	"POST /api/v1/crypto/kem/decapsulate":   `{"shared_secret":"c2VjcmV0","key_id":"k1","algorithm":"ML-KEM-768","warnings":[]}`,
	"POST /api/v1/crypto/agree":             `{"derived_key":"a2V5","key_id":"k1","algorithm":"X25519","warnings":[]}`,
	"POST /api/v1/crypto/key/encrypt":       `{"ciphertext":"AAEC","key_id":"k1","algorithm":"RSA-OAEP-3072","warnings":[]}`,
	"POST /api/v1/crypto/key/decrypt":       `{"plaintext":"ZGVhciBib2IK","key_id":"k1","algorithm":"RSA-OAEP-3072","warnings":[]}`,
	"POST /api/v1/crypto/datakey":           `{"plaintext":"a2V5","ciphertext":"AAEC","algorithm":"AES-256-GCM","key_id":"k1","format":4,"warnings":[]}`,
	"POST /api/v1/crypto/datakey/wrapped":   `{"ciphertext":"AAEC","algorithm":"AES-256-GCM","key_id":"k1","format":4,"warnings":[]}`,
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

func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = ^c
	}
	return out
}
