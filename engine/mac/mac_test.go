package mac

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
		if r.Class == algs.ClassMAC {
			all = append(all, r.Name)
		}
	}
	return all
}

func testKey(name algs.Name) []byte { return bytes.Repeat([]byte{0x5a}, KeyBytes(name)) }

// TestEveryRow keeps the package and the table complete towards each other.
func TestEveryRow(t *testing.T) {
	if len(names()) != len(algorithms) {
		t.Errorf("%d rows and %d algorithms", len(names()), len(algorithms))
	}
	for _, name := range names() {
		tag, err := Sum(name, testKey(name), []byte("message"), Options{})
		if err != nil || len(tag) != TagBytes(name) || len(tag) < MinTagBytes {
			t.Errorf("%s: a tag of %d bytes, %v", name, len(tag), err)
		}
		if ok, err := Verify(name, testKey(name), []byte("message"), tag, Options{}); !ok || err != nil {
			t.Errorf("%s: its own tag is %v, %v", name, ok, err)
		}
	}
}

func TestRefused(t *testing.T) {
	long := make([]byte, MaxCustomizationBytes+1)
	tests := []struct {
		name     string
		alg      algs.Name
		keyBytes int
		o        Options
		field    string
	}{
		{"no algorithm", "", 32, Options{}, "algorithm"},
		{"a hash", algs.SHA256, 32, Options{}, "algorithm"},
		{"unknown", "HMAC-MD5", 32, Options{}, "algorithm"},
		{"no key", algs.HMACSHA256, 0, Options{}, "key"},
		{"short key", algs.HMACSHA256, 31, Options{}, "key"},
		{"long key", algs.HMACSHA256, 33, Options{}, "key"},
		{"AES-256 key for AES-128", algs.AES128CMAC, 32, Options{}, "key"},
		{"AES-128 key for AES-256", algs.AES256CMAC, 16, Options{}, "key"},
		{"customization of HMAC", algs.HMACSHA512, 64, Options{Customization: []byte("x")}, "customization"},
		{"customization of CMAC", algs.AES256CMAC, 32, Options{Customization: []byte("x")}, "customization"},
		{"long customization", algs.KMAC128, 32, Options{Customization: long}, "customization"},
		{"negative", algs.KMAC256, 32, Options{OutputBytes: -1}, "output_bytes"},
		{"tag of 15 bytes", algs.HMACSHA256, 32, Options{OutputBytes: 15}, "output_bytes"},
		{"tag of 15 bytes of CMAC", algs.AES128CMAC, 16, Options{OutputBytes: 15}, "output_bytes"},
		{"tag of 15 bytes of KMAC", algs.KMAC128, 32, Options{OutputBytes: 15}, "output_bytes"},
		{"more than the hash has", algs.HMACSHA256, 32, Options{OutputBytes: 33}, "output_bytes"},
		{"more than a block", algs.AES256CMAC, 32, Options{OutputBytes: 17}, "output_bytes"},
		{"too much of KMAC", algs.KMAC256, 32, Options{OutputBytes: MaxTagBytes + 1}, "output_bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key := make([]byte, tt.keyBytes)
			_, sumErr := Sum(tt.alg, key, nil, tt.o)
			_, newErr := New(tt.alg, key, tt.o)
			valid, verifyErr := Verify(tt.alg, key, nil, nil, tt.o)
			if valid {
				t.Error("verified")
			}
			for _, err := range []error{sumErr, newErr, verifyErr} {
				e, ok := errors.AsType[*fault.Error](err)
				if !ok || e.Kind != fault.Malformed || len(e.Fields) != 1 || e.Fields[0].Name != tt.field {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// TestVerifyIsAboutEveryBit changes each bit of tag, key and message, and the length of the tag.
func TestVerifyIsAboutEveryBit(t *testing.T) {
	for _, name := range names() {
		key, message := testKey(name), []byte("a message of more than sixteen bytes")
		tag, err := Sum(name, key, message, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for what, b := range map[string][]byte{"tag": tag, "key": key, "message": message} {
			for i := range 8 * len(b) {
				b[i/8] ^= 1 << (i % 8)
				if ok, err := Verify(name, key, message, tag, Options{}); ok || err != nil {
					t.Errorf("%s: bit %d of the %s changed: %v, %v", name, i, what, ok, err)
				}
				b[i/8] ^= 1 << (i % 8)
			}
		}
		for n := range len(tag) {
			if ok, err := Verify(name, key, message, tag[:n], Options{}); ok || err != nil {
				t.Errorf("%s: the first %d bytes of the tag: %v, %v", name, n, ok, err)
			}
		}
		if ok, err := Verify(name, key, message, append(bytes.Clone(tag), 0), Options{}); ok || err != nil {
			t.Errorf("%s: a tag that is too long: %v, %v", name, ok, err)
		}
	}
}

// TestShorterTagsOnlyWhenAskedFor: a shorter tag is one of its own length alone.
func TestShorterTagsOnlyWhenAskedFor(t *testing.T) {
	for _, name := range names() {
		key, message := testKey(name), []byte("message")
		full, err := Sum(name, key, message, Options{})
		if err != nil {
			t.Fatal(err)
		}
		o := Options{OutputBytes: MinTagBytes}
		short, err := Sum(name, key, message, o)
		if err != nil || len(short) != MinTagBytes {
			t.Fatalf("%s: %d bytes, %v", name, len(short), err)
		}
		if ok, _ := Verify(name, key, message, short, o); !ok {
			t.Errorf("%s: the shorter tag is not verified when asked for", name)
		}
		if len(full) == MinTagBytes {
			continue
		}
		if ok, _ := Verify(name, key, message, short, Options{}); ok {
			t.Errorf("%s: the shorter tag stands for the full one", name)
		}
		if ok, _ := Verify(name, key, message, full, o); ok {
			t.Errorf("%s: the full tag stands for the shorter one", name)
		}
		isKMAC := name == algs.KMAC128 || name == algs.KMAC256
		if bytes.HasPrefix(full, short) == isKMAC {
			t.Errorf("%s: the shorter tag begins the full one: %v", name, !isKMAC)
		}
	}
}

func TestCustomizationSeparates(t *testing.T) {
	for _, name := range []algs.Name{algs.KMAC128, algs.KMAC256} {
		a, errA := Sum(name, testKey(name), []byte("message"), Options{Customization: []byte("a")})
		b, errB := Sum(name, testKey(name), []byte("message"), Options{Customization: []byte("b")})
		none, errNone := Sum(name, testKey(name), []byte("message"), Options{})
		if err := errors.Join(errA, errB, errNone); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, b) || bytes.Equal(a, none) {
			t.Errorf("%s: two customizations give one tag", name)
		}
	}
}

func TestStreamEnds(t *testing.T) {
	for _, name := range names() {
		s, err := New(name, testKey(name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		tag := s.Sum()
		if tag == nil || s.Sum() != nil || s.Verify(tag) || s.Verify(nil) {
			t.Errorf("%s: the stream does not end", name)
		}
		if _, err := s.Write([]byte("more")); !errors.Is(err, fault.Internal) {
			t.Errorf("%s: written after the end: %v", name, err)
		}
	}
}

// TestStreamIsSum cuts messages anywhere. CMAC's stream is compared with the library's own CMAC of the whole message.
func TestStreamIsSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names()).Draw(t, "name")
		key := rapid.SliceOfN(rapid.Byte(), KeyBytes(name), KeyBytes(name)).Draw(t, "key")
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 0, 6).Draw(t, "parts")
		if rapid.Bool().Draw(t, "long") {
			parts = append(parts, make([]byte, rapid.IntRange(500, 2000).Draw(t, "bytes")))
		}
		o := Options{OutputBytes: rapid.IntRange(MinTagBytes, algorithms[name].maxBytes).Draw(t, "tag")}
		s, err := New(name, key, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if k, err := s.Write(p); k != len(p) || err != nil {
				t.Fatalf("wrote %d, %v", k, err)
			}
		}
		whole := bytes.Join(parts, nil)
		want, err := Sum(name, key, whole, o)
		if err != nil {
			t.Fatal(err)
		}
		if name == algs.AES128CMAC || name == algs.AES256CMAC {
			want = referenceCMAC(t, key, whole)
		}
		if !bytes.Equal(s.Sum(), want) {
			t.Fatalf("%s in parts differs", name)
		}
	})
}

// TestNumbers are the examples of SP 800-185 sections 2.3.1 and the ends of their ranges.
func TestNumbers(t *testing.T) {
	for n, want := range map[uint64]struct{ left, right string }{
		0:         {"\x01\x00", "\x00\x01"},
		1:         {"\x01\x01", "\x01\x01"},
		255:       {"\x01\xff", "\xff\x01"},
		256:       {"\x02\x01\x00", "\x01\x00\x02"},
		65535:     {"\x02\xff\xff", "\xff\xff\x02"},
		65536:     {"\x03\x01\x00\x00", "\x01\x00\x00\x03"},
		1<<64 - 1: {"\x08\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\x08"},
	} {
		if got := string(leftEncode(nil, n)); got != want.left {
			t.Errorf("left_encode(%d) = %x", n, got)
		}
		if got := string(rightEncode(nil, n)); got != want.right {
			t.Errorf("right_encode(%d) = %x", n, got)
		}
	}
}

func BenchmarkSum(b *testing.B) {
	for _, name := range names() {
		for _, size := range []int{32, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				key, data := testKey(name), make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Sum(name, key, data, Options{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
