package wire

// Backups is what is in the targets of the node that answers, and how it came there.
type Backups struct {
	Targets  []BackupTarget  `json:"targets"`
	Backups  []Backup        `json:"backups"`            // the newest first
	Runs     []BackupRun     `json:"runs"`               // the oldest of those that are kept first
	Schedule *BackupSchedule `json:"schedule,omitempty"` // absent is never
}

// BackupTarget is a place for backups.
type BackupTarget struct {
	Name    string `json:"name"`
	Place   string `json:"place"`
	Problem string `json:"problem,omitempty"` // why it cannot be looked at
}

// Backup is one backup in a target. Without a problem its manifest was proved under the key of this cluster.
type Backup struct {
	ID          string          `json:"id"`
	Target      string          `json:"target"`
	Bytes       int64           `json:"bytes"`
	StoredAt    string          `json:"stored_at"`
	Manifest    *BackupManifest `json:"manifest,omitempty"`
	Problem     string          `json:"problem,omitempty"` // why it cannot be restored here
	RehearsedAt string          `json:"rehearsed_at,omitempty"`
	// RehearsalFailed is why the newest rehearsal failed.
	RehearsalFailed string `json:"rehearsal_failed,omitempty"`
}

// BackupManifest is what a backup says of itself.
type BackupManifest struct {
	ClusterID      string `json:"cluster_id"`
	NodeID         string `json:"node_id"`
	CreatedAt      string `json:"created_at"`
	Index          uint64 `json:"index"`
	Term           uint64 `json:"term"`
	Records        uint64 `json:"records"`
	StateDigest    string `json:"state_digest"`
	MasterKCV      string `json:"master_kcv"`
	ProgramVersion string `json:"program_version"`
	CommandVersion uint32 `json:"command_version"`
}

// BackupRun is a backup, rehearsal or restore that was made, or tried.
type BackupRun struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`  // backup, rehearsal or restore
	State     string `json:"state"` // done, failed or running
	Backup    string `json:"backup,omitempty"`
	Target    string `json:"target"`
	Node      string `json:"node"`
	At        string `json:"at"`
	TookMS    int64  `json:"took_ms"`
	Bytes     int64  `json:"bytes"`
	Index     uint64 `json:"index"`
	Scheduled bool   `json:"scheduled"`
	Reason    string `json:"reason,omitempty"` // why it failed
}

// CreateBackupRequest asks for a backup.
type CreateBackupRequest struct {
	Target string `json:"target,omitempty"` // absent is the only one, or that of the schedule
}

// RehearseBackupRequest asks for a rehearsal.
type RehearseBackupRequest struct {
	Target string `json:"target,omitempty"` // absent looks in all
}

// BackupReport is what a rehearsal or a restore found in a backup.
type BackupReport struct {
	Backup        string         `json:"backup"`
	Manifest      BackupManifest `json:"manifest"`
	Records       uint64         `json:"records"`
	Tables        []BackupTable  `json:"tables"`
	ProblemsFound int            `json:"problems_found"`
	Problems      []string       `json:"problems"` // the first hundred
	TookMS        int64          `json:"took_ms"`
	// Before is the backup that a restore made of the state that was there. Replaced is how many records of that state it changed
	// or dropped.
	Before   string `json:"before,omitempty"`
	Replaced int    `json:"replaced"`
}

// BackupTable counts the records of one kind.
type BackupTable struct {
	Name    string `json:"name"`
	Records uint64 `json:"records"`
}

// RestoreBackupRequest asks for a restore.
type RestoreBackupRequest struct {
	Target     string `json:"target,omitempty"`
	Force      bool   `json:"force,omitempty"`
	NewCluster bool   `json:"new_cluster,omitempty"`
	Reason     string `json:"reason"`
}

// BackupSchedule is when backups are made by themselves, and which are kept.
type BackupSchedule struct {
	EveryMinutes    uint32 `json:"every_minutes"` // 0 is never
	Target          string `json:"target"`
	Keep            uint32 `json:"keep"` // the newest ones
	Days            uint32 `json:"days"`
	Weeks           uint32 `json:"weeks"`
	Months          uint32 `json:"months"`
	RehearseMinutes uint32 `json:"rehearse_minutes"` // how often the newest is rehearsed; 0 is never
	Revision        uint32 `json:"revision"`         // that was seen; 0 before there is a schedule
}
