package classify

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cryptoserve/engine/algs"
)

func some[T comparable](choice ...T) *rapid.Generator[[]T] {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(choice), 0, len(choice), rapid.ID)
}

// layersOf generates valid layers.
func layersOf() *rapid.Generator[*Layers] {
	return rapid.Custom(func(t *rapid.T) *Layers {
		l := &Layers{
			DataIdentity: DataIdentity{
				Category:     rapid.SampledFrom(categories).Draw(t, "category"),
				Sensitivity:  rapid.SampledFrom(sensitivities).Draw(t, "sensitivity"),
				UsageContext: rapid.SampledFrom(append(Usages(), "")).Draw(t, "usage"),
				PII:          rapid.Bool().Draw(t, "pii"), PHI: rapid.Bool().Draw(t, "phi"), PCI: rapid.Bool().Draw(t, "pci"),
			},
			Regulatory: Regulatory{
				Frameworks:    some("GDPR", "PCI-DSS", "HIPAA", "SOX", "hipaa").Draw(t, "frameworks"),
				DataResidency: Residency{AllowedRegions: some("eu", "us").Draw(t, "regions")},
				Retention: Retention{
					MinimumDays:    rapid.Uint32Range(0, DaysMax).Draw(t, "retention"),
					DeletionMethod: rapid.SampledFrom(append(Deletions(), "")).Draw(t, "deletion"),
				},
			},
			ThreatModel: ThreatModel{
				Adversaries:            some(adversaries...).Draw(t, "adversaries"),
				ProtectionLifetimeDays: lifetimes().Draw(t, "lifetime"),
			},
			AccessPatterns: AccessPatterns{
				Frequency:            rapid.SampledFrom(append(Frequencies(), "")).Draw(t, "frequency"),
				OperationsPerSecond:  rapid.Uint32().Draw(t, "operations"),
				LatencyRequirementMS: rapid.Uint32Range(0, 20).Draw(t, "latency"),
				SearchRequired:       rapid.Bool().Draw(t, "search"),
			},
		}
		if err := l.Validate(); err != nil {
			t.Fatal(err)
		}
		return l
	})
}

// lifetimes generates days, often those about which the rules turn.
func lifetimes() *rapid.Generator[uint32] {
	edges := []uint32{0, longAgainstState, longAgainstState + 1, longDays, longDays + 1}
	return rapid.OneOf(rapid.SampledFrom(edges), rapid.Uint32Range(0, DaysMax))
}

// raised returns layers of more need for protection: more sensitive, longer-lived, with more adversaries or under more rules.
func raised(t *rapid.T, l *Layers) *Layers {
	r := *l
	if at := slices.Index(sensitivities, l.DataIdentity.Sensitivity); at >= 0 {
		r.DataIdentity.Sensitivity = sensitivities[rapid.IntRange(0, at).Draw(t, "more sensitive")]
	}
	r.ThreatModel.ProtectionLifetimeDays = max(l.ThreatModel.ProtectionLifetimeDays, lifetimes().Draw(t, "longer"))
	for _, a := range rapid.SliceOf(rapid.SampledFrom(adversaries)).Draw(t, "more adversaries") {
		if !r.fears(a) {
			r.ThreatModel.Adversaries = append(slices.Clone(r.ThreatModel.Adversaries), a)
		}
	}
	r.DataIdentity.PCI = l.DataIdentity.PCI || rapid.Bool().Draw(t, "also pci")
	r.DataIdentity.PHI = l.DataIdentity.PHI || rapid.Bool().Draw(t, "also phi")
	if rapid.Bool().Draw(t, "one more framework") {
		r.Regulatory.Frameworks = append(slices.Clone(l.Regulatory.Frameworks), "PCI-DSS 4.0")
	}
	return &r
}

