package aead

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// vector is one case of AEAD or of a cipher mode, as Wycheproof writes it and as our files of RFC and SP vectors do.
type vector struct {
	ID        any            `json:"tcId"`
	Algorithm algs.Name      `json:"algorithm"` // our files alone
	Key       vectortest.Hex `json:"key"`
	IV        vectortest.Hex `json:"iv"`
	AAD       vectortest.Hex `json:"aad"`
	Msg       vectortest.Hex `json:"msg"`
	CT        vectortest.Hex `json:"ct"`
	Tag       vectortest.Hex `json:"tag"`
	Result    string         `json:"result"`
}

type wycheproof struct {
	TestGroups []struct {
		KeySize int      `json:"keySize"`
		IVSize  int      `json:"ivSize"`
		TagSize int      `json:"tagSize"`
		Tests   []vector `json:"tests"`
	} `json:"testGroups"`
}

var errDiffers = errors.New("another result than the vector's")

// run seals with the vector's nonce, if its result is valid, and opens. An invalid vector needs only be refused.
func (v *vector) run(name algs.Name) error {
	got, err := Open(nil, name, v.Key, append(append(bytes.Clone(v.IV), v.CT...), v.Tag...), v.AAD)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, v.Msg) {
		return errDiffers
	}
	sealed, err := sealWith(name, v.Key, v.IV, v.Msg, v.AAD)
	if err != nil {
		return err
	}
	if !bytes.Equal(sealed, append(append(bytes.Clone(v.IV), v.CT...), v.Tag...)) {
		return errDiffers
	}
	return nil
}

func TestVectorsWycheproof(t *testing.T) {
	files := map[string]struct {
		name  algs.Name         // for the account
		sizes map[int]algs.Name // by bits of the key
	}{
		"aes_gcm_test.json":           {"AES-GCM", map[int]algs.Name{128: algs.AES128GCM, 192: algs.AES192GCM, 256: algs.AES256GCM}},
		"aes_ccm_test.json":           {algs.AES256CCM, map[int]algs.Name{256: algs.AES256CCM}},
		"aes_gcm_siv_test.json":       {algs.AES256GCMSIV, map[int]algs.Name{256: algs.AES256GCMSIV}},
		"chacha20_poly1305_test.json": {algs.ChaCha20Poly1305, map[int]algs.Name{256: algs.ChaCha20Poly1305}},
	}
	for file, f := range files {
		t.Run(file, func(t *testing.T) {
			account := vectortest.New(t, string(f.name), "Wycheproof "+file)
			for _, g := range vectortest.Wycheproof[wycheproof](t, file).TestGroups {
				for _, v := range g.Tests {
					switch name := f.sizes[g.KeySize]; {
					case name == "":
						account.LeaveOut("this size of key is not offered")
					case g.IVSize != nonceBytes*8:
						account.LeaveOut("nonces have 96 bits: no message can name another length")
					case g.TagSize != tagBytes*8:
						account.LeaveOut("tags have 128 bits: no message can name another length")
					default:
						account.Check(v.ID, v.Result == "valid", v.run(name))
					}
				}
			}
		})
	}
}

// TestVectorsWycheproofOriginalCCM runs the sizes of key that only imported ciphertexts have.
func TestVectorsWycheproofOriginalCCM(t *testing.T) {
	account := vectortest.New(t, "AES-128-CCM and AES-192-CCM, reading", "Wycheproof aes_ccm_test.json")
	for _, g := range vectortest.Wycheproof[wycheproof](t, "aes_ccm_test.json").TestGroups {
		for _, v := range g.Tests {
			if g.KeySize == 256 || g.IVSize != nonceBytes*8 || g.TagSize != tagBytes*8 {
				account.LeaveOut("run as AES-256-CCM, or other sizes of nonce or tag than 96 and 128 bits")
				continue
			}
			got, err := OpenOriginal(nil, OriginalCCM, v.Key, v.IV, append(bytes.Clone(v.CT), v.Tag...), v.AAD)
			if err == nil && !bytes.Equal(got, v.Msg) {
				err = errDiffers
			}
			account.Check(v.ID, v.Result == "valid", err)
		}
	}
}

