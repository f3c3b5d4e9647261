package hsmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/hsm"
)

// Conformance runs the whole suite. fresh returns the configuration of an initialised token without objects, once for
// each of a few tests; they do not run side by side.
func Conformance(t *testing.T, fresh func(t *testing.T) hsm.Config) {
	t.Run("Derive", func(t *testing.T) { deriveVectors(t, openRaw(t, fresh(t)), true) })
	t.Run("Attributes", func(t *testing.T) { attributes(t, provisioned(t, fresh(t))) })
	t.Run("Restrictions", func(t *testing.T) { restrictions(t, provisioned(t, fresh(t))) })
	t.Run("WrappedKeys", func(t *testing.T) { wrappedKeys(t, fresh(t)) })
	t.Run("TokenKeys", func(t *testing.T) { tokenKeys(t, fresh(t)) })
	t.Run("Operations", func(t *testing.T) { operations(t, fresh(t)) })
	t.Run("Concurrency", func(t *testing.T) { concurrency(t, fresh(t)) })
	t.Run("TLS", func(t *testing.T) { servesTLS(t, fresh(t)) })
}

// open opens the token and makes its keys. It stays open until the test ends, or closeToken is called.
func open(tb testing.TB, c hsm.Config) (token *hsm.Token, closeToken func()) {
	tb.Helper()
	token, err := hsm.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	closeToken = sync.OnceFunc(func() {
		if err := token.Close(context.Background()); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	tb.Cleanup(closeToken)
	if err := token.Provision(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return token, closeToken
}

// provisioned makes the keys and returns a login below hsm on the same token.
func provisioned(tb testing.TB, c hsm.Config) *raw {
	tb.Helper()
	_, closeToken := open(tb, c)
	closeToken()
	return openRaw(tb, c)
}

// restrictions tries to get at the keys by everything that PKCS#11 offers a logged-in user.
func restrictions(t *testing.T, r *raw) {
	secrets := []string{hsm.LabelMaster, hsm.LabelWrapPrivate, hsm.LabelWrapSecret}
	known := aesKey(t, r)
	if _, err := r.m.WrapKey(r.s, mechanism(pkcs11.CKM_AES_KEY_WRAP_PAD), known, r.hmacKey(make([]byte, 32), true)); err != nil {
		t.Fatalf("the known key cannot wrap at all, so it shows nothing: %v", err)
	}
	for _, label := range hsm.Labels() {
		h := r.key(label)
		refused(t, label+" is read", func() error { _, err := r.value(h, pkcs11.CKA_VALUE); return err })
		refused(t, label+" is made readable", func() error {
			return r.m.SetAttributeValue(r.s, h, []*pkcs11.Attribute{attr(pkcs11.CKA_SENSITIVE, false)})
		})
		refused(t, label+" gets another label", func() error {
			return r.m.SetAttributeValue(r.s, h, []*pkcs11.Attribute{attr(pkcs11.CKA_LABEL, "x")})
		})
		refused(t, label+" is copied", func() error {
			_, err := r.m.CopyObject(r.s, h, []*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, false)})
			return err
		})
		refused(t, label+" is copied to a readable session object", func() error {
			_, err := r.m.CopyObject(r.s, h, []*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_SENSITIVE, false)})
			return err
		})
		for _, wrapping := range secrets[1:] {
			refused(t, label+" is wrapped by "+wrapping, func() error {
				_, err := r.m.WrapKey(r.s, mechanism(pkcs11.CKM_AES_KEY_WRAP_PAD), r.key(wrapping), h)
				return err
			})
		}
		refused(t, label+" is wrapped by a key that is known", func() error {
			_, err := r.m.WrapKey(r.s, mechanism(pkcs11.CKM_AES_KEY_WRAP_PAD), known, h)
			return err
		})
	}
	refused(t, "a user marks a key as trusted", func() error {
		_, err := r.m.CreateObject(r.s, aesTemplate(true))
		return err
	})
	for _, m := range []uint{pkcs11.CKM_SHA_1_HMAC, pkcs11.CKM_SHA384_HMAC, pkcs11.CKM_SHA512_HMAC} {
		refused(t, "the master key signs with another mechanism", func() error {
			return r.m.SignInit(r.s, mechanism(m), r.key(hsm.LabelMaster))
		})
	}
	for _, label := range secrets[1:] {
		refused(t, label+" makes a MAC", func() error {
			return r.m.SignInit(r.s, mechanism(pkcs11.CKM_AES_CMAC), r.key(label))
		})
	}
	refused(t, "the master key wraps", func() error {
		_, err := r.m.WrapKey(r.s, mechanism(pkcs11.CKM_AES_KEY_WRAP_PAD), r.key(hsm.LabelMaster), known)
		return err
	})
}

