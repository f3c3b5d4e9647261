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
