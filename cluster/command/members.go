package command

import "cryptoserve/engine/directory"

// Tick renews the leases of the members whose nonces it carries: DESIGN section 6. It changes no record. An empty one is a place
// in the log that a node can wait for.
type Tick struct {
	Refreshes []Refresh `cbor:"1,keyasint,omitempty"`
	// Mark has every node keep the state at this entry for a while, so that digests of one index can be compared.
	Mark bool `cbor:"2,keyasint,omitempty"`
}

// Refresh is what a member sent to have its lease renewed.
type Refresh struct {
	Node  string   `cbor:"1,keyasint"`
	Nonce [16]byte `cbor:"2,keyasint"`
}

// OnceSpan is over how many log entries the state keeps the outcome of a Once.
const OnceSpan = 16384

// Once is a command that takes effect once, however often it comes: a member repeats it when it does not know what became of
// it. The state keeps the outcomes of the last OnceSpan entries; one that comes again has the outcome of the first. One that
// comes more than OnceSpan entries behind After is refused as fault.LedgerUnavailable: it may have taken effect and been
// forgotten.
type Once struct {
	ID      [16]byte `cbor:"1,keyasint"` // random, of this proposal
	Command []byte   `cbor:"2,keyasint"` // as Encode gives it; never another Once
	After   uint64   `cbor:"3,keyasint"` // index of the last entry that its proposer had applied
}

// AddMember adds the first member, which is the node that made the cluster. It is refused when there is a member.
type AddMember struct {
	Member directory.Member `cbor:"1,keyasint"`
}

// CreateJoinInvitation lets one node ask to join. Invitations that ended before its CreatedAt are dropped.
type CreateJoinInvitation struct {
	Invitation directory.JoinInvitation `cbor:"1,keyasint"`
}

// DropJoinInvitation takes an invitation back.
type DropJoinInvitation struct {
	ID string `cbor:"1,keyasint"`
}

// RequestJoin uses up an invitation. The request must be waiting; a used, unknown or ended invitation is refused as
// fault.Unauthenticated. Requests that ended before its CreatedAt are dropped.
type RequestJoin struct {
	Join directory.Join `cbor:"1,keyasint"`
}

// DecideJoin approves or denies a request that waits. Fingerprint must be that of the request.
type DecideJoin struct {
	ID          string                 `cbor:"1,keyasint"`
	Approve     bool                   `cbor:"2,keyasint,omitempty"`
	Fingerprint [32]byte               `cbor:"3,keyasint"`
	Transfer    *directory.KeyTransfer `cbor:"4,keyasint,omitempty"` // for the method wrap
	By          string                 `cbor:"5,keyasint"`
	At          int64                  `cbor:"6,keyasint"`
}

// CompleteJoin makes the node of an approved request an active member: its token has the keys. The transfer is dropped.
type CompleteJoin struct {
	ID string `cbor:"1,keyasint"`
	At int64  `cbor:"2,keyasint"`
}

// RemoveMember removes a member for good. The last active one is refused.
type RemoveMember struct {
	ID string `cbor:"1,keyasint"`
	At int64  `cbor:"2,keyasint"`
}

// UpdateMember is what a member says of itself when it starts.
type UpdateMember struct {
	ID             string `cbor:"1,keyasint"`
	Address        string `cbor:"2,keyasint"`
	API            string `cbor:"3,keyasint,omitempty"`
	CommandVersion uint32 `cbor:"4,keyasint"`
	Program        string `cbor:"5,keyasint,omitempty"`
}

// FinaliseVersion lets the cluster write commands of a version. It is refused when an active member does not know it, or when it is
// older than what was finalised before.
type FinaliseVersion struct {
	Version uint32 `cbor:"1,keyasint"`
}

// SetBackupSchedule replaces the schedule; its revision is one more than that of the present one.
type SetBackupSchedule struct {
	Schedule directory.BackupSchedule `cbor:"1,keyasint"`
}

// RecordBackup adds a run, or ends one that is pending. The oldest go when there are more than directory.BackupRunsKept.
type RecordBackup struct {
	Run directory.BackupRun `cbor:"1,keyasint"`
	// Follows is, for a pending run that is scheduled, the newest scheduled run of its kind that the proposer knew: another one is
	// refused as fault.Conflict, so that two leaders do nothing twice.
	Follows string `cbor:"2,keyasint,omitempty"`
}

// ResetMembers removes every member but one, which goes on alone after its cluster has lost its quorum for good.
type ResetMembers struct {
	Survivor string `cbor:"1,keyasint"`
	At       int64  `cbor:"2,keyasint"`
}

// Type returns the command's number.
func (Tick) Type() Type { return TypeTick }

// Type returns the command's number.
func (Once) Type() Type { return TypeOnce }

// Type returns the command's number.
func (AddMember) Type() Type { return TypeAddMember }

// Type returns the command's number.
func (CreateJoinInvitation) Type() Type { return TypeCreateJoinInvitation }

// Type returns the command's number.
func (DropJoinInvitation) Type() Type { return TypeDropJoinInvitation }

// Type returns the command's number.
func (RequestJoin) Type() Type { return TypeRequestJoin }

// Type returns the command's number.
func (DecideJoin) Type() Type { return TypeDecideJoin }

// Type returns the command's number.
func (CompleteJoin) Type() Type { return TypeCompleteJoin }

// Type returns the command's number.
func (RemoveMember) Type() Type { return TypeRemoveMember }

// Type returns the command's number.
func (UpdateMember) Type() Type { return TypeUpdateMember }

// Type returns the command's number.
func (FinaliseVersion) Type() Type { return TypeFinaliseVersion }

// Type returns the command's number.
func (SetBackupSchedule) Type() Type { return TypeSetBackupSchedule }

// Type returns the command's number.
func (RecordBackup) Type() Type { return TypeRecordBackup }

// Type returns the command's number.
func (ResetMembers) Type() Type { return TypeResetMembers }
