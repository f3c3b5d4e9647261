package kem

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/subtle"
	"crypto/x509"
	encodingasn1 "encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

const (
	maxPKCS8 = 8 << 10

	oidRSA    = "1.2.840.113549.1.1.1" // RFC 8017 appendix A.1
	oidEC     = "1.2.840.10045.2.1"    // RFC 5480 section 2.1.1
	oidX25519 = "1.3.101.110"          // RFC 8410 section 3

	seedBytes = 64
)

const (
	errPKCS8    reason = "it is not a PKCS #8 private key in DER"
	errOther    reason = "it is a key of another algorithm"
	errMismatch reason = "its parts do not belong together"
)

// ImportPKCS8 reads an unencrypted PKCS #8 private key in DER (RFC 5958) and returns both keys in canonical form: RSA, NIST
// curves (RFC 5915) and X25519 (RFC 8410) for each algorithm that uses such keys, ML-KEM (RFC 9935), and X-Wing and HPKE with
// MLKEM768-X25519 (draft-connolly-cfrg-xwing-kem-10 section 5.8). MLKEM768-P256 has no such form. An ML-KEM key must hold the
// seed; where the expanded key comes with it, both must agree. Where a public key comes with the private one, it must be its.
func ImportPKCS8(name algs.Name, der []byte) (public, private []byte, err error) {
	const op, field = "kem.ImportPKCS8", "private_key"
	s, err := lookupProtect(op, name)
	if err != nil {
		return nil, nil, err
	}
	if len(der) > maxPKCS8 {
		return nil, nil, tooLarge(op, field, maxPKCS8)
	}
	k, err := parsePKCS8(der)
	if err != nil {
		return nil, nil, badKey(op, field, err)
	}
	if private, err = s.fromPKCS8(k); err != nil {
		return nil, nil, badKey(op, field, err)
	}
	key, err := s.parsePrivate(private)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, op, "", err)
	}
	public = key.public()
	if k.public != nil && !bytes.Equal(k.public, public) {
		return nil, nil, badKey(op, field, errMismatch)
	}
	return public, private, nil
}

// pkcs8Key is a OneAsymmetricKey of RFC 5958 section 2.
type pkcs8Key struct {
	der        []byte
	oid        string
	parameters cryptobyte.String
	key        cryptobyte.String
	public     []byte // nil when there is none
}

func parsePKCS8(der []byte) (pkcs8Key, error) {
	k := pkcs8Key{der: der}
	input := cryptobyte.String(der)
	var seq, algorithm, public cryptobyte.String
	var version int
	var oid encodingasn1.ObjectIdentifier
	var hasPublic bool
	ok := input.ReadASN1(&seq, asn1.SEQUENCE) && input.Empty() &&
		seq.ReadASN1Integer(&version) && (version == 0 || version == 1) &&
		seq.ReadASN1(&algorithm, asn1.SEQUENCE) && algorithm.ReadASN1ObjectIdentifier(&oid) &&
		seq.ReadASN1(&k.key, asn1.OCTET_STRING) &&
		seq.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) && // attributes
		seq.ReadOptionalASN1(&public, &hasPublic, asn1.Tag(1).ContextSpecific()) && seq.Empty()
	if !ok {
		return k, errPKCS8
	}
	k.oid, k.parameters = oid.String(), algorithm
	if hasPublic {
		if k.public, ok = bitString(public); !ok {
			return k, errPKCS8
		}
	}
	return k, nil
}

// bitString returns the bytes in the contents of a BIT STRING of whole bytes.
func bitString(contents []byte) ([]byte, bool) {
	if len(contents) < 2 || contents[0] != 0 {
		return nil, false
	}
	return contents[1:], true
}

// rsa returns the RSAPrivateKey inside. Its public key, which is part of it, leaves none to compare.
func (k pkcs8Key) rsa() ([]byte, error) {
	if k.oid != oidRSA {
		return nil, errOther
	}
	if len(k.parameters) != 0 && !bytes.Equal(k.parameters, encodingasn1.NullBytes) {
		return nil, errPKCS8
	}
	return k.key, nil
}

