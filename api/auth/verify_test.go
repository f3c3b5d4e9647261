package auth

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

func TestVerifyGoodToken(t *testing.T) {
	f := newFixture(t)
	s, err := f.verifier.Authenticate("Bearer " + f.accessToken(t, shop))
	if err != nil {
		t.Fatal(err)
	}
	if s.Kind != policy.KindApplication || s.ID != shop || s.Tenant != "tenant-1" || s.Credential != "key-1" {
		t.Errorf("the subject is %+v", s)
	}
	if !slices.Equal(s.Narrowed, []string{"user-pii", "general"}) {
		t.Errorf("narrowed to %v", s.Narrowed)
	}
	if !s.Expires.Equal(start.Add(AccessLifetime)) {
		t.Errorf("expires at %v", s.Expires)
	}
}

// TestForgeryBaseline proves that the forged tokens below are refused for what is wrong with them and nothing else.
func TestForgeryBaseline(t *testing.T) {
	f := newFixture(t)
	token := forge(t, goodHeader, goodClaims(t, nil), jwt.SigningMethodEdDSA, f.keys[shop])
	if _, err := f.verifier.Verify(token); err != nil {
		t.Fatal(err)
	}
}

// TestHeaderAttacks tries what RFC 8725 sections 2 and 3 warn of in the header.
func TestHeaderAttacks(t *testing.T) {
	f := newFixture(t)
	public := []byte(f.Application(shop).PublicKey)
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(public))
	if err != nil {
		t.Fatal(err)
	}
	key := f.keys[shop]
	_, attacker, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` +
		base64.RawURLEncoding.EncodeToString(attacker.Public().(ed25519.PublicKey)) + `"}`
	none := func(alg string) string {
		return forge(t, `{"alg":"`+alg+`","kid":"key-1","typ":"JWT"}`, goodClaims(t, nil), jwt.SigningMethodNone,
			jwt.UnsafeAllowNoneSignatureType)
	}
	hs256 := func(secret []byte) string {
		return forge(t, `{"alg":"HS256","kid":"key-1","typ":"JWT"}`, goodClaims(t, nil), jwt.SigningMethodHS256, secret)
	}
	eddsa := func(head string, k ed25519.PrivateKey) string {
		return forge(t, head, goodClaims(t, nil), jwt.SigningMethodEdDSA, k)
	}
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"none":                           {none("none"), errAlgorithm},
		"None":                           {none("None"), errAlgorithm},
		"NONE":                           {none("NONE"), errAlgorithm},
		"none in an EdDSA header":        {none("EdDSA"), errSignature},
		"HS256 with the raw public key":  {hs256(public), errAlgorithm},
		"HS256 with the DER public key":  {hs256(der), errAlgorithm},
		"HS256 with the PEM public key":  {hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), errAlgorithm},
		"HS256 with the refresh key":     {hs256(f.refreshKey), errAlgorithm},
		"eddsa in small letters":         {eddsa(`{"alg":"eddsa","kid":"key-1","typ":"JWT"}`, key), errAlgorithm},
		"no algorithm":                   {eddsa(`{"kid":"key-1","typ":"JWT"}`, key), errAlgorithm},
		"algorithm of another type":      {eddsa(`{"alg":["EdDSA"],"kid":"key-1","typ":"JWT"}`, key), errHeaderForm},
		"wrong key id":                   {eddsa(`{"alg":"EdDSA","kid":"key-2","typ":"JWT"}`, key), errKeyID},
		"no key id":                      {eddsa(`{"alg":"EdDSA","typ":"JWT"}`, key), errKeyID},
		"empty key id":                   {eddsa(`{"alg":"EdDSA","kid":"","typ":"JWT"}`, key), errKeyID},
		"key id that is a path":          {eddsa(`{"alg":"EdDSA","kid":"../../dev/null","typ":"JWT"}`, key), errKeyID},
		"no type":                        {eddsa(`{"alg":"EdDSA","kid":"key-1"}`, key), errAlgorithm},
		"other type":                     {eddsa(`{"alg":"EdDSA","kid":"key-1","typ":"at+jwt"}`, key), errAlgorithm},
		"own key in the header":          {eddsa(`{"alg":"EdDSA","kid":"key-1","typ":"JWT","jwk":`+jwk+`}`, attacker), errHeaderForm},
		"key from an address":            {eddsa(`{"alg":"EdDSA","kid":"key-1","typ":"JWT","jku":"https://a.example"}`, attacker), errHeaderForm},
		"certificate in the header":      {eddsa(`{"alg":"EdDSA","kid":"key-1","typ":"JWT","x5c":[]}`, attacker), errHeaderForm},
		"critical extension":             {eddsa(`{"alg":"EdDSA","kid":"key-1","typ":"JWT","crit":["exp"]}`, key), errHeaderForm},
		"compressed":                     {eddsa(`{"alg":"EdDSA","kid":"key-1","typ":"JWT","zip":"DEF"}`, key), errHeaderForm},
		"algorithm twice":                {eddsa(`{"alg":"none","alg":"EdDSA","kid":"key-1","typ":"JWT"}`, key), errHeaderForm},
		"key id twice":                   {eddsa(`{"alg":"EdDSA","kid":"key-2","kid":"key-1","typ":"JWT"}`, key), errHeaderForm},
		"member in other letters":        {eddsa(`{"ALG":"EdDSA","kid":"key-1","typ":"JWT"}`, key), errHeaderForm},
		"header that is null":            {eddsa(`null`, key), errAlgorithm},
		"header that is a list":          {eddsa(`[]`, key), errHeaderForm},
		"header with something after it": {eddsa(goodHeader+`{}`, key), errHeaderForm},
		"signed with another key":        {eddsa(goodHeader, attacker), errSignature},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.verifier.Verify(c.token)
			wantRefused(t, err, c.want)
		})
	}
}

