package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// useCase is something that an application does with a key, or without one.
type useCase struct {
	name              string
	protects, process bool // the grants that it needs; neither means either, or none where free
	free              bool // needs no grant at all
	// run returns what came out, which must be nothing when it fails.
	run func() (any, error)
}

// useCases are all of them but encrypt and decrypt, which have tests of their own, made so that they succeed again and again.
func (w *world) useCases(t testing.TB, s *policy.Subject) []useCase {
	t.Helper()
	ctx := t.Context()
	call := func() *engine.Call { return callOf(s) }
	ed, mac := w.newKey(algs.Ed25519, keys.Host), w.newKey(algs.HMACSHA256, keys.Host)
	pair, dh := w.newKey(algs.MLKEM768, keys.Host), w.newKey(algs.X25519, keys.Host)
	hpke, token := w.newKey(algs.HPKEP256AES256GCM, keys.Host), w.newKey(algs.ECDSAP256, keys.Token)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sign := engine.SignRequest{Key: ed, Message: []byte("m")}
	signed, err := w.engine.Sign(ctx, call(), &sign)
	must(err)
	code := engine.MACRequest{Key: mac, Message: []byte("m")}
	coded, err := w.engine.MAC(ctx, call(), &code)
	must(err)
	sent, err := w.engine.Encapsulate(ctx, call(), pair)
	must(err)
	peer, _, err := kem.Generate(algs.X25519)
	must(err)
	sealed, err := w.engine.KeyEncrypt(ctx, call(), &engine.KeyEncryptRequest{Key: hpke, Plaintext: []byte("p")})
	must(err)
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	streamed := w.encryptStream("user-pii", pattern(10), "")
	batch := func(data ...string) *engine.BatchRequest {
		return &engine.BatchRequest{Context: "user-pii", Items: items(data...)}
	}
	sink := func(out *bytes.Buffer) engine.Begin {
		return func(engine.StreamInfo) (io.Writer, error) { return out, nil }
	}
	// nothing turns an empty result into nil.
	nothing := func(empty bool, out any, err error) (any, error) {
		if empty {
			return nil, err
		}
		return out, err
	}
	return []useCase{
		{name: "encrypt a batch", protects: true, run: func() (any, error) {
			out, err := w.engine.EncryptBatch(ctx, call(), batch("a", "b"))
			return nothing(out.Items == nil, out, err)
		}},
		{name: "decrypt a batch", process: true, run: func() (any, error) {
			out, err := w.engine.DecryptBatch(ctx, call(), batch(string(frame)))
			if err == nil && out.Items[0].Err != nil {
				return nil, out.Items[0].Err
			}
			return nothing(out.Items == nil, out, err)
		}},
		{name: "rewrap", protects: true, process: true, run: func() (any, error) {
			out, err := w.engine.Rewrap(ctx, call(), &engine.RewrapRequest{Context: "user-pii", Ciphertext: frame})
			return nothing(out.Ciphertext == nil, out, err)
		}},
		{name: "rewrap a batch", protects: true, process: true, run: func() (any, error) {
			out, err := w.engine.RewrapBatch(ctx, call(), batch(string(frame)))
			return nothing(out.Items == nil, out, err)
		}},
		{name: "data key", protects: true, run: func() (any, error) {
			out, err := w.engine.DataKey(ctx, call(), &engine.DataKeyRequest{Context: "user-pii"}, true)
			return nothing(out.Plaintext == nil && out.Wrapped.Ciphertext == nil, out, err)
		}},
		{name: "wrapped data key", protects: true, run: func() (any, error) {
			out, err := w.engine.DataKey(ctx, call(), &engine.DataKeyRequest{Context: "user-pii"}, false)
			return nothing(out.Wrapped.Ciphertext == nil, out, err)
		}},
		{name: "encrypt a stream", protects: true, run: func() (any, error) {
			var out bytes.Buffer
			in := &engine.StreamRequest{Context: "user-pii", Length: -1}
			err := w.engine.EncryptStream(ctx, call(), in, bytes.NewReader([]byte("p")), sink(&out))
			return nothing(out.Len() == 0, out.Bytes(), err)
		}},
		{name: "decrypt a stream", process: true, run: func() (any, error) {
			var out bytes.Buffer
			in := &engine.StreamRequest{Context: "user-pii", Length: -1}
			err := w.engine.DecryptStream(ctx, call(), in, bytes.NewReader(streamed), sink(&out))
			return nothing(out.Len() == 0, out.Bytes(), err)
		}},
		{name: "sign", protects: true, run: func() (any, error) {
			out, err := w.engine.Sign(ctx, call(), &sign)
			return nothing(out.Signature == nil, out, err)
		}},
		{name: "sign in the token", protects: true, run: func() (any, error) {
			out, err := w.engine.Sign(ctx, call(), &engine.SignRequest{Key: token, Message: []byte("m")})
			return nothing(out.Signature == nil, out, err)
		}},
		{name: "verify", run: func() (any, error) {
			out, err := w.engine.Verify(ctx, call(), &engine.VerifyRequest{SignRequest: sign, Signature: signed.Signature})
			return nothing(!out.Valid, out, err)
		}},
		{name: "mac", protects: true, run: func() (any, error) {
			out, err := w.engine.MAC(ctx, call(), &code)
			return nothing(out.MAC == nil, out, err)
		}},
		{name: "verify a mac", run: func() (any, error) {
			out, err := w.engine.VerifyMAC(ctx, call(), &engine.MACVerifyRequest{MACRequest: code, MAC: coded.MAC})
			return nothing(!out.Valid, out, err)
		}},
		{name: "encapsulate", run: func() (any, error) {
			out, err := w.engine.Encapsulate(ctx, call(), pair)
			return nothing(out.SharedSecret == nil, out, err)
		}},
		{name: "decapsulate", process: true, run: func() (any, error) {
			out, err := w.engine.Decapsulate(ctx, call(), engine.KeyUse{Key: pair}, sent.Ciphertext)
			return nothing(out.Secret == nil, out, err)
		}},
		{name: "agree", process: true, run: func() (any, error) {
			out, err := w.engine.Agree(ctx, call(), &engine.AgreeRequest{KeyUse: engine.KeyUse{Key: dh}, Peer: peer})
			return nothing(out.Secret == nil, out, err)
		}},
		{name: "encrypt to a key", protects: true, run: func() (any, error) {
			out, err := w.engine.KeyEncrypt(ctx, call(), &engine.KeyEncryptRequest{Key: hpke, Plaintext: []byte("p")})
			return nothing(out.Ciphertext == nil, out, err)
		}},
		{name: "decrypt with a key", process: true, run: func() (any, error) {
			out, err := w.engine.KeyDecrypt(ctx, call(), &engine.KeyDecryptRequest{Key: hpke, Ciphertext: sealed.Ciphertext})
			return nothing(out.Secret == nil, out, err)
		}},
		{name: "read a key", run: func() (any, error) {
			out, err := w.engine.Key(ctx, call(), ed)
			return nothing(out.Record == nil, out, err)
		}},
		{name: "list keys", free: true, run: func() (any, error) {
			out, err := w.engine.Keys(ctx, call())
			return nothing(out == nil, out, err)
		}},
		{name: "hash", free: true, run: func() (any, error) {
			out, err := w.engine.Hash(ctx, call(), "", []byte("d"), 0)
			return nothing(out.Value == nil, out, err)
		}},
		{name: "derive", free: true, run: func() (any, error) {
			out, err := w.engine.DeriveKey(ctx, call(), "HKDF-SHA256", &kdf.Params{Secret: make([]byte, 32), OutputBytes: 32})
			return nothing(out.Value == nil, out, err)
		}},
		{name: "random", free: true, run: func() (any, error) {
			out, err := w.engine.Random(ctx, call(), 16)
			return nothing(out == nil, out, err)
		}},
		{name: "hash a password", free: true, run: func() (any, error) {
			out, err := w.engine.HashPassword(ctx, call(), "PBKDF2-SHA256", []byte("correct horse"))
			return nothing(out.Hash == "", out, err)
		}},
		{name: "algorithms", free: true, run: func() (any, error) {
			out, err := w.engine.Algorithms(ctx, call())
			return nothing(out == nil, out, err)
		}},
		{name: "FIPS status", free: true, run: func() (any, error) {
			out, err := w.engine.FIPS(ctx, call())
			return nothing(out.Total == 0, out, err)
		}},
	}
}

