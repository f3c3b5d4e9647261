package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// GenerateKey makes a key in the token. It leaves it only as the returned blob: its value, or its PKCS#8 form, wrapped by
// cs-wrap-secret-1 or cs-wrap-private-1 with AES-KWP (RFC 5649). Any token with the same wrapping keys can use the blob; no
// token gives the key out of it. public is the SubjectPublicKeyInfo of a pair, DER, and nil for a secret key. Before it
// returns, the unwrapped blob has done the work of its algorithm once.
//
// fault.AlgorithmDisallowed when keys of this algorithm cannot be kept in a token, or not in this one, and why.
func (t *Token) GenerateKey(ctx context.Context, name algs.Name) (public, blob []byte, err error) {
	const op = "hsm.GenerateKey"
	k, err := kindOf(op, name)
	if err != nil {
		return nil, nil, err
	}
	pub, blob, err := t.generateKind(ctx, op, k)
	if err != nil || pub == nil {
		return nil, blob, err
	}
	public, err = x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return public, blob, nil
}

// Supports returns nil when keys of this algorithm can be made and used in the token, else what GenerateKey would say. It
// makes no call to the token, but for the first question about RSA-OAEP.
func (t *Token) Supports(name algs.Name) error {
	const op = "hsm.Supports"
	k, err := kindOf(op, name)
	if err != nil {
		return err
	}
	if err := t.offered(op, k); err != nil || k.oaep == nil {
		return err
	}
	ctx := context.Background()
	if t.oaep.Load() != nil {
		return t.offersOAEP(ctx, op, nil, k)
	}
	if err := t.lockKeygen(ctx, op); err != nil {
		return err
	}
	defer t.unlockKeygen()
	return t.do(ctx, op, func(s *session) error { return t.offersOAEP(ctx, op, s, k) })
}

func (t *Token) generateKind(ctx context.Context, op string, k *kind) (pub crypto.PublicKey, blob []byte, err error) {
	// One at a time: modules lose sessions and worse when keys are generated side by side.
	if err := t.lockKeygen(ctx, op); err != nil {
		return nil, nil, err
	}
	defer t.unlockKeygen()
	err = t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, k); err != nil {
			return err
		}
		if err := t.offersOAEP(ctx, op, s, k); err != nil {
			return err
		}
		pub, blob, err = t.generateWith(ctx, op, s, k)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return pub, blob, nil
}

// keygenWait is how long an operation waits for another one that makes a key: a pair of RSA-4096 takes seconds.
const keygenWait = 15 * time.Second

func (t *Token) lockKeygen(ctx context.Context, op string) error {
	timer := time.NewTimer(max(t.cfg.Wait, keygenWait))
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

func (t *Token) unlockKeygen() { t.keygen <- struct{}{} }

// generateWith makes, wraps and proves a key. The one that was made is deleted in every case.
func (t *Token) generateWith(ctx context.Context, op string, s *session, k *kind) (
	pub crypto.PublicKey, blob []byte, err error) {
	keys, err := t.loaded(op)
	if err != nil {
		return nil, nil, err
	}
	made, public, err := t.make(s, k)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.destroy(s, made)) }()
	if k.pair() {
		defer func() { err = errors.Join(err, t.destroy(s, public)) }()
		if pub, err = t.readPublic(s, k, public); err != nil {
			return nil, nil, err
		}
	}
	if blob, err = t.module.WrapKey(s.handle, keyWrapPad(), k.wrapping(keys), made); err != nil {
		return nil, nil, err
	}
	if err := t.proveWrapped(ctx, op, s, k, pub, blob, made); err != nil {
		return nil, nil, fmt.Errorf("prove the wrapped key: %w", err)
	}
	return pub, blob, nil
}

// make generates a key as session objects. public is the public half of a pair.
func (t *Token) make(s *session, k *kind) (made, public pkcs11.ObjectHandle, err error) {
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(k.generate, nil)}
	template := k.freshTemplate(k.usages, k.use)
	if !k.pair() {
		made, err = t.module.GenerateKey(s.handle, mechanism,
			append(template, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, k.bits/8)))
		return made, 0, err
	}
	half := append(encode(usages(publicUsages, k.public)), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false))
	if k.curve != nil {
		half = append(half, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, k.curve.oid))
	} else {
		half = append(half, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, k.bits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(rsaExponent).Bytes()))
	}
	public, made, err = t.module.GenerateKeyPair(s.handle, mechanism, half, template)
	return made, public, err
}

// rsaExponent is the public exponent of the keys that are made here. FIPS 186-5 section 5.1 wants an odd one above 2^16.
const rsaExponent = 65537

// destroy deletes a session object. A session that cannot do so is given up, which deletes its objects.
func (t *Token) destroy(s *session, h pkcs11.ObjectHandle) error {
	if err := t.module.DestroyObject(s.handle, h); err != nil {
		return t.replace(s)
	}
	return nil
}

