package hsmtest

import (
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/hsm"
	"cryptoserve/hsm/internal/p11"
)

// raw is a login on a token below package hsm, with which a test tries what hsm never would.
type raw struct {
	testing.TB
	m    p11.Module
	s    pkcs11.SessionHandle
	slot uint
}

// openRaw initialises the module and logs in, until the test ends. No hsm.Token may be open.
func openRaw(tb testing.TB, c hsm.Config) *raw {
	tb.Helper()
	m, err := p11.Load(c.Module)
	if err != nil {
		tb.Fatal(err)
	}
	return openModule(tb, m, c.TokenLabel, string(c.PIN.Reveal()))
}

// openModule is openRaw for a loaded module. Without a PIN it does not log in.
func openModule(tb testing.TB, m p11.Module, label, pin string) *raw {
	tb.Helper()
	if err := m.Initialize(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Finalize(); err != nil {
			tb.Errorf("finalize: %v", err)
		}
	})
	slots, err := m.GetSlotList(true)
	if err != nil {
		tb.Fatal(err)
	}
	for _, slot := range slots {
		info, err := m.GetTokenInfo(slot)
		if err != nil {
			tb.Fatal(err)
		}
		if info.Label != label {
			continue
		}
		r := &raw{TB: tb, m: m, slot: slot}
		if r.s, err = m.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
			tb.Fatal(err)
		}
		if pin != "" {
			if err := m.Login(r.s, pkcs11.CKU_USER, pin); err != nil {
				tb.Fatal(err)
			}
		}
		return r
	}
	tb.Fatalf("no token is labelled %q", label)
	return nil
}

// key returns the secret or private key with the label.
func (r *raw) key(label string) pkcs11.ObjectHandle {
	r.Helper()
	for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY} {
		found, err := r.m.Find(r.s, []*pkcs11.Attribute{attr(pkcs11.CKA_LABEL, label), attr(pkcs11.CKA_CLASS, class)})
		if err != nil {
			r.Fatal(err)
		}
		if len(found) == 1 {
			return found[0]
		}
	}
	r.Fatalf("no key is labelled %s", label)
	return 0
}

func (r *raw) value(h pkcs11.ObjectHandle, typ uint) ([]byte, error) {
	got, err := r.m.GetAttributeValue(r.s, h, []*pkcs11.Attribute{attr(typ, nil)})
	if err != nil {
		return nil, err
	}
	return got[0].Value, nil
}

// mac is an HMAC-SHA256 by the token.
func (r *raw) mac(key pkcs11.ObjectHandle) func([]byte) ([]byte, error) {
	return func(message []byte) ([]byte, error) {
		if err := r.m.SignInit(r.s, mechanism(pkcs11.CKM_SHA256_HMAC), key); err != nil {
			return nil, err
		}
		return r.m.Sign(r.s, message)
	}
}

// hmacKey imports a known key for HMAC as a session object.
func (r *raw) hmacKey(value []byte, private bool) pkcs11.ObjectHandle {
	r.Helper()
	h, err := r.m.CreateObject(r.s, []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_PRIVATE, private), attr(pkcs11.CKA_SIGN, true),
		attr(pkcs11.CKA_SENSITIVE, false), attr(pkcs11.CKA_EXTRACTABLE, true), attr(pkcs11.CKA_VALUE, value),
	})
	if err != nil {
		r.Fatal(err)
	}
	return h
}

func attr(typ uint, value any) *pkcs11.Attribute { return pkcs11.NewAttribute(typ, value) }

func mechanism(m uint) []*pkcs11.Mechanism { return []*pkcs11.Mechanism{pkcs11.NewMechanism(m, nil)} }
