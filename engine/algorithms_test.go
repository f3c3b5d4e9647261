package engine_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// contextName makes a context name of an algorithm's.
func contextName(name algs.Name, format uint8) string {
	s := strings.ToLower(strings.NewReplacer("+", "-", "/", "-").Replace(string(name)))
	if format == 3 {
		s += "-v3"
	}
	return s
}

// writable are the algorithms that contexts can have.
func writable() []algs.Row {
	return slices.DeleteFunc(slices.Clone(algs.Rows()), func(r algs.Row) bool {
		return r.ReadOnly || r.Class != algs.ClassAEAD && r.Class != algs.ClassHybrid
	})
}

// TestEveryContextAlgorithm encrypts and decrypts in a context of each algorithm and format, before and after a rotation.
func TestEveryContextAlgorithm(t *testing.T) {
	w := newWorld(t)
	var names []string
	for _, row := range writable() {
		for _, format := range []uint8{3, 4} {
			if format == 3 && (row.Class == algs.ClassHybrid || row.Name == algs.AES256GCMSIV) {
				continue // no context can be so
			}
			name := contextName(row.Name, format)
			w.newContext(w.tenant, engine.ContextSpec{Name: name, Algorithm: row.Name, Format: format})
			names = append(names, name)
		}
	}
	w.app = w.newApplication(w.tenant, "all", names...)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			aad := "associated"
			if strings.HasSuffix(name, "-v3") && (strings.Contains(name, "cbc") || strings.Contains(name, "ctr")) {
				if _, err := w.encrypt(name, "plaintext", aad); !errors.Is(err, fault.Malformed) {
					t.Fatalf("associated data that would not be authenticated: %v", err)
				}
				aad = ""
			}
			var frames [][]byte
			for range 2 {
				for _, n := range []int{0, 1, 31, 4096} {
					plaintext := strings.Repeat("x", n)
					out := w.mustEncrypt(name, plaintext, aad)
					got, err := w.decrypt(name, out.Ciphertext, aad)
					if err != nil || string(got.Plaintext) != plaintext || got.Rewrap {
						t.Fatalf("%d bytes: %v, rewrap %v", n, err, got.Rewrap)
					}
					frames = append(frames, out.Ciphertext)
				}
				w.rotate(name)
			}
			for _, f := range frames {
				got, err := w.decrypt(name, f, aad)
				if err != nil || !got.Rewrap {
					t.Fatalf("after a rotation: %v, rewrap %v", err, got.Rewrap)
				}
				damaged := bytes.Clone(f)
				damaged[len(damaged)-1] ^= 1
				if _, err := w.decrypt(name, damaged, aad); !errors.Is(err, fault.DecryptFailed) {
					t.Fatalf("a damaged frame: %v", err)
				}
			}
		})
	}
}

// TestAlgorithmOfARequest: a request may name another algorithm as far as the context's policy goes.
func TestAlgorithmOfARequest(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "free", Enforcement: directory.EnforceNone})
	w.newContext(w.tenant, engine.ContextSpec{Name: "warned", Enforcement: directory.EnforceWarn, Allowed: []algs.Name{algs.AES256CCM}})
	w.newContext(w.tenant, engine.ContextSpec{Name: "strict", Allowed: []algs.Name{algs.AES256CCM, algs.AES256GCMSIV}})
	w.newContext(w.tenant, engine.ContextSpec{Name: "quantum", QuantumSafe: true})
	w.app = w.newApplication(w.tenant, "all", "free", "warned", "strict", "quantum", "legacy")
	tests := []struct {
		context, algorithm, usage string
		want                      string // algorithm
		warned                    bool
		fails                     fault.Kind
	}{
		{"free", "", "", "AES-256-GCM", false, 0},
		{"free", "ChaCha20-Poly1305", "", "ChaCha20-Poly1305", false, 0},
		{"free", "AES-128-GCM", "", "AES-128-GCM", false, 0},
		{"free", "", "in_use", "AES-256-GCM-SIV", false, 0},
		{"free", "", "in_transit", "AES-256-GCM", false, 0},
		{"free", "", "streaming", "AES-256-GCM", false, 0},
		{"free", "", "at_rest", "AES-256-GCM", false, 0},
		{"free", "AES-256-CCM", "in_use", "AES-256-CCM", false, 0},
		{"free", "", "disk", "", false, fault.Malformed},
		{"free", "AES-256-XTS", "", "", false, fault.Malformed},
		{"free", "DES", "", "", false, fault.Malformed},
		{"free", "SHA-256", "", "", false, fault.Malformed},
		{"free", "AES-256-GCM+ML-KEM-768", "", "", false, fault.AlgorithmDisallowed},
		{"warned", "AES-256-CCM", "", "AES-256-CCM", false, 0},
		{"warned", "AES-128-GCM", "", "AES-128-GCM", true, 0},
		{"strict", "AES-256-CCM", "", "AES-256-CCM", false, 0},
		{"strict", "AES-256-GCM", "", "AES-256-GCM", false, 0},
		{"strict", "AES-128-GCM", "", "", false, fault.AlgorithmDisallowed},
		{"strict", "", "in_use", "AES-256-GCM-SIV", false, 0},
		{"quantum", "", "", "X25519MLKEM768+AES-256-GCM", false, 0},
		{"quantum", "", "in_use", "X25519MLKEM768+AES-256-GCM", false, 0},
		{"quantum", "AES-256-GCM", "", "", false, fault.AlgorithmDisallowed},
		{"legacy", "AES-256-GCM", "in_use", "AES-256-GCM", false, 0},
		{"legacy", "", "in_use", "AES-256-GCM", false, 0},
		{"legacy", "AES-256-CCM", "", "", false, fault.AlgorithmDisallowed},
	}
	for _, tt := range tests {
		t.Run(tt.context+" "+tt.algorithm+" "+tt.usage, func(t *testing.T) {
			out, err := w.engine.Encrypt(t.Context(), w.call(), &engine.EncryptRequest{
				Context: tt.context, Plaintext: []byte("p"), Algorithm: tt.algorithm, Usage: tt.usage,
			})
			if tt.fails != 0 {
				if !errors.Is(err, tt.fails) {
					t.Fatalf("%v, want %s", err, tt.fails)
				}
				return
			}
			if err != nil || out.Algorithm != tt.want || (len(out.Warnings) > 0) != tt.warned {
				t.Fatalf("%s, warnings %q, %v", out.Algorithm, out.Warnings, err)
			}
			if got, err := w.decrypt(tt.context, out.Ciphertext, ""); err != nil || string(got.Plaintext) != "p" {
				t.Fatal(err)
			}
		})
	}
	// The context's own usage hint is not allowed everywhere: the caller is told.
	w.newContext(w.tenant, engine.ContextSpec{Name: "own-only"})
	w.app = w.newApplication(w.tenant, "own", "own-only")
	out, err := w.engine.Encrypt(t.Context(), w.call(), &engine.EncryptRequest{Context: "own-only", Plaintext: []byte("p"), Usage: "in_use"})
	if err != nil || out.Algorithm != "AES-256-GCM" || len(out.Warnings) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
}

