package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"

	"cryptoserve/engine/fault"

	"pgregory.net/rapid"
)

// ranges are the ways to open a range.
var ranges = map[string]func(l layout, stream []byte, from, to int64) (*Reader, error){
	"sequential": func(l layout, s []byte, from, to int64) (*Reader, error) {
		return newReader(bytes.NewReader(s), l, -1, testKey, testAAD, from, to)
	},
	"sequential with length": func(l layout, s []byte, from, to int64) (*Reader, error) {
		return newReader(bytes.NewReader(s), l, int64(len(s)), testKey, testAAD, from, to)
	},
	"random access": func(l layout, s []byte, from, to int64) (*Reader, error) {
		return newReaderAt(bytes.NewReader(s), l, int64(len(s)), testKey, testAAD, from, to)
	},
}

func openRange(way string, l layout, stream []byte, from, to int64) ([]byte, error) {
	o, err := ranges[way](l, stream, from, to)
	if err != nil {
		return nil, err
	}
	return collect(o)
}

// wantRange is what a range of a plain slice is.
func wantRange(plaintext []byte, from, to int64) ([]byte, error) {
	size := int64(len(plaintext))
	if from < 0 || to < from || from > size {
		return nil, ErrRange
	}
	return plaintext[from:min(to, size)], nil
}

func checkRange(l layout, stream, plaintext []byte, from, to int64) error {
	want, wantErr := wantRange(plaintext, from, to)
	for way := range ranges {
		got, err := openRange(way, l, stream, from, to)
		if !errors.Is(err, wantErr) || !bytes.Equal(got, want) {
			return fmt.Errorf("%s [%d, %d) of %d: %d bytes, %w; want %d, %w", way, from, to, len(plaintext), len(got), err, len(want), wantErr)
		}
	}
	return nil
}

