package hsm

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"cryptoserve/engine/fault"
)

// TestAfterLogin counts the hook at opening and at recovery, and makes it fail.
func TestAfterLogin(t *testing.T) {
	r := newRig(t)
	var calls atomic.Int64
	r.cfg.AfterLogin = func() error { calls.Add(1); return r.store.Sync() }
	r.open(t)
	if n := calls.Load(); n != 1 {
		t.Fatalf("%d calls at opening", n)
	}
	if err := r.Provision(t.Context()); err != nil { // it opens the token once more, to read back what it made
		t.Fatal(err)
	}
	before := calls.Load()
	r.run(t)
	gone := filepath.Join(r.store.Dir(), "gone")
	rename(t, r.store.Tokens(), gone)
	r.waitDown(t)
	rename(t, gone, r.store.Tokens())
	r.waitUp(t)
	if n := calls.Load(); n <= before {
		t.Errorf("%d calls before a recovery and %d after it", before, n)
	}
}

func TestAfterLoginFails(t *testing.T) {
	r := newRig(t)
	r.cfg.AfterLogin = func() error { return os.ErrPermission }
	if _, err := Open(t.Context(), r.cfg); !errors.Is(err, fault.HSMUnavailable) || !errors.Is(err, os.ErrPermission) {
		t.Fatalf("got %v", err)
	}
	r.cfg.AfterLogin = nil
	r.open(t)
}
