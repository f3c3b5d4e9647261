package mac

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"hash"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// The limits of tags and customization strings, in bytes.
const (
	MinTagBytes           = 16
	MaxTagBytes           = 64 << 10 // of KMAC
	MaxCustomizationBytes = 1024
)

// Options are what an algorithm takes besides key and message. The zero value is right for all of them.
type Options struct {
	// Customization separates uses of one KMAC key (S in SP 800-185). The other algorithms have none.
	Customization []byte
	// OutputBytes is the length of the tag; 0 means that of TagBytes. At least MinTagBytes; at most the length of the hash
	// for HMAC, 16 for CMAC, MaxTagBytes for KMAC.
	OutputBytes int
}

// algorithm is what the package knows of one row.
type algorithm struct {
	tagBytes int // the usual length
	maxBytes int
	custom   bool
	// start returns the computation for a key of any length that the algorithm can take, and a tag of n bytes.
	start func(key, customization []byte, n int) (computation, error)
}

// computation is one MAC being computed. sum may be called once and returns at least the n bytes that start was given.
type computation interface {
	write(p []byte)
	sum() []byte
}

// algorithms is made once: a tag should not pay for closures.
var algorithms = map[algs.Name]algorithm{
	algs.HMACSHA256:   {tagBytes: 32, maxBytes: 32, start: startHMAC(sha256.New)},
	algs.HMACSHA384:   {tagBytes: 48, maxBytes: 48, start: startHMAC(sha512.New384)},
	algs.HMACSHA512:   {tagBytes: 64, maxBytes: 64, start: startHMAC(sha512.New)},
	algs.HMACSHA3_256: {tagBytes: 32, maxBytes: 32, start: startHMAC(newSHA3)},
	algs.AES128CMAC:   {tagBytes: 16, maxBytes: 16, start: startCMAC},
	algs.AES256CMAC:   {tagBytes: 16, maxBytes: 16, start: startCMAC},
	algs.KMAC128:      {tagBytes: 32, maxBytes: MaxTagBytes, custom: true, start: startKMAC(sha3.NewCSHAKE128)},
	algs.KMAC256:      {tagBytes: 64, maxBytes: MaxTagBytes, custom: true, start: startKMAC(sha3.NewCSHAKE256)},
}

// KeyBytes returns the length of an algorithm's key in bytes, that of its row; 0 for a name that is not a MAC.
func KeyBytes(name algs.Name) int {
	row, ok := algs.Of(name, algs.ClassMAC)
	if !ok {
		return 0
	}
	return int(row.KeyBits) / 8
}

// TagBytes returns the usual length of an algorithm's tag in bytes; 0 for a name that is not a MAC.
func TagBytes(name algs.Name) int {
	return algorithms[name].tagBytes
}

// Sum returns the tag of a message. The key must have exactly KeyBytes. It returns fault.Malformed, naming the field, for
// anything that the algorithm does not take.
func Sum(name algs.Name, key, message []byte, o Options) ([]byte, error) {
	s, err := start("mac.sum", name, key, o)
	if err != nil {
		return nil, err
	}
	s.c.write(message)
	return s.Sum(), nil
}

// Verify reports whether tag is the message's, in a time that does not depend on where they differ. A tag of another length
// than the options ask for is not. Errors are those of Sum.
func Verify(name algs.Name, key, message, tag []byte, o Options) (bool, error) {
	s, err := start("mac.verify", name, key, o)
	if err != nil {
		return false, err
	}
	s.c.write(message)
	return s.Verify(tag), nil
}

// Stream computes one tag of a message that arrives in parts. One goroutine uses it at a time.
type Stream struct {
	c     computation
	bytes int
	done  bool
}

// New returns a Stream. Key, options and errors are those of Sum.
func New(name algs.Name, key []byte, o Options) (*Stream, error) {
	return start("mac.new", name, key, o)
}

// Write adds to the message. It fails only after Sum or Verify, with fault.Internal.
func (s *Stream) Write(p []byte) (int, error) {
	if s.done {
		return 0, fault.New(fault.Internal, "mac.write", "the tag has been taken already")
	}
	s.c.write(p)
	return len(p), nil
}

// Sum ends the stream and returns the tag, or nil when the stream was ended before.
func (s *Stream) Sum() []byte {
	if s.done {
		return nil
	}
	s.done = true
	return s.c.sum()[:s.bytes]
}

// Verify ends the stream and reports whether tag is the message's, as the function Verify does. It is false when the stream
// was ended before.
func (s *Stream) Verify(tag []byte) bool {
	want := s.Sum()
	return want != nil && subtle.ConstantTimeCompare(tag, want) == 1
}

// start checks what the caller gave and returns a stream.
func start(op string, name algs.Name, key []byte, o Options) (*Stream, error) {
	a, ok := algorithms[name]
	if !ok {
		return nil, malformed(op, "algorithm", "not a message authentication code that this service has")
	}
	if len(key) != KeyBytes(name) {
		return nil, malformed(op, "key", fmt.Sprintf("%s takes a key of %d bytes", name, KeyBytes(name)))
	}
	n, err := Length(name, o)
	if err != nil {
		return nil, err
	}
	o.OutputBytes = n
	return unchecked(op, a, key, o)
}

// Length returns how many bytes a tag with these options has. Errors are those of Sum.
func Length(name algs.Name, o Options) (int, error) {
	const op = "mac.length"
	a, ok := algorithms[name]
	switch {
	case !ok:
		return 0, malformed(op, "algorithm", "not a message authentication code that this service has")
	case !a.custom && len(o.Customization) > 0:
		return 0, malformed(op, "customization", fmt.Sprintf("%s has none", name))
	case len(o.Customization) > MaxCustomizationBytes:
		return 0, malformed(op, "customization", fmt.Sprintf("%d bytes at most", MaxCustomizationBytes))
	case o.OutputBytes == 0:
		return a.tagBytes, nil
	case o.OutputBytes < MinTagBytes || o.OutputBytes > a.maxBytes:
		return 0, malformed(op, "output_bytes", fmt.Sprintf("%d to %d", MinTagBytes, a.maxBytes))
	default:
		return o.OutputBytes, nil
	}
}

// unchecked returns a stream for a key of any length that the algorithm can take.
func unchecked(op string, a algorithm, key []byte, o Options) (*Stream, error) {
	c, err := a.start(key, o.Customization, o.OutputBytes)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return &Stream{c: c, bytes: o.OutputBytes}, nil
}

func malformed(op, field, detail string) *fault.Error {
	return &fault.Error{
		Kind: fault.Malformed, Op: op, Detail: "the message authentication code cannot be computed as asked",
		Fields: []fault.Field{{Name: field, Detail: detail}},
	}
}

// hmacs is crypto/hmac as a computation.
type hmacs struct{ h hash.Hash }

func startHMAC(newHash func() hash.Hash) func(key, _ []byte, _ int) (computation, error) {
	return func(key, _ []byte, _ int) (computation, error) { return hmacs{hmac.New(newHash, key)}, nil }
}

func (m hmacs) write(p []byte) { _, _ = m.h.Write(p) } // hash.Hash documents that it never fails
func (m hmacs) sum() []byte    { return m.h.Sum(nil) }

func newSHA3() hash.Hash { return sha3.New256() }
