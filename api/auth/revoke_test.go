package auth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

func TestIssue(t *testing.T) {
	f := newFixture(t)
	tokens, err := f.issuer.Issue(t.Context(), &engine.Call{}, f.Application(shop))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := f.verifier.Verify(tokens.Access); err != nil || s.ID != shop || s.IssuedAt != start.Unix() {
		t.Errorf("the access token gave %+v, %v", s, err)
	}
	if _, err := f.issuer.Refresh(t.Context(), &engine.Call{}, tokens.Refresh); err != nil {
		t.Errorf("the refresh token: %v", err)
	}
	f.signerErr = fault.New(fault.Conflict, "test", "")
	before := len(f.families)
	if _, err := f.issuer.Issue(t.Context(), &engine.Call{}, f.Application(shop)); !errors.Is(err, fault.Conflict) {
		t.Errorf("an application that signs its own tokens: %v", err)
	}
	if len(f.families) != before {
		t.Error("a family was begun without an access token")
	}
}

// TestNewTokensAreToldFromRevokedOnes: a token that is issued just after a revocation is of a later second, and is good when it
// is handed out, even where the revocation reaches into the future for the sake of clocks that are ahead.
func TestNewTokensAreToldFromRevokedOnes(t *testing.T) {
	f := newFixture(t)
	until := start.Add(leeway - time.Second)
	f.change(shop, func(a *directory.Application) { a.NotBefore = until.UnixMilli() })
	s, err := f.verifier.Verify(f.accessToken(t, shop))
	if err != nil {
		t.Fatal(err)
	}
	if s.IssuedAt != until.Unix()+1 {
		t.Errorf("issued %d s after the end of the revocation", s.IssuedAt-until.Unix())
	}
	// An hour later it plays no part any more.
	f.clock.at = start.Add(time.Hour)
	if s, err := f.verifier.Verify(f.accessToken(t, shop)); err != nil || s.IssuedAt != f.clock.at.Unix() {
		t.Errorf("an hour later: %+v, %v", s, err)
	}
	f.change(shop, func(a *directory.Application) { a.NotBefore = f.clock.at.Add(time.Hour).UnixMilli() })
	if _, _, err := f.issuer.IssueAccess(t.Context(), f.Application(shop)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("with clocks an hour apart: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	f := newFixture(t)
	revoke := func(token string) {
		t.Helper()
		if err := f.issuer.Revoke(t.Context(), &engine.Call{}, token); err != nil {
			t.Errorf("revoke: %v", err)
		}
	}
	first := f.refreshToken(t, shop)
	second, err := f.issuer.Refresh(t.Context(), &engine.Call{}, first)
	if err != nil {
		t.Fatal(err)
	}
	other := f.refreshToken(t, shop)
	revoke(first) // used before, and still its holder's to give up
	_, err = f.issuer.Refresh(t.Context(), &engine.Call{}, second.Refresh)
	wantRefused(t, err, nil)
	if _, err := f.issuer.Refresh(t.Context(), &engine.Call{}, other); err != nil {
		t.Errorf("another family: %v", err)
	}

	session, hash := NewSessionToken()
	f.sessions[hash] = &policy.Subject{Kind: policy.KindUser, ID: "user-1", Session: hash, Expires: start.Add(time.Hour)}
	revoke(session)
	_, err = f.verifier.Authenticate("Bearer " + session)
	wantRefused(t, err, errNoSession)

	// A disabled application may be enabled again some day.
	third := f.refreshToken(t, blog)
	f.change(blog, func(a *directory.Application) { a.Status = directory.Disabled })
	revoke(third)
	f.change(blog, func(a *directory.Application) { a.Status = directory.Enabled })
	_, err = f.issuer.Refresh(t.Context(), &engine.Call{}, third)
	wantRefused(t, err, nil)
}

// TestRevokeOfNothing: what nobody knows ends nothing, is reported, and is answered like anything else.
func TestRevokeOfNothing(t *testing.T) {
	f := newFixture(t)
	good := f.refreshToken(t, shop)
	head, body, signature := segments(good)
	forged := forge(t, `{"alg":"HS256","typ":"JWT"}`, claimsText(t, map[string]any{
		"iss": "cryptoserve", "sub": shop, "aud": "cryptoserve-refresh", "iat": start.Unix(), "exp": start.Add(time.Hour).Unix(),
		"type": "refresh", "tid": "tenant-1", "jti": "1", "fam": "fam_1",
	}, nil), jwt.SigningMethodHS256, []byte("another key of 32 bytes, or so.."))
	tokens := []string{
		"", "hello", SessionPrefix, SessionPrefix + "short", f.accessToken(t, shop), head + "." + body + ".", head + "." + signature,
		forged, strings.Repeat("a", 10<<20),
	}
	for i, token := range tokens {
		if err := f.issuer.Revoke(t.Context(), &engine.Call{}, token); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if len(f.revoked) != i+1 || f.revoked[i] != (engine.Revocation{}) {
			t.Fatalf("%d: reported as %+v", i, f.revoked)
		}
	}
	if _, err := f.issuer.Refresh(t.Context(), &engine.Call{}, good); err != nil {
		t.Errorf("the family has ended: %v", err)
	}
	f.revokeErr = fault.New(fault.LedgerUnavailable, "test", "")
	if err := f.issuer.Revoke(t.Context(), &engine.Call{}, "hello"); !errors.Is(err, fault.LedgerUnavailable) {
		t.Errorf("a record that cannot be written: %v", err)
	}
}

// TestMoreHeaderAttacks completes those of RFC 8725: what a token of one tenant is worth in another, and sizes.
func TestMoreHeaderAttacks(t *testing.T) {
	f := newFixture(t)
	cross := func(keyID string, edit map[string]any, signer string) string {
		return forge(t, `{"alg":"EdDSA","kid":"`+keyID+`","typ":"JWT"}`, goodClaims(t, edit), jwt.SigningMethodEdDSA, f.keys[signer])
	}
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"key id of another tenant":           {cross("key-2", nil, shop), errKeyID},
		"key and key id of another tenant":   {cross("key-2", nil, blog), errKeyID},
		"key of another tenant":              {cross("key-1", nil, blog), errSignature},
		"tenant claim of the key's tenant":   {cross("key-2", map[string]any{"tid": "tenant-2"}, blog), errClaims},
		"10 MB":                              {strings.Repeat("a", 10<<20), errMalformed},
		"10 MB in three parts":               {strings.Repeat(strings.Repeat("a", 10<<20/3)+".", 2) + "a", errMalformed},
		"nothing but a signature of 10 MB":   {".." + strings.Repeat("a", 10<<20), errMalformed},
		"good token with 10 MB of a fourth":  {f.accessToken(t, shop) + "." + strings.Repeat("a", 10<<20), errMalformed},
		"issue time of zero":                 {cross("key-1", map[string]any{"iat": 0}, shop), errClaims},
		"not before as text":                 {cross("key-1", map[string]any{"nbf": "1"}, shop), errMalformed},
		"not before of a far future":         {cross("key-1", map[string]any{"nbf": start.Add(time.Hour).Unix()}, shop), errNotYet},
		"expired by a second, inside leeway": {cross("key-1", map[string]any{"iat": start.Add(-time.Minute).Unix(), "exp": start.Add(-time.Second).Unix()}, shop), errExpired},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.verifier.Verify(c.token)
			wantRefused(t, err, c.want)
		})
	}
}
