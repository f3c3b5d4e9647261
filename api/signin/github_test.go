package signin_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"cryptoserve/api/signin"
	"cryptoserve/api/signin/signintest"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
)

// octo is a GitHub account with all that a sign-in looks at.
func octo() signintest.GitHubUser {
	return signintest.GitHubUser{
		ID: 583231, Login: "octo", Password: password, Name: "Octo Cat",
		Emails: []signintest.GitHubEmail{
			{Email: "octo@private.example", Verified: true},
			{Email: "octo@corp.example", Primary: true, Verified: true},
		},
		Organisations: []string{"Acme", "Other"},
	}
}

func githubNode(t *testing.T, u signintest.GitHubUser, edit func(*signin.ProviderConfig)) (*node, *signintest.GitHub) {
	t.Helper()
	g := signintest.NewGitHub(t)
	g.AddUser(u)
	c := signin.ProviderConfig{
		Name: "hub", Preset: signin.GitHub, ClientID: g.ClientID, ClientSecret: secret.Copy([]byte(g.ClientSecret)), Tenant: "acme",
		RootCAs: g.CA, GitHubEndpoints: signin.GitHubEndpoints{
			Authorize: g.URL + "/login/oauth/authorize", Token: g.URL + "/login/oauth/access_token", API: g.API,
		},
	}
	if edit != nil {
		edit(&c)
	}
	n := newNode(t, c)
	g.AllowRedirect(n.callback("hub"))
	return n, g
}

// TestGitHubSignIn goes the whole way through a browser with cookies.
func TestGitHubSignIn(t *testing.T) {
	n, g := githubNode(t, octo(), func(c *signin.ProviderConfig) {
		c.GitHubOrganisations = []string{"ACME"}
		c.RoleMapping = map[string][]string{"Acme": {"admin"}}
		c.AllowedDomains = []string{"corp.example"}
	})
	got, cause := n.signIn(t, "/login/hub?redirect=/console&invitation=inv-2", "octo")
	want := arrived{
		Who: signin.Identity{
			Provider: "hub", Tenant: "acme", Issuer: g.URL, Subject: "583231", Email: "octo@corp.example", EmailVerified: true,
			Name: "Octo Cat", Groups: []string{"acme", "other"}, Roles: []string{"admin"}, Invitation: "inv-2",
		},
		Redirect: "/console",
	}
	if cause != "" || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v (refused because of %q)\nwant %+v", got, cause, want)
	}
	if g.Exchanges() != 1 {
		t.Errorf("%d codes were traded", g.Exchanges())
	}
}

func TestGitHubAdmission(t *testing.T) {
	domain := func(c *signin.ProviderConfig) { c.AllowedDomains = []string{"corp.example"} }
	acme := func(c *signin.ProviderConfig) { c.GitHubOrganisations = []string{"acme"} }
	tests := []struct {
		name   string
		user   func(*signintest.GitHubUser)
		config func(*signin.ProviderConfig)
		cause  fault.Cause
		email  string
	}{
		{"without demands", func(*signintest.GitHubUser) {}, nil, "", "octo@corp.example"},
		{"primary not verified", func(u *signintest.GitHubUser) { u.Emails[1].Verified = false }, domain, signin.CauseEmail, ""},
		{"primary not verified, no demand", func(u *signintest.GitHubUser) { u.Emails[1].Verified = false }, nil, "", ""},
		{"allowed domain not the primary", func(u *signintest.GitHubUser) {
			u.Emails[0].Primary, u.Emails[1].Primary = true, false
		}, domain, signin.CauseDomain, ""},
		{"no address", func(u *signintest.GitHubUser) { u.Emails = nil }, domain, signin.CauseEmail, ""},
		{"member in other letters", func(u *signintest.GitHubUser) { u.Organisations = []string{"aCME"} }, acme, "", "octo@corp.example"},
		{"no member", func(u *signintest.GitHubUser) { u.Organisations = []string{"acme-fans"} }, acme, signin.CauseOrganisation, ""},
		{"no organisation", func(u *signintest.GitHubUser) { u.Organisations = nil }, acme, signin.CauseOrganisation, ""},
		{"no id", func(u *signintest.GitHubUser) { u.ID = 0 }, nil, signin.CauseClaims, ""},
		{"member on the second page", func(u *signintest.GitHubUser) {
			u.Organisations = nil
			for i := range 150 {
				u.Organisations = append(u.Organisations, fmt.Sprintf("org-%d", i))
			}
			u.Organisations = append(u.Organisations, "acme")
		}, acme, "", "octo@corp.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := octo()
			tt.user(&u)
			n, _ := githubNode(t, u, tt.config)
			a := n.attempt(t, "hub", "octo")
			who, _, err := n.finish(t, "hub", a)
			if tt.cause != "" {
				wantRefused(t, who, err, tt.cause, a)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if who.Email != tt.email || who.EmailVerified != (tt.email != "") {
				t.Errorf("the address is %q (verified %v), want %q", who.Email, who.EmailVerified, tt.email)
			}
		})
	}
}

