package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // #nosec G505 -- the only hash that some tokens have for OAEP, whose security does not rest on collisions
	"errors"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// SHA1 names the hash of RSA-OAEP in tokens that have no other. It is no algorithm of the appliance.
const SHA1 algs.Name = "SHA-1"

// oaep is RSA-OAEP with one hash function, for the label and for MGF1 (RFC 8017 section 7.1).
type oaep struct {
	name      algs.Name
	host      crypto.Hash
	hash, mgf uint
	labels    bool // keys of this kind must work with labels, too
}

var (
	oaepSHA256 = &oaep{algs.SHA256, crypto.SHA256, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, true}
	// For import pairs, which use no label.
	importOAEP = []*oaep{
		{algs.SHA256, crypto.SHA256, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, false},
		{SHA1, crypto.SHA1, pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, false},
	}
)

func (o *oaep) mechanism(label []byte) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP,
		pkcs11.NewOAEPParams(o.hash, o.mgf, pkcs11.CKZ_DATA_SPECIFIED, label))}
}

func (o *oaep) encrypt(pub *rsa.PublicKey, message, label []byte) ([]byte, error) {
	return rsa.EncryptOAEP(o.host.New(), rand.Reader, pub, message, label)
}

// maxLabelBytes is the most bytes of a label of RSA-OAEP.
const maxLabelBytes = 64 << 10

// DecryptOAEP decrypts RSA-OAEP with SHA-256 (RFC 8017 section 7.1.2) by the key of a blob. A ciphertext that is not one of
// this key and label is fault.DecryptFailed, whatever the reason.
func (t *Token) DecryptOAEP(ctx context.Context, name algs.Name, blob, ciphertext, label []byte) (plaintext []byte, err error) {
	const op = "hsm.DecryptOAEP"
	k, err := kindOf(op, name, pkcs11.CKM_RSA_PKCS_OAEP)
	if err != nil {
		return nil, err
	}
	return t.decryptOAEP(ctx, op, k, blob, ciphertext, label)
}

func (t *Token) decryptOAEP(ctx context.Context, op string, k *kind, blob, ciphertext, label []byte) (plaintext []byte, err error) {
	if len(label) > maxLabelBytes {
		return nil, field(op, "label", "it is longer than 64 KiB")
	}
	if len(ciphertext) != k.bits/8 {
		return nil, fault.New(fault.DecryptFailed, op, details[fault.DecryptFailed])
	}
	err = t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, k); err != nil {
			return err
		}
		return t.withWrapped(ctx, op, s, k, blob, func(held *heldKey) error {
			plaintext, err = t.openOAEP(s, k, held.handle, ciphertext, label)
			if inputAtFault(err, func() error { return t.openOwnOAEP(s, k, held.handle) }) {
				return fault.New(fault.DecryptFailed, op, details[fault.DecryptFailed])
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return plaintext, nil
}

func (t *Token) openOAEP(s *session, k *kind, h pkcs11.ObjectHandle, ciphertext, label []byte) ([]byte, error) {
	if err := t.module.DecryptInit(s.handle, k.oaep.mechanism(label), h); err != nil {
		return nil, &initError{err}
	}
	return t.module.Decrypt(s.handle, ciphertext)
}

// openOwnOAEP decrypts what was encrypted to the same key here.
func (t *Token) openOwnOAEP(s *session, k *kind, h pkcs11.ObjectHandle) error {
	pub, err := t.readRSA(s, k, h)
	if err != nil {
		return err
	}
	return t.roundTripOAEP(s, k, pub, h, nil)
}

func (t *Token) roundTripOAEP(s *session, k *kind, pub *rsa.PublicKey, h pkcs11.ObjectHandle, label []byte) error {
	want := []byte("cryptoserve/kcv")
	ciphertext, err := k.oaep.encrypt(pub, want, label)
	if err != nil {
		return err
	}
	got, err := t.openOAEP(s, k, h, ciphertext, label)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errOtherKey
	}
	return nil
}

// proveOAEP decrypts once without a label. Where labels must work it decrypts once with one, and shows that another label is
// refused: SoftHSM2 takes a label and ignores it.
func (t *Token) proveOAEP(s *session, k *kind, pub crypto.PublicKey, h pkcs11.ObjectHandle) error {
	key := pub.(*rsa.PublicKey)
	if err := t.roundTripOAEP(s, k, key, h, nil); err != nil {
		return err
	}
	if !k.oaep.labels {
		return nil
	}
	label := []byte("cryptoserve/kcv")
	if err := t.roundTripOAEP(s, k, key, h, label); err != nil {
		return err
	}
	ciphertext, err := k.oaep.encrypt(key, label, nil)
	if err != nil {
		return err
	}
	if _, err := t.openOAEP(s, k, h, ciphertext, label); err == nil {
		return errors.New("the token ignores the label of RSA-OAEP")
	}
	return nil
}

// tried is the outcome of a trial.
type tried struct{ refused error }

// offersOAEP refuses the kinds of RSA-OAEP where the token cannot do what they ask for. The list of mechanisms does not tell:
// SoftHSM2 has CKM_RSA_PKCS_OAEP, with SHA-1 and without labels. So it is tried, once, with a pair of 2048 bits. Until it was
// tried the caller needs a session and the right to make keys.
func (t *Token) offersOAEP(ctx context.Context, op string, s *session, k *kind) error {
	if k.oaep != oaepSHA256 {
		return nil
	}
	if t.oaep.Load() == nil {
		_, _, err := t.generateWith(ctx, op, s, kinds[algs.RSAOAEP2048])
		switch classOf(err) {
		case classNone, classRequest:
		default:
			return err
		}
		if errors.Is(err, fault.HSMUnavailable) || errors.Is(err, fault.Unavailable) {
			return err
		}
		t.oaep.Store(&tried{err})
	}
	if t.oaep.Load().refused != nil {
		return fault.New(fault.AlgorithmDisallowed, op, "the token cannot keep keys of algorithm "+string(k.name)+
			": it does not decrypt RSA-OAEP with SHA-256 and labels; use protection host")
	}
	return nil
}

// inputAtFault tells whether a call failed because of the input that it was given. A refusal after C_DecryptInit or the like
// has passed is about the input. Modules also answer a bad input by CKR_GENERAL_ERROR and its kind; then it is at fault if the
// same call works with a good one.
func inputAtFault(err error, good func() error) bool {
	var early *initError
	switch {
	case err == nil || errors.As(err, &early):
		return false
	case classOf(err) == classRequest:
		return true
	default:
		return classOf(err) == classUnspecific && good() == nil
	}
}