// scalar returns the private key of a curve.
func (k pkcs8Key) scalar(c curve) ([]byte, error) {
	switch {
	case k.oid == oidX25519 && c.ecdh == ecdh.X25519():
		return k.x25519()
	case k.oid == oidEC && c.ecdh != ecdh.X25519():
		return k.ec(c)
	default:
		return nil, errOther
	}
}

func (k pkcs8Key) x25519() ([]byte, error) {
	in := k.key
	var scalar cryptobyte.String
	if len(k.parameters) != 0 || !in.ReadASN1(&scalar, asn1.OCTET_STRING) || !in.Empty() || len(scalar) != curveX25519.private {
		return nil, errPKCS8
	}
	return bytes.Clone(scalar), nil
}

func (k pkcs8Key) ec(c curve) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(k.der)
	if err != nil {
		return nil, errPKCS8
	}
	signer, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errOther
	}
	key, err := signer.ECDH()
	if err != nil || key.Curve() != c.ecdh {
		return nil, errOther
	}
	if err := checkECPublic(k.key, key.PublicKey().Bytes()); err != nil {
		return nil, err
	}
	return key.Bytes(), nil
}

// checkECPublic compares the public key in an ECPrivateKey of RFC 5915 section 3, where there is one. x509 ignores it.
func checkECPublic(der cryptobyte.String, want []byte) error {
	var seq, public cryptobyte.String
	var version int
	var hasPublic bool
	ok := der.ReadASN1(&seq, asn1.SEQUENCE) && der.Empty() &&
		seq.ReadASN1Integer(&version) && seq.SkipASN1(asn1.OCTET_STRING) &&
		seq.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) && // curve
		seq.ReadOptionalASN1(&public, &hasPublic, asn1.Tag(1).Constructed().ContextSpecific()) && seq.Empty()
	if !ok {
		return errPKCS8
	}
	if !hasPublic {
		return nil
	}
	var contents cryptobyte.String
	if !public.ReadASN1(&contents, asn1.BIT_STRING) || !public.Empty() {
		return errPKCS8
	}
	if got, ok := bitString(contents); !ok || !bytes.Equal(got, want) {
		return errMismatch
	}
	return nil
}

// rawSeed returns the contents of the key, a seed of n bytes.
func (k pkcs8Key) rawSeed(oid string, n int) ([]byte, error) {
	if k.oid != oid {
		return nil, errOther
	}
	if len(k.parameters) != 0 || len(k.key) != n {
		return nil, errPKCS8
	}
	return bytes.Clone(k.key), nil
}

// mlkemSeed reads the choice of RFC 9935 section 6: the seed, the expanded key, or both. expand gives the expanded key of a
// seed.
func (k pkcs8Key) mlkemSeed(oid string, expand func(seed []byte) ([]byte, error)) ([]byte, error) {
	if k.oid != oid {
		return nil, errOther
	}
	if len(k.parameters) != 0 {
		return nil, errPKCS8
	}
	var seed, seq, expanded cryptobyte.String
	in := k.key
	switch {
	case in.PeekASN1Tag(asn1.OCTET_STRING):
		return nil, reason("it holds no seed, only the expanded key")
	case in.PeekASN1Tag(asn1.SEQUENCE):
		if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1(&seed, asn1.OCTET_STRING) ||
			!seq.ReadASN1(&expanded, asn1.OCTET_STRING) || !seq.Empty() || len(seed) != seedBytes {
			return nil, errPKCS8
		}
		want, err := expand(seed)
		if err != nil {
			return nil, err
		}
		defer clear(want)
		if subtle.ConstantTimeCompare(want, expanded) != 1 {
			return nil, errMismatch
		}
	default:
		if !in.ReadASN1(&seed, asn1.Tag(0).ContextSpecific()) || !in.Empty() || len(seed) != seedBytes {
			return nil, errPKCS8
		}
	}
	return bytes.Clone(seed), nil
}
