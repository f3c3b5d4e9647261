package classify

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"cryptoserve/engine/fault"
)

// full returns valid layers in which everything is stated.
func full() *Layers {
	return &Layers{
		DataIdentity: DataIdentity{
			Category: Financial, Subcategory: "payment", Sensitivity: SensitivityHigh, UsageContext: InTransit,
			PII: true, PHI: true, PCI: true, NotificationRequired: true, Examples: []string{"card number", "Kontonummer größer"},
		},
		Regulatory: Regulatory{
			Frameworks:         []string{"PCI-DSS", "GDPR"},
			DataResidency:      Residency{AllowedRegions: []string{"eu"}, ProhibitedRegions: []string{"us"}},
			Retention:          Retention{MinimumDays: 30, MaximumDays: 3650, DeletionMethod: DeletionCryptoShred},
			CrossBorderAllowed: true,
		},
		ThreatModel: ThreatModel{
			Adversaries: []Adversary{OrganizedCrime, NationState}, AttackVectors: []string{"stolen disk"}, ProtectionLifetimeDays: 2555,
		},
		AccessPatterns: AccessPatterns{
			Frequency: FrequencyHigh, OperationsPerSecond: 2000, LatencyRequirementMS: 5, BatchOperations: true, SearchRequired: true,
		},
	}
}

// numbered returns n different texts.
func numbered(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = "text " + strconv.Itoa(i)
	}
	return texts
}

