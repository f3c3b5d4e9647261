// Package secret holds key material that must not be printed, encoded or logged by accident.
//
// Every way Go has of turning a value into text gives the length only, or the address where fmt looks into another type's
// private field. The bytes come out of Reveal alone, so that a search for it lists each place where a secret is used.
package secret

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
)

// Bytes is a secret byte string. The zero value is an empty secret. It may be read by many goroutines, but Destroy must
// not run beside a reader.
type Bytes struct {
	p **[]byte // fmt follows one pointer when a verb does not fit, never two
}

// New takes ownership of b: the caller keeps no other reference to it.
func New(b []byte) Bytes {
	p := &b
	return Bytes{p: &p}
}

// Copy returns a secret with its own copy of b.
func Copy(b []byte) Bytes { return New(append([]byte(nil), b...)) }

// Reveal returns the bytes themselves, not a copy. They are valid until Destroy.
func (s Bytes) Reveal() []byte {
	if s.p == nil {
		return nil
	}
	return **s.p
}

// Len returns the length in bytes.
func (s Bytes) Len() int { return len(s.Reveal()) }

// Destroy overwrites the bytes with zeros. Copies that the runtime or a library made are out of its reach.
func (s Bytes) Destroy() {
	b := s.Reveal()
	clear(b)
	runtime.KeepAlive(b)
}

func (s Bytes) text() string { return "secret(" + strconv.Itoa(s.Len()) + " bytes)" }

// Format writes the length for every verb, never the bytes.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.text())) }

// String returns the length, never the bytes.
func (s Bytes) String() string { return s.text() }

// LogValue returns the length, never the bytes.
func (s Bytes) LogValue() slog.Value { return slog.StringValue(s.text()) }

var errEncode = errors.New("secret: a secret is not encoded")

// MarshalJSON refuses.
func (s Bytes) MarshalJSON() ([]byte, error) { return nil, errEncode }

// MarshalText refuses.
func (s Bytes) MarshalText() ([]byte, error) { return nil, errEncode }

// MarshalBinary refuses.
func (s Bytes) MarshalBinary() ([]byte, error) { return nil, errEncode }
