package api

import (
	"cryptoserve/api/wire"
	"cryptoserve/engine/classify"
)

// layersOf reads what a request says of data. Whether the words are known is the engine's decision.
func layersOf(in *wire.Layers) *classify.Layers {
	if in == nil {
		return nil
	}
	d, r, m, a := &in.DataIdentity, &in.Regulatory, &in.ThreatModel, &in.AccessPatterns
	out := &classify.Layers{
		DataIdentity: classify.DataIdentity{
			Category: classify.Category(d.Category), Subcategory: d.Subcategory, Sensitivity: classify.Sensitivity(d.Sensitivity),
			UsageContext: classify.Usage(d.UsageContext), PII: d.PII, PHI: d.PHI, PCI: d.PCI,
			NotificationRequired: d.NotificationRequired, Examples: d.Examples,
		},
		Regulatory: classify.Regulatory{
			Frameworks: r.Frameworks,
			DataResidency: classify.Residency{
				AllowedRegions: r.DataResidency.AllowedRegions, ProhibitedRegions: r.DataResidency.ProhibitedRegions,
			},
			Retention: classify.Retention{
				MinimumDays: r.Retention.MinimumDays, MaximumDays: r.Retention.MaximumDays,
				DeletionMethod: classify.Deletion(r.Retention.DeletionMethod),
			},
			CrossBorderAllowed: r.CrossBorderAllowed,
		},
		ThreatModel: classify.ThreatModel{AttackVectors: m.AttackVectors, ProtectionLifetimeDays: m.ProtectionLifetimeDays},
		AccessPatterns: classify.AccessPatterns{
			Frequency: classify.Frequency(a.Frequency), OperationsPerSecond: a.OperationsPerSecond,
			LatencyRequirementMS: a.LatencyRequirementMS, BatchOperations: a.BatchOperations, SearchRequired: a.SearchRequired,
		},
	}
	for _, name := range m.Adversaries {
		out.ThreatModel.Adversaries = append(out.ThreatModel.Adversaries, classify.Adversary(name))
	}
	return out
}

func wireLayers(in *classify.Layers) *wire.Layers {
	if in == nil {
		return nil
	}
	d, r, m, a := &in.DataIdentity, &in.Regulatory, &in.ThreatModel, &in.AccessPatterns
	out := &wire.Layers{
		DataIdentity: wire.DataIdentity{
			Category: string(d.Category), Subcategory: d.Subcategory, Sensitivity: string(d.Sensitivity),
			UsageContext: string(d.UsageContext), PII: d.PII, PHI: d.PHI, PCI: d.PCI,
			NotificationRequired: d.NotificationRequired, Examples: d.Examples,
		},
		Regulatory: wire.Regulatory{
			Frameworks: r.Frameworks,
			DataResidency: wire.DataResidency{
				AllowedRegions: r.DataResidency.AllowedRegions, ProhibitedRegions: r.DataResidency.ProhibitedRegions,
			},
			Retention: wire.Retention{
				MinimumDays: r.Retention.MinimumDays, MaximumDays: r.Retention.MaximumDays,
				DeletionMethod: string(r.Retention.DeletionMethod),
			},
			CrossBorderAllowed: r.CrossBorderAllowed,
		},
		ThreatModel: wire.ThreatModel{AttackVectors: m.AttackVectors, ProtectionLifetimeDays: m.ProtectionLifetimeDays},
		AccessPatterns: wire.AccessPatterns{
			Frequency: string(a.Frequency), OperationsPerSecond: a.OperationsPerSecond, LatencyRequirementMS: a.LatencyRequirementMS,
			BatchOperations: a.BatchOperations, SearchRequired: a.SearchRequired,
		},
	}
	for _, name := range m.Adversaries {
		out.ThreatModel.Adversaries = append(out.ThreatModel.Adversaries, string(name))
	}
	return out
}

func wireDerived(d *classify.Derived) wire.Derived {
	out := wire.Derived{
		MinimumSecurityBits: int(d.MinimumSecurityBits), QuantumResistant: d.QuantumResistant, RotationDays: d.KeyRotationDays,
		Algorithm: string(d.Algorithm), AuditLevel: string(d.AuditLevel), HardwareAcceleration: d.HardwareAcceleration,
		Suite: wire.DerivedSuite{
			Signing: string(d.Suite.Signing), Hash: string(d.Suite.Hash), KDF: string(d.Suite.KDF), MAC: string(d.Suite.MAC),
		},
		Rationale: d.Rationale, Detail: wire.DerivedDetail{Summary: d.Detail.Summary},
	}
	for _, f := range d.Detail.Factors {
		out.Detail.Factors = append(out.Detail.Factors, wire.DerivedFactor(f))
	}
	for _, a := range d.Detail.Alternatives {
		out.Detail.Alternatives = append(out.Detail.Alternatives, wire.DerivedAlternative{
			Algorithm: string(a.Algorithm), WhyNot: a.WhyNot,
		})
	}
	return out
}
