package stream

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// entries are all the ways to open a whole stream.
func entries(l layout, key, aad []byte) map[string]func(stream []byte) ([]byte, error) {
	run := func(o *Reader, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return collect(o)
	}
	return map[string]func([]byte) ([]byte, error){
		"sequential": func(s []byte) ([]byte, error) {
			return run(newReader(bytes.NewReader(s), l, -1, key, aad, 0, math.MaxInt64))
		},
		"sequential with length": func(s []byte) ([]byte, error) {
			return run(newReader(bytes.NewReader(s), l, int64(len(s)), key, aad, 0, math.MaxInt64))
		},
		"random access": func(s []byte) ([]byte, error) {
			return run(newReaderAt(bytes.NewReader(s), l, int64(len(s)), key, aad, 0, math.MaxInt64))
		},
	}
}

// refused wants ErrDamaged by every way, and nothing released that is not the beginning of the plaintext.
func refused(t *testing.T, l layout, what string, at int, stream, plaintext []byte) {
	t.Helper()
	for way, open := range entries(l, testKey, testAAD) {
		got, err := open(stream)
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s %d, %s: %v", what, at, way, err)
		}
		if !bytes.HasPrefix(plaintext, got) {
			t.Errorf("%s %d, %s: released %d bytes that were never sealed in this order", what, at, way, len(got))
		}
	}
}

func TestCutAnywhere(t *testing.T) {
	for _, size := range borders(small) {
		want := pattern(size)
		stream := sealed(t, small, want)
		for n := range stream {
			refused(t, small, "cut to", n, stream[:n], want)
		}
	}
	want := pattern(4*SegmentBytes + 1000)
	stream := sealed(t, standard, want)
	var places []int
	for b := 0; b < len(stream); b += SegmentBytes {
		places = append(places, b-1, b, b+1, b+tagBytes, b+tagBytes+1)
	}
	rnd := rand.New(rand.NewPCG(1, 2)) // repeatable places
	for range 20 {
		places = append(places, rnd.IntN(len(stream)))
	}
	for _, n := range places {
		if n >= 0 {
			refused(t, standard, "cut to", n, stream[:n], want)
		}
	}
}

// TestCutHeader: a header that is cut or has another length byte is refused before there is a Reader.
func TestCutHeader(t *testing.T) {
	stream := sealed(t, standard, nil)
	for n := range HeaderBytes {
		if _, err := NewReader(bytes.NewReader(stream[:n]), testKey, testAAD); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes of header: %v", n, err)
		}
	}
	for _, b := range []byte{0, 24, 39, 41, 255} {
		if _, err := NewReader(bytes.NewReader(append([]byte{b}, stream[1:]...)), testKey, testAAD); !errors.Is(err, ErrDamaged) {
			t.Errorf("a header that says %d bytes: %v", b, err)
		}
	}
}

func TestNeverClosed(t *testing.T) {
	for _, size := range borders(small) {
		var b bytes.Buffer
		if _, err := testWriter(t, &b, small).Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		refused(t, small, "never closed", int(size), b.Bytes(), pattern(size))
	}
}

func TestEveryBit(t *testing.T) {
	for _, size := range []int64{0, 1, small.firstRoom(), small.start(2) + 5} {
		want := pattern(size)
		stream := sealed(t, small, want)
		for i := range stream {
			for bit := range 8 {
				bad := bytes.Clone(stream)
				bad[i] ^= 1 << bit
				refused(t, small, "bit flipped in byte", i, bad, want)
			}
		}
	}
}

func TestExtended(t *testing.T) {
	for _, size := range borders(small) {
		want := pattern(size)
		stream := sealed(t, small, want)
		for _, n := range []int{1, 15, 16, 17, 112, 127, 128, 129, 500} {
			refused(t, small, "zeros added", n, append(bytes.Clone(stream), make([]byte, n)...), want)
		}
		refused(t, small, "appended to itself", int(size), append(bytes.Clone(stream), stream...), want)
		refused(t, small, "segments appended again", int(size), append(bytes.Clone(stream), stream[HeaderBytes:]...), want)
	}
}

