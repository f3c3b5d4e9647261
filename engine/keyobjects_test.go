package engine_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keyenc"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/keywrap"
	"cryptoserve/engine/signature"
)

func keyName(name algs.Name, p keys.Protection) string {
	return p.String() + "-" + contextName(name, 4)
}

func (w *world) newKey(name algs.Name, p keys.Protection) string {
	w.t.Helper()
	spec := engine.KeySpec{Name: keyName(name, p), Context: "user-pii", Algorithm: string(name), Protection: p}
	if _, err := w.engine.CreateKey(w.t.Context(), w.owner(), spec); err != nil {
		w.t.Fatalf("%s: %v", spec.Name, err)
	}
	return spec.Name
}

// slowToMake are key pairs that would make the tests slow: their sizes differ from others only in time.
func slowToMake(name algs.Name) bool {
	s := string(name)
	return strings.HasPrefix(s, "SLH-DSA") && name != algs.SLHDSASHA2128f && name != algs.SLHDSASHAKE128f ||
		strings.HasPrefix(s, "RSA") && !strings.HasSuffix(s, "2048")
}

// TestEveryKeyAlgorithm makes a key of each algorithm and protection, uses it, rotates it and uses the old version.
func TestEveryKeyAlgorithm(t *testing.T) {
	w := newWorld(t)
	for _, row := range algs.Rows() {
		if keys.PurposeOf(row) == keys.PurposeUnknown || slowToMake(row.Name) {
			continue
		}
		for _, p := range []keys.Protection{keys.Host, keys.Token} {
			if p == keys.Host && row.Class == algs.ClassAEAD {
				continue
			}
			if err := w.vault.Supports(row.Name); p == keys.Token && err != nil {
				spec := engine.KeySpec{Name: "no", Context: "user-pii", Algorithm: string(row.Name), Protection: p}
				if _, err := w.engine.CreateKey(t.Context(), w.owner(), spec); !errors.Is(err, fault.AlgorithmDisallowed) {
					t.Errorf("%s in the token: %v", row.Name, err)
				}
				continue
			}
			name := w.newKey(row.Name, p)
			t.Run(name, func(t *testing.T) { w.useKey(t, row, name) })
		}
	}
}

