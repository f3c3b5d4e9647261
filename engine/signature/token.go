package signature

import (
	"bytes"
	"crypto/sha512"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// Digest returns what a key inside a token signs for a message, and the hash function it was made with. Only ECDSA and RSA
// keys sign digests; for the others, and for options that do not fit, the error is fault.Malformed. ECDSA takes the
// leftmost bits of a digest that is longer than its curve (FIPS 186-5 section 6.4.1): the token does that, or its driver.
func Digest(name algs.Name, message []byte, o Options) (digest []byte, hash algs.Name, err error) {
	const op = "signature.Digest"
	c, err := find(op, name)
	if err != nil {
		return nil, "", err
	}
	switch c.(type) {
	case *ecdsaScheme, rsaScheme:
	default:
		return nil, "", malformed(op, "algorithm", "signs messages, not digests")
	}
	s, err := c.settle(op, o)
	if err != nil {
		return nil, "", err
	}
	if err := s.checkDigest(op, message); err != nil {
		return nil, "", err
	}
	var buf [sha512.Size]byte
	return bytes.Clone(s.digest(&buf, message)), hashName(s.hash), nil
}

// FromToken returns a signature that a token made in the form that Sign would have given it. Tokens write ECDSA signatures
// as r || s (PKCS#11 v3.0 section 2.3.1); those of RSA have one form. A length that cannot be, which is the token's fault, is
// fault.HSMUnavailable. It does not verify.
func FromToken(name algs.Name, raw []byte, format Format) ([]byte, error) {
	const op = "signature.FromToken"
	c, err := find(op, name)
	if err != nil {
		return nil, err
	}
	switch c := c.(type) {
	case *ecdsaScheme:
		if len(raw) != 2*c.order {
			return nil, fault.New(fault.HSMUnavailable, op, "the token made a signature of the wrong length")
		}
		if format == FormatRaw {
			return bytes.Clone(raw), nil
		}
		return c.derFromRaw(raw)
	case rsaScheme:
		if format == FormatDER {
			return nil, malformed(op, "signature_format", "der is only for ECDSA")
		}
		if len(raw) != c.bits/8 {
			return nil, fault.New(fault.HSMUnavailable, op, "the token made a signature of the wrong length")
		}
		return bytes.Clone(raw), nil
	default:
		return nil, malformed(op, "algorithm", "is not one of a token")
	}
}
