package signin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"reflect"
	"slices"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cryptoserve/api/signin"
	"cryptoserve/api/signin/signintest"
	"cryptoserve/engine/fault"
)

// TestSignIn goes the whole way, through a browser with cookies, with each algorithm that a provider may sign with.
func TestSignIn(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			n, p := corpNode(t, func(c *signin.ProviderConfig) { c.AllowedDomains = []string{"other.example", "corp.example"} })
			p.SetKey(t, alg)
			got, cause := n.signIn(t, "/login/corp?redirect=/console%3Fpage%3D2&invitation=inv-1", "ann")
			want := arrived{
				Who: signin.Identity{
					Provider: "corp", Tenant: "acme", Issuer: p.URL, Subject: "ann", Email: "Ann@Corp.Example", EmailVerified: true,
					Name: "Ann Example", Groups: []string{"crypto-admins", "staff"}, Roles: []string{"admin", "developer", "viewer"},
					Invitation: "inv-1",
				},
				Redirect: "/console?page=2",
			}
			if cause != "" || !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v (refused because of %q)\nwant %+v", got, cause, want)
			}
		})
	}
}

// TestSignInAfterKeyRotation signs in again after the provider changed its key: the keys are read again.
func TestSignInAfterKeyRotation(t *testing.T) {
	n, p := corpNode(t, nil)
	for range 2 {
		if _, cause := n.signIn(t, "/login/corp", "ann"); cause != "" {
			t.Fatalf("refused because of %q", cause)
		}
		p.SetKey(t, jose.ES256)
	}
	if got := p.Requests("/.well-known/openid-configuration"); got != 1 {
		t.Errorf("the discovery document was read %d times, want once", got)
	}
}

