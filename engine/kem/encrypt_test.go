package kem

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

func isOAEP(name algs.Name) bool {
	_, ok := schemes[name].(oaep)
	return ok
}

func TestEncryptionRoundTrip(t *testing.T) {
	for _, name := range encrypting {
		t.Run(string(name), func(t *testing.T) {
			p := keyPair(t, name)
			public, private := mustPublic(t, name, p.public), mustPrivate(t, name, p.private)
			rapid.Check(t, func(rt *rapid.T) {
				plaintext := rapid.SliceOfN(rapid.Byte(), 0, 180).Draw(rt, "plaintext")
				aad := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "aad")
				var info []byte
				if !isOAEP(name) {
					info = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "info")
				}
				ciphertext, err := public.Encrypt(plaintext, info, aad)
				if err != nil {
					rt.Fatal(err)
				}
				s := schemes[name].size()
				if want := s.Ciphertext + s.Overhead; len(ciphertext) != want+len(plaintext) && (!isOAEP(name) || len(ciphertext) != want) {
					rt.Fatalf("%d bytes from %d", len(ciphertext), len(plaintext))
				}
				if got, err := private.Decrypt(ciphertext, info, aad); err != nil || !bytes.Equal(got, plaintext) {
					rt.Fatalf("%d bytes, %v", len(got), err)
				}
				if again, err := public.Encrypt(plaintext, info, aad); err != nil || bytes.Equal(again, ciphertext) {
					rt.Fatalf("the same ciphertext twice, or %v", err)
				}
			})
		})
	}
}

