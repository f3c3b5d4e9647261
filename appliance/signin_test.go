package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/engine"
)

// provider returns a config with one identity provider, with something put in the place of something else.
func provider(t *testing.T, old, instead string) string {
	t.Helper()
	text := `version: 1
hsm: {pin_file: /p}
sign_in:
  base_url: https://keys.example.org
  providers:
    - name: corp
      preset: oidc
      issuer: https://id.example.org
      client_id: c
      client_secret_file: /s
      groups_claim: groups
      role_mapping: {staff: [viewer, developer], chiefs: [owner]}
      tenant: default
`
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in the config", old)
	}
	return strings.Replace(text, old, instead, 1)
}

func TestSignInConfig(t *testing.T) {
	for name, c := range map[string]struct{ old, instead, want string }{
		"good":                   {"", "", ""},
		"appliance roles":        {"[owner]}", "[operator]}\n      appliance_roles: true", ""},
		"unknown key":            {"client_id", "client_ident", "client_ident"},
		"no base URL":            {"base_url: https://keys.example.org", "base_url: ''", "sign_in.base_url"},
		"plain HTTP":             {"https://keys", "http://keys", "sign_in.base_url"},
		"a path":                 {"keys.example.org", "keys.example.org/", "sign_in.base_url"},
		"no secret file":         {"client_secret_file: /s", "client_secret_file: ''", "sign_in.providers[0].client_secret_file"},
		"unknown role":           {"[owner]", "[root]", `there is no role "root"`},
		"a role not to be given": {"[owner]", "[operator]", "the role operator needs appliance_roles"},
		"default role":           {"tenant: default", "tenant: default\n      default_roles: [auditor]", "the role auditor needs appliance_roles"},
		"unknown preset":         {"preset: oidc", "preset: saml", `sign_in.provider "corp"`},
		"no claim for a mapping": {"groups_claim: groups", "groups_claim: ''", "groups claim"},
		"no tenant":              {"tenant: default", "tenant: ''", "tenant is missing"},
		"bad issuer":             {"issuer: https://", "issuer: http://", "https"},
		"a bad name":             {"name: corp", "name: Corp!", "lower-case"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, provider(t, c.old, c.instead))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something about %q", err, c.want)
			}
		})
	}
	config, err := load(t, provider(t, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := config.SignIn.rules()["corp"]; got != (engine.ProviderRules{Manages: true}) {
		t.Errorf("the rules are %+v", got)
	}
	if config, err = load(t, provider(t, "role_mapping: {staff: [viewer, developer], chiefs: [owner]}", "default_roles: [viewer]")); err != nil {
		t.Fatal(err)
	}
	if got := config.SignIn.rules()["corp"]; got != (engine.ProviderRules{}) {
		t.Errorf("without a mapping the rules are %+v", got)
	}
}

func TestSignInFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, open := write("good", "s3cret\n", 0o600), write("open", "s3cret\n", 0o644)
	for name, c := range map[string]struct{ with, want string }{
		"good":      {good, ""},
		"not there": {"/nowhere/s", "sign_in.providers[0]: the client secret file cannot be read"},
		"open":      {open, "chmod 600"},
		"empty":     {write("empty", "\n", 0o600), "is empty"},
		"no CA":     {good + "\n      ca_file: /nowhere/ca", "ca_file"},
		"not a CA":  {good + "\n      ca_file: " + good, "holds no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(write("config.yaml", provider(t, "client_secret_file: /s", "client_secret_file: "+c.with), 0o600))
			if c.want == "" && strings.Contains(err.Error(), "sign_in") || c.want != "" && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something about %q", err, c.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Error("the error holds the secret")
			}
		})
	}
}
