package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"cryptoserve/api/wire"
)

// TestBareStreams sends streams of awkward lengths there and back.
func TestBareStreams(t *testing.T) {
	aead, err := bareAEAD()
	if err != nil {
		t.Fatal(err)
	}
	serve := func(h http.Handler, body []byte) []byte {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, encryptPath, bytes.NewReader(body))
		r.Header.Set("Content-Type", streamType)
		byType(http.NotFoundHandler(), h).ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("status %d", w.Code)
		}
		return w.Body.Bytes()
	}
	for _, size := range []int{0, 1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3*pieceBytes + 5} {
		sealed := serve(sealStream(aead), plaintext(size))
		count := (size + pieceBytes - 1) / pieceBytes
		if len(sealed) != size+count*bareExpands {
			t.Errorf("%d bytes: %d when sealed in %d pieces", size, len(sealed), count)
		}
		if opened := serve(openStream(aead), sealed); !bytes.Equal(opened, plaintext(size)) {
			t.Errorf("%d bytes: not what was sealed", size)
		}
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // a value of panic
			t.Errorf("a forged stream ends with %v", v)
		}
	}()
	serve(openStream(aead), make([]byte, 100))
	t.Error("a forged stream was opened")
}

// TestStreamAnswers plays the server's side of a stream.
func TestStreamAnswers(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Stream-Status\r\n\r\n"
	tests := []struct {
		name, answer string
		wantErr      string
	}{
		{name: "good", answer: chunked + "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Stream-Status: complete\r\n\r\n"},
		{name: "no trailer", answer: chunked + "5\r\nabcde\r\n0\r\n\r\n", wantErr: `status ""`},
		{name: "other trailer", answer: chunked + "5\r\nabcde\r\n0\r\nX-Stream-Status: cut\r\n\r\n", wantErr: `status "cut"`},
		{name: "short", answer: chunked + "4\r\nabcd\r\n0\r\nX-Stream-Status: complete\r\n\r\n", wantErr: "an answer of 4 bytes"},
		{name: "long", answer: chunked + "7\r\nabcdefg\r\n0\r\nX-Stream-Status: complete\r\n\r\n", wantErr: "an answer of 7 bytes"},
		{name: "cut", answer: chunked + "5\r\nabc", wantErr: "unexpected EOF"},
		{name: "refused", answer: "HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nnope", wantErr: "status 403: nope"},
		{name: "nothing", wantErr: "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				_, _ = io.WriteString(far, tt.answer)
				_ = far.Close()
			}()
			var got bytes.Buffer
			l := &streamLoad{least: 5, most: 6, told: true}
			err := l.receive(newConn(near), &got)
			if tt.wantErr == "" && (err != nil || got.String() != "abcde") {
				t.Errorf("got %q, %v", got.String(), err)
			}
			if tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// TestStreamIsRefused: a server that answers without reading, and does not hang up, ends the sender all the same.
func TestStreamIsRefused(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 7\r\n\r\nnot you")
		<-done
	}))
	defer server.Close()
	defer close(done)
	begin := time.Now()
	l := &streamLoad{server: serverOf(server), path: encryptPath, size: 1 << 30, most: math.MaxInt64}
	if err := l.move(t.Context(), io.Discard); err == nil || err.Error() != "status 403: not you" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.move(ctx, io.Discard); err == nil {
		t.Error("a cancelled stream is done")
	}
	if took := time.Since(begin); took > streamLimit/4 {
		t.Errorf("it took %v", took)
	}
}

func serverOf(s *httptest.Server) *server {
	config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com"
	return &server{name: "test", address: s.Listener.Addr().String(), tls: config, token: "app", owner: "owner"}
}

// TestSignLoads plays the daemon: the owner makes the key, the application signs with it.
func TestSignLoads(t *testing.T) {
	var made wire.CreateKeyRequest
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/keys", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer owner" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&made); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", jsonType)
		_ = json.NewEncoder(w).Encode(wire.Key{Name: made.Name})
	})
	mux.HandleFunc("POST "+signPath, func(w http.ResponseWriter, r *http.Request) {
		var in wire.SignRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Key != made.Name || r.Header.Get("Authorization") != "Bearer app" {
			t.Errorf("%+v, %v", in, err)
		}
		_ = json.NewEncoder(w).Encode(wire.SignResponse{Signature: make([]byte, 64), Algorithm: made.Algorithm})
	})
	server := httptest.NewUnstartedServer(mux)
	server.StartTLS()
	defer server.Close()

	s := serverOf(server)
	l, err := signLoad(t.Context(), s, "Ed25519", "host", plaintext(9), 64)
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "bench-host-ed25519" || made.Protection != "host" || made.Context != benchContext || made.Purpose != "sign" {
		t.Errorf("made %+v", made)
	}
	c, err := dial(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	body, err := c.do(l.request)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.check(body); err != nil {
		t.Error(err)
	}
	s.owner = "somebody"
	if _, err := signLoad(t.Context(), s, "Ed25519", "host", plaintext(9), 64); err == nil {
		t.Error("a key was made without the right to")
	}
}

