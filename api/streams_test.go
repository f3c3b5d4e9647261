package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/api"
	"cryptoserve/api/auth"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

const octetStream = "application/octet-stream"

// stream makes a request that brings a stream. Its length is announced unless it is negative.
func (f *fixture) stream(tb testing.TB, path string, body io.Reader, length int64, edit ...func(*http.Request)) *http.Request {
	tb.Helper()
	r := f.request(tb, "POST", path+"?context=user-pii", "")
	r.Header.Set("Content-Type", octetStream)
	r.ContentLength = length
	var ok bool
	if r.Body, ok = body.(io.ReadCloser); !ok {
		r.Body = io.NopCloser(body)
	}
	if length == 0 {
		r.Body = http.NoBody
	}
	for _, e := range edit {
		e(r)
	}
	return r
}

// opened is a body that begins with some bytes and goes on with a pipe. A client that gives it up closes it.
type opened struct {
	io.Reader
	*io.PipeReader
}

func (o opened) Read(p []byte) (int, error) { return o.Reader.Read(p) }

// openBody returns such a body, and where the rest of it is written to.
func openBody(t *testing.T, first int) (io.ReadCloser, *io.PipeWriter) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	return opened{io.MultiReader(strings.NewReader("!"), bytes.NewReader(make([]byte, first)), r), r}, w
}

// rawClient returns a client of one protocol whose answers are not held to the document, because they may break off.
func (f *fixture) rawClient(tb testing.TB, http2 bool) *http.Client {
	tb.Helper()
	if !http2 {
		return f.plainClient(tb)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// bothProtocols runs a test over HTTP/1.1 and over HTTP/2.
func bothProtocols(t *testing.T, test func(t *testing.T, http2 bool)) {
	t.Helper()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) { test(t, http2) })
	}
}

func TestStreams(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t)
		client := f.newClient(t, http2)
		for _, size := range []int{0, 1, 1000, segment, 1 << 20} {
			for _, announced := range []bool{true, false} {
				plaintext := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				length := func(n int) int64 {
					if announced {
						return int64(n)
					}
					return -1
				}
				withAAD := func(r *http.Request) { r.Header.Set("X-Associated-Data", b64("row 7")) }
				a := send(t, client, f.stream(t, encryptPath, bytes.NewReader(plaintext), length(size), withAAD))
				if a.StatusCode != http.StatusOK || (a.ProtoMajor == 2) != http2 || string(a.body) != "!"+string(plaintext) {
					t.Fatalf("%d bytes: %s with %d bytes", size, a.Status, len(a.body))
				}
				want := engine.StreamRequest{Context: "user-pii", AssociatedData: []byte("row 7"), Length: length(size)}
				if got := f.engine.got.(engine.StreamRequest); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("the engine was asked for %+v, want %+v", got, want)
				}
				f.checkStreamHeaders(t, a)
				if got := fmt.Sprint(a.Header["X-Warning"]); got != "[one two]" {
					t.Errorf("warnings %s", got)
				}

				a = send(t, client, f.stream(t, decryptPath, bytes.NewReader(a.body), length(size+1)))
				if a.StatusCode != http.StatusOK || !bytes.Equal(a.body, plaintext) {
					t.Fatalf("%d bytes back: %s with %d bytes", size, a.Status, len(a.body))
				}
				f.checkStreamHeaders(t, a)
				if a.Header.Get("X-Rewrap") != "true" {
					t.Errorf("X-Rewrap is %q", a.Header.Get("X-Rewrap"))
				}
			}
		}
	})
}

// checkStreamHeaders looks at what each whole stream carries.
func (f *fixture) checkStreamHeaders(t *testing.T, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type": octetStream, "X-Key-Id": keyID, "X-Algorithm": "AES-256-GCM", "X-Format": "4", "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff", "Audit-Receipt": "", "Content-Length": "", "X-Stream-Status": "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	receipt := fmt.Sprintf("node-1/%d/%s", f.engine.sequence, strings.Repeat("0", 64)) // the newest: that of the end
	if a.Trailer.Get("X-Stream-Status") != "complete" || a.Trailer.Get("Audit-Receipt") != receipt {
		t.Errorf("the trailer is %v", a.Trailer)
	}
}

