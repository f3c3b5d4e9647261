// Package algs is the table of algorithms: one row each, and every decision about an algorithm reads a row.
package algs

// Name is an algorithm's name as it stands in requests, records and ciphertext headers.
type Name string

// AES256GCM is AES-256 in Galois/Counter Mode with a 12-byte nonce and a 16-byte tag.
const AES256GCM Name = "AES-256-GCM"

// Class groups algorithms by what they do. The zero Class is unknown and refused.
type Class uint8

// The classes.
const (
	ClassUnknown Class = iota
	ClassAEAD
)

// Runs tells where an algorithm is computed. The zero value is unknown.
type Runs uint8

// Where an algorithm runs.
const (
	RunsUnknown Runs = iota
	RunsModule       // the Go Cryptographic Module
)

// Row describes one algorithm. Approved is about the algorithm; Runs tells which implementation computes it: the two are
// different claims.
type Row struct {
	Name         Name
	Class        Class
	KeyBits      uint16
	SecurityBits uint16
	QuantumSafe  bool
	Source       string
	Approved     bool
	Runs         Runs
}

var rows = []Row{
	{Name: AES256GCM, Class: ClassAEAD, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-38D", Approved: true, Runs: RunsModule},
}

// Rows returns the table in its order. The caller must not change it.
func Rows() []Row { return rows }

// Lookup returns the row of a name. An unknown name is refused by every caller.
func Lookup(name Name) (Row, bool) {
	for _, r := range rows {
		if r.Name == name {
			return r, true
		}
	}
	return Row{}, false
}
