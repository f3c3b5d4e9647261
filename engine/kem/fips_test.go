package kem

import (
	"bytes"
	"crypto/fips140"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

const fipsChild = "CRYPTOSERVE_KEM_FIPS_CHILD"

// TestApprovedAlgorithmsUnderFIPS runs itself again with the Go module in its strictest mode, in which whatever is not approved
// fails: every algorithm that our table calls approved must still work.
func TestApprovedAlgorithmsUnderFIPS(t *testing.T) {
	if os.Getenv(fipsChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestApprovedAlgorithmsUnderFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), fipsChild+"=1", "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestApprovedAlgorithmsUnderFIPS/RSA-OAEP-4096") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if !fips140.Enabled() {
		t.Fatal("the module is not in FIPS mode")
	}
	for _, name := range all {
		row, _ := algs.Lookup(name)
		if row.Approval != algs.Approved {
			continue
		}
		t.Run(string(name), func(t *testing.T) {
			p := keyPair(t, name)
			key := mustPrivate(t, name, p.private)
			var want, got, ciphertext []byte
			var err error
			switch row.Class {
			case algs.ClassPublicEncryption:
				want = []byte("hello")
				if ciphertext, err = Encrypt(name, p.public, want, nil, []byte("aad")); err == nil {
					got, err = key.Decrypt(ciphertext, nil, []byte("aad"))
				}
			case algs.ClassAgreement:
				other := otherPair(t, name)
				if want, err = key.Agree(other.public); err == nil {
					got, err = mustPrivate(t, name, other.private).Agree(p.public)
				}
			default:
				if ciphertext, want, err = Encapsulate(name, p.public); err == nil {
					got, err = key.Decapsulate(ciphertext)
				}
			}
			if _, isHPKE := schemes[name].(hpkeSuite); isHPKE && fips140.Version() == "v1.0.0" {
				if err == nil {
					t.Error("this version of the module approves the nonces of HPKE: doc.go says otherwise")
				}
				return
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("another result, or %v", err)
			}
		})
	}
	if _, _, err := Generate(algs.X25519); err == nil {
		t.Error("X25519 works: the module does not enforce anything")
	}
}
