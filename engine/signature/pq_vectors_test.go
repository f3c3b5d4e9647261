package signature

import (
	"errors"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

var mldsaNames = map[string]algs.Name{"44": algs.MLDSA44, "65": algs.MLDSA65, "87": algs.MLDSA87}

func TestVectorsMLDSAVerify(t *testing.T) {
	for set, name := range mldsaNames {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			file := vectortest.Wycheproof[struct {
				TestGroups []struct {
					PublicKey vectortest.Hex
					Tests     []verifyCase
				}
			}](t, "mldsa_"+set+"_verify_test.json")
			a := vectortest.New(t, string(name), "Wycheproof mldsa_"+set+"_verify")
			for _, g := range file.TestGroups {
				public, err := ParsePublic(name, g.PublicKey)
				for _, c := range g.Tests {
					if err != nil {
						a.Check(c.TcID, c.Result == "valid", err)
						continue
					}
					a.Check(c.TcID, c.Result == "valid", public.Verify(c.Msg, c.Sig, Options{Context: c.Ctx}))
				}
			}
		})
	}
}

func TestVectorsMLDSASign(t *testing.T) {
	type group struct {
		Seed      vectortest.Hex `json:"privateSeed"`
		PKCS8     vectortest.Hex `json:"privateKeyPkcs8"`
		PublicKey vectortest.Hex
		Tests     []verifyCase
	}
	for set, name := range mldsaNames {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			seeds := vectortest.Wycheproof[struct{ TestGroups []group }](t, "mldsa_"+set+"_sign_seed_test.json")
			a := vectortest.New(t, string(name), "Wycheproof mldsa_"+set+"_sign_seed")
			for _, g := range seeds.TestGroups {
				private, err := ParsePrivate(name, g.Seed)
				if err == nil && len(g.PKCS8) > 0 {
					_, imported, importErr := ImportPKCS8(name, g.PKCS8)
					if importErr == nil {
						importErr = vectortest.Differ("imported seed", string(imported), string(g.Seed))
					}
					err = importErr
				}
				for _, c := range g.Tests {
					switch {
					case err != nil:
						a.Check(c.TcID, c.Result == "valid", err)
						continue
					case c.has("Internal"):
						a.LeaveOut("signs mu, which only the internal interface takes")
						continue
					case c.has("Randomized"):
						a.Check(c.TcID, c.Result == "valid", mustPublic(t, name, g.PublicKey).Verify(c.Msg, c.Sig, Options{Context: c.Ctx}))
						continue
					}
					signature, err := signDeterministic(private, c.Msg, Options{Context: c.Ctx})
					if err == nil {
						err = errors.Join(vectortest.Differ("signature", string(signature), string(c.Sig)),
							vectortest.Differ("public key", string(private.Public()), string(g.PublicKey)))
					}
					a.Check(c.TcID, c.Result == "valid", err)
				}
			}
			// The private keys of these are expanded; we keep seeds. What they signed must verify all the same.
			expanded := vectortest.Wycheproof[struct{ TestGroups []group }](t, "mldsa_"+set+"_sign_noseed_test.json")
			b := vectortest.New(t, string(name), "Wycheproof mldsa_"+set+"_sign_noseed, verified")
			for _, g := range expanded.TestGroups {
				public, err := ParsePublic(name, g.PublicKey)
				for _, c := range g.Tests {
					switch {
					case c.Result != "valid":
						b.LeaveOut("refuses an expanded private key or its context, and no signature is there to verify")
					case c.has("Internal"):
						b.LeaveOut("signs mu, which only the internal interface takes")
					case len(g.PublicKey) == 0:
						b.LeaveOut("no public key beside the expanded private key")
					case err != nil:
						b.Check(c.TcID, true, err)
					default:
						b.Check(c.TcID, true, public.Verify(c.Msg, c.Sig, Options{Context: c.Ctx}))
					}
				}
			}
		})
	}
}