// TestStreamsGoBothWays: what was sent comes back before the rest is sent.
func TestStreamsGoBothWays(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t)
		body, writer := openBody(t, 0)
		resp, err := f.rawClient(t, http2).Do(f.stream(t, decryptPath, body, -1))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		piece := bytes.Repeat([]byte("x"), segment)
		for i := range 4 {
			if _, err := writer.Write(piece); err != nil {
				t.Fatal(err)
			}
			// All but what waits to fill a buffer.
			if _, err := io.CopyN(io.Discard, resp.Body, segment-8<<10); err != nil {
				t.Fatalf("piece %d: %v", i, err)
			}
		}
		writer.Close()
		rest, err := io.Copy(io.Discard, resp.Body)
		if err != nil || rest != 4*8<<10 || resp.Trailer.Get("X-Stream-Status") != "complete" {
			t.Errorf("the rest has %d bytes: %v, trailer %v", rest, err, resp.Trailer)
		}
	})
}

func TestRanges(t *testing.T) {
	const plaintext = "0123456789"
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t)
		client := f.newClient(t, http2)
		for value, c := range map[string]struct {
			status         int
			body, contents string
		}{
			"bytes=0-9":                      {206, plaintext, "bytes 0-9/10"},
			"bytes=0-":                       {206, plaintext, "bytes 0-9/10"},
			"Bytes=2-4":                      {206, "234", "bytes 2-4/10"},
			"bytes=9-9":                      {206, "9", "bytes 9-9/10"},
			"bytes=007-100":                  {206, "789", "bytes 7-9/10"},
			"bytes=3-99999999999999999999":   {206, "3456789", "bytes 3-9/10"},
			"bytes=10-":                      {416, "range-not-satisfiable", ""},
			"bytes=11-12":                    {416, "range-not-satisfiable", ""},
			"bytes=9223372036854775807-":     {416, "range-not-satisfiable", ""},
			"bytes=99999999999999999999-":    {416, "range-not-satisfiable", ""},
			"bytes=-3":                       {400, "malformed-request", ""},
			"bytes=-":                        {400, "malformed-request", ""},
			"bytes=4-2":                      {400, "malformed-request", ""},
			"bytes=1-2,4-5":                  {400, "malformed-request", ""},
			"bytes=1-2-3":                    {400, "malformed-request", ""},
			"bytes= 1-2":                     {400, "malformed-request", ""},
			"bytes=+1-2":                     {400, "malformed-request", ""},
			"bytes=0x1-2":                    {400, "malformed-request", ""},
			"bytes=1":                        {400, "malformed-request", ""},
			"bytes":                          {400, "malformed-request", ""},
			"":                               {400, "malformed-request", ""},
			"items=1-2":                      {400, "malformed-request", ""},
			"bytes=00000000000000000000001-": {206, plaintext[1:], "bytes 1-9/10"},
		} {
			t.Run(value, func(t *testing.T) {
				ranged := func(r *http.Request) { r.Header["Range"] = []string{value} }
				a := send(t, client, f.stream(t, decryptPath, strings.NewReader("!"+plaintext), 11, ranged))
				if a.StatusCode != c.status {
					t.Fatalf("%s: %s", a.Status, a.body)
				}
				if c.status != http.StatusPartialContent {
					if p := a.problem(t); p.Code != c.body || (c.status == 400 && (len(p.Errors) != 1 || p.Errors[0].Field != "Range")) {
						t.Errorf("the problem is %s", a.body)
					}
					return
				}
				if string(a.body) != c.body || a.Header.Get("Content-Range") != c.contents || a.ContentLength != int64(len(c.body)) {
					t.Errorf("%q, Content-Range %q, Content-Length %d", a.body, a.Header.Get("Content-Range"), a.ContentLength)
				}
				if a.Header.Get("Audit-Receipt") == "" || a.Header.Get("X-Key-Id") != keyID || a.Header.Get("X-Rewrap") != "true" {
					t.Errorf("the headers are %v", a.Header)
				}
			})
		}
		// Of nothing there is no range.
		a := send(t, client, f.stream(t, decryptPath, strings.NewReader("!"), 1, func(r *http.Request) { r.Header.Set("Range", "bytes=0-") }))
		if a.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("a range of nothing: %s", a.Status)
		}
		// The client goes on sending behind the range; its answer is whole all the same, and the connection good.
		for range 3 {
			body := "!" + strings.Repeat("x", 4<<20)
			a := send(t, client, f.stream(t, decryptPath, strings.NewReader(body), int64(len(body)), func(r *http.Request) {
				r.Header.Set("Range", "bytes=5-9")
			}))
			if a.StatusCode != http.StatusPartialContent || string(a.body) != "xxxxx" {
				t.Errorf("a range near the beginning: %s: %s", a.Status, a.body)
			}
			if status := sendAllFirst(t, f, http2, "!"+strings.Repeat("x", 32<<20), "bytes=5-9"); status != http.StatusPartialContent {
				t.Errorf("a client that sends all first: status %d", status)
			}
		}
	})
}

