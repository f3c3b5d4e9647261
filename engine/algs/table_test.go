package algs

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTable keeps the printed table as a golden file, so that a change of what is approved shows in review.
func TestTable(t *testing.T) {
	var b strings.Builder
	for _, r := range Rows() {
		fmt.Fprintf(&b, "%s class=%s key=%d security=%d quantum-safe=%v approved=%s runs=%s instead=%q read-only=%v max=%d source=%q\n",
			r.Name, r.Class, r.KeyBits, r.SecurityBits, r.QuantumSafe, r.Approval, r.Runs, r.Instead, r.ReadOnly, r.MaxPlaintext, r.Source)
	}
	const golden = "testdata/table.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Fatalf("the table changed; run with -update if that is meant:\n%s", b.String())
	}
}

func TestEveryRowIsComplete(t *testing.T) {
	for _, r := range Rows() {
		if r.Name == "" || r.Class == ClassUnknown || r.Runs == RunsUnknown || r.SecurityBits == 0 || r.Source == "" {
			t.Errorf("row %+v lacks something", r)
		}
		keyed := r.Class == ClassAEAD || r.Class == ClassHybrid || r.Class == ClassMAC
		if keyed != (r.KeyBits != 0) {
			t.Errorf("%s has a key of %d bits", r.Name, r.KeyBits)
		}
		if got, ok := Lookup(r.Name); !ok || got != r {
			t.Errorf("%s is not found by its name", r.Name)
		}
	}
}

func TestInvariant05UnknownAlgorithmIsNotFound(t *testing.T) {
	for _, n := range []Name{"", "aes-256-gcm", "AES-256-GCM ", "DES", "none", "AES"} {
		if _, ok := Lookup(n); ok {
			t.Errorf("%q is known", n)
		}
	}
}

// TestPreferredChoosesApproved shows that what stands instead of an algorithm is approved and of its class.
func TestPreferredChoosesApproved(t *testing.T) {
	for _, r := range Rows() {
		instead, ok := Lookup(Preferred.Choose(r.Name))
		switch {
		case !ok:
			t.Errorf("%s is replaced by something unknown", r.Name)
		case r.ReadOnly:
			if r.Instead != "" {
				t.Errorf("%s is never chosen and needs no other", r.Name)
			}
		case instead.Approval != Approved || instead.Class != r.Class:
			t.Errorf("%s is replaced by %s, which is not approved or of another class", r.Name, instead.Name)
		case r.Approval == Approved && instead.Name != r.Name:
			t.Errorf("%s is approved and replaced all the same", r.Name)
		}
		if Disabled.Choose(r.Name) != r.Name {
			t.Errorf("mode disabled replaces %s", r.Name)
		}
	}
}

func TestInvariant05ModeEnabledRefusesWhatIsNotApproved(t *testing.T) {
	tests := []struct {
		approval Approval
		use      Use
		allowed  bool
	}{
		{NotApproved, Protect, false}, {NotApproved, Process, false}, {NotApproved, UseUnknown, false},
		{ApprovedProcess, Protect, false}, {ApprovedProcess, Process, true}, {ApprovedProcess, UseUnknown, false},
		{Approved, Protect, true}, {Approved, Process, true}, {Approved, UseUnknown, true},
	}
	for _, tt := range tests {
		if got := Enabled.Allows(Row{Approval: tt.approval}, tt.use); got != tt.allowed {
			t.Errorf("approval %v for use %d: %v", tt.approval, tt.use, got)
		}
		if !Disabled.Allows(Row{Approval: tt.approval}, tt.use) || !Preferred.Allows(Row{Approval: tt.approval}, tt.use) {
			t.Errorf("a mode other than enabled refuses approval %v", tt.approval)
		}
	}
	if m, err := ParseMode("yes"); err == nil || m != Enabled {
		t.Errorf("an unknown mode gives %v, %v", m, err)
	}
}

func TestPreferredWarns(t *testing.T) {
	row, _ := Lookup(ChaCha20Poly1305)
	if Preferred.Warning(row) == "" || Disabled.Warning(row) != "" {
		t.Error("only mode preferred warns of an algorithm that is not approved")
	}
	if row, _ := Lookup(AES256GCM); Preferred.Warning(row) != "" {
		t.Error("mode preferred warns of an approved algorithm")
	}
}

func TestValidated(t *testing.T) {
	tests := []struct {
		runs    Runs
		enabled bool
		version string
		want    bool
	}{
		{RunsModule, true, "v1.0.0", true}, {RunsModule, false, "v1.0.0", false}, {RunsModule, true, "latest", false}, {RunsModule, true, "", false},
		{RunsLibrary, true, "v1.0.0", false}, {RunsComposed, true, "v1.0.0", false}, {RunsUnknown, true, "v1.0.0", false},
	}
	for _, tt := range tests {
		if got := (Row{Runs: tt.runs}).Validated(tt.enabled, tt.version); got != tt.want {
			t.Errorf("runs in %s, enabled %v, version %q: %v", tt.runs, tt.enabled, tt.version, got)
		}
	}
}
