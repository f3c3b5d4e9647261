package engine_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/keys"
)

// TestInvariant05FIPSGatesEveryUseCase walks use cases x algorithms in mode enabled. Keys and contexts of algorithms that are
// not approved were made before, in mode disabled.
func TestInvariant05FIPSGatesEveryUseCase(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	contexts := []string{"user-pii"}
	frames := map[string][]byte{}
	for _, row := range writable() {
		name := contextName(row.Name, 4)
		w.newContext(w.tenant, engine.ContextSpec{Name: name, Algorithm: row.Name})
		contexts = append(contexts, name)
	}
	w.app = w.newApplication(w.tenant, "all", contexts...)
	for _, row := range writable() {
		name := contextName(row.Name, 4)
		frames[name] = w.mustEncrypt(name, "p", "").Ciphertext
	}
	made := map[string]algs.Row{}
	for _, row := range algs.Rows() {
		if keys.PurposeOf(row) != keys.PurposeUnknown && row.Class != algs.ClassAEAD && row.Approval != algs.Approved {
			made[w.newKey(row.Name, keys.Host)] = row
		}
	}

	strict, err := engine.New(engine.Config{Vault: w.vault, Ledger: w.ledger, Audit: w.audit, FIPS: algs.Enabled})
	if err != nil {
		t.Fatal(err)
	}
	defer strict.Close()
	checked := 0
	expect := func(row algs.Row, what string, err error) {
		t.Helper()
		checked++
		if refused := errors.Is(err, fault.AlgorithmNotApproved); refused != (row.Approval != algs.Approved) {
			t.Errorf("%s, %s, approved %s: %v", row.Name, what, row.Approval, err)
		}
	}
	for _, row := range writable() {
		name := contextName(row.Name, 4)
		_, err := strict.Encrypt(ctx, w.call(), &engine.EncryptRequest{Context: name, Plaintext: []byte("p")})
		expect(row, "encrypt", err)
		_, err = strict.EncryptBatch(ctx, w.call(), &engine.BatchRequest{Context: name, Items: items("p")})
		expect(row, "encrypt a batch", err)
		_, err = strict.Decrypt(ctx, w.call(), &engine.DecryptRequest{Context: name, Ciphertext: frames[name]})
		expect(row, "decrypt", err)
		out, err := strict.DecryptBatch(ctx, w.call(), &engine.BatchRequest{Context: name, Items: []engine.BatchItem{{Data: frames[name]}}})
		if err != nil {
			t.Fatal(err)
		}
		expect(row, "decrypt a batch", out.Items[0].Err)
		_, err = strict.Rewrap(ctx, w.call(), &engine.RewrapRequest{Context: name, Ciphertext: frames[name]})
		expect(row, "rewrap", err)
		_, err = strict.DataKey(ctx, w.call(), &engine.DataKeyRequest{Context: name}, true)
		expect(row, "data key", err)
		var sink bytes.Buffer
		begin := func(engine.StreamInfo) (io.Writer, error) { return &sink, nil }
		err = strict.DecryptStream(ctx, w.call(), &engine.StreamRequest{Context: name, Length: -1}, bytes.NewReader(frames[name]), begin)
		expect(row, "decrypt a stream", err)
		if row.Approval != algs.Approved {
			err = strict.EncryptStream(ctx, w.call(), &engine.StreamRequest{Context: name, Length: -1}, strings.NewReader("p"), begin)
			expect(row, "encrypt a stream", err)
		}
		_, err = strict.RotateContext(ctx, strict.ApplianceCall("r", w.tenant), name)
		expect(row, "rotate a context", err)
		_, err = strict.CreateContext(ctx, strict.ApplianceCall("r", w.tenant), engine.ContextSpec{Name: name + "-new", Algorithm: row.Name})
		expect(row, "create a context", err)
		if row.Class == algs.ClassAEAD {
			_, err = strict.Encrypt(ctx, w.call(), &engine.EncryptRequest{Context: "aes-256-gcm", Plaintext: []byte("p"), Algorithm: string(row.Name)})
			if row.Approval != algs.Approved {
				expect(row, "name it", err)
			}
			_, err = strict.CreateContext(ctx, strict.ApplianceCall("r", w.tenant), engine.ContextSpec{Name: name + "-allowed", Allowed: []algs.Name{row.Name}})
			expect(row, "allow it", err)
		}
	}
	for _, row := range algs.Rows() {
		switch row.Class {
		case algs.ClassHash:
			_, err = strict.Hash(ctx, w.call(), string(row.Name), []byte("m"), 0)
			expect(row, "hash", err)
		case algs.ClassKDF, algs.ClassPassword:
			_, err = strict.DeriveKey(ctx, w.call(), string(row.Name), derivation(row))
			expect(row, "derive", err)
			if row.Class == algs.ClassPassword {
				_, err = strict.HashPassword(ctx, w.call(), string(row.Name), []byte("correct horse"))
				expect(row, "hash a password", err)
			}
		case algs.ClassSignature, algs.ClassMAC, algs.ClassKEM, algs.ClassAgreement, algs.ClassPublicEncryption:
			if slowToMake(row.Name) && row.Approval == algs.Approved {
				continue // their approval is that of the ones that are quick
			}
			_, err = strict.CreateKey(ctx, w.owner(), engine.KeySpec{Name: "strict-" + keyName(row.Name, keys.Host), Context: "user-pii", Algorithm: string(row.Name)})
			expect(row, "create a key", err)
		case algs.ClassAEAD, algs.ClassHybrid, algs.ClassUnknown:
		}
	}
	for name, row := range made {
		expect(row, "rotate a key", second(strict.RotateKey(ctx, w.owner(), name)))
		switch keys.PurposeOf(row) {
		case keys.PurposeSign:
			expect(row, "sign", second(strict.Sign(ctx, w.call(), &engine.SignRequest{Key: name})))
			expect(row, "verify", second(strict.Verify(ctx, w.call(), &engine.VerifyRequest{SignRequest: engine.SignRequest{Key: name}})))
		case keys.PurposeMAC:
			expect(row, "mac", second(strict.MAC(ctx, w.call(), &engine.MACRequest{Key: name})))
			expect(row, "verify a mac", second(strict.VerifyMAC(ctx, w.call(), &engine.MACVerifyRequest{MACRequest: engine.MACRequest{Key: name}})))
		case keys.PurposeKEM:
			expect(row, "encapsulate", second(strict.Encapsulate(ctx, w.call(), name)))
			expect(row, "decapsulate", second(strict.Decapsulate(ctx, w.call(), engine.KeyUse{Key: name}, nil)))
		case keys.PurposeAgree:
			expect(row, "agree", second(strict.Agree(ctx, w.call(), &engine.AgreeRequest{KeyUse: engine.KeyUse{Key: name}})))
		case keys.PurposeUnknown:
			t.Errorf("%s has a key without a purpose", row.Name)
		case keys.PurposeEncrypt:
			expect(row, "encrypt to a key", second(strict.KeyEncrypt(ctx, w.call(), &engine.KeyEncryptRequest{Key: name})))
			expect(row, "decrypt with a key", second(strict.KeyDecrypt(ctx, w.call(), &engine.KeyDecryptRequest{Key: name})))
		}
	}
	for _, encoded := range []string{
		"$argon2id$v=19$m=65536,t=3,p=4$Jk7CO1qKJKixM6pru8TPVg$+hefRl9MxOcRB/9g/yH1LjXJv5xuisBpmakyXUuMzzM",
		"$2b$12$abcdefghijklmnopqrstuu5LoxGAuKi5bZ6zlF5kAq9CqC1i6q1Ue",
	} {
		if _, err := strict.VerifyPassword(ctx, w.call(), encoded, []byte("p")); !errors.Is(err, fault.AlgorithmNotApproved) {
			t.Errorf("verify %.9s: %v", encoded, err)
		}
	}
	if out, err := strict.HashPassword(ctx, w.call(), "", []byte("correct horse")); err != nil || out.Algorithm != "PBKDF2-SHA256" {
		t.Errorf("the default for passwords: %+v, %v", out, err)
	}
	t.Logf("%d combinations of use case and algorithm", checked)
}

