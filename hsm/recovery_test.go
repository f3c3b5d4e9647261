package hsm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

func TestInvariant05TokenDirectoryGoesAndComesBack(t *testing.T) {
	r := newToken(t)
	pub, blob, err := r.GenerateWrapped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node, wrapped := r.NodeSigner(), r.WrappedSigner(pub, blob)
	want := r.mustExpand(t)
	r.run(t)
	start := time.Now()
	gone := filepath.Join(r.store.Dir(), "gone")
	for range 2 {
		if err := os.Rename(r.store.Tokens(), gone); err != nil {
			t.Fatal(err)
		}
		r.waitDown(t)
		if since, down := r.DownSince(); !down || since.Before(start) || since.After(time.Now()) {
			t.Errorf("down %v since %v", down, since)
		}
		for name, f := range operations(r, node, wrapped) {
			if err := f(t.Context()); !errors.Is(err, fault.HSMUnavailable) {
				t.Errorf("%s while the token is gone: %v", name, err)
			}
		}
		if err := os.Rename(gone, r.store.Tokens()); err != nil {
			t.Fatal(err)
		}
		r.waitUp(t)
		if _, down := r.DownSince(); down {
			t.Error("still down")
		}
		if !bytes.Equal(r.mustExpand(t), want) {
			t.Error("another key after the outage")
		}
		for name, f := range operations(r, node, wrapped) {
			if err := f(t.Context()); err != nil {
				t.Errorf("%s after the outage: %v", name, err)
			}
		}
	}
	if n := r.log.count("token is down"); n != 2 {
		t.Errorf("%d records that the token is down, not 2", n)
	}
	if n := r.log.count("token is back"); n != 2 {
		t.Errorf("%d records that the token is back, not 2", n)
	}
}

// Without Run an operation notices by itself. Random is not in the list: SoftHSM2 gives random bytes without a token.
func TestOperationNoticesTheLoss(t *testing.T) {
	for _, name := range []string{"Expand", "GenerateWrapped", "Provisioned", "Load", "NodeSigner"} {
		t.Run(name, func(t *testing.T) {
			r := newToken(t)
			rename(t, r.store.Tokens(), filepath.Join(r.store.Dir(), "gone"))
			if err := operations(r, r.NodeSigner(), nil)[name](t.Context()); !errors.Is(err, fault.HSMUnavailable) {
				t.Errorf("got %v", err)
			}
			if _, down := r.DownSince(); !down {
				t.Error("the token does not count as down")
			}
		})
	}
}

func TestAnotherMasterKeyIsRefused(t *testing.T) {
	r := newToken(t)
	kcv := r.MasterKCV()
	away, mine := filepath.Join(r.store.Dir(), "other"), filepath.Join(r.store.Dir(), "mine")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Make a second token with the same label, PIN and objects.
	rename(t, r.store.Tokens(), mine)
	if err := os.Mkdir(r.store.Tokens(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := InitToken(r.cfg.Module, testLabel, pin(testSOPIN), pin(testPIN)); err != nil {
		t.Fatal(err)
	}
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	rename(t, r.store.Tokens(), away)
	rename(t, mine, r.store.Tokens())

	if err := r.open(t).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{}, 100)
	r.faults.Set("C_Finalize", p11.Fault{Hook: func() { refused <- struct{}{} }})
	rename(t, r.store.Tokens(), mine)
	rename(t, away, r.store.Tokens())
	r.run(t)
	r.waitDown(t)
	for range 4 { // before each try, and after each refused one
		<-refused
	}
	if _, err := r.Expand(t.Context(), nil, 32); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("Expand with another master key: %v", err)
	}
	if r.log.count("another "+LabelMaster) == 0 {
		t.Error("the log does not tell why")
	}
	rename(t, r.store.Tokens(), away)
	rename(t, mine, r.store.Tokens())
	r.waitUp(t)
	if !bytes.Equal(kcv, r.MasterKCV()) {
		t.Error("the wrong master key was taken")
	}
}

func rename(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.Rename(from, to); err != nil {
		tb.Fatal(err)
	}
}

func TestLostSessionIsReplaced(t *testing.T) {
	for _, code := range []pkcs11.Error{pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_OPERATION_ACTIVE} {
		for _, call := range []string{"C_SignInit", "C_Sign"} {
			t.Run(ckrs[code].name+" at "+call, func(t *testing.T) {
				r := newToken(t)
				want, err := r.Expand(t.Context(), nil, 96)
				if err != nil {
					t.Fatal(err)
				}
				opened := r.faults.Calls("C_OpenSession")
				// Mid-way: the second of three blocks fails.
				r.faults.Set(call, p11.Fault{Err: code, After: 1, Times: 1})
				got, err := r.Expand(t.Context(), nil, 96)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Reveal(), want.Reveal()) {
					t.Error("the second try gives another key")
				}
				if n := r.faults.Calls("C_OpenSession") - opened; n != 1 {
					t.Errorf("%d sessions were opened, not 1", n)
				}
				if _, down := r.DownSince(); down {
					t.Error("a lost session counts as an outage")
				}
			})
		}
	}
}

