package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// GenerateWrapped makes a P-256 key pair in the token. The private half leaves it only as the returned blob: its PKCS#8
// form wrapped by cs-wrap-private-1 with AES-KWP (RFC 5649). Any token with the same wrapping key can use the blob by
// WrappedSigner; no token gives the key out of it. Before it returns, a signature by the unwrapped blob has been
// verified.
func (t *Token) GenerateWrapped(ctx context.Context) (pub *ecdsa.PublicKey, blob []byte, err error) {
	const op = "hsm.GenerateWrapped"
	// One at a time: modules lose sessions and worse when keys are generated side by side.
	if err := t.lockKeygen(ctx, op); err != nil {
		return nil, nil, err
	}
	defer func() { t.keygen <- struct{}{} }()
	err = t.do(ctx, op, func(s *session) error {
		keys, err := t.loaded(op)
		if err != nil {
			return err
		}
		pub, blob, err = t.generateWrapped(s, keys.wrapPrivate)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return pub, blob, nil
}

func (t *Token) lockKeygen(ctx context.Context, op string) error {
	timer := time.NewTimer(t.cfg.Wait)
	defer timer.Stop()
	select {
	case <-t.keygen:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, op, "the request ended before the token was free", ctx.Err())
	case <-timer.C:
		return fault.New(fault.HSMUnavailable, op, "the token is busy making another key; try again")
	}
}

func (t *Token) generateWrapped(s *session, wrapping pkcs11.ObjectHandle) (
	pub *ecdsa.PublicKey, blob []byte, err error) {
	public := append(encode(usages(publicUsages, pkcs11.CKA_VERIFY)),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, oidP256))
	private := append(encode(usages(privateUsages, pkcs11.CKA_SIGN)),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)) // by wrapping only, because it is sensitive
	hpub, hpriv, err := t.module.GenerateKeyPair(s.handle,
		[]*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)}, public, private)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.destroy(s, hpub), t.destroy(s, hpriv)) }()
	point, err := read(t.module, s, hpub, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, nil, err
	}
	if pub, err = parsePoint(point); err != nil {
		return nil, nil, err
	}
	if blob, err = t.module.WrapKey(s.handle, keyWrapPad(), wrapping, hpriv); err != nil {
		return nil, nil, err
	}
	probe := make([]byte, 32)
	if _, err := t.signWrapped(s, wrapping, pub, blob, probe); err != nil {
		return nil, nil, fmt.Errorf("prove the wrapped key: %w", err)
	}
	return pub, blob, nil
}

// destroy deletes a session object. A session that cannot do so is given up, which deletes its objects.
func (t *Token) destroy(s *session, h pkcs11.ObjectHandle) error {
	if err := t.module.DestroyObject(s.handle, h); err != nil {
		return t.replace(s)
	}
	return nil
}

// parsePoint reads CKA_EC_POINT of a P-256 key: the uncompressed point in a DER OCTET STRING (PKCS#11 v2.40 mechanisms,
// section 2.3.3), or bare, as some modules return it.
func parsePoint(b []byte) (*ecdsa.PublicKey, error) {
	const bare = 65
	if len(b) == bare+2 && b[0] == asn1.TagOctetString && b[1] == bare {
		b = b[2:]
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
	if err != nil {
		return nil, fmt.Errorf("CKA_EC_POINT of %d bytes: %w", len(b), err)
	}
	return pub, nil
}

// WrappedSigner returns the signer of a key pair that GenerateWrapped made. For each signature the private half is
// unwrapped as a session object, used and deleted. It signs as NodeSigner does, and works across outages like it. A
// blob that is damaged, or not of this pair, fails at Sign.
func (t *Token) WrappedSigner(pub *ecdsa.PublicKey, blob []byte) crypto.Signer {
	return &wrappedSigner{t, pub, append([]byte(nil), blob...)}
}

type wrappedSigner struct {
	t    *Token
	pub  *ecdsa.PublicKey
	blob []byte
}

func (w *wrappedSigner) Public() crypto.PublicKey { return w.pub }

func (w *wrappedSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	const op = "hsm.WrappedSigner"
	digest, err = leftmost(op, digest, opts)
	if err != nil {
		return nil, err
	}
	err = w.t.do(context.Background(), op, func(s *session) error {
		keys, err := w.t.loaded(op)
		if err != nil {
			return err
		}
		signature, err = w.t.signWrapped(s, keys.wrapPrivate, w.pub, w.blob, digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return signature, nil
}

// signWrapped unwraps a P-256 private key, signs a 32-byte digest and deletes the key.
func (t *Token) signWrapped(s *session, wrapping pkcs11.ObjectHandle, pub *ecdsa.PublicKey, blob, digest []byte) (
	signature []byte, err error) {
	// The wrapping key's unwrap template asks for these very attributes; SoftHSM2 wants them stated.
	template := append(encode(unwrapAs(pkcs11.CKO_PRIVATE_KEY)), encode(usages(privateUsages, pkcs11.CKA_SIGN))...)
	template = append(template,
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true))
	h, err := t.module.UnwrapKey(s.handle, keyWrapPad(), wrapping, blob, template)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.destroy(s, h)) }()
	raw, err := sign(t.module, s, pkcs11.CKM_ECDSA, h, digest)
	if err != nil {
		return nil, err
	}
	if signature, err = derSignature(raw); err != nil {
		return nil, err
	}
	return signature, checkSignature(pub, digest, signature)
}

// derSignature turns r || s, 32 bytes each (PKCS#11 v2.40 mechanisms, section 2.3.1), into ASN.1 DER.
func derSignature(raw []byte) ([]byte, error) {
	if len(raw) != 64 {
		return nil, fmt.Errorf("the token made a P-256 signature of %d bytes", len(raw))
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
}
