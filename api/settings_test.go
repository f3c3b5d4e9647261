package api_test

import (
	"net/http"
	"testing"

	"cryptoserve/api/wire"
	"cryptoserve/engine/fault"
)

// unreadable are the details of an approval without a command.
var unreadable = []string{"what it would do cannot be read on this node"}

// settingsCases are the use cases of settings.go, and what they can fail with.
func settingsCases(*fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	settings := wire.Settings{
		AddressRate: wire.Rate{PerSecond: 1, Burst: 2}, SubjectRate: wire.Rate{PerSecond: 3, Burst: 4},
		ContextRate: wire.Rate{PerSecond: 5, Burst: 6}, DecryptBudget: &wire.Budget{Records: 7, Bytes: 8, Seconds: 9},
		Approvals: []wire.ApprovalRule{{Act: "key.destroy", Approvers: 2}}, DestroyWaitDays: 10, Revision: 11,
	}
	approval := wire.Approval{
		ID: "approval_0123456789abcdef", Act: "key.destroy", Details: unreadable, Resource: keyID, State: "rejected", Required: 2,
		Decisions: []wire.ApprovalDecision{{User: "user_2", At: newYearText("00"), Reason: "r"}}, Requester: "user_1", Reason: "why",
		CreatedAt: newYearText("00"), ExpiresAt: newYearText("01"), DecidedAt: newYearText("01"),
	}
	const one = "/api/v1/approvals/approval_0123456789abcdef"
	cases = map[string]useCase{
		"readSettings": {method: "GET", path: "/api/v1/settings", status: 200, answer: settings},
		"changeSettings": {
			"PUT", "/api/v1/settings", wire.ChangeSettingsRequest{Settings: settings, Reason: "why"},
			[]any{*fixedSettings(), "why"}, 202, one, approval,
		},
		"listApprovals": {
			method: "GET", path: "/api/v1/approvals", status: 200, answer: wire.ApprovalsResponse{Approvals: []wire.Approval{approval}},
		},
		"readApproval": {"GET", one, nil, "approval_0123456789abcdef", 200, "", approval},
		"approve": {
			"POST", one + "/approve", wire.DecisionRequest{Reason: "yes"}, []any{"approval_0123456789abcdef", true, "yes"}, 200, "", approval,
		},
		"reject": {
			"POST", one + "/reject", wire.DecisionRequest{Reason: "no"}, []any{"approval_0123456789abcdef", false, "no"}, 200, "", approval,
		},
		"cancelApproval": {"POST", one + "/cancel", map[string]any{}, "approval_0123456789abcdef", 200, "", approval},
	}
	return cases, map[string]map[int]fault.Kind{
		"readSettings": reading, "changeSettings": changing, "listApprovals": reading, "readApproval": finding,
		"approve": changingOne, "reject": changingOne, "cancelApproval": changingOne,
	}
}

// TestSettingsWithoutApproval: what needs none answers with the settings that hold now.
func TestSettingsWithoutApproval(t *testing.T) {
	f := newFixture(t)
	a := f.do(t, http.MethodPut, "/api/v1/settings", `{"address_rate":{"per_second":0,"burst":0},"subject_rate":{"per_second":0,"burst":0},`+
		`"context_rate":{"per_second":0,"burst":0},"approvals":[],"destroy_wait_days":3,"revision":4}`)
	const want = `{"address_rate":{"per_second":0,"burst":0},"subject_rate":{"per_second":0,"burst":0},"context_rate":{"per_second":0,"burst":0},` +
		`"approvals":[],"destroy_wait_days":3,"revision":5}`
	if a.StatusCode != http.StatusOK || string(a.body) != want {
		t.Errorf("%s: %s", a.Status, a.body)
	}
}

// TestWaitBeforeTheNextRequest: Retry-After holds whole seconds, rounded up.
func TestWaitBeforeTheNextRequest(t *testing.T) {
	f := newFixture(t)
	f.engine.mu.Lock()
	f.engine.failure = &fault.Error{Kind: fault.RateLimited, Op: "test", Detail: "slow down", RetryAfter: 1500 * 1e6}
	f.engine.mu.Unlock()
	a := f.do(t, http.MethodGet, "/api/v1/settings", "")
	if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "2" {
		t.Errorf("%s, Retry-After %q", a.Status, a.Header.Get("Retry-After"))
	}
}
