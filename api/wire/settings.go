package wire

// Settings are what a tenant's owner decides.
type Settings struct {
	AddressRate Rate `json:"address_rate"` // of each network address
	SubjectRate Rate `json:"subject_rate"` // of each application and user
	ContextRate Rate `json:"context_rate"`
	// DecryptBudget bounds what each application decrypts in each context; absent is no bound.
	DecryptBudget *Budget        `json:"decrypt_budget,omitempty"`
	Approvals     []ApprovalRule `json:"approvals"`
	// DestroyWaitDays is how long key versions wait for their destruction; 0 means 7.
	DestroyWaitDays int `json:"destroy_wait_days"`
	// Revision is that of the settings that a change is based on.
	Revision uint32 `json:"revision"`
}

// ChangeSettingsRequest replaces all settings. Reason is read by those who must approve it.
type ChangeSettingsRequest struct {
	Settings

	Reason string `json:"reason,omitempty"`
}

// Rate is so many requests a second on average, and a burst at once. 0 a second is no bound.
type Rate struct {
	PerSecond uint32 `json:"per_second"`
	Burst     uint32 `json:"burst"`
}

// Budget is so many records and bytes of plaintext in any window of so many seconds. 0 is no bound.
type Budget struct {
	Records uint32 `json:"records,omitempty"`
	Bytes   uint32 `json:"bytes,omitempty"`
	Seconds uint32 `json:"seconds,omitempty"`
}

// ApprovalRule asks for so many approvals of an act.
type ApprovalRule struct {
	Act       string `json:"act"`
	Approvers int    `json:"approvers"`
}