// TestVectorsWycheproofCBC runs the cipher under the MAC of AES-256-CBC, which the other sizes share.
func TestVectorsWycheproofCBC(t *testing.T) {
	account := vectortest.New(t, "AES-CBC with PKCS#7", "Wycheproof aes_cbc_pkcs5_test.json")
	for _, g := range vectortest.Wycheproof[wycheproof](t, "aes_cbc_pkcs5_test.json").TestGroups {
		for _, v := range g.Tests {
			account.Check(v.ID, v.Result == "valid", func() error {
				got, err := decryptCBC(nil, v.Key, v.IV, v.CT)
				if err != nil {
					return err
				}
				again, err := encryptCBC(nil, v.Key, v.IV, got)
				if err == nil && (!bytes.Equal(got, v.Msg) || !bytes.Equal(again, v.CT)) {
					err = errDiffers
				}
				return err
			}())
		}
	}
}

// TestVectorsWycheproofXTS runs the cipher under the MAC of AES-256-XTS, with ciphertext stealing. A vector may give fewer
// than 16 bytes of tweak: zeros follow.
func TestVectorsWycheproofXTS(t *testing.T) {
	account := vectortest.New(t, string(algs.AES256XTS), "Wycheproof aes_xts_test.json")
	for _, g := range vectortest.Wycheproof[wycheproof](t, "aes_xts_test.json").TestGroups {
		for _, v := range g.Tests {
			tweak := make([]byte, blockBytes)
			copy(tweak, v.IV)
			got, err := decryptXTS(nil, v.Key, tweak, v.CT)
			if err == nil && !bytes.Equal(got, v.Msg) {
				err = errDiffers
			}
			account.Check(v.ID, v.Result == "valid", err)
		}
	}
}

// source is a file of vectors from a document.
type source struct {
	Source string   `json:"source"`
	Cases  []vector `json:"cases"`
}

func load(t *testing.T, file string) source {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s source
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVectorsDocuments(t *testing.T) {
	files := map[string]string{"gcm.json": "AES-GCM", "rfc8439.json": "ChaCha20-Poly1305", "rfc8452.json": "AES-256-GCM-SIV"}
	for file, name := range files {
		t.Run(file, func(t *testing.T) {
			s := load(t, "testdata/"+file)
			account := vectortest.New(t, name, s.Source)
			for _, v := range s.Cases {
				account.Check(v.ID, true, v.run(v.Algorithm))
			}
		})
	}
}

// TestVectorsCCM runs the library's CCM with the sizes of nonce and tag that the examples have. None has ours, which
// Wycheproof covers. The associated data of example 4 is its 256 bytes, 256 times.
func TestVectorsCCM(t *testing.T) {
	s := load(t, "testdata/sp800-38c.json")
	account := vectortest.New(t, "AES-CCM", s.Source)
	for _, v := range s.Cases {
		if v.ID == "example 4" {
			v.AAD = bytes.Repeat(v.AAD, 256)
		}
		a, err := newCCM(v.Key, len(v.Tag), len(v.IV))
		if err != nil {
			t.Fatal(err)
		}
		want := append(bytes.Clone(v.CT), v.Tag...)
		got, err := a.Open(nil, v.IV, want, v.AAD)
		if err == nil && (!bytes.Equal(got, v.Msg) || !bytes.Equal(a.Seal(nil, v.IV, v.Msg, v.AAD), want)) {
			err = errDiffers
		}
		account.Check(v.ID, true, err)
	}
}

// TestVectorsModes runs CBC and CTR without their MAC. The vectors of CBC end with a whole block and have no padding: ours
// adds one block. Those of CTR give the whole first counter block.
func TestVectorsModes(t *testing.T) {
	s := load(t, "testdata/sp800-38a.json")
	account := vectortest.New(t, "AES-CBC and AES-CTR", s.Source)
	for _, v := range s.Cases {
		account.Check(v.ID, true, func() error {
			if v.Algorithm == algs.AES256CTR {
				there, err := cryptCTR(nil, v.Key, v.IV, v.Msg)
				if err != nil {
					return err
				}
				back, err := cryptCTR(nil, v.Key, v.IV, v.CT)
				if err == nil && (!bytes.Equal(there, v.CT) || !bytes.Equal(back, v.Msg)) {
					err = errDiffers
				}
				return err
			}
			there, err := encryptCBC(nil, v.Key, v.IV, v.Msg)
			if err != nil {
				return err
			}
			back, err := decryptCBC(nil, v.Key, v.IV, there)
			if err == nil && (!bytes.Equal(there[:len(v.CT)], v.CT) || !bytes.Equal(back, v.Msg)) {
				err = errDiffers
			}
			return err
		}())
	}
}
