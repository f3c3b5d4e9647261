package aead

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"testing"

	"golang.org/x/crypto/xts"
	"pgregory.net/rapid"
)

// originalKeys lists the constructions with the lengths of key that each takes.
var originalKeys = map[Construction][]int{
	OriginalGCM: {16, 24, 32}, OriginalCCM: {16, 24, 32}, OriginalChaCha: {32},
	OriginalCBC: {16 + 32, 24 + 32, 32 + 32}, OriginalCTR: {32 + 32}, OriginalXTS: {64 + 32},
}

// sealXTS is the writing half that the package does without, for units of whole blocks.
func sealXTS(t testing.TB, key, nonce, plaintext []byte) []byte {
	t.Helper()
	tweak := append(bytes.Clone(nonce), 0, 0, 0, 0)
	c, err := newXTS(encKey(key), tweak)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, len(plaintext))
	c.Encrypt(body, plaintext, 0)
	h := hmac.New(sha256.New, macKey(key))
	h.Write(tweak)
	h.Write(body)
	return h.Sum(body)
}

func sealOriginalAny(t testing.TB, c Construction, key, plaintext, associated []byte) (nonce, body []byte) {
	t.Helper()
	if c == OriginalXTS {
		nonce = randomBytes(nonceBytes)
		return nonce, sealXTS(t, key, nonce, plaintext)
	}
	sealed, err := SealOriginal(c, key, plaintext, associated)
	if err != nil {
		t.Fatal(err)
	}
	return sealed[:c.NonceBytes()], sealed[c.NonceBytes():]
}

func TestOriginalRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := Construction(rapid.IntRange(int(OriginalGCM), int(OriginalXTS)).Draw(rt, "construction"))
		key := randomBytes(rapid.SampledFrom(originalKeys[c]).Draw(rt, "key"))
		size := rapid.IntRange(0, 2000).Draw(rt, "size")
		if c == OriginalXTS {
			size = (size/16 + 1) * 16
		}
		var associated []byte
		if c.Authenticates() {
			associated = rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(rt, "associated")
		}
		plaintext := randomBytes(size)
		nonce, body := sealOriginalAny(t, c, key, plaintext, associated)
		got, err := OpenOriginal([]byte("x"), c, key, nonce, body, associated)
		if err != nil || !bytes.Equal(got, append([]byte("x"), plaintext...)) {
			rt.Fatalf("construction %d: %v", c, err)
		}
		if c.Authenticates() {
			if _, err := OpenOriginal(nil, c, key, nonce, body, append(associated, 1)); !errors.Is(err, ErrOpen) {
				rt.Fatalf("construction %d, other associated data: %v", c, err)
			}
		}
	})
}

func TestOriginalEveryBitCounts(t *testing.T) {
	for c, sizes := range originalKeys {
		key := randomBytes(sizes[len(sizes)-1])
		nonce, body := sealOriginalAny(t, c, key, randomBytes(32), nil)
		for _, part := range [][]byte{nonce, body} {
			for bit := range len(part) * 8 {
				part[bit/8] ^= 1 << (bit % 8)
				if _, err := OpenOriginal(nil, c, key, nonce, body, nil); !errors.Is(err, ErrOpen) {
					t.Fatalf("construction %d, bit %d flipped: %v", c, bit, err)
				}
				part[bit/8] ^= 1 << (bit % 8)
			}
		}
		for n := range body {
			if _, err := OpenOriginal(nil, c, key, nonce, body[:n], nil); !errors.Is(err, ErrOpen) {
				t.Fatalf("construction %d cut to %d bytes: %v", c, n, err)
			}
		}
	}
}

// TestOriginalShortAndLongXTS gives bodies of lengths that XTS has not, under a right MAC.
func TestOriginalShortAndLongXTS(t *testing.T) {
	key, nonce := randomBytes(96), randomBytes(nonceBytes)
	for _, n := range []int{0, 1, 15, xtsMaxBytes + 1} {
		body := make([]byte, n)
		h := hmac.New(sha256.New, macKey(key))
		h.Write(nonce)
		h.Write(make([]byte, 4))
		h.Write(body)
		if _, err := OpenOriginal(nil, OriginalXTS, key, nonce, h.Sum(body), nil); !errors.Is(err, ErrOpen) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestTweakIsTheLibrarysForASectorNumber shows that the tweak goes in where the library puts a sector number.
func TestTweakIsTheLibrarysForASectorNumber(t *testing.T) {
	key, plaintext := randomBytes(64), randomBytes(160)
	library, err := xts.NewCipher(aes.NewCipher, key)
	if err != nil {
		t.Fatal(err)
	}
	ciphertext := make([]byte, len(plaintext))
	library.Encrypt(ciphertext, plaintext, 0x0807060504030201)
	got, err := decryptXTS(nil, key, []byte{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, ciphertext)
	if err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("not the plaintext, %v", err)
	}
}

func TestOriginalMistakesOfTheProgram(t *testing.T) {
	for c := range Construction(9) {
		for n := range 100 {
			fits := false
			for _, size := range originalKeys[c] {
				fits = fits || n == size
			}
			_, err := OpenOriginal(nil, c, make([]byte, n), make([]byte, c.NonceBytes()), make([]byte, 100), nil)
			if fits != errors.Is(err, ErrOpen) {
				t.Errorf("construction %d with a key of %d bytes: %v", c, n, err)
			}
			if _, err := SealOriginal(c, make([]byte, n), []byte("p"), nil); (err == nil) != (fits && c != OriginalXTS) {
				t.Errorf("construction %d sealed with a key of %d bytes: %v", c, n, err)
			}
		}
	}
	for _, c := range []Construction{OriginalCBC, OriginalCTR} {
		if _, err := SealOriginal(c, make([]byte, 64), nil, []byte("a")); err == nil {
			t.Errorf("construction %d took associated data", c)
		}
	}
	if _, err := OpenOriginal(nil, OriginalGCM, make([]byte, 32), make([]byte, 16), make([]byte, 100), nil); err == nil || errors.Is(err, ErrOpen) {
		t.Errorf("nonce of another length: %v", err)
	}
}
