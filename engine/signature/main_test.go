package signature

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// names returns every row of class signature.
func names() []algs.Name {
	var all []algs.Name
	for _, r := range algs.Rows() {
		if r.Class == algs.ClassSignature {
			all = append(all, r.Name)
		}
	}
	return all
}

// slowsDown reports whether signing and making keys would take minutes under the race detector.
func slowsDown(name algs.Name) bool {
	return slowed && strings.HasPrefix(string(name), "SLH-DSA") && strings.HasSuffix(string(name), "s")
}

// wycheproofRSA names a file that holds private keys of each size, so that tests need not search for primes.
var wycheproofRSA = map[algs.Name]string{
	algs.RSAPSS2048: "rsa_pkcs1_2048_sig_gen_test.json", algs.RSAPKCS12048: "rsa_pkcs1_2048_sig_gen_test.json",
	algs.RSAPSS3072: "rsa_pkcs1_3072_sig_gen_test.json", algs.RSAPKCS13072: "rsa_pkcs1_3072_sig_gen_test.json",
	algs.RSAPSS4096: "rsa_pkcs1_4096_sig_gen_test.json", algs.RSAPKCS14096: "rsa_pkcs1_4096_sig_gen_test.json",
}

type pair struct{ public, private []byte }

var (
	pairsMu sync.Mutex
	pairs   = map[algs.Name]pair{}
)

// testPair returns the same pair of an algorithm each time.
func testPair(t testing.TB, name algs.Name) pair {
	t.Helper()
	pairsMu.Lock()
	defer pairsMu.Unlock()
	if p, ok := pairs[name]; ok {
		return p
	}
	var p pair
	var err error
	if file, ok := wycheproofRSA[name]; ok {
		f := vectortest.Wycheproof[struct {
			TestGroups []struct {
				PKCS8 vectortest.Hex `json:"privateKeyPkcs8"`
			}
		}](t, file)
		p.public, p.private, err = ImportPKCS8(name, f.TestGroups[0].PKCS8)
	} else if _, ok := schemes[name].(*slhdsaScheme); ok {
		p = slhdsaPair(t, name)
	} else {
		p.public, p.private, err = Generate(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	pairs[name] = p
	return p
}

// slhdsaPair takes a pair from ACVP, since those of the small parameter sets take long to make.
func slhdsaPair(t testing.TB, name algs.Name) pair {
	t.Helper()
	const folder = "sign/slhdsa/testdata/keyGen_"
	number := 0
	for _, g := range vectortest.Module[acvp[slhdsaCase]](t, "github.com/cloudflare/circl", folder+"prompt.json.gz").TestGroups {
		if g.ParameterSet == string(name) {
			number = g.Tests[0].TcID
		}
	}
	for _, g := range vectortest.Module[acvp[slhdsaCase]](t, "github.com/cloudflare/circl", folder+"results.json.gz").TestGroups {
		for _, c := range g.Tests {
			if c.TcID == number {
				return pair{public: c.PK, private: c.SK}
			}
		}
	}
	t.Fatalf("no key of %s", name)
	return pair{}
}

func testKeys(t testing.TB, name algs.Name) (*PrivateKey, *PublicKey) {
	t.Helper()
	p := testPair(t, name)
	return mustPrivate(t, name, p.private), mustPublic(t, name, p.public)
}

func mustPrivate(t testing.TB, name algs.Name, private []byte) *PrivateKey {
	t.Helper()
	k, err := ParsePrivate(name, private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustPublic(t testing.TB, name algs.Name, public []byte) *PublicKey {
	t.Helper()
	k, err := ParsePublic(name, public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSign(t testing.TB, k *PrivateKey, message []byte, o Options) []byte {
	t.Helper()
	signature, err := k.Sign(message, o)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// signDeterministic signs as vectors want it.
func signDeterministic(k *PrivateKey, message []byte, o Options) ([]byte, error) {
	s, err := k.scheme.settle("test", o)
	if err != nil {
		return nil, err
	}
	s.deterministic = true
	return k.signer.sign(message, s)
}

// fromTestdata reads a JSON file of testdata.
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
