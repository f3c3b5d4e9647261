package command

import "cryptoserve/engine/directory"

// SetTenantStatus enables or disables a tenant. A tenant that waits for its deletion stays disabled.
type SetTenantStatus struct {
	Tenant string           `cbor:"1,keyasint"`
	Status directory.Status `cbor:"2,keyasint"`
}

// ScheduleTenantDeletion disables a tenant and has it deleted when Wait milliseconds have gone by since At, or since the last
// approval where it needs some (directory.ActDeleteTenant). Cancel takes that back and leaves the tenant disabled.
type ScheduleTenantDeletion struct {
	Tenant string `cbor:"1,keyasint"`
	At     int64  `cbor:"2,keyasint"`
	Wait   int64  `cbor:"3,keyasint,omitempty"`
	Cancel bool   `cbor:"4,keyasint,omitempty"`
}

// DeleteTenant deletes a tenant with all that belongs to it, keys included. Before its DeleteAt, or without one, it is
// refused as a conflict. At is when that was looked at.
type DeleteTenant struct {
	Tenant string `cbor:"1,keyasint"`
	At     int64  `cbor:"2,keyasint"`
}

// ChangeSettings replaces a tenant's settings. The revision must be one more than that of the present ones (0 when there are
// none), else somebody changed them in between and it is a conflict. It may need approval (directory.ActChangeSettings).
type ChangeSettings struct {
	Tenant   string             `cbor:"1,keyasint"`
	Settings directory.Settings `cbor:"2,keyasint"`
}

// Type returns the command's number.
func (SetTenantStatus) Type() Type { return TypeSetTenantStatus }

// Type returns the command's number.
func (ScheduleTenantDeletion) Type() Type { return TypeScheduleTenantDeletion }

// Type returns the command's number.
func (DeleteTenant) Type() Type { return TypeDeleteTenant }

// Type returns the command's number.
func (ChangeSettings) Type() Type { return TypeChangeSettings }