// failures are the codes of a token that failed rather than refused.
var failures = []pkcs11.Error{
	pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED,
	pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_OBJECT_HANDLE_INVALID,
	pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_ARGUMENTS_BAD,
}

// refused fails the test unless the token refuses what f does.
func refused(t *testing.T, what string, f func() error) {
	t.Helper()
	err := f()
	var code pkcs11.Error
	switch {
	case err == nil:
		t.Errorf("%s: the token allowed it", what)
	case !errors.As(err, &code) || slices.Contains(failures, code):
		t.Errorf("%s: not the token's answer: %v", what, err)
	}
}

func aesTemplate(trusted bool) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_WRAP, true), attr(pkcs11.CKA_TRUSTED, trusted),
		attr(pkcs11.CKA_VALUE, bytes.Repeat([]byte{1}, 32)),
	}
}

// aesKey imports an AES key whose value is known.
func aesKey(tb testing.TB, r *raw) pkcs11.ObjectHandle {
	tb.Helper()
	h, err := r.m.CreateObject(r.s, aesTemplate(false))
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// wrappedKeys tests the blobs of GenerateWrapped: hsm can use them, and a logged-in user gets nothing else out of them.
func wrappedKeys(t *testing.T, c hsm.Config) {
	token, closeToken := open(t, c)
	pub, blob, err := token.GenerateWrapped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	otherPub, otherBlob, err := token.GenerateWrapped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if pub.Equal(otherPub) || bytes.Equal(blob, otherBlob) {
		t.Error("two pairs are the same")
	}
	signer := token.WrappedSigner(pub, blob)
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		digest := digestOf(h)
		signature, err := signer.Sign(rand.Reader, digest, h)
		if err != nil {
			t.Fatalf("%v: %v", h, err)
		}
		if !ecdsa.VerifyASN1(pub, digest, signature) {
			t.Errorf("%v: the signature does not verify", h)
		}
	}
	digest := digestOf(crypto.SHA256)
	if _, err := token.WrappedSigner(pub, otherBlob).Sign(rand.Reader, digest, crypto.SHA256); err == nil {
		t.Error("the blob of another pair signed")
	}
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		if _, err := token.WrappedSigner(pub, bad).Sign(rand.Reader, digest, crypto.SHA256); err == nil {
			t.Errorf("a blob with byte %d changed signed", i)
		}
	}
	for _, bad := range [][]byte{nil, blob[:8], blob[:len(blob)-8], append(bytes.Clone(blob), make([]byte, 8)...)} {
		if _, err := token.WrappedSigner(pub, bad).Sign(rand.Reader, digest, crypto.SHA256); err == nil {
			t.Errorf("a blob of %d bytes signed", len(bad))
		}
	}
	if since, down := token.DownSince(); down {
		t.Fatalf("bad blobs count as an outage since %v", since)
	}
	closeToken()

	r := openRaw(t, c)
	private, secret := r.key(hsm.LabelWrapPrivate), r.key(hsm.LabelWrapSecret)
	kwp := mechanism(pkcs11.CKM_AES_KEY_WRAP_PAD)
	if h, err := r.m.UnwrapKey(r.s, kwp, private, blob, ecTemplate(pkcs11.CKO_PRIVATE_KEY, false, true, false)); err != nil {
		t.Errorf("the right template: %v", err)
	} else {
		refused(t, "an unwrapped key is read", func() error { _, err := r.value(h, pkcs11.CKA_VALUE); return err })
		refused(t, "an unwrapped key is wrapped again", func() error {
			_, err := r.m.WrapKey(r.s, kwp, aesKey(t, r), h)
			return err
		})
	}
	for name, template := range map[string][]*pkcs11.Attribute{
		"extractable":      ecTemplate(pkcs11.CKO_PRIVATE_KEY, false, true, true),
		"readable":         ecTemplate(pkcs11.CKO_PRIVATE_KEY, false, false, false),
		"permanent":        ecTemplate(pkcs11.CKO_PRIVATE_KEY, true, true, false),
		"as a secret":      secretTemplate(false, true, false),
		"readable secret":  secretTemplate(false, false, true),
		"permanent secret": secretTemplate(true, true, false),
	} {
		refused(t, "a wrapped private key comes back "+name, func() error {
			_, err := r.m.UnwrapKey(r.s, kwp, private, blob, template)
			return err
		})
	}
	wrapped, err := r.m.WrapKey(r.s, kwp, secret, r.hmacKey(make([]byte, 32), true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.m.UnwrapKey(r.s, kwp, secret, wrapped, secretTemplate(false, true, false)); err != nil {
		t.Errorf("a wrapped secret with the right template: %v", err)
	}
	for name, template := range map[string][]*pkcs11.Attribute{
		"extractable":  secretTemplate(false, true, true),
		"readable":     secretTemplate(false, false, false),
		"permanent":    secretTemplate(true, true, false),
		"as a private": ecTemplate(pkcs11.CKO_PRIVATE_KEY, false, true, false),
	} {
		refused(t, "a wrapped secret comes back "+name, func() error {
			_, err := r.m.UnwrapKey(r.s, kwp, secret, wrapped, template)
			return err
		})
	}
}

func ecTemplate(class uint, token, sensitive, extractable bool) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, class), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC), attr(pkcs11.CKA_TOKEN, token),
		attr(pkcs11.CKA_PRIVATE, true), attr(pkcs11.CKA_SENSITIVE, sensitive), attr(pkcs11.CKA_EXTRACTABLE, extractable),
		attr(pkcs11.CKA_SIGN, true),
	}
}