// TestClaimAttacks tries claims that a genuine key has signed and that must not be honoured all the same.
func TestClaimAttacks(t *testing.T) {
	hour := start.Add(time.Hour).Unix()
	type edit = map[string]any
	for name, c := range map[string]struct {
		edit edit
		want error
	}{
		"other issuer":                {edit{"iss": "elsewhere"}, errClaims},
		"no issuer":                   {edit{"iss": nil}, errClaims},
		"other audience":              {edit{"aud": "cryptoserve-refresh"}, errClaims},
		"no audience":                 {edit{"aud": nil}, errClaims},
		"list of audiences":           {edit{"aud": []string{"cryptoserve-api"}}, errMalformed},
		"refresh type":                {edit{"type": "refresh"}, errClaims},
		"no type":                     {edit{"type": nil}, errClaims},
		"other tenant":                {edit{"tid": "tenant-2"}, errClaims},
		"no tenant":                   {edit{"tid": nil}, errClaims},
		"other application":           {edit{"sub": blog}, errClaims},
		"other application, its id":   {edit{"sub": blog, "tid": "tenant-2"}, errKeyID},
		"unknown application":         {edit{"sub": "app_none_0000000000000009"}, errUnknown},
		"no subject":                  {edit{"sub": nil}, errUnknown},
		"no token id":                 {edit{"jti": nil}, errClaims},
		"expired":                     {edit{"iat": start.Add(-2 * time.Hour).Unix(), "exp": start.Add(-time.Hour).Unix()}, errExpired},
		"expires now":                 {edit{"iat": start.Add(-time.Hour).Unix(), "exp": start.Unix()}, errExpired},
		"no expiry":                   {edit{"exp": nil}, errClaims},
		"expiry as text":              {edit{"exp": "4102444800"}, errMalformed},
		"expiry with a fraction":      {edit{"exp": 4102444800.5}, errMalformed},
		"expiry out of range":         {edit{"exp": 1e300}, errMalformed},
		"expiry before issue":         {edit{"iat": hour, "exp": hour - 1}, errNotYet},
		"negative issue time":         {edit{"iat": -9223372036854775807}, errClaims},
		"no issue time":               {edit{"iat": nil}, errClaims},
		"issued in the future":        {edit{"iat": start.Add(leeway + time.Second).Unix()}, errNotYet},
		"not valid yet":               {edit{"nbf": start.Add(leeway + time.Second).Unix()}, errNotYet},
		"lives longer than an hour":   {edit{"exp": hour + 1}, errClaims},
		"contexts that are not a set": {edit{"contexts": "user-pii"}, errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.verifier.Verify(forge(t, goodHeader, goodClaims(t, c.edit), jwt.SigningMethodEdDSA, f.keys[shop]))
			wantRefused(t, err, c.want)
		})
	}
}

