// Package keys holds what the appliance knows about a key: the record of each key version, its states and the table of
// what each state allows. It holds no key material.
package keys

import (
	"encoding/hex"
	"fmt"
	"regexp"

	"cryptoserve/engine/algs"
)

// DEKBits is the length of a data key that each message's key is derived from (format 4).
const DEKBits = 256

// SaltBytes is the length of the salt that a version's data key is derived with.
const SaltBytes = 32

// GCMRandomNonceLimit is how many messages one key may encrypt with random 96-bit nonces: SP 800-38D section 8.3.
const GCMRandomNonceLimit uint64 = 1 << 32

// RotateAt is the number of leased messages at which a version that counts is rotated by itself: 80 % of the limit.
const RotateAt = GCMRandomNonceLimit / 10 * 8

// Version is the record of one key version. Records are replaced, never changed in place; goroutines share them freely.
type Version struct {
	ID        string    `cbor:"1,keyasint"` // key_<context>_<16 hex>, unique in the cluster
	Tenant    string    `cbor:"2,keyasint"`
	Context   string    `cbor:"3,keyasint"`
	Number    uint32    `cbor:"4,keyasint"` // from 1
	State     State     `cbor:"5,keyasint"`
	Algorithm algs.Name `cbor:"6,keyasint"`
	Bits      uint16    `cbor:"7,keyasint"`
	// Salt is SaltBytes random bytes, or empty when the context derives deterministically: then the key can be made
	// again from the master key alone and destroying the version cannot shred it.
	Salt          []byte `cbor:"8,keyasint,omitempty"`
	CreatedAt     int64  `cbor:"9,keyasint"` // Unix milliseconds, as all times in records
	DeactivatedAt int64  `cbor:"10,keyasint,omitempty"`
	// Leased counts the messages that nodes have drawn from this version's budget (format 3 only); it never passes
	// GCMRandomNonceLimit.
	Leased uint64 `cbor:"11,keyasint,omitempty"`
	// Object is the name of the key that this is a version of; empty for a version of a context's own key.
	Object string `cbor:"12,keyasint,omitempty"`
	// Public is the public half of a pair, in the encoding of its algorithm (packages signature and kem). Sealed is the
	// secret half, or the secret key, under the tenant's key-seal key; Wrapped is it as a blob that only a token opens.
	// A version whose key is derived has none of them; any other has exactly one of Sealed and Wrapped.
	Public  []byte `cbor:"13,keyasint,omitempty"`
	Sealed  []byte `cbor:"14,keyasint,omitempty"`
	Wrapped []byte `cbor:"15,keyasint,omitempty"`
	// Imported tells that the key was made elsewhere.
	Imported bool `cbor:"16,keyasint,omitempty"`
	// DestroyAt is when the version will be destroyed; 0 means not scheduled. A version that waits for it is not used any
	// more, so that whoever still needs it notices before it is gone. DestroyedAt is when it was destroyed: then nothing of
	// its secret is left in the record.
	DestroyAt   int64 `cbor:"17,keyasint,omitempty"`
	DestroyedAt int64 `cbor:"18,keyasint,omitempty"`
	// Reason is why the version is in its state, in the words of who put it there.
	Reason string `cbor:"19,keyasint,omitempty"`
}

// The longest material of a version, in bytes, with room over the largest: a sealed SLH-DSA or RSA-4096 private key.
const (
	maxPublic = 4096
	maxSecret = 8192
)

// Derived reports whether the version's key is derived from the master key, not stored.
func (v *Version) Derived() bool { return len(v.Sealed) == 0 && len(v.Wrapped) == 0 }

var idPattern = regexp.MustCompile(`^key_[a-z][a-z0-9-]{0,63}_[0-9a-f]{16}$`)

// NewID returns the id of a version of a context, from 8 random bytes.
func NewID(context string, random [8]byte) string {
	return "key_" + context + "_" + hex.EncodeToString(random[:])
}

