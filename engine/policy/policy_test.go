package policy

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
)

var update = flag.Bool("update", false, "write the golden file of the roles")

// actions are all actions that any subject can do, and some that nobody can.
var actions = slices.Concat(Actions(directory.Owner), Actions(directory.Operator), Actions(directory.Auditor), Actions(directory.Backup), applianceActions, []Action{
	Encrypt, Decrypt, EncryptStream, DecryptStream, EncryptBatch, DecryptBatch, Rewrap, RewrapBatch, DataKey, DataKeyWrapped,
	Sign, Verify, MAC, VerifyMAC, Encapsulate, Decapsulate, Agree, KeyEncrypt, KeyDecrypt, Hash, DeriveKey, Random,
	HashPassword, VerifyPassword, RefreshToken, RevokeToken, Login, BeginSignIn, FinishSignIn, ListProviders, CreateDevice,
	RedeemDevice, AcceptInvitation, Request, RequestJoin, ReadJoin, CompleteJoin, ForceNew, "unknown",
})

// TestRoles holds the table role x action: who may do what changes in the golden file, where a review sees it.
func TestRoles(t *testing.T) {
	var b strings.Builder
	for _, a := range slices.Compact(slices.Sorted(slices.Values(actions))) {
		fmt.Fprintf(&b, "%-28s", a)
		for _, r := range directory.Roles {
			mark := "-"
			switch roles := []directory.Role{r}; {
			case OnlyOwn(roles, a):
				mark = "own"
			case UserMay(roles, a):
				mark = string(r)
			}
			fmt.Fprintf(&b, " %-9s", mark)
		}
		b.WriteString("\n")
	}
	table := regexp.MustCompile(` +\n`).ReplaceAllString(b.String(), "\n")
	const path = "testdata/roles.golden"
	if *update {
		if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if table != string(want) {
		t.Errorf("the table is\n%s\nrun the test with -update and look at the difference", table)
	}
	if UserMay(nil, ListContexts) || UserMay([]directory.Role{"unknown"}, ListContexts) {
		t.Error("a user without a known role may list contexts")
	}
}

// TestNobodyRaisesHimself: who may give a role, or take it away.
func TestNobodyRaisesHimself(t *testing.T) {
	may := map[directory.Role][]directory.Role{
		directory.Admin:    {directory.Viewer, directory.Developer},
		directory.Owner:    {directory.Viewer, directory.Developer, directory.Admin, directory.Owner},
		directory.Operator: {directory.Operator, directory.Auditor, directory.Backup},
	}
	for _, by := range directory.Roles {
		for _, r := range append(slices.Clone(directory.Roles), "unknown") {
			if got := MayAssign([]directory.Role{by}, r); got != slices.Contains(may[by], r) {
				t.Errorf("%s gives %s: %v", by, r, got)
			}
		}
	}
}

func TestAppliance(t *testing.T) {
	may := []Action{
		CreateCluster, CreateTenant, CreateContext, CreateApplication, CreateUser, IssueToken, RotateContext, RotateKey, PurgeTenant,
		ShredVersion, MergeUsage, CreatePolicy, UpdateMember, CreateBackup, RehearseBackup,
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
	free := []Action{ListContexts, ListKeys, ListAlgorithms, ReadFIPS, Hash, DeriveKey, Random, HashPassword, VerifyPassword, VerifyToken}
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
		{"by cipher", c{Algorithm: algs.AES256GCM, Ciphers: []string{"AES"}}, algs.AES256CBC, true, false},
		{"by mode", c{Algorithm: algs.AES256GCM, Modes: []string{"gcm", "ccm"}}, algs.AES256CCM, true, false},
		{"by both", c{Algorithm: algs.AES256GCM, Ciphers: []string{"AES"}, Modes: []string{"gcm"}}, algs.AES192GCM, true, false},
		{"another cipher", c{Algorithm: algs.AES256GCM, Ciphers: []string{"AES"}}, algs.ChaCha20Poly1305, false, false},
		{"another mode", c{Algorithm: algs.AES256GCM, Ciphers: []string{"AES"}, Modes: []string{"gcm"}}, algs.AES256CCM, false, false},
		{"listed, of another cipher", c{Algorithm: algs.AES256GCM, Ciphers: []string{"AES"}, Allowed: []algs.Name{algs.ChaCha20Poly1305}}, algs.ChaCha20Poly1305, false, false},
		{"not listed, of the cipher", c{Algorithm: algs.AES256GCM, Ciphers: []string{"AES"}, Allowed: []algs.Name{algs.AES256CCM}}, algs.AES256CTR, false, false},
		{"its own, of another cipher", c{Algorithm: algs.AES256GCM, Ciphers: []string{"ChaCha20"}}, algs.AES256GCM, false, false},
		{"warn: another mode", c{Algorithm: algs.AES256GCM, Modes: []string{"gcm"}, Enforcement: directory.EnforceWarn}, algs.AES256CBC, true, true},
		{"a hybrid by cipher and mode", c{Algorithm: algs.X25519MLKEM768AES256GCM, Ciphers: []string{"AES"}, Modes: []string{"gcm"}}, algs.X25519MLKEM768AES256GCM, true, false},
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

// TestMayExempt: only administrators let an application get round a safeguard.
func TestMayExempt(t *testing.T) {
	for _, r := range directory.Roles {
		if got, want := MayExempt([]directory.Role{r}), r == directory.Admin || r == directory.Owner; got != want {
			t.Errorf("%s: %v", r, got)
		}
	}
}
