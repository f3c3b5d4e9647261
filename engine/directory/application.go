package directory

import "slices"

// Grant lets an application use one context of its tenant.
type Grant struct {
	Context string `cbor:"1,keyasint"`
	Encrypt bool   `cbor:"2,keyasint"`
	Decrypt bool   `cbor:"3,keyasint"`
	// Budget bounds what the application decrypts in the context; nil means that of the tenant's settings.
	Budget *Budget `cbor:"4,keyasint,omitempty"`
	// Compromised lets the application process with versions that are marked as compromised.
	Compromised bool `cbor:"5,keyasint,omitempty"`
}

// Application is a program. It authenticates with tokens signed by its own key, which is kept here sealed or by itself, or
// with a client certificate.
type Application struct {
	ID          string  `cbor:"1,keyasint"` // app_<slug>_<16 hex>
	Tenant      string  `cbor:"2,keyasint"`
	Name        string  `cbor:"3,keyasint"`
	Team        string  `cbor:"4,keyasint,omitempty"`
	Environment string  `cbor:"5,keyasint,omitempty"`
	Status      Status  `cbor:"6,keyasint"`
	Grants      []Grant `cbor:"7,keyasint"`
	// KeyID is the kid that its access tokens must carry; PublicKey is the Ed25519 key (32 bytes) that verifies them.
	KeyID     string `cbor:"8,keyasint"`
	PublicKey []byte `cbor:"9,keyasint"`
	// SealedKey is the private half (32-byte seed), sealed under the key-seal key. Empty when the application keeps it.
	SealedKey []byte `cbor:"10,keyasint,omitempty"`
	CreatedAt int64  `cbor:"11,keyasint"`
	// Certificate is the SHA-256 of the SubjectPublicKeyInfo of the client certificate that it may authenticate with.
	Certificate []byte `cbor:"12,keyasint,omitempty"`
	// CreatedBy is the user who made it; empty for the appliance.
	CreatedBy string `cbor:"13,keyasint,omitempty"`
	// NotBefore refuses access tokens that were issued in an earlier second, or in the same one.
	NotBefore   int64  `cbor:"14,keyasint,omitempty"`
	Description string `cbor:"15,keyasint,omitempty"`
}

// The longest name, team and environment of an application, in bytes: specification section 13.4.
const (
	ApplicationNameMax = 256
	TeamMax            = 64
	EnvironmentMax     = 32
)

// Grant returns what the application may do in a context.
func (a *Application) Grant(context string) (Grant, bool) {
	i := slices.IndexFunc(a.Grants, func(g Grant) bool { return g.Context == context })
	if i < 0 {
		return Grant{}, false
	}
	return a.Grants[i], true
}

// RefreshFamily is a chain of refresh tokens that came from one first token. Only the newest is good; use of an older one
// ends the family (RFC 9700 section 4.14.2).
type RefreshFamily struct {
	ID          string   `cbor:"1,keyasint"`
	Tenant      string   `cbor:"2,keyasint"`
	Application string   `cbor:"3,keyasint"`
	Hash        [32]byte `cbor:"4,keyasint"` // SHA-256 of the newest token
	Generation  uint32   `cbor:"5,keyasint"` // how often it was rotated
	Revoked     bool     `cbor:"6,keyasint,omitempty"`
	CreatedAt   int64    `cbor:"7,keyasint"`
	ExpiresAt   int64    `cbor:"8,keyasint"` // of the newest token
}
