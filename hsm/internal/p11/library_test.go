package p11

import (
	"errors"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/softhsm/softhsmtest"
)

// closedModule loads SoftHSM2 with an empty store.
func closedModule(tb testing.TB) *Library {
	tb.Helper()
	path, _ := softhsmtest.New(tb)
	l, err := Load(path)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func TestLoadIsOncePerLibrary(t *testing.T) {
	l := closedModule(t)
	again, err := Load(l.path)
	if err != nil || again != l {
		t.Errorf("another Library for the same file: %v", err)
	}
}

func TestInitializeOnce(t *testing.T) {
	l := closedModule(t)
	if err := l.Finalize(); !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)) {
		t.Errorf("Finalize before Initialize: %v", err)
	}
	for range 2 {
		if err := l.Initialize(); err != nil {
			t.Fatal(err)
		}
		if err := l.Initialize(); !errors.Is(err, errInitialized) {
			t.Errorf("second Initialize: %v", err)
		}
		if err := l.InitializeFor(Attach{TokenLabel: "x", Signers: 1}); !errors.Is(err, errInitialized) {
			t.Errorf("InitializeFor after Initialize: %v", err)
		}
		if err := l.Finalize(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInitializeForLeavesNothingBehindWhenItFails(t *testing.T) {
	l := closedModule(t)
	if err := l.InitializeFor(Attach{TokenLabel: "none", Signers: 1, Wait: time.Second}); !errors.Is(err, ErrTokenNotFound) {
		t.Errorf("no such token: %v", err)
	}
	if _, err := l.KeyPair([]byte("x"), []byte("x")); !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)) {
		t.Errorf("KeyPair: %v", err)
	}
	if err := l.Initialize(); err != nil {
		t.Fatalf("the module was left initialized: %v", err)
	}
	if err := l.Finalize(); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyBlobIsRefusedBeforeTheModule(t *testing.T) {
	l := closedModule(t)
	if _, err := l.UnwrapKey(0, nil, 0, nil, nil); !errors.Is(err, pkcs11.Error(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)) {
		t.Errorf("got %v", err)
	}
}

func TestInjector(t *testing.T) {
	i := NewInjector(closedModule(t))
	first, second := errors.New("first"), errors.New("second")
	hooks := 0
	i.Set("C_Initialize", Fault{Err: first, After: 1, Times: 2, Hook: func() { hooks++ }})
	want := []error{nil, first, first, errInitialized}
	for n, w := range want {
		if err := i.Initialize(); !errors.Is(err, w) {
			t.Errorf("call %d: %v, want %v", n+1, err, w)
		}
	}
	if hooks != 2 || i.Calls("C_Initialize") != 4 {
		t.Errorf("%d hooks, %d calls", hooks, i.Calls("C_Initialize"))
	}
	i.Set("C_Finalize", Fault{Err: second})
	for range 3 {
		if err := i.Finalize(); !errors.Is(err, second) {
			t.Errorf("got %v", err)
		}
	}
	i.Clear()
	if err := i.Finalize(); err != nil {
		t.Error(err)
	}
}
