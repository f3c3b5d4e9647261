package directory

import (
	"fmt"
	"regexp"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
)

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
	// Ciphers and Modes, if not empty, limit what the policy allows to algorithms made of them, such as AES and gcm (package
	// algs). Where Allowed is empty they are the list.
	Ciphers []string `cbor:"15,keyasint,omitempty"`
	Modes   []string `cbor:"16,keyasint,omitempty"`
	// MinimumVersion closes the versions with lower numbers: they process nothing any more.
	MinimumVersion uint32 `cbor:"17,keyasint,omitempty"`
	// RotationDays and RotateAfter rotate the context by itself: when its active version is so many days old, or has
	// protected about so many messages. 0 means never by that.
	RotationDays uint16 `cbor:"18,keyasint,omitempty"`
	RotateAfter  uint64 `cbor:"19,keyasint,omitempty"`
	// SelfService lets developers grant the context to applications of their own.
	SelfService bool `cbor:"20,keyasint,omitempty"`
	// Layers say what the data is; nil when nobody said. What follows from them is computed, never stored.
	Layers *classify.Layers `cbor:"21,keyasint,omitempty"`
	// Revision counts the changes of the record by administrators.
	Revision uint32 `cbor:"22,keyasint,omitempty"`
	// Consistency says how a node makes sure, at each use, that it knows of every right that was taken away.
	Consistency Consistency `cbor:"23,keyasint,omitempty"`
}

// Consistency is what a node goes by before it answers a use of a context. The zero value is the lease.
type Consistency uint8

// The consistencies: DESIGN.md of the engine, "The fence". The numbers are persisted.
const (
	Leased Consistency = 0 // a lease of the cluster, which costs nothing and trusts the node's own clock to run evenly
	Strict Consistency = 1 // the log of the cluster, asked each time, which costs a round through a majority and trusts no clock
)

func (c Consistency) String() string {
	switch c {
	case Leased:
		return "lease"
	case Strict:
		return "strict"
	default:
		return "unknown"
	}
}

// ParseConsistency returns the consistency of this name; empty means lease.
func ParseConsistency(name string) (Consistency, bool) {
	switch name {
	case "", "lease":
		return Leased, true
	case "strict":
		return Strict, true
	default:
		return Leased, false
	}
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
	case c.Consistency > Strict:
		return fmt.Errorf("context %s has an unknown consistency", c.Name)
	}
	for _, name := range c.Allowed {
		if row, ok := algs.Of(name, algs.ClassAEAD); !ok || row.ReadOnly {
			return fmt.Errorf("context %s allows the algorithm %q, which no request can name", c.Name, name)
		}
	}
	return nil
}
