package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

// brokenWriter takes some bytes and then fails, or takes half and says nothing.
type brokenWriter struct {
	left  int
	err   error
	calls int
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	w.calls++
	if len(p) <= w.left {
		w.left -= len(p)
		return len(p), nil
	}
	return w.left, w.err
}

func TestWriterStaysFailed(t *testing.T) {
	mine := errors.New("disk full")
	for _, c := range []struct{ err, want error }{{mine, mine}, {nil, io.ErrShortWrite}} {
		for left := range 400 {
			broken := &brokenWriter{left: left, err: c.err}
			w := testWriter(t, broken, small)
			n, err := w.Write(pattern(400))
			if err == nil {
				err = w.Close()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("after %d bytes: %v", left, err)
			}
			calls := broken.calls
			_, again := w.Write([]byte("more"))
			_, from := w.ReadFrom(strings.NewReader("more"))
			for _, err := range []error{again, from, w.Close(), w.Close()} {
				if !errors.Is(err, c.want) {
					t.Fatalf("used after its failure: %v", err)
				}
			}
			if broken.calls != calls || n > 400 {
				t.Fatal("wrote after its failure")
			}
		}
	}
}

func TestClosedWriter(t *testing.T) {
	var b bytes.Buffer
	w := testWriter(t, &b, small)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n := b.Len()
	_, write := w.Write([]byte("more"))
	_, from := w.ReadFrom(strings.NewReader("more"))
	for _, err := range []error{write, from, w.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if b.Len() != n {
		t.Error("wrote after Close")
	}
}

// TestHalfAnInput: an input that fails must not become a whole stream, even if the caller closes the writer.
func TestHalfAnInput(t *testing.T) {
	for _, cause := range []error{errors.New("connection lost"), io.ErrUnexpectedEOF, io.ErrClosedPipe} {
		for _, size := range borders(small) {
			var b bytes.Buffer
			w := testWriter(t, &b, small)
			n, err := w.ReadFrom(io.MultiReader(bytes.NewReader(pattern(size)), iotest.ErrReader(cause)))
			if !errors.Is(err, cause) || n != size {
				t.Fatalf("%d of %d bytes, %v", n, size, err)
			}
			if err := w.Close(); !errors.Is(err, cause) {
				t.Fatalf("closed with %v", err)
			}
			if _, err := open(&b, small); !errors.Is(err, ErrDamaged) {
				t.Fatalf("half of an input opened: %v", err)
			}
		}
	}
}

// TestErrorsOfTheSource: an error of the input is never mistaken for the end of the stream, wherever it comes.
func TestErrorsOfTheSource(t *testing.T) {
	want := pattern(300)
	stream := sealed(t, small, want)
	for _, cause := range []error{errors.New("connection lost"), io.ErrUnexpectedEOF, io.ErrNoProgress} {
		for n := range len(stream) + 1 {
			source := func() io.Reader { return io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(cause)) }
			for _, length := range []int64{-1, int64(len(stream))} {
				var got []byte
				o, err := newReader(source(), small, length, testKey, testAAD, 0, math.MaxInt64)
				if err == nil {
					got, err = collect(o)
				}
				if !errors.Is(err, cause) || errors.Is(err, ErrDamaged) || !bytes.HasPrefix(want, got) {
					t.Fatalf("%v after %d bytes: released %d, %v", cause, n, len(got), err)
				}
			}
		}
	}
	if _, err := open(idleReader{}, small); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that gives nothing: %v", err)
	}
}

// TestEOFOfOthers: an error that wraps io.EOF, such as that of a source which is a stream itself, is not the end.
func TestEOFOfOthers(t *testing.T) {
	other := fmt.Errorf("disk: %w", io.EOF)
	stream := sealed(t, small, pattern(300))
	for n := range len(stream) + 1 {
		o, err := newReader(io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(other)), small, -1, testKey, testAAD, 0, math.MaxInt64)
		if err == nil {
			_, err = o.WriteTo(io.Discard)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, ErrDamaged) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	o, err := newReader(bytes.NewReader(stream), small, -1, testKey, testAAD, 0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteTo(&brokenWriter{left: 100, err: other}); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		t.Errorf("from the sink: %v", err)
	}
}

type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

func TestErrorsOfTheSink(t *testing.T) {
	stream := sealed(t, small, pattern(300))
	mine := errors.New("client gone")
	for _, c := range []struct{ err, want error }{{mine, mine}, {nil, io.ErrShortWrite}} {
		o, err := newReader(bytes.NewReader(stream), small, -1, testKey, testAAD, 0, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		n, err := o.WriteTo(&brokenWriter{left: 100, err: c.err})
		if !errors.Is(err, c.want) || n != 100 {
			t.Errorf("%d bytes, %v", n, err)
		}
		if p, err := o.Next(); !errors.Is(err, c.want) {
			t.Errorf("went on with %d bytes, %v", len(p), err)
		}
	}
}
