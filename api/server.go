package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/julienschmidt/httprouter"
	"golang.org/x/time/rate"

	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// Authenticator returns the subject that a credential proves; errors are fault.Unauthenticated. It is auth.Verifier.
type Authenticator interface {
	// Authenticate takes the value of an Authorization header, Verify an access token alone.
	Authenticate(authorization string) (*policy.Subject, error)
	Verify(token string) (*policy.Subject, error)
	// Certificate takes a client certificate whose private key the TLS handshake has proved.
	Certificate(certificate *x509.Certificate) (*policy.Subject, error)
}

// TokenIssuer makes the tokens of applications. It is auth.Issuer.
type TokenIssuer interface {
	// Refresh trades a refresh token for new tokens.
	Refresh(ctx context.Context, call *engine.Call, presented string) (auth.Tokens, error)
	// Issue gives an application first tokens.
	Issue(ctx context.Context, call *engine.Call, app *directory.Application) (auth.Tokens, error)
	// Revoke ends what a refresh token or a session token stands for.
	Revoke(ctx context.Context, call *engine.Call, token string) error
}

// Limits bounds what a client may take of the node. A zero field means its default.
type Limits struct {
	CryptoBodyBytes   int64         // body that brings data to work on; 16 MiB. Streams have no limit
	ImportBodyBytes   int64         // body that imports keys; 1 MiB
	BodyBytes         int64         // any other body; 64 KiB
	AllBodiesBytes    int64         // bodies above 64 KiB of all requests at once; 128 MiB. A request holds up to four times its body
	HeaderBytes       int           // request line and headers; 16 KiB
	ReadHeaderTimeout time.Duration // also bounds the TLS handshake; 5 s
	ReadTimeout       time.Duration // from the first byte of a request to the last of its body; 30 s
	WriteTimeout      time.Duration // from the end of the headers to the end of the answer; 60 s
	IdleTimeout       time.Duration // between two requests of a connection; 2 min
	ChangeTimeout     time.Duration // work that waits for the cluster; 10 s
	KeyTimeout        time.Duration // work that makes a key, which takes a while for RSA; 25 s
	Streams           int           // streams that run at once; 256. Each holds about 200 KiB
	StreamIdle        time.Duration // a stream that does not move for so long breaks off. It stands for both timeouts above; 60 s
	ShutdownGrace     time.Duration // how long idle connections may bring a last request at shutdown; 500 ms
	SlowRequest       time.Duration // requests that take as long are logged; 1 s
	Connections       int           // open connections; 4096. Further ones wait to be accepted
	HTTP2Streams      int           // concurrent requests of one HTTP/2 connection; 128
}

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{
		CryptoBodyBytes:   16 << 20,
		ImportBodyBytes:   1 << 20,
		BodyBytes:         64 << 10,
		AllBodiesBytes:    128 << 20,
		HeaderBytes:       16 << 10,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		ChangeTimeout:     10 * time.Second,
		KeyTimeout:        25 * time.Second,
		Streams:           256,
		StreamIdle:        time.Minute,
		ShutdownGrace:     500 * time.Millisecond,
		SlowRequest:       time.Second,
		Connections:       4096,
		HTTP2Streams:      128,
	}
}

// Config says what a Server works with. Every field down to TLS is required.
type Config struct {
	Engine Engine
	Auth   Authenticator
	Tokens TokenIssuer
	// State is what /health/state answers; it is also read for each problem. It must be quick and call nothing remote.
	State func() wire.State
	// Ready says why requests should not be sent here; nil when they should. It must be quick and call nothing remote.
	Ready  func() error
	Log    *slog.Logger
	TLS    *tls.Config // as TLSConfig makes it
	Limits Limits
	// SignIn are the identity providers; nil means that there are none. Rules says, by a provider's name, what it may decide.
	SignIn SignIn
	Rules  map[string]engine.ProviderRules
	// BaseURL is what people reach this node under, without a slash at the end. Empty means the host of each request.
	BaseURL string
}

// linesAtOnce is how many lines of a kind go into the log before it is one a second.
const linesAtOnce = 10

// Server is the API's HTTPS server. Goroutines share it.
type Server struct {
	config    Config
	routes    []route
	methods   []string // of the routes
	router    *httprouter.Router
	exact     map[string][]*route // of the rows that the router has no place for, by path
	http      *http.Server
	exchanges sync.Pool
	ids       requestIDs
	bodies    budget
	slots     chan struct{} // a token for each open connection
	streams   chan struct{} // a token for each running stream
	// One subject has at most half of the room for large bodies, and of the streams.
	bodiesOf, streamsOf *shares
	origins             *http.CrossOriginProtection

	refusals rate.Sometimes // lines about refusals that pass
	slow     rate.Sometimes // lines about slow requests

	draining atomic.Bool
	open     atomic.Int64  // connections
	empty    chan struct{} // gets a token when the last connection closes while draining
	stopped  chan struct{} // closed when Shutdown is done

	mu        sync.Mutex
	listeners []net.Listener
}

