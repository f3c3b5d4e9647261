package envelope

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

type originalCiphertext struct {
	ID           string    `json:"id"`
	Format       int       `json:"format"`
	Algorithm    algs.Name `json:"alg"` // what was asked for; the header may say another
	Mode         string    `json:"mode"`
	KeySize      int       `json:"key_size"`
	Context      string    `json:"context"`
	Tenant       string    `json:"tenant"`
	KeyVersion   int       `json:"key_version"`
	KeyID        string    `json:"key_id"`
	Key          string    `json:"key_hex"`
	AAD          *string   `json:"aad_hex"`
	PlaintextLen int       `json:"plaintext_len"`
	Packed       string    `json:"packed_b64"`
}

type originals struct {
	PRK    string `json:"prk_hex"`
	Splits []struct {
		Key    string `json:"key_hex"`
		EncKey string `json:"enc_key_hex"`
		MACKey string `json:"mac_key_hex"`
	} `json:"splits"`
	Ciphertexts []originalCiphertext `json:"ciphertexts"`
	Negative    []struct {
		ID      string  `json:"id"`
		Context string  `json:"context"`
		AAD     *string `json:"aad_hex"`
		Packed  string  `json:"packed_b64"`
	} `json:"negative"`
	Hybrid []struct {
		ID           string    `json:"id"`
		Mode         algs.Name `json:"mode"`
		KeyID        string    `json:"key_id"`
		Secret       string    `json:"shared_secret_hex"`
		AAD          *string   `json:"aad_hex"`
		PlaintextLen int       `json:"plaintext_len"`
		Packed       string    `json:"packed_b64"`
	} `json:"hybrid"`
}

func loadOriginals(t testing.TB) originals {
	t.Helper()
	raw, err := os.ReadFile("testdata/original.json")
	if err != nil {
		t.Fatal(err)
	}
	var o originals
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Ciphertexts) != 49 || len(o.Negative) != 7 || len(o.Hybrid) != 4 || len(o.Splits) != 2 {
		t.Fatalf("%d ciphertexts, %d negatives, %d hybrids, %d splits", len(o.Ciphertexts), len(o.Negative), len(o.Hybrid), len(o.Splits))
	}
	return o
}

// key derives a data key as the original did.
func (o *originals) key(t testing.TB, context, tenant string, version, size int) []byte {
	t.Helper()
	key, err := hkdf.Expand(sha256.New, unhex(t, o.PRK), fmt.Sprintf("%s:%s:v%d:sz%d", context, tenant, version, size), size)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func optional(t testing.TB, s *string) []byte {
	t.Helper()
	if s == nil {
		return nil
	}
	return unhex(t, *s)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + 3)
	}
	return b
}

func TestOriginalCiphertexts(t *testing.T) {
	o := loadOriginals(t)
	for _, c := range o.Ciphertexts {
		t.Run(c.ID, func(t *testing.T) {
			f, err := Parse(unbase64(t, c.Packed))
			if err != nil {
				t.Fatal(err)
			}
			if f.Format != c.Format || f.Context != c.Context || f.KeyID != c.KeyID || f.OriginalHybrid || f.Stream || f.Encapsulated != nil ||
				f.Format > 1 && f.Mode != c.Mode || f.LegacyKeyBytes() != c.KeySize {
				t.Fatalf("parsed %+v with a key of %d bytes", f, f.LegacyKeyBytes())
			}
			key, aad := o.key(t, c.Context, c.Tenant, c.KeyVersion, f.LegacyKeyBytes()), optional(t, c.AAD)
			if !bytes.Equal(key, unhex(t, c.Key)) {
				t.Fatal("another key than the original's")
			}
			got, err := f.OpenImported([]byte("x"), key, aad)
			if err != nil || !bytes.Equal(got, append([]byte("x"), pattern(c.PlaintextLen)...)) {
				t.Fatalf("not the plaintext: %v", err)
			}
			wrong := bytes.Clone(key)
			wrong[0] ^= 1
			if _, err := f.OpenImported(nil, wrong, aad); err == nil || errors.Is(err, ErrCommitment) != (c.Format == 3) {
				t.Errorf("another key: %v", err)
			}
			// Of the formats before 4, a key of ours opens only what we could have written.
			s := f.scheme
			ours := c.Format == 3 && s.ours
			if _, err := f.Open(nil, key, aad); (err == nil) != ours {
				t.Errorf("opened as ours: %v", err)
			}
			if xts := f.Algorithm == algs.AES256XTS; !xts {
				if _, err := f.OpenImported(nil, key, append(aad, 'x')); !errors.Is(err, ErrTag) {
					t.Errorf("other associated data: %v", err)
				}
			}
			if f.HasAAD {
				if _, err := f.OpenImported(nil, key, nil); !errors.Is(err, ErrTag) {
					t.Errorf("without the associated data that the header flags: %v", err)
				}
			}
		})
	}
}

