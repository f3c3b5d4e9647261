// Package directory holds the records of who and what a cluster knows: the cluster itself, tenants, contexts,
// applications, users and what they have been given. They are plain values; cluster stores them, engine decides by them.
//
// Records are replaced, never changed in place, so goroutines share them freely. All times are Unix milliseconds. Names
// of fields in storage are numbers: never change or reuse one.
package directory

import (
	"fmt"
	"regexp"
	"slices"

	"cryptoserve/engine/algs"
)

// Status tells whether a record may be used. The zero Status is unknown and counts as disabled.
type Status uint8

// The statuses.
const (
	StatusUnknown Status = 0
	Enabled       Status = 1
	Disabled      Status = 2
)

func (s Status) String() string {
	switch s {
	case Enabled:
		return "active"
	case Disabled:
		return "disabled"
	default:
		return "unknown"
	}
}

// Cluster is the one record about the cluster.
type Cluster struct {
	ID        string `cbor:"1,keyasint"`
	CreatedAt int64  `cbor:"2,keyasint"`
	MasterKCV []byte `cbor:"3,keyasint"` // key check value of the master key, 8 bytes
	// CACertificate is the DER certificate of the cluster CA; CAKey is its private key, wrapped in the token under
	// cs-wrap-private (AES-KWP, RFC 5649).
	CACertificate []byte `cbor:"4,keyasint"`
	CAKey         []byte `cbor:"5,keyasint"`
}

// Tenant is one customer of the cluster. Everything but the cluster itself belongs to one.
type Tenant struct {
	ID        string `cbor:"1,keyasint"`
	Name      string `cbor:"2,keyasint"`
	Status    Status `cbor:"3,keyasint"`
	CreatedAt int64  `cbor:"4,keyasint"`
}

// Derivation tells how a context's data keys come from the master key. The zero value is unknown.
type Derivation uint8

// The derivations.
const (
	DerivationUnknown Derivation = 0
	Salted            Derivation = 1 // a random salt in each version's record; destroying it shreds the key
	Deterministic     Derivation = 2 // no salt; derivable again from the master key alone
)

func (d Derivation) String() string {
	switch d {
	case Salted:
		return "salted"
	case Deterministic:
		return "deterministic"
	default:
		return "unknown"
	}
}

// Context is a named class of data with its algorithm. Its name is unique in its tenant.
type Context struct {
	Tenant      string     `cbor:"1,keyasint"`
	Name        string     `cbor:"2,keyasint"`
	Description string     `cbor:"3,keyasint,omitempty"`
	Algorithm   algs.Name  `cbor:"4,keyasint"`
	Format      uint8      `cbor:"5,keyasint"` // the ciphertext format it writes: 3 or 4
	Derivation  Derivation `cbor:"6,keyasint"`
	Status      Status     `cbor:"7,keyasint"`
	ActiveKey   string     `cbor:"8,keyasint"` // id of the version that protects
	Versions    uint32     `cbor:"9,keyasint"` // number of the newest version
	CreatedAt   int64      `cbor:"10,keyasint"`
	// Enforcement, Allowed, MinimumBits and QuantumSafe are the algorithm policy: what a request may name instead of the
	// context's own algorithm.
	Enforcement Enforcement `cbor:"11,keyasint,omitempty"`
	Allowed     []algs.Name `cbor:"12,keyasint,omitempty"`
	MinimumBits uint16      `cbor:"13,keyasint,omitempty"`
	QuantumSafe bool        `cbor:"14,keyasint,omitempty"`
}

// Enforcement tells what becomes of an algorithm that a context's policy does not list. The zero value refuses it.
type Enforcement uint8

// The enforcements: specification section 8.2 (T6). The numbers are persisted.
const (
	EnforceAll  Enforcement = 0 // refused
	EnforceNone Enforcement = 1 // allowed
	EnforceWarn Enforcement = 2 // allowed with a warning
)

func (e Enforcement) String() string {
	switch e {
	case EnforceNone:
		return "none"
	case EnforceWarn:
		return "warn"
	default:
		return "enforce"
	}
}

