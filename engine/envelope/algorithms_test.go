package envelope

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cryptoserve/engine/aead"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// written lists every format and algorithm that frames are written with, with parameters and a key for it.
func written() []struct {
	p   Params
	dek []byte
} {
	var all []struct {
		p   Params
		dek []byte
	}
	for _, row := range algs.Rows() {
		for _, format := range []int{3, 4} {
			n := DEKBytes(format, row.Name)
			if n == 0 {
				continue
			}
			p := Params{Format: format, Context: "user-pii", KeyID: "key_user-pii_0011223344556677", Algorithm: row.Name}
			if row.Class == algs.ClassHybrid {
				p.Encapsulated = randomBytes(40)
			}
			all = append(all, struct {
				p   Params
				dek []byte
			}{p, randomBytes(n)})
		}
	}
	return all
}

func title(p Params) string { return fmt.Sprintf("v%d %s", p.Format, p.Algorithm) }

// TestEveryAlgorithmIsWritten compares what is written with the table of algorithms.
func TestEveryAlgorithmIsWritten(t *testing.T) {
	for _, row := range algs.Rows() {
		want4, want3 := 0, 0
		switch {
		case row.ReadOnly:
		case row.Class == algs.ClassHybrid:
			want4 = 32
			if !strings.Contains(string(row.Name), string(algs.AES256GCM)) || !layouts4[row.Name].hybrid {
				t.Errorf("%s is not a hybrid with AES-256-GCM", row.Name)
			}
		case row.Class == algs.ClassAEAD:
			want4 = 32
			if row.Name != algs.AES256GCMSIV {
				want3 = int(row.KeyBits) / 8
			}
		}
		if got := DEKBytes(4, row.Name); got != want4 {
			t.Errorf("%s in format 4: key of %d bytes, want %d", row.Name, got, want4)
		}
		if got := DEKBytes(3, row.Name); got != want3 {
			t.Errorf("%s in format 3: key of %d bytes, want %d", row.Name, got, want3)
		}
		if DEKBytes(1, row.Name) != 0 || DEKBytes(2, row.Name) != 0 {
			t.Errorf("%s is written in a format that is only read", row.Name)
		}
	}
	for name, l := range layouts4 {
		if over := aead.Overhead(l.body); over == 0 || over > roomAround || l.keys == 0 {
			t.Errorf("%s has %d bytes around it and a key of %d", name, over, l.keys)
		}
	}
}

func TestRoundTripOfEveryAlgorithm(t *testing.T) {
	all := written()
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SampledFrom(all).Draw(t, "frame")
		size := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 70_000)).Draw(t, "size")
		associated := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "associated")
		if len(w.p.Encapsulated) > 0 {
			w.p.Encapsulated = randomBytes(rapid.SampledFrom([]int{1, 1088, 1120, 1153, 1568, MaxEncapsulated}).Draw(t, "encapsulated"))
		}
		plaintext := randomBytes(size)
		frame, err := Seal([]byte("before"), w.p, w.dek, plaintext, associated)
		unbound := w.p.Format == 3 && (w.p.Algorithm == algs.AES256CBC || w.p.Algorithm == algs.AES256CTR)
		switch {
		case unbound && len(associated) > 0:
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.Malformed || e.Fields[0].Name != "associated_data" {
				t.Fatalf("associated data that nothing authenticates: %v", err)
			}
			return
		case w.p.Algorithm == algs.AES256CCM && size > aead.CCMMaxPlaintext:
			if fault.Of(err) != fault.TooLarge {
				t.Fatalf("%d bytes in CCM: %v", size, err)
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		f, err := Parse(bytes.TrimPrefix(frame, []byte("before")))
		if err != nil {
			t.Fatal(err)
		}
		if f.Format != w.p.Format || f.Context != w.p.Context || f.KeyID != w.p.KeyID || f.Algorithm != w.p.Algorithm || f.Stream ||
			f.OriginalHybrid || !bytes.Equal(f.Encapsulated, w.p.Encapsulated) || f.Format == 3 && f.HasAAD != (len(associated) > 0) {
			t.Fatalf("parsed %+v", f)
		}
		got, err := f.Open([]byte("x"), w.dek, associated)
		if err != nil || !bytes.Equal(got, append([]byte("x"), plaintext...)) {
			t.Fatalf("opened %d bytes, %v", len(got), err)
		}
		if _, err := f.Open(nil, randomBytes(len(w.dek)), associated); !errors.Is(err, ErrCommitment) {
			t.Fatalf("another key: %v", err)
		}
		if _, err := f.Open(nil, w.dek, append(associated, 0)); !errors.Is(err, ErrTag) {
			t.Fatalf("other associated data: %v", err)
		}
		for _, n := range []int{0, 16, 24, 31, 32, 33, 64} {
			if n != len(w.dek) {
				if _, err := f.Open(nil, make([]byte, n), associated); !errors.Is(err, ErrCommitment) {
					t.Fatalf("key of %d bytes: %v", n, err)
				}
			}
		}
	})
}

