package kem

import (
	"testing"

	"cryptoserve/engine/algs"
)

var benchmarked = []algs.Name{algs.MLKEM512, algs.MLKEM768, algs.MLKEM1024, algs.XWing, algs.P256MLKEM768AES256GCM}

func BenchmarkEncapsulate(b *testing.B) {
	for _, name := range benchmarked {
		p := keyPair(b, name)
		b.Run(string(name)+"/with-ParsePublic", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Encapsulate(name, p.public); err != nil {
					b.Fatal(err)
				}
			}
		})
		key := mustPublic(b, name, p.public)
		b.Run(string(name)+"/parsed", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := key.Encapsulate(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecapsulate(b *testing.B) {
	for _, name := range benchmarked {
		p := keyPair(b, name)
		ciphertext, _, err := Encapsulate(name, p.public)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(name)+"/with-ParsePrivate", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := mustPrivate(b, name, p.private).Decapsulate(ciphertext); err != nil {
					b.Fatal(err)
				}
			}
		})
		key := mustPrivate(b, name, p.private)
		b.Run(string(name)+"/parsed", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Decapsulate(ciphertext); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncrypt32(b *testing.B) {
	for _, name := range encrypting {
		key := mustPublic(b, name, keyPair(b, name).public)
		b.Run(string(name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Encrypt(make([]byte, 32), nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecrypt32(b *testing.B) {
	for _, name := range encrypting {
		p := keyPair(b, name)
		key := mustPrivate(b, name, p.private)
		ciphertext, err := Encrypt(name, p.public, make([]byte, 32), nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Decrypt(ciphertext, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
