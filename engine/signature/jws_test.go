package signature

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/vectortest"
)

// jwk is a key as vectors write it.
type jwk struct {
	Kty, Crv, Alg, Kid, Use, N, E, D, P, Q, X, Y, Pub, Priv string
	KeyOps                                                  []string `json:"key_ops"`
}

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// public returns the canonical public key.
func (k jwk) public(t testing.TB) []byte {
	t.Helper()
	switch k.Kty {
	case "RSA":
		return x509.MarshalPKCS1PublicKey(&rsa.PublicKey{
			N: new(big.Int).SetBytes(unbase64(t, k.N)), E: int(new(big.Int).SetBytes(unbase64(t, k.E)).Int64())})
	case "EC":
		return bytes.Join([][]byte{{4}, unbase64(t, k.X), unbase64(t, k.Y)}, nil)
	case "OKP":
		return unbase64(t, k.X)
	default:
		return unbase64(t, k.Pub)
	}
}

// private returns the canonical private key.
func (k jwk) private(t testing.TB) []byte {
	t.Helper()
	switch k.Kty {
	case "RSA":
		public, err := x509.ParsePKCS1PublicKey(k.public(t))
		if err != nil {
			t.Fatal(err)
		}
		key := &rsa.PrivateKey{PublicKey: *public, D: new(big.Int).SetBytes(unbase64(t, k.D)),
			Primes: []*big.Int{new(big.Int).SetBytes(unbase64(t, k.P)), new(big.Int).SetBytes(unbase64(t, k.Q))}}
		key.Precompute()
		return x509.MarshalPKCS1PrivateKey(key)
	case "AKP":
		return unbase64(t, k.Priv)
	default:
		return unbase64(t, k.D)
	}
}

// detach takes the payload out of a compact JWS. Parts that are missing stay so.
func detach(jws string) (string, []byte, error) {
	parts := strings.Split(jws, ".")
	if len(parts) < 2 {
		return jws, nil, nil
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	parts[1] = ""
	return strings.Join(parts, "."), payload, err
}

func TestVectorsJWS(t *testing.T) {
	file := fromTestdata[struct {
		Tests []struct {
			ID            string
			Algorithm     algs.Name
			Deterministic bool
			JWK           jwk
			JWS           string
		}
	}](t, "jws.json")
	for _, v := range file.Tests {
		t.Run(v.ID, func(t *testing.T) {
			a := vectortest.New(t, string(v.Algorithm)+" in JWS", v.ID)
			jws, payload, err := detach(v.JWS)
			if err != nil {
				t.Fatal(err)
			}
			public := mustPublic(t, v.Algorithm, v.JWK.public(t))
			a.Check("verify", true, VerifyJWS(Only(public), jws, payload))
			a.Check("another payload", false, VerifyJWS(Only(public), jws, append(payload, 0)))
			if !v.Deterministic {
				return
			}
			private := mustPrivate(t, v.Algorithm, v.JWK.private(t))
			input, o, err := JWSInput(v.Algorithm, "", v.JWK.Kid, payload)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := signDeterministic(private, input, o)
			if err == nil {
				err = vectortest.Differ("JWS", AssembleJWS(input, signature), jws)
			}
			a.Check("sign", true, err)
		})
	}
}

// TestVectorsWycheproofJWS takes the payload out of each compact JWS of Wycheproof.
func TestVectorsWycheproofJWS(t *testing.T) {
	file := vectortest.Wycheproof[struct {
		TestGroups []struct {
			Comment string
			Public  jwk
			Tests   []struct {
				TcID    int
				Comment string
				JWS     any
				Result  string
			}
		}
	}](t, "json_web_signature_test.json")
	a := vectortest.New(t, "JWS", "Wycheproof json_web_signature")
	padding := map[string]string{"RS": "RSA-PKCS1-2048", "PS": "RSA-PSS-2048"}
	for _, g := range file.TestGroups {
		for _, v := range g.Tests {
			name := algs.Name("")
			switch alg := g.Public.Alg; {
			case g.Public.Kty == "":
				a.LeaveOut("HMAC, which signs nothing")
				continue
			case alg == "":
				a.LeaveOut("about the use of a JWK, which we do not read")
				continue
			case g.Public.Kty == "RSA":
				name = algs.Name(padding[alg[:2]])
			case g.Public.Crv == "P-521":
				name = algs.ECDSAP521
			default:
				name = algs.ECDSAP256
			}
			text, compact := v.JWS.(string)
			if !compact {
				a.LeaveOut("JSON serialization, which we do not read")
				continue
			}
			jws, payload, err := detach(text)
			if err != nil {
				a.LeaveOut("about the encoding of the payload, which is not in a detached JWS")
				continue
			}
			header, _ := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[0])
			if isRSA(name) && v.Result == "invalid" && bytes.Contains(header, []byte(`"alg":"`+g.Public.Alg[:2])) &&
				!bytes.Contains(header, []byte(`"alg":"`+g.Public.Alg)) {
				a.LeaveOut("a hash other than that of the JWK: our RSA keys are bound to a padding, not to a hash")
				continue
			}
			a.Check(v.TcID, v.Result == "valid", VerifyJWS(Only(mustPublic(t, name, g.Public.public(t))), jws, payload))
		}
	}
}

