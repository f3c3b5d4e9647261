package directory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"cryptoserve/engine/lp"
)

// MemberStatus is how far a node has come in the cluster.
type MemberStatus uint8

// The statuses of a member. A removed one never comes back under its id.
const (
	MemberUnknown MemberStatus = 0
	MemberActive  MemberStatus = 1
	MemberRemoved MemberStatus = 2
)

func (s MemberStatus) String() string {
	switch s {
	case MemberActive:
		return "active"
	case MemberRemoved:
		return "removed"
	default:
		return "unknown"
	}
}

// Member is a node of the cluster. Records of removed members stay: they say whose certificate is refused, and whose lease
// must have run out.
type Member struct {
	ID      string       `cbor:"1,keyasint"`
	Name    string       `cbor:"2,keyasint"` // unique among active members
	Address string       `cbor:"3,keyasint"` // of its cluster port, host:port
	Key     [32]byte     `cbor:"4,keyasint"` // SHA-256 of the SubjectPublicKeyInfo of its node key
	Status  MemberStatus `cbor:"5,keyasint"`
	// API is the address of its API, host:port, for people.
	API       string `cbor:"6,keyasint,omitempty"`
	JoinedAt  int64  `cbor:"7,keyasint"`
	RemovedAt int64  `cbor:"8,keyasint,omitempty"`
	// CommandVersion is the newest version of commands that its program knows, Program the version of the program.
	CommandVersion uint32 `cbor:"9,keyasint"`
	Program        string `cbor:"10,keyasint,omitempty"`
}

// JoinInvitation lets one node ask to join, once.
type JoinInvitation struct {
	ID        string   `cbor:"1,keyasint"`
	Hash      [32]byte `cbor:"2,keyasint"` // SHA-256 of the code's secret
	CreatedBy string   `cbor:"3,keyasint"`
	CreatedAt int64    `cbor:"4,keyasint"`
	ExpiresAt int64    `cbor:"5,keyasint"`
}

// JoinMethod is how a joining node comes to the master key.
type JoinMethod string

// The methods of DESIGN section 7.2.
const (
	JoinWrap      JoinMethod = "wrap"      // wrapped by a token of the cluster for the joiner's
	JoinShared    JoinMethod = "shared"    // all nodes use one partition of a network HSM
	JoinPreloaded JoinMethod = "preloaded" // the vendor's cloning put it into the joiner's token
)

// JoinState is how far a request to join has come.
type JoinState uint8

// The states of a request to join.
const (
	JoinUnknown  JoinState = 0
	JoinWaiting  JoinState = 1 // for an operator
	JoinApproved JoinState = 2
	JoinDenied   JoinState = 3
	JoinDone     JoinState = 4 // the node has the keys and is a member
)

func (s JoinState) String() string {
	switch s {
	case JoinWaiting:
		return "waiting"
	case JoinApproved:
		return "approved"
	case JoinDenied:
		return "denied"
	case JoinDone:
		return "done"
	default:
		return "unknown"
	}
}

// KeyCheckValues tell which keys a token holds, 8 bytes each.
type KeyCheckValues struct {
	Master      []byte `cbor:"1,keyasint"`
	WrapPrivate []byte `cbor:"2,keyasint"`
	WrapSecret  []byte `cbor:"3,keyasint"`
}

// KeyTransfer is the keys of the cluster, wrapped by a token for a joiner's join key with RSA-OAEP: only its token opens them.
type KeyTransfer struct {
	Master      []byte         `cbor:"1,keyasint"`
	WrapPrivate []byte         `cbor:"2,keyasint"`
	WrapSecret  []byte         `cbor:"3,keyasint"`
	Check       KeyCheckValues `cbor:"4,keyasint"`
	// OAEP is the hash that the token wrapped with, which may be a weaker one than that of the join key.
	OAEP string `cbor:"5,keyasint,omitempty"`
}

// Join is a node that asks to become a member.
type Join struct {
	ID         string     `cbor:"1,keyasint"`
	Invitation string     `cbor:"2,keyasint"`
	Hash       [32]byte   `cbor:"3,keyasint"` // of the invitation: who asks after the request shows its secret
	Node       string     `cbor:"4,keyasint"` // the id that the node will have
	Name       string     `cbor:"5,keyasint"`
	Address    string     `cbor:"6,keyasint"`
	API        string     `cbor:"7,keyasint,omitempty"`
	Method     JoinMethod `cbor:"8,keyasint"`
	// NodeKey and JoinKey are SubjectPublicKeyInfo, DER; JoinKey is empty but for the method wrap. OAEP is the hash of it.
	NodeKey []byte `cbor:"9,keyasint"`
	JoinKey []byte `cbor:"10,keyasint,omitempty"`
	OAEP    string `cbor:"11,keyasint,omitempty"`
	// Check is of the keys that are in the joiner's token already; empty for the method wrap.
	Check          KeyCheckValues `cbor:"12,keyasint"`
	CommandVersion uint32         `cbor:"13,keyasint"`
	Program        string         `cbor:"14,keyasint,omitempty"`
	State          JoinState      `cbor:"15,keyasint"`
	CreatedAt      int64          `cbor:"16,keyasint"`
	ExpiresAt      int64          `cbor:"17,keyasint"`
	DecidedBy      string         `cbor:"18,keyasint,omitempty"`
	DecidedAt      int64          `cbor:"19,keyasint,omitempty"`
	// Transfer is there from the approval until the node has the keys.
	Transfer *KeyTransfer `cbor:"20,keyasint,omitempty"`
}

