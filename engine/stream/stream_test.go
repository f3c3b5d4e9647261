package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"testing/iotest"

	"cryptoserve/engine/fault"
)

var (
	testKey  = bytes.Repeat([]byte{7}, KeyBytes)
	testAAD  = []byte("associated")
	testSalt = bytes.Repeat([]byte{0x5a}, saltBytes)
	testPre  = []byte("prefix!")

	// small has segments with 72 and 112 bytes of plaintext, so that borders are cheap.
	small = layout{segment: 128, header: HeaderBytes}
)

// pattern returns n bytes that differ from segment to segment.
func pattern(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

func testWriter(t testing.TB, w io.Writer, l layout) *Writer {
	t.Helper()
	s, err := newWriter(w, l, testKey, testAAD, testSalt, testPre)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealed(t testing.TB, l layout, plaintext []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := testWriter(t, &b, l)
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(r io.Reader, l layout) ([]byte, error) {
	o, err := newReader(r, l, -1, testKey, testAAD, 0, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	return collect(o)
}

// collect returns what a Reader releases before its error, and the error, nil for io.EOF.
func collect(o *Reader) ([]byte, error) {
	var got []byte
	for {
		p, err := o.Next()
		if err != nil {
			if _, again := o.Next(); again != err { //nolint:errorlint // the very same error must stay
				return got, fmt.Errorf("an error that does not stay: %w, then %w", err, again)
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return got, err
		}
		if len(p) == 0 {
			return got, errors.New("Next returned nothing")
		}
		got = append(got, p...)
	}
}

// borders returns 0, 1 and the plaintext lengths around every border of the first segments.
func borders(l layout) []int64 {
	sizes := []int64{0, 1, 2}
	for i := int64(1); i <= 4; i++ {
		b := l.start(i)
		sizes = append(sizes, b-1, b, b+1)
	}
	return append(sizes, l.start(3)+l.room()/2)
}

func TestRoundTrip(t *testing.T) {
	for _, l := range []layout{small, standard} {
		for _, size := range borders(l) {
			t.Run(fmt.Sprintf("%d-%d", l.segment, size), func(t *testing.T) {
				want := pattern(size)
				stream := sealed(t, l, want)
				if got := l.ciphertextLength(size); got != int64(len(stream)) {
					t.Errorf("the stream has %d bytes, ciphertextLength says %d", len(stream), got)
				}
				for name, write := range writings(l) {
					var b bytes.Buffer
					w := testWriter(t, &b, l)
					if err := errors.Join(write(w, want), w.Close()); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if !bytes.Equal(b.Bytes(), stream) {
						t.Errorf("%s made another stream", name)
					}
				}
				for name, read := range readings {
					o, err := newReader(bytes.NewReader(stream), l, -1, testKey, testAAD, 0, math.MaxInt64)
					if err != nil {
						t.Fatal(err)
					}
					got, err := read(o)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes, %v", name, len(got), err)
					}
				}
				for name, slow := range map[string]func(io.Reader) io.Reader{
					"halves": iotest.HalfReader, "data with EOF": iotest.DataErrReader, "bytes": iotest.OneByteReader,
				} {
					got, err := open(slow(bytes.NewReader(stream)), l)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("from a reader of %s: %d bytes, %v", name, len(got), err)
					}
				}
			})
		}
	}
}

func writings(l layout) map[string]func(*Writer, []byte) error {
	pieces := func(n int) func(*Writer, []byte) error {
		return func(w *Writer, p []byte) error {
			for len(p) > 0 {
				k, err := w.Write(p[:min(n, len(p))])
				if err != nil {
					return err
				}
				p = p[k:]
			}
			_, err := w.Write(nil)
			return err
		}
	}
	from := func(wrap func(io.Reader) io.Reader) func(*Writer, []byte) error {
		return func(w *Writer, p []byte) error {
			n, err := w.ReadFrom(wrap(bytes.NewReader(p)))
			if err == nil && n != int64(len(p)) {
				err = fmt.Errorf("read %d of %d bytes", n, len(p))
			}
			return err
		}
	}
	return map[string]func(*Writer, []byte) error{
		"Write of 7 bytes":                 pieces(7),
		"Write of a segment":               pieces(int(l.room())),
		"Write of a first segment":         pieces(int(l.firstRoom())),
		"Write of a segment and a byte":    pieces(int(l.room()) + 1),
		"Write of two segments and a byte": pieces(2*int(l.room()) + 1),
		"ReadFrom":                         from(func(r io.Reader) io.Reader { return r }),
		"ReadFrom halves":                  from(iotest.HalfReader),
		"ReadFrom data with EOF":           from(iotest.DataErrReader),
		"Write, then ReadFrom, then Write": func(w *Writer, p []byte) error {
			a, b := len(p)/3, len(p)/3*2
			_, err1 := w.Write(p[:a])
			_, err2 := w.ReadFrom(bytes.NewReader(p[a:b]))
			_, err3 := w.Write(p[b:])
			return errors.Join(err1, err2, err3)
		},
		"a full segment, then ReadFrom": func(w *Writer, p []byte) error {
			a := min(len(p), int(l.firstRoom()))
			_, err1 := w.Write(p[:a])
			_, err2 := w.ReadFrom(bytes.NewReader(p[a:]))
			return errors.Join(err1, err2)
		},
	}
}

var readings = map[string]func(*Reader) ([]byte, error){
	"Next": collect,
	"Read": func(o *Reader) ([]byte, error) { return io.ReadAll(onlyReader{o}) },
	"WriteTo": func(o *Reader) ([]byte, error) {
		var b bytes.Buffer
		n, err := o.WriteTo(&b)
		if n != int64(b.Len()) {
			err = fmt.Errorf("says %d bytes, wrote %d", n, b.Len())
		}
		return b.Bytes(), err
	},
	"Read, then Next": func(o *Reader) ([]byte, error) {
		head := make([]byte, 5)
		n, err := o.Read(head)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		rest, err := collect(o)
		return append(head[:n], rest...), err
	},
}

// onlyReader hides WriteTo.
type onlyReader struct{ io.Reader }

func TestExportedConstructors(t *testing.T) {
	want := pattern(200000)
	seen := map[string]bool{}
	for range 20 {
		var b bytes.Buffer
		w, err := NewWriter(&b, testKey, testAAD)
		if err != nil {
			t.Fatal(err)
		}
		if b.Len() != 0 {
			t.Error("NewWriter wrote")
		}
		if _, err := io.Copy(w, bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if n := CiphertextLength(int64(len(want))); n != int64(b.Len()) {
			t.Errorf("%d bytes, CiphertextLength says %d", b.Len(), n)
		}
		for _, part := range [][]byte{b.Bytes()[1:33], b.Bytes()[33:40]} {
			if seen[string(part)] {
				t.Error("a salt or prefix came twice")
			}
			seen[string(part)] = true
		}
		o, err := NewReader(&b, testKey, testAAD)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := collect(o); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
}

func TestKeysOfOtherLengths(t *testing.T) {
	stream := sealed(t, standard, nil)
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := NewWriter(io.Discard, make([]byte, n), nil); err == nil {
			t.Errorf("wrote under a key of %d bytes", n)
		}
		if _, err := NewReader(bytes.NewReader(stream), make([]byte, n), nil); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("a reader under a key of %d bytes: %v", n, err)
		}
	}
}

func TestLengths(t *testing.T) {
	const most = HeaderBytes + MaxSegments*(SegmentBytes-tagBytes) - HeaderBytes // the longest plaintext, and its header
	for _, c := range []struct{ plaintext, ciphertext int64 }{
		{0, 56}, {1, 57}, {65480, 65536}, {65481, 65553}, {65480 + 65520, 2 * 65536}, {65480 + 65520 + 1, 2*65536 + 17},
		{most - HeaderBytes, MaxSegments * SegmentBytes},
		{-1, -1}, {math.MinInt64, -1}, {most - HeaderBytes + 1, -1}, {1 << 48, -1}, {math.MaxInt64, -1},
	} {
		if got := CiphertextLength(c.plaintext); got != c.ciphertext {
			t.Errorf("CiphertextLength(%d) = %d, want %d", c.plaintext, got, c.ciphertext)
		}
		if c.ciphertext >= 0 {
			if got, err := PlaintextLength(c.ciphertext); got != c.plaintext || err != nil {
				t.Errorf("PlaintextLength(%d) = %d, %v, want %d", c.ciphertext, got, err, c.plaintext)
			}
		}
	}
	for _, n := range []int64{math.MinInt64, -1, 0, 1, 40, 55, 65537, 65552, 2*65536 + 16, MaxSegments*SegmentBytes + 1,
		MaxSegments*SegmentBytes + 17, math.MaxInt64} {
		if got, err := PlaintextLength(n); !errors.Is(err, ErrDamaged) {
			t.Errorf("PlaintextLength(%d) = %d, %v", n, got, err)
		}
	}
	// Every length of stream belongs to one length of plaintext, or to none.
	inverse := map[int64]int64{}
	for p := range int64(1000) {
		inverse[small.ciphertextLength(p)] = p
	}
	for c := range small.ciphertextLength(999) {
		p, ok := inverse[c]
		got, err := small.plaintextLength(c)
		if (err == nil) != ok || got != p {
			t.Errorf("a stream of %d bytes: %d, %v; want %d, %v", c, got, err, p, ok)
		}
	}
}

// TestCounterLimit moves the counters to their end, which no test can reach by writing.
func TestCounterLimit(t *testing.T) {
	var b bytes.Buffer
	w := testWriter(t, &b, small)
	w.segment, w.start, w.end = MaxSegments-2, 0, 0
	if _, err := w.Write(pattern(2 * small.room())); err != nil {
		t.Fatal(err)
	}
	whole := *w
	whole.buf = bytes.Clone(w.buf)
	if _, err := w.Write([]byte{1}); !errors.Is(err, ErrTooLong) || !errors.Is(err, fault.TooLarge) {
		t.Errorf("one byte more: %v", err)
	}
	if err := w.Close(); !errors.Is(err, ErrTooLong) {
		t.Errorf("closed with %v", err)
	}
	if n := int64(b.Len()); n != small.segment {
		t.Errorf("%d bytes were written, want one segment", n)
	}
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}

	at := func(number int64, tail []byte) *Reader {
		aead, err := newAEAD(testKey, testSalt, testAAD)
		if err != nil {
			t.Fatal(err)
		}
		o := openFrom(bytes.NewReader(tail), small, aead, testPre)
		o.segment = number
		return o
	}
	got, err := collect(at(MaxSegments-2, b.Bytes()))
	if err != nil || !bytes.Equal(got, pattern(2*small.room())) {
		t.Errorf("the last two segments: %d bytes, %v", len(got), err)
	}
	// Numbers that no writer gives, the second of which would be 0 again, sealed by somebody who has the key.
	for _, number := range []int64{MaxSegments, MaxSegments + 1} {
		o := at(number, nil)
		n := newNonce(testPre)
		o.src = bytes.NewReader(o.aead.Seal(nil, n.at(number, true), []byte("beyond"), nil))
		if got, err := collect(o); !errors.Is(err, ErrDamaged) || len(got) > 0 {
			t.Errorf("segment %d: %d bytes, %v", number, len(got), err)
		}
	}
}

func TestNonce(t *testing.T) {
	n := newNonce([]byte{1, 2, 3, 4, 5, 6, 7})
	for _, c := range []struct {
		segment int64
		last    bool
		want    []byte
	}{
		{0, true, []byte{1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 1}},
		{0, false, []byte{1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0}},
		{0x01020304, false, []byte{1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 0}},
		{MaxSegments - 1, true, []byte{1, 2, 3, 4, 5, 6, 7, 0xff, 0xff, 0xff, 0xfe, 1}},
	} {
		if got := n.at(c.segment, c.last); !bytes.Equal(got, c.want) {
			t.Errorf("segment %d, last %v: %x", c.segment, c.last, got)
		}
	}
}

func TestNoAllocationPerSegment(t *testing.T) {
	piece := pattern(SegmentBytes - tagBytes)
	w := testWriter(t, io.Discard, standard)
	again := bytes.NewReader(nil)
	for name, f := range map[string]func(){
		"Write": func() {
			if _, err := w.Write(piece); err != nil {
				t.Fatal(err)
			}
		},
		"ReadFrom": func() {
			again.Reset(piece)
			if _, err := w.ReadFrom(again); err != nil {
				t.Fatal(err)
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations a segment", name, n)
		}
	}
	stream := sealed(t, standard, pattern(300*SegmentBytes))
	o, err := NewReader(bytes.NewReader(stream), testKey, testAAD)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() {
		if _, err := o.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Next: %v allocations a segment", n)
	}
}

// TestMemory: what a writer and a reader hold does not depend on the data, and is below 256 KiB for both.
func TestMemory(t *testing.T) {
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var sink bytes.Buffer
			w := testWriter(b, &sink, standard)
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			if _, err := open(&sink, standard); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := r.AllocedBytesPerOp(); n < 2*SegmentBytes || n > 256<<10 {
		t.Errorf("a writer and a reader take %d bytes", n)
	}
}
