package hsmtest

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keywrap"
	"cryptoserve/hsm"
)

// tokenKeys makes and imports keys of every algorithm that the token supports and lets the standard library judge what they do.
// What the token does not support it has to refuse, and the log tells.
func tokenKeys(t *testing.T, c hsm.Config) {
	token, closeToken := open(t, c)
	var blobs [][]byte
	t.Run("Generate", func(t *testing.T) {
		for _, row := range algs.Rows() {
			if err := token.Supports(row.Name); err != nil {
				if _, _, gerr := token.GenerateKey(t.Context(), row.Name); !errors.Is(gerr, fault.AlgorithmDisallowed) {
					t.Errorf("%s is not supported (%v), and: %v", row.Name, err, gerr)
				}
				continue
			}
			t.Run(string(row.Name), func(t *testing.T) {
				public, blob, err := token.GenerateKey(t.Context(), row.Name)
				if err != nil {
					t.Fatal(err)
				}
				blobs = append(blobs, blob)
				does(t, token, row, public, blob)
			})
		}
		for _, name := range []algs.Name{algs.RSAOAEP2048, algs.AES128CMAC, algs.ECDHP384} {
			t.Logf("%s: %v", name, token.Supports(name))
		}
	})
	i := newImporter(t, token)
	t.Run("Import", i.imports)
	t.Run("Legacy", i.legacy)
	if since, down := token.DownSince(); down {
		t.Fatalf("the token has been down since %v", since)
	}
	closeToken()
	t.Run("Blobs", func(t *testing.T) { onlyWrapped(t, openRaw(t, c), append(blobs, i.pair)) })
}

// does uses a key for what its algorithm is for.
func does(t *testing.T, token *hsm.Token, row algs.Row, public, blob []byte) {
	t.Helper()
	var pub crypto.PublicKey
	if public != nil {
		var err error
		if pub, err = x509.ParsePKIXPublicKey(public); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case row.Class == algs.ClassSignature:
		signsWith(t, token, row.Name, pub, public, blob)
	case row.Class == algs.ClassMAC:
		a, err := token.MAC(t.Context(), row.Name, blob, []byte("a"))
		b, berr := token.MAC(t.Context(), row.Name, blob, []byte("b"))
		if err != nil || berr != nil || bytes.Equal(a, b) {
			t.Errorf("MACs of two messages: %v, %v", err, berr)
		}
	case row.Class == algs.ClassAEAD:
		sealed, err := token.EncryptGCM(t.Context(), blob, []byte("plaintext"), []byte("aad"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := token.DecryptGCM(t.Context(), blob, sealed, []byte("aad")); err != nil || string(got) != "plaintext" {
			t.Errorf("it came back as %d bytes, %v", len(got), err)
		}
		for i := range sealed {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1
			if _, err := token.DecryptGCM(t.Context(), blob, bad, []byte("aad")); !errors.Is(err, hsm.ErrTag) {
				t.Errorf("byte %d changed: %v", i, err)
			}
		}
	case strings.HasPrefix(string(row.Name), "RSA-OAEP"):
		for _, label := range [][]byte{nil, []byte("label")} {
			ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub.(*rsa.PublicKey), []byte("plaintext"), label)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := token.DecryptOAEP(t.Context(), row.Name, blob, ciphertext, label); err != nil || string(got) != "plaintext" {
				t.Errorf("it came back as %d bytes, %v", len(got), err)
			}
		}
	default:
		agrees(t, token, row.Name, pub.(*ecdsa.PublicKey), blob)
	}
}

func signsWith(t *testing.T, token *hsm.Token, name algs.Name, pub crypto.PublicKey, public, blob []byte) {
	t.Helper()
	for hash, h := range map[algs.Name]crypto.Hash{algs.SHA256: crypto.SHA256, algs.SHA384: crypto.SHA384, algs.SHA512: crypto.SHA512} {
		digest := digestOf(h)
		signature, err := token.SignDigest(t.Context(), name, blob, public, hash, digest)
		if err != nil {
			t.Fatalf("%s: %v", hash, err)
		}
		good := false
		switch pub := pub.(type) {
		case *ecdsa.PublicKey:
			n := len(signature) / 2
			good = ecdsa.Verify(pub, digest, new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:]))
		case *rsa.PublicKey:
			if strings.HasPrefix(string(name), "RSA-PSS") {
				good = rsa.VerifyPSS(pub, h, digest, signature, &rsa.PSSOptions{SaltLength: h.Size()}) == nil
			} else {
				good = rsa.VerifyPKCS1v15(pub, h, digest, signature) == nil
			}
		}
		if !good {
			t.Errorf("%s: the signature does not verify", hash)
		}
	}
}

// agrees shares many secrets, so that some begin with a zero byte.
func agrees(t *testing.T, token *hsm.Token, name algs.Name, pub *ecdsa.PublicKey, blob []byte) {
	t.Helper()
	ours, err := pub.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		var peer *ecdh.PrivateKey
		if peer, err = ours.Curve().GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
		want, err := peer.ECDH(ours)
		if err != nil {
			t.Fatal(err)
		}
		got, err := token.Agree(t.Context(), name, blob, peer.PublicKey().Bytes())
		if err != nil || !bytes.Equal(got.Reveal(), want) {
			t.Fatalf("another secret, %v", err)
		}
	}
}

