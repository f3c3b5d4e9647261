// Package directory holds the records of who and what a cluster knows: the cluster itself, tenants, contexts,
// applications, users and what they have been given. They are plain values; cluster stores them, engine decides by them.
//
// Records are replaced, never changed in place, so goroutines share them freely. All times are Unix milliseconds. Names
// of fields in storage are numbers: never change or reuse one.
package directory

// Status tells whether a record may be used. The zero Status is unknown and counts as disabled.
type Status uint8

// The statuses.
const (
	StatusUnknown Status = 0
	Enabled       Status = 1
	Disabled      Status = 2
)

func (s Status) String() string {
	switch s {
	case Enabled:
		return "active"
	case Disabled:
		return "disabled"
	default:
		return "unknown"
	}
}

// Cluster is the one record about the cluster.
type Cluster struct {
	ID        string `cbor:"1,keyasint"`
	CreatedAt int64  `cbor:"2,keyasint"`
	MasterKCV []byte `cbor:"3,keyasint"` // key check value of the master key, 8 bytes
	// CACertificate is the DER certificate of the cluster CA; CAKey is its private key, wrapped in the token under
	// cs-wrap-private (AES-KWP, RFC 5649).
	CACertificate []byte `cbor:"4,keyasint"`
	CAKey         []byte `cbor:"5,keyasint"`
	// CommandVersion is the newest version of commands that may be written; 0 is 1.
	CommandVersion uint32 `cbor:"6,keyasint,omitempty"`
	// Credential is the SHA-256 of what allows a node to go on alone (force-new); empty is that nothing does.
	Credential []byte `cbor:"7,keyasint,omitempty"`
	// Backups is when backups are made; nil is never.
	Backups *BackupSchedule `cbor:"8,keyasint,omitempty"`
}

// Tenant is one customer of the cluster. Everything but the cluster itself belongs to one.
type Tenant struct {
	ID        string `cbor:"1,keyasint"`
	Name      string `cbor:"2,keyasint"`
	Status    Status `cbor:"3,keyasint"`
	CreatedAt int64  `cbor:"4,keyasint"`
	// DeleteAt is when the tenant and all that belongs to it are deleted; 0 means not scheduled. A tenant that waits for it
	// is disabled.
	DeleteAt int64 `cbor:"5,keyasint,omitempty"`
	// Settings are what its owner decides; nil means the defaults.
	Settings *Settings `cbor:"6,keyasint,omitempty"`
}
