package backup

import (
	"bytes"
	"io"
	"testing"
)

func BenchmarkFile(b *testing.B) {
	body := content(16 << 20)
	file, _ := mustWrite(b, testManifest(), body)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Write(io.Discard, testKey(7), testManifest(), func(w io.Writer) error {
				_, err := w.Write(body)
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			_, r, err := Open(bytes.NewReader(file), testKey(7))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