func TestJWSRoundTrip(t *testing.T) {
	payload := []byte("a payload")
	for _, name := range names() {
		candidates := jwsAlgorithms[name]
		private, public := testKeys(t, name)
		if len(candidates) == 0 {
			if _, err := SignJWS(private, "", "k", payload); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s: %v", name, err)
			}
			// A header that claims another algorithm does not help.
			for _, alg := range []string{"EdDSA", "ML-DSA-65", string(name), "none"} {
				if err := VerifyJWS(Only(public), header(`{"alg":"`+alg+`"}`)+"..AAAA", payload); !errors.Is(err, ErrInvalid) {
					t.Errorf("%s as %s: %v", name, alg, err)
				}
			}
			continue
		}
		for _, c := range candidates {
			for _, kid := range []string{"", "a kid", `quote " and <html>`, "Schlüssel"} {
				jws, err := SignJWS(private, c.hash, kid, payload)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				find := func(asked string) (*PublicKey, error) {
					if asked != kid {
						t.Errorf("asked for %q, not %q", asked, kid)
					}
					return public, nil
				}
				if err := VerifyJWS(find, jws, payload); err != nil {
					t.Errorf("%s, kid %q: %v", name, kid, err)
				}
				if err := VerifyJWS(find, jws, []byte("another payload")); !errors.Is(err, ErrInvalid) {
					t.Errorf("%s, another payload: %v", name, err)
				}
			}
		}
	}
}

