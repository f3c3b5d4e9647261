package api_test

import (
	"net/http"
	"strings"
	"testing"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

func pointer[T any](v T) *T { return &v }

// policyCases are the use cases of policies.go, and what they can fail with.
func policyCases(*fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	layers := wire.Layers{
		DataIdentity: wire.DataIdentity{
			Category: "health", Subcategory: "s", Sensitivity: "high", UsageContext: "at_rest", PII: true, PHI: true, PCI: true,
			NotificationRequired: true, Examples: []string{"e"},
		},
		Regulatory: wire.Regulatory{
			Frameworks: []string{"HIPAA"}, CrossBorderAllowed: true,
			DataResidency: wire.DataResidency{AllowedRegions: []string{"eu"}, ProhibitedRegions: []string{"us"}},
			Retention:     wire.Retention{MinimumDays: 1, MaximumDays: 2, DeletionMethod: "secure_delete"},
		},
		ThreatModel: wire.ThreatModel{Adversaries: []string{"nation_state"}, AttackVectors: []string{"v"}, ProtectionLifetimeDays: 3},
		AccessPatterns: wire.AccessPatterns{
			Frequency: "rare", OperationsPerSecond: 4, LatencyRequirementMS: 5, BatchOperations: true, SearchRequired: true,
		},
	}
	derived := wire.Derived{
		MinimumSecurityBits: 256, QuantumResistant: true, RotationDays: 30, Algorithm: "X25519MLKEM768+AES-256-GCM", AuditLevel: "full",
		HardwareAcceleration: true, Rationale: []string{"so it is"},
		Suite: wire.DerivedSuite{Signing: "ML-DSA-87", Hash: "SHA-384", KDF: "HKDF-SHA384", MAC: "HMAC-SHA384"},
		Detail: wire.DerivedDetail{
			Summary: "in short", Factors: []wire.DerivedFactor{{Field: "f", Input: "i", Consequence: "c"}},
			Alternatives: []wire.DerivedAlternative{{Algorithm: "AES-256-GCM", WhyNot: "n"}},
		},
	}
	plain := wire.ContextDetail{
		Context: wire.Context{
			Name: "user-pii", Description: "d", Algorithm: "AES-256-GCM", Format: 4, Derivation: "salted", Status: "active", KeyID: keyID,
			Version: 3, CreatedAt: newYearText("00"), RotationDays: 30, RotateAfter: 7, SelfService: true, MinimumVersion: 2, Revision: 9,
			Consistency: "strict",
			AlgorithmPolicy: wire.AlgorithmPolicy{
				Enforcement: "warn", AllowedAlgorithms: []string{}, AllowedCiphers: []string{"AES"}, AllowedModes: []string{"gcm"},
			},
		},
		Versions: []wire.ContextVersion{
			{KeyID: keyID, Version: 3, State: "active", Algorithm: "AES-256-GCM", CreatedAt: newYearText("00")},
		},
	}
	detail := plain
	detail.Layers, detail.Derived, detail.Grants, detail.Warnings = &layers, &derived, pointer(2), warned
	change := wire.ChangeContextRequest{
		Revision: 8, Description: "d", Algorithm: "AES-128-GCM", Format: 3, Layers: &layers, RotationDays: pointer(30), RotateAfter: 7,
		SelfService: true, Consistency: "strict",
		AlgorithmPolicy: &wire.AlgorithmPolicy{
			Enforcement: "warn", AllowedAlgorithms: []string{"AES-256-CCM"}, MinimumBits: 128, RequireQuantumSafe: true,
			AllowedCiphers: []string{"AES"}, AllowedModes: []string{"gcm"},
		},
	}
	changed := engine.ContextChange{Revision: 8, ContextSpec: engine.ContextSpec{
		Description: "d", Algorithm: algs.AES128GCM, Format: 3, Enforcement: directory.EnforceWarn, Allowed: []algs.Name{algs.AES256CCM},
		Ciphers: []string{"AES"}, Modes: []string{"gcm"}, MinimumBits: 128, QuantumSafe: true, RotationDays: pointer(uint16(30)),
		RotateAfter: 7, SelfService: true, Layers: fixedLayers(), Consistency: directory.Strict,
	}}
	spec := wire.PolicySpec{
		Description: "d", Expression: "true", Message: "m", Enforcement: "warn", Contexts: []string{"user-pii"},
		Operations: []string{"protect"}, Enabled: pointer(false),
	}
	asked := engine.PolicySpec{
		Name: "strong", Description: "d", Expression: "true", Message: "m", Enforcement: directory.EnforceWarn,
		Contexts: []string{"user-pii"}, Operations: []string{"protect"}, Disabled: true,
	}
	saved := wire.Policy{
		Name: "strong", Description: "d", Expression: "true", Message: "m", Enforcement: "warn", Contexts: []string{"user-pii"},
		Operations: []string{"protect"}, CreatedAt: newYearText("00"), UpdatedAt: newYearText("01"),
	}
	weakened := saved
	weakened.Warnings = warned
	const context, policies, one = "/api/v1/contexts/user-pii", "/api/v1/policies", "/api/v1/policies/strong"
	cases = map[string]useCase{
		"readContext":    {"GET", context, nil, "user-pii", 200, "", detail},
		"changeContext":  {"PUT", context, change, []any{"user-pii", changed}, 200, "", detail},
		"deleteContext":  {"DELETE", context, nil, "user-pii", 200, "", struct{}{}},
		"disableContext": {"POST", context + "/disable", struct{}{}, []any{"user-pii", true}, 200, "", plain},
		"enableContext":  {"POST", context + "/enable", struct{}{}, []any{"user-pii", false}, 200, "", plain},
		"explainContext": {
			"POST", "/api/v1/context-explanations", wire.ExplainRequest{Layers: layers}, fixedLayers(), 200, "",
			wire.ExplainResponse{Algorithm: "P256MLKEM768+AES-256-GCM", Derived: derived},
		},
		"listPolicies": {method: "GET", path: policies, status: 200, answer: wire.PoliciesResponse{Policies: []wire.Policy{saved}}},
		"policyDefaults": {method: "GET", path: "/api/v1/policy-defaults", status: 200, answer: wire.PoliciesResponse{Policies: []wire.Policy{{
			Name: "strong", Description: "d", Expression: "true", Message: "m", Enforcement: "none", Contexts: []string{},
			Operations: []string{}, Enabled: true,
		}}}},
		"createPolicy": {"POST", policies, wire.CreatePolicyRequest{Name: "strong", PolicySpec: spec}, asked, 201, one, saved},
		"readPolicy":   {"GET", one, nil, "strong", 200, "", saved},
		"changePolicy": {"PUT", one, spec, asked, 200, "", weakened},
		"deletePolicy": {"DELETE", one, nil, "strong", 200, "", struct{}{}},
		"testPolicy": {
			"POST", policies + "/test", wire.PolicyTestRequest{
				Context: "user-pii", Operation: "crypto.encrypt", Application: appID, Algorithm: "AES-128-GCM", Expression: "false", Bytes: 7,
			},
			engine.PolicyTrial{
				Context: "user-pii", Operation: "crypto.encrypt", Application: appID, Algorithm: "AES-128-GCM", Expression: "false", Bytes: 7,
			}, 200, "", wire.PolicyTestResponse{
				Reason: "because", Algorithm: "AES-256-GCM", Warnings: warned, Decisions: []wire.PolicyDecision{
					{Policy: "strong", Enforcement: "enforce", Error: "division by zero", Message: "policy strong"},
					{Policy: "other", Enforcement: "warn", Met: true},
				},
			},
		},
	}
	return cases, map[string]map[int]fault.Kind{
		"readContext": finding, "changeContext": changingOne, "deleteContext": changingOne, "disableContext": changingOne,
		"enableContext": changingOne, "explainContext": reading, "listPolicies": reading, "policyDefaults": reading,
		"createPolicy": changing, "readPolicy": finding, "changePolicy": changingOne, "deletePolicy": changingOne, "testPolicy": finding,
	}
}

// TestPolicyBodies sends values that no type excludes.
func TestPolicyBodies(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct{ method, path, body, field string }{
		"format":              {"PUT", "/api/v1/contexts/a", `{"revision":1,"format":5}`, "format"},
		"rotation":            {"PUT", "/api/v1/contexts/a", `{"revision":1,"rotation_days":3651}`, "rotation_days"},
		"negative rotation":   {"POST", "/api/v1/contexts", `{"name":"a","rotation_days":-1}`, "rotation_days"},
		"enforcement":         {"PUT", "/api/v1/contexts/a", `{"revision":1,"algorithm_policy":{"enforcement":"block"}}`, "algorithm_policy.enforcement"},
		"bits":                {"PUT", "/api/v1/contexts/a", `{"revision":1,"algorithm_policy":{"minimum_bits":65536}}`, "algorithm_policy.minimum_bits"},
		"policy enforcement":  {"PUT", "/api/v1/policies/a", `{"expression":"true","enforcement":"block"}`, "enforcement"},
		"no revision":         {"PUT", "/api/v1/contexts/a", `{}`, "revision"},
		"no category":         {"POST", "/api/v1/context-explanations", `{"layers":{"data_identity":{"sensitivity":"low"}}}`, "layers.data_identity.category"},
		"long expression":     {"PUT", "/api/v1/policies/a", `{"expression":"` + strings.Repeat("a", 4097) + `","enforcement":"warn"}`, "expression"},
		"long example":        {"POST", "/api/v1/context-explanations", `{"layers":{"data_identity":{"category":"a","sensitivity":"a","examples":["` + strings.Repeat("a", 129) + `"]}}}`, "layers.data_identity.examples[0]"},
		"lifetime in years":   {"POST", "/api/v1/context-explanations", `{"layers":{"threat_model":{"protection_lifetime_years":1.5}}}`, "layers.threat_model.protection_lifetime_years"},
		"a name in the body":  {"PUT", "/api/v1/policies/a", `{"name":"b","expression":"true","enforcement":"warn"}`, "name"},
		"enabled as a number": {"PUT", "/api/v1/policies/a", `{"expression":"true","enforcement":"warn","enabled":1}`, "enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do(t, c.method, c.path, c.body)
			p := a.problem(t)
			if a.StatusCode != http.StatusBadRequest || len(p.Errors) != 1 || p.Errors[0].Field != c.field {
				t.Errorf("%s: %s", a.Status, a.body)
			}
		})
	}
}

// TestLongestTexts: what is as long as it may be is taken.
func TestLongestTexts(t *testing.T) {
	f := newFixture(t)
	for path, body := range map[string]string{
		"/api/v1/policies":             `{"name":"a","expression":"` + strings.Repeat("a", 4096) + `","message":"` + strings.Repeat("m", 256) + `","enforcement":"warn"}`,
		"/api/v1/context-explanations": `{"layers":{"data_identity":{"category":"a","sensitivity":"a","examples":["` + strings.Repeat("a", 128) + `"]}}}`,
	} {
		if a := f.do(t, "POST", path, body); a.StatusCode >= 300 {
			t.Errorf("%s: %s: %s", path, a.Status, a.body)
		}
	}
}