func TestBadStreams(t *testing.T) {
	f := newFixture(t)
	query := func(q string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = q } }
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	for name, c := range map[string]struct {
		path   string
		edit   func(*http.Request)
		status int
		code   string
		field  string
		action policy.Action
	}{
		"no query":             {encryptPath, query(""), 400, "malformed-request", "", policy.EncryptStream},
		"another parameter":    {encryptPath, query("a=b"), 400, "malformed-request", "", policy.EncryptStream},
		"one more parameter":   {encryptPath, query("context=user-pii&a=b"), 400, "malformed-request", "", policy.EncryptStream},
		"context twice":        {encryptPath, query("context=user-pii&context=user-pii"), 400, "malformed-request", "", policy.EncryptStream},
		"broken query":         {encryptPath, query("context=%zz"), 400, "malformed-request", "", policy.EncryptStream},
		"semicolon":            {encryptPath, query("context=user-pii;a=b"), 400, "malformed-request", "", policy.EncryptStream},
		"long context":         {encryptPath, query("context=" + strings.Repeat("a", 65)), 400, "malformed-request", "context", policy.EncryptStream},
		"token in the query":   {encryptPath, query("context=user-pii&access_token=" + f.token), 400, "malformed-request", "", policy.EncryptStream},
		"AAD not base64":       {encryptPath, header("X-Associated-Data", "s3cret!"), 400, "malformed-request", "X-Associated-Data", policy.EncryptStream},
		"AAD of URLs":          {decryptPath, header("X-Associated-Data", "_-_-"), 400, "malformed-request", "X-Associated-Data", policy.DecryptStream},
		"AAD twice":            {decryptPath, header("X-Associated-Data", "AA==", "AA=="), 400, "malformed-request", "X-Associated-Data", policy.DecryptStream},
		"range of encryption":  {encryptPath, header("Range", "bytes=0-1"), 400, "malformed-request", "Range", policy.EncryptStream},
		"two ranges":           {decryptPath, header("Range", "bytes=0-1", "bytes=0-1"), 400, "malformed-request", "Range", policy.DecryptStream},
		"compressed":           {encryptPath, header("Content-Encoding", "gzip"), 415, "unsupported-media-type", "", policy.EncryptStream},
		"no token":             {decryptPath, header("Authorization"), 401, "unauthenticated", "", policy.DecryptStream},
		"two media types":      {encryptPath, header("Content-Type", octetStream, "text/plain"), 400, "malformed-request", "", policy.Encrypt},
		"another media type":   {encryptPath, header("Content-Type", octetStream+"s"), 400, "malformed-request", "", policy.Encrypt},
		"range, length hidden": {decryptPath, func(r *http.Request) { r.Header.Set("Range", "bytes=0-1"); r.ContentLength = -1 }, 411, "length-required", "", policy.DecryptStream},
	} {
		t.Run(name, func(t *testing.T) {
			before := f.engine.reached()
			a := send(t, f.client, f.stream(t, c.path, strings.NewReader("!abc"), 4, c.edit))
			p := a.problem(t)
			if a.StatusCode != c.status || p.Code != c.code || f.engine.reached() != before {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			if c.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != c.field) {
				t.Errorf("the errors are %+v, want one of %s", p.Errors, c.field)
			}
			if got := f.engine.lastRefusal(t); got.action != c.action {
				t.Errorf("recorded %+v", got)
			}
			if strings.Contains(string(a.body), "s3cret") || strings.Contains(string(a.body), f.token) {
				t.Errorf("the answer quotes a value: %s", a.body)
			}
		})
	}
	t.Run("other letters and a parameter of the media type", func(t *testing.T) {
		a := send(t, f.client, f.stream(t, encryptPath, strings.NewReader("abc"), 3, header("Content-Type", "Application/Octet-Stream; a=b")))
		if a.StatusCode != http.StatusOK || string(a.body) != "!abc" {
			t.Errorf("%s: %s", a.Status, a.body)
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "POST %s?context=user-pii HTTP/1.0\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n"+
			"Content-Length: 3\r\n\r\nabc", encryptPath, f.token, octetStream); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s", resp.Status)
		}
	})
}

