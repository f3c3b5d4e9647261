package kem

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"errors"
	"fmt"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

const circl = "github.com/cloudflare/circl"

// expandSeed gives the expanded key of an ML-KEM seed.
func expandSeed(name algs.Name, seed []byte) ([]byte, error) {
	return schemes[name].(interface{ expand([]byte) ([]byte, error) }).expand(seed)
}

// encapsulateWith is Encapsulate with the randomness m of FIPS 203 algorithm 17, on the key as Encapsulate parses it.
func encapsulateWith(name algs.Name, public, m []byte) (ciphertext, secret []byte, err error) {
	key, err := ParsePublic(name, public)
	if err != nil {
		return nil, nil, err
	}
	switch k := key.key.(type) {
	case circlPublic:
		return k.kem.EncapsulateDeterministically(k.key, m)
	case modulePublic:
		switch ek := k.key.(type) {
		case *mlkem.EncapsulationKey768:
			secret, ciphertext, err = mlkemtest.Encapsulate768(ek, m)
		case *mlkem.EncapsulationKey1024:
			secret, ciphertext, err = mlkemtest.Encapsulate1024(ek, m)
		}
		return ciphertext, secret, err
	default:
		return nil, nil, errors.New("not an encapsulation key")
	}
}

func decapsulate(name algs.Name, private, ciphertext []byte) ([]byte, error) {
	key, err := ParsePrivate(name, private)
	if err != nil {
		return nil, err
	}
	return key.Decapsulate(ciphertext)
}

func decapsulateExpanded(name algs.Name, expanded, ciphertext []byte) ([]byte, error) {
	key, err := ParseExpanded(name, expanded)
	if err != nil {
		return nil, err
	}
	return key.Decapsulate(ciphertext)
}

func same(what string, err error, got, want []byte) error {
	if err != nil {
		return err
	}
	return vectortest.Differ(what, string(got), string(want))
}

// keyOf checks that a private key has this public key.
func keyOf(name algs.Name, private, public []byte) error {
	key, err := ParsePrivate(name, private)
	if err != nil {
		return err
	}
	return same("the public key", CheckPublic(name, public), key.Public(), public)
}

type mlkemFile struct {
	TestGroups []struct {
		ParameterSet algs.Name
		Tests        []struct {
			TcID   int
			Seed   vectortest.Hex
			Ek     vectortest.Hex
			Dk     vectortest.Hex
			M      vectortest.Hex
			C      vectortest.Hex
			K      vectortest.Hex
			Result string
		}
	}
}

func TestVectorsMLKEMWycheproof(t *testing.T) {
	for name, n := range map[algs.Name]string{algs.MLKEM512: "512", algs.MLKEM768: "768", algs.MLKEM1024: "1024"} {
		a := vectortest.New(t, string(name), "Wycheproof")
		for _, kind := range []string{"", "_keygen_seed", "_encaps", "_semi_expanded_decaps"} {
			file := "mlkem_" + n + kind + "_test.json"
			for _, g := range vectortest.Wycheproof[mlkemFile](t, file).TestGroups {
				if g.ParameterSet != name {
					t.Fatalf("%s is of %s", file, g.ParameterSet)
				}
				for _, c := range g.Tests {
					var err error
					var got []byte
					switch kind {
					case "":
						got, err = decapsulate(name, c.Seed, c.C)
						if err = same("the secret", err, got, c.K); err == nil {
							err = keyOf(name, c.Seed, c.Ek)
						}
					case "_keygen_seed":
						if err = keyOf(name, c.Seed, c.Ek); err == nil {
							got, err = expandSeed(name, c.Seed)
							err = same("the expanded key", err, got, c.Dk)
						}
					case "_encaps":
						var secret []byte
						got, secret, err = encapsulateWith(name, c.Ek, c.M)
						if err = same("the ciphertext", err, got, c.C); err == nil {
							err = same("the secret", err, secret, c.K)
						}
					case "_semi_expanded_decaps":
						got, err = decapsulateExpanded(name, c.Dk, c.C)
						err = same("the secret", err, got, c.K)
					}
					a.Check(fmt.Sprint(file, " ", c.TcID), c.Result == "valid", err)
				}
			}
		}
	}
}

type acvpFile struct {
	TestGroups []struct {
		TestType     string
		ParameterSet algs.Name
		Dk           vectortest.Hex
		Tests        []struct {
			TcID                  int
			Z, D, Ek, Dk, M, C, K vectortest.Hex
		}
	}
}

