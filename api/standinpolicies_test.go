package api_test

import (
	"context"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// fixedLayers have a value in every field.
func fixedLayers() *classify.Layers {
	return &classify.Layers{
		DataIdentity: classify.DataIdentity{
			Category: classify.Health, Subcategory: "s", Sensitivity: classify.SensitivityHigh, UsageContext: classify.AtRest,
			PII: true, PHI: true, PCI: true, NotificationRequired: true, Examples: []string{"e"},
		},
		Regulatory: classify.Regulatory{
			Frameworks: []string{"HIPAA"}, CrossBorderAllowed: true,
			DataResidency: classify.Residency{AllowedRegions: []string{"eu"}, ProhibitedRegions: []string{"us"}},
			Retention:     classify.Retention{MinimumDays: 1, MaximumDays: 2, DeletionMethod: classify.DeletionSecure},
		},
		ThreatModel: classify.ThreatModel{
			Adversaries: []classify.Adversary{classify.NationState}, AttackVectors: []string{"v"}, ProtectionLifetimeDays: 3,
		},
		AccessPatterns: classify.AccessPatterns{
			Frequency: classify.FrequencyRare, OperationsPerSecond: 4, LatencyRequirementMS: 5, BatchOperations: true, SearchRequired: true,
		},
	}
}

func fixedDerived() *classify.Derived {
	return &classify.Derived{
		MinimumSecurityBits: 256, QuantumResistant: true, KeyRotationDays: 30, Algorithm: algs.X25519MLKEM768AES256GCM,
		AuditLevel: classify.AuditFull, HardwareAcceleration: true, Rationale: []string{"so it is"},
		Suite: classify.Suite{Signing: algs.MLDSA87, Hash: algs.SHA384, KDF: algs.HKDFSHA384, MAC: algs.HMACSHA384},
		Detail: classify.Detail{
			Summary: "in short", Factors: []classify.Factor{{Field: "f", Input: "i", Consequence: "c"}},
			Alternatives: []classify.Alternative{{Algorithm: algs.AES256GCM, WhyNot: "n"}},
		},
	}
}

func fixedDetail() engine.ContextDetail {
	v := &keys.Version{ID: keyID, Number: 3, State: keys.Active, Algorithm: algs.AES256GCM, CreatedAt: newYear}
	return engine.ContextDetail{
		ContextInfo: engine.ContextInfo{Version: v, Record: &directory.Context{
			Name: "user-pii", Description: "d", Algorithm: algs.AES256GCM, Format: 4, Derivation: directory.Salted,
			Status: directory.Enabled, ActiveKey: keyID, Versions: 3, CreatedAt: newYear, Enforcement: directory.EnforceWarn,
			Ciphers: []string{"AES"}, Modes: []string{"gcm"}, RotationDays: 30, RotateAfter: 7, SelfService: true,
			MinimumVersion: 2, Revision: 9, Layers: fixedLayers(), Consistency: directory.Strict,
		}},
		Derived: fixedDerived(), Versions: []*keys.Version{v}, Grants: 2, Warnings: warned,
	}
}

func fixedPolicy() *directory.Policy {
	return &directory.Policy{
		Name: "strong", Description: "d", Expression: "true", Message: "m", Enforcement: directory.EnforceWarn,
		Contexts: []string{"user-pii"}, Operations: []string{"protect"}, Status: directory.Disabled, CreatedAt: newYear,
		UpdatedAt: newYear + 1000,
	}
}

func (s *standIn) Context(_ context.Context, c *engine.Call, name string) (engine.ContextDetail, error) {
	return with(s, c, name, fixedDetail())
}

func (s *standIn) ChangeContext(_ context.Context, c *engine.Call, name string, in engine.ContextChange) (engine.ContextDetail, error) {
	return with(s, c, []any{name, in}, fixedDetail())
}

func (s *standIn) SetContextDisabled(_ context.Context, c *engine.Call, name string, disabled bool) (engine.ContextDetail, error) {
	detail := fixedDetail()
	detail.Derived, detail.Record.Layers, detail.Grants, detail.Warnings = nil, nil, -1, nil
	return with(s, c, []any{name, disabled}, detail)
}

func (s *standIn) DeleteContext(_ context.Context, c *engine.Call, name string) error {
	return s.note(c, name)
}

func (s *standIn) ExplainContext(_ context.Context, c *engine.Call, layers *classify.Layers) (engine.Explanation, error) {
	return with(s, c, layers, engine.Explanation{Derived: *fixedDerived(), Algorithm: algs.P256MLKEM768AES256GCM})
}

func (s *standIn) Policies(_ context.Context, c *engine.Call) ([]*directory.Policy, error) {
	return with(s, c, nil, []*directory.Policy{fixedPolicy()})
}

func (s *standIn) DefaultPolicies(_ context.Context, c *engine.Call) ([]engine.PolicySpec, error) {
	return with(s, c, nil, []engine.PolicySpec{{
		Name: "strong", Description: "d", Expression: "true", Message: "m", Enforcement: directory.EnforceNone,
	}})
}

func (s *standIn) Policy(_ context.Context, c *engine.Call, name string) (*directory.Policy, error) {
	return with(s, c, name, fixedPolicy())
}

func (s *standIn) CreatePolicy(_ context.Context, c *engine.Call, spec engine.PolicySpec) (engine.PolicyInfo, error) {
	return with(s, c, spec, engine.PolicyInfo{Record: fixedPolicy()})
}

func (s *standIn) ChangePolicy(_ context.Context, c *engine.Call, spec engine.PolicySpec) (engine.PolicyInfo, error) {
	return with(s, c, spec, engine.PolicyInfo{Record: fixedPolicy(), Warnings: warned})
}

func (s *standIn) DeletePolicy(_ context.Context, c *engine.Call, name string) error {
	return s.note(c, name)
}

func (s *standIn) TestPolicy(_ context.Context, c *engine.Call, in *engine.PolicyTrial) (engine.PolicyVerdict, error) {
	return with(s, c, *in, engine.PolicyVerdict{
		Reason: "because", Algorithm: "AES-256-GCM", Warnings: warned,
		Decisions: []engine.PolicyDecision{{Policy: "strong", Error: "division by zero", Message: "policy strong"}, {Policy: "other", Met: true, Enforcement: directory.EnforceWarn}},
	})
}
