package rules

import (
	"testing"

	"cryptoserve/engine/algs"
)

// of returns an operation that protects, with an algorithm of the table.
func of(t *testing.T, name algs.Name, c Context) *Input {
	t.Helper()
	row, ok := algs.Lookup(name)
	if !ok {
		t.Fatalf("no algorithm %s", name)
	}
	return &Input{Algorithm: AlgorithmOf(row), Context: c, Operation: "encrypt", Class: "protect"}
}

func TestDefaults(t *testing.T) {
	type operation struct {
		algorithm algs.Name
		context   Context
	}
	tests := map[string]struct {
		enforcement  string
		pass, refuse []operation
	}{
		"minimum-encryption-strength": {
			Enforce,
			[]operation{
				{algs.AES256GCM, Context{Sensitivity: "critical"}}, {algs.AES256GCMMLKEM768, Context{Sensitivity: "critical"}},
				{algs.AES128GCM, Context{Sensitivity: "medium"}}, {algs.ECDSAP256, Context{Sensitivity: "critical"}},
			},
			[]operation{{algs.AES128GCM, Context{Sensitivity: "critical"}}, {algs.AES192GCM, Context{Sensitivity: "high"}}},
		},
		"no-legacy-algorithms": {
			Enforce,
			[]operation{
				{algorithm: algs.AES128GCM}, {algorithm: algs.ChaCha20Poly1305}, {algorithm: algs.Ed25519}, {algorithm: algs.MLDSA44},
			},
			[]operation{{algorithm: algs.AES256CBC}, {algorithm: algs.AES256XTS}, {algorithm: algs.RSAPSS2048}, {algorithm: algs.SHA224}},
		},
		"pii-requires-context": {
			Enforce,
			[]operation{{algs.AES256GCM, Context{Name: "user-pii", PII: true}}, {algs.AES256GCM, Context{Name: "general"}}},
			[]operation{
				{algs.AES256GCM, Context{Name: "general", PII: true}}, {algs.AES256GCM, Context{Name: "default", PII: true}},
				{algs.AES256GCM, Context{PII: true}},
			},
		},
		"quantum-readiness-warning": {
			Warn,
			[]operation{
				{algs.AES128GCM, Context{ProtectionLifetimeYears: 10}}, {algs.AES256GCM, Context{ProtectionLifetimeYears: 30}},
				{algs.MLDSA65, Context{ProtectionLifetimeYears: 30}},
			},
			[]operation{
				{algs.AES128GCM, Context{ProtectionLifetimeYears: 10.5}}, {algs.ECDSAP384, Context{ProtectionLifetimeYears: 25}},
			},
		},
		"high-frequency-hardware-acceleration": {
			None,
			[]operation{
				{algs.AES256GCM, Context{Frequency: "high"}}, {algs.ChaCha20Poly1305, Context{Frequency: "low"}},
				{algs.Ed25519, Context{Frequency: "high"}},
			},
			[]operation{
				{algs.ChaCha20Poly1305, Context{Frequency: "high"}}, {algs.ChaCha20Poly1305MLKEM768, Context{Frequency: "high"}},
			},
		},
		"hipaa-compliance": {
			Enforce,
			[]operation{
				{algs.AES256GCM, Context{PHI: true, AuditLevel: "full"}},
				{algs.AES256GCM, Context{Frameworks: []string{"HIPAA"}, AuditLevel: "detailed"}},
				{algs.ECDSAP384, Context{PHI: true, AuditLevel: "full"}},
				{algs.AES128GCM, Context{Frameworks: []string{"GDPR"}}},
			},
			[]operation{
				{algs.AES128GCM, Context{PHI: true, AuditLevel: "full"}},
				{algs.AES256GCM, Context{PHI: true, AuditLevel: "standard"}},
				{algs.AES128GCM, Context{Frameworks: []string{"SOC2", "HIPAA"}, AuditLevel: "full"}},
				{algs.ECDSAP384, Context{PHI: true}},
			},
		},
		"pci-dss-compliance": {
			Enforce,
			[]operation{
				{algs.AES128GCM, Context{PCI: true, AuditLevel: "full"}},
				{algs.AES256GCM, Context{Frameworks: []string{"PCI-DSS"}, AuditLevel: "detailed"}},
				{algs.RSAPSS2048, Context{}},
			},
			[]operation{
				{algs.RSAOAEP2048, Context{PCI: true, AuditLevel: "full"}},
				{algs.AES256GCM, Context{PCI: true, AuditLevel: "minimal"}},
				{algs.AES256GCM, Context{Frameworks: []string{"PCI-DSS"}}},
			},
		},
	}
	for _, d := range Defaults() {
		t.Run(d.Name, func(t *testing.T) {
			tt, ok := tests[d.Name]
			if !ok || d.Description == "" || d.Message == "" || d.Enforcement != tt.enforcement {
				t.Errorf("tested %v, %+v", ok, d)
			}
			r := compiled(t, d.Expression)
			if r.Dynamic() {
				t.Error("the answer cannot be kept")
			}
			check := func(o operation, want bool) {
				in := of(t, o.algorithm, o.context)
				if pass, err := r.Eval(in); pass != want || err != nil {
					t.Errorf("%s with %+v: %v, %v", o.algorithm, o.context, pass, err)
				}
				in.Class = "process"
				if pass, err := r.Eval(in); !pass || err != nil {
					t.Errorf("%s processes with %+v: %v, %v", o.algorithm, o.context, pass, err)
				}
			}
			for _, o := range tt.pass {
				check(o, true)
			}
			for _, o := range tt.refuse {
				check(o, false)
			}
		})
		delete(tests, d.Name)
	}
	if len(tests) > 0 {
		t.Errorf("missing: %v", tests)
	}
}

// TestAlgorithmOf writes out the cipher and mode of each algorithm that encrypts data; all others have none.
func TestAlgorithmOf(t *testing.T) {
	want := map[algs.Name][2]string{
		algs.AES128GCM: {"AES", "gcm"}, algs.AES192GCM: {"AES", "gcm"}, algs.AES256GCM: {"AES", "gcm"},
		algs.AES256CBC: {"AES", "cbc"}, algs.AES256CTR: {"AES", "ctr"}, algs.AES256CCM: {"AES", "ccm"},
		algs.AES256GCMSIV: {"AES", "gcm-siv"}, algs.AES256XTS: {"AES", "xts"},
		algs.ChaCha20Poly1305:  {"ChaCha20", "poly1305"},
		algs.AES256GCMMLKEM768: {"AES", "gcm"}, algs.AES256GCMMLKEM1024: {"AES", "gcm"},
		algs.X25519MLKEM768AES256GCM: {"AES", "gcm"}, algs.P256MLKEM768AES256GCM: {"AES", "gcm"},
		algs.ChaCha20Poly1305MLKEM768: {"ChaCha20", "poly1305"},
	}
	for _, row := range algs.Rows() {
		a := AlgorithmOf(row)
		cipher := want[row.Name]
		same := Algorithm{
			Name: string(row.Name), KeyBits: int(row.KeyBits), SecurityBits: int(row.SecurityBits), QuantumResistant: row.QuantumSafe,
			HardwareAcceleration: cipher[0] == "AES", Approved: row.Approval == algs.Approved, Cipher: cipher[0], Mode: cipher[1],
		}
		if a != same {
			t.Errorf("%+v, want %+v", a, same)
		}
		delete(want, row.Name)
	}
	if len(want) > 0 {
		t.Errorf("not in the table: %v", want)
	}
}