// split returns header and segments.
func split(stream []byte) (header []byte, segments [][]byte) {
	header = stream[:HeaderBytes]
	for rest, n := stream[HeaderBytes:], int(small.segment-small.header); len(rest) > 0; n = int(small.segment) {
		n = min(n, len(rest))
		segments, rest = append(segments, rest[:n]), rest[n:]
	}
	return header, segments
}

func join(header []byte, segments [][]byte) []byte {
	return append(bytes.Clone(header), bytes.Join(segments, nil)...)
}

// TestSegmentsMoved drops, repeats and swaps every segment and pair of segments of a stream of six, of which the last is full,
// so that nothing is told by a length.
func TestSegmentsMoved(t *testing.T) {
	want := pattern(small.start(6))
	header, segments := split(sealed(t, small, want))
	if len(segments) != 6 || len(segments[5]) != int(small.segment) {
		t.Fatalf("%d segments", len(segments))
	}
	for i := range segments {
		refused(t, small, "dropped", i, join(header, slices.Delete(slices.Clone(segments), i, i+1)), want)
		refused(t, small, "repeated", i, join(header, slices.Insert(slices.Clone(segments), i, segments[i])), want)
		for j := range i {
			swapped := slices.Clone(segments)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			refused(t, small, "swapped", i*10+j, join(header, swapped), want)
			copied := slices.Clone(segments)
			copied[i] = copied[j]
			refused(t, small, "copied over", i*10+j, join(header, copied), want)
		}
	}
}

// TestSegmentsOfOthers puts segments of one stream into another under the same key and associated data.
func TestSegmentsOfOthers(t *testing.T) {
	want := pattern(small.start(4))
	header, segments := split(sealed(t, small, want))
	for name, h := range map[string]struct{ salt, prefix []byte }{
		"salt":   {bytes.Repeat([]byte{1}, saltBytes), testPre},
		"prefix": {testSalt, []byte("another")},
	} {
		var b bytes.Buffer
		w, err := newWriter(&b, small, testKey, testAAD, h.salt, h.prefix)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		otherHeader, others := split(b.Bytes())
		for i := range segments {
			mixed := slices.Clone(segments)
			mixed[i] = others[i]
			refused(t, small, "another "+name+", segment", i, join(header, mixed), want)
		}
		refused(t, small, "the header of another "+name, 0, join(otherHeader, segments), want)
	}
	// Even under the same salt and prefix, which no writer uses twice, the end of a shorter stream ends nothing else.
	_, short := split(sealed(t, small, want[:small.start(2)]))
	refused(t, small, "the end of a shorter stream", 1, join(header, [][]byte{segments[0], short[1], segments[2], segments[3]}), want)
}

func TestOtherKeyOrAssociatedData(t *testing.T) {
	stream := sealed(t, small, pattern(300))
	other := bytes.Clone(testKey)
	other[31] ^= 1
	for name, c := range map[string]struct{ key, aad []byte }{
		"key": {other, testAAD}, "no associated data": {testKey, nil}, "associated data": {testKey, []byte("associatee")},
		"longer associated data": {testKey, append(bytes.Clone(testAAD), 0)},
	} {
		for way, open := range entries(small, c.key, c.aad) {
			if got, err := open(stream); !errors.Is(err, ErrDamaged) || len(got) > 0 {
				t.Errorf("%s, %s: %d bytes, %v", name, way, len(got), err)
			}
		}
	}
}

// withEmptyLast returns a stream under the right key that no writer makes: full segments, and an empty one that is the last.
func withEmptyLast(t *testing.T, l layout, full int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := testWriter(t, &b, l)
	if _, err := w.Write(pattern(l.start(full) + 1)); err != nil {
		t.Fatal(err)
	}
	w.end = w.start // forget the byte that made the last segment full
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEmptyLastSegment(t *testing.T) {
	for full := int64(1); full < 4; full++ {
		refused(t, small, "an empty last segment after", int(full), withEmptyLast(t, small, full), pattern(small.start(full)))
	}
}
