package classify

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

func TestResolve(t *testing.T) {
	type want struct {
		bits, rotation int
		quantum        bool
		hardware       bool
		algorithm      algs.Name
		audit          AuditLevel
	}
	of := func(s Sensitivity, change func(l *Layers)) *Layers {
		l := &Layers{DataIdentity: DataIdentity{Category: GeneralData, Sensitivity: s}}
		if change != nil {
			change(l)
		}
		return l
	}
	lifetime := func(days uint32, who ...Adversary) func(*Layers) {
		return func(l *Layers) { l.ThreatModel = ThreatModel{Adversaries: who, ProtectionLifetimeDays: days} }
	}
	use := func(u Usage) func(*Layers) { return func(l *Layers) { l.DataIdentity.UsageContext = u } }
	under := func(f ...string) func(*Layers) { return func(l *Layers) { l.Regulatory.Frameworks = f } }
	access := func(a AccessPatterns) func(*Layers) { return func(l *Layers) { l.AccessPatterns = a } }
	const (
		critical, high, medium, low = SensitivityCritical, SensitivityHigh, SensitivityMedium, SensitivityLow
		aes128, aes256, siv, xwing  = algs.AES128GCM, algs.AES256GCM, algs.AES256GCMSIV, algs.X25519MLKEM768AES256GCM
	)
	tests := []struct {
		name   string
		layers *Layers
		want   want
	}{
		{"critical", of(critical, nil), want{256, 30, false, false, aes256, AuditFull}},
		{"high", of(high, nil), want{256, 90, false, false, aes256, AuditDetailed}},
		{"medium", of(medium, nil), want{128, 180, false, false, aes128, AuditStandard}},
		{"low", of(low, nil), want{128, 365, false, false, aes128, AuditMinimal}},
		{"unknown sensitivity", of("?", nil), want{256, 30, false, false, aes256, AuditFull}},

		{"nation state", of(low, lifetime(0, NationState)), want{256, 365, false, false, aes256, AuditMinimal}},
		{"nation state, 5 years", of(low, lifetime(1825, NationState)), want{256, 365, false, false, aes256, AuditMinimal}},
		{"nation state, longer", of(low, lifetime(1826, NationState)), want{256, 365, true, false, xwing, AuditMinimal}},
		{"10 years", of(medium, lifetime(3650)), want{128, 180, false, false, aes128, AuditStandard}},
		{"longer", of(medium, lifetime(3651)), want{256, 180, true, false, xwing, AuditStandard}},
		{"quantum adversary", of(medium, lifetime(1, QuantumComputer)), want{256, 180, true, false, xwing, AuditStandard}},
		{"others", of(medium, lifetime(3650, OpportunisticAttacker, OrganizedCrime, InsiderThreat)),
			want{128, 180, false, false, aes128, AuditStandard}},

		{"in transit", of(low, use(InTransit)), want{128, 365, false, false, aes256, AuditMinimal}},
		{"in use", of(low, use(InUse)), want{128, 365, false, false, siv, AuditMinimal}},
		{"streaming", of(low, use(Streaming)), want{128, 365, false, false, aes256, AuditMinimal}},
		{"quantum, in transit", of(high, both(use(InTransit), lifetime(4000))), want{256, 90, true, false, xwing, AuditDetailed}},
		{"quantum, in use", of(high, both(use(InUse), lifetime(4000))), want{256, 90, true, false, xwing, AuditDetailed}},
		{"quantum, streaming", of(high, both(use(Streaming), lifetime(4000))),
			want{256, 90, true, false, aes256, AuditDetailed}},

		{"PCI-DSS", of(low, under("GDPR", "PCI-DSS")), want{128, 90, false, false, aes128, AuditMinimal}},
		{"PCI in words", of(low, under("pci dss 4.0")), want{128, 90, false, false, aes128, AuditMinimal}},
		{"HIPAA", of(medium, under("HIPAA")), want{128, 90, false, false, aes128, AuditStandard}},
		{"HIPAA, critical", of(critical, under("HIPAA")), want{256, 30, false, false, aes256, AuditFull}},
		{"other framework", of(medium, under("GDPR", "SOC2")), want{128, 180, false, false, aes128, AuditStandard}},
		{"pci", of(low, func(l *Layers) { l.DataIdentity.PCI = true }), want{128, 90, false, false, aes128, AuditMinimal}},
		{"phi", of(low, func(l *Layers) { l.DataIdentity.PHI = true }), want{128, 90, false, false, aes128, AuditMinimal}},
		{"pii", of(low, func(l *Layers) { l.DataIdentity.PII = true }), want{128, 365, false, false, aes128, AuditMinimal}},

		{"frequent", of(low, access(AccessPatterns{Frequency: FrequencyHigh})), want{128, 365, false, true, aes128, AuditMinimal}},
		{"9 ms", of(low, access(AccessPatterns{LatencyRequirementMS: 9})), want{128, 365, false, true, aes128, AuditMinimal}},
		{"1001/s", of(low, access(AccessPatterns{OperationsPerSecond: 1001})), want{128, 365, false, true, aes128, AuditMinimal}},
		{"slow", of(low, access(AccessPatterns{Frequency: FrequencyMedium, LatencyRequirementMS: 10, OperationsPerSecond: 1000})),
			want{128, 365, false, false, aes128, AuditMinimal}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Resolve(tt.layers)
			got := want{
				int(d.MinimumSecurityBits), int(d.KeyRotationDays), d.QuantumResistant, d.HardwareAcceleration, d.Algorithm, d.AuditLevel,
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func both(f, g func(*Layers)) func(*Layers) { return func(l *Layers) { f(l); g(l) } }

func TestSuite(t *testing.T) {
	small := Suite{Hash: algs.SHA256, KDF: algs.HKDFSHA256, MAC: algs.HMACSHA256}
	great := Suite{Hash: algs.SHA384, KDF: algs.HKDFSHA384, MAC: algs.HMACSHA384}
	tests := []struct {
		sensitivity     Sensitivity
		signing, safely algs.Name
		rest            Suite
	}{
		{SensitivityCritical, algs.ECDSAP384, algs.MLDSA87, great},
		{SensitivityHigh, algs.ECDSAP256, algs.MLDSA65, small},
		{SensitivityMedium, algs.ECDSAP256, algs.MLDSA44, small},
		{SensitivityLow, algs.ECDSAP256, algs.MLDSA44, small},
	}
	for _, tt := range tests {
		l := &Layers{DataIdentity: DataIdentity{Category: GeneralData, Sensitivity: tt.sensitivity}}
		want := tt.rest
		want.Signing = tt.signing
		if got := Resolve(l).Suite; got != want {
			t.Errorf("%s: %+v", tt.sensitivity, got)
		}
		l.ThreatModel.Adversaries = []Adversary{QuantumComputer}
		want.Signing = tt.safely
		if got := Resolve(l).Suite; got != want {
			t.Errorf("%s, quantum: %+v", tt.sensitivity, got)
		}
	}
}

// TestRationaleNamesInputAndConsequence looks for the lines that tell more than the numbers do.
func TestRationaleNamesInputAndConsequence(t *testing.T) {
	quantum := ThreatModel{Adversaries: []Adversary{QuantumComputer}}
	tests := []struct {
		name   string
		change func(l *Layers)
		lines  []string
	}{
		{"streams", func(l *Layers) { l.DataIdentity.UsageContext, l.ThreatModel = Streaming, quantum },
			[]string{"Usage streaming with quantum resistance: AES-256-GCM, since streams need a context that is not hybrid"}},
		{"hybrid", func(l *Layers) { l.ThreatModel = quantum }, []string{
			"Adversary quantum_computer: quantum resistance.",
			"Quantum resistance: raises the minimum to 256 bits",
			"Strength of X25519MLKEM768+AES-256-GCM: 256 bits in the cipher and 192 in the key encapsulation",
			"X25519MLKEM768+AES-256-GCM is not FIPS-approved: in FIPS mode P256MLKEM768+AES-256-GCM takes its place.",
			"other keys of the context should be ML-DSA-44 (128 bits)",
		}},
		{"adversaries", func(l *Layers) { l.ThreatModel.Adversaries = Adversaries() }, []string{
			"Adversary nation_state: raises the minimum to 256 bits.",
			"Adversaries opportunistic_attacker, organized_crime, insider_threat: no more than the sensitivity asks for.",
		}},
		{"misuse", func(l *Layers) { l.DataIdentity.UsageContext = InUse }, []string{
			"Usage in_use: AES-256-GCM-SIV, with which a nonce used twice shows only whether two messages are equal.",
			"AES-256-GCM-SIV is not FIPS-approved: in FIPS mode AES-256-GCM takes its place.",
		}},
		{"cap", func(l *Layers) { l.Regulatory.Frameworks = []string{"PCI-DSS", "SOX", "HIPAA"} }, []string{
			"Frameworks PCI-DSS, HIPAA: new keys at least every 90 days, not every 180.",
			"Framework SOX: no limit on rotation that this model knows.",
		}},
		{"kept longer than secret", func(l *Layers) {
			l.Regulatory.Retention.MinimumDays, l.ThreatModel.ProtectionLifetimeDays = 731, 730
		}, []string{
			"Protection lifetime 2 years: not more than 10 years, so no quantum resistance",
			"Retention of at least 731 days: longer than the protection lifetime",
		}},
		{"others have to act", func(l *Layers) {
			l.AccessPatterns.SearchRequired = true
			l.Regulatory.DataResidency.ProhibitedRegions = []string{"moon"}
			l.Regulatory.Retention.DeletionMethod = DeletionCryptoShred
		}, []string{
			"Search required: equal values encrypt differently",
			"Data residency: no algorithm keeps data in a region",
			"Deletion method crypto_shred: destroying the keys must destroy the data",
			"Protection lifetime not stated: no quantum resistance on its account.",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &Layers{DataIdentity: DataIdentity{Category: GeneralData, Sensitivity: SensitivityMedium}}
			plain := Resolve(l)
			tt.change(l)
			d := Resolve(l)
			for _, line := range tt.lines {
				in := func(s string) bool { return strings.Contains(s, line) }
				if !slices.ContainsFunc(d.Rationale, in) {
					t.Errorf("no line %q in\n%s", line, strings.Join(d.Rationale, "\n"))
				}
				if !strings.HasPrefix(line, "Protection lifetime not") && slices.ContainsFunc(plain.Rationale, in) {
					t.Errorf("line %q is always there", line)
				}
			}
		})
	}
}

func TestNoUsageMeansAtRest(t *testing.T) {
	l := &Layers{DataIdentity: DataIdentity{Category: GeneralData, Sensitivity: SensitivityMedium}}
	unsaid := Resolve(l)
	l.DataIdentity.UsageContext = AtRest
	if said := Resolve(l); !reflect.DeepEqual(unsaid, said) {
		t.Errorf("without usage %+v", unsaid.Detail)
	}
}
