package kem

import (
	"bytes"
	"fmt"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

func agree(name algs.Name, private, peer []byte) ([]byte, error) {
	key, err := ParsePrivate(name, private)
	if err != nil {
		return nil, err
	}
	return key.Agree(peer)
}

// TestVectorsX25519RFC7748 has the vectors of RFC 7748 section 5.2 (two, and the iterated one after 1 and 1,000 rounds) and of
// section 6.1.
func TestVectorsX25519RFC7748(t *testing.T) {
	a := vectortest.New(t, string(algs.X25519), "RFC 7748")
	check := func(id, private, peer, want string) {
		got, err := agree(algs.X25519, unhex(private), unhex(peer))
		a.Check(id, true, same("the secret", err, got, unhex(want)))
	}
	check("5.2, first", "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
		"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
		"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
	check("5.2, second", "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
		"e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
		"95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957")
	k := append([]byte{9}, make([]byte, 31)...)
	u := bytes.Clone(k)
	rounds := map[int]string{
		1:    "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
		1000: "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
	}
	for i := 1; i <= 1000; i++ {
		next, err := agree(algs.X25519, k, u)
		if err != nil {
			t.Fatal(err)
		}
		k, u = next, k
		if want, ok := rounds[i]; ok {
			a.Check(fmt.Sprint("5.2, round ", i), true, same("the secret", nil, k, unhex(want)))
		}
	}
	const (
		alice       = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
		alicePublic = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
		bob         = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
		bobPublic   = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
		shared      = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
	)
	a.Check("6.1, Alice", true, keyOf(algs.X25519, unhex(alice), unhex(alicePublic)))
	a.Check("6.1, Bob", true, keyOf(algs.X25519, unhex(bob), unhex(bobPublic)))
	check("6.1, from Alice", alice, bobPublic, shared)
	check("6.1, from Bob", bob, alicePublic, shared)
}

type dhFile struct {
	TestGroups []struct {
		Tests []struct {
			TcID    int
			Flags   []string
			Public  vectortest.Hex
			Private vectortest.Hex
			Shared  vectortest.Hex
			Result  string
		}
	}
}

// anyFile counts the cases of a file that is left out.
type anyFile struct {
	TestGroups []struct{ Tests []struct{} }
}

func leaveOut(t *testing.T, a *vectortest.Account, reason string, files ...string) {
	t.Helper()
	for _, file := range files {
		for _, g := range vectortest.Wycheproof[anyFile](t, file).TestGroups {
			for range g.Tests {
				a.LeaveOut(reason)
			}
		}
	}
}

const otherEncoding = "its public keys are SubjectPublicKeyInfo or JWK, which this package does not read"

// TestVectorsX25519Wycheproof takes everything that the file calls acceptable (the twist, points of small order that give a
// secret, encodings that are not canonical: RFC 7748 section 5 wants them computed) but a secret of zero.
func TestVectorsX25519Wycheproof(t *testing.T) {
	a := vectortest.New(t, string(algs.X25519), "Wycheproof")
	zeros := 0
	for _, g := range vectortest.Wycheproof[dhFile](t, "x25519_test.json").TestGroups {
		for _, c := range g.Tests {
			valid := !zero(c.Shared)
			if !valid {
				zeros++
			}
			got, err := agree(algs.X25519, c.Private, c.Public)
			a.Check(c.TcID, valid, same("the secret", err, got, c.Shared))
		}
	}
	if zeros != 31 {
		t.Errorf("%d cases have a secret of zero", zeros)
	}
	leaveOut(t, a, otherEncoding, "x25519_asn_test.json", "x25519_pem_test.json", "x25519_jwk_test.json")
}

// TestVectorsECDHWycheproof refuses what the files call acceptable: compressed points.
func TestVectorsECDHWycheproof(t *testing.T) {
	for name, curve := range map[algs.Name]string{algs.ECDHP256: "ecdh_secp256r1", algs.ECDHP384: "ecdh_secp384r1"} {
		a := vectortest.New(t, string(name), "Wycheproof")
		n := schemes[name].size().Private
		for _, g := range vectortest.Wycheproof[dhFile](t, curve+"_ecpoint_test.json").TestGroups {
			for _, c := range g.Tests {
				// The file writes the scalar as an integer, of any number of bytes.
				scalar := append(make([]byte, n), c.Private...)
				got, err := agree(name, scalar[len(scalar)-n:], c.Public)
				a.Check(c.TcID, c.Result == "valid", same("the secret", err, got, c.Shared))
			}
		}
		leaveOut(t, a, otherEncoding, curve+"_test.json", curve+"_pem_test.json", curve+"_webcrypto_test.json")
	}
}

type oaepFile struct {
	TestGroups []struct {
		KeySize    int
		Sha        string
		MgfSha     string
		PrivateKey vectortest.Hex `json:"privateKeyPkcs8"`
		Tests      []struct {
			TcID   int
			Msg    vectortest.Hex
			Ct     vectortest.Hex
			Label  vectortest.Hex
			Result string
		}
	}
}

func TestVectorsRSAOAEPWycheproof(t *testing.T) {
	for name, size := range map[algs.Name]int{algs.RSAOAEP2048: 2048, algs.RSAOAEP3072: 3072, algs.RSAOAEP4096: 4096} {
		a := vectortest.New(t, string(name), "Wycheproof")
		for _, file := range []string{fmt.Sprintf("rsa_oaep_%d_sha256_mgf1sha256_test.json", size), "rsa_oaep_misc_test.json"} {
			for _, g := range vectortest.Wycheproof[oaepFile](t, file).TestGroups {
				if g.KeySize != size {
					continue // of another algorithm's account, or of a size that no algorithm has
				}
				if g.Sha != "SHA-256" || g.MgfSha != "SHA-256" {
					for range g.Tests {
						a.LeaveOut("a hash other than SHA-256")
					}
					continue
				}
				_, private, err := ImportPKCS8(name, g.PrivateKey)
				if err != nil {
					t.Fatal(err)
				}
				key := mustPrivate(t, name, private)
				for _, c := range g.Tests {
					got, err := key.Decrypt(c.Ct, nil, c.Label)
					a.Check(fmt.Sprint(file, " ", c.TcID), c.Result == "valid", same("the message", err, got, c.Msg))
				}
			}
		}
		if size != 4096 {
			continue
		}
		const file = "rsa_three_primes_oaep_4096_sha256_mgf1sha256_test.json"
		for _, g := range vectortest.Wycheproof[oaepFile](t, file).TestGroups {
			if _, _, err := ImportPKCS8(name, g.PrivateKey); err == nil {
				t.Error("a key with three primes was taken")
			}
		}
		leaveOut(t, a, "three primes, which SP 800-56B does not have: the key is refused", file)
	}
}
