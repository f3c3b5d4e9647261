package stream

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// FuzzReader: whatever opens is exactly the stream that a writer makes of that plaintext, under that salt and prefix.
func FuzzReader(f *testing.F) {
	for _, size := range borders(small) {
		stream := sealed(f, small, pattern(size))
		f.Add(stream, testAAD)
		f.Add(stream[:len(stream)-1], testAAD)
		f.Add(append(bytes.Clone(stream), 0), testAAD)
	}
	f.Add([]byte{}, []byte{})
	f.Add([]byte{HeaderBytes}, testAAD)
	f.Fuzz(func(t *testing.T, stream, aad []byte) {
		plain, length := map[string][]byte{}, int64(len(stream))
		var opened int
		for way, open := range entries(small, testKey, aad) {
			got, err := open(stream)
			if err == nil {
				opened++
				plain[way] = got
			} else if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: %v", way, err)
			}
		}
		if opened == 0 {
			return
		}
		if opened != 3 {
			t.Fatalf("opened in %d of 3 ways", opened)
		}
		for way, got := range plain {
			if n, err := small.plaintextLength(length); err != nil || n != int64(len(got)) {
				t.Fatalf("%s: %d bytes of plaintext, %d by the length, %v", way, len(got), n, err)
			}
			var b bytes.Buffer
			w, err := newWriter(&b, small, testKey, aad, stream[1:1+saltBytes], stream[1+saltBytes:HeaderBytes])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(got); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), stream) {
				t.Fatalf("%s: a stream that no writer makes opened", way)
			}
		}
	})
}

// FuzzRange: any range of a stream, perhaps cut and with one byte changed, is that of the slice, or refused.
func FuzzRange(f *testing.F) {
	f.Add(uint16(0), int64(0), int64(0), uint16(math.MaxUint16), uint16(0), byte(0))
	f.Add(uint16(72), int64(72), int64(72), uint16(math.MaxUint16), uint16(0), byte(0))
	f.Add(uint16(300), int64(71), int64(185), uint16(math.MaxUint16), uint16(0), byte(0))
	f.Add(uint16(300), int64(5), int64(math.MaxInt64), uint16(130), uint16(0), byte(0))
	f.Add(uint16(300), int64(math.MaxInt64), int64(math.MaxInt64), uint16(math.MaxUint16), uint16(60), byte(1))
	f.Add(uint16(300), int64(-1), int64(3), uint16(math.MaxUint16), uint16(60), byte(1))
	f.Fuzz(func(t *testing.T, size uint16, from, to int64, cut, place uint16, flip byte) {
		plaintext := pattern(int64(size % 1000))
		stream := sealed(t, small, plaintext)
		n := min(int(cut), len(stream))
		intact := n == len(stream)
		stream = stream[:n]
		if flip != 0 && n > 0 {
			stream[int(place)%n] ^= flip
			intact = false
		}
		if intact {
			if err := checkRange(small, stream, plaintext, from, to); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, wantErr := wantRange(plaintext, from, to)
		for way := range ranges {
			got, err := openRange(way, small, stream, from, to)
			switch {
			case err == nil && (wantErr != nil || !bytes.Equal(got, want)):
				t.Fatalf("%s: opened to %d bytes, want %d, %v", way, len(got), len(want), wantErr)
			case err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, wantErr):
				t.Fatalf("%s: %v", way, err)
			case !bytes.HasPrefix(want, got):
				t.Fatalf("%s: released what is not the beginning of the range", way)
			}
		}
	})
}
