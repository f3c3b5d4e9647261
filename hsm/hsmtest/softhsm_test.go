package hsmtest

import (
	"testing"

	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm/softhsmtest"
)

func TestSoftHSM(t *testing.T) { Conformance(t, freshSoftHSM) }

// Everything that PKCS#11 offers a program with the user PIN is tried on the keys, and on the keys they wrap.
func TestInvariant01MasterKeyNeverLeavesToken(t *testing.T) {
	t.Run("Restrictions", func(t *testing.T) { restrictions(t, provisioned(t, freshSoftHSM(t))) })
	t.Run("WrappedKeys", func(t *testing.T) { wrappedKeys(t, freshSoftHSM(t)) })
}

func freshSoftHSM(t *testing.T) hsm.Config {
	const label, pin = "conformance", "31415926"
	module, _ := softhsmtest.New(t)
	if err := hsm.InitToken(module, label, secret.New([]byte("87654321")), secret.New([]byte(pin))); err != nil {
		t.Fatal(err)
	}
	return hsm.Config{Module: module, TokenLabel: label, PIN: secret.New([]byte(pin))}
}
