package keys

import (
	"fmt"
	"regexp"

	"cryptoserve/engine/algs"
)

// Purpose is what a key object is for. A key has one: SP 800-57 part 1, section 5.2. The zero Purpose is unknown.
type Purpose uint8

// The purposes. The numbers are persisted: never change or reuse one.
const (
	PurposeUnknown Purpose = 0
	PurposeSign    Purpose = 1
	PurposeMAC     Purpose = 2
	PurposeKEM     Purpose = 3
	PurposeAgree   Purpose = 4
	PurposeEncrypt Purpose = 5
)

var purposeNames = [...]string{"unknown", "sign", "mac", "kem", "agree", "encrypt"}

func (p Purpose) String() string {
	if int(p) >= len(purposeNames) {
		return purposeNames[PurposeUnknown]
	}
	return purposeNames[p]
}

// ParsePurpose returns the purpose of this name, PurposeUnknown when there is none.
func ParsePurpose(name string) Purpose {
	for i, n := range purposeNames {
		if i > 0 && n == name {
			return Purpose(i)
		}
	}
	return PurposeUnknown
}

// purposeOf is what each class of algorithm may be the key of.
var purposeOf = map[algs.Class]Purpose{
	algs.ClassSignature:        PurposeSign,
	algs.ClassMAC:              PurposeMAC,
	algs.ClassKEM:              PurposeKEM,
	algs.ClassAgreement:        PurposeAgree,
	algs.ClassPublicEncryption: PurposeEncrypt,
	// Data is encrypted under contexts; a symmetric key object serves to do it inside the token.
	algs.ClassAEAD: PurposeEncrypt,
}

// PurposeOf returns the purpose that keys of an algorithm have, PurposeUnknown when there are no such keys.
func PurposeOf(row algs.Row) Purpose {
	if row.ReadOnly {
		return PurposeUnknown
	}
	return purposeOf[row.Class]
}

// Protection tells where a key is used. The zero Protection is unknown.
type Protection uint8

// The protections: DESIGN section 3.3. The numbers are persisted.
const (
	ProtectionUnknown Protection = 0
	Host              Protection = 1 // sealed at rest, opened in the node's memory for use
	Token             Protection = 2 // made in, used in and never in clear outside a token
)

func (p Protection) String() string {
	switch p {
	case Host:
		return "host"
	case Token:
		return "hsm"
	default:
		return "unknown"
	}
}

// ParseProtection returns the protection of this name, ProtectionUnknown when there is none.
func ParseProtection(name string) Protection {
	switch name {
	case "host":
		return Host
	case "hsm":
		return Token
	default:
		return ProtectionUnknown
	}
}

// NameMax is the longest name of a key object.
const NameMax = 64

var objectName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// ValidName reports whether a name may be a key object's: a lower-case letter, then letters, digits and hyphens, 64 at most.
func ValidName(name string) bool { return objectName.MatchString(name) }

// Object is a key with a name of its own: it belongs to a context of a tenant, whose grants tell who may use it, and has
// versions, of which one protects. Its name is unique in the tenant. Records are replaced, never changed in place.
type Object struct {
	Tenant      string     `cbor:"1,keyasint"`
	Name        string     `cbor:"2,keyasint"`
	Context     string     `cbor:"3,keyasint"`
	Purpose     Purpose    `cbor:"4,keyasint"`
	Algorithm   algs.Name  `cbor:"5,keyasint"`
	Protection  Protection `cbor:"6,keyasint"`
	Disabled    bool       `cbor:"7,keyasint,omitempty"`
	ActiveKey   string     `cbor:"8,keyasint"` // id of the version that protects
	Versions    uint32     `cbor:"9,keyasint"` // number of the newest version
	CreatedAt   int64      `cbor:"10,keyasint"`
	Description string     `cbor:"11,keyasint,omitempty"`
	// MinimumVersion closes the versions with lower numbers: they process nothing any more. RotationDays rotates the key by
	// itself at that age; 0 means never.
	MinimumVersion uint32 `cbor:"12,keyasint,omitempty"`
	RotationDays   uint16 `cbor:"13,keyasint,omitempty"`
}

// DescriptionMax is the longest description, in bytes.
const DescriptionMax = 256

// Validate reports the first thing that makes the record impossible.
func (o *Object) Validate() error {
	row, ok := algs.Lookup(o.Algorithm)
	switch {
	case o.Tenant == "" || o.Context == "":
		return fmt.Errorf("key %q names no tenant or no context", o.Name)
	case !ValidName(o.Name):
		return fmt.Errorf("key name %q is not a lower-case letter followed by letters, digits and hyphens, 64 at most", o.Name)
	case !ok || PurposeOf(row) == PurposeUnknown:
		return fmt.Errorf("key %s has the algorithm %q, which no key is made for", o.Name, o.Algorithm)
	case o.Purpose != PurposeOf(row):
		return fmt.Errorf("key %s has the purpose %s, and %s is for %s: leave the purpose out, or name another algorithm", o.Name, o.Purpose, o.Algorithm, PurposeOf(row))
	case o.Protection != Host && o.Protection != Token:
		return fmt.Errorf("key %s has an unknown protection", o.Name)
	case row.Class == algs.ClassAEAD && o.Protection != Token:
		return fmt.Errorf("key %s encrypts data on the node, which contexts are for: choose protection hsm, or encrypt in a context", o.Name)
	case len(o.Description) > DescriptionMax:
		return fmt.Errorf("key %s has a description of more than %d bytes", o.Name, DescriptionMax)
	}
	return nil
}
