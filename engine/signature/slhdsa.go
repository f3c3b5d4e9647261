package signature

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/asn1"
	"errors"
	"io"

	"github.com/cloudflare/circl/sign/slhdsa"
)

// slhdsaScheme is SLH-DSA with one parameter set.
type slhdsaScheme struct {
	id             slhdsa.ID
	identifier     asn1.ObjectIdentifier
	n              int // FIPS 205 table 2
	signatureBytes int
}

var (
	slhdsaSHA2128s  = &slhdsaScheme{id: slhdsa.SHA2_128s, identifier: nistSignature(20), n: 16, signatureBytes: 7856}
	slhdsaSHA2128f  = &slhdsaScheme{id: slhdsa.SHA2_128f, identifier: nistSignature(21), n: 16, signatureBytes: 17088}
	slhdsaSHA2192s  = &slhdsaScheme{id: slhdsa.SHA2_192s, identifier: nistSignature(22), n: 24, signatureBytes: 16224}
	slhdsaSHA2192f  = &slhdsaScheme{id: slhdsa.SHA2_192f, identifier: nistSignature(23), n: 24, signatureBytes: 35664}
	slhdsaSHA2256s  = &slhdsaScheme{id: slhdsa.SHA2_256s, identifier: nistSignature(24), n: 32, signatureBytes: 29792}
	slhdsaSHA2256f  = &slhdsaScheme{id: slhdsa.SHA2_256f, identifier: nistSignature(25), n: 32, signatureBytes: 49856}
	slhdsaSHAKE128s = &slhdsaScheme{id: slhdsa.SHAKE_128s, identifier: nistSignature(26), n: 16, signatureBytes: 7856}
	slhdsaSHAKE128f = &slhdsaScheme{id: slhdsa.SHAKE_128f, identifier: nistSignature(27), n: 16, signatureBytes: 17088}
	slhdsaSHAKE192s = &slhdsaScheme{id: slhdsa.SHAKE_192s, identifier: nistSignature(28), n: 24, signatureBytes: 16224}
	slhdsaSHAKE192f = &slhdsaScheme{id: slhdsa.SHAKE_192f, identifier: nistSignature(29), n: 24, signatureBytes: 35664}
	slhdsaSHAKE256s = &slhdsaScheme{id: slhdsa.SHAKE_256s, identifier: nistSignature(30), n: 32, signatureBytes: 29792}
	slhdsaSHAKE256f = &slhdsaScheme{id: slhdsa.SHAKE_256f, identifier: nistSignature(31), n: 32, signatureBytes: 49856}
)

func (c *slhdsaScheme) generate() (public, private []byte, err error) { return c.pair(rand.Reader) }

// pair makes the pair of SK.seed || SK.prf || PK.seed, which it reads: FIPS 205 algorithm 21.
func (c *slhdsaScheme) pair(random io.Reader) (public, private []byte, err error) {
	pub, key, err := slhdsa.GenerateKey(random, c.id)
	if err != nil {
		return nil, nil, err
	}
	if public, err = pub.MarshalBinary(); err != nil {
		return nil, nil, err
	}
	private, err = key.MarshalBinary()
	return public, private, err
}

// consistent computes the root of a private key anew and compares.
func (c *slhdsaScheme) consistent(encoded []byte) error {
	_, again, err := c.pair(bytes.NewReader(encoded[:3*c.n]))
	if err != nil {
		return err
	}
	defer clear(again)
	if subtle.ConstantTimeCompare(again, encoded) != 1 {
		return errors.New("has a root that does not belong to its seeds")
	}
	return nil
}

func (c *slhdsaScheme) private(encoded []byte) (signer, error) {
	if len(encoded) != 4*c.n {
		return nil, errors.New("is not as long as a private key of the parameter set")
	}
	key := slhdsa.PrivateKey{ID: c.id}
	if err := key.UnmarshalBinary(encoded); err != nil {
		return nil, errors.New("is not an SLH-DSA private key")
	}
	return &slhdsaPrivate{key: key}, nil
}

func (c *slhdsaScheme) public(encoded []byte) (verifier, error) {
	if len(encoded) != 2*c.n {
		return nil, errors.New("is not as long as a public key of the parameter set")
	}
	key := slhdsa.PublicKey{ID: c.id}
	if err := key.UnmarshalBinary(encoded); err != nil {
		return nil, errors.New("is not an SLH-DSA public key")
	}
	return &slhdsaPublic{scheme: c, key: key}, nil
}

func (c *slhdsaScheme) settle(op string, o Options) (settings, error) {
	return selfHashing(op, o, "", true)
}

type slhdsaPrivate struct {
	key slhdsa.PrivateKey
}

func (k *slhdsaPrivate) sign(message []byte, s settings) ([]byte, error) {
	m := slhdsa.NewMessage(message)
	if s.deterministic {
		return slhdsa.SignDeterministic(&k.key, m, s.context)
	}
	return slhdsa.SignRandomized(&k.key, rand.Reader, m, s.context)
}

func (k *slhdsaPrivate) public() ([]byte, error) { return k.key.PublicKey().MarshalBinary() }

// destroy drops the key. circl has no way to overwrite it.
func (k *slhdsaPrivate) destroy() { k.key = slhdsa.PrivateKey{} }

type slhdsaPublic struct {
	scheme *slhdsaScheme
	key    slhdsa.PublicKey
}

func (k *slhdsaPublic) verify(message, signature []byte, s settings) bool {
	return len(signature) == k.scheme.signatureBytes &&
		slhdsa.Verify(&k.key, slhdsa.NewMessage(message), signature, s.context)
}
