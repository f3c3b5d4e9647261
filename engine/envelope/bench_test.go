package envelope

import (
	"bytes"
	"fmt"
	"testing"

	"cryptoserve/engine/aead"
	"cryptoserve/engine/algs"
)

func BenchmarkSeal(b *testing.B) {
	// What the frames are measured against: AES-256-GCM with a random nonce and nothing else.
	b.Run("plain-AES-256-GCM-32B", func(b *testing.B) {
		plaintext, dst := make([]byte, 32), make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := aead.Seal(dst, algs.AES256GCM, testDEK, plaintext, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, format := range []int{3, 4} {
		b.Run(fmt.Sprintf("v%d-32B", format), func(b *testing.B) {
			plaintext, dst := make([]byte, 32), make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Seal(dst, params(format), testDEK, plaintext, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, w := range written() {
		if w.p.Algorithm == algs.AES256GCM {
			continue
		}
		b.Run(fmt.Sprintf("v%d-%s-1KiB", w.p.Format, w.p.Algorithm), func(b *testing.B) {
			plaintext, dst := make([]byte, 1024), make([]byte, 0, 4096)
			b.SetBytes(1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Seal(dst, w.p, w.dek, plaintext, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	frame, err := Seal(nil, params(4), testDEK, make([]byte, 32), nil)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		f, err := Parse(frame)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Open(dst, testDEK, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefuse shows that what cannot open takes about the time of a wrong key.
func BenchmarkRefuse(b *testing.B) {
	frame, err := Seal(nil, params(4), testDEK, make([]byte, 32), nil)
	if err != nil {
		b.Fatal(err)
	}
	right, err := Parse(frame)
	if err != nil {
		b.Fatal(err)
	}
	unknown, err := Parse(bytes.Replace(frame, []byte("AES-256-GCM"), []byte("AES-256-EAX"), 1))
	if err != nil {
		b.Fatal(err)
	}
	wrong := make([]byte, KeyBytes)
	for name, f := range map[string]*Frame{"wrong-key": &right, "unknown-algorithm": &unknown} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := f.Open(nil, wrong, nil); err == nil {
					b.Fatal("opened")
				}
			}
		})
	}
}
