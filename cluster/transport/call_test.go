package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCall(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	for _, size := range []int{0, 1, bufferBytes, bufferBytes + 1, 1 << 20} {
		request := bytes.Repeat([]byte{byte(size)}, size)
		answer, err := a.Call(within(t, 5*time.Second), b.peer, "echo", request)
		if want := append([]byte("node_a echo "), request...); err != nil || !bytes.Equal(answer, want) {
			t.Errorf("%d bytes: %d bytes, %v", size, len(answer), err)
		}
	}
	if n := len(a.conns.list()); n != 1 {
		t.Errorf("%d connections for all calls, want 1", n)
	}
}

func TestCallErrors(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.add("node_silent", b.cert.Leaf)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	w.add("node_nobody", b.cert.Leaf)
	b.Handle(func(ctx context.Context, _, method string, request []byte) ([]byte, error) {
		switch method {
		case "refuse":
			return nil, fmt.Errorf("wrapped: %w", &RemoteError{Code: "conflict", Detail: "it is there"})
		case "fail":
			return nil, errors.New("a secret of this node")
		case "panic":
			panic("a secret of this node")
		case "wait":
			<-ctx.Done()
			return nil, ctx.Err()
		case "large":
			return make([]byte, MaxMessageBytes+1), nil
		case "long":
			return nil, &RemoteError{Code: strings.Repeat("c", 1000), Detail: strings.Repeat("d", 1<<20)}
		}
		return request, nil
	})
	tests := []struct {
		name    string
		peer    Peer
		method  string
		request []byte
		limit   time.Duration
		is      []error
		not     []error
		code    string
	}{
		{name: "refused by the handler", peer: b.peer, method: "refuse", code: "conflict"},
		{name: "failed", peer: b.peer, method: "fail", code: CodeInternal},
		{name: "panicked", peer: b.peer, method: "panic", code: CodeInternal},
		{name: "answer too large", peer: b.peer, method: "large", code: CodeTooLarge},
		{name: "long refusal", peer: b.peer, method: "long", code: strings.Repeat("c", maxCodeBytes)},
		{name: "largest request", peer: b.peer, method: "echo", request: make([]byte, MaxMessageBytes)},
		{name: "request too large", peer: b.peer, method: "echo", request: make([]byte, MaxMessageBytes+1), is: []error{ErrTooLarge}},
		{name: "no answer in time", peer: b.peer, method: "wait", limit: 50 * time.Millisecond,
			is: []error{ErrInterrupted, context.DeadlineExceeded}, not: []error{ErrUnreachable}},
		{name: "nobody listens", peer: Peer{"node_nobody", nobody.Addr().String()}, method: "echo",
			is: []error{ErrUnreachable}, not: []error{ErrRefused, ErrInterrupted}},
		{name: "no handshake in time", peer: Peer{"node_silent", silent.Addr().String()}, method: "echo", limit: 50 * time.Millisecond,
			is: []error{ErrUnreachable, context.DeadlineExceeded}, not: []error{ErrRefused, ErrInterrupted}},
		{name: "not a member", peer: Peer{"node_x", b.peer.Address}, method: "echo", is: []error{ErrUnreachable, ErrRefused}},
		{name: "no id", peer: Peer{"", b.peer.Address}, method: "echo", is: []error{ErrUnreachable}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := tt.limit
			if limit == 0 {
				limit = 5 * time.Second
			}
			_, err := a.Call(within(t, limit), tt.peer, tt.method, tt.request)
			for _, is := range tt.is {
				if !errors.Is(err, is) {
					t.Errorf("error %v, want it to be %v", err, is)
				}
			}
			for _, not := range tt.not {
				if errors.Is(err, not) {
					t.Errorf("error %v must not be %v", err, not)
				}
			}
			remote, ok := errors.AsType[*RemoteError](err)
			if ok != (tt.code != "") || ok && remote.Code != tt.code {
				t.Errorf("error %v, want the code %q", err, tt.code)
			}
			if tt.is == nil && tt.code == "" && err != nil {
				t.Errorf("error %v, want none", err)
			}
			if err != nil && strings.Contains(err.Error()+a.log.String(), "secret") {
				t.Errorf("the peer's error came through: %v", err)
			}
		})
	}
	if strings.Contains(b.log.String(), "a secret") {
		t.Errorf("the value of a panic is in the log: %s", b.log)
	}
	b.Handle(nil)
	if _, err := a.Call(within(t, 5*time.Second), b.peer, "echo", nil); !hasCode(err, CodeNotReady) {
		t.Errorf("without a handler: %v", err)
	}
}

func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*RemoteError](err)
	return ok && e.Code == code
}

