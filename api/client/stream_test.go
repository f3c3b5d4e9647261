package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// echo answers a stream with its own input, as it comes.
func echo(w http.ResponseWriter, r *http.Request, finish func(http.Header)) {
	h := w.Header()
	h.Set("Content-Type", streamType)
	h.Set("X-Key-Id", "key_x_1")
	h.Set("X-Algorithm", "AES-256-GCM")
	h.Set("X-Format", "4")
	h.Set("X-Rewrap", "true")
	h.Add("X-Warning", "one")
	h.Add("X-Warning", "two")
	h.Set("X-Request-Id", "req-1")
	h.Set("Trailer", "X-Stream-Status, Audit-Receipt")
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		_, _ = w.Write(buf[:n])
		if err != nil {
			break
		}
	}
	finish(h)
}

func complete(h http.Header) {
	h.Set("X-Stream-Status", "complete")
	h.Set("Audit-Receipt", "node-1/7/00ff")
}

// pipe hides everything of a reader but Read.
type pipe struct{ io.Reader }

func TestStream(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 300_000) // 4.8 MB
	tests := []struct {
		name   string
		src    func() io.Reader
		length string // of the request
		want   []byte
	}{
		{"seeker", func() io.Reader { return bytes.NewReader(data) }, strconv.Itoa(len(data)), data},
		{"seeker in its middle", func() io.Reader {
			r := bytes.NewReader(data)
			_, _ = r.Seek(5, io.SeekStart)
			return r
		}, strconv.Itoa(len(data) - 5), data[5:]},
		{"with a length", func() io.Reader { return bytes.NewBuffer(data) }, strconv.Itoa(len(data)), data},
		{"grown since it was measured", func() io.Reader { return liar{bytes.NewReader(data)} }, "10", data[:10]},
		{"pipe", func() io.Reader { return pipe{bytes.NewReader(data)} }, "-1", data},
		{"byte by byte", func() io.Reader { return iotest.OneByteReader(bytes.NewReader(data[:1000])) }, "-1", data[:1000]},
		{"data with the end", func() io.Reader { return iotest.DataErrReader(pipe{bytes.NewReader(data)}) }, "-1", data},
		{"empty", func() io.Reader { return strings.NewReader("") }, "-1", nil},
		{"empty, of known length", func() io.Reader { return new(bytes.Buffer) }, "-1", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				got := fmt.Sprintf("%s %s %s %s %d", r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"),
					r.Header.Get("X-Associated-Data"), r.ContentLength)
				if want := "POST /api/v1/crypto/encrypt?context=a+b%26c " + streamType + " YWFk " + tt.length; got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if r.Header.Get("Authorization") != "Bearer "+testToken {
					t.Error("without the token")
				}
				echo(w, r, complete)
			})
			s, err := c.EncryptStream(t.Context(), "a b&c", []byte("aad"), tt.src())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			got, err := io.ReadAll(s)
			if err != nil || !bytes.Equal(got, tt.want) {
				t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(tt.want))
			}
			want := StreamInfo{
				KeyID: "key_x_1", Algorithm: "AES-256-GCM", Format: 4, Rewrap: true, Warnings: []string{"one", "two"}, RequestID: "req-1",
				Length: -1, Total: -1,
			}
			if fmt.Sprint(s.StreamInfo) != fmt.Sprint(want) || s.Receipt() != "node-1/7/00ff" {
				t.Errorf("got %+v, receipt %q", s.StreamInfo, s.Receipt())
			}
			if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %d, %v", n, err)
			}
		})
	}
}