// Fingerprint is what the operator compares with what the joining node shows: SHA-256 over lp("cryptoserve/join/1") lp(node id)
// lp(node key) lp(join key).
func (j *Join) Fingerprint() [32]byte { return JoinFingerprint(j.Node, j.NodeKey, j.JoinKey) }

// JoinFingerprint is Join.Fingerprint, for the joining node.
func JoinFingerprint(node string, nodeKey, joinKey []byte) [32]byte {
	b := lp.Append(lp.Append(nil, "cryptoserve/join/1"), node)
	return sha256.Sum256(lp.Append(lp.Append(b, string(nodeKey)), string(joinKey)))
}

// FormatFingerprint writes a fingerprint as people compare it: 64 hexadecimal digits in groups of four.
func FormatFingerprint(f [32]byte) string {
	digits := hex.EncodeToString(f[:])
	out := make([]byte, 0, 80)
	for i := 0; i < len(digits); i += 4 {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, digits[i:i+4]...)
	}
	return string(out)
}

// NodeStatus is how one node is now, as another one sees it. It is not replicated.
type NodeStatus struct {
	ID        string `cbor:"1,keyasint"`
	Reachable bool   `cbor:"2,keyasint,omitempty"`
	Reason    string `cbor:"3,keyasint,omitempty"` // why it is not reachable, or not healthy
	Leader    bool   `cbor:"4,keyasint,omitempty"`
	Voter     bool   `cbor:"5,keyasint,omitempty"`
	Healthy   bool   `cbor:"6,keyasint,omitempty"`
	Applied   uint64 `cbor:"7,keyasint,omitempty"` // index of the last entry in its state
	LastIndex uint64 `cbor:"8,keyasint,omitempty"` // index of the last entry in its log
	Term      uint64 `cbor:"9,keyasint,omitempty"`
	// Lease is how long the node may still serve from its state, in milliseconds; -1 is without end, for a cluster of one.
	Lease   int64  `cbor:"10,keyasint,omitempty"`
	Skew    int64  `cbor:"11,keyasint,omitempty"` // of its clock against this node's, in milliseconds
	Program string `cbor:"12,keyasint,omitempty"`
	// CommandVersion is the newest version of commands that its program knows.
	CommandVersion uint32 `cbor:"13,keyasint,omitempty"`
	// LogWrite is its slowest recent write to the Raft log, in microseconds.
	LogWrite int64 `cbor:"14,keyasint,omitempty"`
}

// NodeDigest is the state of a node at an index.
type NodeDigest struct {
	ID      string   `cbor:"1,keyasint"`
	Applied uint64   `cbor:"2,keyasint"`
	Digest  [32]byte `cbor:"3,keyasint"`
	Reason  string   `cbor:"4,keyasint,omitempty"` // why it is not known
}

// BackupSchedule is when backups are made by themselves, and which are kept.
type BackupSchedule struct {
	EveryMinutes    uint32 `cbor:"1,keyasint"` // 0 is never
	Target          string `cbor:"2,keyasint"` // a name from the boot files
	Keep            uint32 `cbor:"3,keyasint"` // the newest ones, at least 1
	Days            uint32 `cbor:"4,keyasint,omitempty"`
	Weeks           uint32 `cbor:"5,keyasint,omitempty"`
	Months          uint32 `cbor:"6,keyasint,omitempty"`
	RehearseMinutes uint32 `cbor:"7,keyasint,omitempty"` // how often the newest is rehearsed; 0 is never
	Revision        uint32 `cbor:"8,keyasint"`
}

// BackupRun is one backup or rehearsal that was made, or tried.
type BackupRun struct {
	ID       string   `cbor:"1,keyasint"` // of the run
	Backup   string   `cbor:"2,keyasint"` // name of the backup
	Target   string   `cbor:"3,keyasint"`
	Rehearse bool     `cbor:"4,keyasint,omitempty"`
	Node     string   `cbor:"5,keyasint"`
	At       int64    `cbor:"6,keyasint"`
	Took     int64    `cbor:"7,keyasint,omitempty"` // milliseconds
	Bytes    int64    `cbor:"8,keyasint,omitempty"`
	Index    uint64   `cbor:"9,keyasint,omitempty"` // of the state in it
	Digest   [32]byte `cbor:"10,keyasint"`
	Failed   string   `cbor:"11,keyasint,omitempty"` // why; empty when it succeeded
	// Pending is set while the run goes on, Scheduled when nobody asked for it.
	Pending   bool `cbor:"12,keyasint,omitempty"`
	Scheduled bool `cbor:"13,keyasint,omitempty"`
	// Restore is set of a restore.
	Restore bool `cbor:"14,keyasint,omitempty"`
}

// Good reports whether the run ended well.
func (r *BackupRun) Good() bool { return !r.Pending && r.Failed == "" }

// The limits of schedules and runs.
const (
	BackupRunsKept   = 200
	BackupMinutesMax = 366 * 24 * 60
	BackupKeepMax    = 10000 // of each kind of retention
	BackupTextMax    = 500   // bytes of why a run failed
	BackupNameMax    = 64    // bytes of the name of a target
)

// Validate reports what is wrong with a schedule.
func (s *BackupSchedule) Validate() error {
	switch {
	case s.EveryMinutes > BackupMinutesMax || s.RehearseMinutes > BackupMinutesMax:
		return errors.New("the time between two backups or rehearsals is at most a year")
	case len(s.Target) > BackupNameMax || s.Target == "" && (s.EveryMinutes > 0 || s.RehearseMinutes > 0):
		return errors.New("a schedule needs the name of a target")
	case s.Keep == 0 || max(s.Keep, s.Days, s.Weeks, s.Months) > BackupKeepMax:
		return errors.New("at least the newest backup is kept, and at most 10000 of each kind")
	}
	return nil
}