// TestCallCancelled tells the handler when its caller has gone, and leaves the connection to the other calls.
func TestCallCancelled(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	running, ended := make(chan time.Time, 1), make(chan struct{})
	b.Handle(func(ctx context.Context, _, method string, _ []byte) ([]byte, error) {
		if method == "wait" {
			deadline, _ := ctx.Deadline()
			running <- deadline
			<-ctx.Done()
			close(ended)
		}
		return nil, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	result := make(chan error, 1)
	go func() {
		_, err := a.Call(ctx, b.peer, "wait", nil)
		result <- err
	}()
	if left := time.Until(<-running); left > 20*time.Second || left < 10*time.Second {
		t.Errorf("the handler has %v left, the caller 20 s", left)
	}
	before := a.conns.list()
	cancel()
	if err := <-result; !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
		t.Errorf("Call = %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the handler is not told")
	}
	if _, err := a.Call(within(t, 5*time.Second), b.peer, "next", nil); err != nil {
		t.Error(err)
	}
	if after := a.conns.list(); len(after) != 1 || !slices.Equal(before, after) {
		t.Error("the connection was not kept")
	}
}

// TestCallsTogether runs calls of all sizes at once, in both directions, while connections are dropped.
func TestCallsTogether(t *testing.T) {
	w := newWorld(t)
	nodes := []*node{w.node("node_a"), w.node("node_b"), w.node("node_c")}
	var wg sync.WaitGroup
	var answered, lost atomic.Int64
	stop := make(chan struct{})
	for g := range 24 {
		wg.Go(func() {
			from, to := nodes[g%3], nodes[(g+1+g/3%2)%3]
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				request := bytes.Repeat([]byte{byte(g)}, i*g%5000)
				if i%50 == 49 {
					request = bytes.Repeat([]byte{byte(g)}, 200_000)
				}
				limit := 5 * time.Second
				if i%20 == 7 {
					limit = 300 * time.Microsecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				method := fmt.Sprintf("m%d", i)
				answer, err := from.Call(ctx, to.peer, method, request)
				cancel()
				switch {
				case err == nil:
					answered.Add(1)
					if want := append([]byte(from.peer.ID+" "+method+" "), request...); !bytes.Equal(answer, want) {
						t.Errorf("the answer to %s is that of another call", method)
					}
				case errors.Is(err, ErrInterrupted) || errors.Is(err, ErrUnreachable):
					lost.Add(1)
				default:
					t.Errorf("%s: %v", method, err)
				}
			}
		})
	}
	for range 10 {
		time.Sleep(50 * time.Millisecond)
		nodes[0].Drop("node_b")
		nodes[1].Recheck()
	}
	close(stop)
	wg.Wait()
	if answered.Load() < 200 {
		t.Errorf("%d calls were answered, %d lost", answered.Load(), lost.Load())
	}
	eventually(t, "all places are free again", func() bool {
		free := true
		for _, n := range nodes {
			n.slots.Range(func(_, s any) bool {
				free = free && len(s.(chan struct{})) == 0
				return true
			})
		}
		return free
	})
}

// TestCallsBounded has more calls under way than a node accepts: callers wait here, and what a client of another make sends
// beyond that is refused.
func TestCallsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	var running, most atomic.Int64
	release := make(chan struct{})
	b.Handle(func(ctx context.Context, _, _ string, _ []byte) ([]byte, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, nil
	})
	var wg sync.WaitGroup
	for range maxCallsPerNode + 50 {
		wg.Go(func() {
			if _, err := a.Call(within(t, 20*time.Second), b.peer, "m", nil); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all places are taken", func() bool { return running.Load() == maxCallsPerNode })
	if _, err := a.Call(within(t, 20*time.Millisecond), b.peer, "m", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("one call too many: %v, want it not sent", err)
	}
	c, _, err := a.links["node_b"].get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.call(within(t, 5*time.Second), "m", nil); !hasCode(err, CodeBusy) {
		t.Errorf("one call too many, sent: %v", err)
	}
	close(release)
	wg.Wait()
	if most.Load() != maxCallsPerNode {
		t.Errorf("%d calls ran at once, want %d", most.Load(), maxCallsPerNode)
	}
}

// gate is a network between two nodes that can swallow everything without a sign, as a partition does.
type gate struct {
	mu     sync.Mutex
	closed bool
	opened chan struct{}
	dials  atomic.Int32
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.opened = true, make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
	close(g.opened)
}

func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed
}

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.dials.Add(1)
	if !g.pass() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &gatedConn{conn, g}, nil
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if !c.gate.pass() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// TestPartition loses a peer without a sign: the calls under way end when it was silent long enough, and after the partition
// calls get through on a new connection.
func TestPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &gate{}
	a, b := w.node("node_a", func(c *Config) { c.Dial = g.dial }), w.node("node_b")
	if _, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil); err != nil {
		t.Fatal(err)
	}
	g.shut()
	began := time.Now()
	_, err := a.Call(within(t, 30*time.Second), b.peer, "m", nil)
	if took := time.Since(began); !errors.Is(err, ErrInterrupted) || took > 5*time.Second {
		t.Errorf("Call = %v after %v, want it interrupted within 5 s", err, took)
	}
	if _, err := a.Call(within(t, 100*time.Millisecond), b.peer, "m", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call = %v, want the node unreachable", err)
	}
	g.open()
	eventually(t, "a call after the partition", func() bool {
		_, err := a.Call(within(t, time.Second), b.peer, "m", nil)
		return err == nil || time.Since(began) > 20*time.Second
	})
}