func secretTemplate(token, sensitive, extractable bool) []*pkcs11.Attribute {
	template := ecTemplate(pkcs11.CKO_SECRET_KEY, token, sensitive, extractable)
	template[1] = attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET)
	return template
}

// operations tests what hsm makes of the token.
func operations(t *testing.T, c hsm.Config) {
	token, closeToken := open(t, c)
	t.Run("Expand", func(t *testing.T) { expands(t, token) })
	t.Run("Random", func(t *testing.T) {
		seen := map[string]bool{}
		for range 100 {
			b, err := token.Random(t.Context(), 32)
			if err != nil || len(b) != 32 || seen[string(b)] {
				t.Fatalf("%d bytes, seen before %v, %v", len(b), seen[string(b)], err)
			}
			seen[string(b)] = true
		}
		for _, n := range []int{0, 1, 1023, 1024, 1025, 100_000} {
			b, err := token.Random(t.Context(), n)
			if err != nil || len(b) != n {
				t.Errorf("%d bytes asked, %d given, %v", n, len(b), err)
			}
		}
		for _, n := range []int{-1, 1<<20 + 1} {
			if _, err := token.Random(t.Context(), n); err == nil {
				t.Errorf("%d bytes were given", n)
			}
		}
	})
	t.Run("NodeSigner", func(t *testing.T) {
		signer := token.NodeSigner()
		pub := signer.Public().(*ecdsa.PublicKey)
		for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			digest := digestOf(h)
			signature, err := signer.Sign(rand.Reader, digest, h)
			if err != nil || !ecdsa.VerifyASN1(pub, digest, signature) {
				t.Errorf("%v: %v", h, err)
			}
		}
		if _, err := signer.Sign(rand.Reader, make([]byte, 20), crypto.SHA1); err == nil {
			t.Error("a SHA-1 digest was signed")
		}
		if _, err := signer.Sign(rand.Reader, make([]byte, 31), crypto.SHA256); err == nil {
			t.Error("a short digest was signed")
		}
	})
	out, err := token.Expand(t.Context(), []byte("info"), 64)
	if err != nil {
		t.Fatal(err)
	}
	kcv := token.MasterKCV()
	closeToken()
	t.Run("ByTheMasterKey", func(t *testing.T) { byTheMasterKey(t, openRaw(t, c), out.Reveal(), kcv) })
}

