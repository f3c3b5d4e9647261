package aead

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

var names = []algs.Name{
	algs.AES128GCM, algs.AES192GCM, algs.AES256GCM, algs.AES256CCM, algs.AES256GCMSIV, algs.ChaCha20Poly1305, algs.AES256CBC, algs.AES256CTR,
}

// TestEveryAlgorithmHasAConstruction compares the constructions with the table of algorithms.
func TestEveryAlgorithmHasAConstruction(t *testing.T) {
	found := 0
	for _, row := range algs.Rows() {
		s := suites[row.Name]
		if row.Class != algs.ClassAEAD || row.ReadOnly {
			if s != nil {
				t.Errorf("%s has a construction and is not written", row.Name)
			}
			continue
		}
		if s == nil {
			t.Errorf("%s has no construction", row.Name)
			continue
		}
		found++
		if enc := s.key - (s.tag-tagBytes)*2; enc*8 != int(row.KeyBits) { // a MAC key comes with a tag of 32 bytes
			t.Errorf("%s encrypts with a key of %d bits, the table says %d", row.Name, enc*8, row.KeyBits)
		}
		if limit := row.MaxPlaintext; limit != 0 && s.max > limit || limit == 0 && s.max != math.MaxUint64 {
			t.Errorf("%s takes %d bytes, the table says %d", row.Name, s.max, limit)
		}
		if KeyBytes(row.Name) != s.key || Overhead(row.Name) != s.overhead() {
			t.Errorf("%s: %d key bytes, overhead %d", row.Name, KeyBytes(row.Name), Overhead(row.Name))
		}
	}
	if found != len(suites) || found != len(names) {
		t.Errorf("%d rows, %d constructions, %d tested", found, len(suites), len(names))
	}
	if KeyBytes("DES") != 0 || Overhead("DES") != 0 {
		t.Error("an unknown name has sizes")
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "name")
		size := rapid.OneOf(rapid.IntRange(0, 70), rapid.IntRange(0, CCMMaxPlaintext)).Draw(t, "size")
		associated := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "associated")
		before := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "before")
		key, plaintext := randomBytes(KeyBytes(name)), randomBytes(size)
		sealed, err := Seal(bytes.Clone(before), name, key, plaintext, associated)
		if err != nil || !bytes.HasPrefix(sealed, before) {
			t.Fatalf("seal: %v", err)
		}
		sealed = sealed[len(before):]
		over := len(sealed) - size
		if over > Overhead(name) || name != algs.AES256CBC && over != Overhead(name) || over <= Overhead(name)-blockBytes {
			t.Fatalf("%d bytes more than the plaintext, overhead is %d", over, Overhead(name))
		}
		got, err := Open(bytes.Clone(before), name, key, sealed, associated)
		if err != nil || !bytes.Equal(got, append(bytes.Clone(before), plaintext...)) {
			t.Fatalf("open: %v", err)
		}
		if _, err := Open(nil, name, randomBytes(len(key)), sealed, associated); !errors.Is(err, ErrOpen) {
			t.Fatalf("another key: %v", err)
		}
		if _, err := Open(nil, name, key, sealed, append(associated, 0)); !errors.Is(err, ErrOpen) {
			t.Fatalf("other associated data: %v", err)
		}
	})
}

// TestEveryBitCounts flips each bit of nonce, ciphertext, tag, associated data and key. Of the two keys of CBC and CTR it is
// the MAC's that decides; both come from one key, which the commitment of a frame covers.
func TestEveryBitCounts(t *testing.T) {
	for _, name := range names {
		t.Run(string(name), func(t *testing.T) {
			key, plaintext, associated := randomBytes(KeyBytes(name)), randomBytes(21), randomBytes(5)
			sealed, err := Seal(nil, name, key, plaintext, associated)
			if err != nil {
				t.Fatal(err)
			}
			deciding := key
			if suites[name].tag == macBytes {
				deciding = macKey(key)
			}
			for i, part := range [][]byte{sealed, associated, deciding} {
				for bit := range len(part) * 8 {
					part[bit/8] ^= 1 << (bit % 8)
					if _, err := Open(nil, name, key, sealed, associated); !errors.Is(err, ErrOpen) {
						t.Fatalf("bit %d of part %d flipped: %v", bit, i, err)
					}
					part[bit/8] ^= 1 << (bit % 8)
				}
			}
			for n := range sealed {
				if _, err := Open(nil, name, key, sealed[:n], associated); !errors.Is(err, ErrOpen) {
					t.Fatalf("cut to %d of %d bytes: %v", n, len(sealed), err)
				}
			}
			if _, err := Open(nil, name, key, append(bytes.Clone(sealed), 0), associated); !errors.Is(err, ErrOpen) {
				t.Fatal("opened with a byte added")
			}
		})
	}
}