// TestInvariant03NoUseCaseAnswersWithoutItsRecord breaks the audit log for every use case.
func TestInvariant03NoUseCaseAnswersWithoutItsRecord(t *testing.T) {
	w := newWorld(t)
	for _, u := range w.useCases(t, subject(w.app)) {
		if out, err := u.run(); err != nil || out == nil {
			t.Errorf("%s: %v", u.name, err)
		}
		w.audit.fail.Store(true)
		out, err := u.run()
		w.audit.fail.Store(false)
		if !errors.Is(err, fault.AuditUnavailable) || out != nil {
			t.Errorf("%s without a record: %v, %v", u.name, out, err)
		}
	}
}

// TestInvariant04EveryUseCaseLosesItsRight takes each right of an application away, before a use case looks at the records and
// between its early look and the one after its work.
func TestInvariant04EveryUseCaseLosesItsRight(t *testing.T) {
	w, l := newShiftingWorld(t)
	grants := func(g ...directory.Grant) edits {
		return edits{application: func(a *directory.Application) { a.Grants = g }}
	}
	rights := []struct {
		name  string
		edits edits
		want  func(useCase) fault.Kind
	}{
		{"tenant disabled", edits{tenant: func(r *directory.Tenant) { r.Status = directory.Disabled }},
			func(useCase) fault.Kind { return fault.Unauthenticated }},
		{"application disabled", edits{application: func(r *directory.Application) { r.Status = directory.Disabled }},
			func(useCase) fault.Kind { return fault.Unauthenticated }},
		{"application's key replaced", edits{application: func(r *directory.Application) { r.KeyID = "appkey_2" }},
			func(useCase) fault.Kind { return fault.Unauthenticated }},
		{"every grant taken", grants(), func(u useCase) fault.Kind {
			switch {
			case u.free:
				return fault.Unknown
			case u.name == "read a key": // nobody is told that there is one
				return fault.NotFound
			default:
				return fault.Forbidden
			}
		}},
		{"grant to decrypt taken", grants(directory.Grant{Context: "user-pii", Encrypt: true}), func(u useCase) fault.Kind {
			if u.process {
				return fault.Forbidden
			}
			return fault.Unknown
		}},
		{"grant to encrypt taken", grants(directory.Grant{Context: "user-pii", Decrypt: true}), func(u useCase) fault.Kind {
			if u.protects {
				return fault.Forbidden
			}
			return fault.Unknown
		}},
		{"context disabled", edits{context: func(r *directory.Context) { r.Status = directory.Disabled }}, func(u useCase) fault.Kind {
			if u.free || u.name == "read a key" {
				return fault.Unknown
			}
			return fault.Forbidden
		}},
	}
	useCases := w.useCases(t, subject(w.app))
	for _, right := range rights {
		for _, u := range useCases {
			for _, when := range []moment{early, late} {
				if when == late && (u.free || u.name == "read a key") {
					continue // one look, and nothing of the appliance is used after it
				}
				t.Run(right.name+"/"+u.name+"/"+string(when), func(t *testing.T) {
					if _, err := u.run(); err != nil {
						t.Fatalf("before: %v", err)
					}
					l.shift(&right.edits, when)
					out, err := u.run()
					l.restore()
					if want := right.want(u); fault.Of(err) != want || (want != fault.Unknown) != (out == nil) {
						t.Errorf("got %v, %v, want %v", out, err, want)
					}
				})
			}
		}
	}
}