func second[T any](_ T, err error) error { return err }

// derivation returns lawful and approved parameters of small cost.
func derivation(row algs.Row) *kdf.Params {
	p := &kdf.Params{Secret: make([]byte, 32), OutputBytes: 32}
	switch {
	case row.Class == algs.ClassPassword:
		p.Salt = make([]byte, 16)
		switch row.Name {
		case algs.Argon2id:
			p.Cost = kdf.Cost{MemoryKiB: 8 << 10, Time: 1, Parallelism: 1}
		case algs.Scrypt:
			p.Cost = kdf.Cost{N: kdf.MinN, R: 8, P: 1}
		default:
			p.Cost = kdf.Cost{Iterations: kdf.MinIterations}
		}
	case strings.HasPrefix(string(row.Name), "KBKDF"):
		p.Label = []byte("label")
	}
	return p
}

// TestPreferredWarnsAndChooses: mode preferred refuses nothing, takes approved algorithms where it chooses, and says so.
func TestPreferredWarnsAndChooses(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.FIPS = algs.Preferred })
	ctx := t.Context()
	w.newContext(w.tenant, engine.ContextSpec{Name: "chacha", Algorithm: algs.ChaCha20Poly1305, Allowed: []algs.Name{algs.AES256GCMSIV}})
	w.newContext(w.tenant, engine.ContextSpec{Name: "quantum", QuantumSafe: true})
	w.app = w.newApplication(w.tenant, "all", "chacha", "quantum", "user-pii")
	for _, c := range []struct {
		context, algorithm, usage, want string
		warned                          bool
	}{
		{"chacha", "", "", "AES-256-GCM", true},
		{"chacha", "ChaCha20-Poly1305", "", "ChaCha20-Poly1305", true},
		{"chacha", "AES-256-GCM-SIV", "", "AES-256-GCM-SIV", true},
		{"chacha", "", "in_use", "AES-256-GCM", true},
		{"quantum", "", "", "P256MLKEM768+AES-256-GCM", false},
		{"user-pii", "", "", "AES-256-GCM", false},
	} {
		out, err := w.engine.Encrypt(ctx, w.call(), &engine.EncryptRequest{
			Context: c.context, Plaintext: []byte("p"), Algorithm: c.algorithm, Usage: c.usage,
		})
		if err != nil || out.Algorithm != c.want || (len(out.Warnings) > 0) != c.warned {
			t.Errorf("%+v: %s, warnings %q, %v", c, out.Algorithm, out.Warnings, err)
		}
		if got, err := w.decrypt(c.context, out.Ciphertext, ""); err != nil || string(got.Plaintext) != "p" {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if out, err := w.engine.Hash(ctx, w.call(), "BLAKE2b-512", []byte("m"), 0); err != nil || len(out.Warnings) != 1 {
		t.Errorf("BLAKE2b: %+v, %v", out, err)
	}
	if out, err := w.engine.HashPassword(ctx, w.call(), "", []byte("correct horse")); err != nil || out.Algorithm != "PBKDF2-SHA256" || len(out.Warnings) != 0 {
		t.Errorf("password: %+v, %v", out, err)
	}
}

func TestAlgorithmsAndFIPSStatus(t *testing.T) {
	w := newWorld(t)
	list, err := w.engine.Algorithms(t.Context(), w.call())
	if err != nil || len(list) != len(algs.Rows()) {
		t.Fatalf("%d rows, %v", len(list), err)
	}
	for _, info := range list {
		if info.Protect == info.Row.ReadOnly || !info.Process {
			t.Errorf("%+v", info)
		}
	}
	status, err := w.engine.FIPS(t.Context(), w.owner())
	if err != nil || status.Mode != algs.Disabled || status.Total != len(list) || status.Approved == 0 || len(status.Outside) == 0 {
		t.Fatalf("%+v, %v", status, err)
	}
	if status.Module == "latest" && status.Validated {
		t.Error("the source of the toolchain is said to be validated")
	}
	if _, err := w.engine.FIPS(t.Context(), &engine.Call{}); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("nobody: %v", err)
	}
}

