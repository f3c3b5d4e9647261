package kdf

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// expect derives without the package's limits. Where the limits allow the parameters, Derive must say the same.
func expect(t *testing.T, name algs.Name, p *Params, want []byte) error {
	t.Helper()
	p.OutputBytes = len(want)
	got, err := derive(name, p)
	if err != nil {
		return err
	}
	if Check(name, p) == nil {
		limited, err := Derive(t.Context(), name, p)
		if err != nil {
			return err
		}
		if err := vectortest.Differ("the key within the limits", string(limited), string(want)); err != nil {
			return err
		}
	}
	return vectortest.Differ("the key", string(got), string(want))
}

func TestVectorsHKDF(t *testing.T) {
	type file struct {
		TestGroups []struct {
			Tests []struct {
				TcID                 int
				IKM, Salt, Info, OKM vectortest.Hex
				Size                 int
				Result               string
			}
		}
	}
	for name, f := range map[algs.Name]string{
		algs.HKDFSHA256: "hkdf_sha256_test.json", algs.HKDFSHA384: "hkdf_sha384_test.json", algs.HKDFSHA512: "hkdf_sha512_test.json",
	} {
		account := vectortest.New(t, string(name), "Wycheproof")
		for _, g := range vectortest.Wycheproof[file](t, f).TestGroups {
			for _, c := range g.Tests {
				p := &Params{Secret: c.IKM, Salt: c.Salt, Info: c.Info, OutputBytes: c.Size}
				if c.Result == "valid" {
					account.Check(c.TcID, true, expect(t, name, p, c.OKM))
					continue
				}
				// The invalid ones ask for more than RFC 5869 gives: library and limits both refuse.
				_, err := derive(name, p)
				account.Check(c.TcID, false, err)
				if Check(name, p) == nil {
					t.Errorf("case %d is within the limits", c.TcID)
				}
			}
		}
	}

	account := vectortest.New(t, string(algs.HKDFSHA256), "RFC 5869 appendix A")
	sequence := func(from, to int) []byte {
		var b []byte
		for i := from; i <= to; i++ {
			b = append(b, byte(i))
		}
		return b
	}
	for i, c := range []struct {
		p    Params
		want string
	}{
		{
			Params{Secret: bytes.Repeat([]byte{0x0b}, 22), Salt: sequence(0, 0x0c), Info: sequence(0xf0, 0xf9)},
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		},
		{
			Params{Secret: sequence(0, 0x4f), Salt: sequence(0x60, 0xaf), Info: sequence(0xb0, 0xff)},
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71" +
				"cc30c58179ec3e87c14c01d5c1f3434f1d87",
		},
		{
			Params{Secret: bytes.Repeat([]byte{0x0b}, 22)},
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
	} {
		account.Check(i+1, true, expect(t, algs.HKDFSHA256, &c.p, unhex(c.want)))
	}
	account.LeaveOut("A.4 to A.7 are for HKDF-SHA1, which this service does not have")
}

// TestVectorsKBKDF runs the CAVP's vectors, whose fixed input is free, over the construction inside; TestFixedInput is about
// the fixed input that Derive makes.
func TestVectorsKBKDF(t *testing.T) {
	text, err := os.ReadFile("testdata/kbkdf.json")
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct {
		Algorithm, Source string
		Cases             []struct{ Key, Fixed, Out vectortest.Hex }
	}
	if err := json.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		name := algs.Name(g.Algorithm)
		if _, ok := algs.Of(name, algs.ClassKDF); !ok {
			t.Fatalf("%s is not in the table", name)
		}
		account := vectortest.New(t, g.Algorithm, g.Source)
		for i, c := range g.Cases {
			got := kbkdf(hashOf(name), c.Key, c.Fixed, len(c.Out))
			account.Check(i, true, vectortest.Differ("the key", string(got), string(c.Out)))
		}
	}
}

func TestVectorsPBKDF2(t *testing.T) {
	type file struct {
		TestGroups []struct {
			Tests []struct {
				TcID               int
				Password, Salt, DK vectortest.Hex
				IterationCount     int
				Result             string
			}
		}
	}
	for name, f := range map[algs.Name]string{
		algs.PBKDF2SHA256: "pbkdf2_hmacsha256_test.json", algs.PBKDF2SHA512: "pbkdf2_hmacsha512_test.json",
	} {
		account := vectortest.New(t, string(name), "Wycheproof")
		for _, g := range vectortest.Wycheproof[file](t, f).TestGroups {
			for _, c := range g.Tests {
				p := &Params{Secret: c.Password, Salt: c.Salt, Cost: Cost{Iterations: c.IterationCount}}
				account.Check(c.TcID, c.Result == "valid", expect(t, name, p, c.DK))
			}
		}
	}

	account := vectortest.New(t, string(algs.PBKDF2SHA256), "RFC 7914 section 11")
	for _, c := range []struct {
		password, salt string
		iterations     int
		want           string
	}{
		{
			"passwd", "salt", 1,
			"55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
		},
		{
			"Password", "NaCl", 80000,
			"4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d",
		},
	} {
		p := &Params{Secret: []byte(c.password), Salt: []byte(c.salt), Cost: Cost{Iterations: c.iterations}}
		account.Check(c.iterations, true, expect(t, algs.PBKDF2SHA256, p, unhex(c.want)))
	}
}

