package hsm

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/p11"
)

// Trust marks the join key of another token as CKA_TRUSTED, in a short session of the security officer. It needs a process of
// its own: PKCS#11 lets no officer log in beside sessions of the user (v2.40 section 5.6). The object must be the RSA-4096 public
// key with this fingerprint under the label that TransferKeys gave it, and may do nothing but wrap: nothing else is ever marked.
// That is looked at before the officer's PIN is used.
//
// A wrong PIN is one error with ErrPIN in its chain, after exactly one try, and is not tried again in this process.
// fault.Conflict when the object is another one, fault.Unavailable when there is none.
func Trust(module, tokenLabel string, soPIN secret.Bytes, label string, fingerprint [sha256.Size]byte) error {
	return trust(Config{Module: module, TokenLabel: tokenLabel, PIN: soPIN}, label, fingerprint)
}

func trust(c Config, label string, fingerprint [sha256.Size]byte) error {
	const op = "hsm.Trust"
	if label != JoinLabel(fingerprint) {
		return fault.New(fault.Malformed, op, "the label is not that of the join key with this fingerprint")
	}
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	release, err := claim(op)
	if err != nil {
		return err
	}
	defer release()
	m, err := c.module()
	if err != nil {
		return err
	}
	if err := m.Initialize(); err != nil {
		return describe(op, err)
	}
	return errors.Join(describe(op, trustObject(m, &c, label, fingerprint)), describe(op, finalizeQuietly(m)))
}

func trustObject(m p11.Module, c *Config, label string, fingerprint [sha256.Size]byte) (err error) {
	const op = "hsm.Trust"
	slot, info, err := findToken(m, op, c.TokenLabel)
	if err != nil {
		return err
	}
	h, err := m.OpenSession(slot, sessionFlags)
	if err != nil {
		return err
	}
	s := &session{handle: h}
	defer func() { err = errors.Join(err, m.CloseSession(h)) }()
	// A public key is to be seen without a login.
	if _, _, err := findJoinKey(m, s, label, fingerprint, false); err != nil {
		return err
	}
	if err := loginOfficer(m, c, op, s, info.Flags); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Logout(h)) }()
	key, pub, err := findJoinKey(m, s, label, fingerprint, false)
	if err != nil {
		return err
	}
	if err := markTrusted(m, s, key, label, pub); err != nil {
		return fmt.Errorf("mark %s: %w", label, err)
	}
	_, _, err = findJoinKey(m, s, label, fingerprint, true)
	return err
}

// markTrusted sets CKA_TRUSTED. The standard says who may set it and not when (PKCS#11 v2.40 section 4.8): SoftHSM2 lets the
// officer do it only as he makes an object, so there the same key takes the place of the one that is not trusted.
func markTrusted(m p11.Module, s *session, key pkcs11.ObjectHandle, label string, pub *rsa.PublicKey) error {
	mark := encode([]attribute{trusted(true)})
	err := m.SetAttributeValue(s.handle, key, mark)
	if code, _, _ := lookUp(err); code != pkcs11.CKR_ATTRIBUTE_READ_ONLY {
		return err
	}
	o := joinPublic(pub)
	template, free, err := o.template(label)
	if err != nil {
		return err
	}
	defer free()
	if err := m.DestroyObject(s.handle, key); err != nil {
		return err
	}
	_, err = m.CreateObject(s.handle, append(template, mark...))
	return err
}

// findJoinKey finds the one object with the label and shows that it is the join key with the fingerprint, trusted or not.
func findJoinKey(m p11.Module, s *session, label string, fingerprint [sha256.Size]byte, is bool) (
	pkcs11.ObjectHandle, *rsa.PublicKey, error) {
	const op = "hsm.Trust"
	found, err := findLabel(m, s, label)
	switch {
	case err != nil:
		return 0, nil, err
	case len(found) == 0:
		return 0, nil, fault.New(fault.Unavailable, op, "the token has no "+label+"; begin the transfer again")
	case len(found) > 1:
		return 0, nil, fault.New(fault.Conflict, op, fmt.Sprintf("the token has %d objects labelled %s; none is trusted", len(found), label))
	}
	var pub *rsa.PublicKey
	if pub, err = readRSAKey(m, s, joinBits, found[0]); err == nil {
		var der []byte
		if der, err = x509.MarshalPKIXPublicKey(pub); err == nil && JoinFingerprint(der) != fingerprint {
			err = errors.New("it has another fingerprint")
		}
	}
	switch classOf(err) {
	case classNone, classRequest:
	default:
		return 0, nil, err
	}
	if err != nil {
		return 0, nil, fault.Wrap(fault.Conflict, op, label+" is not the key that was to be trusted", err)
	}
	o := joinPublic(pub)
	o.attributes = append(o.attributes, trusted(is))
	return found[0], pub, o.check(m, s, found[0], label)
}

// loginOfficer logs the security officer in: at most once with one PIN, and not at all when the next wrong PIN would lock the
// token, which nobody could open again.
func loginOfficer(m p11.Module, c *Config, op string, s *session, flags uint) error {
	officer := Config{Module: c.Module, TokenLabel: c.TokenLabel + "\x00officer", PIN: c.PIN} // no token has such a label
	switch {
	case flags&pkcs11.CKF_SO_PIN_LOCKED != 0:
		return fault.Wrap(fault.HSMUnavailable, op, "the token has locked the PIN of its security officer; see the vendor's manual", ErrPIN)
	case flags&pkcs11.CKF_SO_PIN_FINAL_TRY != 0:
		return fault.Wrap(fault.HSMUnavailable, op, "one more wrong PIN of the security officer locks the token, so none was tried; log in once "+
			"with the vendor's tool to prove the PIN", ErrPIN)
	case officer.pinRefused():
		return fault.Wrap(fault.HSMUnavailable, op, "the token has refused this PIN of the security officer before, so it was not tried again; "+
			"correct it and restart", ErrPIN)
	}
	err := m.Login(s.handle, pkcs11.CKU_SO, string(c.PIN.Reveal()))
	_, row, _ := lookUp(err)
	if row.class != classPIN {
		return err
	}
	officer.refusePIN()
	return fault.Wrap(fault.HSMUnavailable, op, "the token refused the PIN of the security officer ("+row.name+
		"); it was tried once: correct it before the next transfer", errors.Join(ErrPIN, err))
}