// TestComputations: what uses no key of the appliance is for every application, and only for them.
func TestComputations(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if out, err := w.engine.Hash(ctx, w.call(), "", []byte("abc"), 0); err != nil || out.Algorithm != "SHA-256" || out.Value[0] != 0xba {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := w.engine.Hash(ctx, w.call(), "MD5", nil, 0); !errors.Is(err, fault.Malformed) {
		t.Errorf("MD5: %v", err)
	}
	if _, err := w.engine.Hash(ctx, w.owner(), "", nil, 0); !errors.Is(err, fault.Forbidden) {
		t.Errorf("a user: %v", err)
	}
	stored, err := w.engine.HashPassword(ctx, w.call(), "PBKDF2-SHA512", []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	for pass, want := range map[string]bool{"correct horse": true, "wrong": false} {
		got, err := w.engine.VerifyPassword(ctx, w.call(), stored.Hash, []byte(pass))
		if err != nil || got.Valid != want {
			t.Errorf("%s: %+v, %v", pass, got, err)
		}
		if cause := w.audit.last.Load().Cause; (cause == "invalid") == want {
			t.Errorf("%s is recorded with the cause %q", pass, cause)
		}
	}
	if _, err := w.engine.VerifyPassword(ctx, w.call(), "$x$", []byte("p")); !errors.Is(err, fault.Malformed) {
		t.Errorf("no stored string: %v", err)
	}
	if _, err := w.engine.DeriveKey(ctx, w.call(), "PBKDF2-SHA256", &kdf.Params{
		Secret: []byte("p"), Salt: make([]byte, 16), OutputBytes: 32, Cost: kdf.Cost{Iterations: 1 << 40},
	}); !errors.Is(err, fault.Malformed) {
		t.Errorf("a cost that would hang the node: %v", err)
	}
}
