package keyenc

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/vectortest"
)

// names returns every algorithm that has public keys.
func names() []algs.Name {
	var all []algs.Name
	for _, r := range algs.Rows() {
		switch r.Class {
		case algs.ClassSignature, algs.ClassKEM, algs.ClassAgreement, algs.ClassPublicEncryption:
			all = append(all, r.Name)
		default:
		}
	}
	return all
}

// rsaKeys are those of Wycheproof, so that no test needs to search for primes.
var rsaKeys = map[int][]byte{}

func testKey(t testing.TB, name algs.Name) []byte {
	t.Helper()
	k := kinds[name]
	switch {
	case k.family == familyRSA:
		return rsaKey(t, k.size)
	case k.crv == "X25519", k.crv == "Ed25519", k.family == familyHashes, k.family == familyLattice && k.alg != "":
		public := make([]byte, k.size)
		rand.Read(public)
		return public
	case k.family == familyEC:
		curve := map[string]ecdh.Curve{"P-256": ecdh.P256(), "P-384": ecdh.P384(), "P-521": ecdh.P521()}[k.crv]
		key, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key.PublicKey().Bytes()
	case name == algs.MLKEM512:
		key, _, err := mlkem512.GenerateKeyPair(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, mlkem512.PublicKeySize)
		key.Pack(out)
		return out
	case name == algs.MLKEM768:
		key, err := mlkem.GenerateKey768()
		if err != nil {
			t.Fatal(err)
		}
		return key.EncapsulationKey().Bytes()
	case name == algs.MLKEM1024:
		key, err := mlkem.GenerateKey1024()
		if err != nil {
			t.Fatal(err)
		}
		return key.EncapsulationKey().Bytes()
	default:
		t.Fatalf("no key for %s", name)
		return nil
	}
}

func rsaKey(t testing.TB, bits int) []byte {
	t.Helper()
	if rsaKeys[bits] == nil {
		file := "rsa_signature_" + strconv.Itoa(bits) + "_sha256_test.json"
		v := vectortest.Wycheproof[struct {
			TestGroups []struct {
				PublicKeyAsn vectortest.Hex
			}
		}](t, file)
		rsaKeys[bits] = v.TestGroups[0].PublicKeyAsn
	}
	return rsaKeys[bits]
}

func TestEveryAlgorithmHasARow(t *testing.T) {
	all := names()
	for _, name := range all {
		if kinds[name].family == familyUnknown {
			t.Errorf("%s has no row", name)
		}
	}
	if len(all) != len(kinds) {
		t.Errorf("%d rows for %d algorithms", len(kinds), len(all))
	}
}

// TestIdentifiersAreThoseOfTheLibrary compares with the identifiers that circl knows.
func TestIdentifiersAreThoseOfTheLibrary(t *testing.T) {
	type identified interface{ Oid() asn1.ObjectIdentifier }
	for name, scheme := range map[algs.Name]any{
		algs.MLDSA44: mldsa44.Scheme(), algs.MLDSA65: mldsa65.Scheme(), algs.MLDSA87: mldsa87.Scheme(),
	} {
		if s, ok := scheme.(identified); !ok || !s.Oid().Equal(kinds[name].oid) {
			t.Errorf("%s has another identifier", name)
		}
	}
	seen := map[string]algs.Name{}
	for name, k := range kinds {
		if k.family != familyLattice && k.family != familyHashes {
			continue
		}
		if other, twice := seen[k.oid.String()]; twice {
			t.Errorf("%s and %s share an identifier", name, other)
		}
		seen[k.oid.String()] = name
	}
}

