package auth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// start is the time at which each test begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that moves only when told.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// records is a small Authority and Directory: real keys and real rules, in memory.
type records struct {
	now        func() time.Time
	mu         sync.Mutex
	apps       map[string]*directory.Application
	keys       map[string]ed25519.PrivateKey
	families   map[string]directory.RefreshFamily
	sessions   map[[32]byte]*policy.Subject
	refreshKey []byte
	derived    int // how often the refresh key was derived
	signerErr  error
	revoked    []engine.Revocation
	revokeErr  error
}

func newRecords(t testing.TB, now func() time.Time) *records {
	t.Helper()
	r := &records{
		now:        now,
		apps:       map[string]*directory.Application{},
		keys:       map[string]ed25519.PrivateKey{},
		families:   map[string]directory.RefreshFamily{},
		sessions:   map[[32]byte]*policy.Subject{},
		refreshKey: []byte("0123456789abcdef0123456789abcdef"),
	}
	r.add(t, "app_shop_0000000000000001", "tenant-1", "key-1", "user-pii", "general")
	r.add(t, "app_blog_0000000000000002", "tenant-2", "key-2", "general")
	return r
}

func (r *records) add(t testing.TB, id, tenant, keyID string, contexts ...string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	app := &directory.Application{
		ID: id, Tenant: tenant, Name: "Shop", Team: "platform", Environment: "production",
		Status: directory.Enabled, KeyID: keyID, PublicKey: public,
	}
	for _, c := range contexts {
		app.Grants = append(app.Grants, directory.Grant{Context: c, Encrypt: true, Decrypt: true})
	}
	r.apps[id], r.keys[id] = app, private
}

// change replaces the record of an application by an edited copy.
func (r *records) change(id string, edit func(*directory.Application)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *r.apps[id]
	edit(&c)
	r.apps[id] = &c
}

func (r *records) Application(id string) *directory.Application {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apps[id]
}

func (r *records) SessionSubject(hash [32]byte) *policy.Subject { return r.sessions[hash] }

func (r *records) ApplicationByCertificate(hash [32]byte) *directory.Application {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.apps {
		if string(a.Certificate) == string(hash[:]) {
			return a
		}
	}
	return nil
}

func (r *records) RevokeToken(_ context.Context, _ *engine.Call, what engine.Revocation) error {
	r.revoked = append(r.revoked, what)
	if f, ok := r.families[what.Family]; ok && f.Tenant == what.Tenant {
		f.Revoked = true
		r.families[what.Family] = f
	}
	delete(r.sessions, what.Session)
	return r.revokeErr
}

func (r *records) AccessSigner(_ context.Context, id string) (crypto.Signer, string, error) {
	if r.signerErr != nil {
		return nil, "", r.signerErr
	}
	return r.keys[id], r.apps[id].KeyID, nil
}

func (r *records) RefreshKey(context.Context) (secret.Bytes, error) {
	r.derived++
	return secret.Copy(r.refreshKey), nil
}

func (r *records) StartRefresh(_ context.Context, _ *engine.Call, f directory.RefreshFamily) error {
	r.families[f.ID] = f
	return nil
}

func (r *records) RotateRefresh(_ context.Context, _ *engine.Call, c engine.RefreshRotation) error {
	f, ok := r.families[c.Family]
	if !ok || f.Revoked || r.now().UnixMilli() >= f.ExpiresAt {
		return fault.New(fault.Unauthenticated, "rotate", "")
	}
	if f.Hash != c.Presented {
		f.Revoked = true
		r.families[c.Family] = f
		return fault.New(fault.Unauthenticated, "rotate", "")
	}
	f.Hash, f.ExpiresAt = c.Next, c.ExpiresAt.UnixMilli()
	f.Generation++
	r.families[c.Family] = f
	return nil
}

const shop, blog = "app_shop_0000000000000001", "app_blog_0000000000000002"

// fixture is a Verifier and an Issuer over one set of records and one clock.
type fixture struct {
	*records
	clock    *clock
	verifier *Verifier
	issuer   *Issuer
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	c := &clock{at: start}
	f := &fixture{records: newRecords(t, c.now), clock: c}
	var err error
	if f.verifier, err = NewVerifier(VerifierConfig{Directory: f.records, Now: f.clock.now}); err != nil {
		t.Fatal(err)
	}
	if f.issuer, err = NewIssuer(f.records, f.clock.now); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) accessToken(t testing.TB, id string) string {
	t.Helper()
	token, _, err := f.issuer.IssueAccess(t.Context(), f.Application(id))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (f *fixture) refreshToken(t testing.TB, id string) string {
	t.Helper()
	token, _, err := f.issuer.StartRefresh(t.Context(), &engine.Call{}, f.Application(id))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forge signs a header and claims, given as text so that a test can write what no library would.
func forge(t testing.TB, head, body string, method jwt.SigningMethod, key any) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(body))
	signature, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// goodHeader and goodClaims are what a genuine access token of shop holds; edit changes claims, nil removes one.
const goodHeader = `{"alg":"EdDSA","kid":"key-1","typ":"JWT"}`

func goodClaims(t testing.TB, edit map[string]any) string {
	t.Helper()
	return claimsText(t, map[string]any{
		"iss": "cryptoserve", "sub": shop, "aud": "cryptoserve-api", "iat": start.Unix(), "exp": start.Add(time.Hour).Unix(),
		"type": "access", "tid": "tenant-1", "jti": "1", "contexts": []string{"user-pii"},
	}, edit)
}

func claimsText(t testing.TB, base, edit map[string]any) string {
	t.Helper()
	for name, value := range edit {
		if value == nil {
			delete(base, name)
		} else {
			base[name] = value
		}
	}
	text, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantRefused fails unless err is fault.Unauthenticated for the reason, in the words that every refusal has.
func wantRefused(t testing.TB, err, reason error) {
	t.Helper()
	if !errors.Is(err, fault.Unauthenticated) {
		t.Fatalf("error is %v, want unauthenticated", err)
	}
	var e *fault.Error
	if !errors.As(err, &e) || e.Detail != Detail || len(e.Fields) != 0 {
		t.Errorf("the refusal reads %q, want the one detail", e.Detail)
	}
	if reason != nil && !errors.Is(err, reason) {
		t.Errorf("refused because of %v, want %v", e.Err, reason)
	}
}

func segments(token string) (head, body, signature string) {
	parts := strings.Split(token, ".")
	return parts[0], parts[1], parts[2]
}
