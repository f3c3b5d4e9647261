package appliance

import (
	"crypto"
	"crypto/ed25519"
	"testing"
)

// seedOf returns the private half of an application's signer.
func seedOf(t *testing.T, s crypto.Signer) []byte {
	t.Helper()
	key, ok := s.(ed25519.PrivateKey)
	if !ok {
		t.Fatalf("the signer is a %T", s)
	}
	return key.Seed()
}