func TestMoreNeedIsNeverLessProtection(t *testing.T) {
	levels := []AuditLevel{AuditFull, AuditDetailed, AuditStandard, AuditMinimal}
	rapid.Check(t, func(t *rapid.T) {
		low := layersOf().Draw(t, "layers")
		high := raised(t, low)
		a, b := Resolve(low), Resolve(high)
		before, after := row(t, a.Algorithm), row(t, b.Algorithm)
		signed, signs := row(t, a.Suite.Signing), row(t, b.Suite.Signing)
		switch {
		case b.MinimumSecurityBits < a.MinimumSecurityBits:
			t.Fatalf("%d bits, then %d", a.MinimumSecurityBits, b.MinimumSecurityBits)
		case b.KeyRotationDays > a.KeyRotationDays:
			t.Fatalf("rotation after %d days, then %d", a.KeyRotationDays, b.KeyRotationDays)
		case a.QuantumResistant && !b.QuantumResistant:
			t.Fatal("quantum resistance is lost")
		case slices.Index(levels, b.AuditLevel) > slices.Index(levels, a.AuditLevel):
			t.Fatalf("audit %s, then %s", a.AuditLevel, b.AuditLevel)
		case after.KeyBits < before.KeyBits || before.QuantumSafe && !after.QuantumSafe:
			t.Fatalf("%s, then %s", a.Algorithm, b.Algorithm)
		case signs.SecurityBits < signed.SecurityBits || signed.QuantumSafe && !signs.QuantumSafe:
			t.Fatalf("%s, then %s", a.Suite.Signing, b.Suite.Signing)
		case row(t, b.Suite.Hash).SecurityBits < row(t, a.Suite.Hash).SecurityBits:
			t.Fatalf("%s, then %s", a.Suite.Hash, b.Suite.Hash)
		}
	})
}

func row(t *rapid.T, name algs.Name) algs.Row {
	r, ok := algs.Lookup(name)
	if !ok {
		t.Fatalf("%q is no algorithm", name)
	}
	return r
}

// TestEveryResolutionCanBeUsed holds each answer against the table of algorithms, and its explanation against the answer.
func TestEveryResolutionCanBeUsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := layersOf().Draw(t, "layers")
		d := Resolve(l)
		own := row(t, d.Algorithm)
		if own.Class != algs.ClassAEAD && own.Class != algs.ClassHybrid || own.ReadOnly {
			t.Fatalf("%s does not protect data", d.Algorithm)
		}
		if own.KeyBits < d.MinimumSecurityBits || d.QuantumResistant && !own.QuantumSafe {
			t.Fatalf("%s is too weak for %d bits, quantum %v", d.Algorithm, d.MinimumSecurityBits, d.QuantumResistant)
		}
		if l.usage() == Streaming && own.Class != algs.ClassAEAD {
			t.Fatalf("no stream can be encrypted with %s", d.Algorithm)
		}
		for _, mode := range []algs.Mode{algs.Preferred, algs.Enabled} {
			if chosen := row(t, mode.Choose(d.Algorithm)); !mode.Allows(chosen, algs.Protect) || chosen.Approval != algs.Approved {
				t.Fatalf("FIPS mode %s has %s", mode, chosen.Name)
			}
		}
		for name, class := range map[algs.Name]algs.Class{
			d.Suite.Signing: algs.ClassSignature, d.Suite.Hash: algs.ClassHash, d.Suite.KDF: algs.ClassKDF, d.Suite.MAC: algs.ClassMAC,
		} {
			if r := row(t, name); r.Class != class || r.ReadOnly || !algs.Enabled.Allows(r, algs.Protect) {
				t.Fatalf("%s in the suite: %+v", name, r)
			}
		}
		explained(t, l, &d)
		if again := Resolve(l); !reflect.DeepEqual(again, d) {
			t.Fatal("another answer the second time")
		}
	})
}

func explained(t *rapid.T, l *Layers, d *Derived) {
	if len(d.Rationale) != len(d.Detail.Factors) || !strings.Contains(d.Detail.Summary, string(d.Algorithm)+" ") {
		t.Fatalf("%d lines for %d factors; %q", len(d.Rationale), len(d.Detail.Factors), d.Detail.Summary)
	}
	for i, f := range d.Detail.Factors {
		line := d.Rationale[i]
		if f.Input == "" || f.Consequence == "" || line != f.Input+": "+f.Consequence+"." || strings.Contains(line, "%!") {
			t.Fatalf("factor %+v has the line %q", f, line)
		}
	}
	if len(d.Detail.Alternatives) != 3 {
		t.Fatalf("%d alternatives", len(d.Detail.Alternatives))
	}
	seen := []algs.Name{d.Algorithm}
	for _, a := range d.Detail.Alternatives {
		r := row(t, a.Algorithm)
		protects := !r.ReadOnly && (r.Class == algs.ClassAEAD || r.Class == algs.ClassHybrid)
		if slices.Contains(seen, a.Algorithm) || a.WhyNot == "" || !protects {
			t.Fatalf("alternative %+v", a)
		}
		if a.WhyNot == notAskedQuantum && d.QuantumResistant {
			t.Fatalf("%s was asked for, usage %s", a.Algorithm, l.usage())
		}
		seen = append(seen, a.Algorithm)
	}
}