// TestCutStreams ends streams in every way that is not the right one. What was read until then must never end in io.EOF.
func TestCutStreams(t *testing.T) {
	tests := []struct {
		name   string
		finish func(http.Header)
		want   string
	}{
		{"connection broken", func(http.Header) { panic(http.ErrAbortHandler) }, "unexpected EOF"},
		{"no trailer", func(http.Header) {}, "did not say that it is complete"},
		{"another status", func(h http.Header) { h.Set("X-Stream-Status", "failed") }, `the server says "failed"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			c, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				echo(w, r, tt.finish)
			})
			server.Config.ErrorLog = discard()
			data := strings.Repeat("x", 1<<20)
			var got bytes.Buffer
			info, n, err := c.DecryptTo(t.Context(), &got, "x", nil, strings.NewReader(data))
			if !errors.Is(err, ErrCut) || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), tt.want) ||
				!strings.Contains(err.Error(), "request req-1") {
				t.Errorf("got %v", err)
			}
			if n != int64(got.Len()) || n == 0 || info.KeyID != "key_x_1" || tries.Load() != 1 {
				t.Errorf("%d bytes of %d, %+v after %d tries", n, got.Len(), info, tries.Load())
			}
		})
	}
}

// hasty is an http.RoundTripper that reads only the beginning of a request and calls its answer complete.
type hasty struct{}

func (hasty) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.CopyN(io.Discard, r.Body, 10); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {streamType}}, Trailer: http.Header{"X-Stream-Status": {"complete"}},
		Body: io.NopCloser(strings.NewReader("0123456789")), ContentLength: -1, Request: r,
	}, nil
}

func TestServerEndsEarly(t *testing.T) {
	c, err := New(Config{Server: "https://node", Token: StaticToken("t")})
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = hasty{}
	for name, src := range map[string]io.Reader{
		"pipe": pipe{endless{}}, "seeker": strings.NewReader("0123456789a"), "seeker, sent": strings.NewReader("0123456789"),
	} {
		_, _, err := c.EncryptTo(t.Context(), io.Discard, "x", nil, src)
		if want := name != "seeker, sent"; errors.Is(err, ErrCut) != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestRange(t *testing.T) {
	const text = "0123456789"
	tests := []struct {
		name        string
		first, last int64
		spec        string
		header      string // Content-Range of the answer
		body        string
		want        string // of the error
	}{
		{"inside", 2, 4, "bytes=2-4", "bytes 2-4/10", "234", ""},
		{"to the end", 7, -1, "bytes=7-", "bytes 7-9/10", "789", ""},
		{"beyond the end", 7, 99, "bytes=7-99", "bytes 7-9/10", "789", ""},
		{"total unknown", 7, 99, "bytes=7-99", "bytes 7-9/*", "789", ""},
		{"another beginning", 2, 4, "bytes=2-4", "bytes 1-3/10", "123", "another range"},
		{"longer", 2, 4, "bytes=2-4", "bytes 2-5/10", "2345", "another range"},
		{"cut", 2, 4, "bytes=2-4", "bytes 2-4/10", "23", "cut off"},
		{"without a range", 2, 4, "bytes=2-4", "", "234", "another range"},
		{"bad range", 2, 4, "bytes=2-4", "bytes 4-2/10", "234", "another range"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Range"); got != tt.spec {
					t.Errorf("got %q, want %q", got, tt.spec)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", streamType)
				if tt.header != "" {
					w.Header().Set("Content-Range", tt.header)
				}
				w.WriteHeader(http.StatusPartialContent)
				_, _ = io.WriteString(w, tt.body)
			})
			s, err := c.DecryptRange(t.Context(), "x", nil, strings.NewReader(text), tt.first, tt.last)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(s)
				_ = s.Close()
			}
			switch {
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %q, %v", got, err)
			case tt.want == "" && (err != nil || string(got) != tt.body || s.First != tt.first):
				t.Errorf("got %q at %d, %v", got, s.First, err)
			}
		})
	}
}

// TestRefusedStreams checks that a refusal comes as one, also while a source without an end is being sent, be it before or
// after the server has begun to read.
func TestRefusedStreams(t *testing.T) {
	for _, reads := range []int64{0, 100_000} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, reads)
			refuse(t, w, 403, "algorithm-disallowed", false)
		})
		_, err := c.EncryptStream(t.Context(), "x", nil, endless{})
		var problem *Error
		if !errors.As(err, &problem) || problem.Code != "algorithm-disallowed" {
			t.Errorf("after %d bytes: got %v", reads, err)
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"web page": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") },
		"wrong state": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", streamType)
			w.WriteHeader(206)
		},
	} {
		c, _ := serve(t, handler)
		if _, err := c.DecryptStream(t.Context(), "x", nil, strings.NewReader("y")); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestStreamRetries has a server that reads the whole input, refuses and then serves, or that cannot be reached at first.
// Only what can be sent again is.
func TestStreamRetries(t *testing.T) {
	const text = "0123456789"
	tests := []struct {
		name      string
		src       func() io.Reader
		away      bool // at first
		wantTries int32
	}{
		{"seeker", func() io.Reader { return strings.NewReader(text) }, false, 2},
		{"seeker, not reached", func() io.Reader { return strings.NewReader(text) }, true, 2},
		{"pipe", func() io.Reader { return pipe{strings.NewReader(text)} }, false, 1},
		{"pipe, not reached", func() io.Reader { return pipe{strings.NewReader(text)} }, true, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if !tt.away && tries.Add(1) == 1 {
					_, _ = io.Copy(io.Discard, r.Body)
					refuse(t, w, 503, "hsm-unavailable", true)
					return
				}
				echo(w, r, complete)
			})
			transport, ok := c.http.Transport.(*http.Transport)
			if !ok {
				t.Fatal("not an *http.Transport")
			}
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				if tt.away && tries.Add(1) == 1 {
					return nil, errors.New("connection refused")
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			var got bytes.Buffer
			_, _, err := c.EncryptTo(t.Context(), &got, "x", nil, tt.src())
			if tries.Load() != tt.wantTries || (err == nil) != (tt.wantTries == 2) || err == nil && got.String() != text {
				t.Errorf("%d tries, got %q, %v", tries.Load(), got.String(), err)
			}
		})
	}
}

func TestBadSource(t *testing.T) {
	broken := errors.New("bad sector")
	tests := []struct {
		name string
		src  io.Reader
		want string
	}{
		{"fails at once", pipe{iotest.ErrReader(broken)}, "bad sector"},
		{"fails in its middle", pipe{io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), iotest.ErrReader(broken))}, "bad sector"},
		{"shorter than it says", liar{strings.NewReader("abc")}, "it ended after 3 of 10 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				buf := make([]byte, 1024)
				for {
					if _, err := r.Body.Read(buf); err != nil {
						panic(http.ErrAbortHandler) // as a node does when a body does not come to its end
					}
				}
			})
			server.Config.ErrorLog = discard()
			_, _, err := c.EncryptTo(t.Context(), io.Discard, "x", nil, tt.src)
			var source *SourceError
			if !errors.As(err, &source) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

type liar struct{ io.Reader }

func (liar) Len() int { return 10 }

// TestCloseEndsTheStream checks that nothing is left running when a caller has seen enough.
func TestCloseEndsTheStream(t *testing.T) {
	ended := make(chan struct{})
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		echo(w, r, complete)
	})
	s, err := c.EncryptStream(t.Context(), "x", nil, pipe{endless{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, s, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after close: %v", err)
	}
	<-ended
}

func TestContextEndsTheStream(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { echo(w, r, complete) })
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := c.EncryptStream(ctx, "x", nil, pipe{endless{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	cancel(errors.New("had enough"))
	if _, err := io.Copy(io.Discard, s); err == nil || !strings.Contains(err.Error(), "had enough") {
		t.Errorf("got %v", err)
	}
}

// slow is an http.RoundTripper whose answers come with pauses.
type slow struct{ first, each time.Duration }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	if err := sleep(r.Context(), s.first); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {streamType}}, Trailer: http.Header{"X-Stream-Status": {"complete"}},
		Body: io.NopCloser(&pauses{ctx: r.Context(), each: s.each, left: 10}), ContentLength: -1, Request: r,
	}, nil
}

type pauses struct {
	ctx  context.Context
	each time.Duration
	left int
}

func (p *pauses) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	p.left--
	if err := sleep(p.ctx, p.each); err != nil {
		return 0, err
	}
	return copy(b, "x"), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lazy is a source, and lazyWriter a destination, that take their time.
type lazy struct{ r io.Reader }

func (l lazy) Read(p []byte) (int, error) {
	time.Sleep(time.Minute)
	return l.r.Read(p)
}

type lazyWriter struct{}

func (lazyWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Minute)
	return len(p), nil
}

// TestSlowStreams lets streams take as long as they need while something moves, and ends them when the server does nothing.
func TestSlowStreams(t *testing.T) {
	tests := []struct {
		name    string
		server  slow
		src     io.Reader
		dst     io.Writer
		stalled bool
		took    time.Duration
	}{
		{"moving", slow{first: 25 * time.Second, each: 25 * time.Second}, strings.NewReader("x"), io.Discard, false, 275 * time.Second},
		{"the source is slow", slow{}, lazy{strings.NewReader("x")}, io.Discard, false, 2 * time.Minute},
		{"the destination is slow", slow{}, strings.NewReader("x"), lazyWriter{}, false, 10 * time.Minute},
		{"stalls in its middle", slow{each: 31 * time.Second}, strings.NewReader("x"), io.Discard, true, 30 * time.Second},
		{"stalls at once", slow{first: 31 * time.Second}, strings.NewReader("x"), io.Discard, true, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New(Config{Server: "https://node", Token: StaticToken("t"), Retry: Retry{Attempts: 1}})
				if err != nil {
					t.Fatal(err)
				}
				c.http.Transport = tt.server
				start := time.Now()
				_, n, err := c.EncryptTo(t.Context(), tt.dst, "x", nil, tt.src)
				if tt.stalled != errors.Is(err, errStalled) || !tt.stalled && (err != nil || n != 10) {
					t.Errorf("got %d bytes, %v", n, err)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// FuzzContentRange: what is read holds together, whatever a server sends.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-1/2", "bytes 5-4/9", "bytes 1-2/*", "bytes */10", "", "bytes 0-4611686018427387903/4611686018427387904"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		first, last, total, ok := contentRange(value)
		if ok && (first < 0 || last < first || total < -1 || last-first+1 <= 0) {
			t.Errorf("%q: %d-%d/%d", value, first, last, total)
		}
	})
}
