package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// TestAccessTokenClaims reads the token with another parser: the claims are a contract.
func TestAccessTokenClaims(t *testing.T) {
	f := newFixture(t)
	token, _, err := jwt.NewParser(jwt.WithJSONNumber()).ParseUnverified(f.accessToken(t, shop), jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"alg": "EdDSA", "kid": "key-1", "typ": "JWT"} {
		if got := token.Header[name]; got != want {
			t.Errorf("header %s is %v, want %v", name, got, want)
		}
	}
	if len(token.Header) != 3 {
		t.Errorf("the header is %v", token.Header)
	}
	got := token.Claims.(jwt.MapClaims)
	want := map[string]string{
		"iss": "cryptoserve", "sub": shop, "aud": "cryptoserve-api", "type": "access", "name": "Shop", "team": "platform",
		"env": "production", "tid": "tenant-1", "contexts": "[user-pii general]",
		"iat": fmt.Sprint(start.Unix()), "exp": fmt.Sprint(start.Unix() + 3600),
	}
	for name, value := range want {
		if fmt.Sprint(got[name]) != value {
			t.Errorf("claim %s is %v, want %v", name, got[name], value)
		}
	}
	if id, _ := got["jti"].(string); len(id) != 22 {
		t.Errorf("the token id is %q, want 16 bytes", id)
	}
	if len(got) != len(want)+1 {
		t.Errorf("the claims are %v", got)
	}
}

func TestAccessTokenOfManyContexts(t *testing.T) {
	f := newFixture(t)
	f.change(shop, func(a *directory.Application) {
		for i := range 500 {
			a.Grants = append(a.Grants, directory.Grant{Context: fmt.Sprintf("context-%d", i), Encrypt: true})
		}
	})
	s, err := f.verifier.Verify(f.accessToken(t, shop))
	if err != nil {
		t.Fatal(err)
	}
	if s.Narrowed != nil {
		t.Errorf("narrowed to %d contexts, want not narrowed", len(s.Narrowed))
	}
}

func TestAccessTokenWithoutGrants(t *testing.T) {
	f := newFixture(t)
	f.change(shop, func(a *directory.Application) { a.Grants = nil })
	s, err := f.verifier.Verify(f.accessToken(t, shop))
	if err != nil {
		t.Fatal(err)
	}
	if s.Narrowed == nil || len(s.Narrowed) != 0 {
		t.Errorf("narrowed to %#v, want to nothing", s.Narrowed)
	}
}

func TestRefresh(t *testing.T) {
	f := newFixture(t)
	first := f.refreshToken(t, shop)
	f.clock.at = start.Add(time.Hour)
	call := &engine.Call{}
	got, err := f.issuer.Refresh(t.Context(), call, first)
	if err != nil {
		t.Fatal(err)
	}
	if s := call.Subject; s == nil || s.ID != shop || s.Tenant != "tenant-1" || s.Kind != policy.KindApplication {
		t.Errorf("the call's subject is %+v", s)
	}
	if s, err := f.verifier.Verify(got.Access); err != nil || s.ID != shop {
		t.Errorf("the new access token gave %v, %v", s, err)
	}
	if !got.AccessExpires.Equal(f.clock.at.Add(AccessLifetime)) || !got.RefreshExpires.Equal(f.clock.at.Add(RefreshLifetime)) {
		t.Errorf("the tokens expire at %v and %v", got.AccessExpires, got.RefreshExpires)
	}
	if _, err := f.issuer.Refresh(t.Context(), &engine.Call{}, got.Refresh); err != nil {
		t.Errorf("the second refresh token is refused: %v", err)
	}
}

func TestRefreshReuseEndsTheFamily(t *testing.T) {
	f := newFixture(t)
	first, other := f.refreshToken(t, shop), f.refreshToken(t, shop)
	next, err := f.issuer.Refresh(t.Context(), &engine.Call{}, first)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.issuer.Refresh(t.Context(), &engine.Call{}, first)
	wantRefused(t, err, nil)
	_, err = f.issuer.Refresh(t.Context(), &engine.Call{}, next.Refresh)
	wantRefused(t, err, nil)
	if _, err := f.issuer.Refresh(t.Context(), &engine.Call{}, other); err != nil {
		t.Errorf("the application's other family is refused too: %v", err)
	}
}