// acvp is a file of NIST's ACVP server, the prompts or the results.
type acvp[T any] struct {
	TestGroups []struct {
		TgID               int
		ParameterSet       string
		Deterministic      bool
		SignatureInterface string
		PreHash            string
		Tests              []T
	}
}

func TestVectorsMLDSAACVP(t *testing.T) {
	const module, folder = "github.com/cloudflare/circl", "sign/mldsa/testdata/ML-DSA-"
	type key struct {
		TcID int
		Seed vectortest.Hex
		PK   vectortest.Hex
		SK   vectortest.Hex
	}
	prompt := vectortest.Module[acvp[key]](t, module, folder+"keyGen-FIPS204/prompt.json.gz")
	want := map[int]key{}
	for _, g := range vectortest.Module[acvp[key]](t, module, folder+"keyGen-FIPS204/expectedResults.json.gz").TestGroups {
		for _, k := range g.Tests {
			want[k.TcID] = k
		}
	}
	accounts := map[string]*vectortest.Account{}
	for _, g := range prompt.TestGroups {
		name := algs.Name(g.ParameterSet)
		a := vectortest.New(t, g.ParameterSet, "ACVP ML-DSA keyGen, sigGen, sigVer FIPS204")
		accounts[g.ParameterSet] = a
		for _, k := range g.Tests {
			private, err := ParsePrivate(name, k.Seed)
			if err == nil {
				expanded, expandErr := expandedMLDSA(name, k.Seed)
				err = errors.Join(expandErr, vectortest.Differ("public key", string(private.Public()), string(want[k.TcID].PK)),
					vectortest.Differ("expanded key", string(expanded), string(want[k.TcID].SK)))
			}
			a.Check(k.TcID, true, err)
		}
	}
	for _, part := range []string{"sigGen", "sigVer"} {
		for _, g := range vectortest.Module[acvp[struct{ TcID int }]](t, module, folder+part+"-FIPS204/prompt.json.gz").TestGroups {
			for range g.Tests {
				accounts[g.ParameterSet].LeaveOut(part + " of the internal interface, without domain and context: not in the library")
			}
		}
	}
}

func expandedMLDSA(name algs.Name, seed []byte) ([]byte, error) {
	return schemes[name].(interface {
		expanded(seed []byte) ([]byte, error)
	}).expanded(seed)
}

const slhdsaFolder = "sign/slhdsa/testdata/"

type slhdsaCase struct {
	TcID                  int
	SKSeed, SKPrf, PKSeed vectortest.Hex
	SK, PK                vectortest.Hex
	Message, Context      vectortest.Hex
	Signature             vectortest.Hex
	AdditionalRandomness  vectortest.Hex
	TestPassed            bool
}

// slhdsaResults returns the cases of a results file by number.
func slhdsaResults(t *testing.T, file string) map[int]slhdsaCase {
	t.Helper()
	byID := map[int]slhdsaCase{}
	for _, g := range vectortest.Module[acvp[slhdsaCase]](t, "github.com/cloudflare/circl", slhdsaFolder+file).TestGroups {
		for _, c := range g.Tests {
			byID[c.TcID] = c
		}
	}
	return byID
}

func TestVectorsSLHDSAKeyGen(t *testing.T) {
	t.Parallel()
	prompt := vectortest.Module[acvp[slhdsaCase]](t, "github.com/cloudflare/circl", slhdsaFolder+"keyGen_prompt.json.gz")
	want := slhdsaResults(t, "keyGen_results.json.gz")
	for _, g := range prompt.TestGroups {
		if slowsDown(algs.Name(g.ParameterSet)) {
			continue
		}
		a := vectortest.New(t, g.ParameterSet, "ACVP SLH-DSA keyGen FIPS205")
		scheme := schemes[algs.Name(g.ParameterSet)].(*slhdsaScheme)
		for i, c := range g.Tests {
			if strings.HasSuffix(g.ParameterSet, "s") && i >= 1 {
				a.LeaveOut("trimmed: slow")
				continue
			}
			seeds := strings.NewReader(string(c.SKSeed) + string(c.SKPrf) + string(c.PKSeed))
			public, private, err := scheme.pair(seeds)
			if err == nil {
				err = errors.Join(vectortest.Differ("public key", string(public), string(want[c.TcID].PK)),
					vectortest.Differ("private key", string(private), string(want[c.TcID].SK)))
			}
			a.Check(c.TcID, true, err)
		}
	}
}

