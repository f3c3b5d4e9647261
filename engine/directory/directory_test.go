package directory

import (
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

func TestContextNames(t *testing.T) {
	good := []string{"a", "default", "user-pii", "a1-2", "a" + strings.Repeat("b", ContextNameMax-1)}
	bad := []string{
		"", "A", "1a", "-a", "a_b", "a.b", "a b", "a:b", "a\x00", "a\n", "ü", `a"`, "a/b", "../a", "a\u2028",
		"a" + strings.Repeat("b", ContextNameMax),
	}
	for _, n := range good {
		if !ValidContextName(n) {
			t.Errorf("%q is refused", n)
		}
	}
	for _, n := range bad {
		if ValidContextName(n) {
			t.Errorf("%q is accepted", n)
		}
	}
}

func TestContextValidate(t *testing.T) {
	good := Context{Tenant: "t", Name: "default", Algorithm: algs.AES256GCM, Format: 4, Derivation: Salted, Status: Enabled}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*Context){
		"no tenant":          func(c *Context) { c.Tenant = "" },
		"name":               func(c *Context) { c.Name = "A" },
		"format 0":           func(c *Context) { c.Format = 0 },
		"format 5":           func(c *Context) { c.Format = 5 },
		"unknown derivation": func(c *Context) { c.Derivation = DerivationUnknown },
		"unknown status":     func(c *Context) { c.Status = StatusUnknown },
		"unknown algorithm":  func(c *Context) { c.Algorithm = "rot13" },
		"a signature":        func(c *Context) { c.Algorithm = algs.Ed25519 },
		"read only":          func(c *Context) { c.Algorithm = algs.AES256XTS },
		"hybrid in format 3": func(c *Context) { c.Algorithm, c.Format = algs.AES256GCMMLKEM768, 3 },
		"hybrid, derived":    func(c *Context) { c.Algorithm, c.Derivation = algs.AES256GCMMLKEM768, Deterministic },
		"GCM-SIV, format 3":  func(c *Context) { c.Algorithm, c.Format = algs.AES256GCMSIV, 3 },
		"enforcement":        func(c *Context) { c.Enforcement = 3 },
		"allows a hash":      func(c *Context) { c.Allowed = []algs.Name{algs.SHA256} },
		"allows a hybrid":    func(c *Context) { c.Allowed = []algs.Name{algs.AES256GCMMLKEM768} },
		"allows read only":   func(c *Context) { c.Allowed = []algs.Name{algs.AES256XTS} },
	}
	for name, breakIt := range cases {
		t.Run(name, func(t *testing.T) {
			c := good
			breakIt(&c)
			if c.Validate() == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func TestEnforcementNames(t *testing.T) {
	for _, e := range []Enforcement{EnforceAll, EnforceNone, EnforceWarn} {
		if got, ok := ParseEnforcement(e.String()); !ok || got != e {
			t.Errorf("%s is not read back", e)
		}
	}
	if e, ok := ParseEnforcement(""); !ok || e != EnforceAll {
		t.Error("no name does not mean enforce")
	}
	if _, ok := ParseEnforcement("off"); ok {
		t.Error("an unknown name is accepted")
	}
}