// TestOriginalEveryBit flips each bit of the shortest sample of each algorithm, mode and format. The header is not
// authenticated: what it claims of context and key id is compared with records, in engine.
func TestOriginalEveryBit(t *testing.T) {
	o := loadOriginals(t)
	shortest := map[string]originalCiphertext{}
	for _, c := range o.Ciphertexts {
		kind := fmt.Sprint(c.Format, c.Algorithm, c.Mode)
		if s, ok := shortest[kind]; !ok || len(c.Packed) < len(s.Packed) {
			shortest[kind] = c
		}
	}
	for _, c := range shortest {
		t.Run(c.ID, func(t *testing.T) {
			frame, key, aad := unbase64(t, c.Packed), unhex(t, c.Key), optional(t, c.AAD)
			for bit := range len(frame) * 8 {
				b := bytes.Clone(frame)
				b[bit/8] ^= 1 << (bit % 8)
				f, err := Parse(b)
				if err != nil {
					continue
				}
				if _, err := f.OpenImported(nil, key, aad); err == nil && f.Context == c.Context && f.KeyID == c.KeyID && !unusedNonce(&f, b, frame) {
					t.Errorf("opened with bit %d of byte %d flipped", bit%8, bit/8)
				}
			}
		})
	}
}

// unusedNonce reports whether two frames differ only in the last four bytes of a nonce that ChaCha20-Poly1305 does not use.
func unusedNonce(f *Frame, a, b []byte) bool {
	other, err := Parse(b)
	return err == nil && f.Algorithm == algs.ChaCha20Poly1305 && f.nonceBytes == maxNonce && len(a) == len(b) &&
		bytes.Equal(f.nonceBuf[:NonceBytes], other.nonceBuf[:NonceBytes]) && f.nonceBuf != other.nonceBuf
}

// TestOriginalNegatives does what engine does: it takes the key by its id, and compares the context of the key's record with
// that of the request and of the header.
func TestOriginalNegatives(t *testing.T) {
	o := loadOriginals(t)
	records := map[string]originalCiphertext{}
	for _, c := range o.Ciphertexts {
		records[c.KeyID] = c
	}
	for _, n := range o.Negative {
		t.Run(n.ID, func(t *testing.T) {
			f, err := Parse(unbase64(t, n.Packed))
			if err != nil {
				if !errors.Is(err, ErrFrame) {
					t.Fatal(err)
				}
				return
			}
			record, ok := records[f.KeyID]
			if !ok {
				t.Fatalf("no key %s", f.KeyID)
			}
			key := o.key(t, record.Context, record.Tenant, record.KeyVersion, f.LegacyKeyBytes())
			if _, err := f.OpenImported(nil, key, optional(t, n.AAD)); err == nil && record.Context == n.Context && f.Context == n.Context {
				t.Error("opened")
			}
		})
	}
}

func TestOriginalHybrids(t *testing.T) {
	o := loadOriginals(t)
	for _, h := range o.Hybrid {
		t.Run(h.ID, func(t *testing.T) {
			f, err := Parse(unbase64(t, h.Packed))
			if err != nil {
				t.Fatal(err)
			}
			if f.Format != 1 || !f.OriginalHybrid || f.Context != "" || f.KeyID != h.KeyID || f.Algorithm != h.Mode || f.Mode != string(h.Mode) ||
				len(f.Encapsulated) != 1088 || f.LegacyKeyBytes() != 32 {
				t.Fatalf("parsed %+v", f)
			}
			secret, aad := unhex(t, h.Secret), optional(t, h.AAD)
			got, err := f.OpenImported(nil, secret, aad)
			if err != nil || !bytes.Equal(got, pattern(h.PlaintextLen)) {
				t.Fatalf("not the plaintext: %v", err)
			}
			if _, err := f.OpenImported(nil, secret, append(aad, 1)); !errors.Is(err, ErrTag) {
				t.Errorf("other associated data: %v", err)
			}
			if _, err := f.OpenImported(nil, secret[:16], aad); !errors.Is(err, ErrCommitment) {
				t.Errorf("key of another length: %v", err)
			}
			if _, err := f.Open(nil, secret, aad); !errors.Is(err, ErrCommitment) {
				t.Errorf("opened as ours: %v", err)
			}
			secret[0] ^= 1
			if _, err := f.OpenImported(nil, secret, aad); !errors.Is(err, ErrTag) {
				t.Errorf("another secret: %v", err)
			}
		})
	}
}

