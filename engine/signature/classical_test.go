package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// TestEd25519SmallOrderIsRefused shows why: a signature that nobody's key made verifies under such a key.
func TestEd25519SmallOrderIsRefused(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	forged := append(bytes.Clone(identity), make([]byte, 32)...) // R = identity, S = 0
	if !ed25519.Verify(identity, []byte("any message"), forged) {
		t.Fatal("crypto/ed25519 refuses the key by itself now")
	}
	for _, y := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			public := bytes.Clone(y)
			public[31] |= sign
			if _, err := ParsePublic(algs.Ed25519, public); !errors.Is(err, fault.Malformed) {
				t.Errorf("a point of small order: %v", err)
			}
		}
	}
}

// TestEd25519Points compares validateEd25519 with crypto/ed25519, whose error tells a key that is no point from a signature
// that is not valid.
func TestEd25519Points(t *testing.T) {
	count := map[bool]int{}
	for i := range 400 {
		y := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		err := ed25519.VerifyWithOptions(y[:], nil, make([]byte, 64), &ed25519.Options{})
		point := !strings.Contains(err.Error(), "public key")
		if got := validateEd25519(y[:]) == nil; got != point {
			t.Errorf("string %d is a point: %v, but crypto/ed25519 says %v", i, got, err)
		}
		count[point]++
	}
	if count[true] < 140 || count[false] < 140 {
		t.Errorf("%d points and %d others", count[true], count[false])
	}
	p := fieldP.FillBytes(make([]byte, 32))
	slices.Reverse(p)
	for n := range 19 { // p + n is n in a form that is not canonical
		public := bytes.Clone(p)
		public[0] += byte(n)
		if validateEd25519(public) == nil {
			t.Errorf("p + %d is taken for a point", n)
		}
	}
}

