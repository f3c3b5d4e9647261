package hsm

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"testing"
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
