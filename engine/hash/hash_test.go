package hash

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

func names() []algs.Name {
	var all []algs.Name
	for _, r := range algs.Rows() {
		if r.Class == algs.ClassHash {
			all = append(all, r.Name)
		}
	}
	return all
}

// TestEveryRow keeps the package and the table complete towards each other: a digest has twice the security strength that
// the table claims against collisions.
func TestEveryRow(t *testing.T) {
	if len(names()) == 0 {
		t.Fatal("the table has no hash function")
	}
	for _, name := range names() {
		row, _ := algs.Lookup(name)
		n, variable := OutputBytes(name)
		if n*8 != 2*int(row.SecurityBits) {
			t.Errorf("%s has %d bytes for a strength of %d bits", name, n, row.SecurityBits)
		}
		digest, err := Sum(name, nil, 0)
		if err != nil || len(digest) != n {
			t.Errorf("%s: %d bytes, %v", name, len(digest), err)
		}
		if variable != (name == algs.SHAKE128 || name == algs.SHAKE256) {
			t.Errorf("%s: variable %v", name, variable)
		}
	}
}

func TestSumRefuses(t *testing.T) {
	tests := []struct {
		name        algs.Name
		outputBytes int
		field       string
	}{
		{"", 0, "algorithm"},
		{"MD5", 0, "algorithm"},
		{"sha-256", 0, "algorithm"},
		{algs.HMACSHA256, 0, "algorithm"},
		{algs.SHA256, 16, "output_bytes"},
		{algs.SHA256, 33, "output_bytes"},
		{algs.SHA256, -1, "output_bytes"},
		{algs.BLAKE2b512, 32, "output_bytes"},
		{algs.SHAKE128, -1, "output_bytes"},
		{algs.SHAKE128, MaxOutputBytes + 1, "output_bytes"},
		{algs.SHAKE256, 1 << 40, "output_bytes"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%d", tt.name, tt.outputBytes), func(t *testing.T) {
			_, sumErr := Sum(tt.name, []byte("data"), tt.outputBytes)
			_, newErr := New(tt.name, tt.outputBytes)
			for _, err := range []error{sumErr, newErr} {
				e, ok := errors.AsType[*fault.Error](err)
				if !ok || e.Kind != fault.Malformed || len(e.Fields) != 1 || e.Fields[0].Name != tt.field {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestShakeLengthsAreBeginnings(t *testing.T) {
	for _, name := range []algs.Name{algs.SHAKE128, algs.SHAKE256} {
		longest, err := Sum(name, []byte("data"), MaxOutputBytes)
		if err != nil || len(longest) != MaxOutputBytes {
			t.Fatalf("%s: %d bytes, %v", name, len(longest), err)
		}
		for _, n := range []int{1, 31, 32, 33, 64, 135, 136, 137, 168, 4096} {
			if d, err := Sum(name, []byte("data"), n); err != nil || !bytes.Equal(d, longest[:n]) {
				t.Errorf("%s: %d bytes are not the beginning (%v)", name, n, err)
			}
		}
	}
}

func TestStreamEnds(t *testing.T) {
	for _, name := range names() {
		s, err := New(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if s.Sum() == nil {
			t.Errorf("%s: no digest", name)
		}
		if s.Sum() != nil {
			t.Errorf("%s: a second digest", name)
		}
		if _, err := s.Write([]byte("more")); !errors.Is(err, fault.Internal) {
			t.Errorf("%s: written after the end: %v", name, err)
		}
	}
}

// TestStreamIsSum cuts data anywhere.
func TestStreamIsSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names()).Draw(t, "name")
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 6).Draw(t, "parts")
		n := 0
		if _, variable := OutputBytes(name); variable {
			n = rapid.IntRange(0, 1000).Draw(t, "bytes")
		}
		s, err := New(name, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if k, err := s.Write(p); k != len(p) || err != nil {
				t.Fatalf("wrote %d, %v", k, err)
			}
		}
		want, err := Sum(name, bytes.Join(parts, nil), n)
		if err != nil || !bytes.Equal(s.Sum(), want) {
			t.Fatalf("%s in parts differs (%v)", name, err)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	for _, name := range names() {
		for _, size := range []int{32, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				data := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Sum(name, data, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
