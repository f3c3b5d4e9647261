package systemtest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // #nosec G505 -- that of the token
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/appliance"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm/softhsmtest"
)

// The token of a node wraps its keys for another one, with the daemon's program as the security officer's.
func TestTrustKeyByTheProgram(t *testing.T) {
	const soPIN = "87654321"
	module, store := softhsmtest.New(t)
	pin := func(s string) secret.Bytes { return secret.New([]byte(s)) }
	if err := hsm.InitToken(module, "t", pin(soPIN), pin("31415926")); err != nil {
		t.Fatal(err)
	}
	token, err := hsm.Open(t.Context(), hsm.Config{Module: module, TokenLabel: "t", PIN: pin("31415926")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := token.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := token.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	join, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	c := appliance.HSMConfig{Module: module, TokenLabel: "t", SoftHSMDir: store.Dir(), SOPINFile: filepath.Join(t.TempDir(), "so-pin")}
	transfer := func(soPIN string) (hsm.Transfer, error) {
		t.Helper()
		if err := os.WriteFile(c.SOPINFile, []byte(soPIN), 0o600); err != nil {
			t.Fatal(err)
		}
		return token.TransferKeys(t.Context(), join, hsm.SHA1, func(ctx context.Context, label string) error {
			return appliance.TrustKey(ctx, binary, c, label, hsm.JoinFingerprint(join))
		})
	}
	if _, err := transfer("27182818"); !errors.Is(err, appliance.ErrPIN) || !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") {
		t.Errorf("a wrong PIN: %v", err)
	}
	got, err := transfer(soPIN)
	if err != nil {
		t.Fatal(err)
	}
	for name, blob := range map[string][]byte{"master": got.Master, "wrap-private": got.WrapPrivate, "wrap-secret": got.WrapSecret} {
		// Here the other token is this test, so that it can look at what was sent.
		opened, err := rsa.DecryptOAEP(sha1.New(), rand.Reader, key, blob, nil)
		if err != nil || len(opened) != 32 {
			t.Errorf("%s: %d bytes, %v", name, len(opened), err)
		}
	}
	// The program refuses an object that is not what the order says, and says so.
	_, err = token.TransferKeys(t.Context(), join, hsm.SHA1, func(ctx context.Context, label string) error {
		return appliance.TrustKey(ctx, binary, c, label, sha256.Sum256([]byte("another")))
	})
	if err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Errorf("another fingerprint: %v", err)
	}
}
