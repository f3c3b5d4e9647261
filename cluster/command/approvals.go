package command

import "cryptoserve/engine/directory"

// RequestApproval adds a request, pending and without a decision, and drops those of its tenant that were decided or expired
// 90 days before its CreatedAt. A tenant can have 1,000: when there are more, the oldest of those that were decided or expired
// go earlier, and when all wait it is refused. The requester's record must be enabled and have the revision that it names.
type RequestApproval struct {
	Approval directory.Approval `cbor:"1,keyasint"`
}

// DecideApproval adds a user's decision to a request: not the requester's own, and one for each user. The decision that
// completes it applies the command of the request; a rejection ends it. At is when it was decided. It needs as many approvals
// as when it was asked for, or as the settings say by now when that is more.
type DecideApproval struct {
	Tenant   string             `cbor:"1,keyasint"`
	ID       string             `cbor:"2,keyasint"`
	Decision directory.Decision `cbor:"3,keyasint"`
}

// CancelApproval withdraws a request.
type CancelApproval struct {
	Tenant string `cbor:"1,keyasint"`
	ID     string `cbor:"2,keyasint"`
	User   string `cbor:"3,keyasint"` // must be the requester
	At     int64  `cbor:"4,keyasint"`
}

// Type returns the command's number.
func (RequestApproval) Type() Type { return TypeRequestApproval }

// Type returns the command's number.
func (DecideApproval) Type() Type { return TypeDecideApproval }

// Type returns the command's number.
func (CancelApproval) Type() Type { return TypeCancelApproval }