// TestStreamsThatFailEarly: before its first byte a stream fails like any other request, and what the client still sends is
// not waited for.
func TestStreamsThatFailEarly(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t)
		client := f.newClient(t, http2)
		for name, body := range map[string]io.Reader{
			"decryption": io.MultiReader(strings.NewReader("?"), endless{}), "policy": endless{}, "held open": openPipe(t),
		} {
			start := time.Now()
			f.engine.failure = nil
			if name != "decryption" {
				f.engine.failure = fault.New(fault.Forbidden, "test", "no")
			}
			a := send(t, client, f.stream(t, decryptPath, body, -1))
			want := map[bool]int{true: 400, false: 403}[name == "decryption"]
			if a.StatusCode != want || a.Header.Get("Audit-Receipt") == "" || a.ContentLength != int64(len(a.body)) {
				t.Errorf("%s: %s: %s", name, a.Status, a.body)
			}
			if !http2 && !a.Close {
				t.Errorf("%s: the connection stays open", name)
			}
			if took := time.Since(start); took > 20*time.Second { // ReadTimeout is 30 seconds
				t.Errorf("%s: the answer took %v", name, took)
			}
		}
		// A client that only reads the answer when all is sent gets it too, if it does not take long to send.
		f.engine.failure = nil
		for range 5 {
			if status := sendAllFirst(t, f, http2, "?"+strings.Repeat("x", 32<<20), "bytes=0-"); status != http.StatusBadRequest {
				t.Errorf("a client that sends all first: status %d", status)
			}
		}
		if a := send(t, client, f.stream(t, encryptPath, strings.NewReader("a"), 1)); a.StatusCode != http.StatusOK {
			t.Errorf("the next stream: %s", a.Status)
		}
	})
}

// sendAllFirst decrypts a range of a stream and returns the status of the answer. Over HTTP/1.1 it is a client that reads nothing before
// it has sent all.
func sendAllFirst(t *testing.T, f *fixture, http2 bool, body, part string) int {
	t.Helper()
	if http2 {
		ranged := func(r *http.Request) { r.Header.Set("Range", part) }
		return send(t, f.rawClient(t, true), f.stream(t, decryptPath, strings.NewReader(body), int64(len(body)), ranged)).StatusCode
	}
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST %s?context=user-pii HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n"+
		"Range: %s\r\nContent-Length: %d\r\n\r\n%s", decryptPath, f.token, octetStream, part, len(body), body); err != nil {
		t.Errorf("the body: %v", err)
		return 0
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// openPipe is a body of which nothing comes.
func openPipe(t *testing.T) io.ReadCloser {
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	return r
}

// TestAStreamThatIsNotWantedIsNotSent asks first, as curl does.
func TestAStreamThatIsNotWantedIsNotSent(t *testing.T) {
	f := newFixture(t)
	f.engine.failure = fault.New(fault.Forbidden, "test", "no")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13}, ExpectContinueTimeout: time.Hour}
	t.Cleanup(transport.CloseIdleConnections)
	a := send(t, &http.Client{Transport: transport}, f.stream(t, encryptPath, unread{t}, 1<<30, func(r *http.Request) {
		r.Header.Set("Expect", "100-continue")
	}))
	if a.StatusCode != http.StatusForbidden {
		t.Errorf("%s: %s", a.Status, a.body)
	}
}

