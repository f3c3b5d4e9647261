package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// ErrTag says that a ciphertext is not one of this key and this associated data, or was changed. It comes inside a fault.Error of kind
// fault.DecryptFailed, and is its fault.Cause.
var ErrTag error = fault.Cause("tag")

const (
	// MaxMessage is the most bytes of a message, and of associated data, that the token is given at once: 16 MiB.
	MaxMessage = 16 << 20

	gcmNonce = 12
	gcmTag   = 16
)

func checkMessage(op string, parts ...[]byte) error {
	for _, part := range parts {
		if len(part) > MaxMessage {
			return fault.New(fault.TooLarge, op, "the token takes 16 MiB at most")
		}
	}
	return nil
}

// EncryptGCM encrypts with AES-256-GCM (SP 800-38D) and the key of a blob. It returns
//
//	nonce (12) || ciphertext (as long as plaintext) || tag (16)
//
// The nonce is from the token's random generator, so one key may encrypt 2^32 messages (SP 800-38D section 8.3): the caller
// counts. fault.TooLarge when plaintext or aad is longer than MaxMessage.
func (t *Token) EncryptGCM(ctx context.Context, blob, plaintext, aad []byte) (sealed []byte, err error) {
	const op = "hsm.EncryptGCM"
	if err := checkMessage(op, plaintext, aad); err != nil {
		return nil, err
	}
	err = t.withGCM(ctx, op, blob, func(s *session, h pkcs11.ObjectHandle) error {
		sealed, err = t.sealGCM(s, h, plaintext, aad)
		return err
	})
	if err != nil {
		return nil, err
	}
	return sealed, nil
}

// DecryptGCM opens what EncryptGCM made, or anything of that form. ErrTag when it does not open, whatever the reason.
func (t *Token) DecryptGCM(ctx context.Context, blob, sealed, aad []byte) (plaintext []byte, err error) {
	const op = "hsm.DecryptGCM"
	if len(sealed) > gcmNonce+MaxMessage+gcmTag {
		return nil, checkMessage(op, sealed)
	}
	if err := checkMessage(op, aad); err != nil {
		return nil, err
	}
	if len(sealed) < gcmNonce+gcmTag {
		return nil, badTag(op)
	}
	err = t.withGCM(ctx, op, blob, func(s *session, h pkcs11.ObjectHandle) error {
		plaintext, err = t.openGCM(s, h, sealed, aad)
		return err
	})
	if err != nil {
		return nil, err
	}
	return plaintext, nil
}

func badTag(op string) error {
	return fault.Wrap(fault.DecryptFailed, op, details[fault.DecryptFailed], ErrTag)
}

func (t *Token) withGCM(ctx context.Context, op string, blob []byte, f func(*session, pkcs11.ObjectHandle) error) error {
	k := kinds[algs.AES256GCM]
	return t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, k); err != nil {
			return err
		}
		return t.withWrapped(ctx, op, s, k, blob, func(held *heldKey) error { return f(s, held.handle) })
	})
}

func (t *Token) sealGCM(s *session, h pkcs11.ObjectHandle, plaintext, aad []byte) ([]byte, error) {
	nonce, err := t.module.GenerateRandom(s.handle, gcmNonce)
	if err != nil {
		return nil, err
	}
	params := pkcs11.NewGCMParams(nonce, aad, 8*gcmTag)
	defer params.Free()
	if err := t.module.EncryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, h); err != nil {
		return nil, err
	}
	body, err := t.module.Encrypt(s.handle, plaintext)
	if err != nil {
		return nil, err
	}
	// Some modules take a nonce of their own and write it back.
	if used := params.IV(); len(used) == gcmNonce {
		nonce = used
	}
	if len(nonce) != gcmNonce || len(body) != len(plaintext)+gcmTag {
		return nil, fmt.Errorf("the token made a nonce of %d bytes and %d bytes for %d", len(nonce), len(body), len(plaintext))
	}
	return append(nonce, body...), nil
}

// openGCM gives ErrTag when the ciphertext is at fault.
func (t *Token) openGCM(s *session, h pkcs11.ObjectHandle, sealed, aad []byte) ([]byte, error) {
	plaintext, err := t.decryptGCM(s, h, sealed, aad)
	if inputAtFault(err, func() error {
		good, err := t.sealGCM(s, h, nil, nil)
		if err == nil {
			_, err = t.decryptGCM(s, h, good, nil)
		}
		return err
	}) {
		return nil, badTag("hsm.DecryptGCM")
	}
	if err == nil && len(plaintext) != len(sealed)-gcmNonce-gcmTag {
		err = fmt.Errorf("the token decrypted %d bytes to %d", len(sealed), len(plaintext))
	}
	if err != nil {
		clear(plaintext)
		return nil, err
	}
	return plaintext, nil
}

func (t *Token) decryptGCM(s *session, h pkcs11.ObjectHandle, sealed, aad []byte) ([]byte, error) {
	params := pkcs11.NewGCMParams(sealed[:gcmNonce], aad, 8*gcmTag)
	defer params.Free()
	if err := t.module.DecryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, h); err != nil {
		return nil, &initError{err}
	}
	return t.module.Decrypt(s.handle, sealed[gcmNonce:])
}

// initError marks the failure of a call that has not seen the input yet.
type initError struct{ error }

func (e *initError) Unwrap() error { return e.error }
