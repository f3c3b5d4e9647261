package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// maxPKCS8 bounds a private key before it is parsed. The longest, both forms of ML-DSA-87 with the public key, has 7.5 KiB.
const maxPKCS8 = 16 << 10

// importer is a scheme whose private keys PKCS#8 can hold.
type importer interface {
	scheme
	// oid is the algorithm identifier of the keys.
	oid() asn1.ObjectIdentifier
	// fromPKCS8 returns the canonical private key. whole is the OneAsymmetricKey, inner its privateKey.
	fromPKCS8(whole, inner []byte) ([]byte, error)
}

// ImportPKCS8 reads a private key from the DER of PKCS#8 (RFC 5958; RFC 8410 for Ed25519, RFC 5915 for EC, RFC 9881 for
// ML-DSA, RFC 9909 for SLH-DSA) and returns the canonical pair, whose private half the caller overwrites.
//
// ML-DSA keys must hold the seed, alone or with the expanded key, which must then be the seed's. A public key beside the
// private one must belong to it. Refused, as fault.Malformed: keys of another algorithm or size than the name's, RSA keys
// with the identifier id-RSASSA-PSS, trailing data. The hybrid has no such form.
func ImportPKCS8(name algs.Name, key []byte) (public, private []byte, err error) {
	const op = "signature.ImportPKCS8"
	s, err := find(op, name)
	if err != nil {
		return nil, nil, err
	}
	refuse := func(detail string) ([]byte, []byte, error) {
		return nil, nil, malformed(op, "private_key", detail)
	}
	c, ok := s.(importer)
	if !ok {
		return refuse("has no PKCS#8 form with this algorithm")
	}
	if len(key) > maxPKCS8 {
		return refuse("is longer than 16 KiB")
	}
	outer, err := parsePKCS8(key)
	if err != nil {
		return refuse(err.Error())
	}
	if !outer.oid.Equal(c.oid()) {
		return refuse("is of another algorithm")
	}
	if private, err = c.fromPKCS8(key, outer.private); err != nil {
		return refuse(err.Error())
	}
	signer, err := c.private(private)
	if err != nil {
		clear(private)
		return refuse(err.Error())
	}
	defer signer.destroy()
	if public, err = signer.public(); err != nil {
		clear(private)
		return nil, nil, fault.Wrap(fault.Internal, op, "", err)
	}
	if outer.public != nil && !bytes.Equal(outer.public, public) {
		clear(private)
		return refuse("does not belong to the public key beside it")
	}
	return public, private, nil
}

// oneAsymmetricKey is what PKCS#8 says around a key. Its slices point into the input.
type oneAsymmetricKey struct {
	oid     asn1.ObjectIdentifier
	private []byte
	public  []byte // nil when absent
}

// parsePKCS8 reads a OneAsymmetricKey: RFC 5958 section 2. crypto/x509 would let trailing data pass.
func parsePKCS8(key []byte) (k oneAsymmetricKey, err error) {
	var (
		body, algorithm cryptobyte.String
		version         uint
		octets          cryptobyte.String
		public          cryptobyte.String
		hasPublic       bool
	)
	attributes, publicTag := der.Tag(0).ContextSpecific().Constructed(), der.Tag(1).ContextSpecific()
	input := cryptobyte.String(key)
	if !input.ReadASN1(&body, der.SEQUENCE) || !input.Empty() ||
		!body.ReadASN1Integer(&version) || version > 1 ||
		!body.ReadASN1(&algorithm, der.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&k.oid) ||
		!body.ReadASN1(&octets, der.OCTET_STRING) ||
		!body.SkipOptionalASN1(attributes) ||
		!body.ReadOptionalASN1(&public, &hasPublic, publicTag) || !body.Empty() {
		return k, errors.New("is not the DER of a PKCS#8 private key")
	}
	k.private = octets
	if hasPublic {
		// An implicitly tagged BIT STRING: the count of unused bits, then the bytes.
		if version != 1 || len(public) < 1 || public[0] != 0 {
			return k, errors.New("is not the DER of a PKCS#8 private key")
		}
		k.public = public[1:]
	}
	return k, nil
}

var errOther = errors.New("is not a private key of the algorithm")