// TestAStreamThatWaitsToBeAskedFor is sent once it is wanted.
func TestAStreamThatWaitsToBeAskedFor(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t)
		for _, path := range []string{encryptPath, decryptPath} {
			transport := &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13}, ExpectContinueTimeout: time.Hour, ForceAttemptHTTP2: http2,
			}
			t.Cleanup(transport.CloseIdleConnections)
			body := "!" + strings.Repeat("x", 3*segment)
			a := send(t, &http.Client{Transport: transport}, f.stream(t, path, strings.NewReader(body), int64(len(body)), func(r *http.Request) {
				r.Header.Set("Expect", "100-continue")
			}))
			if a.StatusCode != http.StatusOK || len(a.body) < 3*segment || a.Trailer.Get("X-Stream-Status") != "complete" {
				t.Errorf("%s: %s with %d bytes, trailer %v", path, a.Status, len(a.body), a.Trailer)
			}
		}
	})
}

// TestCutDownload: an answer that breaks off never looks whole, and no trailer says that it is.
func TestCutDownload(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		for name, ranged := range map[string]bool{"whole": false, "range": true} {
			for _, panics := range []bool{false, true} {
				f := newFixture(t)
				f.engine.streamFailure, f.engine.streamPanics = fault.New(fault.DecryptFailed, "test", "cut"), panics
				body := "!" + strings.Repeat("x", 3*segment)
				r := f.stream(t, decryptPath, strings.NewReader(body), int64(len(body)))
				if ranged {
					r.Header.Set("Range", fmt.Sprintf("bytes=0-%d", 2*segment))
					f.engine.cutShort = true
				}
				resp, err := f.rawClient(t, http2).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil || resp.StatusCode >= 300 {
					t.Errorf("%s: %s with %d bytes, and no error", name, resp.Status, len(got))
				}
				if resp.Trailer.Get("X-Stream-Status") != "" {
					t.Errorf("%s: the trailer says %v", name, resp.Trailer)
				}
				waitFor(t, "a line in the log", func() bool {
					return strings.Contains(f.log.String(), map[bool]string{true: "stream failed", false: "stream broke off"}[panics])
				})
				if panics {
					if got := f.engine.lastRefusal(t); got.action != policy.DecryptStream || got.code != "internal" {
						t.Errorf("%s: recorded %+v", name, got)
					}
				}
				if a := send(t, f.newClient(t, http2), f.request(t, "GET", "/health/live", "")); a.StatusCode != http.StatusOK {
					t.Errorf("the next request: %s", a.Status)
				}
			}
		}
	})
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 seconds", what)
		}
	}
}

// TestCutUpload: a client that goes away ends its stream, and the engine learns it.
func TestCutUpload(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t)
		for _, path := range []string{encryptPath, decryptPath} {
			before := f.engine.breaks()
			ctx, cancel := context.WithCancel(t.Context())
			body := io.MultiReader(strings.NewReader("!"), endless{})
			resp, err := f.rawClient(t, http2).Do(f.stream(t, path, body, 1<<40).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, resp.Body, 4*segment); err != nil {
				t.Error(err)
			}
			cancel()
			if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("the client ended with %v", err)
			}
			resp.Body.Close()
			waitFor(t, "the end of the stream", func() bool { return f.engine.breaks() == before+1 })
		}
	})
}

// TestStalledClients: one that sends nothing more and one that reads nothing more lose their stream.
func TestStalledClients(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t, func(c *api.Config) { c.Limits.StreamIdle = 200 * time.Millisecond })
		body, _ := openBody(t, 2*segment)
		resp, err := f.rawClient(t, http2).Do(f.stream(t, encryptPath, body, -1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil || resp.Trailer.Get("X-Stream-Status") != "" {
			t.Errorf("a client that stopped sending got a whole stream: trailer %v", resp.Trailer)
		}
		resp.Body.Close()
		if n := f.engine.breaks(); n != 1 {
			t.Errorf("%d streams broke off", n)
		}

		resp, err = f.rawClient(t, http2).Do(f.stream(t, encryptPath, endless{}, -1))
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the end of the stream that nobody reads", func() bool { return f.engine.breaks() == 2 })
		resp.Body.Close()

		// One that stalls before the answer begins gets to know it.
		a := send(t, f.newClient(t, http2), f.stream(t, decryptPath, openPipe(t), -1))
		if a.StatusCode != http.StatusBadRequest || a.problem(t).Code != "malformed-request" {
			t.Errorf("%s: %s", a.Status, a.body)
		}
	})
}

