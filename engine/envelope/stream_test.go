package envelope

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"cryptoserve/engine/algs"
)

func streamPrefix(t testing.TB) (prefix, key []byte) {
	t.Helper()
	prefix, key, err := StreamHeader(params(4), testDEK)
	if err != nil {
		t.Fatal(err)
	}
	return prefix, key
}

func TestStream(t *testing.T) {
	prefix, key := streamPrefix(t)
	again, _ := streamPrefix(t)
	if bytes.Equal(prefix, again) || len(key) != KeyBytes {
		t.Fatalf("prefixes repeat, or the key has %d bytes", len(key))
	}
	r := bufio.NewReader(io.MultiReader(bytes.NewReader(prefix), strings.NewReader("segments")))
	f, err := ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "segments" {
		t.Fatalf("left %q, %v", rest, err)
	}
	if !f.Stream || f.Format != 4 || f.Algorithm != algs.AES256GCM || f.Context != "user-pii" || !bytes.Equal(f.Prefix(), prefix) {
		t.Fatalf("parsed %+v", f)
	}
	got, err := f.StreamKey(testDEK)
	if err != nil || !bytes.Equal(got, key) {
		t.Fatalf("another key, %v", err)
	}
	for _, dek := range [][]byte{nil, testDEK[:16], bytes.Repeat([]byte{8}, 32)} {
		if _, err := f.StreamKey(dek); !errors.Is(err, ErrCommitment) {
			t.Errorf("key of %d bytes: %v", len(dek), err)
		}
	}
}

// TestStreamAndMessageAreNotMistaken gives each of the two to the way that opens the other.
func TestStreamAndMessageAreNotMistaken(t *testing.T) {
	prefix, _ := streamPrefix(t)
	f, err := Parse(append(prefix, make([]byte, 100)...))
	if err != nil || !f.Stream {
		t.Fatalf("stream %v, %v", f.Stream, err)
	}
	if _, err := f.Open(nil, testDEK, nil); !errors.Is(err, ErrCommitment) {
		t.Errorf("a stream opened as a message: %v", err)
	}
	if f, err = Parse(prefix); err != nil || !f.Stream {
		t.Errorf("a stream without segments: %v", err)
	}
	message := seal(t, 4, []byte("hello"), nil)
	if f, err = Parse(message); err != nil {
		t.Fatal(err)
	}
	if _, err := f.StreamKey(testDEK); !errors.Is(err, ErrCommitment) {
		t.Errorf("a message has a stream key: %v", err)
	}
	// With "seg" taken from the header of a stream and put into that of a message, neither is what it was.
	stripped := strings.Replace(string(prefix[2:]), `,"seg":65536`, "", 1)
	if f, err = Parse(withHeader(stripped, make([]byte, 100))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(nil, testDEK, nil); !errors.Is(err, ErrTag) {
		t.Errorf("a stream relabelled: %v", err)
	}
}

func TestStreamHeaderRefuses(t *testing.T) {
	bad := map[string]Params{
		"format 3":        {Format: 3, Context: "c", KeyID: "k", Algorithm: algs.AES256GCM},
		"other algorithm": {Format: 4, Context: "c", KeyID: "k", Algorithm: algs.AES128GCM},
		"hybrid":          {Format: 4, Context: "c", KeyID: "k", Algorithm: algs.AES256GCMMLKEM768, Encapsulated: make([]byte, 1088)},
		"encapsulated":    {Format: 4, Context: "c", KeyID: "k", Algorithm: algs.AES256GCM, Encapsulated: make([]byte, 1088)},
		"name":            {Format: 4, Context: `"`, KeyID: "k", Algorithm: algs.AES256GCM},
	}
	for name, p := range bad {
		if _, _, err := StreamHeader(p, testDEK); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	if _, _, err := StreamHeader(params(4), testDEK[:16]); err == nil {
		t.Error("made with a key of 16 bytes")
	}
	prefix, _ := streamPrefix(t)
	header := string(prefix[2:])
	for name, h := range map[string]string{
		"other size":        strings.Replace(header, "65536", "65537", 1),
		"size as text":      strings.Replace(header, "65536", `"65536"`, 1),
		"before the commit": strings.Replace(strings.Replace(header, `,"seg":65536`, "", 1), `,"kc"`, `,"seg":65536,"kc"`, 1),
		"twice":             strings.Replace(header, `,"seg":65536`, `,"seg":65536,"seg":65536`, 1),
		"other algorithm":   strings.Replace(header, "AES-256-GCM", "AES-128-GCM", 1),
		"unknown algorithm": strings.Replace(header, "AES-256-GCM", "AES-256-EAX", 1),
	} {
		if _, err := Parse(withHeader(h, make([]byte, 100))); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReadHeader reads the prefix of every kind of frame from readers that give little, end early or fail.
func TestReadHeader(t *testing.T) {
	for _, w := range written() {
		frame, err := Seal(nil, w.p, w.dek, []byte("hello"), nil)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := Parse(frame)
		if err != nil {
			t.Fatal(err)
		}
		r := iotest.OneByteReader(bytes.NewReader(frame))
		f, err := ReadHeader(r)
		if err != nil {
			t.Fatalf("%s: %v", title(w.p), err)
		}
		if _, err := f.Open(nil, w.dek, nil); err == nil {
			t.Errorf("%s: opened without a body", title(w.p))
		}
		body, err := io.ReadAll(r)
		if err != nil || f.Attach(body) != nil || !bytes.Equal(f.Prefix(), whole.Prefix()) {
			t.Fatalf("%s: %v", title(w.p), err)
		}
		if got, err := f.Open(nil, w.dek, nil); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, %v", title(w.p), got, err)
		}
		for n := range len(f.Prefix()) {
			if _, err := ReadHeader(bytes.NewReader(frame[:n])); !errors.Is(err, ErrFrame) {
				t.Fatalf("%s: %d bytes: %v", title(w.p), n, err)
			}
		}
	}
	long := bytes.NewReader(append([]byte{0x10, 0x01}, make([]byte, 8000)...))
	if _, err := ReadHeader(long); !errors.Is(err, ErrFrame) || long.Len() != 8000 {
		t.Errorf("%d bytes left of a header that is too long: %v", long.Len(), err)
	}
	broken := errors.New("broken")
	if _, err := ReadHeader(iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrFrame) {
		t.Errorf("a broken reader: %v", err)
	}
}
