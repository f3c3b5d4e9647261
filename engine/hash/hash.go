package hash

import (
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"fmt"
	stdhash "hash"

	"golang.org/x/crypto/blake2b"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// MaxOutputBytes is the longest output that the SHAKE functions are asked for.
const MaxOutputBytes = 64 << 10

// OutputBytes returns the length of an algorithm's digest in bytes, for a SHAKE function the usual one, and whether the
// caller may ask for another. It is 0 for a name that is not a hash function.
func OutputBytes(name algs.Name) (n int, variable bool) {
	switch name {
	case algs.SHA224, algs.SHA3_224:
		return 28, false
	case algs.SHA256, algs.SHA512_256, algs.SHA3_256, algs.BLAKE2b256:
		return 32, false
	case algs.SHA384, algs.SHA3_384:
		return 48, false
	case algs.SHA512, algs.SHA3_512, algs.BLAKE2b512:
		return 64, false
	case algs.SHAKE128:
		return 32, true
	case algs.SHAKE256:
		return 64, true
	default:
		return 0, false
	}
}

// Sum returns the digest of data. outputBytes is the digest's length, 0 for that of OutputBytes; only the SHAKE functions
// have others, 1 to MaxOutputBytes. It returns fault.Malformed for a name that is not a hash function and for a length
// that the function does not have.
func Sum(name algs.Name, data []byte, outputBytes int) ([]byte, error) {
	n, err := length("hash.sum", name, outputBytes)
	if err != nil {
		return nil, err
	}
	// The fixed functions have calls that need no state on the heap.
	switch name {
	case algs.SHA224:
		d := sha256.Sum224(data)
		return d[:], nil
	case algs.SHA256:
		d := sha256.Sum256(data)
		return d[:], nil
	case algs.SHA384:
		d := sha512.Sum384(data)
		return d[:], nil
	case algs.SHA512:
		d := sha512.Sum512(data)
		return d[:], nil
	case algs.SHA512_256:
		d := sha512.Sum512_256(data)
		return d[:], nil
	case algs.SHA3_224:
		d := sha3.Sum224(data)
		return d[:], nil
	case algs.SHA3_256:
		d := sha3.Sum256(data)
		return d[:], nil
	case algs.SHA3_384:
		d := sha3.Sum384(data)
		return d[:], nil
	case algs.SHA3_512:
		d := sha3.Sum512(data)
		return d[:], nil
	case algs.SHAKE128:
		return sha3.SumSHAKE128(data, n), nil
	case algs.SHAKE256:
		return sha3.SumSHAKE256(data, n), nil
	case algs.BLAKE2b256:
		d := blake2b.Sum256(data)
		return d[:], nil
	case algs.BLAKE2b512:
		d := blake2b.Sum512(data)
		return d[:], nil
	default:
		return nil, fault.New(fault.Internal, "hash.sum", "the hash function has no implementation")
	}
}

// Stream computes one digest of data that arrives in parts. One goroutine uses it at a time.
type Stream struct {
	fixed stdhash.Hash
	shake *sha3.SHAKE
	bytes int
	done  bool
}

// New returns a Stream. outputBytes and errors are those of Sum.
func New(name algs.Name, outputBytes int) (*Stream, error) {
	n, err := length("hash.new", name, outputBytes)
	if err != nil {
		return nil, err
	}
	s := &Stream{bytes: n}
	switch name {
	case algs.SHA224:
		s.fixed = sha256.New224()
	case algs.SHA256:
		s.fixed = sha256.New()
	case algs.SHA384:
		s.fixed = sha512.New384()
	case algs.SHA512:
		s.fixed = sha512.New()
	case algs.SHA512_256:
		s.fixed = sha512.New512_256()
	case algs.SHA3_224:
		s.fixed = sha3.New224()
	case algs.SHA3_256:
		s.fixed = sha3.New256()
	case algs.SHA3_384:
		s.fixed = sha3.New384()
	case algs.SHA3_512:
		s.fixed = sha3.New512()
	case algs.SHAKE128:
		s.shake = sha3.NewSHAKE128()
	case algs.SHAKE256:
		s.shake = sha3.NewSHAKE256()
	case algs.BLAKE2b256:
		s.fixed, err = blake2b.New256(nil)
	case algs.BLAKE2b512:
		s.fixed, err = blake2b.New512(nil)
	default:
		return nil, fault.New(fault.Internal, "hash.new", "the hash function has no implementation")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "hash.new", "", err)
	}
	return s, nil
}

// Write adds data. It fails only after Sum, with fault.Internal.
func (s *Stream) Write(p []byte) (int, error) {
	if s.done {
		return 0, fault.New(fault.Internal, "hash.write", "the digest has been taken already")
	}
	if s.shake != nil {
		return s.shake.Write(p)
	}
	return s.fixed.Write(p)
}

// Sum ends the stream and returns the digest, or nil when it was taken before.
func (s *Stream) Sum() []byte {
	if s.done {
		return nil
	}
	s.done = true
	if s.shake == nil {
		return s.fixed.Sum(make([]byte, 0, s.bytes))
	}
	d := make([]byte, s.bytes)
	_, _ = s.shake.Read(d) // never fails: FIPS 202 sets no limit to the output
	return d
}

// length returns how many bytes of output are meant.
func length(op string, name algs.Name, asked int) (int, error) {
	n, variable := OutputBytes(name)
	switch {
	case n == 0:
		return 0, malformed(op, "algorithm", "not a hash function that this service has")
	case asked == 0 || asked == n:
		return n, nil
	case !variable:
		return 0, malformed(op, "output_bytes", fmt.Sprintf("%s has %d bytes", name, n))
	case asked < 0 || asked > MaxOutputBytes:
		return 0, malformed(op, "output_bytes", fmt.Sprintf("1 to %d", MaxOutputBytes))
	default:
		return asked, nil
	}
}

func malformed(op, field, detail string) *fault.Error {
	return &fault.Error{
		Kind: fault.Malformed, Op: op, Detail: "the hash cannot be computed as asked",
		Fields: []fault.Field{{Name: field, Detail: detail}},
	}
}
