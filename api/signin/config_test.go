package signin_test

import (
	"slices"
	"strings"
	"testing"

	"cryptoserve/api/signin"
	"cryptoserve/engine/secret"
)

func goodConfig() signin.Config {
	return signin.Config{
		Key: testKey, Callback: func(name string) string { return "https://node.example/callback/" + name },
		Providers: []signin.ProviderConfig{goodProvider()},
	}
}

func goodProvider() signin.ProviderConfig {
	return signin.ProviderConfig{
		Name: "corp", Preset: signin.OIDC, Issuer: "https://login.corp.example", Tenant: "acme",
		ClientID: "id", ClientSecret: secret.Copy([]byte("hush-hush")),
	}
}

func TestNew(t *testing.T) {
	provider := func(edit func(*signin.ProviderConfig)) func(*signin.Config) {
		return func(c *signin.Config) { edit(&c.Providers[0]) }
	}
	preset := func(p signin.Preset, edit func(*signin.ProviderConfig)) func(*signin.Config) {
		return provider(func(c *signin.ProviderConfig) {
			c.Preset, c.Issuer = p, ""
			if edit != nil {
				edit(c)
			}
		})
	}
	tests := []struct {
		name string
		edit func(*signin.Config)
		want string // part of the error, empty when it is good
	}{
		{"oidc", func(*signin.Config) {}, ""},
		{"no providers", func(c *signin.Config) { c.Providers = nil }, ""},
		{"github", preset(signin.GitHub, nil), ""},
		{"google", preset(signin.Google, nil), ""},
		{"azure", preset(signin.Azure, func(c *signin.ProviderConfig) { c.TenantID = azureTenant }), ""},
		{"okta", provider(func(c *signin.ProviderConfig) { c.Preset = signin.Okta }), ""},
		{"http on loopback where allowed", func(c *signin.Config) {
			c.Loopback, c.Providers[0].Issuer = true, "http://127.0.0.1:8080"
		}, ""},

		{"short key", func(c *signin.Config) { c.Key = secret.Copy([]byte("short")) }, "key is not 32 bytes"},
		{"no callback", func(c *signin.Config) { c.Callback = nil }, "callback is missing"},
		{"callback over http", func(c *signin.Config) { c.Callback = func(string) string { return "http://node.example/" } },
			"the callback is not an https URL"},
		{"callback without host", func(c *signin.Config) { c.Callback = func(n string) string { return "/callback/" + n } },
			"the callback is not an absolute URL"},
		{"negative limit", func(c *signin.Config) { c.UsedStates = -1 }, "negative"},
		{"two of a name", func(c *signin.Config) { c.Providers = append(c.Providers, c.Providers[0]) },
			`two providers are named "corp"`},
		{"no name", provider(func(c *signin.ProviderConfig) { c.Name = "" }), "the name must be"},
		{"name with a slash", provider(func(c *signin.ProviderConfig) { c.Name = "a/b" }), "the name must be"},
		{"no preset", provider(func(c *signin.ProviderConfig) { c.Preset = "" }), "none of github"},
		{"unknown preset", provider(func(c *signin.ProviderConfig) { c.Preset = "saml" }), "none of github"},
		{"no client id", provider(func(c *signin.ProviderConfig) { c.ClientID = "" }), "client id is missing"},
		{"no client secret", provider(func(c *signin.ProviderConfig) { c.ClientSecret = secret.Bytes{} }), "client secret is missing"},
		{"no tenant", provider(func(c *signin.ProviderConfig) { c.Tenant = "" }), "tenant is missing"},
		{"no issuer", provider(func(c *signin.ProviderConfig) { c.Issuer = "" }), "not an absolute URL"},
		{"http issuer", provider(func(c *signin.ProviderConfig) { c.Issuer = "http://login.corp.example" }), "not an https URL"},
		{"http on loopback where not allowed", provider(func(c *signin.ProviderConfig) { c.Issuer = "http://127.0.0.1" }),
			"not an https URL"},
		{"http elsewhere where loopback is allowed", func(c *signin.Config) {
			c.Loopback, c.Providers[0].Issuer = true, "http://localhost.evil.example"
		}, "not an https URL"},
		{"issuer with a user", provider(func(c *signin.ProviderConfig) { c.Issuer = "https://u@login.corp.example" }), "has a user"},
		{"issuer with a query", provider(func(c *signin.ProviderConfig) { c.Issuer = "https://login.corp.example?a" }), "has a query"},
		{"issuer with a fragment", provider(func(c *signin.ProviderConfig) { c.Issuer = "https://login.corp.example#a" }), "fragment"},
		{"issuer of many tenants", provider(func(c *signin.ProviderConfig) {
			c.Issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
		}), "many tenants"},
		{"issuer of everybody", provider(func(c *signin.ProviderConfig) {
			c.Issuer = "https://login.microsoftonline.com/common/v2.0"
		}), "many tenants"},
		{"google with an issuer", preset(signin.Google, func(c *signin.ProviderConfig) { c.Issuer = "https://evil.example" }),
			"cannot be another"},
		{"google on loopback where not allowed", preset(signin.Google, func(c *signin.ProviderConfig) { c.Issuer = "https://127.0.0.1" }),
			"cannot be another"},
		{"azure without a tenant", preset(signin.Azure, nil), "tenant id of one organisation"},
		{"azure for everybody", preset(signin.Azure, func(c *signin.ProviderConfig) { c.TenantID = "common" }),
			"tenant id of one organisation"},
		{"azure for personal accounts", preset(signin.Azure, func(c *signin.ProviderConfig) {
			c.TenantID = "9188040d-6c67-4c5b-b112-36a304b66dad"
		}), "tenant id of one organisation"},
		{"tenant id elsewhere", provider(func(c *signin.ProviderConfig) { c.TenantID = azureTenant }), "preset azure only"},
		{"organisations elsewhere", provider(func(c *signin.ProviderConfig) { c.GitHubOrganisations = []string{"acme"} }),
			"preset github only"},
		{"github with half of its endpoints", preset(signin.GitHub, func(c *signin.ProviderConfig) {
			c.GitHubEndpoints.API = "https://ghe.corp.example/api/v3"
		}), "a GitHub endpoint is not an absolute URL"},
		{"github over http", preset(signin.GitHub, func(c *signin.ProviderConfig) {
			c.GitHubEndpoints = signin.GitHubEndpoints{
				Authorize: "https://g.example/a", Token: "http://g.example/t", API: "https://g.example",
			}
		}), "a GitHub endpoint is not an https URL"},
		{"github with an issuer", preset(signin.GitHub, func(c *signin.ProviderConfig) { c.Issuer = "https://evil.example" }),
			"another issuer"},
		{"domain with an at sign", provider(func(c *signin.ProviderConfig) { c.AllowedDomains = []string{"@corp.example"} }),
			"not a domain name"},
		{"domain with a wildcard", provider(func(c *signin.ProviderConfig) { c.AllowedDomains = []string{"*.corp.example"} }),
			"not a domain name"},
		{"empty domain", provider(func(c *signin.ProviderConfig) { c.AllowedDomains = []string{""} }), "not a domain name"},
		{"scope with a space", provider(func(c *signin.ProviderConfig) { c.Scopes = []string{"a b"} }), "the scope"},
		{"mapping without a claim", provider(func(c *signin.ProviderConfig) { c.RoleMapping = map[string][]string{"g": {"admin"}} }),
			"needs a groups claim"},
		{"mapping to nothing", provider(func(c *signin.ProviderConfig) {
			c.GroupsClaim, c.RoleMapping = "groups", map[string][]string{"g": nil}
		}), "empty group or role"},
		{"empty default role", provider(func(c *signin.ProviderConfig) { c.DefaultRoles = []string{""} }), "default role is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := goodConfig()
			tt.edit(&c)
			_, err := signin.New(c)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("error is %v, want %q in it", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "hush-hush"):
				t.Error("the error shows the client secret")
			}
		})
	}
}

// TestNewTellsAllProblems joins them, so that an operator mends a file once.
func TestNewTellsAllProblems(t *testing.T) {
	c := goodConfig()
	c.Key = secret.Bytes{}
	c.Providers[0].ClientID, c.Providers[0].Tenant = "", ""
	_, err := signin.New(c)
	for _, want := range []string{"key is not", "client id is missing", "tenant is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}

func TestProviders(t *testing.T) {
	c := goodConfig()
	second := goodProvider()
	second.Name, second.Preset, second.DisplayName = "staff", signin.Okta, "Staff login"
	third := goodProvider()
	third.Name, third.Preset = "okta", signin.Okta
	c.Providers = append(c.Providers, second, third)
	s, err := signin.New(c)
	if err != nil {
		t.Fatal(err)
	}
	want := []signin.Info{{"corp", signin.OIDC, "corp"}, {"staff", signin.Okta, "Staff login"}, {"okta", signin.Okta, "Okta"}}
	if got := s.Providers(); !slices.Equal(got, want) {
		t.Errorf("the list is %+v, want %+v", got, want)
	}
	s.Providers()[0].Name = "changed"
	if s.Providers()[0].Name != "corp" {
		t.Error("the list can be changed from outside")
	}
}
