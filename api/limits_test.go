package api_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cryptoserve/api"
	"cryptoserve/api/auth"
	"cryptoserve/engine"
	"cryptoserve/engine/policy"
)

// paddedEncrypt is a good request of so many bytes.
func paddedEncrypt(size int) string { return goodEncrypt + strings.Repeat(" ", size-len(goodEncrypt)) }

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was sent")
	return 0, io.EOF
}

// TestLargeBodiesAreBounded holds a request inside the engine that takes all there is: a large one has no room beside it,
// small ones have.
func TestLargeBodiesAreBounded(t *testing.T) {
	const all, large, small = 1 << 20, 700 << 10, 64 << 10
	f := newFixture(t, func(c *api.Config) { c.Limits.CryptoBodyBytes, c.Limits.AllBodiesBytes = all, all })
	entered, release := make(chan struct{}), make(chan struct{})
	f.engine.before = func(c *engine.Call) {
		switch c.RequestID {
		case "held":
			close(entered)
			<-release
		case "panics":
			panic("test")
		}
	}
	named := func(id string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Request-ID", id) }
	}
	session, hash := auth.NewSessionToken()
	f.engine.sessions[hash] = &policy.Subject{Kind: policy.KindUser, ID: "user_1", Expires: farFuture}
	other := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+session) }
	held, answered := f.request(t, "POST", encryptPath, paddedEncrypt(all), named("held"), other), make(chan int, 1)
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

	// The client asks first (RFC 9110 section 10.1.1), so that it would be seen if the server wanted the body.
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13}, ExpectContinueTimeout: time.Hour,
	}
	t.Cleanup(transport.CloseIdleConnections)
	asking := &http.Client{Transport: transport}
	unannounced := func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(r.Body), -1 }
	for name, c := range map[string]struct {
		client *http.Client
		edit   func(*http.Request)
	}{
		"announced": {asking, func(r *http.Request) {
			r.Header.Set("Expect", "100-continue")
			r.Body, r.ContentLength = io.NopCloser(unread{t}), large
		}},
		"unannounced": {f.client, unannounced},
	} {
		before := f.engine.reached()
		a := send(t, c.client, f.request(t, "POST", encryptPath, paddedEncrypt(large), c.edit))
		p := a.problem(t)
		if a.StatusCode != http.StatusServiceUnavailable || p.Code != "unavailable" || !p.Retryable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s: %s", name, a.Status, a.body)
		}
		if f.engine.reached() != before || f.engine.lastRefusal(t).code != "unavailable" {
			t.Errorf("%s: not recorded as refused", name)
		}
	}
	if a := send(t, f.client, f.request(t, "POST", encryptPath, paddedEncrypt(large), other)); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("more than the half that one subject may have: %s", a.Status)
	}
	for range 8 {
		if a := f.do(t, "POST", encryptPath, paddedEncrypt(small)); a.StatusCode != http.StatusOK {
			t.Errorf("a small request: %s", a.Status)
		}
	}
	close(release)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the large request: %d", status)
	}

	// However a request ends, its share is free again: each of these needs all there is. They come over one connection, where
	// a request begins when the one before has ended on the server too.
	client := f.newClient(t, false)
	for _, c := range []struct {
		id     string
		edit   func(*http.Request)
		status int
	}{
		{"good", func(*http.Request) {}, http.StatusOK},
		{"refused", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Repeat(" ", all))) }, http.StatusBadRequest},
		{"unannounced", unannounced, http.StatusOK},
		{"panics", func(*http.Request) {}, http.StatusInternalServerError},
		{"good after all", func(*http.Request) {}, http.StatusOK},
	} {
		a := send(t, client, f.request(t, "POST", encryptPath, paddedEncrypt(all), named(c.id), c.edit))
		if a.StatusCode != c.status {
			t.Errorf("%s: %s", c.id, a.Status)
		}
	}
}

// queue is a listener in memory. Connections wait in it until they are accepted.
type queue struct {
	waiting chan net.Conn
	closed  chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.waiting:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	close(q.closed)
	return nil
}

func (*queue) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// TestConnectionsAreBounded opens one connection more than the server may have. It waits, and is served when another
// ends.
func TestConnectionsAreBounded(t *testing.T) {
	var config api.Config
	f := newFixture(t, func(c *api.Config) {
		c.Limits.Connections = 2
		config = *c
		config.TLS = c.TLS.Clone() // a server writes to its own
	})
	present := time.Now() // the certificate knows nothing of the clock in the bubble
	synctest.Test(t, func(t *testing.T) {
		server, err := api.New(config)
		if err != nil {
			t.Fatal(err)
		}
		q := &queue{waiting: make(chan net.Conn, 8), closed: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- server.Serve(q) }()

		var ready atomic.Int64
		open := func() *tls.Conn {
			near, far := net.Pipe()
			q.waiting <- far
			conn := tls.Client(near, &tls.Config{
				RootCAs: f.roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, Time: func() time.Time { return present },
			})
			go func() {
				if conn.Handshake() == nil {
					ready.Add(1)
				}
			}()
			return conn
		}
		expect := func(when string, want int64) {
			t.Helper()
			synctest.Wait()
			if got := ready.Load(); got != want {
				t.Errorf("%s: %d handshakes, want %d", when, got, want)
			}
		}
		first, second := open(), open()
		expect("two connections", 2)
		third := open()
		expect("a third", 2)
		if err := first.NetConn().Close(); err != nil {
			t.Error(err)
		}
		expect("one of them closed", 3)
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		for _, c := range []*tls.Conn{second, third} {
			_ = c.NetConn().Close()
		}
	})
}