func TestClaimTextAttacks(t *testing.T) {
	f := newFixture(t)
	good := goodClaims(t, nil)
	inside := strings.TrimSuffix(good, "}")
	for name, body := range map[string]string{
		"subject twice":            inside + `,"sub":"` + shop + `"}`,
		"expiry twice":             inside + `,"exp":4102444800}`,
		"contexts twice":           inside + `,"contexts":["general"]}`,
		"twice in a nested object": inside + `,"more":{"a":1,"a":2}}`,
		"something after it":       good + `{}`,
		"invalid UTF-8":            inside + ",\"name\":\"\xff\"}",
		"null":                     `null`,
		"list":                     `[]`,
		"empty":                    ``,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.verifier.Verify(forge(t, goodHeader, body, jwt.SigningMethodEdDSA, f.keys[shop]))
			wantRefused(t, err, nil)
		})
	}
	t.Run("claim in other letters is no claim", func(t *testing.T) {
		body := strings.Replace(good, `"sub"`, `"SUB"`, 1)
		_, err := f.verifier.Verify(forge(t, goodHeader, body, jwt.SigningMethodEdDSA, f.keys[shop]))
		wantRefused(t, err, errUnknown)
	})
}

func TestTokenFormAttacks(t *testing.T) {
	f := newFixture(t)
	good := f.accessToken(t, shop)
	head, body, signature := segments(good)
	otherHead, otherBody, _ := segments(f.accessToken(t, blog))
	long := forge(t, goodHeader, goodClaims(t, map[string]any{"name": strings.Repeat("a", MaxTokenBytes)}),
		jwt.SigningMethodEdDSA, f.keys[shop])
	for name, token := range map[string]string{
		"empty":                         "",
		"dots only":                     "..",
		"no signature":                  head + "." + body + ".",
		"no signature part":             head + "." + body,
		"four parts":                    good + ".",
		"five parts, encrypted form":    good + "..",
		"longer than the limit":         long,
		"padding":                       good + "=",
		"line break":                    good + "\n",
		"line break inside":             head + ".\r\n" + body + "." + signature,
		"space before":                  " " + good,
		"standard alphabet":             head + "." + body + "." + strings.NewReplacer("-", "+", "_", "/").Replace(signature) + "+",
		"body of another token":         head + "." + otherBody + "." + signature,
		"header of another token":       otherHead + "." + body + "." + signature,
		"last bits changed":             good[:len(good)-1] + string(nextInAlphabet(good[len(good)-1])),
		"signature of S plus L":         head + "." + body + "." + addOrder(t, signature),
		"refresh token":                 f.refreshToken(t, shop),
		"session token":                 SessionPrefix + strings.Repeat("A", 43),
		"text":                          "hello",
		"bytes that are not in any JWT": "\x00\xff\xfe",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.verifier.Verify(token)
			wantRefused(t, err, nil)
		})
	}
}

// nextInAlphabet returns the base64url digit after b: it differs from b in the bits that a 64-byte signature leaves unused.
func nextInAlphabet(b byte) byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return digits[(strings.IndexByte(digits, b)+1)%len(digits)]
}

// addOrder returns the signature with the group order added to S, which some verifiers accept (RFC 8032 section 8.4).
func addOrder(t *testing.T, signature string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	order := [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	carry := 0
	for i := range order {
		sum := int(b[32+i]) + int(order[i]) + carry
		b[32+i], carry = byte(sum), sum>>8
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestVerifyByCurrentRecord(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*directory.Application)
		want error
	}{
		"disabled":       {func(a *directory.Application) { a.Status = directory.Disabled }, errUnknown},
		"unknown status": {func(a *directory.Application) { a.Status = directory.StatusUnknown }, errUnknown},
		"new key id":     {func(a *directory.Application) { a.KeyID = "key-9" }, errKeyID},
		"no key id":      {func(a *directory.Application) { a.KeyID = "" }, errKeyID},
		"new key":        {func(a *directory.Application) { a.PublicKey = make([]byte, ed25519.PublicKeySize) }, errSignature},
		"short key":      {func(a *directory.Application) { a.PublicKey = a.PublicKey[:31] }, errUnknown},
		"other tenant":   {func(a *directory.Application) { a.Tenant = "tenant-2" }, errClaims},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			token := f.accessToken(t, shop)
			f.change(shop, c.edit)
			_, err := f.verifier.Verify(token)
			wantRefused(t, err, c.want)
		})
	}
}

func TestVerifyWithinLeeway(t *testing.T) {
	f := newFixture(t)
	token := f.accessToken(t, shop)
	f.clock.at = start.Add(-leeway)
	if _, err := f.verifier.Verify(token); err != nil {
		t.Errorf("a token from a node whose clock is %v ahead is refused: %v", leeway, err)
	}
}

