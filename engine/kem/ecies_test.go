package kem

import (
	"bytes"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// raw is the agreement whose keys an ECIES algorithm has: it stands for a token that holds the private key.
var raw = map[algs.Name]algs.Name{algs.ECIESX25519: algs.X25519, algs.ECIESP256: algs.ECDHP256, algs.ECIESP384: algs.ECDHP384}

func TestECIESWithATokensSecret(t *testing.T) {
	for name, agreement := range raw {
		t.Run(string(name), func(t *testing.T) {
			p := keyPair(t, name)
			info, aad := []byte("info"), []byte("aad")
			ciphertext, err := Encrypt(name, p.public, []byte("hello"), info, aad)
			if err != nil {
				t.Fatal(err)
			}
			ephemeral, err := ECIESEphemeral(name, ciphertext)
			if err != nil || !bytes.Equal(ephemeral, ciphertext[:len(p.public)]) {
				t.Fatal(err)
			}
			secret, err := mustPrivate(t, agreement, p.private).Agree(ephemeral)
			if err != nil {
				t.Fatal(err)
			}
			open := func(secret, public, ciphertext, info, aad []byte) ([]byte, error) {
				return ECIESOpen(name, bytes.Clone(secret), public, ciphertext, info, aad)
			}
			if got, err := open(secret, p.public, ciphertext, info, aad); err != nil || string(got) != "hello" {
				t.Fatalf("got %q, %v", got, err)
			}
			other := otherPair(t, name).public
			wrong := bytes.Clone(secret)
			wrong[0] ^= 1
			for what, c := range map[string]struct {
				secret, public, ciphertext, info, aad []byte
				kind                                  fault.Kind
			}{
				// The key is bound to the recipient, so a secret is of no use for another one's public key.
				"another recipient": {secret, other, ciphertext, info, aad, fault.DecryptFailed},
				"another secret":    {wrong, p.public, ciphertext, info, aad, fault.DecryptFailed},
				"a secret of zero":  {make([]byte, len(secret)), p.public, ciphertext, info, aad, fault.DecryptFailed},
				"other info":        {secret, p.public, ciphertext, aad, aad, fault.DecryptFailed},
				"other aad":         {secret, p.public, ciphertext, info, info, fault.DecryptFailed},
				"cut":               {secret, p.public, ciphertext[:len(ciphertext)-1], info, aad, fault.DecryptFailed},
				"too short":         {secret, p.public, ciphertext[:len(p.public)], info, aad, fault.DecryptFailed},
				"short secret":      {secret[1:], p.public, ciphertext, info, aad, fault.Internal},
				"no recipient":      {secret, nil, ciphertext, info, aad, fault.Malformed},
				"long info":         {secret, p.public, ciphertext, make([]byte, MaxInfo+1), aad, fault.TooLarge},
			} {
				_, err := open(c.secret, c.public, c.ciphertext, c.info, c.aad)
				wantKind(t, what, err, c.kind)
			}
			given := bytes.Clone(secret)
			if _, err := ECIESOpen(name, given, p.public, ciphertext, info, aad); err != nil || !zero(given) {
				t.Errorf("the secret was not overwritten, or %v", err)
			}
			for n := range len(ciphertext) - len("hello") {
				_, err := ECIESEphemeral(name, ciphertext[:n])
				wantKind(t, "ephemeral of a short one", err, fault.DecryptFailed)
			}
			if name != algs.ECIESX25519 {
				off := bytes.Clone(ciphertext)
				off[len(p.public)-1] ^= 1
				_, err := ECIESEphemeral(name, off)
				wantKind(t, "ephemeral off the curve", err, fault.DecryptFailed)
				_, err = open(secret, p.public, off, info, aad)
				wantKind(t, "open off the curve", err, fault.DecryptFailed)
			}
		})
	}
}

// TestECIESRefusesASecretOfZero forges a message that anyone can make: under the secret of a low-order point. A token need not
// refuse to compute that secret.
func TestECIESRefusesASecretOfZero(t *testing.T) {
	const name = algs.ECIESX25519
	p, s := keyPair(t, name), schemes[name].(ecies)
	for i, point := range lowOrder {
		aead, err := s.aead(make([]byte, 32), point, p.public, nil)
		if err != nil {
			t.Fatal(err)
		}
		forged := aead.Seal(bytes.Clone(point), nil, []byte("hello"), nil)
		if got, err := s.open("test", make([]byte, 32), point, p.public, forged, nil, nil); err != nil || string(got) != "hello" {
			t.Fatalf("%d: the forgery is no good: %v", i, err)
		}
		_, err = ECIESOpen(name, make([]byte, 32), p.public, forged, nil, nil)
		wantKind(t, "with the secret", err, fault.DecryptFailed)
		_, err = mustPrivate(t, name, p.private).Decrypt(forged, nil, nil)
		wantKind(t, "with the key", err, fault.DecryptFailed)
	}
}

// TestEphemeralKeysAndNoncesDoNotRepeat looks at the parts of a ciphertext that must be fresh.
func TestEphemeralKeysAndNoncesDoNotRepeat(t *testing.T) {
	for name := range raw {
		p, seen := keyPair(t, name), map[string]bool{}
		for range 50 {
			ciphertext, err := Encrypt(name, p.public, nil, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			n := len(p.public)
			for _, part := range [][]byte{ciphertext[:n], ciphertext[n : n+12], ciphertext[n+12:]} {
				if seen[string(part)] {
					t.Fatalf("%s: an ephemeral key, nonce or tag came twice", name)
				}
				seen[string(part)] = true
			}
		}
	}
}
