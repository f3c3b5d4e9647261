package api_test

import (
	"context"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// Admit refuses when the test wants it.
func (s *standIn) Admit(*engine.Call, policy.Action) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crowded {
		return fault.New(fault.RateLimited, "stand-in", "too many requests")
	}
	return nil
}

// crowd makes Admit refuse.
func (s *standIn) crowd(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crowded = on
}

func fixedSettings() *directory.Settings {
	return &directory.Settings{
		AddressRate: directory.Rate{PerSecond: 1, Burst: 2}, SubjectRate: directory.Rate{PerSecond: 3, Burst: 4},
		ContextRate: directory.Rate{PerSecond: 5, Burst: 6}, Budget: &directory.Budget{Records: 7, Bytes: 8, Seconds: 9},
		Approvals: []directory.ApprovalRule{{Act: directory.ActDestroyKey, Approvers: 2}}, DestroyWait: 864_000_000, Revision: 11,
	}
}

func fixedApproval() *directory.Approval {
	return &directory.Approval{
		ID: "approval_0123456789abcdef", Act: directory.ActDestroyKey, Resource: keyID, State: directory.ApprovalRejected, Required: 2,
		Decisions: []directory.Decision{{User: "user_2", At: newYear, Reason: "r"}}, Requester: "user_1", Reason: "why",
		CreatedAt: newYear, ExpiresAt: newYear + 1000, DecidedAt: newYear + 1000,
	}
}

func (s *standIn) Settings(_ context.Context, c *engine.Call) (*directory.Settings, error) {
	return with(s, c, nil, fixedSettings())
}

func (s *standIn) ChangeSettings(_ context.Context, c *engine.Call, in directory.Settings, reason string) (*directory.Approval, error) {
	if reason == "" {
		return with[*directory.Approval](s, c, in, nil)
	}
	return with(s, c, []any{in, reason}, fixedApproval())
}

func (s *standIn) Approvals(_ context.Context, c *engine.Call) ([]*directory.Approval, error) {
	return with(s, c, nil, []*directory.Approval{fixedApproval()})
}

func (s *standIn) Approval(_ context.Context, c *engine.Call, id string) (*directory.Approval, error) {
	return with(s, c, id, fixedApproval())
}

func (s *standIn) DecideApproval(_ context.Context, c *engine.Call, id string, approve bool, reason string) (*directory.Approval, error) {
	return with(s, c, []any{id, approve, reason}, fixedApproval())
}

func (s *standIn) CancelApproval(_ context.Context, c *engine.Call, id string) (*directory.Approval, error) {
	return with(s, c, id, fixedApproval())
}
