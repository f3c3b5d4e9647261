package signature

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"errors"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// mldsaSeed is the length of the seed xi, from which both keys follow: FIPS 204 algorithm 6.
const mldsaSeed = 32

// mldsaScheme is ML-DSA with one parameter set; S and P are circl's types of its keys.
type mldsaScheme[S, P any] struct {
	identifier                  asn1.ObjectIdentifier
	publicBytes, signatureBytes int
	keys                        func(seed *[mldsaSeed]byte) (*P, *S)
	packPublic                  func(*P) []byte
	packPrivate                 func(*S) []byte
	unpack                      func(public []byte) (*P, error)
	signTo                      func(key *S, message, context []byte, randomized bool, signature []byte) error
	verify                      func(key *P, message, context, signature []byte) bool
}

var (
	mldsa44Scheme = &mldsaScheme[mldsa44.PrivateKey, mldsa44.PublicKey]{
		identifier:  nistSignature(17),
		publicBytes: mldsa44.PublicKeySize, signatureBytes: mldsa44.SignatureSize, keys: mldsa44.NewKeyFromSeed,
		packPublic: (*mldsa44.PublicKey).Bytes, packPrivate: (*mldsa44.PrivateKey).Bytes,
		unpack: unpacked[mldsa44.PublicKey], signTo: mldsa44.SignTo, verify: mldsa44.Verify,
	}
	mldsa65Scheme = &mldsaScheme[mldsa65.PrivateKey, mldsa65.PublicKey]{
		identifier:  nistSignature(18),
		publicBytes: mldsa65.PublicKeySize, signatureBytes: mldsa65.SignatureSize, keys: mldsa65.NewKeyFromSeed,
		packPublic: (*mldsa65.PublicKey).Bytes, packPrivate: (*mldsa65.PrivateKey).Bytes,
		unpack: unpacked[mldsa65.PublicKey], signTo: mldsa65.SignTo, verify: mldsa65.Verify,
	}
	mldsa87Scheme = &mldsaScheme[mldsa87.PrivateKey, mldsa87.PublicKey]{
		identifier:  nistSignature(19),
		publicBytes: mldsa87.PublicKeySize, signatureBytes: mldsa87.SignatureSize, keys: mldsa87.NewKeyFromSeed,
		packPublic: (*mldsa87.PublicKey).Bytes, packPrivate: (*mldsa87.PrivateKey).Bytes,
		unpack: unpacked[mldsa87.PublicKey], signTo: mldsa87.SignTo, verify: mldsa87.Verify,
	}
)

func unpacked[P any, K interface {
	*P
	UnmarshalBinary([]byte) error
}](public []byte) (*P, error) {
	key := new(P)
	return key, K(key).UnmarshalBinary(public)
}

func (c *mldsaScheme[S, P]) generate() (public, private []byte, err error) {
	var seed [mldsaSeed]byte
	rand.Read(seed[:])
	defer clear(seed[:])
	pub, _ := c.keys(&seed)
	return c.packPublic(pub), bytes.Clone(seed[:]), nil
}

func (c *mldsaScheme[S, P]) private(encoded []byte) (signer, error) {
	return c.expand(encoded)
}

func (c *mldsaScheme[S, P]) expand(encoded []byte) (*mldsaPrivate[S, P], error) {
	if len(encoded) != mldsaSeed {
		return nil, errors.New("is not an ML-DSA seed of 32 bytes")
	}
	seed := [mldsaSeed]byte(encoded)
	defer clear(seed[:])
	pub, key := c.keys(&seed)
	return &mldsaPrivate[S, P]{scheme: c, key: key, encoded: c.packPublic(pub)}, nil
}

// expanded returns the private key of FIPS 204 algorithm 24 that belongs to a seed.
func (c *mldsaScheme[S, P]) expanded(seed []byte) ([]byte, error) {
	k, err := c.expand(seed)
	if err != nil {
		return nil, err
	}
	defer k.destroy()
	return c.packPrivate(k.key), nil
}

func (c *mldsaScheme[S, P]) public(encoded []byte) (verifier, error) {
	if len(encoded) != c.publicBytes {
		return nil, errors.New("is not as long as a public key of the parameter set")
	}
	key, err := c.unpack(encoded) // every string of this length is a key
	if err != nil {
		return nil, errors.New("is not an ML-DSA public key")
	}
	return &mldsaPublic[S, P]{scheme: c, key: key}, nil
}

func (c *mldsaScheme[S, P]) settle(op string, o Options) (settings, error) {
	return selfHashing(op, o, "", true)
}

type mldsaPrivate[S, P any] struct {
	scheme  *mldsaScheme[S, P]
	key     *S
	encoded []byte // the public key
}

func (k *mldsaPrivate[S, P]) sign(message []byte, s settings) ([]byte, error) {
	signature := make([]byte, k.scheme.signatureBytes)
	err := k.scheme.signTo(k.key, message, s.context, !s.deterministic, signature)
	return signature, err
}

func (k *mldsaPrivate[S, P]) public() ([]byte, error) { return bytes.Clone(k.encoded), nil }

func (k *mldsaPrivate[S, P]) destroy() {
	var zero S
	*k.key = zero
}

type mldsaPublic[S, P any] struct {
	scheme *mldsaScheme[S, P]
	key    *P
}

func (k *mldsaPublic[S, P]) verify(message, signature []byte, s settings) bool {
	return len(signature) == k.scheme.signatureBytes && k.scheme.verify(k.key, message, s.context, signature)
}
