package directory

// ApprovalState is how far a request for approval has come. The zero state is unknown.
type ApprovalState uint8

// The states of an approval. The numbers are persisted. One that has expired is still pending here: time passes without a
// command.
const (
	ApprovalUnknown   ApprovalState = 0
	ApprovalPending   ApprovalState = 1
	ApprovalExecuted  ApprovalState = 2 // approved by enough users, and done
	ApprovalRejected  ApprovalState = 3
	ApprovalCancelled ApprovalState = 4 // by the user who wanted it
	ApprovalFailed    ApprovalState = 5 // approved, but what it was about had changed
)

func (s ApprovalState) String() string {
	switch s {
	case ApprovalPending:
		return "pending"
	case ApprovalExecuted:
		return "executed"
	case ApprovalRejected:
		return "rejected"
	case ApprovalCancelled:
		return "cancelled"
	case ApprovalFailed:
		return "failed"
	default:
		return "unknown"
	}
}

// Decision is what one user said to a request.
type Decision struct {
	User    string `cbor:"1,keyasint"`
	At      int64  `cbor:"2,keyasint"`
	Approve bool   `cbor:"3,keyasint"`
	Reason  string `cbor:"4,keyasint,omitempty"`
}

// Approval is an act that waits for others to agree. It holds the command of the act itself, so what is done is what was
// asked for.
type Approval struct {
	ID       string `cbor:"1,keyasint"`
	Tenant   string `cbor:"2,keyasint"` // whose users decide
	Act      Act    `cbor:"3,keyasint"`
	Resource string `cbor:"4,keyasint"`
	Command  []byte `cbor:"5,keyasint"` // as package command encodes it
	Required uint8  `cbor:"6,keyasint"`
	// Requester and Revision are the user who wants the act and his record's revision: it is not done when his rights have
	// changed since.
	Requester string        `cbor:"7,keyasint"`
	Revision  uint32        `cbor:"8,keyasint,omitempty"`
	Reason    string        `cbor:"9,keyasint"`
	Decisions []Decision    `cbor:"10,keyasint,omitempty"`
	State     ApprovalState `cbor:"11,keyasint"`
	CreatedAt int64         `cbor:"12,keyasint"`
	ExpiresAt int64         `cbor:"13,keyasint"`
	DecidedAt int64         `cbor:"14,keyasint,omitempty"`
}

// ReasonMax is the longest reason, in bytes.
const ReasonMax = 512
