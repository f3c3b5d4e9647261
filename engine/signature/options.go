package signature

import (
	"crypto"
	"crypto/sha256"
	_ "crypto/sha3" // registers SHA3-256, SHA3-384 and SHA3-512
	"crypto/sha512"
	"errors"
	"strconv"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// ErrInvalid is the one answer for every signature that does not verify: of another key, message, algorithm or form.
var ErrInvalid = errors.New("signature: not valid")

// maxContext is the longest context string: FIPS 204 section 5.2, FIPS 205 section 10.2.
const maxContext = 255

// Format is how the two numbers of an ECDSA signature are written. Other signatures have one form, which is raw.
type Format uint8

// The formats.
const (
	FormatDefault Format = iota // DER for ECDSA
	FormatDER                   // ECDSA-Sig-Value: RFC 3279 section 2.2.3
	FormatRaw                   // r || s, each as long as the curve's order: IEEE P1363, RFC 7518 section 3.4
)

func (f Format) String() string {
	switch f {
	case FormatDER:
		return "der"
	case FormatRaw:
		return "raw"
	default:
		return ""
	}
}

// ParseFormat returns the format that a request names; empty is the default. An unknown one is fault.Malformed.
func ParseFormat(s string) (Format, error) {
	switch s {
	case "":
		return FormatDefault, nil
	case "der":
		return FormatDER, nil
	case "raw":
		return FormatRaw, nil
	default:
		return FormatDefault, malformed("signature.ParseFormat", "signature_format", "is neither der nor raw")
	}
}

// Options say how a message is signed. The zero Options are right for every algorithm.
type Options struct {
	// Hash is the hash function of ECDSA and RSA; empty means the default of the algorithm. The others choose their own, and
	// may only be told what they use.
	Hash algs.Name
	// Prehashed means that the message is already the digest.
	Prehashed bool
	// Format is that of an ECDSA signature.
	Format Format
	// Context is the context string of ML-DSA, SLH-DSA and the hybrid, at most 255 bytes. If empty, there is none.
	Context []byte
}

// settings are Options that a scheme has checked and completed.
type settings struct {
	hash      crypto.Hash // 0 where the algorithm hashes by itself
	prehashed bool
	raw       bool
	context   []byte
	// deterministic drops the randomness of ML-DSA and SLH-DSA, so that tests can compare with vectors.
	deterministic bool
}

// hashes are those that ECDSA and RSA take.
var hashes = map[algs.Name]crypto.Hash{
	algs.SHA256:   crypto.SHA256,
	algs.SHA384:   crypto.SHA384,
	algs.SHA512:   crypto.SHA512,
	algs.SHA3_256: crypto.SHA3_256,
	algs.SHA3_384: crypto.SHA3_384,
	algs.SHA3_512: crypto.SHA3_512,
}

// hashName is the inverse of hashes.
func hashName(h crypto.Hash) algs.Name {
	for name, hash := range hashes {
		if hash == h {
			return name
		}
	}
	return ""
}

// hashed completes the settings of ECDSA and RSA: the hash is that of the options or the default, and has at least so
// many bytes.
func hashed(op string, o Options, byDefault algs.Name, least int) (settings, error) {
	name := o.Hash
	if name == "" {
		name = byDefault
	}
	hash, ok := hashes[name]
	if !ok {
		return settings{}, malformed(op, "hash", "is none of SHA-256, SHA-384, SHA-512, SHA3-256, SHA3-384 and SHA3-512")
	}
	if hash.Size() < least {
		return settings{}, malformed(op, "hash", "is weaker than the curve: at least "+strconv.Itoa(8*least)+" bits are wanted")
	}
	if len(o.Context) != 0 {
		return settings{}, malformed(op, "signature_context", "is only for ML-DSA, SLH-DSA and the hybrid")
	}
	return settings{hash: hash, prehashed: o.Prehashed}, nil
}

// selfHashing completes the settings of an algorithm that chooses its own hash. digest names the one hash that Prehashed
// may stand for, empty when the algorithm does not sign digests.
func selfHashing(op string, o Options, digest algs.Name, contexts bool) (settings, error) {
	switch {
	case o.Prehashed && digest == "":
		return settings{}, malformed(op, "prehashed", "is not offered by the algorithm: it signs whole messages only")
	case o.Hash != "" && (o.Hash != digest || !o.Prehashed):
		return settings{}, malformed(op, "hash", "is not a choice with this algorithm")
	case len(o.Context) != 0 && !contexts:
		return settings{}, malformed(op, "signature_context", "is only for ML-DSA, SLH-DSA and the hybrid")
	case len(o.Context) > maxContext:
		return settings{}, malformed(op, "signature_context", "is longer than 255 bytes")
	case o.Format == FormatDER:
		return settings{}, malformed(op, "signature_format", "der is only for ECDSA")
	}
	s := settings{prehashed: o.Prehashed, raw: true, context: o.Context}
	if o.Prehashed {
		s.hash = hashes[digest]
	}
	return s, nil
}

// checkDigest refuses a message that cannot be the digest it is said to be.
func (s settings) checkDigest(op string, message []byte) error {
	if s.prehashed && len(message) != s.hash.Size() {
		return malformed(op, "message", "is not as long as a digest of "+string(hashName(s.hash)))
	}
	return nil
}

// digest returns what ECDSA and RSA sign. buf may hold the result.
func (s settings) digest(buf *[sha512.Size]byte, message []byte) []byte {
	if s.prehashed {
		return message
	}
	switch s.hash {
	case crypto.SHA256:
		d := sha256.Sum256(message)
		return append(buf[:0], d[:]...)
	case crypto.SHA512:
		*buf = sha512.Sum512(message)
		return buf[:]
	default:
		h := s.hash.New()
		h.Write(message)
		return h.Sum(buf[:0])
	}
}

func malformed(op, field, detail string) error {
	fields := []fault.Field{{Name: field, Detail: detail}}
	return &fault.Error{Kind: fault.Malformed, Op: op, Detail: field + " " + detail, Fields: fields}
}
