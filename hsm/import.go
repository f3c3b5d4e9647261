package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// importPair is the kind of the pairs that receive wrapped keys. Its name is that of no algorithm.
var importPair = rsaKind("import pair", 4096, pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKA_UNWRAP)

// MaxWrapped is the most bytes of a wrapped key that ImportWrapped and ImportLegacy take: 8 KiB.
const MaxWrapped = 8 << 10

// ImportPair makes an RSA-4096 pair for keys that are brought in from elsewhere. Its private half can do nothing but unwrap.
// public is the SubjectPublicKeyInfo, DER; blob is for ImportWrapped and ImportLegacy, on any node. A key is wrapped for it as
// by CKM_RSA_AES_KEY_WRAP (PKCS#11 v3.0 mechanisms, section 2.1.23):
//
//	RSA-OAEP(public, a fresh AES-256 key) (512) || AES-KWP (RFC 5649) under that key of the key to import
//
// with PKCS#8 (RFC 5958) for pairs and the bare value for secret keys. OAEP has no label, and oaepHash for MGF1 too: SHA-256,
// or SHA-1 where the token has nothing better.
func (t *Token) ImportPair(ctx context.Context) (public, blob []byte, oaepHash algs.Name, err error) {
	const op = "hsm.ImportPair"
	if err := t.lockKeygen(ctx, op); err != nil {
		return nil, nil, "", err
	}
	defer t.unlockKeygen()
	err = t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, importPair); err != nil {
			return err
		}
		public, blob, oaepHash, err = t.makeImportPair(ctx, op, s)
		return err
	})
	if err != nil {
		return nil, nil, "", err
	}
	return public, blob, oaepHash, nil
}

func (t *Token) makeImportPair(ctx context.Context, op string, s *session) (public, blob []byte, hash algs.Name, err error) {
	keys, err := t.loaded(op)
	if err != nil {
		return nil, nil, "", err
	}
	made, half, err := t.make(s, importPair)
	if err != nil {
		return nil, nil, "", err
	}
	defer func() { err = errors.Join(err, t.destroy(s, made), t.destroy(s, half)) }()
	pub, err := t.readRSA(s, importPair, half)
	if err != nil {
		return nil, nil, "", err
	}
	if public, err = x509.MarshalPKIXPublicKey(pub); err != nil {
		return nil, nil, "", err
	}
	if blob, err = t.module.WrapKey(s.handle, keyWrapPad(), keys.wrapPrivate, made); err != nil {
		return nil, nil, "", err
	}
	err = t.withWrapped(ctx, op, s, importPair, blob, func(held *heldKey) error {
		hash, err = t.strongestOAEP(s, held.handle, pub)
		return err
	})
	return public, blob, hash, err
}

// strongestOAEP unwraps an AES key with each hash in turn, and returns the first with which the token does.
func (t *Token) strongestOAEP(s *session, pair pkcs11.ObjectHandle, pub *rsa.PublicKey) (hash algs.Name, err error) {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	defer clear(key)
	for _, o := range importOAEP {
		wrapped, err := o.encrypt(pub, key, nil)
		if err != nil {
			return "", err
		}
		h, err := t.module.UnwrapKey(s.handle, o.mechanism(nil), pair, wrapped, transportTemplate())
		switch {
		case err == nil:
			return o.name, t.destroy(s, h)
		case classOf(err) != classRequest:
			return "", err
		}
	}
	return "", fault.New(fault.AlgorithmDisallowed, "hsm.ImportPair", "the token unwraps by RSA-OAEP neither with SHA-256 nor with SHA-1")
}

// transportTemplate is that of the AES key which carries the key to import: a session object that unwraps and nothing else.
func transportTemplate() []*pkcs11.Attribute {
	return append(encode(unwrapAs(pkcs11.CKO_SECRET_KEY)), append(encode(usages(secretUsages, pkcs11.CKA_UNWRAP)),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true))...)
}

