// Package keys holds what the appliance knows about a key: the record of each key version, its states and the table of
// what each state allows. It holds no key material.
package keys

import (
	"encoding/hex"
	"fmt"
	"regexp"

	"cryptoserve/engine/algs"
)

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
}

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
	if !ok || row.KeyBits != v.Bits {
		return fmt.Errorf("key version %s has algorithm %q with %d bits", v.ID, v.Algorithm, v.Bits)
	}
	return nil
}
