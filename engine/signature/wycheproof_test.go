package signature

import (
	"strconv"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// hashOfWycheproof translates the names of hash functions.
var hashOfWycheproof = map[string]algs.Name{
	"SHA-256": algs.SHA256, "SHA-384": algs.SHA384, "SHA-512": algs.SHA512,
	"SHA3-256": algs.SHA3_256, "SHA3-384": algs.SHA3_384, "SHA3-512": algs.SHA3_512,
}

// verifyCase is a case of every Wycheproof file about signatures.
type verifyCase struct {
	TcID     int
	Flags    []string
	Msg, Sig vectortest.Hex
	Ctx      vectortest.Hex
	Result   string
}

func (c verifyCase) has(flag string) bool {
	for _, f := range c.Flags {
		if f == flag {
			return true
		}
	}
	return false
}

func TestVectorsEd25519(t *testing.T) {
	file := vectortest.Wycheproof[struct {
		TestGroups []struct {
			PublicKey struct{ PK vectortest.Hex }
			Tests     []verifyCase
		}
	}](t, "ed25519_test.json")
	a := vectortest.New(t, string(algs.Ed25519), "Wycheproof ed25519")
	for _, g := range file.TestGroups {
		public := mustPublic(t, algs.Ed25519, g.PublicKey.PK)
		for _, c := range g.Tests {
			a.Check(c.TcID, c.Result == "valid", public.Verify(c.Msg, c.Sig, Options{}))
		}
	}

	rfc := fromTestdata[struct {
		Tests []struct {
			ID                               string
			Seed, Public, Message, Signature vectortest.Hex
			Prehash                          bool
		}
	}](t, "rfc8032.json")
	b := vectortest.New(t, string(algs.Ed25519), "RFC 8032")
	for _, v := range rfc.Tests {
		private, public := mustPrivate(t, algs.Ed25519, v.Seed), mustPublic(t, algs.Ed25519, v.Public)
		b.Check(v.ID+", public key", true, vectortest.Differ("public key", string(private.Public()), string(v.Public)))
		message, o := []byte(v.Message), Options{Prehashed: v.Prehash}
		if v.Prehash {
			h := hashes[algs.SHA512].New()
			h.Write(message)
			message = h.Sum(nil)
		}
		signature, err := private.Sign(message, o)
		if err == nil {
			err = vectortest.Differ("signature", string(signature), string(v.Signature))
		}
		b.Check(v.ID+", sign", true, err)
		b.Check(v.ID+", verify", true, public.Verify(message, v.Signature, o))
	}
}

// TestVectorsECDSA takes every file about our curves, in both formats.
func TestVectorsECDSA(t *testing.T) {
	for curve, name := range map[string]algs.Name{
		"secp256r1": algs.ECDSAP256, "secp384r1": algs.ECDSAP384, "secp521r1": algs.ECDSAP521,
	} {
		t.Run(curve, func(t *testing.T) {
			t.Parallel()
			a := vectortest.New(t, string(name), "Wycheproof ecdsa_"+curve)
			for _, hash := range map[string][]string{
				"secp256r1": {"sha256", "sha256_p1363", "sha512", "sha512_p1363", "sha3_256", "sha3_512", "shake128", "shake128_p1363"},
				"secp384r1": {"sha256", "sha384", "sha384_p1363", "sha512", "sha512_p1363", "sha3_384", "sha3_512",
					"shake256", "shake256_p1363"},
				"secp521r1": {"sha512", "sha512_p1363", "sha3_512", "shake256", "shake256_p1363"},
			}[curve] {
				checkECDSA(t, a, name, "ecdsa_"+curve+"_"+hash+"_test.json")
			}
		})
	}
}

func checkECDSA(t *testing.T, a *vectortest.Account, name algs.Name, file string) {
	t.Helper()
	groups := vectortest.Wycheproof[struct {
		TestGroups []struct {
			PublicKey struct{ Uncompressed vectortest.Hex }
			Sha       string
			Tests     []verifyCase
		}
	}](t, file).TestGroups
	o := Options{Format: FormatDER}
	if strings.Contains(file, "p1363") {
		o.Format = FormatRaw
	}
	for _, g := range groups {
		public := mustPublic(t, name, g.PublicKey.Uncompressed)
		var known bool
		o.Hash, known = hashOfWycheproof[g.Sha]
		for _, c := range g.Tests {
			switch {
			case !known:
				a.LeaveOut("signed with " + g.Sha + ", which is no choice")
			case hashes[o.Hash].Size() < schemes[name].(*ecdsaScheme).least:
				a.LeaveOut("the hash is weaker than the curve, which the options refuse")
			default:
				a.Check(file+" "+strconv.Itoa(c.TcID), c.Result == "valid", public.Verify(c.Msg, c.Sig, o))
			}
		}
	}
}

type rsaGroup struct {
	KeySize      int
	PublicKeyAsn vectortest.Hex
	PKCS8        vectortest.Hex `json:"privateKeyPkcs8"`
	Sha          string
	Mgf, MgfSha  string
	SLen         int
	Tests        []verifyCase
}

type rsaFile struct{ TestGroups []rsaGroup }

// leftOut tells why a group is not about what we do, empty when it is.
func (g rsaGroup) leftOut(name algs.Name) string {
	hash, known := hashOfWycheproof[g.Sha]
	switch {
	case !known:
		return "signed with " + g.Sha + ", which is no choice"
	case g.Mgf == "MGF1" && g.MgfSha != g.Sha:
		return "another hash in MGF1 than for the message"
	case g.Mgf == "MGF1" && g.SLen != hashes[hash].Size():
		return "a salt that is not as long as the hash"
	case schemes[name].(rsaScheme).bits != g.KeySize:
		return "a key of another size"
	default:
		return ""
	}
}

// checkRSA verifies the cases of a file. What Wycheproof calls acceptable must be refused: it has an encoding that a strict
// verifier does not know, such as a missing NULL.
func checkRSA(t *testing.T, a *vectortest.Account, name algs.Name, file string) {
	t.Helper()
	for _, g := range vectortest.Wycheproof[rsaFile](t, file).TestGroups {
		reason := g.leftOut(name)
		public, err := ParsePublic(name, g.PublicKeyAsn)
		for _, c := range g.Tests {
			switch {
			case reason != "":
				a.LeaveOut(reason)
			case err != nil && c.has("SmallPublicKey"):
				a.LeaveOut("a public exponent below 65537")
			case err != nil:
				a.Check(file+" "+strconv.Itoa(c.TcID), c.Result == "valid", err)
			default:
				err := public.Verify(c.Msg, c.Sig, Options{Hash: hashOfWycheproof[g.Sha]})
				a.Check(file+" "+strconv.Itoa(c.TcID), c.Result == "valid", err)
			}
		}
	}
}

// TestVectorsRSAPKCS1 verifies what files of three sizes hold, and signs the messages of those that have private keys.
func TestVectorsRSAPKCS1(t *testing.T) {
	for size, hashNames := range map[string][]string{
		"2048": {"sha224", "sha256", "sha384", "sha512", "sha512_224", "sha512_256", "sha3_224", "sha3_256", "sha3_384", "sha3_512"},
		"3072": {"sha256", "sha384", "sha512", "sha512_256", "sha3_256", "sha3_384", "sha3_512"},
		"4096": {"sha256", "sha384", "sha512", "sha512_256"},
	} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			name := algs.Name("RSA-PKCS1-" + size)
			a := vectortest.New(t, string(name), "Wycheproof rsa_signature_"+size)
			for _, hash := range hashNames {
				checkRSA(t, a, name, "rsa_signature_"+size+"_"+hash+"_test.json")
			}
			b := vectortest.New(t, string(name), "Wycheproof rsa_pkcs1_"+size+"_sig_gen")
			for _, g := range vectortest.Wycheproof[rsaFile](t, "rsa_pkcs1_"+size+"_sig_gen_test.json").TestGroups {
				reason := g.leftOut(name)
				_, private, importErr := ImportPKCS8(name, g.PKCS8)
				for _, c := range g.Tests {
					switch {
					case reason != "":
						b.LeaveOut(reason)
					case importErr != nil && c.has("SmallPublicKey"):
						b.LeaveOut("a public exponent below 65537")
					case importErr != nil:
						b.Check(c.TcID, true, importErr)
					default:
						signature, err := mustPrivate(t, name, private).Sign(c.Msg, Options{Hash: hashOfWycheproof[g.Sha]})
						if err == nil {
							err = vectortest.Differ("signature", string(signature), string(c.Sig))
						}
						b.Check(c.TcID, true, err)
					}
				}
			}
		})
	}
}

func TestVectorsRSAPSS(t *testing.T) {
	for size, kinds := range map[string][]string{
		"2048": {"sha1_mgf1_20", "sha256_mgf1_0", "sha256_mgf1_32", "sha256_mgf1sha1_20", "sha384_mgf1_48", "sha512_224_mgf1_28",
			"sha512_256_mgf1_32", "shake128", "shake256"},
		"3072": {"sha256_mgf1_32", "shake128", "shake256"},
		"4096": {"sha256_mgf1_32", "sha384_mgf1_48", "sha512_mgf1_32", "sha512_mgf1_64", "shake256"},
	} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			name := algs.Name("RSA-PSS-" + size)
			a := vectortest.New(t, string(name), "Wycheproof rsa_pss_"+size)
			for _, kind := range kinds {
				checkRSA(t, a, name, "rsa_pss_"+size+"_"+kind+"_test.json")
			}
			if size == "2048" {
				checkRSA(t, a, name, "rsa_pss_misc_test.json")
			}
		})
	}
}