func TestVectorsScrypt(t *testing.T) {
	account := vectortest.New(t, string(algs.Scrypt), "RFC 7914 section 12")
	for _, c := range []struct {
		password, salt string
		cost           Cost
		want           string
	}{
		{
			"", "", Cost{N: 16, R: 1, P: 1},
			"77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
		},
		{
			"password", "NaCl", Cost{N: 1024, R: 8, P: 16},
			"fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
		},
		{
			"pleaseletmein", "SodiumChloride", Cost{N: 16384, R: 8, P: 1},
			"7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
		},
	} {
		p := &Params{Secret: []byte(c.password), Salt: []byte(c.salt), Cost: c.cost}
		account.Check(c.cost.N, true, expect(t, algs.Scrypt, p, unhex(c.want)))
	}
	account.LeaveOut("N = 1048576 with r = 8 takes 1 GiB, four times this service's limit")
}

// TestVectorsArgon2id runs the reference implementation's own cases.
func TestVectorsArgon2id(t *testing.T) {
	account := vectortest.New(t, string(algs.Argon2id), "phc-winner-argon2 src/test.c, version 0x13")
	for i, c := range []struct {
		password, salt string
		cost           Cost
		want           string
	}{
		{"password", "somesalt", Cost{Time: 2, MemoryKiB: 1 << 16, Parallelism: 1}, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"},
		{"password", "somesalt", Cost{Time: 2, MemoryKiB: 1 << 18, Parallelism: 1}, "78fe1ec91fb3aa5657d72e710854e4c3d9b9198c742f9616c2f085bed95b2e8c"},
		{"password", "somesalt", Cost{Time: 2, MemoryKiB: 1 << 8, Parallelism: 1}, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"},
		{"password", "somesalt", Cost{Time: 2, MemoryKiB: 1 << 8, Parallelism: 2}, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"},
		{"password", "somesalt", Cost{Time: 1, MemoryKiB: 1 << 16, Parallelism: 1}, "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"},
		{"password", "somesalt", Cost{Time: 4, MemoryKiB: 1 << 16, Parallelism: 1}, "9025d48e68ef7395cca9079da4c4ec3affb3c8911fe4f86d1a2520856f63172c"},
		{"differentpassword", "somesalt", Cost{Time: 2, MemoryKiB: 1 << 16, Parallelism: 1}, "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"},
		{"password", "diffsalt", Cost{Time: 2, MemoryKiB: 1 << 16, Parallelism: 1}, "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"},
	} {
		p := &Params{Secret: []byte(c.password), Salt: []byte(c.salt), Cost: c.cost}
		account.Check(i, true, expect(t, algs.Argon2id, p, unhex(c.want)))
	}

	rfc := vectortest.New(t, string(algs.Argon2id), "golang.org/x/crypto argon2_test.go, made with the reference command line")
	for i, c := range []struct {
		cost Cost
		want string
	}{
		{Cost{Time: 1, MemoryKiB: 64, Parallelism: 1}, "655ad15eac652dc59f7170a7332bf49b8469be1fdb9c28bb"},
		{Cost{Time: 4, MemoryKiB: 4096, Parallelism: 4}, "145db9733a9f4ee43edf33c509be96b934d505a4efb33c5a"},
		{Cost{Time: 4, MemoryKiB: 1024, Parallelism: 8}, "8dafa8e004f8ea96bf7c0f93eecf67a6047476143d15577f"},
		{Cost{Time: 3, MemoryKiB: 1024, Parallelism: 6}, "1640b932f4b60e272f5d2207b9a9c626ffa1bd88d2349016"},
	} {
		p := &Params{Secret: []byte("password"), Salt: []byte("somesalt"), Cost: c.cost}
		rfc.Check(i, true, expect(t, algs.Argon2id, p, unhex(c.want)))
	}
	rfc.LeaveOut("RFC 9106 section 5.3 has a secret and associated data, which x/crypto does not take: its own tests have it")
}

// TestVectorsAreWhole guards against data that was emptied.
func TestVectorsAreWhole(t *testing.T) {
	text, err := os.ReadFile("testdata/kbkdf.json")
	if err != nil || strings.Count(string(text), `"fixed"`) != 3*40 {
		t.Errorf("the vectors of KBKDF are not whole (%v)", err)
	}
}
