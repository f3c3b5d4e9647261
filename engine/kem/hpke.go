package kem

import (
	"bytes"
	"crypto/hpke"

	"cryptoserve/engine/fault"
)

const aeadTag = 16 // of every AEAD in RFC 9180 section 7.3

// hpkeKEM is a KEM of RFC 9180 section 7.1 or draft-ietf-hpke-pq with its sizes in bytes.
type hpkeKEM struct {
	kem     hpke.KEM
	private int
	public  int
	enc     int
	x25519  bool   // a public key of the KEM may turn out to be of low order
	curve   curve  // of a DHKEM
	seedOID string // of a hybrid whose seed has a form in PKCS #8
}

func (k hpkeKEM) generate() (public, private []byte, err error) {
	key, err := k.kem.GenerateKey()
	if err != nil {
		return nil, nil, err
	}
	if private, err = key.Bytes(); err != nil {
		return nil, nil, err
	}
	return key.PublicKey().Bytes(), bytes.Clone(private), nil
}

func (k hpkeKEM) parse(b []byte) (hpke.PrivateKey, error) {
	key, err := k.kem.NewPrivateKey(b)
	if err != nil {
		return nil, errScalar
	}
	return key, nil
}

func (k hpkeKEM) point(b []byte) (hpke.PublicKey, error) {
	key, err := k.kem.NewPublicKey(b)
	if err != nil {
		return nil, reason("it is not a public key of the KEM")
	}
	return key, nil
}

func (k hpkeKEM) fromPKCS8(p pkcs8Key) ([]byte, error) {
	if k.curve.ecdh == nil {
		return p.rawSeed(k.seedOID, k.private)
	}
	scalar, err := p.scalar(k.curve)
	if err != nil {
		return nil, err
	}
	// X25519 is serialised clamped: RFC 9180 section 7.1.2.
	key, err := k.parse(scalar)
	if err != nil {
		return nil, err
	}
	return key.Bytes()
}

// hpkeSuite encrypts single messages in base mode.
type hpkeSuite struct {
	hpkeKEM
	kdf  hpke.KDF
	aead hpke.AEAD
}

func (s hpkeSuite) size() Size {
	return Size{
		Public: s.public, Private: s.private,
		Overhead: s.enc + aeadTag, MaxPlaintext: MaxPlaintext,
	}
}

func (s hpkeSuite) parsePrivate(b []byte) (privateKey, error) {
	key, err := s.parse(b)
	if err != nil {
		return nil, err
	}
	return hpkePrivate{s, key}, nil
}

func (s hpkeSuite) parsePublic(b []byte) (publicKey, error) {
	key, err := s.point(b)
	if err != nil {
		return nil, err
	}
	return hpkePublic{s, key}, nil
}

type hpkePublic struct {
	suite hpkeSuite
	key   hpke.PublicKey
}

func (p hpkePublic) encrypt(plaintext, info, aad []byte) ([]byte, error) {
	const op = "kem.Encrypt"
	enc, sender, err := hpke.NewSender(p.key, p.suite.kdf, p.suite.aead, info)
	switch {
	case err != nil && p.suite.x25519:
		return nil, unusablePublic(op, "public_key")
	case err != nil:
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	ciphertext, err := sender.Seal(aad, plaintext)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return append(enc, ciphertext...), nil
}

type hpkePrivate struct {
	suite hpkeSuite
	key   hpke.PrivateKey
}

func (k hpkePrivate) public() []byte { return k.key.PublicKey().Bytes() }

func (k hpkePrivate) decrypt(ciphertext, info, aad []byte) ([]byte, error) {
	const op = "kem.Decrypt"
	if len(ciphertext) < k.suite.size().Overhead {
		return nil, decryptFailed(op, causeFrame)
	}
	enc, sealed := ciphertext[:k.suite.enc], ciphertext[k.suite.enc:]
	recipient, err := hpke.NewRecipient(enc, k.key, k.suite.kdf, k.suite.aead, info)
	if err != nil {
		return nil, decryptFailed(op, causePoint)
	}
	plaintext, err := recipient.Open(aad, sealed)
	if err != nil {
		return nil, decryptFailed(op, causeTag)
	}
	return plaintext, nil
}

// hpkeExport encapsulates keys: the secret is what a context of the KEM exports, and nothing is encrypted.
type hpkeExport struct {
	hpkeKEM
	kdf     hpke.KDF
	info    []byte // empty in ours
	context string
}

func (s hpkeExport) size() Size {
	return Size{Public: s.public, Private: s.private, Ciphertext: s.enc, Secret: secretBytes}
}

func (s hpkeExport) parsePrivate(b []byte) (privateKey, error) {
	key, err := s.parse(b)
	if err != nil {
		return nil, err
	}
	return exportPrivate{s, key}, nil
}

func (s hpkeExport) parsePublic(b []byte) (publicKey, error) {
	key, err := s.point(b)
	if err != nil {
		return nil, err
	}
	return exportPublic{s, key}, nil
}

type exportPublic struct {
	scheme hpkeExport
	key    hpke.PublicKey
}

func (p exportPublic) encapsulate() (ciphertext, secret []byte, err error) {
	ciphertext, sender, err := hpke.NewSender(p.key, p.scheme.kdf, hpke.ExportOnly(), p.scheme.info)
	if err != nil {
		return nil, nil, err
	}
	if secret, err = sender.Export(p.scheme.context, secretBytes); err != nil {
		return nil, nil, err
	}
	return ciphertext, secret, nil
}

type exportPrivate struct {
	scheme hpkeExport
	key    hpke.PrivateKey
}

func (k exportPrivate) public() []byte { return k.key.PublicKey().Bytes() }

func (k exportPrivate) decapsulate(ciphertext []byte) ([]byte, error) {
	recipient, err := hpke.NewRecipient(ciphertext, k.key, k.scheme.kdf, hpke.ExportOnly(), k.scheme.info)
	if err != nil {
		return nil, err
	}
	return recipient.Export(k.scheme.context, secretBytes)
}