// useKey does what a key is for, with its first version, after a rotation, and with the first version again.
func (w *world) useKey(t *testing.T, row algs.Row, name string) {
	ctx, message := t.Context(), []byte("message")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rotate := func() {
		t.Helper()
		info, err := w.engine.RotateKey(ctx, w.owner(), name)
		check(err)
		if len(info.Versions) != 2 || info.Versions[0].Number != 2 || info.Versions[1].State != keys.Deactivated {
			t.Fatalf("%+v", info)
		}
	}
	switch keys.PurposeOf(row) {
	case keys.PurposeSign:
		signed, err := w.engine.Sign(ctx, w.call(), &engine.SignRequest{Key: name, Message: message})
		check(err)
		rotate()
		for _, keyID := range []string{"", signed.KeyID} {
			got, err := w.engine.Verify(ctx, w.call(), &engine.VerifyRequest{
				SignRequest: engine.SignRequest{Key: name, Message: message}, Signature: signed.Signature, KeyID: keyID,
			})
			check(err)
			if !got.Valid || got.KeyID != signed.KeyID {
				t.Fatalf("%+v", got)
			}
		}
		got, err := w.engine.Verify(ctx, w.call(), &engine.VerifyRequest{
			SignRequest: engine.SignRequest{Key: name, Message: []byte("massage")}, Signature: signed.Signature,
		})
		check(err)
		if got.Valid || w.audit.last.Load().Cause != "invalid" {
			t.Fatalf("another message: %+v, %+v", got, w.audit.last.Load())
		}
	case keys.PurposeMAC:
		made, err := w.engine.MAC(ctx, w.call(), &engine.MACRequest{Key: name, Message: message})
		check(err)
		rotate()
		for tag, want := range map[string]bool{string(made.MAC): true, strings.Repeat("x", len(made.MAC)): false} {
			got, err := w.engine.VerifyMAC(ctx, w.call(), &engine.MACVerifyRequest{
				MACRequest: engine.MACRequest{Key: name, Message: message}, MAC: []byte(tag),
			})
			check(err)
			if got.Valid != want {
				t.Fatalf("%+v", got)
			}
		}
	case keys.PurposeKEM:
		sent, err := w.engine.Encapsulate(ctx, w.call(), name)
		check(err)
		rotate()
		got, err := w.engine.Decapsulate(ctx, w.call(), engine.KeyUse{Key: name, KeyID: sent.KeyID}, sent.Ciphertext)
		check(err)
		if !bytes.Equal(got.Secret, sent.SharedSecret) {
			t.Fatal("the secrets differ")
		}
		// Implicit rejection: the new version gives a secret, and another one.
		got, err = w.engine.Decapsulate(ctx, w.call(), engine.KeyUse{Key: name}, sent.Ciphertext)
		check(err)
		if bytes.Equal(got.Secret, sent.SharedSecret) {
			t.Fatal("two versions give one secret")
		}
	case keys.PurposeAgree:
		w.agreeWith(t, row, name)
	case keys.PurposeUnknown:
		t.Fatal("a key without a purpose")
	case keys.PurposeEncrypt:
		sealed, err := w.engine.KeyEncrypt(ctx, w.call(), &engine.KeyEncryptRequest{Key: name, Plaintext: message})
		check(err)
		rotate()
		for _, keyID := range []string{"", sealed.KeyID} {
			got, err := w.engine.KeyDecrypt(ctx, w.call(), &engine.KeyDecryptRequest{Key: name, Ciphertext: sealed.Ciphertext, KeyID: keyID})
			check(err)
			if !bytes.Equal(got.Secret, message) || got.KeyID != sealed.KeyID {
				t.Fatalf("%+v", got)
			}
		}
		sealed.Ciphertext[len(sealed.Ciphertext)-1] ^= 1
		if _, err := w.engine.KeyDecrypt(ctx, w.call(), &engine.KeyDecryptRequest{Key: name, Ciphertext: sealed.Ciphertext}); !errors.Is(err, fault.DecryptFailed) {
			t.Fatalf("a damaged ciphertext: %v", err)
		}
	}
}

