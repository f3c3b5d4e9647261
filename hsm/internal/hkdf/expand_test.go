package hkdf

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"testing"
)

func macOf(key []byte) func([]byte) ([]byte, error) {
	return func(message []byte) ([]byte, error) {
		h := hmac.New(sha256.New, key)
		h.Write(message)
		return h.Sum(nil), nil
	}
}

func TestExpandEqualsStandardLibrary(t *testing.T) {
	prk := bytes.Repeat([]byte{7}, 32)
	for _, infoLen := range []int{0, 1, 31, 32, 200, 5000} {
		info := bytes.Repeat([]byte{9}, infoLen)
		for _, n := range []int{1, 16, 31, 32, 33, 64, 65, 1000, MaxLength} {
			want, err := hkdf.Expand(sha256.New, prk, string(info), n)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Expand(macOf(prk), info, n)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("info of %d bytes, %d bytes out: differs from crypto/hkdf", infoLen, n)
			}
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	broken := errors.New("broken")
	failing := 0
	cases := []struct {
		name string
		mac  func([]byte) ([]byte, error)
		n    int
	}{
		{"nothing asked", macOf(nil), 0},
		{"negative length", macOf(nil), -1},
		{"more than 255 blocks", macOf(nil), MaxLength + 1},
		{"short MAC", func([]byte) ([]byte, error) { return make([]byte, 31), nil }, 32},
		{"MAC fails in the second block", func(m []byte) ([]byte, error) {
			if failing++; failing == 2 {
				return nil, broken
			}
			return macOf(nil)(m)
		}, 64},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if out, err := Expand(c.mac, nil, c.n); err == nil || out != nil {
				t.Fatalf("got %d bytes and error %v", len(out), err)
			}
		})
	}
}