// condition is what a key version or its owner is in, and whether it then protects and processes.
type condition struct {
	name                string
	edits               edits
	protects, processes bool
}

// conditions are all states, and what else closes a version or opens it to few.
func conditions() []condition {
	state := func(s keys.State) func(*keys.Version) { return func(v *keys.Version) { v.State = s } }
	waiting := func(s keys.State) func(*keys.Version) {
		return func(v *keys.Version) { v.State, v.DestroyAt = s, 1<<60 }
	}
	permitted := func(a *directory.Application) {
		a.Grants = slices.Clone(a.Grants)
		for i := range a.Grants {
			a.Grants[i].Compromised = true
		}
	}
	minimum := edits{
		context: func(c *directory.Context) { c.MinimumVersion = 2 }, object: func(o *keys.Object) { o.MinimumVersion = 2 },
	}
	with := func(version func(*keys.Version)) edits { return edits{version: version, application: permitted} }
	return []condition{
		{"deactivated", edits{version: state(keys.Deactivated)}, false, true},
		{"suspended", edits{version: state(keys.Suspended)}, false, false},
		{"compromised", edits{version: state(keys.Compromised)}, false, false},
		{"destroyed", edits{version: state(keys.Destroyed)}, false, false},
		{"pre-activation", edits{version: state(keys.PreActivation)}, false, false},
		{"unknown", edits{version: state(keys.StateUnknown)}, false, false},
		{"compromised, with the permission", with(state(keys.Compromised)), false, true},
		{"suspended, with the permission", with(state(keys.Suspended)), false, false},
		{"destroyed, with the permission", with(state(keys.Destroyed)), false, false},
		{"deactivated and waiting", edits{version: waiting(keys.Deactivated)}, false, false},
		{"compromised and waiting, with the permission", with(waiting(keys.Compromised)), false, false},
		{"active and waiting", edits{version: waiting(keys.Active)}, false, false}, // which no command leads to
		{"below the minimum", minimum, true, false},
	}
}

