package wire

// Tenant is one customer of the appliance.
type Tenant struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Status    string `json:"status"`
	CreatedAt string `json:"created_at"`
	// DeleteAt is when the tenant and all its keys are deleted; empty when they are not to be.
	DeleteAt string `json:"delete_at,omitempty"`
}

// TenantsResponse lists all tenants in order of id.
type TenantsResponse struct {
	Tenants []Tenant `json:"tenants"`
}

// CreateTenantRequest asks for a new tenant.
type CreateTenantRequest struct {
	Name       string `json:"name"`
	OwnerEmail string `json:"owner_email,omitempty"`
}

// InviteOwnerRequest asks for another invitation of a tenant's first owner.
type InviteOwnerRequest struct {
	OwnerEmail string `json:"owner_email,omitempty"`
}

// InvitedTenant is a tenant with the invitation of its first owner. The code is shown here and never again.
type InvitedTenant struct {
	Tenant              Tenant `json:"tenant"`
	InvitationID        string `json:"invitation_id"`
	InvitationCode      string `json:"invitation_code"`
	InvitationExpiresAt string `json:"invitation_expires_at"`
}

// DeleteTenantRequest says why a tenant is to be deleted, and after how many days.
type DeleteTenantRequest struct {
	Reason   string  `json:"reason,omitempty"`
	WaitDays *uint32 `json:"wait_days,omitempty"` // nil means 30
}
