package command

import "cryptoserve/engine/keys"

// SetVersionState moves a key version to another state as keys.State.MayBecome allows; only the version that its context or key
// names as the active one becomes active. Destruction has commands of its own.
type SetVersionState struct {
	Tenant string     `cbor:"1,keyasint"`
	Key    string     `cbor:"2,keyasint"`
	State  keys.State `cbor:"3,keyasint"`
	At     int64      `cbor:"4,keyasint"`
	Reason string     `cbor:"5,keyasint,omitempty"`
}

// ScheduleDestruction has a key version destroyed when Wait milliseconds have gone by since At, or since the last approval
// where it needs some (directory.ActDestroyKey). Its state must allow that. Cancel takes it back.
type ScheduleDestruction struct {
	Tenant string `cbor:"1,keyasint"`
	Key    string `cbor:"2,keyasint"`
	At     int64  `cbor:"3,keyasint"`
	Wait   int64  `cbor:"4,keyasint,omitempty"`
	Cancel bool   `cbor:"5,keyasint,omitempty"`
	Reason string `cbor:"6,keyasint,omitempty"`
}

// DestroyVersion removes all key material of a version, its salt included, and marks it as destroyed. Before its DestroyAt,
// or without one, it is refused as a conflict. At is when that was looked at.
type DestroyVersion struct {
	Tenant string `cbor:"1,keyasint"`
	Key    string `cbor:"2,keyasint"`
	At     int64  `cbor:"3,keyasint"`
}

// SetMinimumVersion closes the versions of a context's key below Minimum, or those of a key object when Object is not empty.
// It is at most the number of the active version.
type SetMinimumVersion struct {
	Tenant  string `cbor:"1,keyasint"`
	Context string `cbor:"2,keyasint"`
	Object  string `cbor:"3,keyasint,omitempty"`
	Minimum uint32 `cbor:"4,keyasint"`
}

// MergeUsage adds what a node saw of the use of key versions. Versions that are gone are skipped.
type MergeUsage struct {
	Usage []keys.Usage `cbor:"1,keyasint"`
}

// SetKeyRotation sets at which age a key object is rotated by itself.
type SetKeyRotation struct {
	Tenant string `cbor:"1,keyasint"`
	Name   string `cbor:"2,keyasint"`
	Days   uint16 `cbor:"3,keyasint"`
}

// Type returns the command's number.
func (SetVersionState) Type() Type { return TypeSetVersionState }

// Type returns the command's number.
func (ScheduleDestruction) Type() Type { return TypeScheduleDestruction }

// Type returns the command's number.
func (DestroyVersion) Type() Type { return TypeDestroyVersion }

// Type returns the command's number.
func (SetMinimumVersion) Type() Type { return TypeSetMinimumVersion }

// Type returns the command's number.
func (MergeUsage) Type() Type { return TypeMergeUsage }

// Type returns the command's number.
func (SetKeyRotation) Type() Type { return TypeSetKeyRotation }