func TestVectorsMLKEMACVP(t *testing.T) {
	accounts := map[algs.Name]*vectortest.Account{}
	for _, name := range []algs.Name{algs.MLKEM512, algs.MLKEM768, algs.MLKEM1024} {
		accounts[name] = vectortest.New(t, string(name), "ACVP")
	}
	for _, part := range []string{"keyGen", "encapDecap"} {
		folder := "kem/mlkem/testdata/ML-KEM-" + part + "-FIPS203/"
		prompt := vectortest.Module[acvpFile](t, circl, folder+"prompt.json.gz")
		results := vectortest.Module[acvpFile](t, circl, folder+"expectedResults.json.gz")
		for i, g := range prompt.TestGroups {
			name := g.ParameterSet
			for j, c := range g.Tests {
				want := results.TestGroups[i].Tests[j]
				if want.TcID != c.TcID {
					t.Fatal("prompt and results have different orders")
				}
				var err error
				var got []byte
				switch {
				case part == "keyGen":
					seed := append(bytes.Clone(c.D), c.Z...)
					if err = keyOf(name, seed, want.Ek); err == nil {
						got, err = expandSeed(name, seed)
						err = same("the expanded key", err, got, want.Dk)
					}
					if err == nil {
						_, err = ParseExpanded(name, want.Dk)
					}
				case g.TestType == "AFT":
					var secret []byte
					got, secret, err = encapsulateWith(name, c.Ek, c.M)
					if err = same("the ciphertext", err, got, want.C); err == nil {
						err = same("the secret", err, secret, want.K)
					}
				default:
					got, err = decapsulateExpanded(name, g.Dk, c.C)
					err = same("the secret", err, got, want.K)
				}
				accounts[name].Check(fmt.Sprint(part, " ", c.TcID), true, err)
			}
		}
	}
}

type xwingFile struct {
	PKCS8   vectortest.Hex `json:"pkcs8_hex"`
	Public  vectortest.Hex `json:"pkcs8_public_hex"`
	Vectors []struct{ Seed, Eseed, SS, SK, PK, CT vectortest.Hex }
}

func TestVectorsXWing(t *testing.T) {
	file := readTestdata[xwingFile](t, "xwing.json")
	for _, name := range []algs.Name{algs.XWing, algs.X25519MLKEM768AES256GCM} {
		a := vectortest.New(t, string(name), "draft-connolly-cfrg-xwing-kem")
		for i, v := range file.Vectors {
			err := keyOf(name, v.SK, v.PK)
			if err == nil {
				var secret, ciphertext []byte
				ciphertext, secret, err = encapsulateWith(name, v.PK, v.Eseed)
				if err = same("the ciphertext", err, ciphertext, v.CT); err == nil {
					err = same("the secret", err, secret, v.SS)
				}
			}
			a.Check(fmt.Sprint("encapsulate ", i), true, err)
			got, err := decapsulate(name, v.SK, v.CT)
			a.Check(fmt.Sprint("decapsulate ", i), true, same("the secret", err, got, v.SS))
		}
		public, private, err := ImportPKCS8(name, file.PKCS8)
		if err = same("the public key", err, public, file.Public); err == nil {
			err = keyOf(name, private, file.Public)
		}
		a.Check("PKCS #8", true, err)
	}
}

// TestVectorsOriginalHybrid decapsulates, with the expanded keys that the public original of the system stored, what it
// encapsulated.
func TestVectorsOriginalHybrid(t *testing.T) {
	file := readTestdata[struct {
		Keys []struct {
			Mode     algs.Name
			Public   vectortest.Hex `json:"public_hex"`
			Expanded vectortest.Hex `json:"expanded_private_hex"`
		}
		Encapsulations []struct {
			ID         string
			Mode       algs.Name
			Ciphertext vectortest.Hex `json:"ciphertext_hex"`
			Secret     vectortest.Hex `json:"shared_secret_hex"`
		}
	}](t, "original-hybrid.json")
	a := vectortest.New(t, string(algs.AES256GCMMLKEM768), "the public original")
	for _, k := range file.Keys {
		key, err := ParseExpanded(k.Mode, k.Expanded)
		if err != nil {
			t.Fatal(err)
		}
		a.Check("key", true, same("the public key", CheckPublic(k.Mode, k.Public), key.Public(), k.Public))
		for _, c := range file.Encapsulations {
			if c.Mode != k.Mode {
				t.Fatalf("%s has no key", c.ID)
			}
			got, err := key.Decapsulate(c.Ciphertext)
			a.Check(c.ID, true, same("the secret", err, got, c.Secret))
		}
	}
}
