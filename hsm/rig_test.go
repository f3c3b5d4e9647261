package hsm

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/p11"
	"cryptoserve/softhsm"
	"cryptoserve/softhsm/softhsmtest"
)

const (
	testLabel = "cryptoserve-test"
	testSOPIN = "87654321"
	testPIN   = "31415926"
)

func pin(s string) secret.Bytes { return secret.New([]byte(s)) }

// rig is a SoftHSM2 token of its own for one test, behind a fault injector.
type rig struct {
	*Token
	faults *p11.Injector
	store  *softhsm.Store
	cfg    Config
	log    *lockedBuffer
}

// lockedBuffer collects the log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// newRig makes a token and the configuration to open it, and opens nothing yet.
func newRig(tb testing.TB) *rig {
	tb.Helper()
	module, store := softhsmtest.New(tb)
	if err := InitToken(module, testLabel, pin(testSOPIN), pin(testPIN)); err != nil {
		tb.Fatal(err)
	}
	return rigFor(tb, module, store, testLabel)
}

// rigFor makes the configuration to open a token that is there.
func rigFor(tb testing.TB, module string, store *softhsm.Store, label string) *rig {
	tb.Helper()
	r := &rig{store: store, log: &lockedBuffer{}}
	r.cfg = Config{
		Module: module, TokenLabel: label, PIN: pin(testPIN), Sessions: 4,
		ProbeInterval: 10 * time.Millisecond,
		Log:           slog.New(slog.NewTextHandler(r.log, nil)),
		wrapModule: func(m p11.Module) p11.Module {
			r.faults = p11.NewInjector(m)
			return r.faults
		},
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(r.log.b.String())
		}
	})
	return r
}

// open opens the token, and closes it when the test ends.
func (r *rig) open(tb testing.TB) *rig {
	tb.Helper()
	token, err := Open(tb.Context(), r.cfg)
	if err != nil {
		tb.Fatal(err)
	}
	r.Token = token
	tb.Cleanup(func() {
		if err := token.Close(context.Background()); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return r
}

// newToken returns a provisioned token.
func newToken(tb testing.TB) *rig {
	tb.Helper()
	r := newRig(tb).open(tb)
	if err := r.Provision(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return r
}

// run runs Run until the test ends.
func (r *rig) run(tb testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			tb.Errorf("run: %v", err)
		}
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
}

// waitFor waits until the health is as wanted. It looks at each change of it.
func (r *rig) waitFor(tb testing.TB, what string, want func(h *health) bool) {
	tb.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		h := r.health.Load()
		if want(h) {
			return
		}
		select {
		case <-h.changed:
		case <-limit.C:
			tb.Fatalf("the token did not get %s", what)
		}
	}
}

func (r *rig) waitUp(tb testing.TB) {
	tb.Helper()
	r.waitFor(tb, "up", func(h *health) bool { return !h.down() })
}

func (r *rig) waitDown(tb testing.TB) {
	tb.Helper()
	r.waitFor(tb, "down", (*health).down)
}

// mustExpand returns 32 bytes derived with a fixed info.
func (r *rig) mustExpand(tb testing.TB) []byte {
	tb.Helper()
	out, err := r.Expand(tb.Context(), []byte("info"), 32)
	if err != nil {
		tb.Fatal(err)
	}
	return out.Reveal()
}

// ImportLegacy brings in a key of an imported deployment and keeps it.
func (r *rig) ImportLegacy(ctx context.Context, n uint32, pair, wrapped []byte) (blob, kcv []byte, err error) {
	if blob, kcv, err = r.UnwrapLegacy(ctx, pair, wrapped); err != nil {
		return nil, nil, err
	}
	if err := r.KeepLegacy(ctx, n, kcv, pair, wrapped); err != nil {
		return nil, nil, err
	}
	return blob, kcv, nil
}
