package kem

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"

	"cryptoserve/engine/fault"
)

// oaep is RSAES-OAEP with SHA-256, MGF1 with SHA-256 and aad as the label, for keys of one size.
type oaep struct{ bits int }

const minExponent = 65537 // SP 800-56B section 6.2

func (s oaep) size() Size {
	n := s.bits / 8
	return Size{Ciphertext: n, MaxPlaintext: n - 2*sha256.Size - 2} // RFC 8017 section 7.1.1
}

func (s oaep) generate() (public, private []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, s.bits)
	if err != nil {
		return nil, nil, err
	}
	return x509.MarshalPKCS1PublicKey(&key.PublicKey), x509.MarshalPKCS1PrivateKey(key), nil
}

// check tells whether the key may be used with the algorithm.
func (s oaep) check(key *rsa.PublicKey) error {
	if key.N.BitLen() != s.bits {
		return reason("its modulus is not of the size that the algorithm names")
	}
	if key.E < minExponent || key.E%2 == 0 {
		return reason("its exponent is even or below 65537")
	}
	return nil
}

// parsePublic compares with what x509 writes: its parser overlooks what stands behind the known fields.
func (s oaep) parsePublic(b []byte) (publicKey, error) {
	const notDER reason = "it is not an RSAPublicKey in DER"
	if len(b) > s.bits/8+64 {
		return nil, notDER
	}
	key, err := x509.ParsePKCS1PublicKey(b)
	if err != nil {
		return nil, notDER
	}
	if err := s.check(key); err != nil {
		return nil, err
	}
	if !bytes.Equal(x509.MarshalPKCS1PublicKey(key), b) {
		return nil, notDER
	}
	return oaepPublic{key}, nil
}

func (s oaep) parsePrivate(b []byte) (privateKey, error) {
	key, err := s.parse(b)
	if err != nil {
		return nil, err
	}
	canonical := x509.MarshalPKCS1PrivateKey(key)
	defer clear(canonical)
	if subtle.ConstantTimeCompare(canonical, b) != 1 {
		return nil, notPrivateDER
	}
	return oaepPrivate{key}, nil
}

const notPrivateDER reason = "it is not a valid RSAPrivateKey in DER"

func (s oaep) parse(b []byte) (*rsa.PrivateKey, error) {
	if len(b) > s.bits/8*5 { // eight integers, of which two are as long as the modulus and five half as long
		return nil, notPrivateDER
	}
	key, err := x509.ParsePKCS1PrivateKey(b)
	if err != nil {
		return nil, notPrivateDER
	}
	if len(key.Primes) != 2 {
		return nil, reason("it has more than two primes")
	}
	if err := s.check(&key.PublicKey); err != nil {
		return nil, err
	}
	return key, nil
}

func (s oaep) fromPKCS8(k pkcs8Key) ([]byte, error) {
	b, err := k.rsa()
	if err != nil {
		return nil, err
	}
	key, err := s.parse(b)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS1PrivateKey(key), nil
}

type oaepPublic struct{ key *rsa.PublicKey }

func (p oaepPublic) encrypt(plaintext, info, aad []byte) ([]byte, error) {
	const op = "kem.Encrypt"
	if len(info) != 0 {
		return nil, oaepInfo(op)
	}
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, p.key, plaintext, aad)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return ciphertext, nil
}

type oaepPrivate struct{ key *rsa.PrivateKey }

func (k oaepPrivate) public() []byte { return x509.MarshalPKCS1PublicKey(&k.key.PublicKey) }

func (k oaepPrivate) decrypt(ciphertext, info, aad []byte) ([]byte, error) {
	const op = "kem.Decrypt"
	if len(info) != 0 {
		return nil, oaepInfo(op)
	}
	if len(ciphertext) != k.key.Size() {
		return nil, decryptFailed(op, causeFrame)
	}
	plaintext, err := rsa.DecryptOAEP(sha256.New(), nil, k.key, ciphertext, aad)
	if err != nil {
		return nil, decryptFailed(op, causePadding)
	}
	return plaintext, nil
}

func oaepInfo(op string) error { return malformed(op, "info", "must be empty with RSA-OAEP") }
