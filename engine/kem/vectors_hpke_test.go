package kem

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
	"testing"

	circlhpke "github.com/cloudflare/circl/hpke"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// The reasons to leave out what is in the files of HPKE.
const (
	laterMessage = "a later message of a context: this package encrypts one message each"
	otherMode    = "a mode other than base"
)

type hpkeVector struct {
	Mode         uint16         `json:"mode"`
	KEM          uint16         `json:"kem_id"`
	KDF          uint16         `json:"kdf_id"`
	AEAD         uint16         `json:"aead_id"`
	Info         vectortest.Hex `json:"info"`
	SkRm         vectortest.Hex `json:"skRm"`
	PkRm         vectortest.Hex `json:"pkRm"`
	Enc          vectortest.Hex `json:"enc"`
	SharedSecret vectortest.Hex `json:"shared_secret"`
	Encryptions  []struct {
		Aad vectortest.Hex `json:"aad"`
		Ct  vectortest.Hex `json:"ct"`
		Pt  vectortest.Hex `json:"pt"`
	} `json:"encryptions"`
	Exports []struct {
		Context vectortest.Hex `json:"exporter_context"`
		L       int            `json:"L"`
		Value   vectortest.Hex `json:"exported_value"`
	} `json:"exports"`
}

func (v *hpkeVector) String() string { return fmt.Sprintf("%#04x,%d,%d", v.KEM, v.KDF, v.AEAD) }

// checkSuite opens the first message of the vector with the suite and leaves out the others.
func checkSuite(a *vectortest.Account, s hpkeSuite, v *hpkeVector) {
	key, err := s.parsePrivate(v.SkRm)
	if err == nil {
		err = same("the public key", nil, key.public(), v.PkRm)
	}
	for i, e := range v.Encryptions {
		if i > 0 {
			a.LeaveOut(laterMessage)
			continue
		}
		var got []byte
		if err == nil {
			got, err = key.(decrypter).decrypt(append(bytes.Clone(v.Enc), e.Ct...), v.Info, e.Aad)
		}
		a.Check(v, true, same("the plaintext", err, got, e.Pt))
		if err == nil {
			_, err = key.(decrypter).decrypt(append(bytes.Clone(v.Enc), e.Ct...), v.Info, append(bytes.Clone(e.Aad), 0))
			a.Check(fmt.Sprint(v, " with other aad"), false, err)
		}
	}
}

func TestVectorsHPKERFC9180(t *testing.T) {
	file := vectortest.Module[[]hpkeVector](t, circl, "hpke/testdata/vectors_rfc9180_5f503c5.json.gz")
	ours := map[[3]uint16]algs.Name{
		{0x20, 1, 2}: algs.HPKEX25519AES256GCM,
		{0x20, 1, 3}: algs.HPKEX25519ChaCha20Poly1305,
		{0x10, 1, 1}: algs.HPKEP256AES128GCM,
		{0x10, 1, 2}: algs.HPKEP256AES256GCM,
	}
	accounts := map[algs.Name]*vectortest.Account{}
	for _, name := range ours {
		accounts[name] = vectortest.New(t, string(name), "RFC 9180")
	}
	exports := vectortest.New(t, string(algs.P256MLKEM768AES256GCM), "RFC 9180, the export with another KEM")
	for _, v := range file {
		name, known := ours[[3]uint16{v.KEM, v.KDF, v.AEAD}]
		switch {
		case v.AEAD == 0xffff && v.Mode == 0 && v.KEM == 0x10 && v.KDF == 1:
			checkExports(exports, kemP256, &v)
		case !known: // a suite of none of our algorithms
		case v.Mode != 0:
			accounts[name].LeaveOut(otherMode)
		default:
			checkSuite(accounts[name], schemes[name].(hpkeSuite), &v)
		}
	}
}

