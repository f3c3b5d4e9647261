package keywrap

import (
	"crypto/rsa"
	"crypto/x509"
	"testing"

	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// TestVectorsWycheproof runs the inner half both ways.
func TestVectorsWycheproof(t *testing.T) {
	file := vectortest.Wycheproof[struct {
		TestGroups []struct {
			KeySize int // in bits
			Tests   []struct {
				TcID         int
				Key, Msg, Ct vectortest.Hex
				Result       string
			}
		}
	}](t, "aes_kwp_test.json")
	account := vectortest.New(t, "AES-KWP", "Wycheproof aes_kwp_test.json")
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			valid := c.Result == "valid"
			switch {
			case g.KeySize != 8*transportBytes:
				account.LeaveOut("the transport key is of AES-256")
			case valid && len(c.Msg) < MinKey:
				account.LeaveOut("no key here is shorter than 16 bytes")
			default:
				got, err := unwrapAES(c.Key, c.Ct)
				if err == nil && valid {
					err = vectortest.Differ("the unwrapped key", string(got), string(c.Msg))
				}
				if err == nil && valid {
					err = wrapsTo(c.Key, c.Msg, c.Ct)
				}
				account.Check(c.TcID, valid, err)
			}
		}
	}
}

func wrapsTo(key, msg, want []byte) error {
	aes, err := kwp.NewKWP(key)
	if err != nil {
		return err
	}
	got, err := aes.Wrap(msg)
	if err != nil {
		return err
	}
	return vectortest.Differ("the wrapped key", string(got), string(want))
}

// TestVectorsOAEP runs the outer half, as far as it goes with one hash for both and no label.
func TestVectorsOAEP(t *testing.T) {
	for _, f := range []struct {
		hash algs.Name
		file string
	}{
		{SHA1, "rsa_oaep_2048_sha1_mgf1sha1_test.json"},
		{algs.SHA256, "rsa_oaep_2048_sha256_mgf1sha256_test.json"},
		{algs.SHA256, "rsa_oaep_3072_sha256_mgf1sha256_test.json"},
		{algs.SHA256, "rsa_oaep_4096_sha256_mgf1sha256_test.json"},
	} {
		file := vectortest.Wycheproof[struct {
			TestGroups []struct {
				PrivateKeyPkcs8 vectortest.Hex
				Tests           []struct {
					TcID           int
					Msg, Ct, Label vectortest.Hex
					Result         string
				}
			}
		}](t, f.file)
		account := vectortest.New(t, "RSA-OAEP with "+string(f.hash), "Wycheproof "+f.file)
		for _, g := range file.TestGroups {
			parsed, err := x509.ParsePKCS8PrivateKey(g.PrivateKeyPkcs8)
			if err != nil {
				t.Fatal(err)
			}
			key := parsed.(*rsa.PrivateKey)
			for _, c := range g.Tests {
				if len(c.Label) > 0 {
					account.LeaveOut("no label is used")
					continue
				}
				valid := c.Result == "valid"
				got, err := openBlock(key, f.hash, c.Ct)
				if err == nil && valid {
					err = vectortest.Differ("the message", string(got), string(c.Msg))
				}
				account.Check(c.TcID, valid, err)
			}
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	key := testKey()
	wrapped, err := Wrap(&key.PublicKey, algs.SHA256, make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	block := key.Size()
	seeds := [][]byte{nil, wrapped, wrapped[:block], wrapped[:block+8], wrapped[:len(wrapped)-1], append(wrapped[:len(wrapped):len(wrapped)], 0)}
	for _, s := range seeds {
		f.Add(s, 32)
	}
	f.Add(wrapped, 0)
	f.Add(wrapped, -1)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		got, err := Unwrap(key, algs.SHA256, b, most)
		if err != nil {
			if !isBadKey(err) {
				t.Fatalf("an error other than the one: %v", err)
			}
			return
		}
		if len(got) < MinKey || len(got) > most {
			t.Fatalf("%d bytes with a limit of %d", len(got), most)
		}
	})
}

// FuzzUnwrapAES reaches what FuzzUnwrap cannot, behind RSA.
func FuzzUnwrapAES(f *testing.F) {
	transport := make([]byte, transportBytes)
	f.Add(transport)
	f.Add([]byte{})
	f.Add(make([]byte, MaxKey+16))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := unwrapAES(transport, b); err == nil && (len(got) < MinKey || len(got) > len(b)-8) {
			t.Fatalf("%d bytes of %d", len(got), len(b))
		}
	})
}

func BenchmarkUnwrap(b *testing.B) {
	key := testKey()
	wrapped, err := Wrap(&key.PublicKey, algs.SHA256, make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Unwrap(key, algs.SHA256, wrapped, 32); err != nil {
			b.Fatal(err)
		}
	}
}
