package command

import "cryptoserve/engine/directory"

// SetUserRoles replaces a user's roles. It is refused as a conflict when the tenant would have no enabled owner left, as are
// SetUserStatus and DeleteUser. All three take back what the user approved in requests that still wait.
type SetUserRoles struct {
	Tenant string           `cbor:"1,keyasint"`
	User   string           `cbor:"2,keyasint"`
	Roles  []directory.Role `cbor:"3,keyasint"`
}

// SetUserStatus enables or disables a user. Disabling ends his sessions and the sign-ins of devices that he approved, as do
// DeleteUser, SetPassword and EndSessions.
type SetUserStatus struct {
	Tenant string           `cbor:"1,keyasint"`
	User   string           `cbor:"2,keyasint"`
	Status directory.Status `cbor:"3,keyasint"`
}

// DeleteUser deletes a user and his sessions.
type DeleteUser struct {
	Tenant string `cbor:"1,keyasint"`
	User   string `cbor:"2,keyasint"`
}

// SetPassword replaces a user's password and ends his sessions but Keep. With Anew it is the same password, hashed anew from
// the stored string Anew: nothing ends, and when the stored string is another by now the command is refused as a conflict.
type SetPassword struct {
	Tenant   string   `cbor:"1,keyasint"`
	User     string   `cbor:"2,keyasint"`
	Password string   `cbor:"3,keyasint"` // a PHC string
	Keep     [32]byte `cbor:"4,keyasint"` // hash of a session; zero keeps none
	Anew     string   `cbor:"5,keyasint,omitempty"`
	// By is the user who chose it for another; empty when its owner did.
	By string `cbor:"6,keyasint,omitempty"`
}

// TouchSession writes down that a session was used. One that has ended is not an error.
type TouchSession struct {
	Hash [32]byte `cbor:"1,keyasint"`
	At   int64    `cbor:"2,keyasint"`
}

// EndSession ends one session. One that is unknown is not an error.
type EndSession struct {
	Hash [32]byte `cbor:"1,keyasint"`
}

// EndSessions ends all sessions of a user but Keep.
type EndSessions struct {
	Tenant string   `cbor:"1,keyasint"`
	User   string   `cbor:"2,keyasint"`
	Keep   [32]byte `cbor:"3,keyasint"`
}

// CreateInvitation adds an invitation and drops those of its tenant that ended before its CreatedAt. A tenant can have 1,000.
type CreateInvitation struct {
	Invitation directory.Invitation `cbor:"1,keyasint"`
}

// DropInvitation withdraws an invitation.
type DropInvitation struct {
	Tenant string `cbor:"1,keyasint"`
	ID     string `cbor:"2,keyasint"`
}

// AcceptInvitation makes a user of whoever has the code, with the roles of the invitation, and drops the invitation. At is
// when the code was shown: a code that has expired, is unknown, or was made by a user who is disabled or gone, is
// fault.Unauthenticated.
type AcceptInvitation struct {
	Hash [32]byte       `cbor:"1,keyasint"` // SHA-256 of the code
	User directory.User `cbor:"2,keyasint"`
	At   int64          `cbor:"3,keyasint"`
}

// CreateDevice begins a sign-in without a browser and drops those that ended before its CreatedAt. There can be 10,000.
type CreateDevice struct {
	Device directory.Device `cbor:"1,keyasint"`
}

// DecideDevice approves or denies a sign-in that waits under a user code.
type DecideDevice struct {
	UserCode string `cbor:"1,keyasint"`
	Tenant   string `cbor:"2,keyasint"`
	User     string `cbor:"3,keyasint"`
	Approve  bool   `cbor:"4,keyasint"`
	At       int64  `cbor:"5,keyasint"`
}

// RedeemDevice turns an approved sign-in into a session of the user who approved it, once.
type RedeemDevice struct {
	Hash    [32]byte          `cbor:"1,keyasint"` // SHA-256 of the device code
	Session directory.Session `cbor:"2,keyasint"`
}

// Type returns the command's number.
func (SetUserRoles) Type() Type { return TypeSetUserRoles }

// Type returns the command's number.
func (SetUserStatus) Type() Type { return TypeSetUserStatus }

// Type returns the command's number.
func (DeleteUser) Type() Type { return TypeDeleteUser }

// Type returns the command's number.
func (SetPassword) Type() Type { return TypeSetPassword }

// Type returns the command's number.
func (TouchSession) Type() Type { return TypeTouchSession }

// Type returns the command's number.
func (EndSession) Type() Type { return TypeEndSession }

// Type returns the command's number.
func (EndSessions) Type() Type { return TypeEndSessions }

// Type returns the command's number.
func (CreateInvitation) Type() Type { return TypeCreateInvitation }

// Type returns the command's number.
func (DropInvitation) Type() Type { return TypeDropInvitation }

// Type returns the command's number.
func (AcceptInvitation) Type() Type { return TypeAcceptInvitation }

// Type returns the command's number.
func (CreateDevice) Type() Type { return TypeCreateDevice }

// Type returns the command's number.
func (DecideDevice) Type() Type { return TypeDecideDevice }

// Type returns the command's number.
func (RedeemDevice) Type() Type { return TypeRedeemDevice }