func (w *world) agreeWith(t *testing.T, row algs.Row, name string) {
	ctx := t.Context()
	info, err := w.engine.Key(ctx, w.call(), name)
	if err != nil {
		t.Fatal(err)
	}
	peerPublic, peerPrivate, err := kem.Generate(row.Name)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := kem.ParsePrivate(row.Name, peerPrivate)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := peer.Agree(info.Versions[0].Public)
	if err != nil {
		t.Fatal(err)
	}
	pemText, err := keyenc.PEM(row.Name, peerPublic)
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.engine.Agree(ctx, w.call(), &engine.AgreeRequest{KeyUse: engine.KeyUse{Key: name}, Peer: peerPublic, Info: []byte("i")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.engine.Agree(ctx, w.call(), &engine.AgreeRequest{KeyUse: engine.KeyUse{Key: name}, PeerPEM: string(pemText), Info: []byte("i")})
	if err != nil || !bytes.Equal(a.Secret, b.Secret) || len(a.Secret) != 32 {
		t.Fatalf("the two forms of the peer's key: %v", err)
	}
	if want := hkdfSHA256(t, shared, nil, "i", 32); !bytes.Equal(a.Secret, want) {
		t.Fatal("the peer derives another key")
	}
	for _, bad := range [][]byte{nil, peerPublic[1:], make([]byte, len(peerPublic))} {
		if _, err := w.engine.Agree(ctx, w.call(), &engine.AgreeRequest{KeyUse: engine.KeyUse{Key: name}, Peer: bad}); !errors.Is(err, fault.Malformed) {
			t.Fatalf("a peer's key of %d bytes: %v", len(bad), err)
		}
	}
}

// TestWhoMayUseAKey: the grants in the key's context decide, by the key's own record.
func TestWhoMayUseAKey(t *testing.T) {
	w := newWorld(t)
	name := w.newKey(algs.Ed25519, keys.Host)
	other := w.newTenant("second")
	w.newContext(other, engine.ContextSpec{Name: "user-pii"})
	neighbour := w.newApplication(other, "neighbour", "user-pii")
	limited := w.newApplication(w.tenant, "limited", "payment-data")
	sign := &engine.SignRequest{Key: name, Message: []byte("m")}
	for who, app := range map[string]*directory.Application{"another tenant": neighbour, "another context": limited} {
		call := callOf(subject(app))
		if _, err := w.engine.Sign(t.Context(), call, sign); !errors.Is(err, fault.Forbidden) {
			t.Errorf("%s signs: %v", who, err)
		}
		if _, err := w.engine.Verify(t.Context(), call, &engine.VerifyRequest{SignRequest: *sign, Signature: make([]byte, 64)}); !errors.Is(err, fault.Forbidden) {
			t.Errorf("%s verifies: %v", who, err)
		}
		if _, err := w.engine.Key(t.Context(), call, name); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s reads: %v", who, err)
		}
		if list, err := w.engine.Keys(t.Context(), call); err != nil || len(list) != 0 {
			t.Errorf("%s lists %d keys, %v", who, len(list), err)
		}
		spec := engine.KeySpec{Name: "new", Context: "user-pii", Algorithm: "Ed25519"}
		if _, err := w.engine.CreateKey(t.Context(), call, spec); !errors.Is(err, fault.Forbidden) {
			t.Errorf("%s creates: %v", who, err)
		}
		if _, err := w.engine.SetKeyDisabled(t.Context(), call, name, true); !errors.Is(err, fault.Forbidden) {
			t.Errorf("%s disables: %v", who, err)
		}
	}
	if _, err := w.engine.Sign(t.Context(), &engine.Call{}, sign); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("nobody signs: %v", err)
	}
	if _, err := w.engine.RotateKey(t.Context(), w.userCall(other, directory.Owner), name); !errors.Is(err, fault.NotFound) {
		t.Errorf("the neighbour's owner rotates: %v", err)
	}
	if _, err := w.engine.RotateKey(t.Context(), w.userCall(w.tenant, directory.Viewer), name); !errors.Is(err, fault.Forbidden) {
		t.Errorf("a viewer rotates: %v", err)
	}
	if _, err := w.engine.Sign(t.Context(), w.owner(), sign); !errors.Is(err, fault.Forbidden) {
		t.Errorf("a user signs: %v", err)
	}
}