// TestEveryBitOfAFrame flips each bit of a small frame of each format and algorithm. Format 3 does not authenticate what it
// claims of context and key id, which engine compares with records.
func TestEveryBitOfAFrame(t *testing.T) {
	for _, w := range written() {
		t.Run(title(w.p), func(t *testing.T) {
			frame, err := Seal(nil, w.p, w.dek, []byte("hello"), nil)
			if err != nil {
				t.Fatal(err)
			}
			claims := 0
			for bit := range len(frame) * 8 {
				b := bytes.Clone(frame)
				b[bit/8] ^= 1 << (bit % 8)
				f, err := Parse(b)
				if err != nil {
					if !errors.Is(err, ErrFrame) {
						t.Fatalf("bit %d: %v", bit, err)
					}
					continue
				}
				_, err = f.Open(nil, w.dek, nil)
				switch {
				case errors.Is(err, ErrCommitment), errors.Is(err, ErrTag):
				case err == nil && w.p.Format == 3 && (f.Context != w.p.Context || f.KeyID != w.p.KeyID):
					claims++
				default:
					t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
				}
				if _, err := f.OpenImported(nil, w.dek, nil); err == nil && w.p.Format == 4 {
					t.Fatalf("bit %d of byte %d: opened as imported", bit%8, bit/8)
				}
			}
			if (claims > 0) != (w.p.Format == 3) {
				t.Errorf("%d changed claims opened", claims)
			}
		})
	}
}