// TestSlowHandlerIsNotSilent keeps a connection whose peer takes its time.
func TestSlowHandlerIsNotSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	b.Handle(func(context.Context, string, string, []byte) ([]byte, error) {
		time.Sleep((silentTicks + 2) * watchInterval)
		return nil, nil
	})
	if _, err := a.Call(within(t, 10*time.Second), b.peer, "m", nil); err != nil {
		t.Error(err)
	}
}

// TestHoldOff does not dial a node that cannot be reached for each call of a loop.
func TestHoldOff(t *testing.T) {
	w := newWorld(t)
	var dials atomic.Int32
	a := w.node("node_a", func(c *Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("no route")
		}
	})
	w.add("node_b", a.cert.Leaf)
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for time.Since(began) < 3*holdOff {
				if _, err := a.Call(within(t, time.Second), Peer{"node_b", "127.0.0.1:1"}, "m", nil); !errors.Is(err, ErrUnreachable) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := dials.Load(); n > 5 {
		t.Errorf("%d dials in %v, want at most one in %v", n, 3*holdOff, holdOff)
	}
}

// TestRestart calls a node that went and came back, at its old address and at a new one.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	if _, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "unreachable", func() bool {
		_, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil)
		return errors.Is(err, ErrUnreachable)
	})
	again := w.node("node_b", func(c *Config) { c.Listen = b.peer.Address })
	eventually(t, "a call after the restart", func() bool {
		_, err := a.Call(within(t, 5*time.Second), again.peer, "m", nil)
		return err == nil
	})
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	moved := w.node("node_b")
	if _, err := a.Call(within(t, 5*time.Second), moved.peer, "m", nil); err != nil {
		t.Errorf("a call to the new address: %v", err)
	}
	if _, err := b.Call(within(t, time.Second), a.peer, "m", nil); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("a call on a closed transport: %v", err)
	}
}

// TestCallersBounded keeps few connections of calls from one node, and the newest of them.
func TestCallersBounded(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	for range 3 * maxCallersPerNode {
		conn, err := client(t, a.Addr(), &tls.Config{NextProtos: []string{protoNode}, Certificates: []tls.Certificate{*b.cert}})
		if err := welcomed(conn, err); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.conns.list()); n != maxCallersPerNode {
		t.Errorf("%d connections, want %d", n, maxCallersPerNode)
	}
	if _, err := b.Call(within(t, 5*time.Second), a.peer, "m", nil); err != nil {
		t.Error(err)
	}
}