func TestNoncesDoNotRepeat(t *testing.T) {
	for _, name := range names {
		key, seen := randomBytes(KeyBytes(name)), map[string]bool{}
		for range 1000 {
			sealed, err := Seal(nil, name, key, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			nonce := string(sealed[:suites[name].nonce])
			if seen[nonce] {
				t.Fatalf("%s repeated a nonce", name)
			}
			seen[nonce] = true
		}
	}
}

// TestAssociatedDataAndNonceStayApart moves a byte from one part of the MAC's input to the next.
func TestAssociatedDataAndNonceStayApart(t *testing.T) {
	for _, name := range []algs.Name{algs.AES256CBC, algs.AES256CTR} {
		key := randomBytes(KeyBytes(name))
		sealed, err := Seal(nil, name, key, randomBytes(40), []byte("abc"))
		if err != nil {
			t.Fatal(err)
		}
		moved := append([]byte("c"), sealed...)
		if _, err := Open(nil, name, key, moved, []byte("ab")); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPaddingIsCheckedOnlyUnderTheMAC makes every wrong padding with a right MAC, and wants the answer of a wrong MAC.
func TestPaddingIsCheckedOnlyUnderTheMAC(t *testing.T) {
	key, iv := randomBytes(64), randomBytes(16)
	for _, last := range [][]byte{
		bytes.Repeat([]byte{0}, 16), bytes.Repeat([]byte{17}, 16), append(bytes.Repeat([]byte{9}, 14), 3, 2),
		append(bytes.Repeat([]byte{16}, 14), 15, 16), bytes.Repeat([]byte{255}, 16),
	} {
		sealed, err := sealMAC(nil, key, iv, last, boundMAC(macKey(key), nil), func(dst, key, nonce, in []byte) ([]byte, error) {
			padded, err := encryptCBC(dst, key, nonce, in)
			return padded[:len(padded)-blockBytes], err // leaves the block that has the right padding away
		})
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, 0, 64)
		if _, err := Open(dst, algs.AES256CBC, key, sealed, nil); !errors.Is(err, ErrOpen) {
			t.Errorf("padding %v: %v", last, err)
		}
		if !bytes.Equal(dst[:16], make([]byte, 16)) {
			t.Errorf("padding %v left plaintext behind", last)
		}
	}
}

func TestLimits(t *testing.T) {
	key := randomBytes(32)
	sealed, err := Seal(nil, algs.AES256CCM, key, make([]byte, CCMMaxPlaintext), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(nil, algs.AES256CCM, key, sealed, nil); err != nil {
		t.Error(err)
	}
	if _, err := Seal(nil, algs.AES256CCM, key, make([]byte, CCMMaxPlaintext+1), nil); fault.Of(err) != fault.TooLarge {
		t.Errorf("CCM of one byte too many: %v", err)
	}
	if _, err := SealOriginal(OriginalCCM, key, make([]byte, CCMMaxPlaintext+1), nil); fault.Of(err) != fault.TooLarge {
		t.Errorf("original CCM of one byte too many: %v", err)
	}
	long, err := sealCCM(nil, key, make([]byte, 12), make([]byte, CCMMaxPlaintext+1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(nil, algs.AES256CCM, key, long, nil); !errors.Is(err, ErrOpen) {
		t.Errorf("opened CCM of one byte too many: %v", err)
	}
}

func TestMistakesOfTheProgram(t *testing.T) {
	for _, row := range algs.Rows() {
		for _, n := range []int{0, 15, 16, 24, 31, 32, 33, 64} {
			if n != 0 && n == KeyBytes(row.Name) {
				continue
			}
			if _, err := Seal(nil, row.Name, make([]byte, n), nil, nil); err == nil {
				t.Errorf("%s sealed with a key of %d bytes", row.Name, n)
			}
			if _, err := Open(nil, row.Name, make([]byte, n), make([]byte, 100), nil); err == nil || errors.Is(err, ErrOpen) {
				t.Errorf("%s with a key of %d bytes: %v", row.Name, n, err)
			}
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, name := range names {
		for _, size := range []int{32, 16 << 10} {
			b.Run(fmt.Sprintf("%s-%d", name, size), func(b *testing.B) {
				key, plaintext, dst := randomBytes(KeyBytes(name)), make([]byte, size), make([]byte, 0, size+100)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Seal(dst, name, key, plaintext, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
