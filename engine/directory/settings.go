package directory

import (
	"fmt"
	"slices"
)

// Rate bounds how often something may happen: PerSecond on average, Burst at once. A PerSecond of 0 is no bound.
type Rate struct {
	PerSecond uint32 `cbor:"1,keyasint"`
	Burst     uint32 `cbor:"2,keyasint"`
}

// Budget bounds what is decrypted in any window of so many seconds: records and bytes of plaintext. 0 is no bound.
type Budget struct {
	Records uint64 `cbor:"1,keyasint,omitempty"`
	Bytes   uint64 `cbor:"2,keyasint,omitempty"`
	Seconds uint32 `cbor:"3,keyasint"`
}

// Act is something that can need approval.
type Act string

// The acts. Those of clusters come with their use cases.
const (
	ActDestroyKey     Act = "key.destroy"
	ActDeleteTenant   Act = "tenant.delete"
	ActChangeSettings Act = "settings.change"
)

// Acts are all acts that can need approval.
var Acts = []Act{ActDestroyKey, ActDeleteTenant, ActChangeSettings}

// ApprovalRule asks for the approval of so many users other than the one who wants the act.
type ApprovalRule struct {
	Act       Act   `cbor:"1,keyasint"`
	Approvers uint8 `cbor:"2,keyasint"` // 1 to MaxApprovers
}

// MaxApprovers is how many approvers an act can need.
const MaxApprovers = 10

// Settings are what a tenant's owner decides. The zero value is the default.
type Settings struct {
	AddressRate Rate `cbor:"1,keyasint"` // of each network address, together for all subjects of the tenant
	SubjectRate Rate `cbor:"2,keyasint"` // of each application and user
	ContextRate Rate `cbor:"3,keyasint"` // of each context
	// Budget bounds what each application decrypts in each context, unless its grant says otherwise; nil is no bound.
	Budget *Budget `cbor:"4,keyasint,omitempty"`
	// Approvals lists the acts that need approval. Acts that it does not list need none.
	Approvals []ApprovalRule `cbor:"5,keyasint,omitempty"`
	// DestroyWait is how long a key version waits between the decision to destroy it and its end, in milliseconds; 0 means
	// DefaultDestroyWait.
	DestroyWait int64 `cbor:"6,keyasint,omitempty"`
	// Revision counts the changes.
	Revision uint32 `cbor:"7,keyasint,omitempty"`
}

// DefaultDestroyWait is the waiting period of destructions: seven days, in milliseconds.
const DefaultDestroyWait = 7 * 24 * 60 * 60 * 1000

// The bounds of a budget's window and of a waiting period.
const (
	maxWindow      = 366 * 24 * 60 * 60
	maxDestroyWait = 366 * 24 * 60 * 60 * 1000
)

// Validate reports the first thing that makes the settings impossible.
func (s *Settings) Validate() error {
	for name, r := range map[string]Rate{"address_rate": s.AddressRate, "subject_rate": s.SubjectRate, "context_rate": s.ContextRate} {
		if r.PerSecond > 0 && r.Burst == 0 {
			return fmt.Errorf("%s has a burst of 0, which lets nothing pass", name)
		}
	}
	if s.Budget != nil {
		if err := s.Budget.Validate(); err != nil {
			return err
		}
	}
	for i, r := range s.Approvals {
		switch {
		case !slices.Contains(Acts, r.Act):
			return fmt.Errorf("the act %q is not one that can need approval", r.Act)
		case r.Approvers == 0 || r.Approvers > MaxApprovers:
			return fmt.Errorf("the act %s needs 1 to %d approvers, not %d", r.Act, MaxApprovers, r.Approvers)
		case slices.ContainsFunc(s.Approvals[:i], func(b ApprovalRule) bool { return b.Act == r.Act }):
			return fmt.Errorf("the act %s stands twice in the list", r.Act)
		}
	}
	if s.DestroyWait < 0 || s.DestroyWait > maxDestroyWait {
		return fmt.Errorf("the waiting period of destructions is not between 0 and 366 days")
	}
	return nil
}

// Validate reports the first thing that makes the budget impossible.
func (b *Budget) Validate() error {
	if b.Seconds == 0 || b.Seconds > maxWindow {
		return fmt.Errorf("the window of a budget is 1 to %d seconds, not %d", maxWindow, b.Seconds)
	}
	return nil
}

// Of returns the settings of a tenant, never nil.
func (t *Tenant) Of() *Settings {
	if t == nil || t.Settings == nil {
		return &Settings{}
	}
	return t.Settings
}

// Wait is the waiting period of destructions in milliseconds.
func (s *Settings) Wait() int64 {
	if s.DestroyWait == 0 {
		return DefaultDestroyWait
	}
	return s.DestroyWait
}

// Approvers returns how many users other than the one who wants it must approve an act; 0 means none.
func (s *Settings) Approvers(a Act) int {
	for _, r := range s.Approvals {
		if r.Act == a {
			return int(r.Approvers)
		}
	}
	return 0
}
