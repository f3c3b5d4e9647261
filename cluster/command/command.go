// Package command holds what the cluster agrees on: each change of replicated state is one command, in a versioned
// envelope of deterministic CBOR (RFC 8949 section 4.2) whose bytes are kept as golden files for good.
//
// Whoever proposes a command puts every time, id and random value into it: applying one is a pure function of state and
// command.
package command

import (
	"time"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// Type is the number of a command in the envelope. Numbers are never reused.
type Type uint16

// The commands. The zero type is unknown and stops the node.
const (
	TypeUnknown           Type = 0
	TypeCreateCluster     Type = 1
	TypeCreateTenant      Type = 2
	TypeCreateContext     Type = 3
	TypeRotateContext     Type = 4
	TypeCreateApplication Type = 5
	TypeCreateUser        Type = 6
	TypeCreateSession     Type = 7
	TypeCreateRefresh     Type = 8
	TypeRotateRefresh     Type = 9
	TypeLeaseUsage        Type = 10
	TypeCreateKey         Type = 11
	TypeRotateKey         Type = 12
	TypeSetKeyDisabled    Type = 13
	TypeCreateImport      Type = 14
	TypeImportLegacy      Type = 15
	TypeGuarded           Type = 16
	// Tenants: tenants.go.
	TypeSetTenantStatus        Type = 17
	TypeScheduleTenantDeletion Type = 18
	TypeDeleteTenant           Type = 19
	TypeChangeSettings         Type = 20
	// Applications: applications.go.
	TypeChangeApplication       Type = 21
	TypeSetApplicationStatus    Type = 22
	TypeSetApplicationKey       Type = 23
	TypeRevokeApplicationTokens Type = 24
	TypeDeleteApplication       Type = 25
	TypeRevokeRefresh           Type = 26
	// Users: users.go.
	TypeSetUserRoles     Type = 27
	TypeSetUserStatus    Type = 28
	TypeDeleteUser       Type = 29
	TypeSetPassword      Type = 30
	TypeTouchSession     Type = 31
	TypeEndSession       Type = 32
	TypeEndSessions      Type = 33
	TypeCreateInvitation Type = 34
	TypeDropInvitation   Type = 35
	TypeAcceptInvitation Type = 36
	TypeCreateDevice     Type = 37
	TypeDecideDevice     Type = 38
	TypeRedeemDevice     Type = 39
	// Policies and contexts: contexts.go.
	TypePutPolicy        Type = 40
	TypeDeletePolicy     Type = 41
	TypeChangeContext    Type = 42
	TypeSetContextStatus Type = 43
	TypeDeleteContext    Type = 44
	// The life of key versions: lifecycle.go.
	TypeSetVersionState     Type = 45
	TypeScheduleDestruction Type = 46
	TypeDestroyVersion      Type = 47
	TypeSetMinimumVersion   Type = 48
	TypeMergeUsage          Type = 49
	TypeSetKeyRotation      Type = 50
	// Approvals: approvals.go.
	TypeRequestApproval Type = 51
	TypeDecideApproval  Type = 52
	TypeCancelApproval  Type = 53
	// The cluster itself: members.go.
	TypeTick                 Type = 54
	TypeOnce                 Type = 55
	TypeAddMember            Type = 56
	TypeCreateJoinInvitation Type = 57
	TypeDropJoinInvitation   Type = 58
	TypeRequestJoin          Type = 59
	TypeDecideJoin           Type = 60
	TypeCompleteJoin         Type = 61
	TypeRemoveMember         Type = 62
	TypeUpdateMember         Type = 63
	TypeFinaliseVersion      Type = 64
	TypeSetBackupSchedule    Type = 65
	TypeRecordBackup         Type = 66
	TypeResetMembers         Type = 67
	typeEnd                  Type = 68
)

// Command is one change of replicated state.
type Command interface{ Type() Type }

// CreateCluster records the cluster; it is the first command of a new log and refused afterwards.
type CreateCluster struct {
	Cluster directory.Cluster `cbor:"1,keyasint"`
}

// CreateTenant adds a tenant. A used id or name is a conflict.
type CreateTenant struct {
	Tenant directory.Tenant `cbor:"1,keyasint"`
}

// CreateContext adds a context with its first key version, which must be active, number 1 and the context's ActiveKey.
type CreateContext struct {
	Context directory.Context `cbor:"1,keyasint"`
	Version keys.Version      `cbor:"2,keyasint"`
}

// RotateContext makes Version the active version of its context and deactivates the one before. Version.Number must be
// exactly one more than the context's newest, else somebody rotated in between and the command is refused as a conflict.
// The version before is deactivated at Version.CreatedAt.
type RotateContext struct {
	Version keys.Version `cbor:"1,keyasint"`
}

// CreateApplication adds an application. Its id must be unused and each granted context must exist in its tenant.
type CreateApplication struct {
	Application directory.Application `cbor:"1,keyasint"`
}

// CreateUser adds a user. A used id, or a used name in the tenant, is a conflict.
type CreateUser struct {
	User directory.User `cbor:"1,keyasint"`
}

// CreateSession adds a user's session and drops that user's sessions that ended before its CreatedAt. A user or tenant that is
// disabled is refused as fault.Unauthenticated.
type CreateSession struct {
	Session directory.Session `cbor:"1,keyasint"`
}

// CreateRefresh starts a family of refresh tokens and drops that application's families that ended before its CreatedAt.
type CreateRefresh struct {
	Family directory.RefreshFamily `cbor:"1,keyasint"`
}

// RotateRefresh replaces the newest token of a family. If Presented is not the newest the family is revoked and the
// outcome is refused as unauthenticated: the token was used before, so it is in two hands. At is when the token was
// presented; a family that expired before it is refused.
type RotateRefresh struct {
	Family    string   `cbor:"1,keyasint"`
	Presented [32]byte `cbor:"2,keyasint"` // SHA-256 of the token that was shown
	Next      [32]byte `cbor:"3,keyasint"` // SHA-256 of the token that replaces it
	At        int64    `cbor:"4,keyasint"`
	ExpiresAt int64    `cbor:"5,keyasint"` // of the next token
}

// LeaseUsage draws messages from a key version's budget. The outcome tells how many were granted, at most what is left of
// keys.GCMRandomNonceLimit, and the total drawn so far. A version that may not protect grants none.
type LeaseUsage struct {
	Key   string `cbor:"1,keyasint"`
	Count uint64 `cbor:"2,keyasint"`
}

// CreateKey adds a key object with its first version, which must be active, number 1 and the object's ActiveKey. Import,
// if not empty, is the id of the pair that the key was imported with, which ends: a used or unknown one is refused.
type CreateKey struct {
	Object  keys.Object  `cbor:"1,keyasint"`
	Version keys.Version `cbor:"2,keyasint"`
	Import  string       `cbor:"3,keyasint,omitempty"`
}

// RotateKey makes Version the active version of its key object, as RotateContext does for a context.
type RotateKey struct {
	Version keys.Version `cbor:"1,keyasint"`
	Import  string       `cbor:"2,keyasint,omitempty"`
}

// SetKeyDisabled disables a key object, or enables it again. All its versions stay as they are.
type SetKeyDisabled struct {
	Tenant   string `cbor:"1,keyasint"`
	Name     string `cbor:"2,keyasint"`
	Disabled bool   `cbor:"3,keyasint"`
}

// CreateImport adds a pair that a key can be imported with and drops its tenant's pairs that ended before its CreatedAt.
type CreateImport struct {
	Import keys.Import `cbor:"1,keyasint"`
}

// ImportLegacy adds key versions of an imported deployment. Masters has its master key, with a number that is not used yet,
// or nothing when it is known already. Import, if not empty, ends as in CreateKey. One key version that exists already as
// another refuses the whole command; one that exists as it is stays.
type ImportLegacy struct {
	Tenant  string              `cbor:"1,keyasint"`
	Import  string              `cbor:"2,keyasint,omitempty"`
	Masters []keys.LegacyMaster `cbor:"3,keyasint,omitempty"`
	Keys    []keys.LegacyKey    `cbor:"4,keyasint"`
}

// Type returns the command's number.
func (CreateCluster) Type() Type { return TypeCreateCluster }

// Type returns the command's number.
func (CreateTenant) Type() Type { return TypeCreateTenant }

// Type returns the command's number.
func (CreateContext) Type() Type { return TypeCreateContext }

// Type returns the command's number.
func (RotateContext) Type() Type { return TypeRotateContext }

// Type returns the command's number.
func (CreateApplication) Type() Type { return TypeCreateApplication }

// Type returns the command's number.
func (CreateUser) Type() Type { return TypeCreateUser }

// Type returns the command's number.
func (CreateSession) Type() Type { return TypeCreateSession }

// Type returns the command's number.
func (CreateRefresh) Type() Type { return TypeCreateRefresh }

// Type returns the command's number.
func (RotateRefresh) Type() Type { return TypeRotateRefresh }

// Type returns the command's number.
func (LeaseUsage) Type() Type { return TypeLeaseUsage }

// Type returns the command's number.
func (CreateKey) Type() Type { return TypeCreateKey }

// Type returns the command's number.
func (RotateKey) Type() Type { return TypeRotateKey }

// Type returns the command's number.
func (SetKeyDisabled) Type() Type { return TypeSetKeyDisabled }

// Type returns the command's number.
func (CreateImport) Type() Type { return TypeCreateImport }

// Type returns the command's number.
func (ImportLegacy) Type() Type { return TypeImportLegacy }

// Guarded is a command of a user. It is applied only when the user's record and session are what they were when the act was
// authorised: a right that was lost meanwhile refuses it as fault.Unauthenticated. What is said in a user's name (a request for
// approval, a decision) must be in his own.
type Guarded struct {
	Tenant   string   `cbor:"1,keyasint"`
	User     string   `cbor:"2,keyasint"`
	Revision uint32   `cbor:"3,keyasint,omitempty"` // of the user's record
	Session  [32]byte `cbor:"4,keyasint"`           // hash of the session
	At       int64    `cbor:"5,keyasint"`           // when the act was authorised
	Command  []byte   `cbor:"6,keyasint"`           // as Encode gives it; never another Guarded
}

// Type returns the command's number.
func (Guarded) Type() Type { return TypeGuarded }

// Outcome is what applying a command gave: the same on every node. When Refused is not zero the state did not change,
// except where the command says so.
type Outcome struct {
	Refused fault.Kind
	Detail  string
	Cause   fault.Cause // for the audit log; may be empty
	// Granted and Total answer LeaseUsage.
	Granted uint64
	Total   uint64
	// Approval tells, for DecideApproval, how far the request has come.
	Approval directory.ApprovalState
	// Fenced is how long it took until no node honoured the right any more that the command took away; 0 when it took none. It
	// belongs to the call that proposed the command and is never stored.
	Fenced time.Duration `cbor:"-"`
}