func TestFormat3IsNotWrittenWithEverything(t *testing.T) {
	for _, name := range []algs.Name{algs.AES256GCMSIV, algs.AES256GCMMLKEM768, algs.X25519MLKEM768AES256GCM} {
		p := params(3)
		p.Algorithm = name
		_, err := Seal(nil, p, testDEK, nil, nil)
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != fault.Malformed || len(e.Fields) != 1 || e.Fields[0].Name != "algorithm" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFirstFrames opens what this package wrote when it knew AES-256-GCM alone.
func TestFirstFrames(t *testing.T) {
	raw, err := os.ReadFile("testdata/first-frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var first struct {
		Cases []struct {
			Format    int    `json:"format"`
			DEK       string `json:"dek_hex"`
			AAD       string `json:"aad_hex"`
			Plaintext string `json:"plaintext_hex"`
			Frame     string `json:"frame_hex"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(raw, &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Cases) != 8 {
		t.Fatalf("%d cases, want 8", len(first.Cases))
	}
	for i, c := range first.Cases {
		f, err := Parse(unhex(t, c.Frame))
		if err != nil || f.Format != c.Format {
			t.Fatalf("case %d: format %d, %v", i, f.Format, err)
		}
		got, err := f.Open(nil, unhex(t, c.DEK), unhex(t, c.AAD))
		if err != nil || !bytes.Equal(got, unhex(t, c.Plaintext)) {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestInvariant09WhatDoesNotFitCostsTheWorkOfAWrongKey compares the allocations of frames that cannot open with those of the
// same frame under a wrong key: the work is the same, or more.
func TestInvariant09WhatDoesNotFitCostsTheWorkOfAWrongKey(t *testing.T) {
	frame := func(header string) Frame {
		t.Helper()
		f, err := Parse(withHeader(header, bytes.Repeat([]byte{1}, 200)))
		if err != nil {
			t.Fatalf("%s: %v", header, err)
		}
		return f
	}
	salt, kc := strings.Repeat("A", 43)+"=", strings.Repeat("A", 43)+"="
	v4 := func(alg string) string {
		return `{"v":4,"ctx":"c","kid":"k","alg":"` + alg + `","salt":"` + salt + `","kc":"` + kc + `"}`
	}
	v3 := func(alg, mode, nonce string) string {
		return `{"v":3,"ctx":"c","kid":"k","alg":"` + alg + `","mode":"` + mode + `","nonce":"` + nonce + `","kc":"` + kc + `"}`
	}
	v2 := func(alg, mode string) string {
		return `{"v":2,"ctx":"c","kid":"k","alg":"` + alg + `","mode":"` + mode + `","nonce":"AAAAAAAAAAAAAAAA"}`
	}
	const nonce12, nonce16 = "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA=="
	wrong4, wrong3, wrong2 := frame(v4("AES-256-GCM")), frame(v3("AES-256-GCM", "gcm", nonce12)), frame(v2("AES-256-GCM", "gcm"))
	tests := []struct {
		name  string
		frame Frame
		as    Frame
		dek   []byte
	}{
		{"unknown algorithm", frame(v4("AES-256-EAX")), wrong4, testDEK},
		{"algorithm that is not written", frame(v4("AES-256-XTS")), wrong4, testDEK},
		{"key of another length", wrong4, wrong4, testDEK[:16]},
		{"no key", wrong4, wrong4, nil},
		{"format 3, unknown algorithm", frame(v3("AES-256-EAX", "eax", nonce12)), wrong3, testDEK},
		{"format 3, hybrid algorithm", frame(v3("AES-256-GCM+ML-KEM-768", "gcm", nonce12)), wrong3, testDEK},
		{"format 3, key of another length", wrong3, wrong3, testDEK[:16]},
		{"format 3, of the original alone", frame(v3("AES-128-GCM", "cbc", nonce16)), wrong3, testDEK},
		{"format 2, unknown algorithm", frame(v2("AES-256-EAX", "eax")), wrong2, testDEK},
		{"format 2 of ours", wrong2, wrong2, testDEK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			openers := []func(f *Frame, key []byte) ([]byte, error){
				func(f *Frame, key []byte) ([]byte, error) { return f.Open(nil, key, nil) },
				func(f *Frame, key []byte) ([]byte, error) { return f.OpenImported(nil, key, nil) },
			}
			most := 0.0
			for _, open := range openers {
				most = max(most, testing.AllocsPerRun(20, func() { _, _ = open(&tt.as, testDEK) }))
			}
			got := testing.AllocsPerRun(20, func() {
				if _, err := openers[0](&tt.frame, tt.dek); !errors.Is(err, ErrCommitment) {
					t.Errorf("refused as %v", err)
				}
			})
			if most == 0 || got < most {
				t.Errorf("%v allocations, a wrong key takes %v", got, most)
			}
		})
	}
}

// TestNobodyKnowsTheDecoy wants a key that a frame cannot have been made for.
func TestNobodyKnowsTheDecoy(t *testing.T) {
	if bytes.Equal(decoy[:32], make([]byte, 32)) || bytes.Equal(decoy[32:], make([]byte, 32)) || bytes.Equal(decoy[:32], decoy[32:]) {
		t.Fatal("the decoy is not random")
	}
}
