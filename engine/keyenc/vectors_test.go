package keyenc

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

func fromTestdata[T any](t testing.TB, name string) T {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVectorsPEM reads the examples of RFCs and writes them again.
func TestVectorsPEM(t *testing.T) {
	for _, v := range fromTestdata[struct {
		Tests []struct {
			ID        string
			Algorithm algs.Name
			PEM       string
		}
	}](t, "spki.json").Tests {
		a := vectortest.New(t, string(v.Algorithm)+" in PEM", v.ID)
		public, err := ParsePEM(v.Algorithm, []byte(v.PEM))
		a.Check("read", true, err)
		text, err := PEM(v.Algorithm, public)
		if err == nil {
			err = vectortest.Differ("PEM", string(text), v.PEM)
		}
		a.Check("write", true, err)
	}
}

// same compares the members of a JWK with those of another, apart from some.
func same(got []byte, want map[string]any, apart ...string) error {
	var m map[string]any
	if err := json.Unmarshal(got, &m); err != nil {
		return err
	}
	for _, name := range apart {
		delete(m, name)
		delete(want, name)
	}
	if len(m) != len(want) {
		return errors.New("other members")
	}
	for name, value := range want {
		if m[name] != value {
			return errors.New("another " + name)
		}
	}
	return nil
}

// canonical returns the key in a JWK, which keyenc itself does not read.
func canonical(t testing.TB, jwk map[string]any) []byte {
	t.Helper()
	part := func(name string) []byte {
		text, _ := jwk[name].(string)
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	switch jwk["kty"] {
	case "OKP":
		return part("x")
	case "EC":
		return bytes.Join([][]byte{{4}, part("x"), part("y")}, nil)
	case "AKP":
		return part("pub")
	default:
		return rsaDER(part("n"), part("e"))
	}
}

// TestVectorsJWK writes the keys of RFCs and compares their thumbprints.
func TestVectorsJWK(t *testing.T) {
	for _, v := range fromTestdata[struct {
		Tests []struct {
			ID         string
			Algorithm  algs.Name
			JWK        map[string]any
			Thumbprint string
		}
	}](t, "jwk.json").Tests {
		a := vectortest.New(t, string(v.Algorithm)+" in JWK", v.ID)
		public := canonical(t, v.JWK)
		got, err := JWK(v.Algorithm, "", public)
		if err == nil {
			err = same(got, v.JWK, "use")
		}
		a.Check("JWK", true, err)
		if v.Thumbprint == "" {
			continue
		}
		thumbprint, err := Thumbprint(v.Algorithm, public)
		if err == nil {
			err = vectortest.Differ("thumbprint", thumbprint, v.Thumbprint)
		}
		a.Check("thumbprint", true, err)
	}
}

// TestVectorsWycheproofKeys takes the public keys of Wycheproof's signature files, which give each in several forms.
func TestVectorsWycheproofKeys(t *testing.T) {
	for file, name := range map[string]algs.Name{
		"ed25519_test.json":                      algs.Ed25519,
		"ecdsa_secp256r1_sha256_p1363_test.json": algs.ECDSAP256,
		"ecdsa_secp384r1_sha384_p1363_test.json": algs.ECDSAP384,
		"ecdsa_secp521r1_sha512_p1363_test.json": algs.ECDSAP521,
		"rsa_signature_2048_sha256_test.json":    algs.RSAPKCS12048,
		"rsa_pss_3072_sha256_mgf1_32_test.json":  algs.RSAPSS3072,
		"rsa_pss_4096_sha256_mgf1_32_test.json":  algs.RSAPSS4096,
		"mldsa_44_verify_test.json":              algs.MLDSA44,
		"mldsa_65_verify_test.json":              algs.MLDSA65,
		"mldsa_87_verify_test.json":              algs.MLDSA87,
	} {
		t.Run(file, func(t *testing.T) {
			a := vectortest.New(t, string(name)+" public keys", "Wycheproof "+strings.TrimSuffix(file, "_test.json"))
			for i, g := range vectortest.Wycheproof[struct {
				TestGroups []struct {
					PublicKey    any
					PublicKeyAsn vectortest.Hex
					PublicKeyDER vectortest.Hex `json:"publicKeyDer"`
					PublicKeyPEM string         `json:"publicKeyPem"`
					PublicKeyJWK map[string]any `json:"publicKeyJwk"`
					Tests        []struct{ Flags []string }
				}
			}](t, file).TestGroups {
				if len(g.PublicKeyDER) == 0 {
					a.LeaveOut("no SubjectPublicKeyInfo beside the key")
					continue
				}
				public, err := ParseSPKI(name, g.PublicKeyDER)
				if err != nil && strings.Contains(err.Error(), "exponent") {
					a.LeaveOut("a public exponent below 65537")
					continue
				}
				if about(g.Tests[0].Flags, "IncorrectPublicKeyLength") {
					a.Check(i, false, err)
					continue
				}
				if err == nil && len(g.PublicKeyAsn) > 0 {
					err = vectortest.Differ("RSAPublicKey", string(public), string(g.PublicKeyAsn))
				}
				a.Check(i, true, err)
				again, err := MarshalSPKI(name, public)
				if err == nil {
					err = vectortest.Differ("SubjectPublicKeyInfo", string(again), string(g.PublicKeyDER))
				}
				a.Check(i, true, err)
				if g.PublicKeyPEM != "" {
					fromPEM, err := ParsePEM(name, []byte(g.PublicKeyPEM))
					if err == nil {
						err = vectortest.Differ("key in PEM", string(fromPEM), string(public))
					}
					a.Check(i, true, err)
				}
				if g.PublicKeyJWK != nil {
					jwk, err := JWK(name, "none", public)
					if err == nil {
						err = same(jwk, g.PublicKeyJWK, "use", "alg")
					}
					a.Check(i, true, err)
				}
			}
		})
	}
}

// TestVectorsWycheproofSPKI reads public keys of files about key agreement. What Wycheproof calls acceptable must parse only if
// it is the one text that we would write: not a compressed point, a curve by its parameters or a long form of a length.
func TestVectorsWycheproofSPKI(t *testing.T) {
	type testCase struct {
		TcID            int
		Public, Comment string
		Flags           []string
		Result          string
	}
	for file, name := range map[string]algs.Name{
		"ecdh_secp256r1_test.json": algs.ECDHP256, "ecdh_secp256r1_pem_test.json": algs.ECDHP256,
		"ecdh_secp384r1_test.json": algs.ECDHP384, "ecdh_secp384r1_pem_test.json": algs.ECDHP384,
		"x25519_asn_test.json": algs.X25519, "x25519_pem_test.json": algs.X25519,
	} {
		t.Run(file, func(t *testing.T) {
			a := vectortest.New(t, string(name)+" public keys", "Wycheproof "+strings.TrimSuffix(file, "_test.json"))
			for _, g := range vectortest.Wycheproof[struct {
				TestGroups []struct{ Tests []testCase }
			}](t, file).TestGroups {
				for _, c := range g.Tests {
					public, der, err := parseEither(t, name, file, c.Public)
					if c.Result == "invalid" {
						if about(c.Flags, "MissingOctetString") {
							a.LeaveOut("about the encoding of the private key")
							continue
						}
						a.Check(c.TcID, false, err)
						continue
					}
					// Valid, or acceptable and exactly what we write: x25519 keys of low order have a valid encoding.
					standard := c.Result == "valid" || crypto509Writes(der)
					if err == nil {
						again, writeErr := MarshalSPKI(name, public)
						err = errors.Join(writeErr, vectortest.Differ("SubjectPublicKeyInfo", string(again), string(der)))
					}
					a.Check(c.TcID, standard, err)
				}
			}
		})
	}
}

func about(flags []string, flag string) bool {
	for _, f := range flags {
		if f == flag {
			return true
		}
	}
	return false
}

// parseEither parses PEM or DER in hex, as the file has it, and returns the DER too.
func parseEither(t *testing.T, name algs.Name, file, text string) (public, der []byte, err error) {
	t.Helper()
	if strings.Contains(file, "_pem_") {
		if block, _ := pem.Decode([]byte(text)); block != nil {
			der = block.Bytes
		}
		public, err = ParsePEM(name, []byte(text))
		return public, der, err
	}
	var h vectortest.Hex
	if err := h.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	public, err = ParseSPKI(name, h)
	return public, h, err
}

// crypto509Writes reports whether crypto/x509 reads the DER and writes the same.
func crypto509Writes(der []byte) bool {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return false
	}
	again, err := x509.MarshalPKIXPublicKey(key)
	return err == nil && bytes.Equal(again, der)
}

// TestVectorsMLKEMKeys tries encapsulation keys whose coefficients are not reduced.
func TestVectorsMLKEMKeys(t *testing.T) {
	for set, name := range map[string]algs.Name{"512": algs.MLKEM512, "768": algs.MLKEM768, "1024": algs.MLKEM1024} {
		a := vectortest.New(t, string(name)+" public keys", "Wycheproof mlkem_"+set+"_encaps")
		for _, g := range vectortest.Wycheproof[struct {
			TestGroups []struct {
				Tests []struct {
					TcID   int
					EK     vectortest.Hex
					Result string
				}
			}
		}](t, "mlkem_"+set+"_encaps_test.json").TestGroups {
			for _, c := range g.Tests {
				_, err := MarshalSPKI(name, c.EK)
				a.Check(c.TcID, c.Result == "valid", err)
			}
		}
	}
}
