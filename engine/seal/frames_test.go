package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// written is a stream of these frames.
func written(t testing.TB, k *Key, associated string, content ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewFrameWriter(&b, k, []byte(associated))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range content {
		if err := w.Write([]byte(c), i == len(content)-1); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// cut returns the beginning of a stream and its frames.
func cut(stream []byte) (head []byte, all [][]byte) {
	head, rest := stream[:StreamIDBytes], stream[StreamIDBytes:]
	for len(rest) > 0 {
		n := 4 + binary.BigEndian.Uint32(rest)
		all, rest = append(all, rest[:n]), rest[n:]
	}
	return head, all
}

func readFrames(r io.Reader, k *Key, associated string) (content []string, err error) {
	f, err := NewFrameReader(r, k, []byte(associated))
	if err != nil {
		return nil, err
	}
	for {
		b, last, err := f.Next()
		if err != nil {
			return content, err
		}
		if content = append(content, string(b)); last {
			return content, nil
		}
	}
}

func TestFrames(t *testing.T) {
	k := testKey(t, 7)
	for _, want := range [][]string{{""}, {"one"}, {"one", "", "three"}, {strings.Repeat("x", MaxFrame-Overhead), "end"}} {
		got, err := readFrames(iotest.OneByteReader(bytes.NewReader(written(t, k, "aad", want...))), k, "aad")
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d frames of %d: %v", len(got), len(want), err)
		}
	}
}

func TestFramesRefuse(t *testing.T) {
	k := testKey(t, 7)
	stream := written(t, k, "aad", "zero", "one", "two", "three")
	otherHead, other := cut(written(t, k, "aad", "zero", "one", "two", "three"))
	head, f := cut(stream)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, c := range map[string]struct {
		stream     []byte
		key        *Key
		associated string
		text       string
		read       int // how many frames come before the refusal
	}{
		"swapped":              {join(head, f[0], f[2], f[1], f[3]), k, "aad", "frame 1 ", 1},
		"repeated":             {join(head, f[0], f[1], f[1], f[2], f[3]), k, "aad", "frame 2 ", 2},
		"left out":             {join(head, f[0], f[2], f[3]), k, "aad", "frame 1 ", 1},
		"last left out":        {join(head, f[0], f[1], f[2]), k, "aad", "frame 2 ", 2},
		"one more":             {join(head, f[0], f[1], f[2], f[3], f[3]), k, "aad", "frame 3 ", 3},
		"of another stream":    {join(head, f[0], other[1], f[2], f[3]), k, "aad", "frame 1 ", 1},
		"head of another":      {join(otherHead, f[0], f[1], f[2], f[3]), k, "aad", "frame 0 ", 0},
		"another key":          {stream, testKey(t, 8), "aad", "frame 0 ", 0},
		"for something else":   {stream, k, "aae", "frame 0 ", 0},
		"cut in a frame":       {stream[:len(stream)-1], k, "aad", "frame 3 ", 3},
		"cut in a length":      {join(head, f[0], f[1][:3]), k, "aad", "frame 1 ", 1},
		"only a head":          {head, k, "aad", "frame 0 ", 0},
		"cut head":             {head[:5], k, "aad", "beginning", 0},
		"an impossible length": {join(head, []byte{0xff, 0xff, 0xff, 0xff}), k, "aad", "impossible length", 0},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := readFrames(bytes.NewReader(c.stream), c.key, c.associated)
			if err == nil || !strings.Contains(err.Error(), c.text) || len(content) != c.read {
				t.Fatalf("%d frames, %v", len(content), err)
			}
		})
	}
}

// TestFramesTellABrokenSource: an error of the source is not taken for damage, nor for the end.
func TestFramesTellABrokenSource(t *testing.T) {
	k := testKey(t, 7)
	stream := written(t, k, "aad", "zero", "one")
	broken := errors.New("the line is dead")
	for n := range len(stream) + 1 {
		r := io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken))
		if _, err := readFrames(r, k, "aad"); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

func TestFrameTooLong(t *testing.T) {
	w, err := NewFrameWriter(io.Discard, testKey(t, 7), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(make([]byte, MaxFrame-Overhead+1), true); err == nil {
		t.Fatal("a frame was written that no reader takes")
	}
}

// TestFramesLayout opens a frame with nothing but the description, so that the description stays true.
func TestFramesLayout(t *testing.T) {
	k := testKey(t, 7)
	head, f := cut(written(t, k, "aad", "zero", "one"))
	for i, want := range []string{"zero", "one"} {
		associated := append([]byte("aad"), head...)
		associated = append(binary.BigEndian.AppendUint64(associated, uint64(i)), byte(i))
		got, err := k.Open(nil, associated, f[i][4:])
		if err != nil || string(got) != want {
			t.Fatalf("frame %d: %q, %v", i, got, err)
		}
	}
}