func TestNarrowing(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		contexts any
		want     []string
		isNil    bool
	}{
		"some":   {[]string{"general"}, []string{"general"}, false},
		"none":   {[]string{}, nil, false},
		"absent": {nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := f.verifier.Verify(forge(t, goodHeader, goodClaims(t, map[string]any{"contexts": c.contexts}),
				jwt.SigningMethodEdDSA, f.keys[shop]))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(s.Narrowed, c.want) || (s.Narrowed == nil) != c.isNil {
				t.Errorf("narrowed to %#v", s.Narrowed)
			}
		})
	}
}

func TestCacheHit(t *testing.T) {
	f := newFixture(t)
	token := f.accessToken(t, shop)
	first, err := f.verifier.Verify(token)
	if err != nil {
		t.Fatal(err)
	}
	// The engine compares the record at each operation; a hit must not look at it again.
	f.change(shop, func(a *directory.Application) { a.PublicKey = nil })
	second, err := f.verifier.Verify(token)
	if err != nil || second != first {
		t.Errorf("the second look gave %p, %v, want the same subject %p", second, err, first)
	}
	f.clock.at = start.Add(AccessLifetime - time.Nanosecond)
	if _, err := f.verifier.Verify(token); err != nil {
		t.Errorf("refused just before its expiry: %v", err)
	}
	f.clock.at = start.Add(AccessLifetime)
	_, err = f.verifier.Verify(token)
	wantRefused(t, err, errExpired)
	f.clock.at = start
	_, err = f.verifier.Verify(token)
	wantRefused(t, err, errUnknown) // forgotten, so looked at in full
}

func TestCacheKeepsNoRefusedToken(t *testing.T) {
	f := newFixture(t)
	token := f.accessToken(t, shop)
	f.change(shop, func(a *directory.Application) { a.Status = directory.Disabled })
	_, err := f.verifier.Verify(token)
	wantRefused(t, err, errUnknown)
	if n := f.verifier.verified.EstimatedSize(); n != 0 {
		t.Errorf("%d refused tokens are remembered", n)
	}
	f.change(shop, func(a *directory.Application) { a.Status = directory.Enabled })
	if _, err := f.verifier.Verify(token); err != nil {
		t.Errorf("refused after the application was enabled: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	f := newFixture(t)
	v, err := NewVerifier(VerifierConfig{Directory: f.records, Now: f.clock.now, CacheEntries: 4})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := v.Verify(f.accessToken(t, shop)); err != nil {
			t.Fatal(err)
		}
	}
	v.verified.CleanUp()
	if n := v.verified.EstimatedSize(); n > 4 {
		t.Errorf("%d tokens are remembered, want 4 at most", n)
	}
}

func TestAuthenticateHeader(t *testing.T) {
	f := newFixture(t)
	token := f.accessToken(t, shop)
	for name, c := range map[string]struct {
		header string
		good   bool
	}{
		"bearer":         {"Bearer " + token, true},
		"small letters":  {"bearer " + token, true},
		"empty":          {"", false},
		"scheme alone":   {"Bearer ", false},
		"no scheme":      {token, false},
		"other scheme":   {"Basic " + token, false},
		"two spaces":     {"Bearer  " + token, false},
		"trailing space": {"Bearer " + token + " ", false},
		"two tokens":     {"Bearer " + token + ", Bearer " + token, false},
		"tab":            {"Bearer\t" + token, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.verifier.Authenticate(c.header)
			if c.good {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefused(t, err, nil)
		})
	}
}

func BenchmarkVerifyCached(b *testing.B) {
	f := newFixture(b)
	header := "Bearer " + f.accessToken(b, shop)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.verifier.Authenticate(header); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyFull(b *testing.B) {
	f := newFixture(b)
	token := f.accessToken(b, shop)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.verifier.access.parse(token, f.verifier.applicationKey); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEd25519 is what BenchmarkVerifyFull cannot do without.
func BenchmarkEd25519(b *testing.B) {
	f := newFixture(b)
	token := f.accessToken(b, shop)
	head, body, encoded := segments(token)
	signature, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		b.Fatal(err)
	}
	message, key := []byte(head+"."+body), ed25519.PublicKey(f.Application(shop).PublicKey)
	for b.Loop() {
		if !ed25519.Verify(key, message, signature) {
			b.Fatal("not verified")
		}
	}
}

func BenchmarkCertificate(b *testing.B) {
	f := newFixture(b)
	certificate := certify(b, newKey(b), nil)
	f.pin(shop, certificate)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.verifier.Certificate(certificate); err != nil {
			b.Fatal(err)
		}
	}
}
