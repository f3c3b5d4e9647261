package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keywrap"
	"cryptoserve/hsm/internal/p11"
)

func TestImportPair(t *testing.T) {
	r := newToken(t)
	p, other := r.newReceiver(t), r.newReceiver(t)
	if p.pub.N.Cmp(other.pub.N) == 0 || bytes.Equal(p.blob, other.blob) {
		t.Error("two pairs are the same")
	}
	if p.hash != SHA1 || SHA1 != keywrap.SHA1 {
		t.Errorf("SoftHSM2 unwraps with %s", p.hash)
	}
	if _, err := r.DecryptOAEP(t.Context(), algs.RSAOAEP2048, p.blob, make([]byte, 256), nil); err == nil {
		t.Error("the pair decrypts")
	}
	key := make([]byte, 32)
	if _, _, err := r.ImportWrapped(t.Context(), other.blob, algs.AES256GCM, p.wrap(t, key), nil); !isBadWrapped(err) {
		t.Errorf("a key for another pair: %v", err)
	}
	wrapped, err := keywrap.Wrap(p.pub, algs.SHA256, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.ImportWrapped(t.Context(), p.blob, algs.AES256GCM, wrapped, nil); !isBadWrapped(err) {
		t.Errorf("a key wrapped with a hash that the token lacks: %v", err)
	}
}

func isBadWrapped(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.Malformed && len(f.Fields) == 1 && f.Fields[0].Name == "wrapped_key" &&
		f.Detail == "it is not a key of this algorithm that was wrapped for this import"
}

func pkcs8(tb testing.TB, key any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func newEC(tb testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func newRSA(tb testing.TB, bits int) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func TestImportPairsOfKeys(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	for _, k := range kindRows {
		if !k.pair() || k.oaep != nil || k.bits > 2048 {
			continue
		}
		for range 4 { // of an EC key, both parities
			var private interface{ Public() crypto.PublicKey }
			if k.curve != nil {
				private = newEC(t, k.curve.elliptic)
			} else {
				private = newRSA(t, k.bits)
			}
			want, err := x509.MarshalPKIXPublicKey(private.Public())
			if err != nil {
				t.Fatal(err)
			}
			der := pkcs8(t, private)
			got := r.inToken(t, p, k.name, der)
			if !bytes.Equal(got.public, want) {
				t.Fatalf("%s: another public key", k.name)
			}
			if bytes.Contains(got.blob, der[len(der)-32:]) {
				t.Errorf("%s: the blob has the key in clear", k.name)
			}
			if k.use != pkcs11.CKM_ECDH1_DERIVE {
				if err := r.sign(t.Context(), got); err != nil {
					t.Errorf("%s: %v", k.name, err)
				}
			}
			if _, _, err := r.ImportWrapped(t.Context(), p.blob, k.name, p.wrap(t, der), want); err != nil {
				t.Errorf("%s with its public key: %v", k.name, err)
			}
			for what, public := range map[string][]byte{"of another": r.newKey(t, algs.ECDSAP256).public, "that is none": {1}} {
				_, _, err := r.ImportWrapped(t.Context(), p.blob, k.name, p.wrap(t, der), public)
				var f *fault.Error
				if !errors.As(err, &f) || f.Kind != fault.Malformed || f.Fields[0].Name != "public_key" {
					t.Errorf("%s with a public key %s: %v", k.name, what, err)
				}
			}
		}
	}
	if _, _, err := r.ImportWrapped(t.Context(), p.blob, algs.RSAOAEP2048, p.wrap(t, pkcs8(t, newRSA(t, 2048))), nil); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("RSA-OAEP: %v", err)
	}
	if _, _, err := r.ImportWrapped(t.Context(), p.blob, algs.Ed25519, make([]byte, 300), nil); !errors.Is(err, fault.AlgorithmDisallowed) {
		t.Errorf("Ed25519: %v", err)
	}
}

// Whatever is wrong with a wrapped key, the answer is the same, the token stays up and nothing is left in it.
func TestImportRefuses(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	ec, rsaKey := pkcs8(t, newEC(t, elliptic.P256())), pkcs8(t, newRSA(t, 2048))
	weak := newRSA(t, 2048)
	weak.E = 3
	for weak.D = nil; weak.D == nil; {
		q := newRSA(t, 2048)
		phi := new(big.Int).Mul(new(big.Int).Sub(q.Primes[0], big.NewInt(1)), new(big.Int).Sub(q.Primes[1], big.NewInt(1)))
		if d := new(big.Int).ModInverse(big.NewInt(3), phi); d != nil {
			weak = &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: q.N, E: 3}, D: d, Primes: q.Primes}
			weak.Precompute()
		}
	}
	good := p.wrap(t, ec)
	cases := map[string]struct {
		name    algs.Name
		wrapped []byte
	}{
		"nothing":                          {algs.ECDSAP256, nil},
		"half a block":                     {algs.ECDSAP256, good[:100]},
		"a block and nothing":              {algs.ECDSAP256, good[:256]},
		"a block and 8 bytes":              {algs.ECDSAP256, good[:264]},
		"cut by 8 bytes":                   {algs.ECDSAP256, good[:len(good)-8]},
		"cut by a byte":                    {algs.ECDSAP256, good[:len(good)-1]},
		"longer by 8 bytes":                {algs.ECDSAP256, append(bytes.Clone(good), make([]byte, 8)...)},
		"too long":                         {algs.ECDSAP256, make([]byte, MaxWrapped+1)},
		"zeros":                            {algs.ECDSAP256, make([]byte, len(good))},
		"ones":                             {algs.ECDSAP256, bytes.Repeat([]byte{0xff}, len(good))},
		"another curve":                    {algs.ECDSAP384, good},
		"another curve, longer":            {algs.ECDSAP256, p.wrap(t, pkcs8(t, newEC(t, elliptic.P521())))},
		"another curve for agreement":      {algs.ECDHP256, p.wrap(t, pkcs8(t, newEC(t, elliptic.P384())))},
		"a curve that is not offered":      {algs.ECDSAP256, p.wrap(t, pkcs8(t, newEC(t, elliptic.P224())))},
		"EC for RSA":                       {algs.RSAPSS2048, good},
		"RSA for EC":                       {algs.ECDSAP256, p.wrap(t, rsaKey)},
		"RSA of another size":              {algs.RSAPSS3072, p.wrap(t, rsaKey)},
		"RSA of a longer size":             {algs.RSAPKCS12048, p.wrap(t, pkcs8(t, newRSA(t, 3072)))},
		"RSA with exponent 3":              {algs.RSAPSS2048, p.wrap(t, pkcs8(t, weak))},
		"a pair for AES":                   {algs.AES256GCM, good},
		"a secret for EC":                  {algs.ECDSAP256, p.wrap(t, make([]byte, 32))},
		"nonsense of the length of an EC":  {algs.ECDSAP256, p.wrap(t, make([]byte, len(ec)))},
		"nonsense of the length of an RSA": {algs.RSAPSS2048, p.wrap(t, make([]byte, len(rsaKey)))},
		"AES-128 for AES-256":              {algs.AES256GCM, p.wrap(t, make([]byte, 16))},
		"AES-256 for AES-128":              {algs.AES128CMAC, p.wrap(t, make([]byte, 32))},
		"31 bytes for AES":                 {algs.AES256GCM, p.wrap(t, make([]byte, 31))},
		"33 bytes for AES":                 {algs.AES256GCM, p.wrap(t, make([]byte, 33))},
		"31 bytes for HMAC":                {algs.HMACSHA256, p.wrap(t, make([]byte, 31))},
		"33 bytes for HMAC":                {algs.HMACSHA256, p.wrap(t, make([]byte, 33))},
		"32 bytes for HMAC-SHA512":         {algs.HMACSHA512, p.wrap(t, make([]byte, 32))},
	}
	for i := 0; i < len(good); i += 7 {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		cases["byte "+big.NewInt(int64(i)).String()] = struct {
			name    algs.Name
			wrapped []byte
		}{algs.ECDSAP256, bad}
	}
	r.ring.reset()
	before := r.objects(t)
	for name, c := range cases {
		if _, blob, err := r.ImportWrapped(t.Context(), p.blob, c.name, c.wrapped, nil); !isBadWrapped(err) || blob != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, down := r.DownSince(); down {
		t.Error("bad input counts as an outage")
	}
	left := r.objects(t) - before
	for _, h := range r.held() {
		left--
		_ = h
	}
	if left > 0 {
		t.Errorf("%d objects are left in the token", left)
	}
	r.inToken(t, p, algs.ECDSAP256, ec)
}

// objects counts what the token holds.
func (r *rig) objects(t *testing.T) (n int) {
	t.Helper()
	err := r.do(t.Context(), "test", func(s *session) error {
		found, err := r.module.Find(s.handle, nil)
		n = len(found)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Keys with bytes changed at random are wrapped well, so that the token parses them: it must not fall over.
func TestImportOfDamagedKeys(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	random := mrand.New(mrand.NewPCG(1, 2))
	for name, der := range map[algs.Name][]byte{
		algs.ECDSAP256: pkcs8(t, newEC(t, elliptic.P256())), algs.RSAPSS2048: pkcs8(t, newRSA(t, 2048)),
	} {
		for range 150 {
			bad := bytes.Clone(der)
			for range 1 + random.IntN(3) {
				bad[random.IntN(len(bad))] = byte(random.Uint32())
			}
			if random.IntN(4) == 0 {
				bad = bad[:16+random.IntN(len(bad)-16)]
			}
			public, blob, err := r.ImportWrapped(t.Context(), p.blob, name, p.wrap(t, bad), nil)
			if err != nil {
				if !isBadWrapped(err) {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			// What was changed does not matter, or made another key: then that key works.
			if err := r.sign(t.Context(), tokenKey{name, public, blob}); err != nil {
				t.Errorf("%s was taken and does not work: %v", name, err)
			}
		}
	}
	if _, down := r.DownSince(); down {
		t.Error("damaged keys count as an outage")
	}
}

// A failure of the token while a key comes in is the token's, not the key's.
func TestImportDuringAnOutage(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	wrapped := p.wrap(t, pkcs8(t, newEC(t, elliptic.P256())))
	r.run(t)
	for _, call := range []string{"C_UnwrapKey", "C_GetAttributeValue", "C_DeriveKey", "C_SignInit", "C_WrapKey"} {
		for _, code := range []pkcs11.Error{pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_GENERAL_ERROR} {
			r.faults.Set(call, p11.Fault{Err: code})
			if code == pkcs11.CKR_GENERAL_ERROR {
				r.faults.Set("C_GetTokenInfo", p11.Fault{Err: code})
			}
			_, _, err := r.ImportWrapped(t.Context(), p.blob, algs.ECDSAP256, wrapped, nil)
			if !errors.Is(err, fault.HSMUnavailable) {
				t.Errorf("%v at %s: %v", code, call, err)
			}
			r.faults.Clear()
			r.waitUp(t)
		}
		r.faults.Set(call, p11.Fault{Err: pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID), Times: 1})
		if _, _, err := r.ImportWrapped(t.Context(), p.blob, algs.ECDSAP256, wrapped, nil); err != nil {
			t.Errorf("a session lost at %s: %v", call, err)
		}
		r.faults.Clear()
	}
}

// Without a way to learn the exact length the padded form must do.
func TestImportLengthWithoutKeyWrap(t *testing.T) {
	r := newRig(t)
	inject := r.cfg.wrapModule
	r.cfg.wrapModule = func(m p11.Module) p11.Module { return without{inject(m), []uint{pkcs11.CKM_AES_KEY_WRAP}} }
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := r.newReceiver(t)
	for n, ok := range map[int]bool{16: false, 24: false, 32: true, 33: false, 40: false} {
		_, _, err := r.ImportWrapped(t.Context(), p.blob, algs.HMACSHA256, p.wrap(t, make([]byte, n)), nil)
		if ok && err != nil || !ok && !isBadWrapped(err) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestLegacy(t *testing.T) {
	r := newRig(t)
	var kept atomic.Int64
	r.cfg.AfterLogin = func() error { kept.Add(1); return r.store.Sync() }
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := r.newReceiver(t)
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	before := kept.Load()
	blob, kcv, err := r.ImportLegacy(t.Context(), 7, p.blob, p.wrap(t, key))
	if err != nil {
		t.Fatal(err)
	}
	if kept.Load() != before+1 {
		t.Errorf("the new object was made durable %d times", kept.Load()-before)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("cryptoserve/kcv"))
	if !bytes.Equal(kcv, mac.Sum(nil)[:8]) {
		t.Error("another key check value")
	}
	expands := func(what string) {
		t.Helper()
		for _, n := range []int{1, 31, 32, 33, 64} {
			got, err := r.LegacyExpand(t.Context(), 7, blob, kcv, []byte("info"), n)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			want, err := hkdf.Expand(sha256.New, key, "info", n)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Reveal(), want) {
				t.Errorf("%s: %d other bytes", what, n)
			}
		}
	}
	unwraps := r.faults.Calls("C_UnwrapKey")
	expands("by the object")
	if r.faults.Calls("C_UnwrapKey") != unwraps {
		t.Error("the blob was unwrapped although the token has the object")
	}
	r.legacyIsRestricted(t, 7)

	// The same key once more changes nothing; another one is refused.
	again, sameKCV, err := r.ImportLegacy(t.Context(), 7, p.blob, p.wrap(t, key))
	if err != nil || !bytes.Equal(sameKCV, kcv) {
		t.Errorf("the same key again: %v", err)
	}
	if _, err := r.LegacyExpand(t.Context(), 7, again, kcv, nil, 32); err != nil {
		t.Errorf("with the other blob: %v", err)
	}
	if n := r.countLabel(t, LabelLegacy(7)); n != 1 {
		t.Errorf("%d objects", n)
	}
	if _, _, err := r.ImportLegacy(t.Context(), 7, p.blob, p.wrap(t, make([]byte, 32))); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), "cs-legacy-7") {
		t.Errorf("another key: %v", err)
	}

	// After a restart it is the object again, on another node the blob.
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.open(t).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	expands("after a restart")
	destroyLabel(t, r, LabelLegacy(7))
	r.ring.reset()
	unwraps = r.faults.Calls("C_UnwrapKey")
	expands("by the blob")
	if n := r.faults.Calls("C_UnwrapKey") - unwraps; n != 1 {
		t.Errorf("%d unwraps for five calls", n)
	}
	for what, f := range map[string]func() error{
		"another check value": func() error { _, err := r.LegacyExpand(t.Context(), 7, blob, make([]byte, 8), nil, 32); return err },
		"no check value":      func() error { _, err := r.LegacyExpand(t.Context(), 7, blob, nil, nil, 32); return err },
	} {
		if err := f(); !errors.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, n := range []int{-1, 0, 65} {
		if _, err := r.LegacyExpand(t.Context(), 7, blob, kcv, nil, n); !errors.Is(err, fault.Malformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := r.LegacyExpand(t.Context(), 7, blob[1:], kcv, nil, 32); err == nil {
		t.Error("a damaged blob expanded")
	}
	for _, n := range []int{16, 31, 33, 64} {
		if _, _, err := r.ImportLegacy(t.Context(), 8, p.blob, p.wrap(t, make([]byte, n))); !isBadWrapped(err) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
	if n := r.countLabel(t, LabelLegacy(8)); n != 0 {
		t.Errorf("%d objects of a bad key", n)
	}
}

func (r *rig) countLabel(t *testing.T, label string) (n int) {
	t.Helper()
	err := r.do(t.Context(), "test", func(s *session) error {
		found, err := r.findLabel(s, label)
		n = len(found)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// legacyIsRestricted tries on the object what a logged-in program could.
func (r *rig) legacyIsRestricted(t *testing.T, n uint32) {
	t.Helper()
	err := r.do(t.Context(), "test", func(s *session) error {
		found, err := r.findLabel(s, LabelLegacy(n))
		if err != nil || len(found) != 1 {
			t.Fatalf("%d objects, %v", len(found), err)
		}
		h := found[0]
		keys, err := r.loaded("test")
		if err != nil {
			return err
		}
		for what, f := range map[string]func() error{
			"read":    func() error { _, err := read(r.module, s, h, pkcs11.CKA_VALUE); return err },
			"wrapped": func() error { _, err := r.module.WrapKey(s.handle, keyWrapPad(), keys.wrapSecret, h); return err },
			"used for another MAC": func() error {
				_, err := sign(r.module, s, pkcs11.NewMechanism(pkcs11.CKM_SHA512_HMAC, nil), h, nil)
				return err
			},
			"changed": func() error {
				return r.module.SetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)})
			},
			"copied": func() error {
				_, err := r.module.CopyObject(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)})
				return err
			},
		} {
			if err := f(); classOf(err) != classRequest {
				t.Errorf("the object was %s: %v", what, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A new object that cannot be made durable is taken back.
func TestLegacyThatCannotBeKept(t *testing.T) {
	r := newRig(t)
	var broken atomic.Bool
	r.cfg.AfterLogin = func() error {
		if broken.Load() {
			return os.ErrPermission
		}
		return nil
	}
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := r.newReceiver(t)
	broken.Store(true)
	if _, _, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, make([]byte, 32))); !errors.Is(err, fault.HSMUnavailable) ||
		!errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
	if n := r.countLabel(t, LabelLegacy(1)); n != 0 {
		t.Errorf("%d objects are left", n)
	}
	r.faults.Set("C_DestroyObject", p11.Fault{After: 4, Times: 1, Err: pkcs11.Error(pkcs11.CKR_DEVICE_MEMORY)})
	if _, _, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, make([]byte, 32))); !strings.Contains(err.Error(), "may be left with cs-legacy-1") {
		t.Errorf("an object that stays: %v", err)
	}
	r.faults.Clear()
	broken.Store(false)
	if _, _, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, make([]byte, 32))); err != nil {
		t.Errorf("the next try: %v", err)
	}
	if n := r.countLabel(t, LabelLegacy(1)); n != 1 {
		t.Errorf("%d objects", n)
	}
}

// An object with the right label and the wrong key, or with attributes that would let it out, is passed over for the blob.
func TestLegacyObjectIsProved(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	key := bytes.Repeat([]byte{7}, 32)
	blob, kcv, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, key))
	if err != nil {
		t.Fatal(err)
	}
	want, err := r.LegacyExpand(t.Context(), 1, blob, kcv, nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string][]byte{"another key": make([]byte, 32), "the key, readable": key} {
		destroyLabel(t, r, LabelLegacy(1))
		r.ring.reset()
		err := r.do(t.Context(), "test", func(s *session) error {
			template := knownSecret(value)
			template[2] = pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true)
			_, err := r.module.CreateObject(s.handle, append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, LabelLegacy(1))))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		unwraps := r.faults.Calls("C_UnwrapKey")
		got, err := r.LegacyExpand(t.Context(), 1, blob, kcv, nil, 32)
		if err != nil || !bytes.Equal(got.Reveal(), want.Reveal()) {
			t.Errorf("%s: %v", what, err)
		}
		if r.faults.Calls("C_UnwrapKey") == unwraps {
			t.Errorf("%s was used", what)
		}
		if _, _, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, key)); !errors.Is(err, fault.Conflict) {
			t.Errorf("%s: the import beside it: %v", what, err)
		}
	}
	destroyLabel(t, r, LabelLegacy(1))
	if _, _, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	r.ring.reset()
	if got, err := r.LegacyExpand(t.Context(), 1, blob, kcv, nil, 32); err != nil || !bytes.Equal(got.Reveal(), want.Reveal()) {
		t.Errorf("beside a well-made object of another deployment: %v", err)
	}
	if r.log.count("not the imported key") == 0 {
		t.Error("the log does not tell")
	}
}

// No form of an imported key is in a blob, an error or the log, whatever fails on the way.
func TestInvariant07ImportedKeysAreNotSeen(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	wrapped := p.wrap(t, key)
	var said bytes.Buffer
	r.run(t)
	errs := 0
	for _, call := range []string{
		"C_UnwrapKey", "C_WrapKey", "C_GetAttributeValue", "C_GenerateKey", "C_SignInit", "C_Sign", "C_EncryptInit", "C_Encrypt",
		"C_DecryptInit", "C_Decrypt", "C_DestroyObject", "C_FindObjects",
	} {
		for _, code := range []pkcs11.Error{pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_DEVICE_REMOVED} {
			for _, f := range []func() ([]byte, []byte, error){
				func() ([]byte, []byte, error) {
					return r.ImportWrapped(t.Context(), p.blob, algs.AES256GCM, wrapped, nil)
				},
				func() ([]byte, []byte, error) { return r.ImportLegacy(t.Context(), 1, p.blob, wrapped) },
			} {
				r.faults.Set(call, p11.Fault{Err: code, Times: 2})
				a, b, err := f()
				said.Write(a)
				said.Write(b)
				if err != nil {
					errs++
					said.WriteString(err.Error())
				}
				r.faults.Clear()
			}
			r.waitUp(t)
		}
	}
	if errs < 30 {
		t.Fatalf("only %d errors: the faults do not strike", errs)
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	all := append(said.Bytes(), r.log.b.Bytes()...)
	for _, text := range []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key)} {
		if bytes.Contains(all, []byte(text)) {
			t.Error("the key shows")
		}
	}
}