// Validate reports the first thing that makes the record impossible.
func (v *Version) Validate() error {
	switch {
	case !idPattern.MatchString(v.ID):
		return fmt.Errorf("key version id %q has not the form key_<context>_<16 hex>", v.ID)
	case v.Tenant == "" || v.Context == "":
		return fmt.Errorf("key version %s names no tenant or no context", v.ID)
	case v.Number == 0:
		return fmt.Errorf("key version %s has number 0", v.ID)
	case v.State == StateUnknown || v.State > Destroyed:
		return fmt.Errorf("key version %s has an unknown state", v.ID)
	case len(v.Salt) != 0 && len(v.Salt) != SaltBytes:
		return fmt.Errorf("key version %s has a salt of %d bytes", v.ID, len(v.Salt))
	case v.Leased > GCMRandomNonceLimit:
		return fmt.Errorf("key version %s has leased more than its limit", v.ID)
	}
	row, ok := algs.Lookup(v.Algorithm)
	if !ok || row.ReadOnly {
		return fmt.Errorf("key version %s has algorithm %q, which no key is made for", v.ID, v.Algorithm)
	}
	if v.State == Destroyed {
		return v.validateDestroyed()
	}
	if v.Object != "" {
		return v.validateObject()
	}
	return v.validateContext(row)
}

// Allows reports whether the version may be used for a class of operations. Compromised tells that the subject may process
// with compromised versions (permission key:process-compromised).
func (v *Version) Allows(c Class, compromised bool) bool {
	if v.DestroyAt != 0 {
		return false
	}
	return v.State.Allows(c) || compromised && v.State == Compromised && c == Process
}

// Destroy returns the record without its secret.
func (v *Version) Destroy(at int64) *Version {
	gone := *v
	gone.State, gone.DestroyAt, gone.DestroyedAt = Destroyed, 0, at
	gone.Salt, gone.Sealed, gone.Wrapped = nil, nil, nil
	return &gone
}

// validateDestroyed holds what is true of a version that was destroyed.
func (v *Version) validateDestroyed() error {
	if len(v.Salt) != 0 || !v.Derived() || v.DestroyAt != 0 || v.DestroyedAt == 0 {
		return fmt.Errorf("key version %s is destroyed and has key material left", v.ID)
	}
	return v.validateSizes()
}

// validateContext holds what is true of a version of a context's own key.
func (v *Version) validateContext(row algs.Row) error {
	// Format 3 takes the derived key itself, format 4 derives each message's from one of 256 bits.
	if v.Bits != row.KeyBits && v.Bits != DEKBits {
		return fmt.Errorf("key version %s has algorithm %q with %d bits", v.ID, v.Algorithm, v.Bits)
	}
	switch row.Class {
	case algs.ClassAEAD:
		if !v.Derived() || len(v.Public) != 0 {
			return fmt.Errorf("key version %s has a derived key and stored material", v.ID)
		}
	case algs.ClassHybrid:
		if len(v.Sealed) == 0 || len(v.Wrapped) != 0 || len(v.Public) == 0 || len(v.Salt) != 0 {
			return fmt.Errorf("key version %s lacks its key pair", v.ID)
		}
	default:
		return fmt.Errorf("key version %s has algorithm %q, which encrypts no data", v.ID, v.Algorithm)
	}
	return v.validateSizes()
}

// validateObject holds what is true of a version of a key object.
func (v *Version) validateObject() error {
	switch {
	case !ValidName(v.Object):
		return fmt.Errorf("key version %s belongs to a key of the impossible name %q", v.ID, v.Object)
	case (len(v.Sealed) == 0) == (len(v.Wrapped) == 0):
		return fmt.Errorf("key version %s has not exactly one of a sealed and a wrapped key", v.ID)
	case len(v.Salt) != 0:
		return fmt.Errorf("key version %s has a salt and a stored key", v.ID)
	}
	return v.validateSizes()
}

func (v *Version) validateSizes() error {
	if len(v.Public) > maxPublic || len(v.Sealed) > maxSecret || len(v.Wrapped) > maxSecret {
		return fmt.Errorf("key version %s has more material than any key", v.ID)
	}
	return nil
}