// byTheMasterKey computes what hsm gave out once more, step by step with HMACs by the master key itself.
func byTheMasterKey(t *testing.T, r *raw, out, kcv []byte) {
	mac := func(message ...[]byte) []byte {
		t.Helper()
		b, err := r.mac(r.key(hsm.LabelMaster))(slices.Concat(message...))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t1 := mac([]byte("info"), []byte{1})
	t2 := mac(t1, []byte("info"), []byte{2})
	if !bytes.Equal(out, slices.Concat(t1, t2)) {
		t.Error("Expand is not T(1) || T(2) of RFC 5869 section 2.3 under the master key")
	}
	if !bytes.Equal(kcv, mac([]byte("cryptoserve/kcv"))[:8]) {
		t.Error("the key check value is not that of the master key")
	}
}

// expands shows that outputs of different lengths agree, that another info gives another key and that no block repeats.
func expands(t *testing.T, token *hsm.Token) {
	expand := func(info []byte, n int) []byte {
		t.Helper()
		out, err := token.Expand(t.Context(), info, n)
		if err != nil {
			t.Fatal(err)
		}
		return out.Reveal()
	}
	long := expand([]byte("a"), hsm.MaxExpand)
	for _, n := range []int{1, 31, 32, 33, 64, 100, 8159} {
		if !bytes.Equal(expand([]byte("a"), n), long[:n]) {
			t.Errorf("%d bytes are not the start of more", n)
		}
	}
	if bytes.Equal(expand([]byte("a"), 32), expand([]byte("b"), 32)) || bytes.Equal(expand(nil, 32), expand([]byte{0}, 32)) {
		t.Error("another info gives the same key")
	}
	seen := map[string]bool{}
	for i := 0; i < len(long); i += sha256.Size {
		seen[string(long[i:i+sha256.Size])] = true
	}
	if len(seen) != 255 {
		t.Errorf("%d different blocks of 255", len(seen))
	}
	for _, n := range []int{-1, 0, hsm.MaxExpand + 1} {
		if _, err := token.Expand(t.Context(), nil, n); err == nil {
			t.Errorf("%d bytes were derived", n)
		}
	}
}

// concurrency uses every operation from many goroutines at once, more than there are sessions.
func concurrency(t *testing.T, c hsm.Config) {
	token, _ := open(t, c)
	pub, blob, err := token.GenerateWrapped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := token.Expand(t.Context(), []byte("info"), 64)
	if err != nil {
		t.Fatal(err)
	}
	digest := digestOf(crypto.SHA256)
	node, wrapped := token.NodeSigner(), token.WrappedSigner(pub, blob)
	signs := func(s crypto.Signer, pub *ecdsa.PublicKey) error {
		signature, err := s.Sign(rand.Reader, digest, crypto.SHA256)
		if err == nil && !ecdsa.VerifyASN1(pub, digest, signature) {
			err = errors.New("a signature does not verify")
		}
		return err
	}
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 20 {
				var err error
				switch i % 5 {
				case 0, 1:
					out, xerr := token.Expand(t.Context(), []byte("info"), 64)
					if err = xerr; err == nil && !bytes.Equal(out.Reveal(), want.Reveal()) {
						err = errors.New("another key for the same info")
					}
				case 2:
					_, err = token.Random(t.Context(), 100)
				case 3:
					err = signs(node, node.Public().(*ecdsa.PublicKey))
				case 4:
					err = signs(wrapped, pub)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			if _, _, err := token.GenerateWrapped(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// digestOf is the digest of a fixed message.
func digestOf(h crypto.Hash) []byte {
	d := h.New()
	d.Write([]byte("message"))
	return d.Sum(nil)
}
