package wire

// Version is a version of a context's own key, or of a key object, with its state and use.
type Version struct {
	KeyID         string `json:"key_id"`
	Version       uint32 `json:"version"`
	Context       string `json:"context"`
	Key           string `json:"key,omitempty"` // name of the key object; absent for a context's own key
	State         string `json:"state"`         // active, suspended, deactivated, compromised or destroyed
	Active        bool   `json:"active"`        // its context, or key object, protects with it
	Algorithm     string `json:"algorithm"`
	Imported      bool   `json:"imported"`
	CreatedAt     string `json:"created_at"`
	DeactivatedAt string `json:"deactivated_at,omitempty"`
	DestroyAt     string `json:"destroy_at,omitempty"` // when it will be; until then it is not used
	DestroyedAt   string `json:"destroyed_at,omitempty"`
	Reason        string `json:"reason,omitempty"` // of its state
	// Protected and Processed count operations on all nodes; they and the times lag behind by a minute or so.
	Protected       uint64 `json:"protected"`
	Processed       uint64 `json:"processed"`
	LastProtectedAt string `json:"last_protected_at,omitempty"`
	LastProcessedAt string `json:"last_processed_at,omitempty"`
	// Shreddable tells whether nobody can make the key again once it is destroyed, not even with the master key.
	Shreddable bool `json:"shreddable"`
}

// VersionsResponse lists key versions, newest first.
type VersionsResponse struct {
	Versions []Version `json:"versions"`
}

// VersionChangeRequest may say why a version is suspended, resumed, deactivated, or not to be destroyed after all.
type VersionChangeRequest struct {
	Reason string `json:"reason,omitempty"`
}

// CompromiseRequest says how a key came to be known to others.
type CompromiseRequest struct {
	Reason string `json:"reason"`
}

// DestroyRequest asks for the end of a version. WaitDays replaces the waiting period of the tenant's settings.
type DestroyRequest struct {
	Reason   string `json:"reason"`
	WaitDays *int   `json:"wait_days,omitempty"` // 0 to 366
}

// DestroyResponse is the version with the time of its end. Where approval is needed the answer is an Approval instead.
type DestroyResponse struct {
	Version

	Warnings []string `json:"warnings"`
}

// MinimumVersion closes the versions with lower numbers; 0 closes none.
type MinimumVersion struct {
	Version uint32 `json:"version"`
}

// KeyRotation is at which age a key object is rotated by itself.
type KeyRotation struct {
	Days int `json:"days"` // 0 to 3650; 0 is never
}
