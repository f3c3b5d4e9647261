package hsm

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/p11"
)

// InitToken makes a token in the first slot that has none: label, security officer's PIN, user PIN. It never touches an
// initialised token. fault.Conflict when a token with the label exists, no slot is free, or the process has a Token
// open.
func InitToken(module, label string, soPIN, pin secret.Bytes) error {
	const op = "hsm.InitToken"
	if err := checkLabel(label); err != nil {
		return fault.Wrap(fault.Malformed, op, err.Error(), nil)
	}
	release, err := claim(op)
	if err != nil {
		return err
	}
	defer release()
	m, err := Config{Module: module}.module()
	if err != nil {
		return err
	}
	if err := m.Initialize(); err != nil {
		return describe(op, err)
	}
	return errors.Join(initToken(m, op, label, soPIN, pin), describe(op, finalizeQuietly(m)))
}

func initToken(m p11.Module, op, label string, soPIN, pin secret.Bytes) error {
	_, _, err := findToken(m, op, label)
	if err == nil {
		return fault.New(fault.Conflict, op, fmt.Sprintf("a token labelled %q exists; it was not touched", label))
	}
	if !errors.Is(err, ErrNoToken) {
		return err
	}
	slot, info, err := emptySlot(m, op)
	if err != nil {
		return err
	}
	for name, p := range map[string]secret.Bytes{"security officer's PIN": soPIN, "user PIN": pin} {
		if n := uint(p.Len()); n < info.MinPinLen || n > info.MaxPinLen { // #nosec G115 -- a length
			return fault.New(fault.Malformed, op,
				fmt.Sprintf("the %s must have %d to %d bytes for this token", name, info.MinPinLen, info.MaxPinLen))
		}
	}
	if err := m.InitToken(slot, string(soPIN.Reveal()), label); err != nil {
		return describe(op, err)
	}
	// A token may move to another slot when it is made.
	if slot, _, err = findToken(m, op, label); err != nil {
		return err
	}
	s, err := m.OpenSession(slot, sessionFlags)
	if err != nil {
		return describe(op, err)
	}
	if err := m.Login(s, pkcs11.CKU_SO, string(soPIN.Reveal())); err != nil {
		return describe(op, errors.Join(err, m.CloseSession(s)))
	}
	return describe(op, errors.Join(m.InitPIN(s, string(pin.Reveal())), m.Logout(s), m.CloseSession(s)))
}

func emptySlot(m p11.Module, op string) (uint, pkcs11.TokenInfo, error) {
	slots, err := m.GetSlotList(true)
	if err != nil {
		return 0, pkcs11.TokenInfo{}, describe(op, err)
	}
	for _, s := range slots {
		info, err := m.GetTokenInfo(s)
		if err != nil {
			return 0, info, describe(op, err)
		}
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			return s, info, nil
		}
	}
	return 0, pkcs11.TokenInfo{}, fault.New(fault.Conflict, op,
		"every slot holds an initialized token; make the token with the vendor's tool, or erase one there")
}