func header(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestJWSRefuses(t *testing.T) {
	private, public := testKeys(t, algs.Ed25519)
	payload := []byte("a payload")
	// sign gives a header a signature that is right, so that only the header can be what is refused.
	sign := func(text string) string {
		h := header(text)
		return AssembleJWS([]byte(h), mustSign(t, private, signingInput([]byte(h), payload), Options{}))
	}
	for _, text := range []string{`{"alg":"EdDSA"}`, `{"alg":"Ed25519"}`,
		` { "alg" : "EdDSA", "typ":"JOSE", "jwk":{"kty":"OKP"} } `,
		`{"alg":"EdDSA","b64":true}`, `{"\u0061lg":"EdD\u0053A"}`, `{"alg":"EdDSA","kid":""}`} {
		if err := VerifyJWS(Only(public), sign(text), payload); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	good := sign(`{"alg":"EdDSA"}`)
	h, rest, _ := strings.Cut(good, "..")
	last := rest[len(rest)-1]
	for jws, want := range map[string]error{
		sign(`{"alg":"EdDSA","alg":"EdDSA"}`):                                 fault.Malformed,
		sign(`{"alg":"EdDSA","\u0061lg":"EdDSA"}`):                            fault.Malformed,
		sign(`{"alg":"EdDSA","kid":"a","kid":"b"}`):                           fault.Malformed,
		sign(`{"alg":"EdDSA","x":{"y":1,"y":2}}`):                             fault.Malformed,
		sign(`{"alg":"EdDSA","crit":["exp"]}`):                                fault.Malformed,
		sign(`{"alg":"EdDSA","crit":[]}`):                                     fault.Malformed,
		sign(`{"alg":"EdDSA","b64":false}`):                                   fault.Malformed,
		sign(`{"alg":"EdDSA","b64":false,"crit":["b64"]}`):                    fault.Malformed,
		sign(`{"alg":"EdDSA","kid":7}`):                                       fault.Malformed,
		sign(`{"alg":"EdDSA","kid":null}`):                                    fault.Malformed,
		sign(`{"alg":"EdDSA","kid":"` + strings.Repeat("k", maxKid+1) + `"}`): fault.Malformed,
		sign(`{"alg":null}`):                                                  fault.Malformed,
		sign(`{"alg":["EdDSA"]}`):                                             fault.Malformed,
		sign(`{"alg":""}`):                                                    fault.Malformed,
		sign(`{}`):                                                            fault.Malformed,
		sign(`{"Alg":"EdDSA"}`):                                               fault.Malformed,
		sign(`null`):                                                          fault.Malformed,
		sign(`[]`):                                                            fault.Malformed,
		sign(``):                                                              fault.Malformed,
		sign(`{"alg":"EdDSA"}{}`):                                             fault.Malformed,
		sign(`{"alg":"EdDSA"`):                                                fault.Malformed,
		sign("{\"alg\":\"EdDSA\",\"x\":\"\xff\"}"):                            fault.Malformed,
		sign("\ufeff" + `{"alg":"EdDSA"}`):                                    fault.Malformed,
		sign(`{"alg":"none"}`):                                                ErrInvalid,
		sign(`{"alg":"eddsa"}`):                                               ErrInvalid,
		sign(`{"alg":"Ed448"}`):                                               ErrInvalid,
		sign(`{"alg":"ES256"}`):                                               ErrInvalid,
		sign(`{"alg":"HS256"}`):                                               ErrInvalid,
		header(`{"alg":"none"}`) + "..":                                       ErrInvalid,
		h + "..":                                                              ErrInvalid,
		"":                                                                    fault.Malformed,
		".":                                                                   fault.Malformed,
		"..":                                                                  fault.Malformed,
		"...":                                                                 fault.Malformed,
		h + "." + rest:                                                        fault.Malformed,
		good + ".":                                                            fault.Malformed,
		h + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + rest: fault.Malformed,
		h + "=.." + rest:                               fault.Malformed,
		h + "\n.." + rest:                              fault.Malformed,
		h + ".." + rest + "\n":                         fault.Malformed,
		h + ".." + rest + "==":                         fault.Malformed,
		h + ".." + rest[:len(rest)-1] + string(last+1): fault.Malformed, // bits left over
		h + ".." + rest[:40] + "\r\n" + rest[40:]:      fault.Malformed,
		h + ".." + strings.Repeat("A", maxJWS):         fault.Malformed,
	} {
		if err := VerifyJWS(Only(public), jws, payload); !errors.Is(err, want) {
			t.Errorf("%.80q: %v, want %v", jws, err, want)
		}
	}
	if last != 'A' && last != 'Q' && last != 'g' && last != 'w' {
		t.Errorf("the case of bits left over tests nothing: the signature ends in %q", last)
	}
	if err := VerifyJWS(Only(nil), good, payload); !errors.Is(err, ErrInvalid) {
		t.Errorf("no key: %v", err)
	}
	unknown := errors.New("no such key")
	if err := VerifyJWS(func(string) (*PublicKey, error) { return nil, unknown }, good, payload); !errors.Is(err, unknown) {
		t.Errorf("an error of find became %v", err)
	}
}

func TestJWSInputRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, hash algs.Name
		kid        string
		field      string
	}{
		{"none", "", "", "algorithm"},
		{algs.SLHDSASHA2128s, "", "", "algorithm"},
		{algs.Ed25519MLDSA65, "", "", "algorithm"},
		{algs.ECDSAP256, algs.SHA512, "", "hash"},
		{algs.ECDSAP256, algs.SHA3_256, "", "hash"},
		{algs.RSAPSS2048, algs.SHA3_256, "", "hash"},
		{algs.RSAPKCS12048, "SHA-1", "", "hash"},
		{algs.Ed25519, algs.SHA512, "", "hash"},
		{algs.Ed25519, "", "\xff", "kid"},
		{algs.Ed25519, "", strings.Repeat("k", maxKid+1), "kid"},
	} {
		_, _, err := JWSInput(tt.name, tt.hash, tt.kid, nil)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Malformed || f.Fields[0].Name != tt.field {
			t.Errorf("%s, %s, %.5q: %v, want the field %s", tt.name, tt.hash, tt.kid, err, tt.field)
		}
	}
}

// TestJWSOfAToken goes the way of a key that is in a token.
func TestJWSOfAToken(t *testing.T) {
	p := testPair(t, algs.ECDSAP384)
	input, o, err := JWSInput(algs.ECDSAP384, "", "kid", []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	digest, _, err := Digest(algs.ECDSAP384, input, o)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := FromToken(algs.ECDSAP384, asToken(t, algs.ECDSAP384, p.private, digest), o.Format)
	if err != nil {
		t.Fatal(err)
	}
	find := Only(mustPublic(t, algs.ECDSAP384, p.public))
	if err := VerifyJWS(find, AssembleJWS(input, signature), []byte("payload")); err != nil {
		t.Error(err)
	}
}

func FuzzVerifyJWS(f *testing.F) {
	private, public := testKeys(f, algs.Ed25519)
	payload := []byte("a payload")
	good, err := SignJWS(private, "", "kid", payload)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, "", "..", "e30..", header(`{"alg":"none"}`) + "..",
		header(`{"alg":"EdDSA","crit":["b64"],"b64":false}`) + "..AAAA",
		header(`{"alg":"EdDSA","alg":"none"}`) + "..", strings.Replace(good, "..", ".AAAA.", 1), strings.Repeat("[", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, jws string) {
		err := VerifyJWS(Only(public), jws, payload)
		if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, fault.Malformed) {
			t.Fatalf("an error of neither kind: %v", err)
		}
		if d, parseErr := parseJWS(jws); parseErr == nil {
			// What parses has one text only: the parts that were read, written again.
			if again := AssembleJWS(append(bytes.Clone(d.header), '.'), d.signature); again != jws {
				t.Fatalf("%q is written again as %q", jws, again)
			}
		}
	})
}
