package hsm

import (
	"errors"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

func TestWrongPINIsTriedOnce(t *testing.T) {
	const wrong = "27182818"
	r := newRig(t)
	right := r.cfg
	r.cfg.PIN = pin(wrong)
	_, err := Open(t.Context(), r.cfg)
	if !errors.Is(err, ErrPIN) || !errors.Is(err, fault.HSMUnavailable) || !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") {
		t.Fatalf("wrong PIN: %v", err)
	}
	if strings.Contains(err.Error(), wrong) {
		t.Fatal("the error shows the PIN")
	}
	if n := r.faults.Calls("C_Login"); n != 1 {
		t.Fatalf("%d logins were tried, not 1", n)
	}
	// Whatever loop calls again, the token does not hear of it.
	for range 3 {
		if _, err := Open(t.Context(), r.cfg); !errors.Is(err, ErrPIN) {
			t.Fatalf("again: %v", err)
		}
		if _, err := Probe(t.Context(), r.cfg); !errors.Is(err, ErrPIN) {
			t.Fatalf("probe: %v", err)
		}
		if n := r.faults.Calls("C_Login"); n != 0 {
			t.Fatalf("the refused PIN was tried %d times more", n)
		}
	}
	r.cfg = right
	r.open(t)
}

func TestLoginIsNotTriedOnALockedToken(t *testing.T) {
	cases := []struct {
		name  string
		flags uint
		says  string
	}{
		{"locked", pkcs11.CKF_USER_PIN_LOCKED | pkcs11.CKF_USER_PIN_INITIALIZED, "locked"},
		{"final try", pkcs11.CKF_USER_PIN_FINAL_TRY | pkcs11.CKF_USER_PIN_INITIALIZED, "locks the token"},
		{"no user PIN", 0, "no user PIN"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := checkLoginFlags("op", c.flags)
			if !errors.Is(err, ErrPIN) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := checkLoginFlags("op", pkcs11.CKF_USER_PIN_INITIALIZED|pkcs11.CKF_USER_PIN_COUNT_LOW); err != nil {
		t.Errorf("one wrong PIN before: %v", err)
	}
}

func TestRecoveryStopsAtARefusedPIN(t *testing.T) {
	for _, code := range []pkcs11.Error{pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED} {
		t.Run(ckrs[code].name, func(t *testing.T) {
			r := newToken(t)
			r.faults.Set("C_Login", p11.Fault{Err: code})
			logins := r.faults.Calls("C_Login")
			r.run(t)
			r.markDown(pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED))
			r.waitFor(t, "latched", func(h *health) bool { return h.latched })
			if _, err := r.Random(t.Context(), 1); !errors.Is(err, fault.HSMUnavailable) || !errors.Is(err, ErrPIN) {
				t.Errorf("an operation afterwards: %v", err)
			}
			r.faults.Clear()
			for range 3 { // Run looks again, and must still not try; once the third is taken the first was dealt with
				r.wake <- struct{}{}
			}
			if n := r.faults.Calls("C_Login") - logins; n != 1 {
				t.Errorf("%d logins were tried, not 1", n)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), r.cfg); !errors.Is(err, ErrPIN) {
				t.Errorf("the PIN was tried again by Open: %v", err)
			}
			forgetRefusedPINs()
		})
	}
}

// forgetRefusedPINs is the restart of the process as far as PINs go.
func forgetRefusedPINs() {
	process.Lock()
	defer process.Unlock()
	clear(process.refused)
}
