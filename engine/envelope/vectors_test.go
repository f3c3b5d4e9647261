package envelope

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"testing"

	"cryptoserve/engine/vectortest"
)

// TestVectorsHKDF runs the two calls that derive keys here: extract and expand for imported frames, expand for our own.
func TestVectorsHKDF(t *testing.T) {
	account := vectortest.New(t, "HKDF-SHA256 in frames", "Wycheproof hkdf_sha256_test.json")
	file := vectortest.Wycheproof[struct {
		TestGroups []struct {
			Tests []struct {
				ID     int            `json:"tcId"`
				IKM    vectortest.Hex `json:"ikm"`
				Salt   vectortest.Hex `json:"salt"`
				Info   vectortest.Hex `json:"info"`
				OKM    vectortest.Hex `json:"okm"`
				Size   int            `json:"size"`
				Result string         `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}](t, "hkdf_sha256_test.json")
	for _, g := range file.TestGroups {
		for _, v := range g.Tests {
			whole, err := hkdf.Key(sha256.New, v.IKM, v.Salt, string(v.Info), v.Size)
			if err == nil {
				prk, extractErr := hkdf.Extract(sha256.New, v.IKM, v.Salt)
				expanded, expandErr := hkdf.Expand(sha256.New, prk, string(v.Info), v.Size)
				err = errors.Join(extractErr, expandErr)
				if err == nil && (!bytes.Equal(whole, v.OKM) || !bytes.Equal(expanded, v.OKM)) {
					err = errors.New("another key")
				}
			}
			account.Check(v.ID, v.Result == "valid", err)
		}
	}
}
