package hsm

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// vectorToken brings each key of a vector file into the token once, and keeps its blob.
type vectorToken struct {
	*rig
	receiver
	blobs map[string][]byte
}

func newVectorToken(t *testing.T) *vectorToken {
	r := newToken(t)
	return &vectorToken{r, r.newReceiver(t), map[string][]byte{}}
}

func (v *vectorToken) blob(t *testing.T, name algs.Name, key []byte) []byte {
	t.Helper()
	id := string(name) + string(key)
	if v.blobs[id] == nil {
		v.blobs[id] = v.inToken(t, v.receiver, name, key).blob
	}
	return v.blobs[id]
}

func TestVectorsTokenGCM(t *testing.T) {
	file := vectortest.Wycheproof[struct {
		TestGroups []struct {
			KeySize, IvSize, TagSize int // in bits
			Tests                    []struct {
				TcID                       int
				Key, Iv, Aad, Msg, Ct, Tag vectortest.Hex
				Result                     string
			}
		}
	}](t, "aes_gcm_test.json")
	account := vectortest.New(t, "AES-256-GCM in the token", "Wycheproof aes_gcm_test.json")
	v := newVectorToken(t)
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			if g.KeySize != 256 || g.IvSize != 8*gcmNonce || g.TagSize != 8*gcmTag {
				account.LeaveOut("the key has 32 bytes, the nonce 12 and the tag 16")
				continue
			}
			sealed := append(append(append([]byte(nil), c.Iv...), c.Ct...), c.Tag...)
			got, err := v.DecryptGCM(t.Context(), v.blob(t, algs.AES256GCM, c.Key), sealed, c.Aad)
			if err == nil {
				err = vectortest.Differ("the plaintext", string(got), string(c.Msg))
			}
			account.Check(c.TcID, c.Result == "valid", err)
		}
	}
}

func TestVectorsTokenMAC(t *testing.T) {
	v := newVectorToken(t)
	for _, f := range []struct {
		algorithm, file string
		names           map[int]algs.Name // by the length of the key in bits
	}{
		{"AES-CMAC", "aes_cmac_test.json", map[int]algs.Name{128: algs.AES128CMAC, 256: algs.AES256CMAC}},
		{"HMAC-SHA256", "hmac_sha256_test.json", map[int]algs.Name{256: algs.HMACSHA256}},
		{"HMAC-SHA384", "hmac_sha384_test.json", map[int]algs.Name{384: algs.HMACSHA384}},
		{"HMAC-SHA512", "hmac_sha512_test.json", map[int]algs.Name{512: algs.HMACSHA512}},
	} {
		file := vectortest.Wycheproof[struct {
			TestGroups []struct {
				KeySize, TagSize int // in bits
				Tests            []struct {
					TcID          int
					Key, Msg, Tag vectortest.Hex
					Result        string
				}
			}
		}](t, f.file)
		account := vectortest.New(t, f.algorithm+" in the token", "Wycheproof "+f.file)
		for _, g := range file.TestGroups {
			for _, c := range g.Tests {
				name, ok := f.names[g.KeySize]
				if !ok {
					account.LeaveOut("the key has another length")
					continue
				}
				got, err := v.MAC(t.Context(), name, v.blob(t, name, c.Key), c.Msg)
				if err == nil && g.TagSize != 8*len(got) {
					got = got[:g.TagSize/8]
				}
				if err == nil {
					err = vectortest.Differ("the MAC", string(got), string(c.Tag))
				}
				account.Check(c.TcID, c.Result == "valid", err)
			}
		}
	}
}

func TestVectorsTokenECDH(t *testing.T) {
	v := newVectorToken(t)
	for name, f := range map[algs.Name]string{
		algs.ECDHP256: "ecdh_secp256r1_ecpoint_test.json", algs.ECDHP384: "ecdh_secp384r1_ecpoint_test.json",
	} {
		file := vectortest.Wycheproof[struct {
			TestGroups []struct {
				Tests []struct {
					TcID            int
					Flags           []string
					Public, Shared  vectortest.Hex
					Private, Result string
				}
			}
		}](t, f)
		account := vectortest.New(t, string(name)+" in the token", "Wycheproof "+f)
		c := kinds[name].curve
		for _, g := range file.TestGroups {
			for _, tc := range g.Tests {
				if tc.Result == "acceptable" || len(tc.Public) == 1+c.bytes {
					account.LeaveOut("compressed points are not taken")
					continue
				}
				d, ok := new(big.Int).SetString(tc.Private, 16)
				if !ok {
					t.Fatalf("case %d: no number", tc.TcID)
				}
				key, err := ecdsa.ParseRawPrivateKey(c.elliptic, d.FillBytes(make([]byte, c.bytes)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := v.Agree(t.Context(), name, v.blob(t, name, pkcs8(t, key)), tc.Public)
				if err == nil {
					err = vectortest.Differ("the secret", string(got.Reveal()), string(tc.Shared))
				}
				account.Check(tc.TcID, tc.Result == "valid", err)
			}
		}
	}
}

// The DigestInfo that the token signs is that of RFC 8017 section 9.2 note 1.
func TestDigestInfo(t *testing.T) {
	for name, prefix := range map[algs.Name]string{
		algs.SHA256:     "3031300d060960864801650304020105000420",
		algs.SHA384:     "3041300d060960864801650304020205000430",
		algs.SHA512:     "3051300d060960864801650304020305000440",
		algs.SHA224:     "302d300d06096086480165030402040500041c",
		algs.SHA512_256: "3031300d060960864801650304020605000420",
	} {
		h := hashes[name]
		digest := make([]byte, h.host.Size())
		if got := fmt.Sprintf("%x", digestInfo(h, digest)); got != prefix+fmt.Sprintf("%x", digest) {
			t.Errorf("%s: %s", name, got)
		}
	}
}
