package wire

// Approval is an act that waits for others to agree, or what became of it.
type Approval struct {
	ID        string             `json:"id"`
	Act       string             `json:"act"`
	Resource  string             `json:"resource"`
	Details   []string           `json:"details"` // what it would do, in words
	State     string             `json:"state"`   // pending, executed, rejected, cancelled, failed or expired
	Required  int                `json:"required"`
	Decisions []ApprovalDecision `json:"decisions"`
	Requester string             `json:"requester"`
	Reason    string             `json:"reason"`
	CreatedAt string             `json:"created_at"` // RFC 3339, UTC, as all times
	ExpiresAt string             `json:"expires_at"`
	DecidedAt string             `json:"decided_at,omitempty"`
}

// ApprovalDecision is what one user said.
type ApprovalDecision struct {
	User    string `json:"user"`
	At      string `json:"at"`
	Approve bool   `json:"approve"`
	Reason  string `json:"reason"`
}

// ApprovalsResponse lists requests for approval.
type ApprovalsResponse struct {
	Approvals []Approval `json:"approvals"`
}

// DecisionRequest says why.
type DecisionRequest struct {
	Reason string `json:"reason,omitempty"`
}