func TestValidateAccepts(t *testing.T) {
	longest := full()
	longest.DataIdentity.Subcategory = strings.Repeat("s", TextMax)
	longest.DataIdentity.Examples = append(numbered(ListMax-1), strings.Repeat("e", ExampleMax))
	longest.Regulatory.Frameworks = append(numbered(ListMax-1), strings.Repeat("f", TextMax))
	longest.Regulatory.Retention = Retention{MinimumDays: DaysMax, MaximumDays: DaysMax}
	longest.ThreatModel.ProtectionLifetimeDays = DaysMax
	longest.ThreatModel.Adversaries = Adversaries()
	unlimited := full()
	unlimited.Regulatory.Retention.MaximumDays = 0
	for name, l := range map[string]*Layers{
		"everything stated": full(), "everything longest": longest, "no maximum of retention": unlimited,
		"least": {DataIdentity: DataIdentity{Category: GeneralData, Sensitivity: SensitivityLow}},
	} {
		if err := l.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateAcceptsEveryWord(t *testing.T) {
	try := func(word string, change func(l *Layers)) {
		t.Helper()
		l := full()
		change(l)
		if err := l.Validate(); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
	for _, w := range Categories() {
		try(string(w), func(l *Layers) { l.DataIdentity.Category = w })
	}
	for _, w := range Sensitivities() {
		try(string(w), func(l *Layers) { l.DataIdentity.Sensitivity = w })
	}
	for _, w := range Usages() {
		try(string(w), func(l *Layers) { l.DataIdentity.UsageContext = w })
	}
	for _, w := range Deletions() {
		try(string(w), func(l *Layers) { l.Regulatory.Retention.DeletionMethod = w })
	}
	for _, w := range Adversaries() {
		try(string(w), func(l *Layers) { l.ThreatModel.Adversaries = []Adversary{w} })
	}
	for _, w := range Frequencies() {
		try(string(w), func(l *Layers) { l.AccessPatterns.Frequency = w })
	}
}

func TestValidateRefuses(t *testing.T) {
	long := strings.Repeat("x", TextMax+1)
	tests := []struct {
		field, detail string
		change        func(l *Layers)
	}{
		{"data_identity.category", "none of personal_identifier, ", func(l *Layers) { l.DataIdentity.Category = "secret-word" }},
		{"data_identity.category", "none of ", func(l *Layers) { l.DataIdentity.Category = "" }},
		{"data_identity.subcategory", "more than 64 bytes", func(l *Layers) { l.DataIdentity.Subcategory = long }},
		{"data_identity.subcategory", "cannot be printed", func(l *Layers) { l.DataIdentity.Subcategory = "a\nb" }},
		{"data_identity.subcategory", "cannot be printed", func(l *Layers) { l.DataIdentity.Subcategory = "\xff" }},
		{"data_identity.sensitivity", "none of critical, high, medium, low", func(l *Layers) { l.DataIdentity.Sensitivity = "Critical" }},
		{"data_identity.sensitivity", "none of ", func(l *Layers) { l.DataIdentity.Sensitivity = "" }},
		{"data_identity.usage_context", "none of at_rest, in_transit, in_use, streaming", func(l *Layers) {
			l.DataIdentity.UsageContext = "disk"
		}},
		{"data_identity.examples", "more than 32 items", func(l *Layers) { l.DataIdentity.Examples = numbered(33) }},
		{"data_identity.examples[1]", "more than 128 bytes", func(l *Layers) { l.DataIdentity.Examples[1] = strings.Repeat("x", 129) }},
		{"data_identity.examples[1]", "empty", func(l *Layers) { l.DataIdentity.Examples[1] = "" }},
		{"regulatory.frameworks", "more than 32 items", func(l *Layers) { l.Regulatory.Frameworks = numbered(33) }},
		{"regulatory.frameworks[0]", "more than 64 bytes", func(l *Layers) { l.Regulatory.Frameworks[0] = long }},
		{"regulatory.frameworks[1]", "twice", func(l *Layers) { l.Regulatory.Frameworks[1] = "PCI-DSS" }},
		{"regulatory.data_residency.allowed_regions", "more than 32 items", func(l *Layers) {
			l.Regulatory.DataResidency.AllowedRegions = numbered(33)
		}},
		{"regulatory.data_residency.allowed_regions[0]", "more than 64 bytes", func(l *Layers) {
			l.Regulatory.DataResidency.AllowedRegions[0] = long
		}},
		{"regulatory.data_residency.prohibited_regions", "more than 32 items", func(l *Layers) {
			l.Regulatory.DataResidency.ProhibitedRegions = numbered(33)
		}},
		{"regulatory.data_residency.prohibited_regions[0]", "more than 64 bytes", func(l *Layers) {
			l.Regulatory.DataResidency.ProhibitedRegions[0] = long
		}},
		{"regulatory.data_residency.prohibited_regions[1]", "also allowed", func(l *Layers) {
			l.Regulatory.DataResidency.ProhibitedRegions = []string{"us", "eu"}
		}},
		{"regulatory.retention.minimum_days", "more than 100 years", func(l *Layers) { l.Regulatory.Retention.MinimumDays = DaysMax + 1 }},
		{"regulatory.retention.maximum_days", "more than 100 years", func(l *Layers) { l.Regulatory.Retention.MaximumDays = DaysMax + 1 }},
		{"regulatory.retention.maximum_days", "less than the minimum", func(l *Layers) { l.Regulatory.Retention.MaximumDays = 29 }},
		{"regulatory.retention.deletion_method", "none of crypto_shred, secure_delete, standard", func(l *Layers) {
			l.Regulatory.Retention.DeletionMethod = "burn"
		}},
		{"threat_model.adversaries", "more than 32 items", func(l *Layers) { l.ThreatModel.Adversaries = make([]Adversary, 33) }},
		{"threat_model.adversaries[1]", "none of opportunistic_attacker, ", func(l *Layers) { l.ThreatModel.Adversaries[1] = "aliens" }},
		{"threat_model.adversaries[0]", "none of ", func(l *Layers) { l.ThreatModel.Adversaries[0] = "" }},
		{"threat_model.adversaries[1]", "twice", func(l *Layers) { l.ThreatModel.Adversaries[1] = OrganizedCrime }},
		{"threat_model.attack_vectors", "more than 32 items", func(l *Layers) { l.ThreatModel.AttackVectors = numbered(33) }},
		{"threat_model.attack_vectors[0]", "more than 64 bytes", func(l *Layers) { l.ThreatModel.AttackVectors[0] = long }},
		{"threat_model.protection_lifetime_days", "more than 100 years", func(l *Layers) {
			l.ThreatModel.ProtectionLifetimeDays = DaysMax + 1
		}},
		{"access_patterns.frequency", "none of high, medium, low, rare", func(l *Layers) { l.AccessPatterns.Frequency = "always" }},
	}
	for _, tt := range tests {
		t.Run(tt.field+" "+tt.detail, func(t *testing.T) {
			l := full()
			tt.change(l)
			err := l.Validate()
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Malformed || len(f.Fields) != 1 {
				t.Fatalf("answer %v", err)
			}
			if got := f.Fields[0]; got.Name != tt.field || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("refused %q for %q", got.Name, got.Detail)
			}
		})
	}
}

func TestValidateTellsTheFirst(t *testing.T) {
	l := full()
	l.DataIdentity.Sensitivity, l.AccessPatterns.Frequency = "?", "?"
	var f *fault.Error
	if err := l.Validate(); !errors.As(err, &f) || len(f.Fields) != 1 || f.Fields[0].Name != "data_identity.sensitivity" {
		t.Errorf("answer %+v", f)
	}
}
