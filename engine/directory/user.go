package directory

import "slices"

// Role is what a user may do in a tenant (viewer to owner) or on the appliance (operator, auditor, backup).
type Role string

// The roles: specification section 14.4 and DESIGN section 8.
const (
	Viewer    Role = "viewer"
	Developer Role = "developer"
	Admin     Role = "admin"
	Owner     Role = "owner"
	Operator  Role = "operator"
	Auditor   Role = "auditor"
	Backup    Role = "backup"
)

// Roles are all roles, those of a tenant first, from the weakest to the strongest.
var Roles = []Role{Viewer, Developer, Admin, Owner, Operator, Auditor, Backup}

// ValidRoles reports whether a list is one of known roles, each once, and not empty.
func ValidRoles(roles []Role) bool {
	for i, r := range roles {
		if !slices.Contains(Roles, r) || slices.Contains(roles[:i], r) {
			return false
		}
	}
	return len(roles) > 0
}

// The longest name and address of a user, in bytes.
const (
	UserNameMax = 64
	EmailMax    = 254 // RFC 5321 section 4.5.3.1.3
)

// User is a person. He signs in with a password, or at an identity provider that calls him Subject.
type User struct {
	ID        string `cbor:"1,keyasint"`
	Tenant    string `cbor:"2,keyasint"`
	Name      string `cbor:"3,keyasint"` // unique in the tenant
	Roles     []Role `cbor:"4,keyasint"`
	Status    Status `cbor:"5,keyasint"`
	CreatedAt int64  `cbor:"6,keyasint"`
	// Email is what the provider vouches for, or what an administrator wrote. It decides nothing.
	Email string `cbor:"7,keyasint,omitempty"`
	// Password is a PHC string; empty when the user has none.
	Password string `cbor:"8,keyasint,omitempty"`
	// Issuer and Subject are the user's name at an identity provider; empty for local users.
	Issuer      string `cbor:"9,keyasint,omitempty"`
	Subject     string `cbor:"10,keyasint,omitempty"`
	DisplayName string `cbor:"11,keyasint,omitempty"`
	// Revision counts the changes of roles and status.
	Revision uint32 `cbor:"12,keyasint,omitempty"`
	// PasswordBy is the other user who chose the password, until its owner chooses one himself.
	PasswordBy string `cbor:"13,keyasint,omitempty"`
}

// Has reports whether the user has a role.
func (u *User) Has(r Role) bool { return slices.Contains(u.Roles, r) }

// Session is a user's sign-in. The token itself is 32 random bytes and is never stored.
type Session struct {
	Hash      [32]byte `cbor:"1,keyasint"` // SHA-256 of the token
	User      string   `cbor:"2,keyasint"`
	Tenant    string   `cbor:"3,keyasint"`
	CreatedAt int64    `cbor:"4,keyasint"`
	ExpiresAt int64    `cbor:"5,keyasint"`
	// SeenAt is when the session was used last, written now and then; 0 means since CreatedAt not yet.
	SeenAt int64 `cbor:"6,keyasint,omitempty"`
	// Provider is what the user signed in with: password, device or the name of an identity provider.
	Provider string `cbor:"7,keyasint,omitempty"`
	// Source is the address that the sign-in came from.
	Source string `cbor:"8,keyasint,omitempty"`
}

// LastSeen is when the session is known to have been used last, in Unix milliseconds.
func (s *Session) LastSeen() int64 { return max(s.CreatedAt, s.SeenAt) }

// Invitation lets one person become a user of a tenant. The code is 32 random bytes and is never stored.
type Invitation struct {
	ID        string   `cbor:"1,keyasint"`
	Tenant    string   `cbor:"2,keyasint"`
	Hash      [32]byte `cbor:"3,keyasint"` // SHA-256 of the code
	Email     string   `cbor:"4,keyasint,omitempty"`
	Roles     []Role   `cbor:"5,keyasint"`
	CreatedBy string   `cbor:"6,keyasint"`
	CreatedAt int64    `cbor:"7,keyasint"`
	ExpiresAt int64    `cbor:"8,keyasint"`
}

// DeviceState is how far a sign-in without a browser has come. The zero state is unknown.
type DeviceState uint8

// The states of a device sign-in. The numbers are persisted.
const (
	DeviceUnknown  DeviceState = 0
	DevicePending  DeviceState = 1
	DeviceApproved DeviceState = 2
	DeviceDenied   DeviceState = 3
)

// Device is a sign-in of a program without a browser (RFC 8628). Who knows the device code, 32 random bytes that are never
// stored, gets the session once a signed-in user has approved the user code.
type Device struct {
	Hash      [32]byte    `cbor:"1,keyasint"` // SHA-256 of the device code
	UserCode  string      `cbor:"2,keyasint"`
	Client    string      `cbor:"3,keyasint,omitempty"` // what the program calls itself
	Source    string      `cbor:"4,keyasint,omitempty"` // the address that asked
	CreatedAt int64       `cbor:"5,keyasint"`
	ExpiresAt int64       `cbor:"6,keyasint"`
	State     DeviceState `cbor:"7,keyasint"`
	User      string      `cbor:"8,keyasint,omitempty"` // who approved or denied it
	Tenant    string      `cbor:"9,keyasint,omitempty"`
}
