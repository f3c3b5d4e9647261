package kem

import (
	"bytes"
	"crypto/sha3"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

func TestExpandedKeys(t *testing.T) {
	for name, n := range map[algs.Name]int{
		algs.MLKEM512: 1632, algs.MLKEM768: 2400, algs.MLKEM1024: 3168,
		algs.AES256GCMMLKEM768: 2400, algs.AES256GCMMLKEM1024: 3168,
	} {
		t.Run(string(name), func(t *testing.T) {
			p, size := keyPair(t, name), schemes[name].size()
			expanded, err := expandSeed(name, p.private)
			if err != nil || len(expanded) != n {
				t.Fatalf("%d bytes, %v", len(expanded), err)
			}
			key, err := ParseExpanded(name, expanded)
			if err != nil || !bytes.Equal(key.Public(), p.public) || key.Algorithm() != name {
				t.Fatalf("another public key or name, or %v", err)
			}
			ciphertext, secret, err := Encapsulate(name, p.public)
			if err != nil {
				t.Fatal(err)
			}
			got, err := key.Decapsulate(ciphertext)
			if err != nil || !bytes.Equal(got, secret) {
				t.Errorf("another secret, or %v", err)
			}
			// Implicit rejection is that of the seed's key: z is in both forms.
			ciphertext[0] ^= 1
			got, err = key.Decapsulate(ciphertext)
			want, wantErr := mustPrivate(t, name, p.private).Decapsulate(ciphertext)
			if err != nil || wantErr != nil || !bytes.Equal(got, want) {
				t.Errorf("rejects with another secret, or %v, %v", err, wantErr)
			}

			s := n - size.Public - 64 // bytes of the secret vector
			damage := func(at int, b byte) []byte {
				d := bytes.Clone(expanded)
				d[at] ^= b
				return d
			}
			// The same key in other bytes: a coefficient with the modulus added, and the hash to go with it.
			unreducedS, unreducedT := bytes.Clone(expanded), bytes.Clone(expanded)
			addModulus(t, unreducedS[:s])
			addModulus(t, unreducedT[s:n-96])
			hash := sha3.Sum256(unreducedT[s : n-64])
			copy(unreducedT[n-64:], hash[:])
			for what, bad := range map[string][]byte{
				"empty": nil, "cut": expanded[:n-1], "extended": append(bytes.Clone(expanded), 0),
				"the secret vector": damage(10, 1), "the public vector": damage(s+10, 1), "the matrix": damage(s+size.Public-1, 1),
				"the hash": damage(n-64, 1), "the seed": p.private,
				"a secret vector that is not reduced": unreducedS, "a public vector that is not reduced": unreducedT,
			} {
				_, err := ParseExpanded(name, bad)
				wantKind(t, what, err, fault.Malformed)
			}
			// Nothing tells a changed z.
			if _, err := ParseExpanded(name, damage(n-1, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := ParseExpanded(algs.XWing, make([]byte, 2400))
	wantKind(t, "X-Wing", err, fault.Malformed)
	_, err = ParseExpanded("none", make([]byte, 2400))
	wantKind(t, "unknown", err, fault.Malformed)
}

// addModulus adds 3329 to the first even coefficient of a packed vector that stays below 4096 by it.
func addModulus(t *testing.T, packed []byte) {
	t.Helper()
	for i := 0; i+2 < len(packed); i += 3 {
		c := int(packed[i]) | int(packed[i+1]&0x0f)<<8
		if c += 3329; c < 4096 {
			packed[i], packed[i+1] = byte(c), packed[i+1]&0xf0|byte(c>>8)
			return
		}
	}
	t.Fatal("no coefficient is small enough")
}
