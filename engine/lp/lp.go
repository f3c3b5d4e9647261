// Package lp writes byte strings so that a sequence of them can be read in one way only: each is preceded by its length.
// Every derivation and every associated data that joins several parts uses it.
package lp

import (
	"encoding/binary"
	"math"
)

// Append appends x to dst as uint16 big-endian length || x. It panics when x is longer than 65535 bytes: lengths are
// bounded where the parts are accepted, long before.
func Append[T string | []byte](dst []byte, x T) []byte {
	if len(x) > math.MaxUint16 {
		panic("lp: part longer than 65535 bytes")
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(x))) //nolint:gosec // checked above
	return append(dst, x...)
}
