package wire

// LoginRequest signs a user in with a password.
type LoginRequest struct {
	Tenant   string `json:"tenant,omitempty"` // its name; default if absent
	Username string `json:"username"`
	Password string `json:"password"`
}

// SessionResponse carries the token of a new session, once.
type SessionResponse struct {
	Token     string `json:"token"`
	ExpiresAt string `json:"expires_at"`
	User      User   `json:"user"`
}

// User describes a user. Nothing of his password is in it but whether he has one.
type User struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Email       string   `json:"email"`
	DisplayName string   `json:"display_name"`
	Roles       []string `json:"roles"`
	Status      string   `json:"status"` // active or disabled
	HasPassword bool     `json:"has_password"`
	Issuer      string   `json:"issuer"` // of his identity provider; empty for local users
	CreatedAt   string   `json:"created_at"`
}

// UsersResponse lists the users of a tenant, in order of name.
type UsersResponse struct {
	Users []User `json:"users"`
}

// CreateUserRequest asks for a new user. Without a password he has none until he gets one.
type CreateUserRequest struct {
	Name     string   `json:"name"`
	Email    string   `json:"email,omitempty"`
	Roles    []string `json:"roles"`
	Password string   `json:"password,omitempty"`
}

// RolesRequest replaces the roles of a user.
type RolesRequest struct {
	Roles []string `json:"roles"`
}

// PasswordRequest gives a user a password.
type PasswordRequest struct {
	Password string `json:"password"`
}

// ChangePasswordRequest replaces one's own password.
type ChangePasswordRequest struct {
	Current string `json:"current"`
	New     string `json:"new"`
}

// Role tells what a role allows.
type Role struct {
	Role    string   `json:"role"`
	Actions []string `json:"actions"`
}

// RolesResponse lists the roles, those of a tenant first, from the weakest to the strongest.
type RolesResponse struct {
	Roles []Role `json:"roles"`
}

// WhoAmIResponse tells a user what he is and may do.
type WhoAmIResponse struct {
	User     User     `json:"user"`
	Tenant   string   `json:"tenant"` // its name
	TenantID string   `json:"tenant_id"`
	Session  Session  `json:"session"`
	Actions  []string `json:"actions"`
}

// Session describes a session. Its id opens nothing.
type Session struct {
	ID         string `json:"id"`
	Provider   string `json:"provider"` // password, device, invitation or the name of an identity provider
	Source     string `json:"source"`
	CreatedAt  string `json:"created_at"`
	LastSeenAt string `json:"last_seen_at"` // to a quarter of an hour
	ExpiresAt  string `json:"expires_at"`
	Current    bool   `json:"current"` // the one that the request was made with
}

// SessionsResponse lists a user's own sessions, the newest first.
type SessionsResponse struct {
	Sessions []Session `json:"sessions"`
}

// CreateInvitationRequest invites somebody to become a user.
type CreateInvitationRequest struct {
	Email string   `json:"email,omitempty"`
	Roles []string `json:"roles"`
}

// Invitation describes an invitation that can still be accepted.
type Invitation struct {
	ID        string   `json:"id"`
	Email     string   `json:"email"`
	Roles     []string `json:"roles"`
	CreatedBy string   `json:"created_by"`
	CreatedAt string   `json:"created_at"`
	ExpiresAt string   `json:"expires_at"`
}

// InvitationResponse carries a new invitation with its code, once.
type InvitationResponse struct {
	Invitation

	Code string `json:"code"`
}

// InvitationsResponse lists the invitations of a tenant.
type InvitationsResponse struct {
	Invitations []Invitation `json:"invitations"`
}

// AcceptInvitationRequest makes a user of whoever has the code.
type AcceptInvitationRequest struct {
	Code     string `json:"code"`
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Provider is an identity provider to sign in at.
type Provider struct {
	Name        string `json:"name"`
	Preset      string `json:"preset"`
	DisplayName string `json:"display_name"`
	LoginPath   string `json:"login_path"` // where a browser begins
}

// ProvidersResponse lists the identity providers.
type ProvidersResponse struct {
	Providers []Provider `json:"providers"`
}

// DeviceRequest begins the sign-in of a program without a browser (RFC 8628 section 3.1).
type DeviceRequest struct {
	Client string `json:"client,omitempty"` // what the program calls itself
}

// DeviceResponse carries the device code, which the program keeps to itself, and the user code, which it shows.
type DeviceResponse struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int    `json:"expires_in"` // seconds
	Interval        int    `json:"interval"`   // seconds between two questions
}

// DeviceTokenRequest asks how a sign-in stands.
type DeviceTokenRequest struct {
	DeviceCode string `json:"device_code"`
}

// DecideDeviceRequest approves or denies what waits under a user code.
type DecideDeviceRequest struct {
	UserCode string `json:"user_code"`
	Approve  bool   `json:"approve"`
}

// Device is a sign-in that waits under a user code, or what was decided about it.
type Device struct {
	UserCode  string `json:"user_code"`
	Client    string `json:"client"`
	Source    string `json:"source"` // the address that asked
	State     string `json:"state"`  // pending, approved or denied
	CreatedAt string `json:"created_at"`
	ExpiresAt string `json:"expires_at"`
}
