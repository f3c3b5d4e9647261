package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"math"

	"github.com/pion/dtls/v3/pkg/crypto/ccm"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"golang.org/x/crypto/chacha20poly1305"
)

// The limits of a message in bytes.
const (
	gcmMaxPlaintext    = (1<<32 - 2) * 16                      // SP 800-38D section 5.2.1.1; a counter of 32 bits
	chachaMaxPlaintext = (1<<32 - 1) * 64                      // RFC 8439 section 2.8
	gcmSIVMaxPlaintext = math.MaxInt32 - nonceBytes - tagBytes // of the library; RFC 8452 section 6 allows 2^36 bytes
)

func gcmSuite(key int) *suite {
	return &suite{
		key: key, nonce: nonceBytes, tag: tagBytes, max: gcmMaxPlaintext, tooLarge: "AES-GCM takes 64 GiB of plaintext at most",
		seal: sealGCM, open: openGCM,
	}
}

func sealGCM(dst, key, plaintext, associated []byte) ([]byte, error) {
	a, err := randomNonceGCM(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(dst, nil, plaintext, associated), nil //nolint:gosec // G407: it draws the nonce itself
}

func openGCM(dst, key, sealed, associated []byte) ([]byte, error) {
	a, err := randomNonceGCM(key)
	if err != nil {
		return nil, err
	}
	out, err := a.Open(dst, nil, sealed, associated)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// randomNonceGCM returns AES-GCM that draws its own nonce and puts it before the ciphertext: the form that stays approved
// in FIPS 140-3 (SP 800-38D section 8.2.2).
func randomNonceGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func sealCCM(dst, key, nonce, plaintext, associated []byte) ([]byte, error) {
	a, err := newCCM(key, tagBytes, len(nonce))
	if err != nil {
		return nil, err
	}
	return a.Seal(append(dst, nonce...), nonce, plaintext, associated), nil
}

// openCCM takes a key of any AES length: the original also wrote CCM with 16 bytes.
func openCCM(dst, key, sealed, associated []byte) ([]byte, error) {
	if len(sealed) > nonceBytes+CCMMaxPlaintext+tagBytes {
		return nil, ErrOpen
	}
	a, err := newCCM(key, tagBytes, nonceBytes)
	if err != nil {
		return nil, err
	}
	out, err := a.Open(dst, sealed[:nonceBytes], sealed[nonceBytes:], associated)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

func newCCM(key []byte, tag, nonce int) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return ccm.NewCCM(block, tag, nonce)
}

// sealGCMSIV leaves the nonce to the library, which draws it from crypto/rand and offers no other way.
func sealGCMSIV(dst, key, plaintext, associated []byte) ([]byte, error) {
	a, err := subtle.NewAESGCMSIV(key)
	if err != nil {
		return nil, err
	}
	sealed, err := a.Encrypt(plaintext, associated)
	if err != nil {
		return nil, err
	}
	return append(dst, sealed...), nil
}

func openGCMSIV(dst, key, sealed, associated []byte) ([]byte, error) {
	a, err := subtle.NewAESGCMSIV(key)
	if err != nil {
		return nil, err
	}
	plaintext, err := a.Decrypt(sealed, associated)
	if err != nil {
		return nil, ErrOpen
	}
	dst = append(dst, plaintext...)
	clear(plaintext)
	return dst, nil
}

func sealChaCha(dst, key, nonce, plaintext, associated []byte) ([]byte, error) {
	a, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(append(dst, nonce...), nonce, plaintext, associated), nil
}

func openChaCha(dst, key, sealed, associated []byte) ([]byte, error) {
	a, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	out, err := a.Open(dst, sealed[:nonceBytes], sealed[nonceBytes:], associated)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}