// TestASlowStreamThatMoves lasts longer than every limit but the one for streams, each of whose pauses is shorter.
func TestASlowStreamThatMoves(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		const pauses, pause = 20, 50 * time.Millisecond
		f := newFixture(t, func(c *api.Config) {
			c.Limits.ReadTimeout, c.Limits.WriteTimeout, c.Limits.StreamIdle = 300*time.Millisecond, 300*time.Millisecond, 600*time.Millisecond
		})
		reader, writer := io.Pipe()
		go func() {
			for range pauses {
				time.Sleep(pause)
				if _, err := writer.Write(make([]byte, 1000)); err != nil {
					t.Error(err)
					return
				}
			}
			writer.Close()
		}()
		a := send(t, f.newClient(t, http2), f.stream(t, encryptPath, reader, -1))
		if a.StatusCode != http.StatusOK || len(a.body) != 1+pauses*1000 || a.Trailer.Get("X-Stream-Status") != "complete" {
			t.Errorf("%s with %d bytes, trailer %v", a.Status, len(a.body), a.Trailer)
		}
	})
}

// TestAStreamMayTakeItsTimeToEnd: when all is read, that nothing more comes is no stall.
func TestAStreamMayTakeItsTimeToEnd(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t, func(c *api.Config) {
			c.Limits.StreamIdle, c.Limits.ReadTimeout = 400*time.Millisecond, 400*time.Millisecond
		})
		f.engine.linger = 450 * time.Millisecond // longer than for reading, shorter than for writing
		a := send(t, f.newClient(t, http2), f.stream(t, encryptPath, strings.NewReader("abc"), -1))
		if a.StatusCode != http.StatusOK || string(a.body) != "!abc." || a.Trailer.Get("X-Stream-Status") != "complete" {
			t.Errorf("%s: %q, trailer %v", a.Status, a.body, a.Trailer)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	f := newFixture(t, func(c *api.Config) { c.Limits.Streams = 2 })
	as := func(user string) func(*http.Request) {
		session, hash := auth.NewSessionToken()
		f.engine.sessions[hash] = &policy.Subject{Kind: policy.KindUser, ID: user, Expires: farFuture}
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+session) }
	}
	other, third := as("user_1"), as("user_2")
	entered, release := make(chan struct{}), make(chan struct{})
	f.engine.before = func(c *engine.Call) {
		if c.RequestID == "held" {
			entered <- struct{}{}
			<-release
		}
	}
	answered := make(chan int)
	for i := range 2 {
		held := f.stream(t, encryptPath, strings.NewReader("a"), 1, func(r *http.Request) { r.Header.Set("X-Request-ID", "held") })
		if i == 1 {
			other(held)
		}
		go func() {
			resp, err := f.client.Do(held)
			if err != nil {
				t.Error(err)
				answered <- 0
				return
			}
			resp.Body.Close()
			answered <- resp.StatusCode
		}()
		<-entered
		a := send(t, f.client, f.stream(t, encryptPath, strings.NewReader("a"), 1))
		if p := a.problem(t); a.StatusCode != http.StatusTooManyRequests || p.Code != "rate-limited" {
			t.Errorf("a second stream of one subject, which may have half: %s: %s", a.Status, a.body)
		}
	}
	a := send(t, f.client, f.stream(t, encryptPath, strings.NewReader("a"), 1, third))
	if p := a.problem(t); a.StatusCode != http.StatusServiceUnavailable || p.Code != "unavailable" || !p.Retryable || a.Header.Get("Retry-After") == "" {
		t.Errorf("a third stream: %s: %s", a.Status, a.body)
	}
	if got := f.engine.lastRefusal(t); got.action != policy.EncryptStream || got.code != "unavailable" {
		t.Errorf("recorded %+v", got)
	}
	if a := f.do(t, "POST", encryptPath, goodEncrypt); a.StatusCode != http.StatusOK {
		t.Errorf("a request that is no stream: %s", a.Status)
	}
	close(release)
	for range 2 {
		if status := <-answered; status != http.StatusOK {
			t.Errorf("a held stream: %d", status)
		}
	}
	waitFor(t, "a free place", func() bool {
		return send(t, f.client, f.stream(t, encryptPath, strings.NewReader("a"), 1)).StatusCode == http.StatusOK
	})
}

