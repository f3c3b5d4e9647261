// Package seal protects blobs at rest under one 32-byte key: log entries, snapshots and stored private keys.
//
// A sealed blob is
//
//	version(1) = 1 || salt(32) || nonce(12) || ciphertext || tag(16)
//
// and every blob has a key of its own, so the number of blobs under one key has no practical limit (the bound of 2^32
// messages for random 96-bit nonces, SP 800-38D section 8.3, holds for each salt, and salts do not repeat):
//
//	blob key        = HKDF-Expand-SHA256(key, lp("cryptoserve/seal/1") || lp(salt), 32)   RFC 5869 section 2.3
//	ciphertext, tag = AES-256-GCM(blob key, nonce, associated data = version || associated)  SP 800-38D
//	lp(x)           = uint16 big-endian length || x
//
// The key must be uniformly random, which is when RFC 5869 section 3.3 allows to skip the extract step. Salt and nonce
// are random; the nonce is made by the constructor that stays approved in FIPS mode.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"cryptoserve/engine/lp"
	"cryptoserve/engine/secret"
)

const (
	// KeyBytes is the length of the key that New takes.
	KeyBytes = 32
	// Overhead is how much longer a sealed blob is than its plaintext.
	Overhead = versionBytes + saltBytes + gcmOverhead

	version      = 1
	versionBytes = 1
	saltBytes    = 32
	gcmOverhead  = 12 + 16 // nonce and tag
	label        = "cryptoserve/seal/1"
)

// ErrDamaged is the one answer for every blob that does not open: changed, cut, sealed under another key or for another
// purpose. It tells nothing else, so that nothing can be learned from it.
var ErrDamaged = errors.New("seal: the blob is damaged, or was sealed under another key or for another purpose")

// Key seals and opens blobs. Goroutines may share it.
type Key struct {
	key secret.Bytes
}

// New returns a Key over 32 uniformly random bytes. It keeps a reference to key, not a copy: destroy it, or the Key,
// when no blob is sealed or opened any more.
func New(key secret.Bytes) (*Key, error) {
	if key.Len() != KeyBytes {
		return nil, fmt.Errorf("seal: the key has %d bytes, not %d", key.Len(), KeyBytes)
	}
	return &Key{key: key}, nil
}

// Destroy overwrites the key that New was given. Seal and Open must not be called after it, nor beside it.
func (k *Key) Destroy() { k.key.Destroy() }

// Seal appends version || salt || nonce || ciphertext || tag to dst and returns it. The associated data is not stored:
// Open needs the same. Plaintext and dst must not overlap. An error is a failure of the cryptographic module.
func (k *Key) Seal(dst, associated, plaintext []byte) ([]byte, error) {
	var salt [saltBytes]byte
	_, _ = rand.Read(salt[:]) // never returns an error: crypto/rand documents that it ends the program instead
	aead, err := k.aead(salt[:])
	if err != nil {
		return nil, err
	}
	dst = append(dst, version)
	dst = append(dst, salt[:]...)
	return aead.Seal(dst, nil, plaintext, associatedData(version, associated)), nil //nolint:gosec // G407: no nonce is passed, the AEAD makes a random one
}

// Open appends the plaintext of a sealed blob to dst and returns it. Whatever does not open gives ErrDamaged and leaves
// no plaintext behind. Blob and dst must not overlap.
func (k *Key) Open(dst, associated, blob []byte) ([]byte, error) {
	if len(blob) < Overhead || blob[0] != version {
		return nil, ErrDamaged
	}
	aead, err := k.aead(blob[versionBytes : versionBytes+saltBytes])
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(dst, nil, blob[versionBytes+saltBytes:], associatedData(blob[0], associated))
	if err != nil {
		return nil, ErrDamaged
	}
	return plaintext, nil
}

func (k *Key) aead(salt []byte) (cipher.AEAD, error) {
	info := make([]byte, 0, 2+len(label)+2+saltBytes)
	info = lp.Append(info, label)
	info = lp.Append(info, salt)
	blobKey, err := hkdf.Expand(sha256.New, k.key.Reveal(), string(info), KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("seal: derive the blob's key: %w", err)
	}
	defer clear(blobKey)
	block, err := aes.NewCipher(blobKey)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return aead, nil
}

func associatedData(v byte, associated []byte) []byte {
	return append([]byte{v}, associated...)
}
