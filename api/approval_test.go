package api

import (
	"testing"
	"time"

	"cryptoserve/engine/directory"
)

// TestApprovalThatNobodyDecided shows as expired; one that was decided stays what it is.
func TestApprovalThatNobodyDecided(t *testing.T) {
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		state directory.ApprovalState
		now   time.Time
		want  string
	}{
		{directory.ApprovalPending, end.Add(-time.Second), "pending"},
		{directory.ApprovalPending, end, "expired"},
		{directory.ApprovalExecuted, end.Add(time.Hour), "executed"},
		{directory.ApprovalRejected, end.Add(time.Hour), "rejected"},
	} {
		a := wireApproval(&directory.Approval{State: c.state, ExpiresAt: end.UnixMilli(), DecidedAt: 1000}, c.now)
		if a.State != c.want || a.DecidedAt != "1970-01-01T00:00:01Z" || a.Decisions == nil {
			t.Errorf("%s at %v: %+v", c.state, c.now, a)
		}
	}
}
