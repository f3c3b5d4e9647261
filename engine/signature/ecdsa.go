package signature

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"cryptoserve/engine/algs"
)

// ecdsaScheme is ECDSA on one curve.
type ecdsaScheme struct {
	curve elliptic.Curve
	hash  algs.Name // the default, and no other may be weaker
	order int       // bytes of the order, thus of a scalar, r and s
	least int       // bytes of the weakest hash
}

var (
	ecdsaP256 = &ecdsaScheme{curve: elliptic.P256(), hash: algs.SHA256, order: 32, least: 32}
	ecdsaP384 = &ecdsaScheme{curve: elliptic.P384(), hash: algs.SHA384, order: 48, least: 48}
	ecdsaP521 = &ecdsaScheme{curve: elliptic.P521(), hash: algs.SHA512, order: 66, least: 64}
)

func (c *ecdsaScheme) generate() (public, private []byte, err error) {
	key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	defer destroyECDSA(key)
	if public, err = key.PublicKey.Bytes(); err != nil {
		return nil, nil, err
	}
	private, err = key.Bytes()
	return public, private, err
}

func (c *ecdsaScheme) private(encoded []byte) (signer, error) {
	if len(encoded) != c.order {
		return nil, errors.New("is not as long as a scalar of the curve")
	}
	key, err := ecdsa.ParseRawPrivateKey(c.curve, encoded)
	if err != nil {
		return nil, errors.New("is not a scalar of the curve")
	}
	return &ecdsaPrivate{scheme: c, key: key}, nil
}

func (c *ecdsaScheme) public(encoded []byte) (verifier, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(c.curve, encoded)
	if err != nil {
		return nil, errors.New("is not an uncompressed point of the curve")
	}
	return &ecdsaPublic{scheme: c, key: key}, nil
}

func (c *ecdsaScheme) settle(op string, o Options) (settings, error) {
	s, err := hashed(op, o, c.hash, c.least)
	s.raw = o.Format == FormatRaw
	return s, err
}

type ecdsaPrivate struct {
	scheme *ecdsaScheme
	key    *ecdsa.PrivateKey
}

func (k *ecdsaPrivate) sign(message []byte, s settings) ([]byte, error) {
	var buf [sha512.Size]byte
	der, err := ecdsa.SignASN1(rand.Reader, k.key, s.digest(&buf, message))
	if err != nil || !s.raw {
		return der, err
	}
	return k.scheme.rawFromDER(der)
}

func (k *ecdsaPrivate) public() ([]byte, error) { return k.key.PublicKey.Bytes() }

func (k *ecdsaPrivate) destroy() { destroyECDSA(k.key) }

func destroyECDSA(key *ecdsa.PrivateKey) {
	clear(key.D.Bits()) //nolint:staticcheck // SA1019: there is no other way to overwrite the scalar
}

type ecdsaPublic struct {
	scheme *ecdsaScheme
	key    *ecdsa.PublicKey
}

func (k *ecdsaPublic) verify(message, signature []byte, s settings) bool {
	if s.raw {
		der, err := k.scheme.derFromRaw(signature)
		if err != nil {
			return false
		}
		signature = der
	}
	var buf [sha512.Size]byte
	// VerifyASN1 reads strict DER and wants r and s between 1 and the order.
	return ecdsa.VerifyASN1(k.key, s.digest(&buf, message), signature)
}

// rawFromDER turns the DER form of a signature that was just made into r || s.
func (c *ecdsaScheme) rawFromDER(der []byte) ([]byte, error) {
	var inner cryptobyte.String
	var r, s []byte
	input := cryptobyte.String(der)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() ||
		len(r) > c.order || len(s) > c.order {
		return nil, errors.New("ECDSA signature in a form that is not expected")
	}
	raw := make([]byte, 2*c.order)
	copy(raw[c.order-len(r):], r)
	copy(raw[2*c.order-len(s):], s)
	return raw, nil
}

// derFromRaw turns r || s into DER. It checks the length alone.
func (c *ecdsaScheme) derFromRaw(raw []byte) ([]byte, error) {
	if len(raw) != 2*c.order {
		return nil, errors.New("is not as long as r || s of the curve")
	}
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, 2*c.order+9)) // two headers of 2, two leading zeros, one of 3
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:c.order]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[c.order:]))
	})
	return b.Bytes()
}
