package keys

import (
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

func goodObject() Object {
	return Object{
		Tenant: "t", Name: "invoices", Context: "user-pii", Purpose: PurposeSign, Algorithm: algs.Ed25519, Protection: Host,
	}
}

func TestObjectValidate(t *testing.T) {
	o := goodObject()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, breakIt := range map[string]func(*Object){
		"no tenant":          func(o *Object) { o.Tenant = "" },
		"no context":         func(o *Object) { o.Context = "" },
		"name":               func(o *Object) { o.Name = "A" },
		"algorithm":          func(o *Object) { o.Algorithm = "DES" },
		"a hash":             func(o *Object) { o.Algorithm = algs.SHA256 },
		"read only":          func(o *Object) { o.Algorithm = algs.AES256XTS },
		"no purpose":         func(o *Object) { o.Purpose = PurposeUnknown },
		"other purpose":      func(o *Object) { o.Purpose = PurposeKEM },
		"no protection":      func(o *Object) { o.Protection = ProtectionUnknown },
		"unknown protection": func(o *Object) { o.Protection = 3 },
		"data on the host":   func(o *Object) { o.Algorithm, o.Purpose = algs.AES256GCM, PurposeEncrypt },
		"description":        func(o *Object) { o.Description = strings.Repeat("x", DescriptionMax+1) },
	} {
		t.Run(name, func(t *testing.T) {
			o := goodObject()
			breakIt(&o)
			if o.Validate() == nil {
				t.Fatal("accepted")
			}
		})
	}
	o.Algorithm, o.Purpose, o.Protection = algs.AES256GCM, PurposeEncrypt, Token
	if err := o.Validate(); err != nil {
		t.Fatalf("data in the token: %v", err)
	}
}

// TestPurposes writes out what each class of algorithm has keys for.
func TestPurposes(t *testing.T) {
	want := map[algs.Class]Purpose{
		algs.ClassAEAD: PurposeEncrypt, algs.ClassPublicEncryption: PurposeEncrypt, algs.ClassSignature: PurposeSign, algs.ClassMAC: PurposeMAC,
		algs.ClassKEM: PurposeKEM, algs.ClassAgreement: PurposeAgree,
	}
	for _, row := range algs.Rows() {
		p := want[row.Class]
		if row.ReadOnly {
			p = PurposeUnknown
		}
		if PurposeOf(row) != p {
			t.Errorf("%s: %s", row.Name, PurposeOf(row))
		}
	}
	for p := PurposeSign; p <= PurposeEncrypt; p++ {
		if ParsePurpose(p.String()) != p {
			t.Errorf("%s is not read back", p)
		}
	}
	for _, p := range []Protection{Host, Token} {
		if ParseProtection(p.String()) != p {
			t.Errorf("%s is not read back", p)
		}
	}
	if ParsePurpose("unknown") != PurposeUnknown || ParseProtection("unknown") != ProtectionUnknown || ParsePurpose("") != PurposeUnknown {
		t.Error("an unknown name has a meaning")
	}
}

func TestVersionMaterial(t *testing.T) {
	object := func(change func(*Version)) Version {
		v := Version{
			ID: NewID("user-pii", [8]byte{1}), Tenant: "t", Context: "user-pii", Number: 1, State: Active, Algorithm: algs.Ed25519,
			Object: "invoices", Public: []byte{1}, Sealed: []byte{2},
		}
		change(&v)
		return v
	}
	context := func(change func(*Version)) Version {
		v := good()
		change(&v)
		return v
	}
	for name, c := range map[string]struct {
		v  Version
		ok bool
	}{
		"sealed":                      {object(func(*Version) {}), true},
		"wrapped":                     {object(func(v *Version) { v.Sealed, v.Wrapped = nil, []byte{3} }), true},
		"both":                        {object(func(v *Version) { v.Wrapped = []byte{3} }), false},
		"neither":                     {object(func(v *Version) { v.Sealed = nil }), false},
		"a salt too":                  {object(func(v *Version) { v.Salt = make([]byte, SaltBytes) }), false},
		"impossible name":             {object(func(v *Version) { v.Object = "A" }), false},
		"too much":                    {object(func(v *Version) { v.Sealed = make([]byte, maxSecret+1) }), false},
		"too much public":             {object(func(v *Version) { v.Public = make([]byte, maxPublic+1) }), false},
		"context: derived":            {context(func(*Version) {}), true},
		"context: 128 bits, format 4": {context(func(v *Version) { v.Algorithm = algs.AES128GCM }), true},
		"context: 128 bits, format 3": {context(func(v *Version) { v.Algorithm, v.Bits = algs.AES128GCM, 128 }), true},
		"context: other bits":         {context(func(v *Version) { v.Algorithm, v.Bits = algs.AES128GCM, 192 }), false},
		"context: stored":             {context(func(v *Version) { v.Sealed = []byte{1} }), false},
		"context: signs":              {context(func(v *Version) { v.Algorithm = algs.Ed25519 }), false},
		"context: read only":          {context(func(v *Version) { v.Algorithm, v.Bits = algs.AES256XTS, 512 }), false},
		"hybrid": {context(func(v *Version) {
			v.Algorithm, v.Salt, v.Public, v.Sealed = algs.AES256GCMMLKEM768, nil, []byte{1}, []byte{2}
		}), true},
		"hybrid: no pair": {context(func(v *Version) { v.Algorithm, v.Salt = algs.AES256GCMMLKEM768, nil }), false},
		"hybrid: salt":    {context(func(v *Version) { v.Algorithm, v.Public, v.Sealed = algs.AES256GCMMLKEM768, []byte{1}, []byte{2} }), false},
		"hybrid: wrapped": {context(func(v *Version) {
			v.Algorithm, v.Salt, v.Public, v.Wrapped = algs.AES256GCMMLKEM768, nil, []byte{1}, []byte{2}
		}), false},
	} {
		if err := c.v.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
