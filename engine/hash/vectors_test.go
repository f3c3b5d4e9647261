package hash

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"golang.org/x/crypto/blake2b"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// compare hashes once whole and once in two parts.
func compare(name algs.Name, message, want []byte) error {
	got, err := Sum(name, message, outputFor(name, want))
	if err != nil {
		return err
	}
	s, err := New(name, outputFor(name, want))
	if err != nil {
		return err
	}
	for _, part := range [][]byte{message[:len(message)/3], message[len(message)/3:]} {
		if _, err := s.Write(part); err != nil {
			return err
		}
	}
	if err := vectortest.Differ("the digest", string(got), string(want)); err != nil {
		return err
	}
	return vectortest.Differ("the digest in parts", string(s.Sum()), string(want))
}

func outputFor(name algs.Name, want []byte) int {
	if _, variable := OutputBytes(name); variable {
		return len(want)
	}
	return 0
}

// TestVectorsShort runs testdata/short.json: all of CAVP's short messages for SHA-2 (SHA-512/256: those up to 16 bytes and
// some at the ends of blocks), and the short and block-sized messages of the sources that it names for the others.
func TestVectorsShort(t *testing.T) {
	text, err := os.ReadFile("testdata/short.json")
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct {
		Algorithm algs.Name
		Source    string
		Cases     []struct{ Msg, MD vectortest.Hex }
	}
	if err := json.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		account := vectortest.New(t, string(g.Algorithm), g.Source)
		for i, c := range g.Cases {
			account.Check(i, true, compare(g.Algorithm, c.Msg, c.MD))
			if _, variable := OutputBytes(g.Algorithm); variable {
				for _, n := range []int{1, 32, 168, 200} {
					account.Check([]int{i, n}, true, compare(g.Algorithm, c.Msg, c.MD[:n]))
				}
			}
		}
	}
}

// TestVectorsMillion hashes a million times "a": for SHA-2 the long example that NIST publishes for FIPS 180-4. NIST has none
// for SHA-512/256 and SHA-3; these digests stand in the tests of Bouncy Castle and of POCO, among others.
func TestVectorsMillion(t *testing.T) {
	million := bytes.Repeat([]byte("a"), 1_000_000)
	for name, want := range map[algs.Name]string{
		algs.SHA224:     "20794655980c91d8bbb4c1ea97618a4bf03f42581948b2ee4ee7ad67",
		algs.SHA256:     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
		algs.SHA384:     "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b07b8b3dc38ecc4ebae97ddd87f3d8985",
		algs.SHA512:     "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
		algs.SHA512_256: "9a59a052930187a97038cae692f30708aa6491923ef5194394dc68d56c74fb21",
		algs.SHA3_224:   "d69335b93325192e516a912e6d19a15cb51c6ed5c15243e7a7fd653c",
		algs.SHA3_256:   "5c8875ae474a3634ba4fd55ec85bffd661f32aca75c6d699d0cdcb6c115891c1",
		algs.SHA3_384:   "eee9e24d78c1855337983451df97c8ad9eedf256c6334f8e948d252d5e0e76847aa0774ddb90a842190d2c558b4b8340",
		algs.SHA3_512:   "3c3a876da14034ab60627c077bb98f7e120a2a5370212dffb3385a18d4f38859ed311d0a9d5141ce9cc5c66ee689b266a8aa18ace8282a0e0db596c90b0a7b87",
	} {
		account := vectortest.New(t, string(name), "a million times 'a'")
		digest, err := hex.DecodeString(want)
		if err != nil {
			t.Fatal(err)
		}
		account.Check("million", true, compare(name, million, digest))
	}
}

// TestVectorsExamples are the one-block and two-block examples of FIPS 180-4 and RFC 7693, and the empty message of FIPS 202.
func TestVectorsExamples(t *testing.T) {
	accounts := map[string]*vectortest.Account{}
	const two = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
	for _, c := range []struct {
		name            algs.Name
		source, message string
		want            string
	}{
		{algs.SHA256, "FIPS 180-4 examples", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{
			algs.SHA384, "FIPS 180-4 examples", two,
			"09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712fcc7c71a557e2db966c3e9fa91746039",
		},
		{
			algs.SHA512, "FIPS 180-4 examples", two,
			"8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
		},
		{algs.SHA512_256, "FIPS 180-4 examples", "abc", "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"},
		{algs.SHA512_256, "FIPS 180-4 examples", two, "3928e184fb8690f840da3988121d31be65cb9d3ef83ee6146feac861e19b563a"},
		{
			algs.BLAKE2b512, "RFC 7693 appendix A", "abc",
			"ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
		},
		{algs.BLAKE2b256, "OpenSSL evpmd_blake.txt", "", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
		{algs.BLAKE2b256, "OpenSSL evpmd_blake.txt", "a", "8928aae63c84d87ea098564d1e03ad813f107add474e56aedd286349c0c03ea4"},
	} {
		account := accounts[string(c.name)+c.source]
		if account == nil {
			account = vectortest.New(t, string(c.name), c.source)
			accounts[string(c.name)+c.source] = account
		}
		want, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		account.Check(len(c.message), true, compare(c.name, []byte(c.message), want))
	}
}

// TestVectorsBLAKE2SelfTest is the self-test of RFC 7693 appendix E: BLAKE2b-256 over the digests of six inputs in four
// lengths, with and without key. The lengths and keys that this package does not have come from the library itself.
func TestVectorsBLAKE2SelfTest(t *testing.T) {
	account := vectortest.New(t, string(algs.BLAKE2b256), "RFC 7693 appendix E")
	sequence := func(n int) []byte {
		out := make([]byte, n)
		a, b := 0xdead4bad*uint32(n), uint32(1)
		for i := range out {
			a, b = b, a+b
			out[i] = byte(b >> 24)
		}
		return out
	}
	outer, err := New(algs.BLAKE2b256, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(digest []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := outer.Write(digest); err != nil {
			t.Fatal(err)
		}
	}
	inner := func(n int, key, in []byte) ([]byte, error) {
		h, err := blake2b.New(n, key)
		if err != nil {
			return nil, err
		}
		h.Write(in)
		return h.Sum(nil), nil
	}
	for _, n := range []int{20, 32, 48, 64} {
		for _, length := range []int{0, 3, 128, 129, 255, 1024} {
			in := sequence(length)
			switch n {
			case 32:
				add(Sum(algs.BLAKE2b256, in, 0))
			case 64:
				add(Sum(algs.BLAKE2b512, in, 0))
			default:
				add(inner(n, nil, in))
			}
			add(inner(n, sequence(n), in))
		}
	}
	want, err := hex.DecodeString("c23a7800d98123bd10f506c61e29da5603d763b8bbad2e737f5e765a7bccd475")
	if err != nil {
		t.Fatal(err)
	}
	account.Check("grand", true, vectortest.Differ("the digest", string(outer.Sum()), string(want)))
}