func TestOriginalSplit(t *testing.T) {
	for i, split := range loadOriginals(t).Splits {
		dek := unhex(t, split.Key)
		s := &scheme{construction: schemes[5].construction, dek: len(dek)}
		key, err := s.bodyKey(dek)
		if err != nil || schemes[5].mode != "cbc" {
			t.Fatal(err)
		}
		if want := append(unhex(t, split.EncKey), unhex(t, split.MACKey)...); !bytes.Equal(key, want) {
			t.Errorf("split %d is another", i)
		}
		s.wipe(key)
		if !bytes.Equal(key, make([]byte, len(key))) || bytes.Equal(dek, make([]byte, len(dek))) {
			t.Errorf("split %d: the wrong key was overwritten", i)
		}
	}
}

// TestNoFrameOfOursBecomesAnOlderOne takes format 3 frames of ours and rewrites their headers to formats 1 and 2, which have
// no commitment, and to the labels that only the original writes.
func TestNoFrameOfOursBecomesAnOlderOne(t *testing.T) {
	frame := seal(t, 3, []byte("hello"), nil)
	f, err := Parse(frame)
	if err != nil {
		t.Fatal(err)
	}
	names := `"ctx":"user-pii","kid":"` + f.KeyID + `","alg":"`
	nonce := `"nonce":"` + base64.StdEncoding.EncodeToString(f.nonce()) + `"`
	kc := `"kc":"` + base64.StdEncoding.EncodeToString(f.Commitment[:]) + `"`
	for _, header := range []string{
		`{"v":1,` + names + `AES-256-GCM",` + nonce + `}`,
		`{"v":2,` + names + `AES-256-GCM","mode":"gcm",` + nonce + `}`,
		`{"v":3,` + names + `AES-256-GCM-SIV","mode":"gcm-siv",` + nonce + `,` + kc + `}`,
	} {
		relabelled, err := Parse(withHeader(header, f.body))
		if err != nil {
			t.Fatalf("%s: %v", header, err)
		}
		if _, err := relabelled.Open(nil, testDEK, nil); !errors.Is(err, ErrCommitment) {
			t.Errorf("%s: %v", header, err)
		}
		// Under an imported key the same bytes do open: what keeps ours apart is which of the two the key is.
		if _, err := relabelled.OpenImported(nil, testDEK, nil); err != nil {
			t.Errorf("%s, imported: %v", header, err)
		}
	}
}

// TestImportedAssociatedData goes through the rules for what the original did not authenticate.
func TestImportedAssociatedData(t *testing.T) {
	o := loadOriginals(t)
	find := func(id string) (Frame, []byte) {
		t.Helper()
		for _, c := range o.Ciphertexts {
			if c.ID == id {
				f, err := Parse(unbase64(t, c.Packed))
				if err != nil {
					t.Fatal(err)
				}
				return f, unhex(t, c.Key)
			}
		}
		t.Fatalf("no sample %s", id)
		return Frame{}, nil
	}
	flag := func(f Frame) Frame {
		t.Helper()
		header := strings.TrimSuffix(string(f.prefix[2:]), "}") + `,"aad":true}`
		f, err := Parse(withHeader(header, f.body))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	cbc, cbcKey := find("v3-aes256cbc-k1-16-noaad")
	ctr, ctrKey := find("v2-aes-256-ctr-k1-1-noaad")
	xts, xtsKey := find("v3-aes256xts-k1-16-noaad")
	flagged, flaggedKey := find("v3-aes256xts-k1-1000-aad")
	xts2, xts2Key := find("v2-aes-256-xts-k1-16-noaad")
	gcm, gcmKey := find("v3-aes256gcm-k2-16-noaad")
	tests := []struct {
		name       string
		frame      Frame
		key        []byte
		associated string
		opens      bool
	}{
		{"CBC, given", cbc, cbcKey, "a", false},
		{"CBC, flagged", flag(cbc), cbcKey, "", false},
		{"CBC, flagged and given", flag(cbc), cbcKey, "a", false},
		{"CBC, neither", cbc, cbcKey, "", true},
		{"CTR of format 2, given", ctr, ctrKey, "a", false},
		{"XTS, given", xts, xtsKey, "a", false},
		{"XTS, flagged and other given", flagged, flaggedKey, "a", true},
		{"XTS, flagged and none given", flagged, flaggedKey, "", false},
		{"XTS of format 2, given", xts2, xts2Key, "a", true},
		{"XTS of format 2, none", xts2, xts2Key, "", true},
		{"GCM, flag added", flag(gcm), gcmKey, "", false},
		{"GCM, given", gcm, gcmKey, "a", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.frame.OpenImported(nil, tt.key, []byte(tt.associated))
			if (err == nil) != tt.opens || err != nil && !errors.Is(err, ErrTag) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestImportedNeverOpensFormat4 gives OpenImported a frame of ours with its own key.
func TestImportedNeverOpensFormat4(t *testing.T) {
	f, err := Parse(seal(t, 4, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.OpenImported(nil, testDEK, nil); !errors.Is(err, ErrCommitment) || f.LegacyKeyBytes() != 32 {
		t.Fatalf("%v", err)
	}
}
