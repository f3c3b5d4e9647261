package signature

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"math/big"

	"cryptoserve/engine/algs"
)

// rsaScheme is RSASSA-PSS or RSASSA-PKCS1-v1_5 with a modulus of one size.
type rsaScheme struct {
	bits int
	hash algs.Name // the default
	pss  bool
}

// pssOptions: the salt is as long as the hash, which FIPS 186-5 section 5.4 allows and RFC 7518 section 3.5 demands.
var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

// maxRSA bounds the encoding of a key before it is parsed; a private key of 4096 bits has about 2,350 bytes.
const maxRSA = 4096

func (c rsaScheme) generate() (public, private []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, c.bits)
	if err != nil {
		return nil, nil, err
	}
	defer destroyRSA(key)
	return x509.MarshalPKCS1PublicKey(&key.PublicKey), x509.MarshalPKCS1PrivateKey(key), nil
}

func (c rsaScheme) private(encoded []byte) (signer, error) {
	if len(encoded) > maxRSA {
		return nil, errors.New("is too long for an RSA private key")
	}
	key, err := x509.ParsePKCS1PrivateKey(encoded) // validates and precomputes
	if err != nil {
		return nil, errors.New("is not an RSA private key in PKCS#1 DER")
	}
	if err := c.check(&key.PublicKey); err != nil {
		return nil, err
	}
	if len(key.Primes) != 2 {
		return nil, errors.New("has other than two primes")
	}
	if !bytes.Equal(x509.MarshalPKCS1PrivateKey(key), encoded) {
		return nil, errors.New("is not the canonical form of an RSA private key")
	}
	return &rsaPrivate{scheme: c, key: key}, nil
}

func (c rsaScheme) public(encoded []byte) (verifier, error) {
	if len(encoded) > maxRSA {
		return nil, errors.New("is too long for an RSA public key")
	}
	key, err := x509.ParsePKCS1PublicKey(encoded)
	if err != nil || !bytes.Equal(x509.MarshalPKCS1PublicKey(key), encoded) {
		return nil, errors.New("is not an RSA public key in PKCS#1 DER")
	}
	if err := c.check(key); err != nil {
		return nil, err
	}
	return &rsaPublic{scheme: c, key: key}, nil
}

// check wants a modulus of exactly the bits in the name and an exponent of FIPS 186-5 appendix A.1.1.
func (c rsaScheme) check(key *rsa.PublicKey) error {
	switch {
	case key.N.BitLen() != c.bits:
		return errors.New("has a modulus of another size than the algorithm's")
	case key.N.Bit(0) == 0:
		return errors.New("has an even modulus")
	case key.E < 65537 || key.E&1 == 0:
		return errors.New("has a public exponent that is even or below 65537")
	}
	return nil
}

func (c rsaScheme) settle(op string, o Options) (settings, error) {
	if o.Format == FormatDER {
		return settings{}, malformed(op, "signature_format", "der is only for ECDSA")
	}
	return hashed(op, o, c.hash, 0)
}

type rsaPrivate struct {
	scheme rsaScheme
	key    *rsa.PrivateKey
}

func (k *rsaPrivate) sign(message []byte, s settings) ([]byte, error) {
	var buf [sha512.Size]byte
	digest := s.digest(&buf, message)
	if k.scheme.pss {
		return rsa.SignPSS(rand.Reader, k.key, s.hash, digest, pssOptions)
	}
	return rsa.SignPKCS1v15(rand.Reader, k.key, s.hash, digest)
}

func (k *rsaPrivate) public() ([]byte, error) {
	return x509.MarshalPKCS1PublicKey(&k.key.PublicKey), nil
}

func (k *rsaPrivate) destroy() { destroyRSA(k.key) }

// destroyRSA overwrites the numbers that can be reached; crypto/rsa keeps a form of its own beside them.
func destroyRSA(key *rsa.PrivateKey) {
	for _, n := range append([]*big.Int{key.D, key.Precomputed.Dp, key.Precomputed.Dq, key.Precomputed.Qinv}, key.Primes...) {
		if n != nil {
			clear(n.Bits())
		}
	}
}

type rsaPublic struct {
	scheme rsaScheme
	key    *rsa.PublicKey
}

func (k *rsaPublic) verify(message, signature []byte, s settings) bool {
	var buf [sha512.Size]byte
	digest := s.digest(&buf, message)
	if k.scheme.pss {
		return rsa.VerifyPSS(k.key, s.hash, digest, signature, pssOptions) == nil
	}
	return rsa.VerifyPKCS1v15(k.key, s.hash, digest, signature) == nil
}