// TestForgedIDTokens changes one thing at a time in an otherwise good ID token.
func TestForgedIDTokens(t *testing.T) {
	n, p := corpNode(t, nil)
	otherRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	otherEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(alg string, key any) func(*signintest.IDToken) {
		return func(i *signintest.IDToken) { i.Header["alg"], i.Sign = alg, signintest.Signer(alg, key) }
	}
	claim := func(name string, value any) func(*signintest.IDToken) {
		return func(i *signintest.IDToken) { i.Claims[name] = value }
	}
	without := func(name string) func(*signintest.IDToken) {
		return func(i *signintest.IDToken) { delete(i.Claims, name) }
	}
	both := func(edits ...func(*signintest.IDToken)) func(*signintest.IDToken) {
		return func(i *signintest.IDToken) {
			for _, edit := range edits {
				edit(i)
			}
		}
	}
	tests := []struct {
		name  string
		edit  func(*signintest.IDToken)
		cause fault.Cause
	}{
		{"algorithm none", sign("none", nil), signin.CauseSignature},
		{"HS256 with the client secret", sign("HS256", []byte(p.ClientSecret)), signin.CauseSignature},
		{"RS512, which is not allowed", sign("RS512", otherRSA), signin.CauseSignature},
		{"RS256 with a foreign key", sign("RS256", otherRSA), signin.CauseSignature},
		{"ES256 with a foreign key", sign("ES256", otherEC), signin.CauseSignature},
		{"foreign key without a key id", both(sign("ES256", otherEC), func(i *signintest.IDToken) { delete(i.Header, "kid") }),
			signin.CauseSignature},
		{"signature of other claims", func(i *signintest.IDToken) {
			good := i.Sign
			i.Sign = func(input []byte) ([]byte, error) { return good(append(input, 'x')) }
		}, signin.CauseSignature},
		{"wrong nonce", claim("nonce", "another"), signin.CauseNonce},
		{"no nonce", without("nonce"), signin.CauseNonce},
		{"wrong audience", claim("aud", "another"), signin.CauseAudience},
		{"no audience", without("aud"), signin.CauseAudience},
		{"several audiences, no azp", both(claim("aud", []string{p.ClientID, "another"}), without("azp")), signin.CauseAudience},
		{"several audiences, foreign azp", both(claim("aud", []string{p.ClientID, "another"}), claim("azp", "another")),
			signin.CauseAudience},
		{"one audience, foreign azp", claim("azp", "another"), signin.CauseAudience},
		{"wrong issuer", claim("iss", "https://evil.example"), signin.CauseIssuer},
		{"issuer with a slash more", claim("iss", p.URL+"/"), signin.CauseIssuer},
		{"expired", claim("exp", time.Now().Add(-time.Minute).Unix()), signin.CauseExpired},
		{"no expiry", without("exp"), signin.CauseExpired},
		{"not yet valid", claim("nbf", time.Now().Add(time.Hour).Unix()), signin.CauseClaims},
		{"no subject", without("sub"), signin.CauseClaims},
		{"subject with a control character", claim("sub", "ann\n"), signin.CauseClaims},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := n.attempt(t, "corp", "ann")
			p.Edit(tt.edit)
			defer p.Edit(nil)
			who, _, err := n.finish(t, "corp", a)
			wantRefused(t, who, err, tt.cause, a)
		})
	}
	t.Run("several audiences and our azp is good", func(t *testing.T) {
		a := n.attempt(t, "corp", "ann")
		p.Edit(claim("aud", []string{"another", p.ClientID}))
		defer p.Edit(nil)
		if _, _, err := n.finish(t, "corp", a); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEmails shows when an address counts.
func TestEmails(t *testing.T) {
	open, p := corpNode(t, nil)
	c := configFor("corp", p)
	c.AllowedDomains = []string{"Corp.Example"}
	closed := newNode(t, c)
	p.AllowRedirect(closed.callback("corp"))
	tests := []struct {
		name     string
		email    any
		verified any
		counts   string      // the address of the identity where no domain is asked for
		cause    fault.Cause // of the refusal where one is
	}{
		{"verified", "ann@corp.example", true, "ann@corp.example", ""},
		{"capitals", "ann@CORP.example", true, "ann@CORP.example", ""},
		{"unverified", "ann@corp.example", false, "", signin.CauseEmail},
		{"nothing said", "ann@corp.example", nil, "", signin.CauseEmail},
		{"verified by a word", "ann@corp.example", "true", "", signin.CauseEmail},
		{"verified by a number", "ann@corp.example", 1, "", signin.CauseEmail},
		{"none", nil, true, "", signin.CauseEmail},
		{"a list", []string{"ann@corp.example"}, true, "", signin.CauseEmail},
		{"longer domain", "ann@corp.example.evil.test", true, "ann@corp.example.evil.test", signin.CauseDomain},
		{"domain as a suffix", "ann@evilcorp.example", true, "ann@evilcorp.example", signin.CauseDomain},
		{"subdomain", "ann@a.corp.example", true, "ann@a.corp.example", signin.CauseDomain},
		{"parent", "ann@example.org", true, "ann@example.org", signin.CauseDomain},
		{"trailing dot", "ann@corp.example.", true, "", signin.CauseEmail},
		{"two at signs", "ann@evil.test@corp.example", true, "", signin.CauseEmail},
		{"quoted local part", `"ann@evil.test"@corp.example`, true, "", signin.CauseEmail},
		{"quoted", `"ann"@corp.example`, true, "", signin.CauseEmail},
		{"with a name", "<ann@corp.example", true, "", signin.CauseEmail},
		{"look-alike letter", "ann@c\u043erp.example", true, "", signin.CauseEmail},
		{"line break", "ann@corp.example\n", true, "", signin.CauseEmail},
		{"null byte in the local part", "an\x00n@corp.example", true, "", signin.CauseEmail},
		{"look-alike letter in the local part", "\u0430nn@corp.example", true, "", signin.CauseEmail},
		{"null byte", "ann@evil.test\x00@corp.example", true, "", signin.CauseEmail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edit := func(i *signintest.IDToken) {
				delete(i.Claims, "email")
				delete(i.Claims, "email_verified")
				if tt.email != nil {
					i.Claims["email"] = tt.email
				}
				if tt.verified != nil {
					i.Claims["email_verified"] = tt.verified
				}
				i.Claims["hd"] = "corp.example" // Google's word for the domain is not proof
			}
			p.Edit(edit)
			defer p.Edit(nil)
			who, _, err := open.finish(t, "corp", open.attempt(t, "corp", "ann"))
			if err != nil {
				t.Fatal(err)
			}
			if who.Email != tt.counts || who.EmailVerified != (tt.counts != "") {
				t.Errorf("the identity has the address %q (verified %v), want %q", who.Email, who.EmailVerified, tt.counts)
			}
			a := closed.attempt(t, "corp", "ann")
			who, _, err = closed.finish(t, "corp", a)
			if tt.cause != "" {
				wantRefused(t, who, err, tt.cause, a)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKelvinDomain tries a letter that Unicode's folding makes equal to k.
func TestKelvinDomain(t *testing.T) {
	n, p := corpNode(t, func(c *signin.ProviderConfig) { c.AllowedDomains = []string{"bank.example"} })
	p.Edit(func(i *signintest.IDToken) { i.Claims["email"] = "ann@ban\u212a.example" })
	a := n.attempt(t, "corp", "ann")
	who, _, err := n.finish(t, "corp", a)
	wantRefused(t, who, err, signin.CauseEmail, a)
}

const azureTenant = "11111111-2222-3333-4444-555555555555"

// TestAzure uses Azure's preset: another claim vouches for the address, and the tenant must be the configured one.
func TestAzure(t *testing.T) {
	n, p := corpNode(t, func(c *signin.ProviderConfig) {
		c.Preset, c.TenantID, c.AllowedDomains = signin.Azure, azureTenant, []string{"corp.example"}
	})
	tests := []struct {
		name   string
		claims map[string]any
		cause  fault.Cause
	}{
		{"domain owner verified", map[string]any{"tid": azureTenant, "xms_edov": true}, ""},
		{"email_verified is not Azure's", map[string]any{"tid": azureTenant, "email_verified": true}, signin.CauseEmail},
		{"domain owner not verified", map[string]any{"tid": azureTenant, "xms_edov": false}, signin.CauseEmail},
		{"other tenant", map[string]any{"tid": "11111111-2222-3333-4444-555555555556", "xms_edov": true}, signin.CauseTenant},
		{"no tenant", map[string]any{"xms_edov": true}, signin.CauseTenant},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.Edit(func(i *signintest.IDToken) {
				for name, value := range tt.claims {
					i.Claims[name] = value
				}
			})
			a := n.attempt(t, "corp", "ann")
			who, _, err := n.finish(t, "corp", a)
			if tt.cause != "" {
				wantRefused(t, who, err, tt.cause, a)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRoles(t *testing.T) {
	tests := []struct {
		name     string
		groups   any
		defaults []string
		want     []string
	}{
		{"a list", []string{"staff"}, nil, []string{"developer", "viewer"}},
		{"one name", "crypto-admins", nil, []string{"admin"}},
		{"the mapping wins over the default", "crypto-admins", []string{"viewer"}, []string{"admin"}},
		{"unmapped", []string{"guests"}, nil, nil},
		{"unmapped with a default", []string{"guests"}, []string{"viewer", "viewer"}, []string{"viewer"}},
		{"other case", []string{"STAFF"}, nil, nil},
		{"not text", []any{1, true, map[string]any{"staff": true}}, nil, nil},
		{"none", nil, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, p := corpNode(t, func(c *signin.ProviderConfig) { c.DefaultRoles = tt.defaults })
			p.Edit(func(i *signintest.IDToken) { i.Claims["groups"] = tt.groups })
			who, _, err := n.finish(t, "corp", n.attempt(t, "corp", "ann"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(who.Roles, tt.want) {
				t.Errorf("roles %v, want %v", who.Roles, tt.want)
			}
		})
	}
}
