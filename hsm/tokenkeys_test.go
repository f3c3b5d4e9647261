package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keywrap"
	"cryptoserve/hsm/internal/p11"
)

// tokenKey is a key of GenerateKey.
type tokenKey struct {
	name         algs.Name
	public, blob []byte
}

func (r *rig) newKey(tb testing.TB, name algs.Name) tokenKey {
	tb.Helper()
	public, blob, err := r.GenerateKey(tb.Context(), name)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return tokenKey{name, public, blob}
}

// parsed returns the public key.
func (k tokenKey) parsed(tb testing.TB) crypto.PublicKey {
	tb.Helper()
	pub, err := x509.ParsePKIXPublicKey(k.public)
	if err != nil {
		tb.Fatal(err)
	}
	return pub
}

var testDigest = sha256.Sum256([]byte("message"))

func (r *rig) sign(ctx context.Context, k tokenKey) error {
	_, err := r.SignDigest(ctx, k.name, k.blob, k.public, algs.SHA256, testDigest[:])
	return err
}

// held returns the handles of the keys that are unwrapped now.
func (r *rig) held() (handles []pkcs11.ObjectHandle) {
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	for _, k := range r.ring.held {
		handles = append(handles, k.handle)
	}
	return handles
}

// smallPairs makes the pairs that receive keys small until the test ends. hsmtest makes real ones.
func smallPairs(tb testing.TB) {
	bits := importPair.bits
	importPair.bits = 2048
	tb.Cleanup(func() { importPair.bits = bits })
}

// receiver is a pair of ImportPair.
type receiver struct {
	pub  *rsa.PublicKey
	blob []byte
	hash algs.Name
}

