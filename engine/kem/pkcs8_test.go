package kem

import (
	"bytes"
	"crypto/ecdh"
	"crypto/x509"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/vectortest"
)

type pkcs8File struct {
	Keys []struct {
		ID        string
		Algorithm algs.Name
		Form      string
		Bad       string
		PKCS8     vectortest.Hex `json:"pkcs8_hex"`
		Public    vectortest.Hex `json:"public_hex"`
	}
}

// TestVectorsPKCS8RFC9935 imports the examples of RFC 9935 appendix C. The keys without a seed parse in expanded form.
func TestVectorsPKCS8RFC9935(t *testing.T) {
	accounts := map[algs.Name]*vectortest.Account{}
	for _, name := range []algs.Name{algs.MLKEM512, algs.MLKEM768, algs.MLKEM1024} {
		accounts[name] = vectortest.New(t, string(name), "RFC 9935")
	}
	for _, k := range readTestdata[pkcs8File](t, "rfc9935.json").Keys {
		public, private, err := ImportPKCS8(k.Algorithm, k.PKCS8)
		if k.Form == "expanded" {
			accounts[k.Algorithm].Check(k.ID+" without a seed", false, err)
			n := map[algs.Name]int{algs.MLKEM512: 1632, algs.MLKEM768: 2400, algs.MLKEM1024: 3168}[k.Algorithm]
			var key *PrivateKey
			if key, err = ParseExpanded(k.Algorithm, k.PKCS8[len(k.PKCS8)-n:]); err == nil {
				err = same("the public key", nil, key.Public(), k.Public)
			}
		} else if err = same("the public key", err, public, k.Public); err == nil {
			err = keyOf(k.Algorithm, private, k.Public)
		}
		accounts[k.Algorithm].Check(k.ID, k.Bad == "", err)
	}
}

// forms names an algorithm for each form of a PKCS #8 key, and the others that take the same keys.
var forms = map[algs.Name][]algs.Name{
	algs.X25519:      {algs.HPKEX25519AES256GCM, algs.HPKEX25519ChaCha20Poly1305, algs.ECIESX25519},
	algs.ECDHP256:    {algs.HPKEP256AES128GCM, algs.HPKEP256AES256GCM, algs.ECIESP256},
	algs.ECDHP384:    {algs.HPKEP384AES256GCM, algs.ECIESP384},
	algs.MLKEM512:    {},
	algs.MLKEM768:    {algs.AES256GCMMLKEM768},
	algs.MLKEM1024:   {algs.AES256GCMMLKEM1024},
	algs.XWing:       {algs.X25519MLKEM768AES256GCM, algs.HPKEMLKEM768X25519},
	algs.RSAOAEP2048: {}, algs.RSAOAEP3072: {}, algs.RSAOAEP4096: {},
}

// TestImportPKCS8 imports keys that OpenSSL made under every algorithm: only those of the same form take them.
func TestImportPKCS8(t *testing.T) {
	for _, k := range readTestdata[pkcs8File](t, "openssl.json").Keys {
		t.Run(k.ID, func(t *testing.T) {
			takers := map[algs.Name]bool{}
			if k.Algorithm != "" {
				takers[k.Algorithm] = true
				for _, name := range forms[k.Algorithm] {
					takers[name] = true
				}
			}
			for _, name := range all {
				if name == algs.ChaCha20Poly1305MLKEM768 {
					continue // TestReadOnly
				}
				public, private, err := ImportPKCS8(name, k.PKCS8)
				if !takers[name] {
					wantKind(t, string(name), err, fault.Malformed)
					continue
				}
				if err != nil || !bytes.Equal(public, k.Public) {
					t.Fatalf("%s: another public key, or %v", name, err)
				}
				if err := keyOf(name, private, public); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if again, _, err := ImportPKCS8(name, append(bytes.Clone(k.PKCS8), 0)); err == nil {
					t.Errorf("%s: took a byte too many: %d", name, len(again))
				}
				for n := range len(k.PKCS8) {
					if n > 40 && n%31 != 0 {
						continue
					}
					_, _, err := ImportPKCS8(name, k.PKCS8[:n])
					wantKind(t, "cut", err, fault.Malformed)
				}
			}
		})
	}
}

// der puts parts into one DER value.
func der(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	switch n := len(content); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, content...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
	}
}