// leftOutSLHDSA tells why a case is not one of pure SLH-DSA, empty when it is.
func leftOutSLHDSA(signatureInterface, preHash string) string {
	switch {
	case signatureInterface != "external":
		return "internal interface, without domain and context, which the library does not offer"
	case preHash != "pure":
		return "HashSLH-DSA, which is not offered"
	default:
		return ""
	}
}

// TestVectorsSLHDSASign signs a few cases of each set, and verifies the signatures of all.
func TestVectorsSLHDSASign(t *testing.T) {
	t.Parallel()
	prompt := vectortest.Module[acvp[slhdsaCase]](t, "github.com/cloudflare/circl", slhdsaFolder+"sigGen_prompt.json.gz")
	want := slhdsaResults(t, "sigGen_results.json.gz")
	signed, verified := map[string]*vectortest.Account{}, map[string]*vectortest.Account{}
	budget := map[string]int{"SLH-DSA-SHA2-128f": 3, "SLH-DSA-SHA2-192f": 2, "SLH-DSA-SHA2-256f": 2, "SLH-DSA-SHAKE-128f": 2}
	for _, g := range prompt.TestGroups {
		set, name := g.ParameterSet, algs.Name(g.ParameterSet)
		if slowsDown(name) {
			continue
		}
		if signed[set] == nil {
			signed[set] = vectortest.New(t, set, "ACVP SLH-DSA sigGen FIPS205, signed")
			verified[set] = vectortest.New(t, set, "ACVP SLH-DSA sigGen FIPS205, verified")
			if budget[set] == 0 || slowed {
				budget[set] = 1
			}
		}
		for _, c := range g.Tests {
			if reason := leftOutSLHDSA(g.SignatureInterface, g.PreHash); reason != "" {
				signed[set].LeaveOut(reason)
				continue
			}
			private := mustPrivate(t, name, c.SK)
			o := Options{Context: c.Context}
			verified[set].Check(c.TcID, true, mustPublic(t, name, private.Public()).Verify(c.Message, want[c.TcID].Signature, o))
			switch {
			case !g.Deterministic:
				signed[set].LeaveOut("randomised, and the randomness cannot be given; its signature is verified")
			case budget[set] == 0:
				signed[set].LeaveOut("trimmed: slow; its signature is verified")
			default:
				budget[set]--
				signature, err := signDeterministic(private, c.Message, o)
				if err == nil {
					err = vectortest.Differ("signature", string(signature), string(want[c.TcID].Signature))
				}
				signed[set].Check(c.TcID, true, err)
			}
		}
	}
}

func TestVectorsSLHDSAVerify(t *testing.T) {
	t.Parallel()
	prompt := vectortest.Module[acvp[slhdsaCase]](t, "github.com/cloudflare/circl", slhdsaFolder+"verify_prompt.json.gz")
	want := slhdsaResults(t, "verify_results.json.gz")
	accounts := map[string]*vectortest.Account{}
	for _, g := range prompt.TestGroups {
		set, name := g.ParameterSet, algs.Name(g.ParameterSet)
		if accounts[set] == nil {
			accounts[set] = vectortest.New(t, set, "ACVP SLH-DSA sigVer FIPS205")
		}
		for _, c := range g.Tests {
			if reason := leftOutSLHDSA(g.SignatureInterface, g.PreHash); reason != "" {
				accounts[set].LeaveOut(reason)
				continue
			}
			err := mustPublic(t, name, c.PK).Verify(c.Message, c.Signature, Options{Context: c.Context})
			accounts[set].Check(c.TcID, want[c.TcID].TestPassed, err)
		}
	}
}
