package wire

// Cluster is how the cluster is, as the node that answers sees it.
type Cluster struct {
	ID             string `json:"id"`
	CreatedAt      string `json:"created_at"`
	CommandVersion uint32 `json:"command_version"` // the newest that may be written
	MasterKCV      string `json:"master_kcv"`      // key check value of the master key, in hexadecimal digits
	CAFingerprint  string `json:"ca_fingerprint"`  // SHA-256 of the certificate of the cluster CA, in hexadecimal digits
	Node           string `json:"node"`            // which answers
	Leader         string `json:"leader,omitempty"`
	Voters         int    `json:"voters"`
	Healthy        int    `json:"healthy"`  // voters that answer and can agree
	Majority       int    `json:"majority"` // how many must agree
	// CanFail is how many more nodes can fail; it is negative while nothing can be written.
	CanFail        int             `json:"can_fail"`
	FaultTolerance string          `json:"fault_tolerance"` // the same in words, and what to do
	Members        []ClusterMember `json:"members"`
}

// ClusterMember is a node of the cluster, or one that was removed.
type ClusterMember struct {
	ID             string       `json:"id"`
	Name           string       `json:"name"`
	Status         string       `json:"status"` // active or removed
	Address        string       `json:"address"`
	API            string       `json:"api,omitempty"`
	KeyFingerprint string       `json:"key_fingerprint"` // SHA-256 of the node key, in hexadecimal digits
	JoinedAt       string       `json:"joined_at"`
	RemovedAt      string       `json:"removed_at,omitempty"`
	CommandVersion uint32       `json:"command_version"` // the newest that its program knows
	Program        string       `json:"program,omitempty"`
	Now            *MemberState `json:"now,omitempty"` // absent of a removed one
}

// MemberState is how a node is now, as the node that answers sees it.
type MemberState struct {
	Reachable bool   `json:"reachable"`
	Healthy   bool   `json:"healthy"`
	Reason    string `json:"reason,omitempty"` // why it is not
	Leader    bool   `json:"leader"`
	Voter     bool   `json:"voter"`      // one without a vote is catching up
	Applied   uint64 `json:"applied"`    // index of the last entry in its state
	LastIndex uint64 `json:"last_index"` // index of the last entry in its log
	Term      uint64 `json:"term"`
	// LeaseMS is how long it may still serve from its state, in milliseconds; -1 is without end, for a cluster of one.
	LeaseMS    int64 `json:"lease_ms"`
	SkewMS     int64 `json:"skew_ms"`      // of its clock
	LogWriteUS int64 `json:"log_write_us"` // its slowest recent write to the log, in microseconds
}

// InviteMemberRequest asks for a code with which one node may join.
type InviteMemberRequest struct {
	ExpiresMinutes int `json:"expires_minutes,omitempty"` // 1 to 1440; absent is 60
}

// InvitedMember has the code, which is not shown again.
type InvitedMember struct {
	JoinInvitation

	Code string `json:"code"`
}

// JoinInvitation lets one node ask to join, once.
type JoinInvitation struct {
	ID        string `json:"id"`
	CreatedBy string `json:"created_by"`
	CreatedAt string `json:"created_at"`
	ExpiresAt string `json:"expires_at"`
}

// JoinInvitationsResponse lists the invitations that can still be used.
type JoinInvitationsResponse struct {
	Invitations []JoinInvitation `json:"invitations"`
}

// Join is a node that asks to join.
type Join struct {
	ID          string `json:"id"`
	State       string `json:"state"`       // waiting, approved, denied or done
	Fingerprint string `json:"fingerprint"` // the node shows the same
	Node        string `json:"node"`        // the id that it will have
	Name        string `json:"name"`
	Address     string `json:"address"`
	API         string `json:"api,omitempty"`
	Method      string `json:"method"` // wrap, shared or preloaded
	// CommandVersion is the newest that its program knows, Program its version.
	CommandVersion uint32   `json:"command_version"`
	Program        string   `json:"program,omitempty"`
	CreatedAt      string   `json:"created_at"`
	ExpiresAt      string   `json:"expires_at"`
	DecidedBy      string   `json:"decided_by,omitempty"`
	DecidedAt      string   `json:"decided_at,omitempty"`
	Warnings       []string `json:"warnings"`
}

// JoinsResponse lists the nodes that asked to join.
type JoinsResponse struct {
	Joins []Join `json:"joins"`
}

// ApproveJoinRequest has the fingerprint that the node shows, or at least its first 16 hexadecimal digits.
type ApproveJoinRequest struct {
	Fingerprint string `json:"fingerprint"`
}

// RemoveMemberRequest says how a node is removed.
type RemoveMemberRequest struct {
	// Force removes it even if the rest cannot write then.
	Force  bool   `json:"force,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// TransferRequest says which node is to lead; absent is any that is up to date.
type TransferRequest struct {
	To string `json:"to,omitempty"`
}

// ClusterDigest compares the states of the nodes.
type ClusterDigest struct {
	// Agreement is equal, different, or unknown when not all nodes told theirs at one index. Different must never be.
	Agreement string       `json:"agreement"`
	Nodes     []NodeDigest `json:"nodes"`
}

// NodeDigest is the digest of a node's state at an index.
type NodeDigest struct {
	ID      string `json:"id"`
	Applied uint64 `json:"applied"`
	Digest  string `json:"digest,omitempty"` // SHA-256, in hexadecimal digits
	Reason  string `json:"reason,omitempty"` // why it is not known
}

// FinaliseRequest has the version of commands that may be written from now on.
type FinaliseRequest struct {
	Version uint32 `json:"version"`
}

// FinaliseResponse has the newest version that may be written.
type FinaliseResponse struct {
	CommandVersion uint32 `json:"command_version"`
}