// TestForms writes each key in each form and reads it back; where crypto/x509 knows the form, it must agree.
func TestForms(t *testing.T) {
	for _, name := range names() {
		t.Run(string(name), func(t *testing.T) {
			k := kinds[name]
			if k.family == familyUnshaped {
				for _, err := range []error{second(MarshalSPKI(name, nil)), second(ParseSPKI(name, nil)), second(PEM(name, nil)),
					second(ParsePEM(name, nil)), second(JWK(name, "", nil)), second(Thumbprint(name, nil))} {
					if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "raw") {
						t.Errorf("a key without forms: %v", err)
					}
				}
				return
			}
			public := testKey(t, name)
			spki, err := MarshalSPKI(name, public)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ParseSPKI(name, spki); err != nil || !bytes.Equal(got, public) {
				t.Errorf("SubjectPublicKeyInfo: %v", err)
			}
			text, err := PEM(name, public)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ParsePEM(name, text); err != nil || !bytes.Equal(got, public) {
				t.Errorf("PEM: %v", err)
			}
			if key, err := x509.ParsePKIXPublicKey(spki); k.family == familyEC || k.family == familyRSA || k.family == familyOctet {
				if err != nil {
					t.Fatal(err)
				}
				if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, spki) {
					t.Errorf("crypto/x509 writes something else: %v", err)
				}
			}
			for _, other := range names() {
				_, err := ParseSPKI(other, spki)
				o := kinds[other]
				fits := o.family == k.family && o.oid.Equal(k.oid) && o.size == k.size
				if fits != (err == nil) {
					t.Errorf("a key of %s as one of %s: %v", name, other, err)
				}
			}
			jwk, err := JWK(name, "kid", public)
			if k.family == familyHashes || strings.HasPrefix(string(name), "ML-KEM") {
				if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "PEM") {
					t.Errorf("a JWK that is not registered: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]string
			if err := json.Unmarshal(jwk, &m); err != nil {
				t.Fatal(err)
			}
			if row, _ := algs.Lookup(name); m["kid"] != "kid" || (m["use"] == "sig") != (row.Class == algs.ClassSignature) {
				t.Errorf("JWK: %s", jwk)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestKeysThatAreRefused(t *testing.T) {
	for _, name := range names() {
		k := kinds[name]
		if k.family == familyUnshaped {
			continue
		}
		public := testKey(t, name)
		bad := [][]byte{nil, {0}, public[1:], public[:len(public)-1], append(bytes.Clone(public), 0)}
		if k.family == familyEC {
			off := bytes.Clone(public)
			off[len(off)-1] ^= 1
			bad = append(bad, off, append([]byte{2}, public[1:]...), make([]byte, len(public)))
		}
		if strings.HasPrefix(string(name), "ML-KEM") {
			bad = append(bad, bytes.Repeat([]byte{0xff}, len(public))) // coefficients of 4095, above q
		}
		for i, b := range bad {
			for _, err := range []error{
				second(MarshalSPKI(name, b)), second(PEM(name, b)), second(JWK(name, "", b)), second(Thumbprint(name, b)),
			} {
				if !errors.Is(err, fault.Malformed) {
					t.Errorf("%s, bad key %d: %v", name, i, err)
				}
			}
		}
	}
	one := big.NewInt(1)
	n := mustRSA(t).N
	for what, key := range map[string]*rsa.PublicKey{
		"e = 3":        {N: n, E: 3},
		"e even":       {N: n, E: 65538},
		"2047 bits":    {N: new(big.Int).Rsh(n, 1), E: 65537},
		"2049 bits":    {N: new(big.Int).Add(new(big.Int).Lsh(n, 1), one), E: 65537},
		"even modulus": {N: new(big.Int).Sub(n, one), E: 65537},
	} {
		spki, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []algs.Name{algs.RSAPSS2048, algs.RSAPKCS12048, algs.RSAOAEP2048} {
			if _, err := ParseSPKI(name, spki); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s with %s: %v", name, what, err)
			}
		}
	}
	for _, name := range []algs.Name{"", "RSA", algs.AES256GCM, algs.AES256GCMMLKEM768, algs.SHA256} {
		for _, err := range []error{
			second(MarshalSPKI(name, nil)), second(ParseSPKI(name, nil)), second(ParsePEM(name, nil)), second(JWK(name, "", nil)),
		} {
			if !errors.Is(err, fault.Malformed) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func mustRSA(t *testing.T) *rsa.PublicKey {
	t.Helper()
	key, err := x509.ParsePKCS1PublicKey(rsaKey(t, 2048))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSPKIThatIsRefused(t *testing.T) {
	public := testKey(t, algs.ECDHP256)
	good, err := MarshalSPKI(algs.ECDHP256, public)
	if err != nil {
		t.Fatal(err)
	}
	edwards, err := MarshalSPKI(algs.Ed25519, testKey(t, algs.Ed25519))
	if err != nil {
		t.Fatal(err)
	}
	modulus, err := MarshalSPKI(algs.RSAPSS2048, testKey(t, algs.RSAPSS2048))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
	if err != nil {
		t.Fatal(err)
	}
	//nolint:staticcheck // SA1019: the compressed form is what must be refused
	compressed := elliptic.MarshalCompressed(elliptic.P256(), key.X, key.Y)
	type identifier struct {
		OID    asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}
	build := func(id identifier, bits []byte) []byte {
		out, err := asn1.Marshal(struct {
			Algorithm identifier
			Key       asn1.BitString
		}{id, asn1.BitString{Bytes: bits, BitLength: 8 * len(bits)}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	null := asn1.RawValue{FullBytes: []byte{5, 0}}
	named := asn1.RawValue{FullBytes: []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}}
	secp256k1 := asn1.RawValue{FullBytes: []byte{6, 5, 0x2b, 0x81, 4, 0, 10}}
	raw := func(spki []byte) []byte { return spki[len(spki)-270:] }
	pss := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	if got := build(identifier{oidEC, named}, public); !bytes.Equal(got, good) {
		t.Fatal("the test builds something else")
	}
	long := slices.Concat([]byte{0x30, 0x81, good[1]}, good[2:])
	curveAndMore := slices.Concat([]byte{0x30, good[1] + 2, 0x30, good[3] + 2}, good[4:23], []byte{5, 0}, good[23:])
	for what, try := range map[string]struct {
		name algs.Name
		der  []byte
	}{
		"nothing":                 {algs.ECDHP256, nil},
		"a byte more":             {algs.ECDHP256, append(bytes.Clone(good), 0)},
		"a byte less":             {algs.ECDHP256, good[:len(good)-1]},
		"twice":                   {algs.ECDHP256, append(bytes.Clone(good), good...)},
		"a longer length":         {algs.ECDHP256, long},
		"a compressed point":      {algs.ECDHP256, build(identifier{oidEC, named}, compressed)},
		"no curve":                {algs.ECDHP256, build(identifier{OID: oidEC}, public)},
		"another curve":           {algs.ECDHP256, build(identifier{oidEC, secp256k1}, public)},
		"an element more":         {algs.ECDHP256, slices.Concat([]byte{0x30, good[1] + 2}, good[2:], []byte{5, 0})},
		"a curve and more":        {algs.ECDHP256, curveAndMore},
		"RSA with an element":     {algs.RSAPSS2048, build(identifier{oidRSA, null}, withElement(raw(modulus)))},
		"NULL for a curve":        {algs.ECDHP256, build(identifier{oidEC, null}, public)},
		"Ed25519 with NULL":       {algs.Ed25519, build(identifier{kinds[algs.Ed25519].oid, null}, edwards[12:])},
		"RSA without NULL":        {algs.RSAPSS2048, build(identifier{OID: oidRSA}, raw(modulus))},
		"id-RSASSA-PSS":           {algs.RSAPSS2048, build(identifier{OID: pss}, raw(modulus))},
		"RSA with a byte more":    {algs.RSAPSS2048, build(identifier{oidRSA, null}, append(bytes.Clone(raw(modulus)), 0))},
		"a private key":           {algs.ECDHP256, privateKey(t)},
		"more than 16 KiB":        {algs.ECDHP256, make([]byte, maxInput+1)},
		"bits that are not bytes": {algs.ECDHP256, withUnusedBits(good)},
	} {
		if got, err := ParseSPKI(try.name, try.der); !errors.Is(err, fault.Malformed) || got != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// withElement appends NULL inside the SEQUENCE of an RSAPublicKey, which crypto/x509 lets pass.
func withElement(public []byte) []byte {
	n := len(public) - 4 + 2
	return slices.Concat([]byte{0x30, 0x82, byte(n >> 8), byte(n)}, public[4:], []byte{5, 0})
}

// withUnusedBits says that the last bit of the BIT STRING, whose header stands before the 65 bytes, is not used.
func withUnusedBits(spki []byte) []byte {
	b := bytes.Clone(spki)
	b[len(b)-66] = 1
	b[len(b)-1] &^= 1
	return b
}

func privateKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestPEMThatIsRefused(t *testing.T) {
	const name = algs.X25519
	public := testKey(t, name)
	good, err := PEM(name, public)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	for what, text := range map[string][]byte{
		"white space":   slices.Concat([]byte("\n  \t"), good, []byte("\r\n \n")),
		"CRLF":          bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"no last break": bytes.TrimSpace(good),
	} {
		if got, err := ParsePEM(name, text); err != nil || !bytes.Equal(got, public) {
			t.Errorf("%s: %v", what, err)
		}
	}
	headers := map[string]string{"Proc-Type": "4"}
	for what, text := range map[string][]byte{
		"nothing":               nil,
		"white space alone":     []byte(" \n"),
		"DER":                   block.Bytes,
		"two blocks":            slices.Concat(good, good),
		"text before":           slices.Concat([]byte("key:\n"), good),
		"text after":            slices.Concat(good, []byte("end\n")),
		"a broken block before": slices.Concat([]byte("-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n"), good),
		"half":                  good[:len(good)/2],
		"headers":               pem.EncodeToMemory(&pem.Block{Type: pemType, Headers: headers, Bytes: block.Bytes}),
		"a certificate":         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}),
		"RSA PUBLIC KEY":        pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: block.Bytes}),
		"PRIVATE KEY":           pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: block.Bytes}),
		"a byte more":           pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: append(bytes.Clone(block.Bytes), 0)}),
		"an empty block":        pem.EncodeToMemory(&pem.Block{Type: pemType}),
		"more than 16 KiB":      append(bytes.Clone(good), bytes.Repeat([]byte("\n"), maxInput)...),
	} {
		if got, err := ParsePEM(name, text); !errors.Is(err, fault.Malformed) || got != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestKid(t *testing.T) {
	public := testKey(t, algs.Ed25519)
	for kid, good := range map[string]bool{
		"": true, `a "kid" <b>`: true, "Schlüssel": true, "\xff": false, strings.Repeat("k", maxKid+1): false,
	} {
		text, err := JWK(algs.Ed25519, kid, public)
		if !good {
			if !errors.Is(err, fault.Malformed) {
				t.Errorf("kid %.9q: %v", kid, err)
			}
			continue
		}
		var m map[string]string
		if err != nil || json.Unmarshal(text, &m) != nil || m["kid"] != kid {
			t.Errorf("kid %q: %s, %v", kid, text, err)
		}
		if _, present := m["kid"]; present != (kid != "") {
			t.Errorf("kid %q: %s", kid, text)
		}
	}
}

// FuzzParseSPKI wants that what parses has one DER only.
func FuzzParseSPKI(f *testing.F) {
	for _, name := range names() {
		if kinds[name].family == familyUnshaped {
			continue
		}
		spki, err := MarshalSPKI(name, testKey(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(name), spki)
	}
	f.Add(string(algs.X25519), []byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, name string, spki []byte) {
		public, err := ParseSPKI(algs.Name(name), spki)
		if err != nil {
			if !errors.Is(err, fault.Malformed) {
				t.Fatalf("an error other than Malformed: %v", err)
			}
			return
		}
		if again, err := MarshalSPKI(algs.Name(name), public); err != nil || !bytes.Equal(again, spki) {
			t.Fatalf("written again it is something else: %v", err)
		}
	})
}

func FuzzParsePEM(f *testing.F) {
	for _, name := range []algs.Name{algs.X25519, algs.ECDHP256, algs.RSAOAEP2048, algs.MLKEM768} {
		text, err := PEM(name, testKey(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(name), text)
		f.Add(string(name), append(text, text...))
	}
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		public, err := ParsePEM(algs.Name(name), text)
		if err != nil {
			if !errors.Is(err, fault.Malformed) {
				t.Fatalf("an error other than Malformed: %v", err)
			}
			return
		}
		again, err := PEM(algs.Name(name), public)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParsePEM(algs.Name(name), again); err != nil || !bytes.Equal(got, public) {
			t.Fatalf("written again it is something else: %v", err)
		}
	})
}

// rsaDER returns the RSAPublicKey of a modulus and an exponent.
func rsaDER(n, e []byte) []byte {
	return x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())})
}