// importer is a pair of ImportPair.
type importer struct {
	token *hsm.Token
	pub   *rsa.PublicKey
	pair  []byte
	hash  algs.Name
}

func newImporter(t *testing.T, token *hsm.Token) importer {
	t.Helper()
	public, pair, hash, err := token.ImportPair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pub := parsed.(*rsa.PublicKey)
	if pub.N.BitLen() != 4096 {
		t.Errorf("a pair of %d bits", pub.N.BitLen())
	}
	t.Logf("keys are wrapped by RSA-OAEP with %s", hash)
	return importer{token, pub, pair, hash}
}

func (i importer) wrap(t *testing.T, key []byte) []byte {
	t.Helper()
	wrapped, err := keywrap.Wrap(i.pub, i.hash, key)
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

// imports brings in known keys.
func (i importer) imports(t *testing.T) {
	token := i.token
	bring := func(t *testing.T, name algs.Name, key []byte) (spki, blob []byte) {
		t.Helper()
		spki, blob, err := token.ImportWrapped(t.Context(), i.pair, name, i.wrap(t, key), nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(blob, key) || len(key) > 64 && bytes.Contains(blob, key[len(key)-32:]) {
			t.Error("the blob has the key in clear")
		}
		return spki, blob
	}
	for name, generate := range map[algs.Name]func() (crypto.Signer, error){
		algs.ECDSAP256:    func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		algs.ECDSAP521:    func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) },
		algs.ECDHP384:     func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		algs.RSAPSS2048:   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		algs.RSAPKCS14096: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 4096) },
	} {
		if err := token.Supports(name); err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		t.Run(string(name), func(t *testing.T) {
			key, err := generate()
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			want, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			spki, blob := bring(t, name, der)
			if !bytes.Equal(spki, want) {
				t.Fatal("another public key")
			}
			row, _ := algs.Lookup(name)
			does(t, token, row, spki, blob)
		})
	}
	t.Run("secrets", func(t *testing.T) {
		key := make([]byte, 32)
		_, _ = rand.Read(key)
		_, blob := bring(t, algs.HMACSHA256, key)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("message"))
		if got, err := token.MAC(t.Context(), algs.HMACSHA256, blob, []byte("message")); err != nil || !hmac.Equal(got, mac.Sum(nil)) {
			t.Errorf("another MAC, %v", err)
		}
		_, blob = bring(t, algs.AES256GCM, key)
		sealed, err := token.EncryptGCM(t.Context(), blob, []byte("message"), []byte("aad"))
		if err != nil {
			t.Fatal(err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := gcm.Open(nil, sealed[:12], sealed[12:], []byte("aad")); err != nil || string(got) != "message" {
			t.Errorf("the ciphertext does not open: %v", err)
		}
	})
}

func (i importer) legacy(t *testing.T) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	wrapped := i.wrap(t, key)
	blob, kcv, err := i.token.UnwrapLegacy(t.Context(), i.pair, wrapped)
	if err == nil {
		err = i.token.KeepLegacy(t.Context(), 1, kcv, i.pair, wrapped)
	}
	if err != nil {
		t.Fatal(err)
	}
	want, err := hkdf.Expand(sha256.New, key, "info", 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint32{1, 2} { // by the object, and by the blob
		got, err := i.token.LegacyExpand(t.Context(), n, blob, kcv, []byte("info"), 64)
		if err != nil || !bytes.Equal(got.Reveal(), want) {
			t.Errorf("number %d: another key, %v", n, err)
		}
	}
}

// onlyWrapped tries to unwrap the blobs into something that can be had out.
func onlyWrapped(t *testing.T, r *raw, blobs [][]byte) {
	kwp := mechanism(pkcs11.CKM_AES_KEY_WRAP_PAD)
	for _, blob := range blobs {
		for _, wrapping := range []string{hsm.LabelWrapPrivate, hsm.LabelWrapSecret} {
			for class, types := range map[uint][]uint{
				pkcs11.CKO_PRIVATE_KEY: {pkcs11.CKK_EC, pkcs11.CKK_RSA}, pkcs11.CKO_SECRET_KEY: {pkcs11.CKK_AES, pkcs11.CKK_GENERIC_SECRET},
			} {
				for _, typ := range types {
					for what, loose := range map[string][3]bool{
						"extractable": {false, true, true}, "readable": {false, false, false}, "permanent": {true, true, false},
					} {
						template := ecTemplate(class, loose[0], loose[1], loose[2])
						template[1] = attr(pkcs11.CKA_KEY_TYPE, typ)
						if _, err := r.m.UnwrapKey(r.s, kwp, r.key(wrapping), blob, template); err == nil {
							t.Errorf("a blob of %d bytes came back %s", len(blob), what)
						}
					}
				}
			}
		}
	}
	h := r.key(hsm.LabelLegacy(1))
	refused(t, "an imported master key is read", func() error { _, err := r.value(h, pkcs11.CKA_VALUE); return err })
	refused(t, "an imported master key is wrapped", func() error { _, err := r.m.WrapKey(r.s, kwp, aesKey(t, r), h); return err })
	refused(t, "an imported master key makes another MAC", func() error { return r.m.SignInit(r.s, mechanism(pkcs11.CKM_SHA512_HMAC), h) })
}