// TestBothSignaturesOfAPairVerify states the policy: (r, n-s) is as good as (r, s), in either format.
func TestBothSignaturesOfAPairVerify(t *testing.T) {
	for _, name := range []algs.Name{algs.ECDSAP256, algs.ECDSAP384, algs.ECDSAP521} {
		private, public := testKeys(t, name)
		c := schemes[name].(*ecdsaScheme)
		raw := mustSign(t, private, []byte("m"), Options{Format: FormatRaw})
		s := new(big.Int).SetBytes(raw[c.order:])
		s.Sub(c.curve.Params().N, s)
		s.FillBytes(raw[c.order:])
		der, err := c.derFromRaw(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := public.Verify([]byte("m"), raw, Options{Format: FormatRaw}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := public.Verify([]byte("m"), der, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		padded := slices.Concat(raw[:c.order], []byte{0}, raw[c.order:]) // the same numbers in other bytes
		if err := public.Verify([]byte("m"), padded, Options{Format: FormatRaw}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: a zero before s: %v", name, err)
		}
		if err := public.Verify([]byte("m"), raw, Options{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: raw verifies as DER: %v", name, err)
		}
		if err := public.Verify([]byte("m"), der, Options{Format: FormatRaw}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: DER verifies as raw: %v", name, err)
		}
	}
}

func TestRSAKeysThatAreRefused(t *testing.T) {
	good, err := x509.ParsePKCS1PublicKey(testPair(t, algs.RSAPSS2048).public)
	if err != nil {
		t.Fatal(err)
	}
	one := big.NewInt(1)
	for what, key := range map[string]*rsa.PublicKey{
		"e = 3":          {N: good.N, E: 3},
		"e = 65535":      {N: good.N, E: 65535},
		"e even":         {N: good.N, E: 65538},
		"2047 bits":      {N: new(big.Int).Rsh(good.N, 1), E: 65537},
		"2049 bits":      {N: new(big.Int).Add(new(big.Int).Lsh(good.N, 1), one), E: 65537},
		"1024 bits":      {N: new(big.Int).SetBit(new(big.Int).Rsh(good.N, 1024), 0, 1), E: 65537},
		"even modulus":   {N: new(big.Int).Sub(good.N, one), E: 65537},
		"of another row": mustRSA(t, algs.RSAPSS3072),
	} {
		if _, err := ParsePublic(algs.RSAPSS2048, x509.MarshalPKCS1PublicKey(key)); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParsePrivate(algs.RSAPSS2048, x509.MarshalPKCS1PrivateKey(small)); !errors.Is(err, fault.Malformed) {
		t.Errorf("a private key of 1024 bits: %v", err)
	}
	if _, err := ParsePrivate(algs.RSAPSS2048, testPair(t, algs.RSAPSS3072).private); !errors.Is(err, fault.Malformed) {
		t.Errorf("a private key of 3072 bits: %v", err)
	}
}

// TestRSAKeysHaveOneForm adds an element to the SEQUENCE of a key, which crypto/x509 lets pass.
func TestRSAKeysHaveOneForm(t *testing.T) {
	p := testPair(t, algs.RSAPSS2048)
	public, private := withElement(t, p.public), withElement(t, p.private)
	if _, err := x509.ParsePKCS1PublicKey(public); err != nil {
		t.Fatalf("the test builds no public key: %v", err)
	}
	if _, err := ParsePublic(algs.RSAPSS2048, public); !errors.Is(err, fault.Malformed) {
		t.Errorf("a public key with an element more: %v", err)
	}
	if _, err := x509.ParsePKCS1PrivateKey(private); err != nil {
		t.Fatalf("the test builds no private key: %v", err)
	}
	if _, err := ParsePrivate(algs.RSAPSS2048, private); !errors.Is(err, fault.Malformed) {
		t.Errorf("a private key with an element more: %v", err)
	}
}

// withElement appends NULL inside a SEQUENCE whose length takes two bytes.
func withElement(t *testing.T, der []byte) []byte {
	t.Helper()
	if der[0] != 0x30 || der[1] != 0x82 {
		t.Fatal("another header")
	}
	n := len(der) - 4 + 2
	return slices.Concat([]byte{0x30, 0x82, byte(n >> 8), byte(n)}, der[4:], []byte{5, 0})
}

func mustRSA(t *testing.T, name algs.Name) *rsa.PublicKey {
	t.Helper()
	k, err := x509.ParsePKCS1PublicKey(testPair(t, name).public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPSSSaltLength signs with other salts than ours, which must not verify.
func TestPSSSaltLength(t *testing.T) {
	p := testPair(t, algs.RSAPSS2048)
	key, err := x509.ParsePKCS1PrivateKey(p.private)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("m"))
	for salt, valid := range map[int]bool{16: false, 31: false, 32: true, 33: false, 64: false} {
		signature, err := rsa.SignPSS(rand.Reader, key, hashes[algs.SHA256], digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if err := mustPublic(t, algs.RSAPSS2048, p.public).Verify([]byte("m"), signature, Options{}); (err == nil) != valid {
			t.Errorf("a salt of %d bytes: %v", salt, err)
		}
	}
}

func TestTokenPath(t *testing.T) {
	message := []byte("a message")
	for _, name := range []algs.Name{algs.ECDSAP256, algs.ECDSAP384, algs.ECDSAP521} {
		for _, format := range []Format{FormatDefault, FormatDER, FormatRaw} {
			p := testPair(t, name)
			o := Options{Format: format}
			digest, hash, err := Digest(name, message, o)
			if err != nil || hash != schemes[name].(*ecdsaScheme).hash {
				t.Fatalf("%s: %s, %v", name, hash, err)
			}
			raw := asToken(t, name, p.private, digest)
			signature, err := FromToken(name, raw, format)
			if err != nil {
				t.Fatal(err)
			}
			if err := mustPublic(t, name, p.public).Verify(message, signature, o); err != nil {
				t.Errorf("%s, format %q: %v", name, format, err)
			}
			if _, err := FromToken(name, raw[1:], format); !errors.Is(err, fault.HSMUnavailable) {
				t.Errorf("a short signature of a token: %v", err)
			}
		}
	}
	digest, hash, err := Digest(algs.RSAPSS2048, message, Options{Hash: algs.SHA3_384})
	if err != nil || hash != algs.SHA3_384 || len(digest) != 48 {
		t.Errorf("RSA: %d bytes of %s, %v", len(digest), hash, err)
	}
	again, _, err := Digest(algs.RSAPSS2048, digest, Options{Hash: algs.SHA3_384, Prehashed: true})
	if err != nil || !bytes.Equal(again, digest) {
		t.Errorf("a digest of a digest: %v", err)
	}
	if _, _, err := Digest(algs.RSAPSS2048, message, Options{Prehashed: true}); !errors.Is(err, fault.Malformed) {
		t.Errorf("a digest of the wrong length: %v", err)
	}
	if _, err := FromToken(algs.RSAPSS2048, make([]byte, 255), FormatRaw); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("a short RSA signature: %v", err)
	}
	if got, err := FromToken(algs.RSAPSS2048, make([]byte, 256), FormatDefault); err != nil || len(got) != 256 {
		t.Errorf("an RSA signature: %v", err)
	}
	if _, err := FromToken(algs.RSAPSS2048, make([]byte, 256), FormatDER); !errors.Is(err, fault.Malformed) {
		t.Errorf("an RSA signature as DER: %v", err)
	}
	for _, name := range []algs.Name{algs.Ed25519, algs.MLDSA65, algs.SLHDSASHA2128f, algs.Ed25519MLDSA65, "none"} {
		if _, _, err := Digest(name, message, Options{}); !errors.Is(err, fault.Malformed) {
			t.Errorf("Digest of %s: %v", name, err)
		}
		if _, err := FromToken(name, make([]byte, 64), FormatDefault); !errors.Is(err, fault.Malformed) {
			t.Errorf("FromToken of %s: %v", name, err)
		}
	}
}

// asToken signs a digest as PKCS#11 does: r || s.
func asToken(t *testing.T, name algs.Name, private, digest []byte) []byte {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(schemes[name].(*ecdsaScheme).curve, private)
	if err != nil {
		t.Fatal(err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		t.Fatal(err)
	}
	n := len(private)
	return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
}