// ParseEnforcement returns the enforcement of this name; empty means enforce.
func ParseEnforcement(name string) (Enforcement, bool) {
	switch name {
	case "", "enforce":
		return EnforceAll, true
	case "none":
		return EnforceNone, true
	case "warn":
		return EnforceWarn, true
	default:
		return EnforceAll, false
	}
}

// The longest name and description of a context, in bytes.
const (
	ContextNameMax = 64
	DescriptionMax = 256
)

var contextName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// ValidContextName reports whether a name may be a context's: a lower-case letter, then letters, digits and hyphens, 64
// at most.
func ValidContextName(name string) bool { return contextName.MatchString(name) }

// Validate reports the first thing that makes the record impossible.
func (c *Context) Validate() error {
	switch {
	case c.Tenant == "":
		return fmt.Errorf("context %q names no tenant", c.Name)
	case !ValidContextName(c.Name):
		return fmt.Errorf("context name %q is not a lower-case letter followed by letters, digits and hyphens, 64 at most", c.Name)
	case len(c.Description) > DescriptionMax:
		return fmt.Errorf("context %s has a description of more than %d bytes", c.Name, DescriptionMax)
	case c.Format != 3 && c.Format != 4:
		return fmt.Errorf("context %s has format %d, not 3 or 4", c.Name, c.Format)
	case c.Derivation != Salted && c.Derivation != Deterministic:
		return fmt.Errorf("context %s has an unknown derivation", c.Name)
	case c.Status != Enabled && c.Status != Disabled:
		return fmt.Errorf("context %s has an unknown status", c.Name)
	}
	row, ok := algs.Of(c.Algorithm, algs.ClassAEAD, algs.ClassHybrid)
	switch {
	case !ok || row.ReadOnly:
		return fmt.Errorf("context %s has the algorithm %q, which no context can have", c.Name, c.Algorithm)
	case row.Class == algs.ClassHybrid && (c.Format != 4 || c.Derivation != Salted):
		return fmt.Errorf("context %s has %s, which needs format 4 and has keys that cannot be derived again", c.Name, c.Algorithm)
	case c.Format == 3 && c.Algorithm == algs.AES256GCMSIV:
		return fmt.Errorf("context %s has %s in format 3, where the name stands for something else", c.Name, c.Algorithm)
	case c.Enforcement > EnforceWarn:
		return fmt.Errorf("context %s has an unknown enforcement", c.Name)
	}
	for _, name := range c.Allowed {
		if row, ok := algs.Of(name, algs.ClassAEAD); !ok || row.ReadOnly {
			return fmt.Errorf("context %s allows the algorithm %q, which no request can name", c.Name, name)
		}
	}
	return nil
}

// Grant lets an application use one context of its tenant.
type Grant struct {
	Context string `cbor:"1,keyasint"`
	Encrypt bool   `cbor:"2,keyasint"`
	Decrypt bool   `cbor:"3,keyasint"`
}

// Application is a program that authenticates with tokens signed by its own key.
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
}

// Grant returns what the application may do in a context.
func (a *Application) Grant(context string) (Grant, bool) {
	i := slices.IndexFunc(a.Grants, func(g Grant) bool { return g.Context == context })
	if i < 0 {
		return Grant{}, false
	}
	return a.Grants[i], true
}

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
)

// User is a person.
type User struct {
	ID        string `cbor:"1,keyasint"`
	Tenant    string `cbor:"2,keyasint"`
	Name      string `cbor:"3,keyasint"`
	Roles     []Role `cbor:"4,keyasint"`
	Status    Status `cbor:"5,keyasint"`
	CreatedAt int64  `cbor:"6,keyasint"`
}

// Session is a user's sign-in. The token itself is 32 random bytes and is never stored.
type Session struct {
	Hash      [32]byte `cbor:"1,keyasint"` // SHA-256 of the token
	User      string   `cbor:"2,keyasint"`
	Tenant    string   `cbor:"3,keyasint"`
	CreatedAt int64    `cbor:"4,keyasint"`
	ExpiresAt int64    `cbor:"5,keyasint"`
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
