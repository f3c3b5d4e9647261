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
		fmt.Fprintf(&b, "%s class=%d key=%d security=%d quantum-safe=%v approved=%v runs=%d source=%q\n",
			r.Name, r.Class, r.KeyBits, r.SecurityBits, r.QuantumSafe, r.Approved, r.Runs, r.Source)
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
		if r.Name == "" || r.Class == ClassUnknown || r.Runs == RunsUnknown || r.KeyBits == 0 || r.SecurityBits == 0 || r.Source == "" {
			t.Errorf("row %+v lacks something", r)
		}
		if got, ok := Lookup(r.Name); !ok || got != r {
			t.Errorf("%s is not found by its name", r.Name)
		}
	}
}

func TestInvariant05UnknownAlgorithmIsNotFound(t *testing.T) {
	for _, n := range []Name{"", "aes-256-gcm", "AES-256-GCM ", "AES-256-XTS", "none"} {
		if _, ok := Lookup(n); ok {
			t.Errorf("%q is known", n)
		}
	}
}