// ImportWrapped brings in a key that was wrapped for a pair of ImportPair; see there for its form. Both steps of unwrapping
// happen in the token, and the key leaves it only as the blob that GenerateKey would have made. spki is the public half as
// there: of an RSA key it is read from the token, of an EC key the token computes it. Before it returns, the key is found to be
// of the size or curve that its name says and to have done its work once. If public is not empty it must be the same public
// key, in the form of spki.
//
// fault.Malformed with the field wrapped_key, in the same words whatever is wrong with it, or with the field public_key.
// fault.AlgorithmDisallowed as for GenerateKey.
func (t *Token) ImportWrapped(ctx context.Context, pairBlob []byte, name algs.Name, wrapped, public []byte) (
	spki, blob []byte, err error) {
	const op = "hsm.ImportWrapped"
	k, err := kindOf(op, name)
	if err != nil {
		return nil, nil, err
	}
	if k.oaep != nil { // to try it may make a pair
		if err := t.lockKeygen(ctx, op); err != nil {
			return nil, nil, err
		}
		defer t.unlockKeygen()
	}
	var pub crypto.PublicKey
	err = t.do(ctx, op, func(s *session) error {
		if err := t.offeredImport(op, k); err != nil {
			return err
		}
		if err := t.offersOAEP(ctx, op, s, k); err != nil {
			return err
		}
		pub, blob, err = t.importKey(ctx, op, s, k, pairBlob, wrapped)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if k.pair() {
		if spki, err = x509.MarshalPKIXPublicKey(pub); err != nil {
			return nil, nil, fault.Wrap(fault.Internal, op, "", err)
		}
	}
	if len(public) > 0 && !samePublic(pub, public) {
		return nil, nil, field(op, "public_key", "it is not the public half of the wrapped key")
	}
	return spki, blob, nil
}

func samePublic(pub crypto.PublicKey, der []byte) bool {
	other, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return false
	}
	key, ok := pub.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(other)
}

// offeredImport refuses a kind that the token cannot use, or not receive.
func (t *Token) offeredImport(op string, k *kind) error {
	if err := t.offered(op, importPair); err != nil {
		return err
	}
	if k.curve != nil && !(*t.mechanisms.Load())[pkcs11.CKM_ECDH1_DERIVE] {
		return fault.New(fault.AlgorithmDisallowed, op, "the token cannot import keys of algorithm "+string(k.name)+
			": it has no "+mechanismName(pkcs11.CKM_ECDH1_DERIVE)+" to find the public half with")
	}
	return t.offered(op, k)
}

func (t *Token) importKey(ctx context.Context, op string, s *session, k *kind, pairBlob, wrapped []byte) (
	pub crypto.PublicKey, blob []byte, err error) {
	keys, err := t.loaded(op)
	if err != nil {
		return nil, nil, err
	}
	received, err := t.receive(ctx, op, s, pairBlob, wrapped, k.importTemplate())
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.destroy(s, received)) }()
	if pub, err = t.examine(s, k, received); err != nil {
		return nil, nil, t.wrongKey(op, s, err)
	}
	if blob, err = t.module.WrapKey(s.handle, keyWrapPad(), k.wrapping(keys), received); err != nil {
		return nil, nil, t.wrongKey(op, s, err)
	}
	if err := t.proveWrapped(ctx, op, s, k, pub, blob, received); err != nil {
		return nil, nil, t.wrongKey(op, s, err)
	}
	return pub, blob, nil
}

// importTemplate is what an imported key has until it is wrapped. An EC key must agree and sign for its public half to be
// found, whatever it is for afterwards.
func (k *kind) importTemplate() []*pkcs11.Attribute {
	if k.curve != nil {
		return k.freshTemplate([]uint{pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE}, pkcs11.CKM_ECDSA, pkcs11.CKM_ECDH1_DERIVE)
	}
	return k.freshTemplate(k.usages, k.use)
}

// receive unwraps a key that came to an import pair, in two steps, with the attributes of a template.
func (t *Token) receive(ctx context.Context, op string, s *session, pairBlob, wrapped []byte, template []*pkcs11.Attribute) (
	received pkcs11.ObjectHandle, err error) {
	if len(wrapped) > MaxWrapped {
		return 0, badWrapped(op, errors.New("it is too long"))
	}
	err = t.withWrapped(ctx, op, s, importPair, pairBlob, func(pair *heldKey) (err error) {
		block := importPair.bits / 8
		if len(wrapped) < block {
			return badWrapped(op, errors.New("it is too short"))
		}
		transport, err := t.unwrapTransport(s, pair.handle, wrapped[:block])
		if err != nil {
			return t.wrongKey(op, s, err)
		}
		defer func() { err = errors.Join(err, t.destroy(s, transport)) }()
		received, err = t.module.UnwrapKey(s.handle, keyWrapPad(), transport, wrapped[block:], template)
		return t.wrongKey(op, s, err)
	})
	return received, err
}

// unwrapTransport tries each hash of OAEP: the pair may have been made by a token that has another strongest one. With the
// wrong hash a good block is refused like a bad one.
func (t *Token) unwrapTransport(s *session, pair pkcs11.ObjectHandle, block []byte) (h pkcs11.ObjectHandle, err error) {
	for _, o := range importOAEP {
		h, err = t.module.UnwrapKey(s.handle, o.mechanism(nil), pair, block, transportTemplate())
		if class := classOf(err); err == nil || class != classRequest && class != classUnspecific {
			break
		}
	}
	return h, err
}

