package aead

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"io"

	"cryptoserve/engine/algs"
)

// sealWith is Seal with a given nonce, for vectors that prescribe it. Go's random-nonce AES-GCM and the library's GCM-SIV
// take none: the first is stood in for by plain GCM of the same module, the second is given its nonce as randomness.
func sealWith(name algs.Name, key, nonce, plaintext, associated []byte) ([]byte, error) {
	switch name {
	case algs.AES128GCM, algs.AES192GCM, algs.AES256GCM:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		return gcm.Seal(bytes.Clone(nonce), nonce, plaintext, associated), nil
	case algs.AES256GCMSIV:
		var sealed []byte
		err := withRandom(nonce, func() (err error) {
			sealed, err = sealGCMSIV(nil, key, plaintext, associated)
			return err
		})
		return sealed, err
	case algs.AES256CCM:
		return sealCCM(nil, key, nonce, plaintext, associated)
	case algs.ChaCha20Poly1305:
		return sealChaCha(nil, key, nonce, plaintext, associated)
	case algs.AES256CBC:
		return sealCBC(nil, key, nonce, plaintext, associated)
	case algs.AES256CTR:
		return sealCTR(nil, key, nonce, plaintext, associated)
	default:
		return nil, fmt.Errorf("no construction for %s", name)
	}
}

// withRandom runs f with random bytes that are those given, and wants all of them used.
func withRandom(random []byte, f func() error) error {
	source := bytes.NewReader(random)
	saved := rand.Reader
	rand.Reader = source
	defer func() { rand.Reader = saved }()
	if err := f(); err != nil {
		return err
	}
	if source.Len() != 0 {
		return fmt.Errorf("%d random bytes left: %w", source.Len(), io.ErrShortBuffer)
	}
	return nil
}
