package mac

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	prf "github.com/tink-crypto/tink-go/v2/prf/subtle"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// referenceCMAC is tink-go's CMAC of a whole message, in one call.
func referenceCMAC(t interface{ Fatal(args ...any) }, key, message []byte) []byte {
	p, err := prf.NewAESCMACPRF(key)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := p.ComputePRF(message, 16)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

var errTag = errors.New("the tag is not the message's")

// verify is Verify for a key of any length, once with the whole message and once in parts of 7 bytes.
func verify(name algs.Name, key, message, tag []byte, o Options) error {
	o.OutputBytes = len(tag)
	whole, err := unchecked("test", algorithms[name], key, o)
	if err != nil {
		return err
	}
	parts, err := unchecked("test", algorithms[name], key, o)
	if err != nil {
		return err
	}
	if _, err := whole.Write(message); err != nil {
		return err
	}
	for rest := message; len(rest) > 0; rest = rest[min(7, len(rest)):] {
		if _, err := parts.Write(rest[:min(7, len(rest))]); err != nil {
			return err
		}
	}
	if !whole.Verify(tag) || !parts.Verify(tag) {
		return errTag
	}
	if len(key) != KeyBytes(name) {
		return nil
	}
	// What the package's callers use must say the same.
	if ok, err := Verify(name, key, message, tag, o); !ok || err != nil {
		return errors.Join(errTag, err)
	}
	return nil
}

type wycheproof struct {
	TestGroups []struct {
		KeySize, TagSize int // in bits
		Tests            []struct {
			TcID          int
			Key, Msg, Tag vectortest.Hex
			Result        string
		}
	}
}

func TestVectorsWycheproof(t *testing.T) {
	for _, f := range []struct {
		name algs.Name
		file string
	}{
		{algs.HMACSHA256, "hmac_sha256_test.json"},
		{algs.HMACSHA384, "hmac_sha384_test.json"},
		{algs.HMACSHA512, "hmac_sha512_test.json"},
		{algs.HMACSHA3_256, "hmac_sha3_256_test.json"},
		{algs.KMAC128, "kmac128_no_customization_test.json"},
		{algs.KMAC256, "kmac256_no_customization_test.json"},
	} {
		account := vectortest.New(t, string(f.name), "Wycheproof")
		for _, g := range vectortest.Wycheproof[wycheproof](t, f.file).TestGroups {
			for _, c := range g.Tests {
				account.Check(c.TcID, c.Result == "valid", verify(f.name, c.Key, c.Msg, c.Tag, Options{}))
			}
		}
	}
}

func TestVectorsWycheproofCMAC(t *testing.T) {
	aes128 := vectortest.New(t, string(algs.AES128CMAC), "Wycheproof")
	aes256 := vectortest.New(t, string(algs.AES256CMAC), "Wycheproof")
	for _, g := range vectortest.Wycheproof[wycheproof](t, "aes_cmac_test.json").TestGroups {
		for _, c := range g.Tests {
			switch g.KeySize {
			case 128:
				aes128.Check(c.TcID, c.Result == "valid", verify(algs.AES128CMAC, c.Key, c.Msg, c.Tag, Options{}))
			case 192:
				aes256.LeaveOut("there is no AES-192-CMAC")
			case 256:
				aes256.Check(c.TcID, c.Result == "valid", verify(algs.AES256CMAC, c.Key, c.Msg, c.Tag, Options{}))
			default: // keys of lengths that AES does not have
				_, err := Sum(algs.AES256CMAC, c.Key, c.Msg, Options{})
				aes256.Check(c.TcID, c.Result == "valid", err)
			}
		}
	}
}

type example struct {
	name          string
	key, msg, tag []byte
	o             Options
}

func run(t *testing.T, name algs.Name, source string, cases []example) {
	t.Helper()
	account := vectortest.New(t, string(name), source)
	for _, c := range cases {
		account.Check(c.name, true, verify(name, c.key, c.msg, c.tag, c.o))
		wrong := bytes.Clone(c.msg)
		wrong = append(wrong, 0)
		account.Check(c.name+" with another message", false, verify(name, c.key, wrong, c.tag, c.o))
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func sequence(from, to int) []byte {
	var b []byte
	for i := from; i <= to; i++ {
		b = append(b, byte(i))
	}
	return b
}

func TestVectorsRFC4231(t *testing.T) {
	const source = "RFC 4231"
	inputs := []struct {
		name     string
		key, msg []byte
	}{
		{"4.2", bytes.Repeat([]byte{0x0b}, 20), []byte("Hi There")},
		{"4.3", []byte("Jefe"), []byte("what do ya want for nothing?")},
		{"4.4", bytes.Repeat([]byte{0xaa}, 20), bytes.Repeat([]byte{0xdd}, 50)},
		{"4.5", sequence(1, 25), bytes.Repeat([]byte{0xcd}, 50)},
		{"4.6, 128 bits", bytes.Repeat([]byte{0x0c}, 20), []byte("Test With Truncation")},
		{"4.7", bytes.Repeat([]byte{0xaa}, 131), []byte("Test Using Larger Than Block-Size Key - Hash Key First")},
		{"4.8", bytes.Repeat([]byte{0xaa}, 131), []byte("This is a test using a larger than block-size key and a larger than block-size data. " +
			"The key needs to be hashed before being used by the HMAC algorithm.")},
	}
	for name, tags := range map[algs.Name][]string{
		algs.HMACSHA256: {
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
			"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
			"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
			"a3b6167473100ee06e0c796c2955552b",
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
			"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
		},
		algs.HMACSHA384: {
			"afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
			"af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
			"88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
			"3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
			"3abf34c3503b2a23a46efc619baef897",
			"4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
			"6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860e6110c46523e",
		},
		algs.HMACSHA512: {
			"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
			"fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
			"b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
			"415fad6271580a531d4179bc891d87a6",
			"80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
			"e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
		},
	} {
		var cases []example
		for i, in := range inputs {
			cases = append(cases, example{name: in.name, key: in.key, msg: in.msg, tag: unhex(tags[i])})
		}
		run(t, name, source, cases)
	}
}

func TestVectorsCMAC(t *testing.T) {
	msg := unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" +
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	key128 := unhex("2b7e151628aed2a6abf7158809cf4f3c")
	run(t, algs.AES128CMAC, "RFC 4493 section 4", []example{
		{name: "0", key: key128, msg: msg[:0], tag: unhex("bb1d6929e95937287fa37d129b756746")},
		{name: "16", key: key128, msg: msg[:16], tag: unhex("070a16b46b4d4144f79bdd9dd04a287c")},
		{name: "40", key: key128, msg: msg[:40], tag: unhex("dfa66747de9ae63030ca32611497c827")},
		{name: "64", key: key128, msg: msg, tag: unhex("51f0bebf7e3b9d92fc49741779363cfe")},
	})
	key256 := unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
	run(t, algs.AES256CMAC, "SP 800-38B appendix D.3 of 2005", []example{
		{name: "0", key: key256, msg: msg[:0], tag: unhex("028962f61b7bf89efc6b551f4667d983")},
		{name: "16", key: key256, msg: msg[:16], tag: unhex("28a7023f452e8f82bd4bf28d8c37c35c")},
		{name: "40", key: key256, msg: msg[:40], tag: unhex("aaf3d8f1de5640c232f5b169b9c911e6")},
		{name: "64", key: key256, msg: msg, tag: unhex("e1992190549f6ed5696a2c056c315410")},
	})
}

func TestVectorsKMAC(t *testing.T) {
	const source = "NIST KMAC samples for SP 800-185"
	key, short, long := sequence(0x40, 0x5f), sequence(0, 3), sequence(0, 0xc7)
	tagged := Options{Customization: []byte("My Tagged Application")}
	run(t, algs.KMAC128, source, []example{
		{name: "1", key: key, msg: short, tag: unhex("e5780b0d3ea6f7d3a429c5706aa43a00fadbd7d49628839e3187243f456ee14e")},
		{name: "2", key: key, msg: short, o: tagged, tag: unhex("3b1fba963cd8b0b59e8c1a6d71888b7143651af8ba0a7070c0979e2811324aa5")},
		{name: "3", key: key, msg: long, o: tagged, tag: unhex("1f5b4e6cca02209e0dcb5ca635b89a15e271ecc760071dfd805faa38f9729230")},
	})
	run(t, algs.KMAC256, source, []example{
		{name: "4", key: key, msg: short, o: tagged, tag: unhex("20c570c31346f703c9ac36c61c03cb64c3970d0cfc787e9b79599d273a68d2f7" +
			"f69d4cc3de9d104a351689f27cf6f5951f0103f33f4f24871024d9c27773a8dd")},
		{name: "5", key: key, msg: long, tag: unhex("75358cf39e41494e949707927cee0af20a3ff553904c86b08f21cc414bcfd691" +
			"589d27cf5e15369cbbff8b9a4c2eb17800855d0235ff635da82533ec6b759b69")},
		{name: "6", key: key, msg: long, o: tagged, tag: unhex("b58618f71f92e1d56c1b8c55ddd7cd188b97b4ca4d99831eb2699a837da2e4d9" +
			"70fbacfde50033aea585f1a2708510c32d07880801bd182898fe476876fc8965")},
	})
}