// TestInvariant04DisabledKeyServesNothing: once disabling has answered, the key neither protects nor processes.
func TestInvariant04DisabledKeyServesNothing(t *testing.T) {
	w := newWorld(t)
	name := w.newKey(algs.Ed25519, keys.Host)
	sign := engine.SignRequest{Key: name, Message: []byte("m")}
	signed, err := w.engine.Sign(t.Context(), w.call(), &sign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.SetKeyDisabled(t.Context(), w.owner(), name, true); err != nil {
		t.Fatal(err)
	}
	verify := &engine.VerifyRequest{SignRequest: sign, Signature: signed.Signature}
	if _, err := w.engine.Sign(t.Context(), w.call(), &sign); !errors.Is(err, fault.KeyState) {
		t.Errorf("it signs: %v", err)
	}
	if _, err := w.engine.Verify(t.Context(), w.call(), verify); !errors.Is(err, fault.KeyState) {
		t.Errorf("it verifies: %v", err)
	}
	if _, err := w.engine.RotateKey(t.Context(), w.owner(), name); !errors.Is(err, fault.KeyState) {
		t.Errorf("it rotates: %v", err)
	}
	info, err := w.engine.SetKeyDisabled(t.Context(), w.owner(), name, false)
	if err != nil || info.Record.Disabled {
		t.Fatalf("enable: %+v, %v", info, err)
	}
	if got, err := w.engine.Verify(t.Context(), w.call(), verify); err != nil || !got.Valid {
		t.Errorf("after enabling: %v", err)
	}
}

// TestKeyForAnotherPurpose: a key serves its own purpose only.
func TestKeyForAnotherPurpose(t *testing.T) {
	w := newWorld(t)
	signing, mac := w.newKey(algs.Ed25519, keys.Host), w.newKey(algs.HMACSHA256, keys.Host)
	if _, err := w.engine.MAC(t.Context(), w.call(), &engine.MACRequest{Key: signing}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a signing key makes codes: %v", err)
	}
	if _, err := w.engine.Sign(t.Context(), w.call(), &engine.SignRequest{Key: mac}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a MAC key signs: %v", err)
	}
	if _, err := w.engine.Encapsulate(t.Context(), w.call(), signing); !errors.Is(err, fault.Conflict) {
		t.Errorf("a signing key encapsulates: %v", err)
	}
	for _, spec := range []engine.KeySpec{
		{Name: "x", Context: "user-pii", Algorithm: "Ed25519", Purpose: keys.PurposeKEM},
		{Name: "X", Context: "user-pii", Algorithm: "Ed25519"},
		{Name: "x", Context: "user-pii", Algorithm: "SHA-256"},
		{Name: "x", Context: "user-pii", Algorithm: "AES-256-GCM"},
		{Name: "x", Context: "No", Algorithm: "Ed25519"},
		{Name: "x", Context: "user-pii", Algorithm: ""},
	} {
		if _, err := w.engine.CreateKey(t.Context(), w.owner(), spec); !errors.Is(err, fault.Malformed) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	for spec, want := range map[engine.KeySpec]fault.Kind{
		{Name: "x", Context: "none", Algorithm: "Ed25519"}:         fault.NotFound,
		{Name: signing, Context: "user-pii", Algorithm: "Ed25519"}: fault.Conflict,
	} {
		if _, err := w.engine.CreateKey(t.Context(), w.owner(), spec); !errors.Is(err, want) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
}

// TestJWS: a detached JWS names the version as kid, and only that one verifies it.
func TestJWS(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{w.newKey(algs.ECDSAP256, keys.Host), w.newKey(algs.ECDSAP256, keys.Token)} {
		request := engine.SignRequest{Key: name, Message: []byte(`{"a":1}`), Format: "jws"}
		signed, err := w.engine.Sign(t.Context(), w.call(), &request)
		if err != nil || signed.JWS == "" || signed.Signature != nil {
			t.Fatalf("%+v, %v", signed, err)
		}
		if _, err := w.engine.RotateKey(t.Context(), w.owner(), name); err != nil {
			t.Fatal(err)
		}
		for jws, want := range map[string]bool{signed.JWS: true, signed.JWS[:len(signed.JWS)-4] + "AAAA": false} {
			got, err := w.engine.Verify(t.Context(), w.call(), &engine.VerifyRequest{SignRequest: request, JWS: jws})
			if err != nil || got.Valid != want {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		if _, err := w.engine.Verify(t.Context(), w.call(), &engine.VerifyRequest{SignRequest: request, JWS: "a.b.c"}); !errors.Is(err, fault.Malformed) {
			t.Fatalf("no JWS: %v", err)
		}
		request.Prehashed = true
		if _, err := w.engine.Sign(t.Context(), w.call(), &request); !errors.Is(err, fault.Malformed) {
			t.Fatalf("a digest as JWS: %v", err)
		}
	}
}

// wrapFor wraps a key for an import's pair, as a caller would.
func wrapFor(t *testing.T, i *keys.Import, key []byte) []byte {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(i.Public)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := keywrap.Wrap(public.(*rsa.PublicKey), i.Hash, key)
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

// TestImport brings keys of other programs, to the host and into the token; each pair serves once and not for ever.
func TestImport(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []keys.Protection{keys.Host, keys.Token} {
		t.Run(p.String(), func(t *testing.T) {
			pair, err := w.engine.CreateImport(ctx, w.owner(), p)
			if err != nil {
				t.Fatal(err)
			}
			spec := engine.KeySpec{Name: "imported-" + p.String(), Context: "user-pii", Algorithm: string(algs.RSAPSS2048), Protection: p}
			in := engine.ImportRequest{Import: pair.ID, Wrapped: wrapFor(t, pair, pkcs8)}
			bad := in
			bad.Wrapped = bytes.Clone(in.Wrapped)
			bad.Wrapped[len(bad.Wrapped)-1] ^= 1
			if _, err := w.engine.ImportKey(ctx, w.owner(), spec, bad); !errors.Is(err, fault.Malformed) {
				t.Fatalf("damaged: %v", err)
			}
			wrong := spec
			wrong.Algorithm = string(algs.RSAPSS3072)
			if _, err := w.engine.ImportKey(ctx, w.owner(), wrong, in); !errors.Is(err, fault.Malformed) {
				t.Fatalf("a key of another size: %v", err)
			}
			info, err := w.engine.ImportKey(ctx, w.owner(), spec, in)
			if err != nil || !info.Versions[0].Imported {
				t.Fatalf("%+v, %v", info, err)
			}
			signed, err := w.engine.Sign(ctx, w.call(), &engine.SignRequest{Key: spec.Name, Message: []byte("m")})
			if err != nil {
				t.Fatal(err)
			}
			public, err := signature.ParsePublic(algs.RSAPSS2048, x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey))
			if err != nil {
				t.Fatal(err)
			}
			if err := public.Verify([]byte("m"), signed.Signature, signature.Options{}); err != nil {
				t.Fatal("the imported key signs as another")
			}
			if _, err := w.engine.ImportKey(ctx, w.owner(), spec, in); !errors.Is(err, fault.NotFound) {
				t.Fatalf("the pair serves twice: %v", err)
			}
			// A second import gives the same key object another version.
			if pair, err = w.engine.CreateImport(ctx, w.owner(), p); err != nil {
				t.Fatal(err)
			}
			info, err = w.engine.ImportKey(ctx, w.owner(), spec, engine.ImportRequest{Import: pair.ID, Wrapped: wrapFor(t, pair, pkcs8)})
			if err != nil || len(info.Versions) != 2 {
				t.Fatalf("%+v, %v", info, err)
			}
			// A pair of the other protection does not fit.
			other := map[keys.Protection]keys.Protection{keys.Host: keys.Token, keys.Token: keys.Host}[p]
			if pair, err = w.engine.CreateImport(ctx, w.owner(), other); err != nil {
				t.Fatal(err)
			}
			_, err = w.engine.ImportKey(ctx, w.owner(), spec, engine.ImportRequest{Import: pair.ID, Wrapped: wrapFor(t, pair, pkcs8)})
			if !errors.Is(err, fault.Conflict) {
				t.Fatalf("a pair of the other protection: %v", err)
			}
		})
	}
	pair, err := w.engine.CreateImport(ctx, w.owner(), keys.Host)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Add(int64(2 * time.Hour))
	defer w.clock.Add(-int64(2 * time.Hour))
	spec := engine.KeySpec{Name: "late", Context: "user-pii", Algorithm: string(algs.RSAPSS2048)}
	if _, err := w.engine.ImportKey(ctx, w.owner(), spec, engine.ImportRequest{Import: pair.ID, Wrapped: wrapFor(t, pair, pkcs8)}); !errors.Is(err, fault.NotFound) {
		t.Fatalf("an expired pair: %v", err)
	}
	if _, err := w.engine.CreateImport(ctx, w.owner(), keys.ProtectionUnknown); !errors.Is(err, fault.Malformed) {
		t.Fatalf("no protection: %v", err)
	}
}

// TestImportECKeyIntoTheToken: the token cannot tell the public half, so the caller gives it, and it must fit.
func TestImportECKeyIntoTheToken(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	der, public := newP256(t)
	_, foreign := newP256(t)
	spec := engine.KeySpec{Name: "imported-ec", Context: "user-pii", Algorithm: string(algs.ECDSAP256), Protection: keys.Token}
	pair, err := w.engine.CreateImport(ctx, w.owner(), keys.Token)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := wrapFor(t, pair, der)
	asPEM := func(spki []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	}
	for name, bad := range map[string]string{"another key's": asPEM(foreign), "no PEM": "x", "other PEM": strings.ReplaceAll(asPEM(public), "PUBLIC", "SECRET")} {
		if _, err := w.engine.ImportKey(ctx, w.owner(), spec, engine.ImportRequest{Import: pair.ID, Wrapped: wrapped, Public: bad}); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.engine.ImportKey(ctx, w.owner(), spec, engine.ImportRequest{Import: pair.ID, Wrapped: wrapped, Public: asPEM(public)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.Sign(ctx, w.call(), &engine.SignRequest{Key: spec.Name, Message: []byte("m")}); err != nil {
		t.Fatal(err)
	}
}