// TestGitHubScopes asks for organisations only where they matter.
func TestGitHubScopes(t *testing.T) {
	n, _ := githubNode(t, octo(), nil)
	who, _, err := n.finish(t, "hub", n.attempt(t, "hub", "octo"))
	if err != nil {
		t.Fatal(err)
	}
	if len(who.Groups) != 0 {
		t.Errorf("the groups %v were asked for without need", who.Groups)
	}
}

// TestGitHubNameFallsBack uses the login where there is no name.
func TestGitHubNameFallsBack(t *testing.T) {
	u := octo()
	u.Name = ""
	n, _ := githubNode(t, u, nil)
	who, _, err := n.finish(t, "hub", n.attempt(t, "hub", "octo"))
	if err != nil || who.Name != "octo" {
		t.Fatalf("the name is %q, %v", who.Name, err)
	}
}

func TestGitHubAttacks(t *testing.T) {
	n, g := githubNode(t, octo(), nil)
	t.Run("code replayed", func(t *testing.T) {
		a := n.attempt(t, "hub", "octo")
		if _, _, err := n.finish(t, "hub", a); err != nil {
			t.Fatal(err)
		}
		who, _, err := n.finish(t, "hub", a)
		wantRefused(t, who, err, signin.CauseReplay, a)
		// The same code in another sign-in: GitHub has spent it, and it is bound to another verifier.
		b := n.attempt(t, "hub", "octo")
		b.query.Set("code", a.query.Get("code"))
		who, _, err = n.finish(t, "hub", b)
		wantRefused(t, who, err, signin.CauseCode, b)
	})
	t.Run("code of another sign-in", func(t *testing.T) {
		a, b := n.attempt(t, "hub", "octo"), n.attempt(t, "hub", "octo")
		b.query.Set("code", a.query.Get("code"))
		who, _, err := n.finish(t, "hub", b)
		wantRefused(t, who, err, signin.CauseCode, b)
	})
	t.Run("wrong client secret", func(t *testing.T) {
		n, _ := githubNode(t, octo(), func(c *signin.ProviderConfig) { c.ClientSecret = secret.Copy([]byte("wrong")) })
		a := n.attempt(t, "hub", "octo")
		who, _, err := n.finish(t, "hub", a)
		wantRefused(t, who, err, signin.CauseClient, a)
	})
	for issuer, cause := range map[string]fault.Cause{
		g.URL: "", g.URL + "/login/oauth": "", "https://github.com": signin.CauseIssuer, "https://evil.example": signin.CauseIssuer,
	} {
		t.Run("issuer "+string(cause), func(t *testing.T) {
			a := n.attempt(t, "hub", "octo")
			a.query.Set("iss", issuer)
			who, _, err := n.finish(t, "hub", a)
			if cause != "" {
				wantRefused(t, who, err, cause, a)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestGitHubDefaults goes to github.com unless told otherwise.
func TestGitHubDefaults(t *testing.T) {
	n := newNode(t, signin.ProviderConfig{
		Name: "hub", Preset: signin.GitHub, ClientID: "id", ClientSecret: secret.Copy([]byte("s")), Tenant: "acme",
	})
	target, _, err := n.Begin(t.Context(), "hub", signin.BeginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "https://github.com/login/oauth/authorize?"
	if len(target) < len(want) || target[:len(want)] != want {
		t.Error("the browser does not go to github.com")
	}
	if got := n.Providers(); !slices.Equal(got, []signin.Info{{Name: "hub", Preset: signin.GitHub, DisplayName: "GitHub"}}) {
		t.Errorf("the list is %+v", got)
	}
}