// TestChecks: an answer that is not what was asked for must not be counted.
func TestChecks(t *testing.T) {
	encode := func(v any) []byte {
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	batch := func(items, succeeded, size int) []byte {
		answer := wire.BatchEncryptResponse{Succeeded: succeeded}
		for range items {
			answer.Results = append(answer.Results, wire.BatchEncryptResult{Ciphertext: make([]byte, size)})
		}
		return encode(answer)
	}
	hash, err := hashLoad(&server{}, []byte("abc"))
	if err != nil {
		t.Fatal(err)
	}
	abc := []byte("\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad")
	for name, tt := range map[string]struct {
		err  error
		good bool
	}{
		"batch":                    {checkBatch(batch(100, 100, 60), 32), true},
		"batch with a failure":     {checkBatch(batch(100, 99, 60), 32), false},
		"batch with an item less":  {checkBatch(batch(99, 100, 60), 32), false},
		"batch of short frames":    {checkBatch(batch(100, 100, 59), 32), false},
		"batch that is not JSON":   {checkBatch([]byte("{"), 32), false},
		"signature":                {checkSignature(encode(wire.SignResponse{Signature: make([]byte, 64), Algorithm: "Ed25519"}), "Ed25519", 64), true},
		"short signature":          {checkSignature(encode(wire.SignResponse{Signature: make([]byte, 63), Algorithm: "Ed25519"}), "Ed25519", 64), false},
		"other algorithm":          {checkSignature(encode(wire.SignResponse{Signature: make([]byte, 64), Algorithm: "Ed448"}), "Ed25519", 64), false},
		"signature that is a list": {checkSignature([]byte("[]"), "Ed25519", 64), false},
		"digest":                   {hash.check(encode(wire.HashResponse{Digest: abc})), true},
		"other digest":             {hash.check(encode(wire.HashResponse{Digest: abc[1:]})), false},
		"digest that is not JSON":  {hash.check(nil), false},
	} {
		if (tt.err == nil) != tt.good {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
}

func TestBatchRequest(t *testing.T) {
	l, err := batchLoad(&server{address: "a:1", token: "x"}, 32)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(l.request, []byte("\r\n\r\n"))
	var in wire.BatchEncryptRequest
	if err := json.Unmarshal(body, &in); err != nil || len(in.Items) != batchItems || len(in.Items[99].Plaintext) != 32 || in.Context != benchContext {
		t.Errorf("got %d items, %v", len(in.Items), err)
	}
	if !bytes.HasPrefix(l.request, []byte("POST /api/v1/crypto/batch/encrypt HTTP/1.1\r\n")) {
		t.Errorf("got %.80q", l.request)
	}
}

// TestLibraries: what is compared with signs, and so fast that it is no accident.
func TestLibraries(t *testing.T) {
	for _, library := range libraries {
		sign, err := library.signer()
		if err != nil {
			t.Fatal(err)
		}
		s, err := atOnce(t.Context(), 3, 20*time.Millisecond, func() error { return sign([]byte("message")) })
		if err != nil || len(s.latencies) < 3 || s.elapsed < 20*time.Millisecond {
			t.Errorf("%s: %d times in %v, %v", library.algorithm, len(s.latencies), s.elapsed, err)
		}
	}
	begin, broken := time.Now(), errors.New("broken")
	if _, err := atOnce(t.Context(), 2, time.Minute, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("an error ends it after %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := atOnce(ctx, 2, time.Minute, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestParseBench(t *testing.T) {
	out := "goos: linux\nBenchmarkSeal/plain-AES-256-GCM-32B-2         \t   33333\t       310.5 ns/op\t  80 B/op\t   2 allocs/op\n" +
		"BenchmarkSeal/v4-32B-16 10 4321 ns/op\nBenchmarkSignDigest/ECDSA-P256/keyring/parallel \t 5 \t 7 ns/op\nBenchmarkBroken\nPASS\n"
	got, err := parseBench([]byte(out))
	if err != nil || len(got) != 3 || got[plainSeal] != 310.5 || got[framedSeal] != 4321 || got["SignDigest/ECDSA-P256/keyring/parallel"] != 7 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "PASS\n", "BenchmarkX-2 1 x ns/op\n", "BenchmarkX-2 1 0 ns/op\n"} {
		if got, err := parseBench([]byte(bad)); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

// TestCompile builds the tests of a package of our own and runs one that is there and one that is not.
func TestCompile(t *testing.T) {
	b := &bench{options: options{source: "../..", goTool: "go"}, dir: t.TempDir(), progress: io.Discard, fips: "off"}
	p, err := b.compile(t.Context(), "engine/lp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.run(t.Context(), "^BenchmarkNone$", time.Millisecond); err == nil || !strings.Contains(err.Error(), "no benchmark ran") {
		t.Errorf("got %v", err)
	}
	if _, err := b.compile(t.Context(), "engine/none"); err == nil {
		t.Error("a package that is not there was built")
	}
	if module := moduleOf(p.program); module != "off" {
		t.Errorf("module %q", module)
	}
	if module := moduleOf(os.DevNull); module != unknownModule {
		t.Errorf("a file that is no program has the module %q", module)
	}
}

// TestPartsReport checks the figures and the verdicts of the parts just on and just beyond their goals.
func TestPartsReport(t *testing.T) {
	of := func(operations int) []slice {
		return []slice{{elapsed: time.Second, cpu: 100 * time.Millisecond, latencies: make([]time.Duration, operations)}}
	}
	at := func(seconds float64) []moved {
		d := time.Duration(seconds * float64(time.Second))
		return []moved{{bytes: 1 << 30, elapsed: d, cpu: d / 2, load: d / 4}}
	}
	good, bad := newReport(options{connections: 16, rounds: 1}), newReport(options{connections: 16, rounds: 1})
	good.fips = "v1.0.0-x"
	good.stream = &streamResult{
		size:   1 << 30,
		rows:   []*streamRow{{label: "encrypt", goal: goalStream, bare: at(0.7), ours: at(1)}, {label: "decrypt", bare: at(1), ours: at(4)}},
		memory: []memory{{label: "one", before: 20 << 20, peak: 52<<20 - 1, after: 30 << 20, goal: goalGrowth}, {label: "four", peak: 99 << 20}},
	}
	bad.stream = &streamResult{
		size: 1 << 30, sinceStart: true,
		rows:   []*streamRow{{label: "encrypt", goal: goalStream, bare: at(0.69), ours: at(1)}},
		memory: []memory{{label: "one", before: 20 << 20, peak: 52 << 20, goal: goalGrowth}},
	}
	good.batch = &batchResult{pairs: []batchPair{{mode: "strict", single: &row{slices: of(1000)}, batch: &row{slices: of(200)}}}}
	bad.batch = &batchResult{pairs: []batchPair{{mode: "strict", single: &row{slices: of(1000)}, batch: &row{slices: of(199)}}}}
	signed := func(requests, token int) *signResult {
		return &signResult{
			hash: &row{slices: of(1300)},
			keys: []*signRow{{algorithm: "Ed25519", request: &row{slices: of(requests)}, library: of(1300)}},
			token: &tokenResult{request: &row{slices: of(token)}, raw: map[string][]float64{
				rawSign: {1e6}, checkedSign: {2e6}, keyringSign: {2.5e6}, keyringParallel: {1.25e6},
			}},
		}
	}
	good.sign, bad.sign = signed(501, 801), signed(499, 799)
	good.format4 = &format4Result{plain: []float64{900, 500}, framed: []float64{2500, 9000}}
	bad.format4 = &format4Result{plain: []float64{300}, framed: []float64{2301}}

	text := good.String()
	for _, want := range []string{
		"0.70 reached", "32 reached", "  20 reached", "at most 1.30 reached", "0.80 reached", "at most 2.00 reached",
		"Go Cryptographic Module: v1.0.0-x in the daemon", "1463", "0.25", "20000", "1.30", "1.60", " 400             0.40 ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the report:\n%s", want, text)
		}
	}
	if strings.Contains(text, "MISSED") || strings.Contains(text, "counts from the start") {
		t.Errorf("every goal is reached:\n%s", text)
	}
	text = bad.String()
	for _, want := range []string{
		"0.70 MISSED", "32 MISSED", "  20 MISSED", "at most 1.30 MISSED", "0.80 MISSED", "at most 2.00 MISSED", "counts from the start",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not once in the report:\n%s", want, text)
		}
	}
}
