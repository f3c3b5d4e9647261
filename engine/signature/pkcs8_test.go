package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/vectortest"
)

type pkcs8Vector struct {
	ID        string
	Algorithm algs.Name
	PEM       string
	Public    string
	Valid     bool
}

func pkcs8Vectors(t testing.TB) []pkcs8Vector {
	t.Helper()
	return fromTestdata[struct{ Tests []pkcs8Vector }](t, "pkcs8.json").Tests
}

func fromPEM(t testing.TB, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

// spkiBits returns the BIT STRING of a SubjectPublicKeyInfo.
func spkiBits(t testing.TB, text string) []byte {
	t.Helper()
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(fromPEM(t, text), &spki); err != nil {
		t.Fatal(err)
	}
	return spki.Key.Bytes
}

func TestVectorsPKCS8(t *testing.T) {
	accounts := map[algs.Name]*vectortest.Account{}
	for _, v := range pkcs8Vectors(t) {
		if accounts[v.Algorithm] == nil {
			accounts[v.Algorithm] = vectortest.New(t, string(v.Algorithm)+" private keys", "RFC 9881, RFC 9909, RFC 8410 examples")
		}
		public, _, err := ImportPKCS8(v.Algorithm, fromPEM(t, v.PEM))
		if err == nil && v.Valid {
			err = vectortest.Differ("public key", string(public), string(spkiBits(t, v.Public)))
		}
		if !v.Valid && err != nil && !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", v.ID, err)
		}
		accounts[v.Algorithm].Check(v.ID, v.Valid, err)
	}
}

// TestImportOfWhatGoWrites reads the keys that crypto/x509 writes.
func TestImportOfWhatGoWrites(t *testing.T) {
	_, seed, err := Generate(algs.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[algs.Name]any{algs.Ed25519: ed25519.NewKeyFromSeed(seed)}
	for _, name := range []algs.Name{algs.ECDSAP256, algs.ECDSAP384, algs.ECDSAP521} {
		if keys[name], err = ecdsa.GenerateKey(schemes[name].(*ecdsaScheme).curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	for name := range wycheproofRSA {
		if keys[name], err = x509.ParsePKCS1PrivateKey(testPair(t, name).private); err != nil {
			t.Fatal(err)
		}
	}
	for name, key := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		public, private, err := ImportPKCS8(name, der)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		signature := mustSign(t, mustPrivate(t, name, private), []byte("m"), Options{})
		if err := mustPublic(t, name, public).Verify([]byte("m"), signature, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, other := range names() {
			_, _, err := ImportPKCS8(other, der)
			fits := other == name || isRSA(other) && isRSA(name) && schemes[other].(rsaScheme).bits == schemes[name].(rsaScheme).bits
			if fits != (err == nil) || err != nil && !errors.Is(err, fault.Malformed) {
				t.Errorf("a key of %s as one of %s: %v", name, other, err)
			}
		}
		if _, _, err := ImportPKCS8(name, append(bytes.Clone(der), 0)); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
		if _, _, err := ImportPKCS8(name, der[:len(der)-1]); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s with a byte less: %v", name, err)
		}
	}
}

func isRSA(name algs.Name) bool {
	_, ok := schemes[name].(rsaScheme)
	return ok
}

func TestImportRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallDER, err := x509.MarshalPKCS8PrivateKey(small)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curveDER, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pointDER, err := x509.MarshalPKCS8PrivateKey(point)
	if err != nil {
		t.Fatal(err)
	}
	// The last byte of an EC key is that of the point beside the scalar.
	wrongPoint := flip(pointDER, 8*len(pointDER)-8)
	slh := testPair(t, algs.SLHDSASHA2128f).private
	lone, withPublic := "", ""
	for _, v := range pkcs8Vectors(t) {
		switch v.ID {
		case "RFC 9881 ML-DSA-44 seed":
			lone = v.PEM
		case "RFC 8410 section 10.3 Ed25519 with public key and attributes":
			withPublic = v.PEM
		}
	}
	seed, edPublic := fromPEM(t, lone), fromPEM(t, withPublic)
	for what, try := range map[string]struct {
		name algs.Name
		der  []byte
	}{
		"RSA of 1024 bits":              {algs.RSAPSS2048, smallDER},
		"P-224":                         {algs.ECDSAP256, curveDER},
		"another point beside":          {algs.ECDSAP256, wrongPoint},
		"another public key beside":     {algs.Ed25519, flip(edPublic, 8*len(edPublic)-8)},
		"public key in version 0":       {algs.Ed25519, replaced(edPublic, []byte{2, 1, 1}, []byte{2, 1, 0})},
		"version 2":                     {algs.MLDSA44, replaced(seed, []byte{2, 1, 0}, []byte{2, 1, 2})},
		"ML-DSA-44 as ML-DSA-65":        {algs.MLDSA65, seed},
		"ML-DSA with another tag":       {algs.MLDSA44, replaced(seed, []byte{0x80, 32}, []byte{0x81, 32})},
		"ML-DSA seed in OCTET STRING":   {algs.MLDSA44, replaced(seed, []byte{0x80, 32}, []byte{0x04, 32})},
		"the hybrid":                    {algs.Ed25519MLDSA65, seed},
		"nothing":                       {algs.Ed25519, nil},
		"too much":                      {algs.Ed25519, make([]byte, maxPKCS8+1)},
		"SLH-DSA with another root":     {algs.SLHDSASHA2128f, slhdsaPKCS8(t, algs.SLHDSASHA2128f, flip(slh, 8*64-1))},
		"SLH-DSA that is short":         {algs.SLHDSASHA2128f, slhdsaPKCS8(t, algs.SLHDSASHA2128f, slh[1:])},
		"SLH-DSA of another parameters": {algs.SLHDSASHAKE128f, slhdsaPKCS8(t, algs.SLHDSASHA2128f, slh)},
	} {
		public, private, err := ImportPKCS8(try.name, try.der)
		if !errors.Is(err, fault.Malformed) || public != nil || private != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, private, err := ImportPKCS8(algs.SLHDSASHA2128f, slhdsaPKCS8(t, algs.SLHDSASHA2128f, slh))
	if err != nil || !bytes.Equal(private, slh) {
		t.Errorf("a good SLH-DSA key: %v", err)
	}
}

// replaced exchanges the first occurrence of a part; it changes nothing when there is none, and the test fails on that.
func replaced(b, from, to []byte) []byte { return bytes.Replace(b, from, to, 1) }

func slhdsaPKCS8(t *testing.T, name algs.Name, private []byte) []byte {
	t.Helper()
	type algorithm struct{ OID asn1.ObjectIdentifier }
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm algorithm
		Key       []byte
	}{0, algorithm{schemes[name].(importer).oid()}, private})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func FuzzImportPKCS8(f *testing.F) {
	seeds := 0
	for _, v := range pkcs8Vectors(f) {
		f.Add(string(v.Algorithm), fromPEM(f, v.PEM))
		seeds++
	}
	if seeds < 15 {
		f.Fatalf("only %d seeds", seeds)
	}
	f.Add(string(algs.RSAPSS2048), []byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, name string, der []byte) {
		public, private, err := ImportPKCS8(algs.Name(name), der)
		if err != nil {
			if !errors.Is(err, fault.Malformed) {
				t.Fatalf("an error other than Malformed: %v", err)
			}
			return
		}
		key, err := ParsePrivate(algs.Name(name), private)
		if err != nil || !bytes.Equal(key.Public(), public) {
			t.Fatalf("what was imported does not parse: %v", err)
		}
	})
}
