package api_test

import (
	"context"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// oldVersion is a version with everything that one can have.
func oldVersion() engine.VersionInfo {
	return engine.VersionInfo{
		Record: &keys.Version{
			ID: keyID, Context: "user-pii", Object: "invoices", Number: 1, State: keys.Deactivated, Algorithm: "Ed25519", Imported: true,
			CreatedAt: newYear, DeactivatedAt: newYear + 1000, DestroyAt: newYear + 2000, Reason: "too old",
		},
		Shreddable: true,
		Usage:      keys.Usage{Protected: 3, Processed: 4, LastProtect: newYear + 3000, LastProcess: newYear + 4000},
	}
}

// newVersion is one with as little as possible.
func newVersion() engine.VersionInfo {
	return engine.VersionInfo{
		Record: &keys.Version{ID: secondKeyID, Context: "user-pii", Number: 2, State: keys.Active, Algorithm: "AES-256-GCM", CreatedAt: newYear},
		Active: true,
	}
}

func (s *standIn) ContextVersions(_ context.Context, c *engine.Call, name string) ([]engine.VersionInfo, error) {
	return with(s, c, name, []engine.VersionInfo{newVersion(), oldVersion()})
}

func (s *standIn) KeyVersions(_ context.Context, c *engine.Call, name string) ([]engine.VersionInfo, error) {
	return with(s, c, name, []engine.VersionInfo{oldVersion()})
}

func (s *standIn) KeyUsage(_ context.Context, c *engine.Call, name string) ([]engine.VersionInfo, error) {
	return with(s, c, "usage of "+name, []engine.VersionInfo{oldVersion()})
}

func (s *standIn) SuspendVersion(_ context.Context, c *engine.Call, id, reason string) (engine.VersionInfo, error) {
	return with(s, c, []any{"suspend", id, reason}, newVersion())
}

func (s *standIn) ResumeVersion(_ context.Context, c *engine.Call, id, reason string) (engine.VersionInfo, error) {
	return with(s, c, []any{"resume", id, reason}, newVersion())
}

func (s *standIn) DeactivateVersion(_ context.Context, c *engine.Call, id, reason string) (engine.VersionInfo, error) {
	return with(s, c, []any{"deactivate", id, reason}, oldVersion())
}

func (s *standIn) CompromiseVersion(_ context.Context, c *engine.Call, id, reason string) (engine.VersionInfo, error) {
	return with(s, c, []any{"compromise", id, reason}, oldVersion())
}

// DestroyVersion asks for approval when the reason says so.
func (s *standIn) DestroyVersion(_ context.Context, c *engine.Call, id, reason string, wait *int) (engine.Destruction, error) {
	days := -1
	if wait != nil {
		days = *wait
	}
	out := engine.Destruction{Version: oldVersion(), Warnings: warned}
	if reason == "ask" {
		out.Approval = &directory.Approval{
			ID: "approval_0123456789abcdef", Act: directory.ActDestroyKey, Resource: id, Required: 2, Requester: "user_1", Reason: reason,
			State: directory.ApprovalPending, CreatedAt: newYear, ExpiresAt: 4_102_444_800_000,
			Decisions: []directory.Decision{{User: "user_2", At: newYear, Approve: true, Reason: "yes"}},
		}
	}
	return with(s, c, []any{"destroy", id, reason, days}, out)
}

func (s *standIn) CancelDestruction(_ context.Context, c *engine.Call, id, reason string) (engine.VersionInfo, error) {
	return with(s, c, []any{"cancel", id, reason}, newVersion())
}

func (s *standIn) SetContextMinimum(_ context.Context, c *engine.Call, name string, minimum uint32) error {
	return s.note(c, []any{"context minimum", name, minimum})
}

func (s *standIn) SetKeyMinimum(_ context.Context, c *engine.Call, name string, minimum uint32) error {
	return s.note(c, []any{"key minimum", name, minimum})
}

func (s *standIn) SetKeyRotation(_ context.Context, c *engine.Call, name string, days int) error {
	return s.note(c, []any{"rotation", name, days})
}
