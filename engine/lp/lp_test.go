package lp

import (
	"bytes"
	"testing"
)

func TestAppend(t *testing.T) {
	got := Append(Append([]byte{9}, "ab"), []byte{})
	if want := []byte{9, 0, 2, 'a', 'b', 0, 0}; !bytes.Equal(got, want) {
		t.Fatalf("got %x, want %x", got, want)
	}
	a := Append(Append(nil, "a"), "bc")
	b := Append(Append(nil, "ab"), "c")
	if bytes.Equal(a, b) {
		t.Fatal("two different sequences have the same bytes")
	}
}

func TestAppendRefusesWhatItCannotWrite(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("a part of 65536 bytes was written")
		}
	}()
	Append(nil, make([]byte, 1<<16))
}