// TestFramesThatComeAsStreamsAreCounted: the engine holds a frame that is no stream in memory, so there is a bound to all of
// them together, as for other bodies.
func TestFramesThatComeAsStreamsAreCounted(t *testing.T) {
	f := newFixture(t, func(c *api.Config) { c.Limits.CryptoBodyBytes, c.Limits.AllBodiesBytes = 1<<20, 8<<20 })
	frame := func(size int) answer {
		return send(t, f.client, f.stream(t, decryptPath, strings.NewReader("w"+strings.Repeat("x", size-1)), int64(size)))
	}
	for range 3 { // what is held comes back
		if a := frame(4 << 20); a.StatusCode != http.StatusBadRequest || a.problem(t).Code != "decrypt-failed" {
			t.Errorf("a frame of 4 MiB: %s: %s", a.Status, a.body)
		}
		if a := frame(10 << 20); a.StatusCode != http.StatusServiceUnavailable || a.problem(t).Code != "unavailable" {
			t.Errorf("a frame of 10 MiB: %s: %s", a.Status, a.body)
		}
	}
	body := "!" + strings.Repeat("x", 20<<20)
	if a := send(t, f.client, f.stream(t, decryptPath, strings.NewReader(body), int64(len(body)))); a.StatusCode != http.StatusOK {
		t.Errorf("a stream of 20 MiB: %s: %s", a.Status, a.body)
	}
}

// TestStreamsTakeNoMemory moves 256 MiB both ways and looks at the heap meanwhile: of the client and of the server.
func TestStreamsTakeNoMemory(t *testing.T) {
	const size, most = 256 << 20, 24 << 20
	bothProtocols(t, func(t *testing.T, http2 bool) {
		f := newFixture(t)
		client := f.rawClient(t, http2)
		// Once before, for what is kept.
		if a := send(t, client, f.stream(t, encryptPath, io.LimitReader(endless{}, 4<<20), -1)); a.StatusCode != http.StatusOK {
			t.Fatal(a.Status)
		}
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before, peak := heap(), uint64(0)
		resp, err := client.Do(f.stream(t, encryptPath, io.LimitReader(endless{}, size), -1))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for range 8 {
			if _, err := io.CopyN(io.Discard, resp.Body, size/8); err != nil {
				t.Fatal(err)
			}
			peak = max(peak, heap())
		}
		if rest, err := io.Copy(io.Discard, resp.Body); err != nil || rest != 1 || resp.Trailer.Get("X-Stream-Status") != "complete" {
			t.Errorf("%d bytes remain: %v, trailer %v", rest, err, resp.Trailer)
		}
		if peak > before+most {
			t.Errorf("the heap grew from %d to %d KiB", before>>10, peak>>10)
		}
	})
}

// TestShutdownDuringAStream lets a stream end that moves, and cuts one off when the time is over; the engine learns it before
// Shutdown returns.
func TestShutdownDuringAStream(t *testing.T) {
	bothProtocols(t, func(t *testing.T, http2 bool) {
		for _, ends := range []bool{true, false} {
			f := newFixture(t, func(c *api.Config) { c.Limits.ShutdownGrace = 10 * time.Second })
			f.engine.linger = 50 * time.Millisecond
			body, writer := openBody(t, segment)
			resp, err := f.rawClient(t, http2).Do(f.stream(t, encryptPath, body, -1))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			var stopped atomic.Bool
			go func() {
				err := f.server.Shutdown(ctx)
				stopped.Store(true)
				done <- err
			}()
			waitUntilRefused(t, f.address)
			if stopped.Load() {
				t.Error("the server stopped with a stream running")
			}
			if ends {
				writer.Close()
			} else {
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("Shutdown: %v", err)
				}
				if n := f.engine.breaks(); n != 1 {
					t.Errorf("Shutdown returned before the engine knew: %d streams broke off", n)
				}
			}
			_, err = io.Copy(io.Discard, resp.Body)
			if whole := err == nil && resp.Trailer.Get("X-Stream-Status") == "complete"; whole != ends {
				t.Errorf("whole is %v, want %v: %v", whole, ends, err)
			}
			resp.Body.Close()
			writer.Close()
			cancel()
			if ends {
				// It may have been told to stop by now.
				if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Shutdown: %v", err)
				}
			}
		}
	})
}