// TestEveryRange tries every range of streams around the borders, and ends far behind them.
func TestEveryRange(t *testing.T) {
	tiny := layout{segment: HeaderBytes + tagBytes + 3, header: HeaderBytes} // 3 and 43 bytes of plaintext
	for _, size := range []int64{0, 1, 2, 3, 4, 45, 46, 47, 88, 89, 90} {
		want := pattern(size)
		stream := sealed(t, tiny, want)
		for from := int64(-1); from <= size+2; from++ {
			for to := from - 1; to <= size+2; to++ {
				if err := checkRange(tiny, stream, want, from, to); err != nil {
					t.Fatal(err)
				}
			}
			if err := checkRange(tiny, stream, want, from, math.MaxInt64); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRangesLikeSlices(t *testing.T) {
	for _, l := range []layout{small, standard} {
		sizes := borders(l)
		streams := map[int64][]byte{}
		for _, size := range sizes {
			streams[size] = sealed(t, l, pattern(size))
		}
		rapid.Check(t, func(t *rapid.T) {
			size := rapid.SampledFrom(sizes).Draw(t, "size")
			border := rapid.Map(rapid.Int64Range(0, 6), l.start)
			place := rapid.OneOf(rapid.Int64Range(-2, size+200), rapid.Int64(),
				rapid.Map(border, func(b int64) int64 { return b - 1 }), border, rapid.Map(border, func(b int64) int64 { return b + 1 }))
			if err := checkRange(l, streams[size], pattern(size), place.Draw(t, "from"), place.Draw(t, "to")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestHugeNumbers(t *testing.T) {
	stream := sealed(t, standard, pattern(100))
	for _, c := range [][2]int64{{math.MinInt64, 0}, {math.MinInt64, math.MaxInt64}, {-1, math.MaxInt64}, {1, 0}, {math.MaxInt64, 0},
		{101, 101}, {math.MaxInt64, math.MaxInt64}, {math.MaxInt64 - 1, math.MaxInt64}, {1 << 48, 1 << 49}, {1 << 32 * 65520, 1 << 33 * 65520}} {
		if err := checkRange(standard, stream, pattern(100), c[0], c[1]); err != nil {
			t.Error(err)
		}
	}
	if err := checkRange(standard, stream, pattern(100), 0, math.MaxInt64); err != nil {
		t.Error(err)
	}
	// Lengths that are claimed and that nothing of this size was made for.
	for _, length := range []int64{math.MaxInt64, MaxSegments*SegmentBytes + 1, 1 << 48, 65540, 55, 0} {
		for _, from := range []int64{0, 1 << 47, math.MaxInt64} {
			if _, err := NewRangeReader(bytes.NewReader(stream), length, testKey, testAAD, from, math.MaxInt64); !errors.Is(err, ErrDamaged) {
				t.Errorf("length %d: %v", length, err)
			}
			if _, err := NewRangeReaderAt(bytes.NewReader(stream), length, testKey, testAAD, from, math.MaxInt64); !errors.Is(err, ErrDamaged) {
				t.Errorf("length %d: %v", length, err)
			}
		}
	}
	// The longest that a stream can be: what is there is opened, what is not is noticed.
	const longest = MaxSegments * SegmentBytes
	for _, from := range []int64{0, 1 << 47, math.MaxInt64} {
		for _, o := range []func() (*Reader, error){
			func() (*Reader, error) {
				return NewRangeReader(bytes.NewReader(stream), longest, testKey, testAAD, from, math.MaxInt64)
			},
			func() (*Reader, error) {
				return NewRangeReaderAt(bytes.NewReader(stream), longest, testKey, testAAD, from, math.MaxInt64)
			},
		} {
			r, err := o()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := collect(r); !errors.Is(err, ErrDamaged) || len(got) > 0 {
				t.Errorf("from %d: %d bytes, %v", from, len(got), err)
			}
		}
	}
	if _, err := NewRangeReaderAt(bytes.NewReader(stream), -1, testKey, testAAD, 0, 1); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("random access without a length: %v", err)
	}
}

func TestRangeErrorForCallers(t *testing.T) {
	if !errors.Is(ErrRange, fault.Malformed) {
		t.Errorf("%v is not malformed", ErrRange)
	}
}

// touched notes what is read of a stream.
type touched struct {
	*bytes.Reader
	bytes []bool
}

func (r *touched) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.Reader.ReadAt(p, off)
	for i := range n {
		r.bytes[off+int64(i)] = true
	}
	return n, err
}

// TestRandomAccessReadsLittle wants the header and the segments of the range read, and nothing else.
func TestRandomAccessReadsLittle(t *testing.T) {
	const count = 6
	size := small.start(count) - 3
	want := pattern(size)
	stream := sealed(t, small, want)
	for first := range int64(count) {
		for last := first; last < count; last++ {
			r := &touched{bytes.NewReader(stream), make([]bool, len(stream))}
			o, err := newReaderAt(r, small, int64(len(stream)), testKey, testAAD, small.start(first)+1, small.start(last)+2)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := collect(o); err != nil || !bytes.Equal(got, want[small.start(first)+1:small.start(last)+2]) {
				t.Fatalf("segments %d to %d: %d bytes, %v", first, last, len(got), err)
			}
			for i, read := range r.bytes {
				segment := int64(i) / small.segment
				if needed := i < HeaderBytes || segment >= first && segment <= last; read != needed {
					t.Fatalf("segments %d to %d: byte %d: read is %v, needed is %v", first, last, i, read, needed)
				}
			}
		}
	}
}

// TestSequentialStopsEarly wants nothing read behind the segment where the range ends, but for the one byte that tells
// whether that is the last.
func TestSequentialStopsEarly(t *testing.T) {
	stream := sealed(t, small, pattern(small.start(6)))
	for length, more := range map[int64]int64{-1: 1, int64(len(stream)): 0} {
		for end := int64(1); end < 6; end++ {
			r := bytes.NewReader(stream)
			o, err := newReader(r, small, length, testKey, testAAD, 0, small.start(end))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := collect(o); err != nil {
				t.Fatal(err)
			}
			if read := r.Size() - int64(r.Len()); read != end*small.segment+more {
				t.Errorf("length %d: read %d bytes for %d segments", length, read, end)
			}
		}
	}
}

// TestRangeOfDamaged flips one byte in each segment: a range that holds or ends with that segment is refused, what it released
// before is right, and another range does not care.
func TestRangeOfDamaged(t *testing.T) {
	const count = 4
	want := pattern(small.start(count) - 5)
	stream := sealed(t, small, want)
	for damaged := range int64(count) {
		bad := bytes.Clone(stream)
		bad[damaged*small.segment+small.header+1] ^= 1
		for first := range int64(count) {
			for last := first; last < count; last++ {
				from, to := small.start(first), min(small.start(last+1), int64(len(want)))
				for way := range ranges {
					got, err := openRange(way, small, bad, from, to)
					if hit := damaged >= first && damaged <= last; hit {
						if !errors.Is(err, ErrDamaged) || !bytes.Equal(got, want[from:max(from, small.start(damaged))]) {
							t.Errorf("%s: segment %d of %d to %d damaged: released %d, %v", way, damaged, first, last, len(got), err)
						}
					} else if err != nil || !bytes.Equal(got, want[from:to]) {
						t.Errorf("%s: segment %d damaged beside %d to %d: %v", way, damaged, first, last, err)
					}
				}
			}
		}
	}
}

// TestRangeOfCut cuts a stream anywhere: a range is released or refused, never shortened, and none that ends behind the cut
// stream's end or at it is released.
func TestRangeOfCut(t *testing.T) {
	want := pattern(small.start(4) - 5)
	whole := sealed(t, small, want)
	places := slices.DeleteFunc(append(borders(small), 50, 120, 300), func(p int64) bool { return p > int64(len(want)) })
	for n := range whole {
		for _, from := range places {
			for _, to := range append(places, math.MaxInt64) {
				if to < from {
					continue
				}
				for way := range ranges {
					got, err := openRange(way, small, whole[:n], from, to)
					if err != nil {
						if !errors.Is(err, ErrDamaged) {
							t.Fatalf("%s: cut to %d, [%d, %d): %v", way, n, from, to, err)
						}
						continue
					}
					// The segment where the range ends is whole, and something follows it.
					if end := (small.index(max(to, from+1)-1) + 1) * small.segment; int64(n) <= end-1 {
						t.Fatalf("%s: cut to %d, [%d, %d): opened", way, n, from, to)
					}
					if !bytes.Equal(got, want[from:to]) {
						t.Fatalf("%s: cut to %d, [%d, %d): released %d bytes", way, n, from, to, len(got))
					}
				}
			}
		}
	}
}

// TestWrongLength gives a length that is not the stream's.
func TestWrongLength(t *testing.T) {
	for _, size := range borders(small) {
		want := pattern(size)
		stream := sealed(t, small, want)
		for length := range int64(len(stream)) + 300 {
			o, err := newReader(bytes.NewReader(stream), small, length, testKey, testAAD, 0, math.MaxInt64)
			var got []byte
			if err == nil {
				got, err = collect(o)
			}
			if right := length == int64(len(stream)); right != (err == nil) || err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("a stream of %d bytes said to have %d: %v", len(stream), length, err)
			}
			if !bytes.HasPrefix(want, got) {
				t.Fatal("released what was never sealed")
			}
			if length <= int64(len(stream)) {
				continue
			}
			// More than there is, by random access.
			if a, err := newReaderAt(bytes.NewReader(stream), small, length, testKey, testAAD, 0, math.MaxInt64); err == nil {
				_, err = collect(a)
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("random access, %d bytes said to be %d: %v", len(stream), length, err)
				}
			}
		}
	}
}

// brokenAt fails from an offset on.
type brokenAt struct {
	*bytes.Reader
	from int64
	err  error
}

func (r brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= r.from {
		return r.Reader.ReadAt(p, off)
	}
	return 0, r.err
}

func TestErrorsOfRandomAccess(t *testing.T) {
	want := pattern(300)
	stream := sealed(t, small, want)
	for _, cause := range []error{errors.New("disk failed"), io.ErrUnexpectedEOF} {
		for n := range int64(len(stream)) {
			var got []byte
			o, err := newReaderAt(brokenAt{bytes.NewReader(stream), n, cause}, small, int64(len(stream)), testKey, testAAD, 0, 300)
			if err == nil {
				got, err = collect(o)
			}
			if !errors.Is(err, cause) || errors.Is(err, ErrDamaged) || !bytes.HasPrefix(want, got) {
				t.Fatalf("failing from %d: %v", n, err)
			}
		}
	}
}
