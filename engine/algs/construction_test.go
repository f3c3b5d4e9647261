package algs

import (
	"strings"
	"testing"
)

// TestConstructionOfEachRow: every algorithm for data has a cipher and a mode that its name tells, and no other has one.
func TestConstructionOfEachRow(t *testing.T) {
	tried := 0
	for _, r := range Rows() {
		if r.Class != ClassAEAD && r.Class != ClassHybrid {
			if r.Cipher() != "" || r.Mode() != "" {
				t.Errorf("%s has cipher %q and mode %q", r.Name, r.Cipher(), r.Mode())
			}
			continue
		}
		tried++
		want := "-" + r.Mode() + "+"
		if r.Cipher() == CipherChaCha20 {
			want = "chacha20-poly1305+"
		}
		name := strings.ToLower(string(r.Name)) + "+"
		if r.Cipher() == "" || !strings.Contains(name, strings.ToLower(r.Cipher())+"-") || !strings.Contains(name, want) {
			t.Errorf("%s has cipher %q and mode %q", r.Name, r.Cipher(), r.Mode())
		}
	}
	if tried != len(constructions) {
		t.Errorf("%d algorithms for data, %d constructions", tried, len(constructions))
	}
}

func TestParseConstruction(t *testing.T) {
	for _, c := range []struct {
		parse    func(string) (string, bool)
		in, want string
	}{
		{ParseCipher, "AES", CipherAES}, {ParseCipher, "aes", CipherAES}, {ParseCipher, "CHACHA20", CipherChaCha20},
		{ParseCipher, "", ""}, {ParseCipher, "AES-256", ""}, {ParseCipher, "DES", ""},
		{ParseCipherMode, "GCM", ModeGCM}, {ParseCipherMode, "gcm-siv", ModeGCMSIV}, {ParseCipherMode, "Ccm", ModeCCM},
		{ParseCipherMode, "CBC", ModeCBC}, {ParseCipherMode, "ctr", ModeCTR}, {ParseCipherMode, "Poly1305", ModePoly1305},
		{ParseCipherMode, "", ""}, {ParseCipherMode, "ecb", ""}, {ParseCipherMode, "xts", ""}, // which only reads
	} {
		if got, ok := c.parse(c.in); got != c.want || ok != (c.want != "") {
			t.Errorf("%q is %q, %v", c.in, got, ok)
		}
	}
}
