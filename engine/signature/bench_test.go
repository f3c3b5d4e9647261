package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"cryptoserve/engine/algs"
)

// BenchmarkSign signs 256 bytes with every algorithm.
func BenchmarkSign(b *testing.B) {
	message := make([]byte, 256)
	for _, name := range names() {
		b.Run(string(name), func(b *testing.B) {
			private, _ := testKeys(b, name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := private.Sign(message, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerify verifies 256 bytes with every algorithm.
func BenchmarkVerify(b *testing.B) {
	message := make([]byte, 256)
	for _, name := range names() {
		b.Run(string(name), func(b *testing.B) {
			private, public := testKeys(b, name)
			signature := mustSign(b, private, message, Options{})
			b.ReportAllocs()
			for b.Loop() {
				if err := public.Verify(message, signature, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBare does what BenchmarkSign does by calling the library itself, to show what this package costs.
func BenchmarkBare(b *testing.B) {
	message := make([]byte, 256)
	bare := func(name algs.Name, sign func() error) {
		b.Run(string(name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := sign(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	edKey := ed25519.NewKeyFromSeed(testPair(b, algs.Ed25519).private)
	bare(algs.Ed25519, func() error {
		ed25519.Sign(edKey, message)
		return nil
	})
	ecKey, err := ecdsa.ParseRawPrivateKey(ecdsaP256.curve, testPair(b, algs.ECDSAP256).private)
	if err != nil {
		b.Fatal(err)
	}
	bare(algs.ECDSAP256, func() error {
		digest := sha256.Sum256(message)
		_, err := ecdsa.SignASN1(rand.Reader, ecKey, digest[:])
		return err
	})
	rsaKey, err := x509.ParsePKCS1PrivateKey(testPair(b, algs.RSAPSS2048).private)
	if err != nil {
		b.Fatal(err)
	}
	bare(algs.RSAPSS2048, func() error {
		digest := sha256.Sum256(message)
		_, err := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, digest[:], pssOptions)
		return err
	})
	seed := [mldsaSeed]byte(testPair(b, algs.MLDSA65).private)
	_, latticeKey := mldsa65.NewKeyFromSeed(&seed)
	bare(algs.MLDSA65, func() error {
		return mldsa65.SignTo(latticeKey, message, nil, true, make([]byte, mldsa65.SignatureSize))
	})
}
