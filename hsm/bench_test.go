package hsm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
)

func BenchmarkExpand(b *testing.B) {
	r := newToken(b)
	info := make([]byte, 100)
	b.Run("32B", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Expand(b.Context(), info, 32); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("32B/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := r.Expand(b.Context(), info, 32); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkRandom(b *testing.B) {
	r := newToken(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Random(b.Context(), 32); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	r := newToken(b)
	pub, blob, err := r.GenerateWrapped(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	for name, signer := range map[string]crypto.Signer{"node": r.NodeSigner(), "wrapped": r.WrappedSigner(pub, blob)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSignDigest compares a signature through the keyring with a bare C_SignInit and C_Sign by a key that is loaded for
// good: raw without and checked with the check of the signature, which never is left out in SignDigest.
func BenchmarkSignDigest(b *testing.B) {
	r := newToken(b)
	h := hashes[algs.SHA256]
	for _, name := range []algs.Name{algs.ECDSAP256, algs.ECDSAP384, algs.RSAPSS2048, algs.RSAPSS3072} {
		key, kind := r.newKey(b, name), kinds[name]
		pub := key.parsed(b)
		bare := func(s *session, loaded pkcs11.ObjectHandle) ([]byte, error) {
			mechanism, input := kind.signs(h, testDigest[:])
			return sign(r.module, s, mechanism, loaded, input)
		}
		withLoaded := func(f func(*session, pkcs11.ObjectHandle) error) func(*testing.B) {
			return func(b *testing.B) {
				err := r.do(b.Context(), "bench", func(s *session) error {
					keys, err := r.loaded("bench")
					if err != nil {
						return err
					}
					loaded, err := r.module.UnwrapKey(s.handle, keyWrapPad(), kind.wrapping(keys), key.blob, kind.unwrapTemplate())
					if err != nil {
						return err
					}
					defer func() { err = r.destroy(s, loaded) }()
					for b.Loop() {
						if err := f(s, loaded); err != nil {
							return err
						}
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(string(name)+"/raw", withLoaded(func(s *session, loaded pkcs11.ObjectHandle) error {
			_, err := bare(s, loaded)
			return err
		}))
		b.Run(string(name)+"/checked", withLoaded(func(s *session, loaded pkcs11.ObjectHandle) error {
			signature, err := bare(s, loaded)
			if err != nil {
				return err
			}
			return kind.verify(pub, h, testDigest[:], signature)
		}))
		b.Run(string(name)+"/keyring", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := r.sign(b.Context(), key); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(name)+"/keyring/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := r.sign(b.Context(), key); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkTokenKeys(b *testing.B) {
	r := newToken(b)
	gcm, mac, agrees := r.newKey(b, algs.AES256GCM), r.newKey(b, algs.HMACSHA256), r.newKey(b, algs.ECDHP256)
	ours, err := agrees.parsed(b).(*ecdsa.PublicKey).ECDH()
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"gcm/1KiB":  func() error { _, err := r.EncryptGCM(b.Context(), gcm.blob, make([]byte, 1024), nil); return err },
		"gcm/1MiB":  func() error { _, err := r.EncryptGCM(b.Context(), gcm.blob, make([]byte, 1<<20), nil); return err },
		"mac/1KiB":  func() error { _, err := r.MAC(b.Context(), mac.name, mac.blob, make([]byte, 1024)); return err },
		"ecdh/P256": func() error { _, err := r.Agree(b.Context(), agrees.name, agrees.blob, ours.Bytes()); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
