package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the table
	_ "crypto/sha3"
	_ "crypto/sha512"
	"encoding/asn1"
	"fmt"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// hash is a hash function whose digests are signed.
type hash struct {
	host crypto.Hash
	// arc is the last number of its object identifier 2.16.840.1.101.3.4.2.arc (RFC 8017 appendix A.2.4, RFC 8702).
	arc int
	// mechanism and mgf are what CKM_RSA_PKCS_PSS calls it; zero where PKCS#11 v2.40 or miekg/pkcs11 has no name.
	mechanism, mgf uint
}

var hashes = map[algs.Name]*hash{
	algs.SHA224:     {crypto.SHA224, 4, pkcs11.CKM_SHA224, pkcs11.CKG_MGF1_SHA224},
	algs.SHA256:     {crypto.SHA256, 1, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256},
	algs.SHA384:     {crypto.SHA384, 2, pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384},
	algs.SHA512:     {crypto.SHA512, 3, pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512},
	algs.SHA512_256: {host: crypto.SHA512_256, arc: 6},
	algs.SHA3_224:   {host: crypto.SHA3_224, arc: 7},
	algs.SHA3_256:   {host: crypto.SHA3_256, arc: 8},
	algs.SHA3_384:   {host: crypto.SHA3_384, arc: 9},
	algs.SHA3_512:   {host: crypto.SHA3_512, arc: 10},
}

// SignDigest signs a digest with the key of a blob that GenerateKey or ImportWrapped made for an ECDSA, RSA-PSS or RSA-PKCS1
// algorithm. public is the key's SubjectPublicKeyInfo, DER. The signature is r || s for ECDSA, each as long as the order of
// the curve (32, 48 or 66 bytes), and a block as long as the modulus for RSA (RFC 8017 section 8). The salt of RSA-PSS is as
// long as the digest. A signature that does not verify under public does not leave: it can give the private key away.
//
// Hash functions: SHA-2 and SHA-3; for RSA-PSS only SHA-224, SHA-256, SHA-384 and SHA-512. fault.AlgorithmDisallowed for
// others, fault.Malformed with the field digest or public_key when one of them does not fit.
func (t *Token) SignDigest(ctx context.Context, name algs.Name, blob, public []byte, hashName algs.Name, digest []byte) (
	signature []byte, err error) {
	const op = "hsm.SignDigest"
	k, err := kindOf(op, name, pkcs11.CKM_ECDSA, pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_PKCS_PSS)
	if err != nil {
		return nil, err
	}
	h := hashes[hashName]
	if h == nil || k.use == pkcs11.CKM_RSA_PKCS_PSS && h.mechanism == 0 {
		return nil, fault.New(fault.AlgorithmDisallowed, op, "the token does not sign digests of this hash with "+string(name))
	}
	if len(digest) != h.host.Size() {
		return nil, field(op, "digest", fmt.Sprintf("a %s digest has %d bytes", hashName, h.host.Size()))
	}
	return t.signDigest(ctx, op, k, blob, h, digest, func(held *heldKey) (crypto.PublicKey, error) {
		pub, err := held.public(public)
		if err != nil || !k.fits(pub) {
			return nil, field(op, "public_key", "it is not the public key of a pair of "+string(name))
		}
		return pub, nil
	})
}

// field is the error of one bad field of a request.
func field(op, name, detail string) error {
	return &fault.Error{Kind: fault.Malformed, Op: op, Detail: detail, Fields: []fault.Field{{Name: name, Detail: detail}}}
}

// fits tells whether a public key is of this kind.
func (k *kind) fits(pub crypto.PublicKey) bool {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return k.curve != nil && pub.Curve == k.curve.elliptic
	case *rsa.PublicKey:
		return k.curve == nil && pub.N.BitLen() == k.bits
	default:
		return false
	}
}

func (t *Token) signDigest(ctx context.Context, op string, k *kind, blob []byte, h *hash, digest []byte,
	public func(*heldKey) (crypto.PublicKey, error)) (signature []byte, err error) {
	mechanism, input := k.signs(h, digest)
	var pub crypto.PublicKey
	var generation uint64
	err = t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, k); err != nil {
			return err
		}
		return t.withWrapped(ctx, op, s, k, blob, func(held *heldKey) error {
			generation = held.generation
			if pub, err = public(held); err != nil {
				return err
			}
			signature, err = sign(t.module, s, mechanism, held.handle, input)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	// Without a session: the token can work for others meanwhile.
	if err := k.verify(pub, h, digest, signature); err != nil {
		t.ring.lose(generation) // in case the token gave the handle to another key
		return nil, err
	}
	return signature, nil
}

// signs returns the mechanism by which a kind signs a digest, and what the token is given to sign.
func (k *kind) signs(h *hash, digest []byte) (mechanism *pkcs11.Mechanism, input []byte) {
	switch k.use {
	case pkcs11.CKM_RSA_PKCS:
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil), digestInfo(h, digest)
	case pkcs11.CKM_RSA_PKCS_PSS:
		salt := uint(h.host.Size()) // #nosec G115 -- a small constant
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.NewPSSParams(h.mechanism, h.mgf, salt)), digest
	default:
		// The leftmost bits are all that ECDSA uses (FIPS 186-5 section 6.4.1 step 2). No digest here is longer than the order
		// of P-521, whose bits are not whole bytes.
		return pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), digest[:min(len(digest), k.curve.bytes)]
	}
}

// digestInfo is the DER of DigestInfo, RFC 8017 section 9.2 step 2, with the parameters of its hashes: NULL.
func digestInfo(h *hash, digest []byte) []byte {
	type algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters asn1.RawValue
	}
	der, err := asn1.Marshal(struct {
		Algorithm algorithm
		Digest    []byte
	}{algorithm{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, h.arc}, asn1.NullRawValue}, digest})
	if err != nil {
		panic(err) // of such values there is none
	}
	return der
}

// verify checks a signature that the token made.
func (k *kind) verify(pub crypto.PublicKey, h *hash, digest, signature []byte) (err error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		der, err := k.curve.derSignature(signature)
		if err != nil {
			return err
		}
		return checkSignature(pub, digest, der)
	case *rsa.PublicKey:
		if k.use == pkcs11.CKM_RSA_PKCS_PSS {
			err = rsa.VerifyPSS(pub, h.host, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			err = rsa.VerifyPKCS1v15(pub, h.host, digest, signature)
		}
		if err != nil {
			return errBadSignature
		}
		return nil
	default:
		return errOtherKey
	}
}
