package hsm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// bring makes the host's join key an object of the giver's token and closes the token.
func bring(tb testing.TB, edit func(rows []attribute) []attribute) (r *rig, label string, fingerprint [32]byte) {
	tb.Helper()
	r = openGiver(tb)
	fingerprint = JoinFingerprint(hostJoinKey())
	label = JoinLabel(fingerprint)
	pub, err := parseJoinKey("test", hostJoinKey())
	if err != nil {
		tb.Fatal(err)
	}
	o := joinPublic(pub)
	if edit != nil {
		o.attributes = edit(o.attributes)
	}
	withSession(tb, r, func(s *session) {
		template, free, err := o.template(label)
		if err != nil {
			tb.Fatal(err)
		}
		defer free()
		if _, err := r.module.CreateObject(s.handle, template); err != nil {
			tb.Fatal(err)
		}
	})
	r.closeNow(tb)
	return r, label, fingerprint
}

func (r *rig) officerConfig(soPIN string) Config {
	c := r.cfg
	c.PIN = pin(soPIN)
	return c
}

func TestTrust(t *testing.T) {
	r, label, fingerprint := bring(t, nil)
	if err := trust(r.officerConfig(testSOPIN), label, fingerprint); err != nil {
		t.Fatal(err)
	}
	if got := r.faults.Calls("C_Logout"); got != 1 {
		t.Errorf("%d logouts", got)
	}
	// Once more finds one that is trusted already, which nobody asked for.
	if err := trust(r.officerConfig(testSOPIN), label, fingerprint); !errors.Is(err, fault.Conflict) {
		t.Errorf("again: %v", err)
	}
	if err := r.open(t).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	pub, err := parseJoinKey("test", hostJoinKey())
	if err != nil {
		t.Fatal(err)
	}
	withSession(t, r, func(s *session) {
		transfer, err := r.wrapFor("test", s, label, pub, importOAEP)
		if err != nil || len(transfer.Master) != joinBits/8 {
			t.Errorf("wrap: %v", err)
		}
	})
}

// The officer's PIN is not even used when the object is not the key that was to be trusted.
func TestTrustRefusesOtherObjects(t *testing.T) {
	add := func(a attribute) func([]attribute) []attribute {
		return func(rows []attribute) []attribute { return replaced(rows, a.typ, a.want) }
	}
	openGiver(t).closeNow(t)
	other, err := parseJoinKey("test", prepared.join.Join)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		edit func([]attribute) []attribute
		says string
	}{
		{"another key", add(attribute{typ: pkcs11.CKA_MODULUS, want: other.N.Bytes()}), "another fingerprint"},
		{"another exponent", add(attribute{typ: pkcs11.CKA_PUBLIC_EXPONENT, want: []byte{1, 0, 3}}), "another fingerprint"},
		{"a weak exponent", add(attribute{typ: pkcs11.CKA_PUBLIC_EXPONENT, want: []byte{3}}), "public exponent"},
		{"a short key", add(attribute{typ: pkcs11.CKA_MODULUS, want: other.N.Bytes()[:256]}), "2048 bits"},
		{"it verifies", add(attribute{typ: pkcs11.CKA_VERIFY, want: true}), "CKA_VERIFY"},
		{"it encrypts", add(attribute{typ: pkcs11.CKA_ENCRYPT, want: true}), "CKA_ENCRYPT"},
		{"it does not wrap", add(attribute{typ: pkcs11.CKA_WRAP, want: false}), "CKA_WRAP"},
		{"any mechanism", func(rows []attribute) []attribute {
			return slices.DeleteFunc(slices.Clone(rows), func(a attribute) bool { return a.typ == pkcs11.CKA_ALLOWED_MECHANISMS })
		}, "CKA_ALLOWED_MECHANISMS"},
		{"of a session", nil, "no cs-join-"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			edit := c.edit
			if edit == nil {
				edit = add(attribute{typ: pkcs11.CKA_TOKEN, want: false})
			}
			r, label, fingerprint := bring(t, edit)
			logins := r.faults.Calls("C_Login")
			err := trust(r.officerConfig(testSOPIN), label, fingerprint)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if r.faults.Calls("C_Login") > 0 {
				t.Errorf("the officer logged in after %d logins of the user", logins)
			}
		})
	}
}

func TestTrustRefusesLabels(t *testing.T) {
	r, _, fingerprint := bring(t, nil)
	for _, label := range []string{"", LabelMaster, LabelJoin, "cs-join-00000000"} {
		if err := trust(r.officerConfig(testSOPIN), label, fingerprint); !errors.Is(err, fault.Malformed) {
			t.Errorf("%q: %v", label, err)
		}
	}
}

func TestTrustTriesAWrongPINOnce(t *testing.T) {
	const wrong = "27182818"
	r, label, fingerprint := bring(t, nil)
	t.Cleanup(forgetRefusedPINs)
	err := trust(r.officerConfig(wrong), label, fingerprint)
	if !errors.Is(err, ErrPIN) || !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") || strings.Contains(err.Error(), wrong) {
		t.Errorf("got %v", err)
	}
	if n := r.faults.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	for range 2 {
		if err := trust(r.officerConfig(wrong), label, fingerprint); !errors.Is(err, ErrPIN) {
			t.Errorf("again: %v", err)
		}
		if n := r.faults.Calls("C_Login"); n != 0 {
			t.Errorf("the refused PIN was tried %d times more", n)
		}
	}
	if err := trust(r.officerConfig(testSOPIN), label, fingerprint); err != nil {
		t.Errorf("the right PIN: %v", err)
	}
	// A PIN that was refused as the officer's is still the user's, who has one of his own.
	if err := r.open(t).Load(context.Background()); err != nil {
		t.Error(err)
	}
}

// Beside sessions of the user the officer cannot log in, in one process: that is why Trust wants its own.
func TestOfficerNeedsAProcessOfHisOwn(t *testing.T) {
	r := openGiver(t)
	fingerprint := JoinFingerprint(hostJoinKey())
	if err := trust(r.officerConfig(testSOPIN), JoinLabel(fingerprint), fingerprint); !errors.Is(err, fault.Conflict) {
		t.Errorf("Trust beside an open Token: %v", err)
	}
	withSession(t, r, func(s *session) {
		err := r.module.Login(s.handle, pkcs11.CKU_SO, testSOPIN)
		if !errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN)) {
			t.Errorf("the officer beside the user: %v", err)
		}
	})
}
