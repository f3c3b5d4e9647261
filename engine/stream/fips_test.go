package stream

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// inMode runs one test of this program again with a setting of GODEBUG=fips140.
func inMode(t *testing.T, mode, test string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode, "STREAM_FIPS="+mode)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("fips140=%s: %v\n%s", mode, err, out)
	}
}

// TestFIPSOn seals and opens with the module in FIPS mode.
func TestFIPSOn(t *testing.T) {
	if os.Getenv("STREAM_FIPS") != "on" {
		inMode(t, "on", "TestFIPSOn")
		return
	}
	if !fips140.Enabled() {
		t.Fatal("the module is not in FIPS mode")
	}
	var b bytes.Buffer
	w, err := NewWriter(&b, testKey, testAAD)
	if err != nil {
		t.Fatal(err)
	}
	want := pattern(3 * SegmentBytes)
	if _, err := w.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for way, open := range entries(standard, testKey, testAAD) {
		if got, err := open(b.Bytes()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", way, len(got), err)
		}
	}
}

// TestFIPSOnly holds what doc.go says: where Go refuses GCM with a nonce from outside, there is an error and no panic.
func TestFIPSOnly(t *testing.T) {
	if os.Getenv("STREAM_FIPS") != "only" {
		inMode(t, "only", "TestFIPSOnly")
		return
	}
	if !fips140.Enforced() {
		t.Fatal("FIPS mode is not enforced")
	}
	_, writer := NewWriter(io.Discard, testKey, testAAD)
	header := append([]byte{HeaderBytes}, make([]byte, 2*HeaderBytes)...)
	_, reader := NewReader(bytes.NewReader(header), testKey, testAAD)
	for _, err := range []error{writer, reader} {
		if err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("got %v", err)
		}
	}
}