// The token really closes the sessions, not only the injector.
func TestClosedSessionIsReplaced(t *testing.T) {
	r := newToken(t)
	want := r.mustExpand(t)
	err := r.exclusively(t.Context(), "test", func(all []*session) error {
		for _, s := range all {
			if err := r.module.CloseSession(s.handle); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	opened := r.faults.Calls("C_OpenSession")
	for range 2 * r.cfg.Sessions {
		if !bytes.Equal(r.mustExpand(t), want) {
			t.Error("another key")
		}
	}
	if n := r.faults.Calls("C_OpenSession") - opened; n != r.cfg.Sessions {
		t.Errorf("%d sessions were opened, not one for each closed one that was used, %d", n, r.cfg.Sessions)
	}
}

func TestErrorsThatMeanAnOutage(t *testing.T) {
	cases := []struct {
		name  string
		set   func(*p11.Injector)
		kind  fault.Kind
		downs bool
	}{
		{"device removed", func(i *p11.Injector) {
			i.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), Times: 1})
		}, fault.HSMUnavailable, true},
		{"logged out", func(i *p11.Injector) {
			i.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN), Times: 1})
		}, fault.HSMUnavailable, true},
		{"general error, then well", func(i *p11.Injector) {
			i.Set("C_Sign", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_GENERAL_ERROR), Times: 1})
		}, fault.HSMUnavailable, false},
		{"general error again and again", func(i *p11.Injector) {
			i.Set("C_Sign", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)})
		}, fault.HSMUnavailable, true},
		{"vendor's code, then well", func(i *p11.Injector) {
			i.Set("C_Sign", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_VENDOR_DEFINED | 7), Times: 1})
		}, fault.HSMUnavailable, false},
		{"every session lost", func(i *p11.Injector) {
			i.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID)})
		}, fault.HSMUnavailable, true},
		{"no new session", func(i *p11.Injector) {
			i.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID), Times: 1})
			i.Set("C_OpenSession", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_SESSION_COUNT)})
		}, fault.HSMUnavailable, true},
		{"our own mistake", func(i *p11.Injector) {
			i.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID), Times: 1})
		}, fault.Internal, false},
		{"no CKR code", func(i *p11.Injector) {
			i.Set("C_SignInit", p11.Fault{Err: io.ErrUnexpectedEOF, Times: 1})
		}, fault.Internal, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newToken(t)
			c.set(r.faults)
			if _, err := r.Expand(t.Context(), nil, 32); fault.Of(err) != c.kind {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			if _, down := r.DownSince(); down != c.downs {
				t.Errorf("down %v, want %v", down, c.downs)
			}
			r.faults.Clear()
			if !c.downs {
				r.mustExpand(t)
				return
			}
			// Down means down until Run has brought it back.
			if _, err := r.Expand(t.Context(), nil, 32); !errors.Is(err, fault.HSMUnavailable) {
				t.Errorf("the next call: %v", err)
			}
			r.run(t)
			r.waitUp(t)
			r.mustExpand(t)
		})
	}
}

func TestRunFindsAnOutageByItself(t *testing.T) {
	cases := []struct{ name, call string }{{"by the token's information", "C_GetTokenInfo"}, {"by the key check value", "C_SignInit"}}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newToken(t)
			r.run(t)
			r.faults.Set(c.call, p11.Fault{Err: pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)})
			r.waitDown(t)
			r.faults.Clear()
			r.waitUp(t)
			r.mustExpand(t)
		})
	}
}

func TestBlockedCallDoesNotBlockOthersForEver(t *testing.T) {
	r := newRig(t)
	r.cfg.Sessions, r.cfg.Wait = 2, 50*time.Millisecond
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	release, blocked := make(chan struct{}), make(chan struct{})
	r.faults.Set("C_GenerateRandom", p11.Fault{Times: 2, Hook: func() { blocked <- struct{}{}; <-release }})
	done := make(chan error, 2)
	for range 2 {
		go func() { _, err := r.Random(t.Context(), 8); done <- err }()
		<-blocked
	}
	// Every session is in a call that does not return.
	if _, err := r.Expand(t.Context(), nil, 32); !errors.Is(err, fault.HSMUnavailable) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("got %v", err)
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	r.mustExpand(t)
}

func TestSilentTokenIsDownAndComesBack(t *testing.T) {
	r := newRig(t)
	r.cfg.Wait = 50 * time.Millisecond
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var hanging atomic.Bool
	r.faults.Set("C_GetTokenInfo", p11.Fault{Times: 1, Hook: func() {
		hanging.Store(true)
		<-release
		hanging.Store(false)
	}})
	r.faults.Set("C_Finalize", p11.Fault{Hook: func() {
		if hanging.Load() {
			t.Error("the module was finalized under a running call")
		}
	}})
	r.run(t)
	r.waitDown(t)
	if _, err := r.Random(t.Context(), 8); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("an operation while the token is silent: %v", err)
	}
	close(release)
	r.waitUp(t)
	r.mustExpand(t)
}

func TestCloseNeverFinalizesUnderACall(t *testing.T) {
	r := newToken(t)
	release, blocked := make(chan struct{}), make(chan struct{})
	r.faults.Set("C_GenerateRandom", p11.Fault{Times: 1, Hook: func() { close(blocked); <-release }})
	done := make(chan error, 1)
	go func() { _, err := r.Random(t.Context(), 8); done <- err }()
	<-blocked
	finalized := r.faults.Calls("C_Finalize")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("Close during a call: %v", err)
	}
	if r.faults.Calls("C_Finalize") != finalized {
		t.Error("the module was finalized under a running call")
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the running call: %v", err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Errorf("Close afterwards: %v", err)
	}
}

func TestNodeKeySurvivesRecovery(t *testing.T) {
	r := newToken(t)
	before := r.NodeSigner().Public().(*ecdsa.PublicKey)
	r.faults.Set("KeyPair.Sign", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), Times: 1})
	signer := r.NodeSigner()
	if err := operations(r, signer, nil)["NodeSigner"](t.Context()); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("got %v", err)
	}
	r.run(t)
	r.waitUp(t)
	if err := operations(r, signer, nil)["NodeSigner"](t.Context()); err != nil {
		t.Error(err)
	}
	if !before.Equal(signer.Public()) {
		t.Error("another public key")
	}
}
