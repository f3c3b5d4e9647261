package algs

import "fmt"

// Mode is how the appliance treats algorithms that are not approved. The zero Mode is Disabled, which restricts nothing.
type Mode uint8

// The FIPS modes: specification section 10.1.
const (
	Disabled  Mode = iota
	Preferred      // chooses approved algorithms where it may choose, and warns of others
	Enabled        // refuses others
)

func (m Mode) String() string {
	switch m {
	case Enabled:
		return "enabled"
	case Preferred:
		return "preferred"
	default:
		return "disabled"
	}
}

// ParseMode returns the mode with this name. Empty means disabled.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "", "disabled":
		return Disabled, nil
	case "preferred":
		return Preferred, nil
	case "enabled":
		return Enabled, nil
	default:
		return Enabled, fmt.Errorf("%q is none of disabled, preferred, enabled", s)
	}
}

// sourceModule is what crypto/fips140 calls a module that is not a frozen version but the source of the toolchain.
const sourceModule = "latest"

// FrozenModule reports whether a version of the Go Cryptographic Module is one that was frozen for validation.
func FrozenModule(version string) bool { return version != sourceModule && version != "" }

// Validated reports whether a module of this version, in its FIPS mode or not, computes an algorithm as it was frozen for
// validation. Whether its certificate is valid today is for the list of the CMVP to say.
func (r Row) Validated(enabled bool, version string) bool {
	return r.Runs == RunsModule && enabled && FrozenModule(version)
}

// Use is what an algorithm is wanted for: to apply protection, or to process what is already protected. The zero Use is
// unknown and asks for both.
type Use uint8

// The uses.
const (
	UseUnknown Use = iota
	Protect
	Process
)

// Allows reports whether the mode lets an algorithm be used so.
func (m Mode) Allows(r Row, u Use) bool {
	switch {
	case m != Enabled:
		return true
	case u == Process:
		return r.Approval != NotApproved
	default:
		return r.Approval == Approved
	}
}

// Choose returns the algorithm to take where the caller named none and name is the default: an approved one unless the mode
// is Disabled.
func (m Mode) Choose(name Name) Name {
	if r, ok := Lookup(name); ok && m != Disabled && r.Approval != Approved && r.Instead != "" {
		return r.Instead
	}
	return name
}

// Warning returns what the mode has to say about an algorithm that it lets pass, empty when nothing.
func (m Mode) Warning(r Row) string {
	if m == Preferred && r.Approval != Approved {
		return string(r.Name) + " is not a FIPS-approved algorithm"
	}
	return ""
}
