package classify

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden keeps what the defaults resolve to, so that a change of a rule shows in review.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, def := range Defaults() {
		d := Resolve(&def.Layers)
		fmt.Fprintf(&b, "%s tags=%s\n  %s\n", def.Name, strings.Join(def.Tags, ","), def.Description)
		fmt.Fprintf(&b, "  algorithm=%s bits=%d quantum=%v rotation=%d audit=%s hardware=%v\n",
			d.Algorithm, d.MinimumSecurityBits, d.QuantumResistant, d.KeyRotationDays, d.AuditLevel, d.HardwareAcceleration)
		fmt.Fprintf(&b, "  suite=%s, %s, %s, %s\n", d.Suite.Signing, d.Suite.Hash, d.Suite.KDF, d.Suite.MAC)
		fmt.Fprintf(&b, "  %s\n", d.Detail.Summary)
		for _, line := range d.Rationale {
			fmt.Fprintf(&b, "  - %s\n", line)
		}
		for _, a := range d.Detail.Alternatives {
			fmt.Fprintf(&b, "  not %s: %s\n", a.Algorithm, a.WhyNot)
		}
		b.WriteString("\n")
	}
	const golden = "testdata/defaults.golden"
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
		t.Fatalf("the defaults resolve otherwise; run with -update if that is meant:\n%s", b.String())
	}
}

// TestDefaultsAgreeWithTheOriginal compares with what the public original resolves its default contexts to. Where an
// algorithm here differs, the row says which the original's is.
func TestDefaultsAgreeWithTheOriginal(t *testing.T) {
	type original struct {
		algorithm          algs.Name
		bits, rotation     int
		quantum            bool
		audit              AuditLevel
		signing, hash, kdf algs.Name
		tags               string
		here               algs.Name // instead of algorithm, when not empty
	}
	const mlkem, xwing = algs.AES256GCMMLKEM768, algs.X25519MLKEM768AES256GCM
	const hkdf256, hkdf384 = algs.HKDFSHA256, algs.HKDFSHA384
	table := map[string]original{
		"user-pii":           {mlkem, 256, 30, true, AuditFull, algs.MLDSA87, algs.SHA384, hkdf384, "GDPR,CCPA", xwing},
		"payment-data":       {algs.AES256GCM, 256, 30, false, AuditFull, algs.ECDSAP384, algs.SHA384, hkdf384, "PCI-DSS", ""},
		"session-tokens":     {algs.AES128GCM, 128, 180, false, AuditStandard, algs.ECDSAP256, algs.SHA256, hkdf256, "OWASP", ""},
		"health-records":     {mlkem, 256, 30, true, AuditFull, algs.MLDSA87, algs.SHA384, hkdf384, "HIPAA", xwing},
		"general":            {algs.AES128GCM, 128, 180, false, AuditStandard, algs.ECDSAP256, algs.SHA256, hkdf256, "", ""},
		"internal-logs":      {algs.AES128GCM, 128, 180, false, AuditStandard, algs.ECDSAP256, algs.SHA256, hkdf256, "SOC2", ""},
		"api-secrets":        {algs.ChaCha20Poly1305, 256, 30, false, AuditFull, algs.ECDSAP384, algs.SHA384, hkdf384, "SOC2,OWASP", algs.AES256GCM},
		"business-documents": {mlkem, 256, 90, true, AuditDetailed, algs.MLDSA65, algs.SHA256, hkdf256, "SOX,SOC2", xwing},
		"backup-data":        {mlkem, 256, 90, true, AuditDetailed, algs.MLDSA65, algs.SHA256, hkdf256, "GDPR,HIPAA,PCI-DSS,SOC2", xwing},
		"quantum-ready":      {mlkem, 256, 30, true, AuditFull, algs.MLDSA87, algs.SHA384, hkdf384, "SOX,NIST", xwing},
	}
	seen := map[string]bool{}
	for _, def := range Defaults() {
		want, ok := table[def.Name]
		if !ok {
			if def.Name != DefaultName {
				t.Errorf("the original has no context %s", def.Name)
			}
			continue
		}
		seen[def.Name] = true
		d := Resolve(&def.Layers)
		got := original{
			d.Algorithm, int(d.MinimumSecurityBits), int(d.KeyRotationDays), d.QuantumResistant, d.AuditLevel,
			d.Suite.Signing, d.Suite.Hash, d.Suite.KDF, strings.Join(def.Tags, ","), "",
		}
		if want.here != "" {
			want.algorithm, want.here = want.here, ""
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", def.Name, got, want)
		}
	}
	for name := range table {
		if !seen[name] {
			t.Errorf("no default %s", name)
		}
	}
}

func TestDefaultsAreSound(t *testing.T) {
	names := map[string]bool{}
	for _, def := range Defaults() {
		if names[def.Name] {
			t.Errorf("two defaults %s", def.Name)
		}
		names[def.Name] = true
		if err := def.Layers.Validate(); err != nil {
			t.Errorf("%s: %v", def.Name, err)
		}
		if def.Description == "" {
			t.Errorf("%s has no description", def.Name)
		}
		// The tags are the frameworks, so that a report by tag and a rule by framework agree.
		if strings.Join(def.Tags, ",") != strings.Join(def.Layers.Regulatory.Frameworks, ",") {
			t.Errorf("%s has tags %v and frameworks %v", def.Name, def.Tags, def.Layers.Regulatory.Frameworks)
		}
	}
	if len(names) != 11 || !names[DefaultName] {
		t.Errorf("%d defaults: %v", len(names), names)
	}
	first := Defaults()
	first[1].Tags[0], first[1].Layers.Regulatory.Frameworks[0] = "changed", "changed"
	if reflect.DeepEqual(first, Defaults()) {
		t.Error("a caller's change stays in the defaults")
	}
}