// TestPKCS8Parts builds keys by hand: with the optional parts of RFC 5958 and RFC 5915, and with mistakes in each part.
func TestPKCS8Parts(t *testing.T) {
	x, p := keyPair(t, algs.X25519), keyPair(t, algs.ECDHP256)
	other := otherPair(t, algs.X25519)
	v0, v1, v2 := der(2, []byte{0}), der(2, []byte{1}), der(2, []byte{2})
	null := der(5)
	xAlg := der(0x30, der(6, []byte{0x2b, 0x65, 0x6e}))
	p256 := der(6, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	ecAlg := der(0x30, der(6, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}), p256)
	xKey := der(4, der(4, x.private))
	ecKey := func(parts ...[]byte) []byte {
		return der(4, der(0x30, append([][]byte{v1, der(4, p.private)}, parts...)...))
	}
	attributes := der(0xa0, der(0x30, der(6, []byte{0x55, 0x1d, 0x0f}), der(0x31, der(3, []byte{0, 1}))))
	bits := func(b []byte) []byte { return append([]byte{0}, b...) }
	mlkemAlg := der(0x30, der(6, []byte{0x60, 0x86, 0x48, 1, 0x65, 3, 4, 4, 2}))
	m := keyPair(t, algs.MLKEM768)
	expanded, err := expandSeed(algs.MLKEM768, m.private)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(expanded)
	damaged[len(damaged)-1] ^= 1
	w, r := keyPair(t, algs.XWing), keyPair(t, algs.RSAOAEP2048)
	rsaOID := der(6, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1})
	pssOID := der(6, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10})
	xwingAlg := der(0x30, der(6, []byte{0x2b, 6, 1, 4, 1, 0x83, 0xe6, 0x2d, 0x81, 0xc8, 0x7a}))
	seedTag := func(b []byte) []byte { return der(0x80, b) }

	for what, c := range map[string]struct {
		name  algs.Name
		der   []byte
		valid bool
	}{
		"X25519":                          {algs.X25519, der(0x30, v0, xAlg, xKey), true},
		"X25519, version 2":               {algs.X25519, der(0x30, v1, xAlg, xKey), true},
		"X25519 and attributes":           {algs.X25519, der(0x30, v0, xAlg, xKey, attributes), true},
		"X25519 and its public key":       {algs.X25519, der(0x30, v1, xAlg, xKey, der(0x81, bits(x.public))), true},
		"X25519, both":                    {algs.X25519, der(0x30, v1, xAlg, xKey, attributes, der(0x81, bits(x.public))), true},
		"X25519 and another public key":   {algs.X25519, der(0x30, v1, xAlg, xKey, der(0x81, bits(other.public))), false},
		"X25519 and an empty public key":  {algs.X25519, der(0x30, v1, xAlg, xKey, der(0x81)), false},
		"X25519 and odd bits":             {algs.X25519, der(0x30, v1, xAlg, xKey, der(0x81, []byte{4}, x.public)), false},
		"version 3":                       {algs.X25519, der(0x30, v2, xAlg, xKey), false},
		"no version":                      {algs.X25519, der(0x30, xAlg, xKey), false},
		"something at the end":            {algs.X25519, der(0x30, v0, xAlg, xKey, null), false},
		"X25519 with parameters":          {algs.X25519, der(0x30, v0, der(0x30, der(6, []byte{0x2b, 0x65, 0x6e}), null), xKey), false},
		"X25519, scalar not wrapped":      {algs.X25519, der(0x30, v0, xAlg, der(4, x.private)), false},
		"X25519, short":                   {algs.X25519, der(0x30, v0, xAlg, der(4, der(4, x.private[:31]))), false},
		"X25519, something after":         {algs.X25519, der(0x30, v0, xAlg, der(4, der(4, x.private), null)), false},
		"P-256":                           {algs.ECDHP256, der(0x30, v0, ecAlg, ecKey()), true},
		"P-256 and curve":                 {algs.ECDHP256, der(0x30, v0, ecAlg, ecKey(der(0xa0, p256))), true},
		"P-256 and its public key":        {algs.ECDHP256, der(0x30, v0, ecAlg, ecKey(der(0xa1, der(3, bits(p.public))))), true},
		"P-256 and another public key":    {algs.ECDHP256, der(0x30, v0, ecAlg, ecKey(der(0xa1, der(3, bits(bytes.Repeat([]byte{4}, 65)))))), false},
		"P-256 and a broken public key":   {algs.ECDHP256, der(0x30, v0, ecAlg, ecKey(der(0xa1, der(4, p.public)))), false},
		"P-256 and outer public key":      {algs.ECDHP256, der(0x30, v1, ecAlg, ecKey(), der(0x81, bits(p.public))), true},
		"P-256, something after":          {algs.ECDHP256, der(0x30, v0, ecAlg, ecKey(null)), false},
		"P-256, scalar zero":              {algs.ECDHP256, der(0x30, v0, ecAlg, der(4, der(0x30, v1, der(4, make([]byte, 32))))), false},
		"P-256 without its curve":         {algs.ECDHP256, der(0x30, v0, der(0x30, der(6, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1})), ecKey()), false},
		"ML-KEM, seed":                    {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, seedTag(m.private))), true},
		"ML-KEM, seed and its public key": {algs.MLKEM768, der(0x30, v1, mlkemAlg, der(4, seedTag(m.private)), der(0x81, bits(m.public))), true},
		"ML-KEM, seed for a hybrid":       {algs.AES256GCMMLKEM768, der(0x30, v0, mlkemAlg, der(4, seedTag(m.private))), true},
		"ML-KEM, short seed":              {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, seedTag(m.private[:63]))), false},
		"ML-KEM, seed not tagged":         {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, m.private)), false},
		"ML-KEM, something after":         {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, seedTag(m.private), null)), false},
		"ML-KEM, parameters":              {algs.MLKEM768, der(0x30, v0, der(0x30, mlkemAlg[2:], null), der(4, seedTag(m.private))), false},
		"ML-KEM, both":                    {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, der(0x30, der(4, m.private), der(4, expanded)))), true},
		"ML-KEM, both and more":           {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, der(0x30, der(4, m.private), der(4, expanded), null))), false},
		"ML-KEM, both, z differs":         {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, der(0x30, der(4, m.private), der(4, damaged)))), false},
		"ML-KEM, both, cut":               {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, der(0x30, der(4, m.private), der(4, expanded[:2399])))), false},
		"ML-KEM, expanded":                {algs.MLKEM768, der(0x30, v0, mlkemAlg, der(4, der(4, expanded))), false},
		"ML-KEM of another size":          {algs.MLKEM1024, der(0x30, v0, mlkemAlg, der(4, seedTag(m.private))), false},
		"RSA":                             {algs.RSAOAEP2048, der(0x30, v0, der(0x30, rsaOID, null), der(4, r.private)), true},
		"RSA without parameters":          {algs.RSAOAEP2048, der(0x30, v0, der(0x30, rsaOID), der(4, r.private)), true},
		"RSA with other parameters":       {algs.RSAOAEP2048, der(0x30, v0, der(0x30, rsaOID, v0), der(4, r.private)), false},
		"RSA for signatures":              {algs.RSAOAEP2048, der(0x30, v0, der(0x30, pssOID, null), der(4, r.private)), false},
		"X-Wing":                          {algs.XWing, der(0x30, v0, xwingAlg, der(4, w.private)), true},
		"X-Wing with another name":        {algs.XWing, der(0x30, v0, mlkemAlg, der(4, w.private)), false},
		"X-Wing with parameters":          {algs.XWing, der(0x30, v0, der(0x30, xwingAlg[2:], null), der(4, w.private)), false},
		"X-Wing, short":                   {algs.XWing, der(0x30, v0, xwingAlg, der(4, w.private[:31])), false},
		"X-Wing for P-256":                {algs.P256MLKEM768AES256GCM, der(0x30, v0, xwingAlg, der(4, w.private)), false},
		"X-Wing for HPKE with P-256":      {algs.HPKEMLKEM768P256, der(0x30, v0, xwingAlg, der(4, w.private)), false},
		"empty":                           {algs.MLKEM768, nil, false},
	} {
		public, _, err := ImportPKCS8(c.name, c.der)
		if !c.valid {
			wantKind(t, what, err, fault.Malformed)
			continue
		}
		want := map[algs.Name][]byte{
			algs.X25519: x.public, algs.ECDHP256: p.public, algs.MLKEM768: m.public, algs.AES256GCMMLKEM768: m.public,
			algs.XWing: w.public, algs.RSAOAEP2048: r.public,
		}[c.name]
		if err != nil || !bytes.Equal(public, want) {
			t.Errorf("%s: another public key, or %v", what, err)
		}
	}
	_, _, err = ImportPKCS8(algs.X25519, make([]byte, maxPKCS8+1))
	wantKind(t, "too long", err, fault.TooLarge)
}

// TestImportedX25519IsClamped: RFC 9180 section 7.1.2 serialises X25519 keys clamped, whatever they came as.
func TestImportedX25519IsClamped(t *testing.T) {
	scalar := bytes.Repeat([]byte{0xff}, 32)
	key, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ImportPKCS8(algs.HPKEX25519AES256GCM, encoded)
	if err != nil || !bytes.Equal(public, key.PublicKey().Bytes()) {
		t.Fatalf("another public key, or %v", err)
	}
	if private[0] != 0xf8 || private[31] != 0x7f {
		t.Error("the private key is not clamped")
	}
}