// TestInvariant05KeyObjectStates puts the version of key objects into each condition, before a use and during its work.
func TestInvariant05KeyObjectStates(t *testing.T) {
	w, l := newShiftingWorld(t)
	useCases := w.useCases(t, subject(w.app))
	for _, c := range conditions() {
		for _, u := range useCases {
			protects := false
			switch u.name {
			case "sign", "sign in the token", "mac", "encapsulate", "encrypt to a key":
				protects = true
			case "verify", "verify a mac", "decapsulate", "agree", "decrypt with a key":
			default:
				continue
			}
			for _, when := range []moment{early, late} {
				t.Run(c.name+"/"+u.name+"/"+string(when), func(t *testing.T) {
					l.shift(&c.edits, when)
					out, err := u.run()
					l.restore()
					if protects && c.protects || !protects && c.processes {
						if err != nil {
							t.Errorf("it may be used: %v", err)
						}
						return
					}
					if !errors.Is(err, fault.KeyState) || out != nil {
						t.Errorf("got %v, %v", out, err)
					}
				})
			}
		}
	}
}

// TestInvariant05ContextConditions does the same for every use of a context's own key, streams, batches and rewrap included.
func TestInvariant05ContextConditions(t *testing.T) {
	w, l := newShiftingWorld(t)
	useCases := w.useCases(t, subject(w.app))
	for _, c := range conditions() {
		for _, u := range useCases {
			switch u.name {
			case "encrypt a batch", "data key", "wrapped data key", "encrypt a stream",
				"decrypt a batch", "rewrap", "decrypt a stream":
			default:
				continue
			}
			allowed := (!u.protects || c.protects) && (!u.process || c.processes)
			for _, when := range []moment{early, late} {
				t.Run(c.name+"/"+u.name+"/"+string(when), func(t *testing.T) {
					l.shift(&c.edits, when)
					out, err := u.run()
					l.restore()
					// A stream that has begun goes on when its version was deactivated, as after a rotation; and one that may not
					// process is cut off.
					if u.name == "encrypt a stream" && when == late {
						allowed := c.processes
						if (err == nil) != allowed {
							t.Errorf("got %v, want allowed: %v", err, allowed)
						}
						return
					}
					if allowed {
						if err != nil || out == nil {
							t.Errorf("it may be used: %v", err)
						}
						return
					}
					if k := fault.Of(err); k != fault.KeyState && k != fault.DecryptFailed || out != nil && u.name != "decrypt a stream" {
						t.Errorf("got %v, %v", out, err)
					}
				})
			}
		}
	}
}

// TestShortMACsOnlyWhenAskedFor: whoever verifies says how long the code has to be, not the code itself.
func TestShortMACsOnlyWhenAskedFor(t *testing.T) {
	w := newWorld(t)
	for _, p := range []keys.Protection{keys.Host, keys.Token} {
		name := w.newKey(algs.HMACSHA256, p)
		code := engine.MACRequest{Key: name, Message: []byte("m")}
		full, err := w.engine.MAC(t.Context(), w.call(), &code)
		if err != nil {
			t.Fatal(err)
		}
		for bytes, want := range map[int]bool{0: false, 16: true} {
			code.OutputBytes = bytes
			got, err := w.engine.VerifyMAC(t.Context(), w.call(), &engine.MACVerifyRequest{MACRequest: code, MAC: full.MAC[:16]})
			if err != nil || got.Valid != want {
				t.Errorf("%s, %d bytes asked for: %+v, %v", p, bytes, got, err)
			}
		}
		code.OutputBytes = 15
		if _, err := w.engine.VerifyMAC(t.Context(), w.call(), &engine.MACVerifyRequest{MACRequest: code, MAC: full.MAC[:15]}); !errors.Is(err, fault.Malformed) {
			t.Errorf("15 bytes: %v", err)
		}
	}
}

// TestSlowComputationsTakeTurns: signing with SLH-DSA waits for its turn and ends with its caller; everything else goes on.
func TestSlowComputationsTakeTurns(t *testing.T) {
	w := newWorld(t)
	slow, quick := w.newKey(algs.SLHDSASHA2128f, keys.Host), w.newKey(algs.Ed25519, keys.Host)
	release := w.engine.HoldSlow()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.engine.Sign(ctx, w.call(), &engine.SignRequest{Key: slow, Message: []byte("m")}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a caller that hung up: %v", err)
	}
	if _, err := w.engine.Sign(t.Context(), w.call(), &engine.SignRequest{Key: quick, Message: []byte("m")}); err != nil {
		t.Errorf("another algorithm: %v", err)
	}
	release()
	if _, err := w.engine.Sign(t.Context(), w.call(), &engine.SignRequest{Key: slow, Message: []byte("m")}); err != nil {
		t.Errorf("when there is a turn: %v", err)
	}
}