// checkExports runs the export-only context of the hybrid with another KEM and the contexts of the vector.
func checkExports(a *vectortest.Account, k hpkeKEM, v *hpkeVector) {
	for i, e := range v.Exports {
		if len(v.Info) == 0 || e.L != secretBytes {
			a.LeaveOut("another length than 32")
			continue
		}
		s := hpkeExport{hpkeKEM: k, kdf: hpke.HKDFSHA256(), info: v.Info, context: string(e.Context)}
		key, err := s.parsePrivate(v.SkRm)
		var got []byte
		if err == nil {
			got, err = key.(decapsulator).decapsulate(v.Enc)
		}
		a.Check(fmt.Sprint(v, " export ", i), true, same("the exported value", err, got, e.Value))
	}
}

// TestVectorsHPKEPQ has the vectors of draft-ietf-hpke-pq whose KEM is ours; their KDF or AEAD is another.
func TestVectorsHPKEPQ(t *testing.T) {
	file := readTestdata[struct{ Vectors []hpkeVector }](t, "hpke-pq.json")
	kems := map[uint16]struct {
		name algs.Name
		kem  hpkeKEM
	}{
		0x11:   {algs.HPKEP384AES256GCM, kemP384},
		0x50:   {algs.HPKEMLKEM768P256, kemMLKEM768P256},
		0x647a: {algs.HPKEMLKEM768X25519, kemMLKEM768X25519},
	}
	accounts := map[uint16]*vectortest.Account{}
	for id, k := range kems {
		accounts[id] = vectortest.New(t, string(k.name), "draft-ietf-hpke-pq, the KEM with other KDFs and AEADs")
	}
	xwing := vectortest.New(t, string(algs.XWing), "draft-ietf-hpke-pq")
	for _, v := range file.Vectors {
		kdf, err := hpke.NewKDF(v.KDF)
		if err != nil {
			t.Fatal(err)
		}
		aead, err := hpke.NewAEAD(v.AEAD)
		if err != nil {
			t.Fatal(err)
		}
		checkSuite(accounts[v.KEM], hpkeSuite{kems[v.KEM].kem, kdf, aead}, &v)
		if v.KEM == 0x647a {
			// The KEM is X-Wing, and its secret stands in the vector.
			got, err := decapsulate(algs.XWing, v.SkRm, v.Enc)
			if err = same("the secret", err, got, v.SharedSecret); err == nil {
				err = keyOf(algs.XWing, v.SkRm, v.PkRm)
			}
			xwing.Check(&v, true, err)
		}
	}
}

// TestVectorsHPKEAgainstCircl exchanges messages, both ways, with another implementation: RFC 9180 has no vector for P-384,
// nor draft-ietf-hpke-pq one for our suite with X25519.
func TestVectorsHPKEAgainstCircl(t *testing.T) {
	for name, suite := range map[algs.Name]circlhpke.Suite{
		algs.HPKEX25519AES256GCM: circlhpke.NewSuite(circlhpke.KEM_X25519_HKDF_SHA256, circlhpke.KDF_HKDF_SHA256, circlhpke.AEAD_AES256GCM),
		algs.HPKEP256AES256GCM:   circlhpke.NewSuite(circlhpke.KEM_P256_HKDF_SHA256, circlhpke.KDF_HKDF_SHA256, circlhpke.AEAD_AES256GCM),
		algs.HPKEP384AES256GCM:   circlhpke.NewSuite(circlhpke.KEM_P384_HKDF_SHA384, circlhpke.KDF_HKDF_SHA384, circlhpke.AEAD_AES256GCM),
		algs.HPKEMLKEM768X25519:  circlhpke.NewSuite(circlhpke.KEM_XWING, circlhpke.KDF_HKDF_SHA256, circlhpke.AEAD_AES256GCM),
	} {
		a := vectortest.New(t, string(name), "circl hpke")
		kemID, _, _ := suite.Params()
		for i, size := range []int{0, 1, 32, 1000} {
			p := keyPair(t, name)
			plaintext, info, aad := make([]byte, size), []byte("info"), []byte("aad")
			ciphertext, err := Encrypt(name, p.public, plaintext, info, aad)
			if err != nil {
				t.Fatal(err)
			}
			n := schemes[name].size().Overhead - aeadTag
			a.Check(fmt.Sprint("to circl ", i), true, func() error {
				sk, err := kemID.Scheme().UnmarshalBinaryPrivateKey(p.private)
				if err != nil {
					return err
				}
				receiver, err := suite.NewReceiver(sk, info)
				if err != nil {
					return err
				}
				opener, err := receiver.Setup(ciphertext[:n])
				if err != nil {
					return err
				}
				got, err := opener.Open(ciphertext[n:], aad)
				return same("the plaintext", err, got, plaintext)
			}())
			a.Check(fmt.Sprint("from circl ", i), true, func() error {
				pk, err := kemID.Scheme().UnmarshalBinaryPublicKey(p.public)
				if err != nil {
					return err
				}
				sender, err := suite.NewSender(pk, info)
				if err != nil {
					return err
				}
				enc, sealer, err := sender.Setup(rand.Reader)
				if err != nil {
					return err
				}
				sealed, err := sealer.Seal(plaintext, aad)
				if err != nil {
					return err
				}
				got, err := mustPrivate(t, name, p.private).Decrypt(append(enc, sealed...), info, aad)
				return same("the plaintext", err, got, plaintext)
			}())
		}
	}
}

