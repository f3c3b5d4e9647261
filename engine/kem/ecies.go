package kem

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/lp"
)

const (
	eciesLabel    = "cryptoserve/1/ecies"
	eciesKeyBytes = 32
	gcmOverhead   = 12 + 16 // nonce and tag
)

// ecies encrypts under a key agreed between an ephemeral key and the recipient's; doc.go has the bytes.
type ecies struct {
	curve
	name algs.Name
}

func (s ecies) size() Size {
	return Size{
		Public: s.public, Private: s.private,
		Overhead: s.public + gcmOverhead, MaxPlaintext: MaxPlaintext,
	}
}

func (s ecies) parsePrivate(b []byte) (privateKey, error) {
	key, err := s.parse(b)
	if err != nil {
		return nil, err
	}
	return eciesPrivate{s, key}, nil
}

func (s ecies) parsePublic(b []byte) (publicKey, error) {
	key, err := s.point(b)
	if err != nil {
		return nil, err
	}
	return eciesPublic{s, key}, nil
}

// aead derives the key of one message from the shared secret, which it overwrites.
func (s ecies) aead(secret, ephemeral, recipient, info []byte) (cipher.AEAD, error) {
	defer clear(secret)
	bound := make([]byte, 0, 5*2+len(eciesLabel)+len(s.name)+len(ephemeral)+len(recipient)+len(info))
	bound = lp.Append(bound, eciesLabel)
	bound = lp.Append(bound, string(s.name))
	bound = lp.Append(bound, ephemeral)
	bound = lp.Append(bound, recipient)
	bound = lp.Append(bound, info)
	key, err := hkdf.Key(sha256.New, secret, nil, string(bound), eciesKeyBytes)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// open finishes a decryption. ephemeral is the beginning of the ciphertext, which is long enough.
func (s ecies) open(op string, secret, ephemeral, recipient, ciphertext, info, aad []byte) ([]byte, error) {
	aead, err := s.aead(secret, ephemeral, recipient, info)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	plaintext, err := aead.Open(nil, nil, ciphertext[len(ephemeral):], aad)
	if err != nil {
		return nil, decryptFailed(op, causeTag)
	}
	return plaintext, nil
}

// ephemeral returns the sender's public key of a ciphertext.
func (s ecies) ephemeral(op string, ciphertext []byte) (*ecdh.PublicKey, error) {
	if len(ciphertext) < s.size().Overhead || len(ciphertext) > s.size().Overhead+MaxPlaintext {
		return nil, decryptFailed(op, causeFrame)
	}
	key, err := s.point(ciphertext[:s.public])
	if err != nil {
		return nil, decryptFailed(op, causePoint)
	}
	return key, nil
}

type eciesPublic struct {
	scheme ecies
	key    *ecdh.PublicKey
}

func (p eciesPublic) encrypt(plaintext, info, aad []byte) ([]byte, error) {
	const op = "kem.Encrypt"
	private, err := p.scheme.ecdh.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	secret, err := private.ECDH(p.key)
	if err != nil {
		return nil, unusablePublic(op, "public_key")
	}
	ephemeral := private.PublicKey().Bytes()
	aead, err := p.scheme.aead(secret, ephemeral, p.key.Bytes(), info)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	out := make([]byte, 0, len(ephemeral)+gcmOverhead+len(plaintext))
	return aead.Seal(append(out, ephemeral...), nil, plaintext, aad), nil //nolint:gosec // the AEAD draws the nonce
}

type eciesPrivate struct {
	scheme ecies
	key    *ecdh.PrivateKey
}

func (k eciesPrivate) public() []byte { return k.key.PublicKey().Bytes() }

func (k eciesPrivate) decrypt(ciphertext, info, aad []byte) ([]byte, error) {
	const op = "kem.Decrypt"
	ephemeral, err := k.scheme.ephemeral(op, ciphertext)
	if err != nil {
		return nil, err
	}
	secret, err := k.key.ECDH(ephemeral)
	if err != nil {
		return nil, decryptFailed(op, causePoint)
	}
	return k.scheme.open(op, secret, ephemeral.Bytes(), k.public(), ciphertext, info, aad)
}

// ECIESEphemeral returns the sender's ephemeral public key of an ECIES ciphertext: what a token that holds the private key
// needs to compute the shared secret. The point is on the curve. A ciphertext without one is fault.DecryptFailed.
func ECIESEphemeral(name algs.Name, ciphertext []byte) ([]byte, error) {
	const op = "kem.ECIESEphemeral"
	s, err := lookupECIES(op, name)
	if err != nil {
		return nil, err
	}
	key, err := s.ephemeral(op, ciphertext)
	if err != nil {
		return nil, err
	}
	return key.Bytes(), nil
}

// ECIESOpen finishes the decryption of a ciphertext whose raw shared secret a token has computed, from the recipient's
// private key and ECIESEphemeral: 32 bytes, or 48 for P-384. It overwrites the secret. A secret of another length is
// fault.Internal; every failure that depends on the ciphertext or its key is fault.DecryptFailed.
func ECIESOpen(name algs.Name, sharedSecret, recipientPublic, ciphertext, info, aad []byte) ([]byte, error) {
	const op = "kem.ECIESOpen"
	s, err := lookupECIES(op, name)
	if err != nil {
		return nil, err
	}
	if err := checkBound(op, info, aad); err != nil {
		return nil, err
	}
	recipient, err := s.point(recipientPublic)
	if err != nil {
		return nil, badKey(op, "public_key", err)
	}
	if len(sharedSecret) != s.secret {
		return nil, fault.New(fault.Internal, op, "the shared secret has the wrong length")
	}
	ephemeral, err := s.ephemeral(op, ciphertext)
	if err != nil {
		return nil, err
	}
	if zero(sharedSecret) { // an X25519 key of low order, which a token need not refuse
		return nil, decryptFailed(op, causePoint)
	}
	return s.open(op, sharedSecret, ephemeral.Bytes(), recipient.Bytes(), ciphertext, info, aad)
}

func lookupECIES(op string, name algs.Name) (ecies, error) {
	s, ok := schemes[name].(ecies)
	if !ok {
		return ecies{}, wrongAlgorithm(op, "is not ECIES")
	}
	return s, nil
}

// zero tells in constant time whether all bytes are zero.
func zero(b []byte) bool {
	var all byte
	for _, x := range b {
		all |= x
	}
	return all == 0
}