// oid is id-Ed25519: RFC 8410 section 3.
func (ed25519Scheme) oid() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 101, 112} }

func (ed25519Scheme) fromPKCS8(whole, _ []byte) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(whole)
	if err != nil {
		return nil, errOther
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errOther
	}
	defer clear(key)
	return key.Seed(), nil
}

// oid is id-ecPublicKey: RFC 5480 section 2.1.1.
func (*ecdsaScheme) oid() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1} }

func (c *ecdsaScheme) fromPKCS8(whole, inner []byte) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(whole)
	if err != nil {
		return nil, errOther
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errOther
	}
	defer destroyECDSA(key)
	if key.Curve != c.curve {
		return nil, errors.New("is of another curve")
	}
	if err := ownPoint(inner, &key.PublicKey); err != nil {
		return nil, err
	}
	return key.Bytes()
}

// ownPoint compares the public key that an ECPrivateKey may hold (RFC 5915 section 3), which crypto/x509 does not read.
func ownPoint(inner []byte, key *ecdsa.PublicKey) error {
	var parsed struct {
		Version    int
		PrivateKey []byte
		Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
		Public     asn1.BitString        `asn1:"optional,explicit,tag:1"`
	}
	defer func() { clear(parsed.PrivateKey) }()
	if rest, err := asn1.Unmarshal(inner, &parsed); err != nil || len(rest) != 0 {
		return errOther
	}
	if len(parsed.Public.Bytes) == 0 {
		return nil
	}
	point, err := key.Bytes()
	if err != nil {
		return err
	}
	if !bytes.Equal(parsed.Public.RightAlign(), point) {
		return errors.New("does not belong to the public key beside it")
	}
	return nil
}

// oid is rsaEncryption: RFC 8017 appendix A.1.
func (rsaScheme) oid() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
}

func (rsaScheme) fromPKCS8(whole, _ []byte) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(whole)
	if err != nil {
		return nil, errOther
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errOther
	}
	defer destroyRSA(key)
	return x509.MarshalPKCS1PrivateKey(key), nil
}

func (c *mldsaScheme[S, P]) oid() asn1.ObjectIdentifier { return c.identifier }

// fromPKCS8 reads the CHOICE of RFC 9881 section 6: seed [0], expandedKey, or both in a SEQUENCE.
func (c *mldsaScheme[S, P]) fromPKCS8(_, inner []byte) ([]byte, error) {
	input := cryptobyte.String(inner)
	var seed, both, expanded cryptobyte.String
	seedTag := der.Tag(0).ContextSpecific()
	switch {
	case input.PeekASN1Tag(seedTag):
		if !input.ReadASN1(&seed, seedTag) || !input.Empty() || len(seed) != mldsaSeed {
			return nil, errOther
		}
		return bytes.Clone(seed), nil
	case input.PeekASN1Tag(der.SEQUENCE):
		if !input.ReadASN1(&both, der.SEQUENCE) || !input.Empty() ||
			!both.ReadASN1(&seed, der.OCTET_STRING) || !both.ReadASN1(&expanded, der.OCTET_STRING) || !both.Empty() ||
			len(seed) != mldsaSeed {
			return nil, errOther
		}
		own, err := c.expanded(seed)
		if err != nil {
			return nil, err
		}
		defer clear(own)
		if subtle.ConstantTimeCompare(own, expanded) != 1 {
			return nil, errors.New("has an expanded key that is not that of its seed")
		}
		return bytes.Clone(seed), nil
	case input.PeekASN1Tag(der.OCTET_STRING):
		return nil, errors.New("is an expanded key without its seed")
	default:
		return nil, errOther
	}
}

func (c *slhdsaScheme) oid() asn1.ObjectIdentifier { return c.identifier }

// fromPKCS8 takes the four parts as they are: RFC 9909 section 6.
func (c *slhdsaScheme) fromPKCS8(_, inner []byte) ([]byte, error) {
	if len(inner) != 4*c.n {
		return nil, errOther
	}
	if err := c.consistent(inner); err != nil {
		return nil, err
	}
	return bytes.Clone(inner), nil
}

// nistSignature returns an identifier of the arc sigAlgs, where RFC 9881 section 2 and RFC 9909 section 3 have theirs.
func nistSignature(last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, last}
}