// TestTooLongForTheAlgorithm: CCM takes 64 KiB.
func TestTooLongForTheAlgorithm(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "ccm", Algorithm: algs.AES256CCM})
	w.app = w.newApplication(w.tenant, "all", "ccm")
	w.mustEncrypt("ccm", strings.Repeat("x", 64<<10), "")
	if _, err := w.encrypt("ccm", strings.Repeat("x", 64<<10+1), ""); !errors.Is(err, fault.TooLarge) {
		t.Fatal(err)
	}
}

func TestContextsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		spec engine.ContextSpec
		want fault.Kind
	}{
		"unknown algorithm":  {engine.ContextSpec{Algorithm: "DES"}, fault.Malformed},
		"read only":          {engine.ContextSpec{Algorithm: algs.AES256XTS}, fault.Malformed},
		"hybrid in format 3": {engine.ContextSpec{Algorithm: algs.AES256GCMMLKEM768, Format: 3}, fault.Malformed},
		"weaker than asked":  {engine.ContextSpec{Algorithm: algs.AES128GCM, MinimumBits: 256}, fault.AlgorithmDisallowed},
		"not quantum-safe":   {engine.ContextSpec{Algorithm: algs.AES128GCM, QuantumSafe: true}, fault.AlgorithmDisallowed},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Name = "new"
			if _, err := w.engine.CreateContext(t.Context(), w.appliance(w.tenant), c.spec); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
		})
	}
}

// owner returns a call of a user of the world's tenant who may manage keys.
func (w *world) owner() *engine.Call { return w.userCall(w.tenant, directory.Owner) }

func (w *world) userCall(tenant string, role directory.Role) *engine.Call {
	w.t.Helper()
	name := string(role) + "-" + tenant
	var user *directory.User
	for _, u := range w.ledger.Node.View().Tenant(tenant).Users() {
		if u.Name == name {
			user = u
		}
	}
	hash := [32]byte([]byte((name + strings.Repeat("x", 32))[:32]))
	if user == nil {
		var err error
		if user, err = w.engine.CreateUser(w.t.Context(), w.appliance(tenant), name, []directory.Role{role}); err != nil {
			w.t.Fatal(err)
		}
		// Made in the far future, it is never idle, whatever the clock of a test says.
		session := directory.Session{Hash: hash, User: user.ID, Tenant: tenant, CreatedAt: 1 << 59, ExpiresAt: 1 << 60}
		if err := w.engine.StartSession(w.t.Context(), w.appliance(tenant), session); err != nil {
			w.t.Fatal(err)
		}
	}
	return callOf(&policy.Subject{Kind: policy.KindUser, ID: user.ID, Tenant: tenant, Session: hash})
}

func hkdfSHA256(t *testing.T, ikm, salt []byte, info string, n int) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, ikm, salt, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newP256 returns a private key as PKCS#8 and its public half as SubjectPublicKeyInfo.
func newP256(t *testing.T) (private, public []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if private, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		t.Fatal(err)
	}
	if public, err = x509.MarshalPKIXPublicKey(&key.PublicKey); err != nil {
		t.Fatal(err)
	}
	return private, public
}