type golden struct {
	ECIES []struct {
		Algorithm    algs.Name
		Private      vectortest.Hex
		Public       vectortest.Hex
		SharedSecret vectortest.Hex `json:"shared_secret"`
		Plaintext    vectortest.Hex
		Info         vectortest.Hex
		AAD          vectortest.Hex
		Ciphertext   vectortest.Hex
	}
	HPKE []struct {
		Algorithm  algs.Name
		Private    vectortest.Hex
		Public     vectortest.Hex
		Plaintext  vectortest.Hex
		Info       vectortest.Hex
		AAD        vectortest.Hex
		Ciphertext vectortest.Hex
	}
	HybridContext struct {
		Algorithm  algs.Name
		Private    vectortest.Hex
		Public     vectortest.Hex
		Ciphertext vectortest.Hex
		Secret     vectortest.Hex
	} `json:"hybrid_context"`
}

// TestVectorsGolden has what another program computed from the text of doc.go. It must open for good.
func TestVectorsGolden(t *testing.T) {
	file := readTestdata[golden](t, "golden.json")
	h := file.HybridContext
	a := vectortest.New(t, string(h.Algorithm), "a computation of its own")
	got, err := decapsulate(h.Algorithm, h.Private, h.Ciphertext)
	if err = same("the secret", err, got, h.Secret); err == nil {
		err = keyOf(h.Algorithm, h.Private, h.Public)
	}
	a.Check("hybrid context", true, err)

	for _, v := range file.HPKE {
		a := vectortest.New(t, string(v.Algorithm), "a computation of its own")
		got, err := mustPrivate(t, v.Algorithm, v.Private).Decrypt(v.Ciphertext, v.Info, v.AAD)
		if err = same("the plaintext", err, got, v.Plaintext); err == nil {
			err = keyOf(v.Algorithm, v.Private, v.Public)
		}
		a.Check("HPKE", true, err)
	}

	accounts := map[algs.Name]*vectortest.Account{}
	for i, v := range file.ECIES {
		a, ok := accounts[v.Algorithm]
		if !ok {
			a = vectortest.New(t, string(v.Algorithm), "a computation of its own")
			accounts[v.Algorithm] = a
		}
		key := mustPrivate(t, v.Algorithm, v.Private)
		got, err := key.Decrypt(v.Ciphertext, v.Info, v.AAD)
		if err = same("the plaintext", err, got, v.Plaintext); err == nil {
			err = keyOf(v.Algorithm, v.Private, v.Public)
		}
		a.Check(fmt.Sprint(i, " with the key"), true, err)
		got, err = ECIESOpen(v.Algorithm, bytes.Clone(v.SharedSecret), v.Public, v.Ciphertext, v.Info, v.AAD)
		a.Check(fmt.Sprint(i, " with the shared secret"), true, same("the plaintext", err, got, v.Plaintext))
		_, err = key.Decrypt(v.Ciphertext, append(bytes.Clone(v.Info), 0), v.AAD)
		a.Check(fmt.Sprint(i, " with other info"), false, err)
	}
}
