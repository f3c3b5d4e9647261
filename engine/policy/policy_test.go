package policy

import (
	"slices"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
)

var actions = []Action{
	Encrypt, Decrypt, EncryptStream, DecryptStream, EncryptBatch, DecryptBatch, Rewrap, RewrapBatch, DataKey, DataKeyWrapped,
	Sign, Verify, MAC, VerifyMAC, Encapsulate, Decapsulate, Agree, KeyEncrypt, KeyDecrypt, Hash, DeriveKey, Random,
	HashPassword, VerifyPassword, ListAlgorithms, ReadFIPS, ListContexts, CreateContext, RotateContext, ListKeys, ReadKey,
	CreateKey, RotateKey, DisableKey, EnableKey, CreateImport, ImportKey, ImportLegacy, RefreshToken, CreateCluster, CreateTenant,
	CreateApplication, CreateUser, IssueToken, Request, "unknown",
}

// TestRoles writes the table role x action out in full.
func TestRoles(t *testing.T) {
	read := []Action{ListContexts, ListKeys, ReadKey, ListAlgorithms, ReadFIPS}
	manage := []Action{
		ListContexts, ListKeys, ReadKey, ListAlgorithms, ReadFIPS, CreateContext, RotateContext, CreateKey, RotateKey, DisableKey,
		EnableKey, CreateImport, ImportKey, ImportLegacy,
	}
	want := map[directory.Role][]Action{
		directory.Viewer:    read,
		directory.Developer: read,
		directory.Admin:     manage,
		directory.Owner:     manage,
		directory.Operator:  {ListAlgorithms, ReadFIPS},
		directory.Auditor:   read,
		"unknown":           {},
	}
	for role, may := range want {
		for _, a := range actions {
			if got := UserMay([]directory.Role{role}, a); got != slices.Contains(may, a) {
				t.Errorf("%s, %s: %v", role, a, got)
			}
		}
	}
	if UserMay(nil, ListContexts) {
		t.Error("a user without roles may list contexts")
	}
}

func TestAppliance(t *testing.T) {
	may := []Action{
		CreateCluster, CreateTenant, CreateContext, CreateApplication, CreateUser, IssueToken, RotateContext, RotateKey,
	}
	for _, a := range actions {
		if got := ApplianceMay(a); got != slices.Contains(may, a) {
			t.Errorf("%s: %v", a, got)
		}
	}
}

// TestApplicationNeeds writes out which grant each action asks for.
func TestApplicationNeeds(t *testing.T) {
	protect := []Action{Encrypt, EncryptStream, EncryptBatch, DataKey, DataKeyWrapped, Sign, MAC, KeyEncrypt}
	process := []Action{Decrypt, DecryptStream, DecryptBatch, Decapsulate, Agree, KeyDecrypt}
	either := []Action{Verify, VerifyMAC, Encapsulate, ReadKey}
	both := []Action{Rewrap, RewrapBatch}
	free := []Action{ListContexts, ListKeys, ListAlgorithms, ReadFIPS, Hash, DeriveKey, Random, HashPassword, VerifyPassword}
	for _, a := range actions {
		for _, g := range []directory.Grant{{}, {Encrypt: true}, {Decrypt: true}, {Encrypt: true, Decrypt: true}} {
			want := slices.Contains(protect, a) && g.Encrypt || slices.Contains(process, a) && g.Decrypt ||
				slices.Contains(either, a) && (g.Encrypt || g.Decrypt) || slices.Contains(both, a) && g.Encrypt && g.Decrypt ||
				slices.Contains(free, a)
			g.Context = "c"
			app := &directory.Application{Grants: []directory.Grant{g}}
			if got := ApplicationMay(&Subject{}, app, a, "c"); got != want {
				t.Errorf("%s with %+v: %v", a, g, got)
			}
		}
	}
}

func TestAlgorithmPolicy(t *testing.T) {
	row := func(name algs.Name) algs.Row {
		r, ok := algs.Lookup(name)
		if !ok {
			t.Fatalf("%s is not known", name)
		}
		return r
	}
	type c = directory.Context
	tests := []struct {
		name            string
		context         c
		algorithm       algs.Name
		allowed, warned bool
	}{
		{"its own", c{Algorithm: algs.AES256GCM}, algs.AES256GCM, true, false},
		{"another", c{Algorithm: algs.AES256GCM}, algs.AES256CCM, false, false},
		{"listed", c{Algorithm: algs.AES256GCM, Allowed: []algs.Name{algs.AES256CCM}}, algs.AES256CCM, true, false},
		{"none: another", c{Algorithm: algs.AES256GCM, Enforcement: directory.EnforceNone}, algs.AES128GCM, true, false},
		{"warn: another", c{Algorithm: algs.AES256GCM, Enforcement: directory.EnforceWarn}, algs.AES128GCM, true, true},
		{"warn: listed", c{Algorithm: algs.AES256GCM, Enforcement: directory.EnforceWarn, Allowed: []algs.Name{algs.AES128GCM}}, algs.AES128GCM, true, false},
		{"listed, too weak", c{Algorithm: algs.AES256GCM, Allowed: []algs.Name{algs.AES128GCM}, MinimumBits: 256}, algs.AES128GCM, false, false},
		{"listed, not quantum-safe", c{Algorithm: algs.AES256GCM, Allowed: []algs.Name{algs.AES128GCM}, QuantumSafe: true}, algs.AES128GCM, false, false},
		{"unknown enforcement", c{Algorithm: algs.AES256GCM, Enforcement: 9}, algs.AES256CCM, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			warning, allowed := Algorithm(&tt.context, row(tt.algorithm))
			if allowed != tt.allowed || (warning != "") != tt.warned {
				t.Errorf("allowed %v, warning %q", allowed, warning)
			}
		})
	}
}

func TestApplications(t *testing.T) {
	app := &directory.Application{Grants: []directory.Grant{
		{Context: "both", Encrypt: true, Decrypt: true}, {Context: "in", Encrypt: true}, {Context: "out", Decrypt: true}, {Context: "neither"},
	}}
	cases := []struct {
		name     string
		narrowed []string
		action   Action
		context  string
		want     bool
	}{
		{"granted", nil, Encrypt, "both", true},
		{"granted, decrypt", nil, Decrypt, "both", true},
		{"encrypt only", nil, Decrypt, "in", false},
		{"decrypt only", nil, Encrypt, "out", false},
		{"neither", nil, Encrypt, "neither", false},
		{"not granted", nil, Encrypt, "other", false},
		{"narrowed to it", []string{"both"}, Encrypt, "both", true},
		{"narrowed to another", []string{"in"}, Encrypt, "both", false},
		{"narrowed to nothing", []string{}, Encrypt, "both", false},
		{"token does not widen", []string{"other"}, Encrypt, "other", false},
		{"not an action on data", nil, RotateContext, "both", false},
		{"unknown action", nil, "unknown", "both", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := ApplicationMay(&Subject{Narrowed: c.narrowed}, app, c.action, c.context); got != c.want {
				t.Fatalf("got %v", got)
			}
		})
	}
}
