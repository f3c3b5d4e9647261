package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

const benchSegments = 64

// BenchmarkSeal compares a Writer with cipher.NewGCM alone, over the same 4 MiB in pieces of 64 KiB.
func BenchmarkSeal(b *testing.B) {
	plaintext := pattern(benchSegments * SegmentBytes)
	b.Run("raw GCM", func(b *testing.B) {
		aead, err := newAEAD(testKey, testSalt, testAAD)
		if err != nil {
			b.Fatal(err)
		}
		n := newNonce(testPre)
		dst := make([]byte, 0, SegmentBytes+tagBytes)
		b.SetBytes(int64(len(plaintext)))
		for b.Loop() {
			for i := range benchSegments {
				aead.Seal(dst, n.at(int64(i), false), plaintext[i*SegmentBytes:(i+1)*SegmentBytes], nil)
			}
		}
	})
	for _, piece := range []int{4 << 10, 32 << 10, 64 << 10, len(plaintext)} {
		b.Run(fmt.Sprintf("Write %d", piece), func(b *testing.B) {
			b.SetBytes(int64(len(plaintext)))
			b.ReportAllocs()
			for b.Loop() {
				w := testWriter(b, io.Discard, standard)
				for rest := plaintext; len(rest) > 0; rest = rest[piece:] {
					if _, err := w.Write(rest[:piece]); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("ReadFrom", func(b *testing.B) {
		b.SetBytes(int64(len(plaintext)))
		b.ReportAllocs()
		for b.Loop() {
			w := testWriter(b, io.Discard, standard)
			if _, err := w.ReadFrom(bytes.NewReader(plaintext)); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tink", func(b *testing.B) {
		a := tink(b, standard)
		b.SetBytes(int64(len(plaintext)))
		b.ReportAllocs()
		for b.Loop() {
			w, err := a.NewEncryptingWriter(io.Discard, testAAD)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.Write(plaintext); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOfRaw reports the speed of sealing 4 MiB as a part of the speed of cipher.NewGCM in a loop over the same data. Both
// are measured in turns, so that what else the machine does falls on both, and the best of each counts.
func BenchmarkOfRaw(b *testing.B) {
	plaintext := pattern(benchSegments * SegmentBytes)
	piece := plaintext[:SegmentBytes]
	aead, err := newAEAD(testKey, testSalt, testAAD)
	if err != nil {
		b.Fatal(err)
	}
	n := newNonce(testPre)
	buf := make([]byte, SegmentBytes+tagBytes)
	for _, c := range []struct {
		name  string
		raw   func()
		write func(*Writer) error
	}{
		{"one Write", func() {
			for i := range benchSegments {
				aead.Seal(buf[:0], n.at(int64(i), false), plaintext[i*SegmentBytes:(i+1)*SegmentBytes], nil)
			}
		}, func(w *Writer) error {
			_, err := w.Write(plaintext)
			return err
		}},
		{"Write of 64 KiB", func() { // from the same memory, as in a loop that reads and writes; a segment is 16 bytes less: a copy
			for i := range benchSegments {
				aead.Seal(buf[:0], n.at(int64(i), false), piece, nil)
			}
		}, func(w *Writer) error {
			for range benchSegments {
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
			return nil
		}},
		{"ReadFrom", func() {
			r := bytes.NewReader(plaintext)
			for i := range benchSegments {
				if _, err := io.ReadFull(r, buf[:SegmentBytes]); err != nil {
					b.Fatal(err)
				}
				aead.Seal(buf[:0], n.at(int64(i), false), buf[:SegmentBytes], nil)
			}
		}, func(w *Writer) error {
			_, err := w.ReadFrom(bytes.NewReader(plaintext))
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			best := [2]time.Duration{time.Hour, time.Hour}
			for b.Loop() {
				start := time.Now()
				c.raw()
				middle := time.Now()
				w := testWriter(b, io.Discard, standard)
				if err := errors.Join(c.write(w), w.Close()); err != nil {
					b.Fatal(err)
				}
				best[0] = min(best[0], middle.Sub(start))
				best[1] = min(best[1], time.Since(middle))
			}
			b.ReportMetric(float64(best[0])/float64(best[1]), "of-raw")
		})
	}
}

// BenchmarkOpen compares a Reader with cipher.NewGCM alone.
func BenchmarkOpen(b *testing.B) {
	size := int64(benchSegments * SegmentBytes)
	b.Run("raw GCM", func(b *testing.B) {
		aead, err := newAEAD(testKey, testSalt, testAAD)
		if err != nil {
			b.Fatal(err)
		}
		n := newNonce(testPre)
		sealed := aead.Seal(nil, n.at(0, false), pattern(SegmentBytes), nil)
		dst := make([]byte, 0, SegmentBytes)
		b.SetBytes(size)
		for b.Loop() {
			for range benchSegments {
				if _, err := aead.Open(dst, n.at(0, false), sealed, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	stream := sealed(b, standard, pattern(size))
	b.Run("WriteTo", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			o, err := NewReader(bytes.NewReader(stream), testKey, testAAD)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := o.WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tink", func(b *testing.B) {
		a := tink(b, standard)
		buf := make([]byte, 32<<10)
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			r, err := a.NewDecryptingReader(bytes.NewReader(stream), testAAD)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{r}, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// onlyWriter hides ReadFrom.
type onlyWriter struct{ io.Writer }
