package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"cryptoserve/engine/secret"
)

func testKey(t testing.TB, fill byte) *Key {
	t.Helper()
	k, err := New(secret.New(bytes.Repeat([]byte{fill}, KeyBytes)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSeal(t testing.TB, k *Key, associated, plaintext []byte) []byte {
	t.Helper()
	blob, err := k.Seal(nil, associated, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func TestNewRefusesOtherLengths(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := New(secret.New(make([]byte, n))); err == nil {
			t.Errorf("a key of %d bytes was accepted", n)
		}
	}
}

func TestSealOpen(t *testing.T) {
	k := testKey(t, 7)
	for _, n := range []int{0, 1, 15, 16, 17, 4096, 1 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			plaintext := bytes.Repeat([]byte{0xa5}, n)
			prefix := []byte("kept")
			blob, err := k.Seal(bytes.Clone(prefix), []byte("what for"), plaintext)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(blob, prefix) || len(blob) != len(prefix)+n+Overhead {
				t.Fatalf("a blob of %d bytes after a prefix of %d", len(blob), len(prefix))
			}
			got, err := k.Open(bytes.Clone(prefix), []byte("what for"), blob[len(prefix):])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, append(prefix, plaintext...)) {
				t.Fatal("the plaintext came back changed")
			}
		})
	}
}

// TestLayout opens a blob with nothing but the description in the package comment, so that the description stays true.
func TestLayout(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeyBytes)
	blob := mustSeal(t, testKey(t, 7), []byte("aad"), []byte("plain"))
	if blob[0] != 1 {
		t.Fatalf("version %d", blob[0])
	}
	salt, nonce, rest := blob[1:33], blob[33:45], blob[45:]

	mac := hmac.New(sha256.New, key) // HKDF-Expand with one block: HMAC(PRK, info || 0x01)
	mac.Write([]byte{0, 18})
	mac.Write([]byte("cryptoserve/seal/1"))
	mac.Write([]byte{0, 32})
	mac.Write(salt)
	mac.Write([]byte{1})
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	got, err := gcm.Open(nil, nonce, rest, []byte("\x01aad"))
	if err != nil || string(got) != "plain" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// golden was sealed by this package under the key 07...07: a blob at rest must open in every later program.
const golden = "013bf1713245aff27198c20bb1fb8fcebe506589379e5e00937af0310b5d2ac6a6fb7d95682985619b538a7ae1e6993ac62b07bbe5e8" +
	"e54d1399043b98aa6c9c0ca8"

func TestGoldenBlobOpens(t *testing.T) {
	blob, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	got, err := testKey(t, 7).Open(nil, []byte("aad"), blob)
	if err != nil || string(got) != "plain" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestEveryBitIsProtected(t *testing.T) {
	k := testKey(t, 7)
	blob := mustSeal(t, k, []byte("aad"), []byte("plain"))
	for i := range blob {
		for bit := range 8 {
			bad := bytes.Clone(blob)
			bad[i] ^= 1 << bit
			if _, err := k.Open(nil, []byte("aad"), bad); !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	k := testKey(t, 7)
	blob := mustSeal(t, k, []byte("aad"), []byte("plain"))
	for name, c := range map[string]struct {
		key        *Key
		associated string
		blob       []byte
	}{
		"another key":             {testKey(t, 8), "aad", blob},
		"other associated data":   {k, "aae", blob},
		"no associated data":      {k, "", blob},
		"empty":                   {k, "aad", nil},
		"only a version":          {k, "aad", blob[:1]},
		"shorter than overhead":   {k, "aad", blob[:Overhead-1]},
		"cut":                     {k, "aad", blob[:len(blob)-1]},
		"extended":                {k, "aad", append(bytes.Clone(blob), 0)},
		"version 0":               {k, "aad", append([]byte{0}, blob[1:]...)},
		"version 2":               {k, "aad", append([]byte{2}, blob[1:]...)},
		"version moved into data": {k, "\x01aad", blob},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.key.Open(nil, []byte(c.associated), c.blob)
			if !errors.Is(err, ErrDamaged) || got != nil {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
}

func TestBlobsDoNotRepeat(t *testing.T) {
	k := testKey(t, 7)
	seen := map[string]bool{}
	for range 100 {
		blob := mustSeal(t, k, nil, []byte("same"))
		for _, part := range [][]byte{blob[1:33], blob[33:45], blob[45:]} {
			if seen[string(part)] {
				t.Fatal("a salt, nonce or ciphertext came twice")
			}
			seen[string(part)] = true
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := testKey(f, 7)
	blob := mustSeal(f, k, []byte("aad"), []byte("plain"))
	seeds := [][]byte{nil, {1}, blob, blob[:len(blob)-1], bytes.Repeat([]byte{1}, Overhead)}
	for _, s := range seeds {
		f.Add(s, []byte("aad"))
	}
	f.Fuzz(func(t *testing.T, b, associated []byte) {
		plaintext, err := k.Open(nil, associated, b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("an error other than ErrDamaged: %v", err)
			}
			return
		}
		// Each worker seals a blob of its own, and the fuzzer hands seeds from one to another: what opens is that content.
		if string(associated) != "aad" || string(plaintext) != "plain" {
			t.Fatal("something opened that was never sealed")
		}
	})
}

func FuzzSealOpen(f *testing.F) {
	k := testKey(f, 7)
	f.Add([]byte("aad"), []byte("plain"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, associated, plaintext []byte) {
		got, err := k.Open(nil, associated, mustSeal(t, k, associated, plaintext))
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("round trip: %v", err)
		}
	})
}

func BenchmarkSeal256(b *testing.B) {
	k := testKey(b, 7)
	plaintext := make([]byte, 256)
	dst := make([]byte, 0, 256+Overhead)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Seal(dst, nil, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen256(b *testing.B) {
	k := testKey(b, 7)
	blob := mustSeal(b, k, nil, make([]byte, 256))
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(dst, nil, blob); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDestroyOverwritesTheKey(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeyBytes)
	k, err := New(secret.New(key))
	if err != nil {
		t.Fatal(err)
	}
	k.Destroy()
	if !bytes.Equal(key, make([]byte, KeyBytes)) {
		t.Error("the key is still there")
	}
}