// readPublic reads the public key of a pair from its public half.
func (t *Token) readPublic(s *session, k *kind, h pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	if k.curve == nil {
		return t.readRSA(s, k, h)
	}
	point, err := read(t.module, s, h, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	return k.curve.parsePoint(point)
}

// parsePoint reads CKA_EC_POINT: the uncompressed point in a DER OCTET STRING (PKCS#11 v2.40 mechanisms, section 2.3.3), or
// bare, as some modules return it.
func (c *curve) parsePoint(b []byte) (*ecdsa.PublicKey, error) {
	point := b
	if len(b) != 1+2*c.bytes {
		if rest, err := asn1.Unmarshal(b, &point); err != nil || len(rest) > 0 {
			return nil, fmt.Errorf("CKA_EC_POINT of %d bytes is no octet string", len(b))
		}
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(c.elliptic, point)
	if err != nil {
		return nil, fmt.Errorf("CKA_EC_POINT of %d bytes: %w", len(b), err)
	}
	return pub, nil
}

// readRSA reads the public key of an RSA pair from either half, and refuses one of another size.
func (t *Token) readRSA(s *session, k *kind, h pkcs11.ObjectHandle) (*rsa.PublicKey, error) {
	return readRSAKey(t.module, s, k.bits, h)
}

func readRSAKey(m p11.Module, s *session, bits int, h pkcs11.ObjectHandle) (*rsa.PublicKey, error) {
	modulus, err := read(m, s, h, pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	exponent, err := read(m, s, h, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	if n.BitLen() != bits || n.Bit(0) == 0 || !e.IsInt64() || e.Int64() < rsaExponent || e.Int64() > 1<<31-1 || e.Bit(0) == 0 {
		return nil, fmt.Errorf("an RSA key of %d bits with a public exponent of %d, not of %d with an odd one from 65537 to 2^31",
			n.BitLen(), e.BitLen(), bits)
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// proveWrapped unwraps a blob and does with it what its kind is for: once, with a result that shows that it is the key that
// was wrapped. made is that key before it was wrapped.
func (t *Token) proveWrapped(ctx context.Context, op string, s *session, k *kind, pub crypto.PublicKey, blob []byte,
	made pkcs11.ObjectHandle) error {
	return t.withWrapped(ctx, op, s, k, blob, func(held *heldKey) error {
		switch k.use {
		case pkcs11.CKM_ECDSA, pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_PKCS_PSS:
			return t.proveSigner(s, k, pub, held.handle)
		case pkcs11.CKM_ECDH1_DERIVE:
			return t.proveAgreement(s, k.curve, pub, held.handle)
		case pkcs11.CKM_RSA_PKCS_OAEP:
			return t.proveOAEP(s, k, pub, held.handle)
		case pkcs11.CKM_AES_GCM:
			return t.proveGCM(s, made, held.handle)
		default:
			return t.proveMAC(s, k, made, held.handle)
		}
	})
}

// errOtherKey: the wrapped key and its origin, or the halves of a pair, do not belong together.
var errOtherKey = errors.New("what was unwrapped is not what was wrapped")

func (t *Token) proveSigner(s *session, k *kind, pub crypto.PublicKey, h pkcs11.ObjectHandle) error {
	digest := sha256.Sum256([]byte("cryptoserve/kcv"))
	mechanism, input := k.signs(hashes[algs.SHA256], digest[:])
	signature, err := sign(t.module, s, mechanism, h, input)
	if err != nil {
		return err
	}
	return k.verify(pub, hashes[algs.SHA256], digest[:], signature)
}

func (t *Token) proveAgreement(s *session, c *curve, pub crypto.PublicKey, h pkcs11.ObjectHandle) error {
	ours, err := pub.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		return err
	}
	peer, err := c.ecdh.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	want, err := peer.ECDH(ours)
	if err != nil {
		return err
	}
	got, err := t.agree(s, c, h, peer.PublicKey().Bytes())
	if err != nil {
		return err
	}
	defer clear(got)
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return errOtherKey
	}
	return nil
}

func (t *Token) proveGCM(s *session, made, unwrapped pkcs11.ObjectHandle) error {
	want := []byte("cryptoserve/kcv")
	sealed, err := t.sealGCM(s, made, want, nil)
	if err != nil {
		return err
	}
	got, err := t.openGCM(s, unwrapped, sealed, nil)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errOtherKey
	}
	return nil
}

func (t *Token) proveMAC(s *session, k *kind, handles ...pkcs11.ObjectHandle) error {
	var macs [][]byte
	for _, h := range handles {
		mac, err := sign(t.module, s, pkcs11.NewMechanism(k.use, nil), h, []byte("cryptoserve/kcv"))
		if err != nil {
			return err
		}
		macs = append(macs, mac)
	}
	if len(macs[0]) != k.macBytes() || len(slices.CompactFunc(macs, bytes.Equal)) != 1 {
		return errOtherKey
	}
	return nil
}