// wrongKey decides whose fault an error is that came up with an imported key: the key's, unless the token does not answer.
func (t *Token) wrongKey(op string, s *session, err error) error {
	if err == nil || errors.Is(err, fault.HSMUnavailable) || errors.Is(err, fault.Unavailable) {
		return err
	}
	switch classOf(err) {
	case classNone, classRequest:
		return badWrapped(op, err)
	case classUnspecific:
		if t.alive(s) == nil {
			return badWrapped(op, err)
		}
		return err
	default:
		return err
	}
}

func badWrapped(op string, cause error) error {
	const detail = "it is not a key of this algorithm that was wrapped for this import"
	return &fault.Error{Kind: fault.Malformed, Op: op, Detail: detail, Err: cause,
		Fields: []fault.Field{{Name: "wrapped_key", Detail: detail}}}
}

// examine compares size or curve of an imported key with its kind, and finds the public half of a pair.
func (t *Token) examine(s *session, k *kind, h pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	switch {
	case k.curve != nil:
		params, err := read(t.module, s, h, pkcs11.CKA_EC_PARAMS)
		if err != nil {
			return nil, err
		}
		if string(params) != string(k.curve.oid) {
			return nil, errors.New("it is of another curve")
		}
		return t.computePublic(s, k.curve, h)
	case k.pair():
		return t.readRSA(s, k, h)
	default:
		return nil, t.checkLength(s, k, h)
	}
}

// checkLength compares the length of a secret key with its kind. SoftHSM2 says zero for CKA_VALUE_LEN of a key that it has
// unwrapped. Then the key is wrapped once more, for nobody: AES key wrap (RFC 3394) takes multiples of 8 bytes only and adds 8.
// Where the token has only the padded form, a key that lacks up to 7 bytes passes: for HMAC it is the key with zeros at its
// end, and no AES key has such a length.
func (t *Token) checkLength(s *session, k *kind, h pkcs11.ObjectHandle) (err error) {
	want := k.bits / 8
	length, err := read(t.module, s, h, pkcs11.CKA_VALUE_LEN)
	switch class := classOf(err); {
	case err != nil && class != classRequest:
		return err
	case err == nil && equal(attribute{want: uint(want)}, length): // #nosec G115 -- a small constant
		return nil
	case err == nil && !equal(attribute{want: uint(0)}, length):
		return errLength
	}
	wrapping, err := t.module.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)},
		append(encode(unwrapAs(pkcs11.CKO_SECRET_KEY)), append(encode(usages(secretUsages, pkcs11.CKA_WRAP)),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, keyBytes))...))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.destroy(s, wrapping)) }()
	mechanism := keyWrapPad()
	if (*t.mechanisms.Load())[pkcs11.CKM_AES_KEY_WRAP] {
		mechanism = []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP, nil)}
	}
	wrapped, err := t.module.WrapKey(s.handle, mechanism, wrapping, h)
	if err == nil && len(wrapped) != want+8 {
		err = errLength
	}
	return err
}

var errLength = errors.New("it is of another length")

// computePublic returns the public half of an EC key of which the token has the private one only: PKCS#11 v2.40 gives that no
// CKA_EC_POINT. Key agreement with the curve's base point gives its x-coordinate. Two points have that, and a signature tells
// which is right.
func (t *Token) computePublic(s *session, c *curve, h pkcs11.ObjectHandle) (*ecdsa.PublicKey, error) {
	params := c.elliptic.Params()
	base := append([]byte{4}, params.Gx.FillBytes(make([]byte, c.bytes))...)
	x, err := t.agree(s, c, h, append(base, params.Gy.FillBytes(make([]byte, c.bytes))...))
	if err != nil {
		return nil, err
	}
	digest := make([]byte, 32)
	binary.BigEndian.PutUint64(digest, 1) // not zero, which signs alike for both points
	raw, err := sign(t.module, s, pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), h, digest)
	if err != nil {
		return nil, err
	}
	signature, err := c.derSignature(raw)
	if err != nil {
		return nil, err
	}
	for _, parity := range []byte{2, 3} {
		x, y := elliptic.UnmarshalCompressed(c.elliptic, append([]byte{parity}, x...))
		if x == nil {
			return nil, errors.New("the token agreed on no point of the curve")
		}
		point := append([]byte{4}, x.FillBytes(make([]byte, c.bytes))...)
		pub, err := ecdsa.ParseUncompressedPublicKey(c.elliptic, append(point, y.FillBytes(make([]byte, c.bytes))...))
		if err != nil {
			return nil, err
		}
		if ecdsa.VerifyASN1(pub, digest, signature) {
			return pub, nil
		}
	}
	return nil, errBadSignature
}