// TestSkew measures the clock of a peer, both ways.
func TestSkew(t *testing.T) {
	w := newWorld(t)
	a := w.node("node_a")
	b := w.node("node_b", func(c *Config) { c.Skewed = 90 * time.Second })
	if d := a.Skew("node_b"); d != 0 {
		t.Errorf("skew of a node that was never heard: %v", d)
	}
	check := func(what string) {
		t.Helper()
		if d := a.Skew("node_b") - 90*time.Second; d.Abs() > time.Second {
			t.Errorf("%s: 90 s measured as %v", what, d+90*time.Second)
		}
		if d := b.Skew("node_a") + 90*time.Second; d.Abs() > time.Second {
			t.Errorf("%s: -90 s measured as %v", what, d-90*time.Second)
		}
	}
	call := func(n *node, peer Peer) {
		t.Helper()
		if _, err := n.Call(within(t, 5*time.Second), peer, "m", nil); err != nil {
			t.Fatal(err)
		}
	}
	call(a, b.peer)
	call(b, a.peer)
	check("calls")
	a.skews.Clear()
	b.skews.Clear()
	sa, sb := Streams[string](a.Transport), Streams[string](b.Transport)
	for _, s := range []*StreamLayer[string]{sa, sb} {
		go func() { _, _ = s.Accept() }()
	}
	if _, err := sa.Dial(b.peer.String(), time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := sb.Dial(a.peer.String(), time.Second); err != nil {
		t.Fatal(err)
	}
	check("streams")
	a.measure("node_b", time.Now().Add(time.Hour), 2*time.Second) // over a pause of this process
	check("a pause")
}

// TestFramesRefused ends a connection over which a member sends what breaks the protocol.
func TestFramesRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	a.Handle(func(ctx context.Context, _, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, nil
	})
	request := requestHead(1, 0, "m", 0)
	for name, bytes := range map[string][]byte{
		"an id twice":      append(slices.Clone(request), request...),
		"an unknown kind":  {0, 0, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0},
		"too long":         {0x7f, 0, 0, 0, kindRequest, 0, 0, 0, 0, 0, 0, 0, 0},
		"too short":        {0, 0, 0, 8, kindRequest, 0, 0, 0, 0, 0, 0, 0, 0},
		"an empty request": appendHead(nil, kindRequest, 1, 0),
		"an answer":        answerHead(1, clock{}, 0),
	} {
		conn, err := client(t, a.Addr(), &tls.Config{NextProtos: []string{protoNode}, Certificates: []tls.Certificate{*b.cert}})
		if err := welcomed(conn, err); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(bytes); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Read(make([]byte, 64))
		for err == nil {
			_, err = conn.Read(make([]byte, 64))
		}
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Errorf("%s: the connection is still open", name)
		}
	}
	if !strings.Contains(a.log.String(), noticeFrame) {
		t.Errorf("nothing in the log:\n%s", a.log)
	}
}

// TestClose ends what is under way, and leaves nothing behind.
func TestClose(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	running := make(chan struct{})
	b.Handle(func(ctx context.Context, _, _ string, _ []byte) ([]byte, error) {
		close(running)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	result := make(chan error, 1)
	go func() {
		_, err := a.Call(within(t, 10*time.Second), b.peer, "m", nil)
		result <- err
	}()
	<-running
	streams := Streams[string](b.Transport)
	began := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > closeLimit/2 {
		t.Errorf("Close took %v", took)
	}
	if err := <-result; !errors.Is(err, ErrInterrupted) {
		t.Errorf("the call under way: %v", err)
	}
	if _, err := streams.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v", err)
	}
	if _, err := streams.Dial(a.peer.String(), time.Second); err == nil {
		t.Error("a closed transport dials")
	}
	if n := len(b.conns.list()); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// from is a connection that says where it comes from.
type from struct {
	net.Conn
	addr string
	shut bool
}

func (f *from) RemoteAddr() net.Addr { return peerAddr{Peer{Address: f.addr}} }
func (f *from) Close() error         { f.shut = true; return nil }

// TestPending closes the oldest handshake of an address that has too many, and the oldest of all when all have too many.
func TestPending(t *testing.T) {
	var p pending
	p.init()
	var all []*from
	add := func(host string) {
		f := &from{addr: host}
		all = append(all, f)
		p.add(f)
	}
	shut := func() (n int) {
		for _, f := range all {
			if f.shut {
				n++
			}
		}
		return n
	}
	add("member")
	for range maxHandshakesPerAddress {
		add("stranger")
	}
	if n := shut(); n != 0 {
		t.Fatalf("%d were closed within the limits", n)
	}
	add("stranger")
	if !all[1].shut || shut() != 1 {
		t.Errorf("of one address too many: closed %d", shut())
	}
	for i := 0; p.all.Len() < maxHandshakes; i++ {
		add(fmt.Sprint("other ", i))
	}
	add("one more")
	if !all[0].shut || shut() != 2 || p.all.Len() != maxHandshakes {
		t.Errorf("too many: closed %d, %d are left", shut(), p.all.Len())
	}
}

// TestStreamsBounded keeps the newest streams of one node, and those of others.
func TestStreamsBounded(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.node("node_a"), w.node("node_b"), w.node("node_c")
	streams := map[*node]*StreamLayer[string]{}
	for _, n := range []*node{a, b, c} {
		streams[n] = Streams[string](n.Transport)
	}
	go func() {
		for {
			if _, err := streams[a].Accept(); err != nil {
				return
			}
		}
	}()
	open := func(n *node) net.Conn {
		conn, err := streams[n].Dial(a.peer.String(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	other, first := open(c), open(b)
	for range maxStreamsPerNode {
		open(b)
	}
	_ = first.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := first.Read(make([]byte, 1))
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Error("the oldest stream is still open")
	}
	_ = other.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = other.Read(make([]byte, 1))
	if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
		t.Errorf("another node's stream: %v", err)
	}
}