// New returns a Server that does not listen yet.
func New(c Config) (*Server, error) {
	if c.Engine == nil || c.Auth == nil || c.Tokens == nil || c.State == nil || c.Ready == nil || c.Log == nil {
		return nil, errors.New("api: Config lacks Engine, Auth, Tokens, State, Ready or Log")
	}
	if c.TLS == nil || c.TLS.MinVersion < tls.VersionTLS12 {
		return nil, errors.New("api: Config.TLS must be set and begin at TLS 1.2; TLSConfig makes one")
	}
	c.Limits = c.Limits.withDefaults()
	if l := c.Limits; min(l.CryptoBodyBytes, l.ImportBodyBytes, l.BodyBytes) < 0 ||
		min(l.HeaderBytes, l.HTTP2Streams, l.Connections, l.Streams) < 0 {
		return nil, errors.New("api: Config.Limits has a negative size")
	}
	if l := c.Limits; l.AllBodiesBytes < max(l.CryptoBodyBytes, l.ImportBodyBytes, l.BodyBytes) {
		return nil, errors.New("api: Config.Limits.AllBodiesBytes is below the largest body, which would never be read")
	}
	table := routes(c.Limits)
	s := &Server{
		config: c, routes: table, methods: methods(table), slots: make(chan struct{}, c.Limits.Connections),
		streams: make(chan struct{}, c.Limits.Streams), origins: http.NewCrossOriginProtection(),
		empty: make(chan struct{}, 1), stopped: make(chan struct{}), ids: newRequestIDs(),
		refusals: rate.Sometimes{First: linesAtOnce, Interval: time.Second},
		slow:     rate.Sometimes{First: linesAtOnce, Interval: time.Second},
	}
	s.bodies.limit = c.Limits.AllBodiesBytes
	s.bodiesOf, s.streamsOf = newShares(c.Limits.AllBodiesBytes/2), newShares(int64(c.Limits.Streams/2))
	s.exchanges.New = func() any { return new(exchange) }
	s.router = s.newRouter()
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.dispatch),
		TLSConfig:         c.TLS,
		ReadHeaderTimeout: c.Limits.ReadHeaderTimeout,
		ReadTimeout:       c.Limits.ReadTimeout,
		WriteTimeout:      c.Limits.WriteTimeout,
		IdleTimeout:       c.Limits.IdleTimeout,
		MaxHeaderBytes:    c.Limits.HeaderBytes,
		ErrorLog:          serverLog(c.Log),
		ConnState:         s.connState,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: c.Limits.HTTP2Streams},
		// "OPTIONS *" is a request like any other: refused and recorded.
		DisableGeneralOptionsHandler: true,
	}
	return s, nil
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	orDefault(&l.CryptoBodyBytes, d.CryptoBodyBytes)
	orDefault(&l.ImportBodyBytes, d.ImportBodyBytes)
	orDefault(&l.BodyBytes, d.BodyBytes)
	orDefault(&l.AllBodiesBytes, d.AllBodiesBytes)
	orDefault(&l.HeaderBytes, d.HeaderBytes)
	orDefault(&l.ReadHeaderTimeout, d.ReadHeaderTimeout)
	orDefault(&l.ReadTimeout, d.ReadTimeout)
	orDefault(&l.WriteTimeout, d.WriteTimeout)
	orDefault(&l.IdleTimeout, d.IdleTimeout)
	orDefault(&l.ChangeTimeout, d.ChangeTimeout)
	orDefault(&l.KeyTimeout, d.KeyTimeout)
	orDefault(&l.Streams, d.Streams)
	orDefault(&l.StreamIdle, d.StreamIdle)
	orDefault(&l.ShutdownGrace, d.ShutdownGrace)
	orDefault(&l.SlowRequest, d.SlowRequest)
	orDefault(&l.Connections, d.Connections)
	orDefault(&l.HTTP2Streams, d.HTTP2Streams)
	return l
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Handler returns the API without its listener, for tests and for other servers of the node.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers connections of a listener until Shutdown, which it then waits for, and returns nil. Any other end is an
// error. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	l = newListener(l, s.slots)
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		_ = l.Close()
		return http.ErrServerClosed
	}
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()

	err := s.http.ServeTLS(l, "", "")
	if s.draining.Load() {
		<-s.stopped
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// Shutdown ends the server and loses no request that reached it. It returns when the last answer is written, or with the
// context's error when that takes too long; then what still ran was cut off. A second call is an error.
func (s *Server) Shutdown(ctx context.Context) error {
	if !s.stopAccepting() {
		return http.ErrServerClosed
	}
	defer close(s.stopped)
	s.waitForIdle(ctx)
	if err := s.http.Shutdown(ctx); err != nil {
		err = errors.Join(fmt.Errorf("requests were still running: %w", err), s.http.Close())
		s.waitForStreams()
		return err
	}
	return nil
}

// waitForStreams gives streams whose connection was cut a moment to notice it and to have their end recorded.
func (s *Server) waitForStreams() {
	const step = 5 * time.Millisecond
	for end := time.Now().Add(s.config.Limits.ShutdownGrace); len(s.streams) > 0 && time.Now().Before(end); {
		time.Sleep(step)
	}
}

// stopAccepting tells clients that the server is going and closes the listeners. It reports false the second time.
func (s *Server) stopAccepting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Swap(true) {
		return false
	}
	for _, l := range s.listeners {
		if err := l.Close(); err != nil {
			s.config.Log.Warn("close listener", "error", err)
		}
	}
	return true
}

// waitForIdle gives idle connections the grace to bring a last request, whose answer closes them. http.Server.Shutdown
// closes them at once, and a request may be on its way.
func (s *Server) waitForIdle(ctx context.Context) {
	timer := time.NewTimer(s.config.Limits.ShutdownGrace)
	defer timer.Stop()
	for s.open.Load() > 0 {
		select {
		case <-s.empty:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		if s.open.Add(-1) == 0 && s.draining.Load() {
			select {
			case s.empty <- struct{}{}:
			default:
			}
		}
	case http.StateActive, http.StateIdle:
	}
}

// panicked logs a panic of a handler and returns what to answer. Its value is logged only when the runtime made it: any
// other may hold anything.
func (s *Server) panicked(x *exchange, v any) error {
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	s.config.Log.Error("panic in a request",
		"request_id", x.call.RequestID, "route", x.route.path, "panic", what, "stack", string(debug.Stack()))
	return fault.New(fault.Internal, "api.serve", "")
}
