package api_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/api"
	"cryptoserve/engine"
)

const goodEncrypt = `{"plaintext":"aGVsbG8=","context":"user-pii"}`

// TestShutdownFinishesWhatRuns holds a request inside the engine while the server is told to go.
func TestShutdownFinishesWhatRuns(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		f := newFixture(t, func(c *api.Config) { c.Limits.ShutdownGrace = time.Hour })
		entered, release := make(chan struct{}), make(chan struct{})
		f.engine.before = func(*engine.Call) {
			close(entered)
			<-release
		}
		busy, idle := f.newClient(t, http2), f.newClient(t, http2)
		// A connection that is idle when the shutdown begins.
		if a := send(t, idle, f.request(t, "GET", "/health/ready", "")); a.StatusCode != http.StatusOK {
			t.Fatalf("ready: %s", a.Status)
		}
		answered := make(chan error, 1)
		running := f.request(t, "POST", encryptPath, goodEncrypt)
		go func() {
			resp, err := busy.Do(running)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = errors.New(resp.Status)
				}
			}
			answered <- err
		}()
		<-entered
		done := make(chan error, 1)
		go func() { done <- f.server.Shutdown(t.Context()) }()
		waitUntilRefused(t, f.address)

		// The idle connection may bring one more request; its answer says that the node is going.
		a := send(t, idle, f.request(t, "GET", "/health/ready", ""))
		if a.StatusCode != http.StatusServiceUnavailable || (!http2 && !a.Close) {
			t.Errorf("while draining: %s, close %v", a.Status, a.Close)
		}
		select {
		case err := <-done:
			t.Fatalf("the server stopped with a request running: %v", err)
		case err := <-f.served:
			t.Fatalf("Serve returned with a request running: %v", err)
		default:
		}
		close(release)
		if err := <-answered; err != nil {
			t.Errorf("the running request: %v", err)
		}
		idle.CloseIdleConnections()
		busy.CloseIdleConnections()
		// The last connection ends the grace of an hour.
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-f.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := f.server.Shutdown(t.Context()); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("a second Shutdown: %v", err)
		}
	}
}

// waitUntilRefused returns once nobody listens at the address.
func waitUntilRefused(t *testing.T, address string) {
	t.Helper()
	for t.Context().Err() == nil {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		c.Close()
	}
}

// TestShutdownUnderLoad: each request either is answered or never reached the node.
func TestShutdownUnderLoad(t *testing.T) {
	f := newFixture(t)
	var answered, refused atomic.Int64
	var workers sync.WaitGroup
	warm := make(chan struct{})
	for range 8 {
		client := f.newClient(t, false)
		workers.Go(func() {
			for {
				resp, err := client.Do(f.request(t, "POST", encryptPath, goodEncrypt))
				if err != nil {
					var dial *net.OpError
					if !errors.As(err, &dial) || dial.Op != "dial" {
						t.Errorf("a request was lost: %v", err)
					}
					refused.Add(1)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("a request was answered with %s", resp.Status)
					return
				}
				if answered.Add(1) == 200 {
					close(warm)
				}
			}
		})
	}
	<-warm
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	workers.Wait()
	if answered.Load() != int64(f.engine.reached()) {
		t.Errorf("the engine did %d operations, %d were answered", f.engine.reached(), answered.Load())
	}
	if refused.Load() != 8 {
		t.Errorf("%d of 8 clients ended at a closed door", refused.Load())
	}
}

// TestShutdownGivesUp: with its context over, Shutdown cuts off what still runs and says so.
func TestShutdownGivesUp(t *testing.T) {
	f := newFixture(t, func(c *api.Config) { c.Limits.ShutdownGrace = time.Nanosecond })
	entered, release := make(chan struct{}), make(chan struct{})
	f.engine.before = func(*engine.Call) {
		close(entered)
		<-release
	}
	failed := make(chan error, 1)
	client, running := f.plainClient(t), f.request(t, "POST", encryptPath, goodEncrypt)
	go func() {
		resp, err := client.Do(running)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "still running") {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the request was answered all the same")
	}
	close(release)
}

func TestServeAfterShutdown(t *testing.T) {
	f := newFixture(t)
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

// TestServeReportsADeadListener: only Shutdown ends Serve without an error.
func TestServeReportsADeadListener(t *testing.T) {
	f := newFixture(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.server.Serve(l); err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}