func (r *rig) newReceiver(tb testing.TB) receiver {
	tb.Helper()
	smallPairs(tb)
	public, blob, hash, err := r.ImportPair(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return receiver{tokenKey{public: public}.parsed(tb).(*rsa.PublicKey), blob, hash}
}

func (p receiver) wrap(tb testing.TB, key []byte) []byte {
	tb.Helper()
	wrapped, err := keywrap.Wrap(p.pub, p.hash, key)
	if err != nil {
		tb.Fatal(err)
	}
	return wrapped
}

// inToken brings a known key into the token.
func (r *rig) inToken(tb testing.TB, p receiver, name algs.Name, key []byte) tokenKey {
	tb.Helper()
	public, blob, err := r.ImportWrapped(tb.Context(), p.blob, name, p.wrap(tb, key), nil)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return tokenKey{name, public, blob}
}

// Algorithms that no token wraps, and names that are none, are refused without a call.
func TestUnsupportedAlgorithms(t *testing.T) {
	r := newToken(t)
	calls := r.faults.Calls("C_GenerateKeyPair") + r.faults.Calls("C_GenerateKey")
	for _, row := range algs.Rows() {
		if kinds[row.Name] != nil {
			continue
		}
		_, _, err := r.GenerateKey(t.Context(), row.Name)
		if !errors.Is(err, fault.AlgorithmDisallowed) || !strings.Contains(err.Error(), string(row.Name)) {
			t.Errorf("%s: %v", row.Name, err)
		}
		if err := r.Supports(row.Name); !errors.Is(err, fault.AlgorithmDisallowed) {
			t.Errorf("%s is supported: %v", row.Name, err)
		}
	}
	for _, name := range []algs.Name{"", "ecdsa-p256", "ECDSA-P256 ", "import pair"} {
		if _, _, err := r.GenerateKey(t.Context(), name); !errors.Is(err, fault.AlgorithmDisallowed) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []algs.Name{algs.Ed25519, algs.X25519, algs.MLDSA65, algs.MLKEM768} {
		if kinds[name] != nil {
			t.Errorf("%s is in the table", name)
		}
	}
	if n := r.faults.Calls("C_GenerateKeyPair") + r.faults.Calls("C_GenerateKey"); n != calls {
		t.Errorf("the token was asked %d times", n-calls)
	}
}

// SoftHSM2 has RSA-OAEP with SHA-1 only, and ignores labels. Both are found out, once.
func TestOAEPIsTriedOnce(t *testing.T) {
	r := newToken(t)
	made := r.faults.Calls("C_GenerateKeyPair")
	for range 2 {
		for _, name := range []algs.Name{algs.RSAOAEP2048, algs.RSAOAEP3072, algs.RSAOAEP4096} {
			_, _, err := r.GenerateKey(t.Context(), name)
			if !errors.Is(err, fault.AlgorithmDisallowed) || !strings.Contains(err.Error(), "SHA-256 and labels") {
				t.Errorf("%s: %v", name, err)
			}
			if err := r.Supports(name); !errors.Is(err, fault.AlgorithmDisallowed) {
				t.Errorf("%s is supported: %v", name, err)
			}
		}
	}
	if n := r.faults.Calls("C_GenerateKeyPair") - made; n != 1 {
		t.Errorf("%d pairs were made to find out", n)
	}
	if _, down := r.DownSince(); down {
		t.Error("a missing feature counts as an outage")
	}
}

// A trial that an outage cut short says nothing about the token.
func TestOAEPTrialIsRepeatedAfterAnOutage(t *testing.T) {
	r := newToken(t)
	r.faults.Set("C_DecryptInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), Times: 1})
	if err := r.Supports(algs.RSAOAEP2048); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("got %v", err)
	}
	r.run(t)
	r.waitUp(t)
	if err := r.Supports(algs.RSAOAEP2048); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("got %v", err)
	}
}

// oaepSHA1 is a kind that SoftHSM2 can serve, for the code of the one that it cannot.
func oaepSHA1(labels bool) *kind {
	k := oaepKind(algs.RSAOAEP2048, 2048)
	k.oaep = &oaep{SHA1, crypto.SHA1, pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, labels}
	return k
}

func TestDecryptOAEP(t *testing.T) {
	r := newToken(t)
	if _, _, err := r.generateKind(t.Context(), "test", oaepSHA1(true)); err == nil || !strings.Contains(err.Error(), "ignores the label") &&
		!errors.Is(err, errOtherKey) && classOf(err) != classUnspecific {
		t.Errorf("a token that ignores labels passed as one that does not: %v", err)
	}
	k := oaepSHA1(false)
	pub, blob, err := r.generateKind(t.Context(), "test", k)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"", "x", strings.Repeat("m", 2048/8-2*20-2)} {
		ciphertext, err := k.oaep.encrypt(pub.(*rsa.PublicKey), []byte(message), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.decryptOAEP(t.Context(), "test", k, blob, ciphertext, nil)
		if err != nil || string(got) != message {
			t.Errorf("%d bytes came back as %d: %v", len(message), len(got), err)
		}
	}
	good, err := k.oaep.encrypt(pub.(*rsa.PublicKey), []byte("message"), nil)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(good)
	changed[100] ^= 1
	for name, bad := range map[string][]byte{
		"nothing": nil, "changed": changed, "cut": good[1:], "longer": append(bytes.Clone(good), 0),
		"zero": make([]byte, 256), "above the modulus": bytes.Repeat([]byte{0xff}, 256),
	} {
		if _, err := r.decryptOAEP(t.Context(), "test", k, blob, bad, nil); fault.Of(err) != fault.DecryptFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.decryptOAEP(t.Context(), "test", k, blob, good, make([]byte, maxLabelBytes+1)); !errors.Is(err, fault.Malformed) {
		t.Errorf("a label too long: %v", err)
	}
	if _, down := r.DownSince(); down {
		t.Error("bad ciphertexts count as an outage")
	}
	// The token fails again and again: that is not the ciphertext's fault.
	r.faults.Set("C_Decrypt", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)})
	if _, err := r.decryptOAEP(t.Context(), "test", k, blob, good, nil); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("a token that fails: %v", err)
	}
	if _, err := r.DecryptOAEP(t.Context(), algs.RSAPSS2048, blob, good, nil); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("a key for signatures: %v", err)
	}
	// The name that is offered wants SHA-256, which this token refuses whatever the blob.
	r.faults.Clear()
	if _, err := r.DecryptOAEP(t.Context(), algs.RSAOAEP2048, blob, good, nil); err == nil {
		t.Error("SHA-256 was accepted")
	}
}