func TestRefreshKeepsTheTokenWhenTheSignerFails(t *testing.T) {
	f := newFixture(t)
	token := f.refreshToken(t, shop)
	f.signerErr = fault.New(fault.HSMUnavailable, "vault", "")
	if _, err := f.issuer.Refresh(t.Context(), &engine.Call{}, token); !errors.Is(err, fault.HSMUnavailable) {
		t.Fatalf("error is %v, want hsm-unavailable", err)
	}
	f.signerErr = nil
	if _, err := f.issuer.Refresh(t.Context(), &engine.Call{}, token); err != nil {
		t.Errorf("the refresh token was used up: %v", err)
	}
}

func TestRefreshAttacks(t *testing.T) {
	f := newFixture(t)
	const head = `{"alg":"HS256","typ":"JWT"}`
	const family = "fam_1"
	body := func(edit map[string]any) string {
		return claimsText(t, map[string]any{
			"iss": "cryptoserve", "sub": shop, "aud": "cryptoserve-refresh", "iat": start.Unix(),
			"exp": start.Add(time.Hour).Unix(), "type": "refresh", "tid": "tenant-1", "jti": "1", "fam": family,
		}, edit)
	}
	sign := func(head string, edit map[string]any) string {
		return forge(t, head, body(edit), jwt.SigningMethodHS256, f.refreshKey)
	}
	type edit = map[string]any
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"access token":            {f.accessToken(t, shop), errAlgorithm},
		"none":                    {forge(t, `{"alg":"none","typ":"JWT"}`, body(nil), jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), errAlgorithm},
		"EdDSA by the app's key":  {forge(t, `{"alg":"EdDSA","typ":"JWT"}`, body(nil), jwt.SigningMethodEdDSA, f.keys[shop]), errAlgorithm},
		"HS512 by the right key":  {forge(t, `{"alg":"HS512","typ":"JWT"}`, body(nil), jwt.SigningMethodHS512, f.refreshKey), errAlgorithm},
		"HS256 by the public key": {forge(t, head, body(nil), jwt.SigningMethodHS256, []byte(f.Application(shop).PublicKey)), errSignature},
		"HS256 by an empty key":   {forge(t, head, body(nil), jwt.SigningMethodHS256, []byte{}), errSignature},
		"with a key id":           {sign(`{"alg":"HS256","kid":"key-1","typ":"JWT"}`, nil), errKeyID},
		"access audience":         {sign(head, edit{"aud": "cryptoserve-api"}), errClaims},
		"access type":             {sign(head, edit{"type": "access"}), errClaims},
		"other issuer":            {sign(head, edit{"iss": "elsewhere"}), errClaims},
		"other tenant":            {sign(head, edit{"tid": "tenant-2"}), errClaims},
		"no family":               {sign(head, edit{"fam": nil}), errClaims},
		"no expiry":               {sign(head, edit{"exp": nil}), errClaims},
		"unknown application":     {sign(head, edit{"sub": "app_none_0000000000000009"}), errUnknown},
		"expired":                 {sign(head, edit{"iat": start.Unix() - 60, "exp": start.Unix() - 30}), errExpired},
		"unknown family":          {sign(head, nil), nil},
		"line break":              {sign(head, nil) + "\n", errMalformed},
		"longer than the limit":   {sign(head, edit{"name": strings.Repeat("a", MaxTokenBytes)}), errMalformed},
		"empty":                   {"", errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.issuer.Refresh(t.Context(), &engine.Call{}, c.token)
			wantRefused(t, err, c.want)
		})
	}
	t.Run("baseline", func(t *testing.T) {
		f.families[family] = directory.RefreshFamily{ID: family, ExpiresAt: start.Add(time.Hour).UnixMilli()}
		token := sign(head, nil)
		_, err := f.issuer.Refresh(t.Context(), &engine.Call{}, token)
		// It passes every check of the token and fails in the ledger, where its hash is not the newest.
		wantRefused(t, err, nil)
		if !f.families[family].Revoked {
			t.Error("the forged token was refused before the ledger saw it")
		}
	})
}

func TestRefreshOfNobodyMakesNoHSMCall(t *testing.T) {
	f := newFixture(t)
	token := f.refreshToken(t, shop)
	f.change(shop, func(a *directory.Application) { a.Status = directory.Disabled })
	before := f.derived
	for _, bad := range []string{token, "", "a.b.c", f.accessToken(t, blog)} {
		_, err := f.issuer.Refresh(t.Context(), &engine.Call{}, bad)
		wantRefused(t, err, nil)
	}
	if f.derived != before {
		t.Errorf("the refresh key was derived %d times", f.derived-before)
	}
}
