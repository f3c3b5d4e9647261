package keys

import (
	"fmt"
	"regexp"

	"cryptoserve/engine/algs"
)

// Import is a pair of keys that waits for a wrapped key: PKCS#11 v3.0 mechanism CKM_RSA_AES_KEY_WRAP. It serves once.
type Import struct {
	ID         string     `cbor:"1,keyasint"`
	Tenant     string     `cbor:"2,keyasint"`
	Protection Protection `cbor:"3,keyasint"`           // of the key to come
	Public     []byte     `cbor:"4,keyasint"`           // SubjectPublicKeyInfo in DER
	Sealed     []byte     `cbor:"5,keyasint,omitempty"` // the private half: PKCS#1 under the key-seal key, or
	Wrapped    []byte     `cbor:"6,keyasint,omitempty"` // a blob of the token
	Hash       algs.Name  `cbor:"7,keyasint"`           // of OAEP; the token decides it
	CreatedAt  int64      `cbor:"8,keyasint"`
	ExpiresAt  int64      `cbor:"9,keyasint"`
}

var importID = regexp.MustCompile(`^import_[0-9a-f]{16}$`)

// Validate reports the first thing that makes the record impossible.
func (i *Import) Validate() error {
	switch {
	case !importID.MatchString(i.ID) || i.Tenant == "":
		return fmt.Errorf("import %q has no valid id or names no tenant", i.ID)
	case i.Protection == Host && (len(i.Sealed) == 0 || len(i.Wrapped) != 0),
		i.Protection == Token && (len(i.Wrapped) == 0 || len(i.Sealed) != 0),
		i.Protection != Host && i.Protection != Token:
		return fmt.Errorf("import %s has no private half that fits its protection", i.ID)
	case len(i.Public) == 0 || len(i.Public) > maxPublic || len(i.Sealed) > maxSecret || len(i.Wrapped) > maxSecret:
		return fmt.Errorf("import %s has an impossible pair", i.ID)
	case i.ExpiresAt <= i.CreatedAt:
		return fmt.Errorf("import %s ends before it begins", i.ID)
	}
	return nil
}

// LegacyMaster is the master key of an imported deployment of the public original: HKDF-Extract of its master string and
// salt, as a token object. It belongs to the tenant that imported it.
type LegacyMaster struct {
	Number    uint32 `cbor:"1,keyasint"` // n of the token object cs-legacy-<n>, from 1
	Tenant    string `cbor:"2,keyasint"`
	KCV       []byte `cbor:"3,keyasint"` // key check value, 8 bytes
	Wrapped   []byte `cbor:"4,keyasint"` // for tokens that do not have the object
	CreatedAt int64  `cbor:"5,keyasint"`
}

// LegacyKey is one key version of an imported deployment. What it opens is bound to tenant and context by this record;
// it never protects.
type LegacyKey struct {
	Tenant  string `cbor:"1,keyasint"`
	KeyID   string `cbor:"2,keyasint"` // as the ciphertexts have it; unique in the tenant only
	Context string `cbor:"3,keyasint"`
	Master  uint32 `cbor:"4,keyasint"`
	// OriginalTenant and Number are what the original derived the key with: "{context}:{tenant}:v{number}:sz{bytes}".
	OriginalTenant string `cbor:"5,keyasint"`
	Number         uint32 `cbor:"6,keyasint"`
	State          State  `cbor:"7,keyasint"`
	CreatedAt      int64  `cbor:"8,keyasint"`
	// Algorithm and Sealed belong to a key pair of hybrid ciphertexts: the private half, in the expanded form of FIPS
	// 203, under the tenant's key-seal key.
	Algorithm algs.Name `cbor:"9,keyasint,omitempty"`
	Sealed    []byte    `cbor:"10,keyasint,omitempty"`
}

var legacyID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// Validate reports the first thing that makes the record impossible.
func (k *LegacyKey) Validate() error {
	switch {
	case !legacyID.MatchString(k.KeyID) || k.Tenant == "" || k.Context == "":
		return fmt.Errorf("imported key version %q has no valid id, or names no tenant or no context", k.KeyID)
	case len(k.OriginalTenant) > 128 || k.Number == 0:
		return fmt.Errorf("imported key version %s has an impossible tenant or number", k.KeyID)
	case k.State != Deactivated:
		return fmt.Errorf("imported key version %s is not deactivated: it only processes", k.KeyID)
	case (k.Algorithm == "") != (len(k.Sealed) == 0) || len(k.Sealed) > maxSecret:
		return fmt.Errorf("imported key version %s has half a key pair", k.KeyID)
	}
	if _, ok := algs.Of(k.Algorithm, algs.ClassHybrid); k.Algorithm != "" && !ok {
		return fmt.Errorf("imported key version %s has the algorithm %q", k.KeyID, k.Algorithm)
	}
	return nil
}
