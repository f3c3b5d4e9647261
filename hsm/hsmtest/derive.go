package hsmtest

import (
	"bytes"
	stdhkdf "crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"cryptoserve/hsm/internal/hkdf"
	"cryptoserve/hsm/internal/p11"
)

// Target is a module for Derive.
type Target struct {
	Module     string // path of the library
	Parameters string // for pReserved of C_Initialize; none if empty
	TokenLabel string
	PIN        string // no login if empty
}

// rfc5869 has the SHA-256 cases of RFC 5869 appendix A: A.1, A.2 and A.3.
var rfc5869 = []struct{ name, prk, info, okm string }{
	{"A.1", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5", "f0f1f2f3f4f5f6f7f8f9",
		"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
	{"A.2", "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
		"b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf" +
			"e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
		"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09" +
			"b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
	{"A.3", "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04", "",
		"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
}

// Derive tests that HKDF-Expand by HMACs of the token is that of RFC 5869. It makes session objects only. No hsm.Token
// may be open.
func Derive(t *testing.T, target Target) {
	m, err := p11.LoadWith(target.Module, target.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	r := openModule(t, m, target.TokenLabel, target.PIN)
	deriveVectors(t, r, target.PIN != "")
}

func deriveVectors(t *testing.T, r *raw, private bool) {
	for _, c := range rfc5869 {
		t.Run("RFC 5869 "+c.name, func(t *testing.T) {
			prk, info, okm := unhex(t, c.prk), unhex(t, c.info), unhex(t, c.okm)
			got, err := hkdf.Expand(r.mac(r.hmacKey(prk, private)), info, len(okm))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, okm) {
				t.Errorf("got %x, want %x", got, okm)
			}
		})
	}
	t.Run("every length", func(t *testing.T) {
		prk, info := bytes.Repeat([]byte{0x42}, 32), []byte("cryptoserve")
		mac := r.mac(r.hmacKey(prk, private))
		for _, n := range []int{1, 31, 32, 33, 64, 255, 1024, hkdf.MaxLength} {
			want, err := stdhkdf.Expand(sha256.New, prk, string(info), n)
			if err != nil {
				t.Fatal(err)
			}
			got, err := hkdf.Expand(mac, info, n)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes differ from crypto/hkdf", n)
			}
		}
	})
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
