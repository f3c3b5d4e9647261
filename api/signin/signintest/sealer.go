package signintest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// sealer seals the provider's codes and access tokens: base64url(nonce(12) || ciphertext || tag(16)). The provider's own
// way does not run where Go enforces FIPS 140, and tests must.
type sealer struct{ aead cipher.AEAD }

var _ op.Crypto = sealer{}

func newSealer() (sealer, error) {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

func (s sealer) Encrypt(text string) (string, error) {
	sealed := s.aead.Seal(nil, nil, []byte(text), nil) //nolint:gosec // G407: this AEAD draws its nonces itself and takes none
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (s sealer) Decrypt(text string) (string, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	return string(plain), err
}
