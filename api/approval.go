package api

import (
	"net/http"
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
)

// wireApproval shows a request for approval. One that nobody decided in time is still pending in the records.
func wireApproval(a *directory.Approval, now time.Time) wire.Approval {
	out := wire.Approval{
		ID: a.ID, Act: string(a.Act), Resource: a.Resource, State: a.State.String(), Required: int(a.Required),
		Details: []string{}, Decisions: make([]wire.ApprovalDecision, 0, len(a.Decisions)), Requester: a.Requester, Reason: a.Reason,
		CreatedAt: milliseconds(a.CreatedAt), ExpiresAt: milliseconds(a.ExpiresAt), DecidedAt: optionalTime(a.DecidedAt),
	}
	if a.State == directory.ApprovalPending && a.ExpiresAt <= now.UnixMilli() {
		out.State = "expired"
	}
	out.Details = append(out.Details, engine.ApprovalDetails(a)...)
	for _, d := range a.Decisions {
		out.Decisions = append(out.Decisions, wire.ApprovalDecision{User: d.User, At: milliseconds(d.At), Approve: d.Approve, Reason: d.Reason})
	}
	return out
}

// waits answers that an act waits for approval: it is accepted, and nothing has changed yet.
func (x *exchange) waits(a *directory.Approval) error {
	x.created(approvalsPath + "/" + a.ID)
	x.status = http.StatusAccepted
	return x.answer(wireApproval(a, x.call.Start))
}

// optionalTime is empty for a time that has not come.
func optionalTime(unix int64) string {
	if unix == 0 {
		return ""
	}
	return milliseconds(unix)
}