// TestEveryBitCounts flips every bit of a small ciphertext (every eighth of one with ML-KEM or RSA, which is long and whose
// bytes are alike), cuts it everywhere and extends it.
func TestEveryBitCounts(t *testing.T) {
	for _, name := range encrypting {
		t.Run(string(name), func(t *testing.T) {
			p := keyPair(t, name)
			key := mustPrivate(t, name, p.private)
			ciphertext, err := Encrypt(name, p.public, []byte("hello"), nil, []byte("aad"))
			if err != nil {
				t.Fatal(err)
			}
			step := 1
			if len(ciphertext) > 200 {
				step = 41
			}
			refused := 0
			for i := 0; i < 8*len(ciphertext); i += step {
				bad := bytes.Clone(ciphertext)
				bad[i/8] ^= 1 << (i % 8)
				_, err := key.Decrypt(bad, nil, []byte("aad"))
				wantKind(t, fmt.Sprint("bit ", i), err, fault.DecryptFailed)
				refused++
			}
			for n := 0; n < len(ciphertext); n += step {
				_, err := key.Decrypt(ciphertext[:n], nil, []byte("aad"))
				wantKind(t, fmt.Sprint(n, " bytes"), err, fault.DecryptFailed)
			}
			_, err = key.Decrypt(append(bytes.Clone(ciphertext), 0), nil, []byte("aad"))
			wantKind(t, "extended", err, fault.DecryptFailed)
			if refused < 40 {
				t.Errorf("only %d bits were tried", refused)
			}
			if _, err := key.Decrypt(ciphertext, nil, []byte("aad")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWrongCircumstances decrypts with another key, info, aad or algorithm.
func TestWrongCircumstances(t *testing.T) {
	for _, name := range encrypting {
		t.Run(string(name), func(t *testing.T) {
			p := keyPair(t, name)
			var info []byte
			if !isOAEP(name) {
				info = []byte("info")
			}
			ciphertext, err := Encrypt(name, p.public, []byte("hello"), info, []byte("aad"))
			if err != nil {
				t.Fatal(err)
			}
			key := mustPrivate(t, name, p.private)
			for what, aad := range map[string]string{"none": "", "other": "aae", "longer": "aad ", "shorter": "aa"} {
				_, err := key.Decrypt(ciphertext, info, []byte(aad))
				wantKind(t, "aad "+what, err, fault.DecryptFailed)
			}
			if info != nil {
				for what, other := range map[string]string{"none": "", "other": "infp", "longer": "info "} {
					_, err := key.Decrypt(ciphertext, []byte(other), []byte("aad"))
					wantKind(t, "info "+what, err, fault.DecryptFailed)
				}
				_, err := key.Decrypt(ciphertext, []byte("aad"), []byte("info"))
				wantKind(t, "info and aad exchanged", err, fault.DecryptFailed)
			}
			if name != algs.RSAOAEP3072 && name != algs.RSAOAEP4096 {
				_, err = mustPrivate(t, name, otherPair(t, name).private).Decrypt(ciphertext, info, []byte("aad"))
				wantKind(t, "another key", err, fault.DecryptFailed)
			}
		})
	}
	// Algorithms with keys of the same form are kept apart by what their key derivation binds.
	for _, group := range [][]algs.Name{
		{algs.HPKEX25519AES256GCM, algs.HPKEX25519ChaCha20Poly1305, algs.ECIESX25519},
		{algs.HPKEP256AES128GCM, algs.HPKEP256AES256GCM, algs.ECIESP256},
		{algs.HPKEP384AES256GCM, algs.ECIESP384},
	} {
		p := keyPair(t, group[0])
		for _, writer := range group {
			ciphertext, err := Encrypt(writer, p.public, make([]byte, 40), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, reader := range group {
				_, err := mustPrivate(t, reader, p.private).Decrypt(ciphertext, nil, nil)
				if reader == writer && err != nil {
					t.Errorf("%s: %v", writer, err)
				}
				if reader != writer {
					wantKind(t, fmt.Sprint(reader, " reads ", writer), err, fault.DecryptFailed)
				}
			}
		}
	}
}

// TestFailuresLookTheSame compares the whole error but its cause, which no answer shows.
func TestFailuresLookTheSame(t *testing.T) {
	for _, name := range encrypting {
		p := keyPair(t, name)
		key := mustPrivate(t, name, p.private)
		good, err := Encrypt(name, p.public, []byte("hello"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		first, last := bytes.Clone(good), bytes.Clone(good)
		first[0] ^= 1
		last[len(last)-1] ^= 1
		for what, ciphertext := range map[string][]byte{"empty": nil, "cut": good[:20], "first bit": first, "last bit": last} {
			_, err := key.Decrypt(ciphertext, nil, nil)
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.DecryptFailed || e.Op != "kem.Decrypt" || e.Detail != "decryption failed" || e.Fields != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if fault.CauseOf(err) == "" {
				t.Errorf("%s, %s: the auditor gets no cause", name, what)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	for _, name := range encrypting {
		t.Run(string(name), func(t *testing.T) {
			p := keyPair(t, name)
			public, private := mustPublic(t, name, p.public), mustPrivate(t, name, p.private)
			limit := schemes[name].size().MaxPlaintext
			for n, fits := range map[int]bool{0: true, limit: true, limit + 1: false} {
				ciphertext, err := public.Encrypt(make([]byte, n), nil, nil)
				if !fits {
					wantKind(t, fmt.Sprint(n, " bytes"), err, fault.TooLarge)
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got, err := private.Decrypt(ciphertext, nil, nil); err != nil || len(got) != n {
					t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
				}
			}
			_, err := public.Encrypt(nil, nil, make([]byte, MaxAAD+1))
			wantKind(t, "aad", err, fault.TooLarge)
			_, err = private.Decrypt(nil, nil, make([]byte, MaxAAD+1))
			wantKind(t, "aad", err, fault.TooLarge)
			_, err = public.Encrypt(nil, make([]byte, MaxInfo+1), nil)
			wantKind(t, "info", err, fault.TooLarge)
			_, err = private.Decrypt(nil, make([]byte, MaxInfo+1), nil)
			wantKind(t, "info", err, fault.TooLarge)
			_, err = private.Decrypt(make([]byte, MaxPlaintext+2000), nil, nil)
			wantKind(t, "ciphertext", err, fault.DecryptFailed)
			if fault.CauseOf(err) != causeFrame {
				t.Errorf("a ciphertext that is too long was tried: %v", err)
			}
			if isOAEP(name) {
				_, err = public.Encrypt(nil, []byte("info"), nil)
				wantKind(t, "info of RSA-OAEP", err, fault.Malformed)
				_, err = private.Decrypt(make([]byte, 256), []byte("info"), nil)
				wantKind(t, "info of RSA-OAEP", err, fault.Malformed)
				return
			}
			ciphertext, err := public.Encrypt(nil, make([]byte, MaxInfo), make([]byte, MaxAAD))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := private.Decrypt(ciphertext, make([]byte, MaxInfo), make([]byte, MaxAAD)); err != nil {
				t.Error(err)
			}
		})
	}
}