// The unwrapped objects are as restricted as the table says, read back from the token.
func TestUnwrappedKeysAreRestricted(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	r.ring.reset()
	for _, name := range []algs.Name{
		algs.ECDSAP256, algs.ECDHP256, algs.ECIESP384, algs.RSAPSS2048, algs.RSAPKCS12048,
		algs.AES256GCM, algs.HMACSHA256, algs.HMACSHA512, algs.AES128CMAC,
	} {
		r.newKey(t, name)
		r.checkHeld(t, kinds[name])
	}
	if _, _, err := r.ImportWrapped(t.Context(), p.blob, algs.AES256GCM, p.wrap(t, make([]byte, 32)), nil); err != nil {
		t.Fatal(err)
	}
	r.ring.reset()
	if _, _, err := r.ImportWrapped(t.Context(), p.blob, algs.AES256GCM, make([]byte, 300), nil); err == nil {
		t.Fatal("nonsense was imported")
	}
	r.checkHeld(t, importPair)
}

// checkHeld reads the attributes of the one key that is unwrapped, and forgets it.
func (r *rig) checkHeld(t *testing.T, k *kind) {
	t.Helper()
	handles := r.held()
	if len(handles) != 1 {
		t.Fatalf("%s: %d keys are unwrapped", k.name, len(handles))
	}
	defer r.ring.reset()
	all := secretUsages
	if k.pair() {
		all = privateUsages
	}
	rows := slices.Concat(usages(all, k.usages...), []attribute{
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, false},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true},
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false},
		{"CKA_ALLOWED_MECHANISMS", pkcs11.CKA_ALLOWED_MECHANISMS, p11.Mechanisms(k.use)},
	})
	err := r.do(t.Context(), "test", func(s *session) error {
		for _, a := range rows {
			got, err := read(r.module, s, handles[0], a.typ)
			if err != nil || !equal(a, got) {
				t.Errorf("%s: %s is %x, %v", k.name, a.name, got, err)
			}
		}
		value := uint(pkcs11.CKA_VALUE)
		if k.keyType == pkcs11.CKK_RSA {
			value = pkcs11.CKA_PRIVATE_EXPONENT
		}
		if got, err := read(r.module, s, handles[0], value); err == nil {
			t.Errorf("%s: %d bytes of the key were read", k.name, len(got))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSignDigestWithEveryHash(t *testing.T) {
	r := newToken(t)
	for _, name := range []algs.Name{algs.ECDSAP256, algs.ECDSAP384, algs.ECDSAP521, algs.RSAPSS2048, algs.RSAPKCS12048} {
		k := r.newKey(t, name)
		for hash, h := range hashes {
			d := h.host.New()
			d.Write([]byte("message"))
			digest := d.Sum(nil)
			signature, err := r.SignDigest(t.Context(), name, k.blob, k.public, hash, digest)
			if kinds[name].use == pkcs11.CKM_RSA_PKCS_PSS && h.mechanism == 0 {
				if !errors.Is(err, fault.AlgorithmDisallowed) {
					t.Errorf("%s with %s: %v", name, hash, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s with %s: %v", name, hash, err)
				continue
			}
			if !verifies(t, kinds[name], k.parsed(t), h.host, digest, signature) {
				t.Errorf("%s with %s: the signature does not verify", name, hash)
			}
		}
	}
}

// verifies is a check of its own, by the standard library alone.
func verifies(t *testing.T, k *kind, pub crypto.PublicKey, h crypto.Hash, digest, signature []byte) bool {
	t.Helper()
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		n := (pub.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*n {
			t.Fatalf("a signature of %d bytes", len(signature))
		}
		return ecdsa.Verify(pub, digest, new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:]))
	case *rsa.PublicKey:
		if k.use == pkcs11.CKM_RSA_PKCS_PSS {
			return rsa.VerifyPSS(pub, h, digest, signature, &rsa.PSSOptions{SaltLength: h.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(pub, h, digest, signature) == nil
	default:
		return false
	}
}

func TestSignDigestRefuses(t *testing.T) {
	r := newToken(t)
	k, other := r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.ECDSAP256)
	agrees, mac := r.newKey(t, algs.ECDHP256), r.newKey(t, algs.HMACSHA256)
	d := testDigest[:]
	for name, c := range map[string]struct {
		name         algs.Name
		blob, public []byte
		hash         algs.Name
		digest       []byte
		want         fault.Kind
	}{
		"no blob":                      {k.name, nil, k.public, algs.SHA256, d, fault.DecryptFailed},
		"a huge blob":                  {k.name, make([]byte, maxBlob+1), k.public, algs.SHA256, d, fault.DecryptFailed},
		"a short digest":               {k.name, k.blob, k.public, algs.SHA256, d[1:], fault.Malformed},
		"a digest of another hash":     {k.name, k.blob, k.public, algs.SHA384, d, fault.Malformed},
		"a hash that is none":          {k.name, k.blob, k.public, "MD5", d[:16], fault.AlgorithmDisallowed},
		"no public key":                {k.name, k.blob, nil, algs.SHA256, d, fault.Malformed},
		"a public key of another kind": {algs.ECDSAP384, k.blob, k.public, algs.SHA256, d, fault.Malformed},
		"the public key of another":    {k.name, k.blob, other.public, algs.SHA256, d, fault.Internal},
		"a key for agreement":          {agrees.name, agrees.blob, agrees.public, algs.SHA256, d, fault.AlgorithmDisallowed},
		"a MAC key":                    {mac.name, mac.blob, nil, algs.SHA256, d, fault.AlgorithmDisallowed},
	} {
		if sig, err := r.SignDigest(t.Context(), c.name, c.blob, c.public, c.hash, c.digest); fault.Of(err) != c.want || sig != nil {
			t.Errorf("%s: %d bytes, %v", name, len(sig), err)
		}
	}
	for name, blob := range map[string][]byte{"of a MAC key": mac.blob, "of an RSA key": r.newKey(t, algs.RSAPSS2048).blob} {
		if _, err := r.SignDigest(t.Context(), k.name, blob, k.public, algs.SHA256, d); err == nil {
			t.Errorf("the blob %s signed", name)
		}
	}
	for i := range k.blob {
		bad := bytes.Clone(k.blob)
		bad[i] ^= 1
		if _, err := r.SignDigest(t.Context(), k.name, bad, k.public, algs.SHA256, d); err == nil {
			t.Errorf("a blob with byte %d changed signed", i)
		}
	}
	if _, down := r.DownSince(); down {
		t.Error("bad requests count as an outage")
	}
	if err := r.sign(t.Context(), k); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// A signature that was changed on its way out of the token does not leave.
func TestFaultySignatureStaysInside(t *testing.T) {
	r := newRig(t)
	var spoil func([]byte)
	inject := r.cfg.wrapModule
	r.cfg.wrapModule = func(m p11.Module) p11.Module { return &spoiler{inject(m), &spoil} }
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []algs.Name{algs.ECDSAP256, algs.RSAPSS2048, algs.RSAPKCS12048} {
		k := r.newKey(t, name)
		spoil = func(b []byte) { b[len(b)-1] ^= 1 }
		if sig, err := r.SignDigest(t.Context(), name, k.blob, k.public, algs.SHA256, testDigest[:]); !errors.Is(err, fault.Internal) || sig != nil {
			t.Errorf("%s: %d bytes, %v", name, len(sig), err)
		}
		spoil = nil
		if err := r.sign(t.Context(), k); err != nil {
			t.Errorf("%s afterwards: %v", name, err)
		}
	}
}

// spoiler changes what the token signs, if it is told to.
type spoiler struct {
	p11.Module
	f *func([]byte)
}

func (s *spoiler) Sign(h pkcs11.SessionHandle, data []byte) ([]byte, error) {
	b, err := s.Module.Sign(h, data)
	if err == nil && *s.f != nil {
		(*s.f)(b)
	}
	return b, err
}

func TestAgree(t *testing.T) {
	r := newToken(t)
	for _, name := range []algs.Name{algs.ECDHP256, algs.ECDHP384, algs.ECIESP256, algs.ECIESP384} {
		k := r.newKey(t, name)
		curve := kinds[name].curve
		ours, err := k.parsed(t).(*ecdsa.PublicKey).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		// Until one secret has begun with a zero, which must not be left out.
		for zero := false; !zero; {
			peer, want := peerOf(t, curve.ecdh, ours, !zero)
			zero = want[0] == 0
			got, err := r.Agree(t.Context(), name, k.blob, peer)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Reveal(), want) {
				t.Fatalf("%s: another secret", name)
			}
		}
		good, _ := peerOf(t, curve.ecdh, ours, false)
		off := bytes.Clone(good)
		off[len(off)-1] ^= 1
		other := ecdh.P521()
		foreign, err := other.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		derived := r.faults.Calls("C_DeriveKey")
		for what, peer := range map[string][]byte{
			"nothing": nil, "infinity": {0}, "off the curve": off, "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0),
			"compressed": append([]byte{2}, good[1:1+curve.bytes]...), "of another curve": foreign.PublicKey().Bytes(),
			"zeros": append([]byte{4}, make([]byte, 2*curve.bytes)...),
		} {
			var f *fault.Error
			_, err := r.Agree(t.Context(), name, k.blob, peer)
			if !errors.As(err, &f) || f.Kind != fault.Malformed || len(f.Fields) != 1 || f.Fields[0].Name != "peer_public_key" {
				t.Errorf("%s with a peer that is %s: %v", name, what, err)
			}
		}
		if r.faults.Calls("C_DeriveKey") != derived {
			t.Error("the token was asked about a bad peer")
		}
	}
	signs := r.newKey(t, algs.ECDSAP256)
	if _, err := r.Agree(t.Context(), signs.name, signs.blob, nil); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("a key for signatures: %v", err)
	}
}

// peerOf returns a peer's public key and the secret shared with it, one that begins with a zero byte if asked to.
func peerOf(t *testing.T, curve ecdh.Curve, ours *ecdh.PublicKey, zero bool) (peer, shared []byte) {
	t.Helper()
	for {
		private, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		shared, err := private.ECDH(ours)
		if err != nil {
			t.Fatal(err)
		}
		if !zero || shared[0] == 0 {
			return private.PublicKey().Bytes(), shared
		}
	}
}

// The derived object is gone after every outcome: nothing readable stays in the token.
func TestAgreeLeavesNothing(t *testing.T) {
	r := newToken(t)
	k := r.newKey(t, algs.ECDHP256)
	ours, err := k.parsed(t).(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	peer, _ := peerOf(t, ecdh.P256(), ours, false)
	readable := func() int {
		t.Helper()
		var n int
		err := r.do(t.Context(), "test", func(s *session) error {
			found, err := r.module.Find(s.handle, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false)})
			n = len(found)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := r.Agree(t.Context(), k.name, k.blob, peer); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"C_GetAttributeValue", "C_DestroyObject"} {
		r.faults.Set(call, p11.Fault{Err: pkcs11.Error(pkcs11.CKR_FUNCTION_FAILED), Times: 1})
		_, err := r.Agree(t.Context(), k.name, k.blob, peer)
		if call == "C_GetAttributeValue" && err == nil {
			t.Error("nothing was read, and there is a secret")
		}
		r.faults.Clear()
		if n := readable(); n != 0 {
			t.Errorf("after a failed %s %d readable secrets are left", call, n)
		}
	}
}

func TestGCM(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	k := r.inToken(t, p, algs.AES256GCM, key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonces := map[string]bool{}
	for _, n := range []int{0, 1, 15, 16, 17, 1000, 1 << 20} {
		for _, aad := range [][]byte{nil, []byte("aad"), make([]byte, 1000)} {
			plaintext := bytes.Repeat([]byte{0xa5}, n)
			sealed, err := r.EncryptGCM(t.Context(), k.blob, plaintext, aad)
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) != 12+n+16 || nonces[string(sealed[:12])] {
				t.Fatalf("%d bytes, or a nonce again", len(sealed))
			}
			nonces[string(sealed[:12])] = true
			// The standard library opens it, and seals what the token opens.
			if got, err := gcm.Open(nil, sealed[:12], sealed[12:], aad); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%d bytes do not open: %v", n, err)
			}
			ours := gcm.Seal(bytes.Repeat([]byte{9}, 12), bytes.Repeat([]byte{9}, 12), plaintext, aad)
			if got, err := r.DecryptGCM(t.Context(), k.blob, ours, aad); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("the token does not open %d bytes: %v", n, err)
			}
		}
	}
}

func TestGCMRefuses(t *testing.T) {
	r := newToken(t)
	k, other := r.newKey(t, algs.AES256GCM), r.newKey(t, algs.AES256GCM)
	sealed, err := r.EncryptGCM(t.Context(), k.blob, []byte("plaintext"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{"nothing": nil, "shorter than a tag": sealed[:27], "cut": sealed[:len(sealed)-1], "only a nonce and a tag": sealed[:28]}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		bad["byte "+big.NewInt(int64(i)).String()] = changed
	}
	for what, b := range bad {
		if got, err := r.DecryptGCM(t.Context(), k.blob, b, []byte("aad")); !errors.Is(err, ErrTag) || !errors.Is(err, fault.DecryptFailed) || got != nil {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	if _, err := r.DecryptGCM(t.Context(), k.blob, sealed, []byte("other")); !errors.Is(err, ErrTag) || fault.CauseOf(err) != "tag" {
		t.Errorf("other associated data: %v", err)
	}
	if _, err := r.DecryptGCM(t.Context(), other.blob, sealed, []byte("aad")); !errors.Is(err, ErrTag) {
		t.Errorf("another key: %v", err)
	}
	big := make([]byte, MaxMessage+1)
	for what, f := range map[string]func() error{
		"plaintext":       func() error { _, err := r.EncryptGCM(t.Context(), k.blob, big, nil); return err },
		"associated data": func() error { _, err := r.EncryptGCM(t.Context(), k.blob, nil, big); return err },
		"ciphertext": func() error {
			_, err := r.DecryptGCM(t.Context(), k.blob, append(big, make([]byte, 28)...), nil)
			return err
		},
		"its associated": func() error { _, err := r.DecryptGCM(t.Context(), k.blob, sealed, big); return err },
		"MAC":            func() error { _, err := r.MAC(t.Context(), algs.HMACSHA256, k.blob, big); return err },
	} {
		if err := f(); !errors.Is(err, fault.TooLarge) {
			t.Errorf("%s too large: %v", what, err)
		}
	}
	if _, down := r.DownSince(); down {
		t.Error("bad ciphertexts count as an outage")
	}
	// A token that fails is no bad tag.
	for _, code := range []pkcs11.Error{pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_DEVICE_ERROR} {
		r.faults.Set("C_Decrypt", p11.Fault{Err: code})
		if _, err := r.DecryptGCM(t.Context(), k.blob, sealed, []byte("aad")); errors.Is(err, ErrTag) || !errors.Is(err, fault.HSMUnavailable) {
			t.Errorf("%v: %v", code, err)
		}
		r.faults.Clear()
	}
	r.faults.Set("C_DecryptInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID), Times: 1})
	if _, err := r.DecryptGCM(t.Context(), k.blob, sealed, []byte("aad")); errors.Is(err, ErrTag) || !errors.Is(err, fault.Internal) {
		t.Errorf("a mechanism that the token lacks: %v", err)
	}
	if got, err := r.DecryptGCM(t.Context(), k.blob, sealed, []byte("aad")); err != nil || string(got) != "plaintext" {
		t.Errorf("the good one: %v", err)
	}
}

func TestMAC(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	for name, h := range map[algs.Name]crypto.Hash{
		algs.HMACSHA256: crypto.SHA256, algs.HMACSHA384: crypto.SHA384, algs.HMACSHA512: crypto.SHA512,
	} {
		key := make([]byte, kinds[name].bits/8)
		_, _ = rand.Read(key)
		k := r.inToken(t, p, name, key)
		for _, n := range []int{0, 1, 63, 64, 65, 1000, 1 << 20} {
			message := make([]byte, n)
			got, err := r.MAC(t.Context(), name, k.blob, message)
			if err != nil {
				t.Fatal(err)
			}
			want := hmac.New(h.New, key)
			want.Write(message)
			if !bytes.Equal(got, want.Sum(nil)) {
				t.Errorf("%s of %d bytes is another", name, n)
			}
		}
	}
	gcm := r.newKey(t, algs.AES256GCM)
	if _, err := r.MAC(t.Context(), algs.AES256GCM, gcm.blob, nil); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("a MAC of %s: %v", algs.AES256GCM, err)
	}
}

// A token without a mechanism refuses what needs it, by its name, and nothing else.
func TestMissingMechanism(t *testing.T) {
	r := newRig(t)
	inject := r.cfg.wrapModule
	r.cfg.wrapModule = func(m p11.Module) p11.Module {
		return without{inject(m), []uint{pkcs11.CKM_AES_CMAC, pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKM_ECDH1_DERIVE}}
	}
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, lacks := range map[algs.Name]string{algs.AES128CMAC: "AES_CMAC", algs.ECDHP256: "ECDH1_DERIVE", algs.RSAOAEP2048: "RSA_PKCS_OAEP"} {
		for what, err := range map[string]error{
			"Supports":    r.Supports(name),
			"GenerateKey": func() error { _, _, err := r.GenerateKey(t.Context(), name); return err }(),
		} {
			if !errors.Is(err, fault.AlgorithmDisallowed) || !strings.Contains(err.Error(), lacks) {
				t.Errorf("%s of %s: %v", what, name, err)
			}
		}
	}
	if _, err := r.MAC(t.Context(), algs.AES128CMAC, []byte("blob"), nil); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("MAC: %v", err)
	}
	if _, _, _, err := r.ImportPair(t.Context()); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("ImportPair: %v", err)
	}
	if err := r.Supports(algs.ECDSAP256); err != nil {
		t.Error(err)
	}
	k := r.newKey(t, algs.ECDSAP256)
	if err := r.sign(t.Context(), k); err != nil {
		t.Error(err)
	}
}

// without hides mechanisms.
type without struct {
	p11.Module
	hidden []uint
}

func (w without) GetMechanismList(slot uint) ([]*pkcs11.Mechanism, error) {
	all, err := w.Module.GetMechanismList(slot)
	return slices.DeleteFunc(all, func(m *pkcs11.Mechanism) bool { return slices.Contains(w.hidden, m.Mechanism) }), err
}
