package kem

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// TestRSAKeysMustFit offers each size of key to each algorithm, and keys whose parts are wrong.
func TestRSAKeysMustFit(t *testing.T) {
	sizes := []algs.Name{algs.RSAOAEP2048, algs.RSAOAEP3072, algs.RSAOAEP4096}
	for _, of := range sizes {
		p := keyPair(t, of)
		for _, name := range sizes {
			err := CheckPublic(name, p.public)
			_, privateErr := ParsePrivate(name, p.private)
			if name == of {
				if err != nil || privateErr != nil {
					t.Errorf("%s: %v, %v", name, err, privateErr)
				}
				continue
			}
			wantKind(t, "public key of another size", err, fault.Malformed)
			wantKind(t, "private key of another size", privateErr, fault.Malformed)
		}
	}
	good, err := x509.ParsePKCS1PrivateKey(keyPair(t, algs.RSAOAEP2048).private)
	if err != nil {
		t.Fatal(err)
	}
	for what, key := range map[string]rsa.PublicKey{
		"exponent 3":     {N: good.N, E: 3},
		"exponent 65539": {N: good.N, E: 65539}, // fits: odd and large enough
		"even exponent":  {N: good.N, E: 65538},
		"2047 bits":      {N: new(big.Int).Rsh(good.N, 1), E: 65537},
		"1024 bits":      {N: new(big.Int).Rsh(good.N, 1024), E: 65537},
	} {
		err := CheckPublic(algs.RSAOAEP2048, x509.MarshalPKCS1PublicKey(&key))
		if what == "exponent 65539" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		wantKind(t, what, err, fault.Malformed)
	}
	// Something behind the known fields, which x509 overlooks.
	p := keyPair(t, algs.RSAOAEP2048)
	more := func(b []byte) []byte { return der(0x30, b[4:], der(2, []byte{7})) }
	wantKind(t, "a public key with more in it", CheckPublic(algs.RSAOAEP2048, more(p.public)), fault.Malformed)
	_, err = ParsePrivate(algs.RSAOAEP2048, more(p.private))
	wantKind(t, "a private key with more in it", err, fault.Malformed)
	// Parts that do not belong together.
	mixed := *good
	mixed.D = new(big.Int).Add(good.D, big.NewInt(2))
	mixed.Precomputed = rsa.PrecomputedValues{}
	_, err = ParsePrivate(algs.RSAOAEP2048, marshalUnchecked(&mixed))
	wantKind(t, "a private exponent that is not the public one's", err, fault.Malformed)
}

// marshalUnchecked writes an RSAPrivateKey as it stands; x509 would correct it.
func marshalUnchecked(k *rsa.PrivateKey) []byte {
	one := big.NewInt(1)
	p, q := k.Primes[0], k.Primes[1]
	integers := []*big.Int{
		big.NewInt(0), k.N, big.NewInt(int64(k.E)), k.D, p, q,
		new(big.Int).Mod(k.D, new(big.Int).Sub(p, one)), new(big.Int).Mod(k.D, new(big.Int).Sub(q, one)), new(big.Int).ModInverse(q, p),
	}
	var parts [][]byte
	for _, i := range integers {
		b := i.Bytes()
		if len(b) == 0 || b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		parts = append(parts, der(2, b))
	}
	return der(0x30, parts...)
}

// TestMarshalUnchecked makes sure that the key above is refused for what was changed in it.
func TestMarshalUnchecked(t *testing.T) {
	p := keyPair(t, algs.RSAOAEP2048)
	key, err := x509.ParsePKCS1PrivateKey(p.private)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(marshalUnchecked(key), p.private) {
		t.Error("another form than x509's")
	}
}

// TestRSAMultiPrime refuses a key with three primes.
func TestRSAMultiPrime(t *testing.T) {
	//nolint:staticcheck // deprecated, and the only way to such a key
	key, err := rsa.GenerateMultiPrimeKey(rand.Reader, 3, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParsePrivate(algs.RSAOAEP2048, x509.MarshalPKCS1PrivateKey(key))
	wantKind(t, "three primes", err, fault.Malformed)
}
