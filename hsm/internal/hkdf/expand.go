// Package hkdf is HKDF-Expand (RFC 5869 section 2.3) over a MAC that is computed elsewhere, for a key that stays there.
package hkdf

import (
	"crypto/sha256"
	"fmt"
)

// MaxLength is the most that Expand can give: 255 blocks of 32 bytes.
const MaxLength = 255 * sha256.Size

// Expand returns n bytes, 1 to MaxLength, of HKDF-Expand-SHA256 with the key of mac as PRK and info as context.
// mac returns HMAC-SHA256 of its argument, 32 bytes in a slice that Expand may overwrite.
//
//	T(0) = empty, T(i) = mac(T(i-1) || info || byte(i)), output = first n bytes of T(1) || T(2) || ...
//
// It is also the feedback-mode KDF of SP 800-108r1 section 4.2 with an empty IV and an 8-bit counter after the fixed
// input. On an error nothing of the output is returned and what was computed is overwritten.
func Expand(mac func(message []byte) ([]byte, error), info []byte, n int) ([]byte, error) {
	if n < 1 || n > MaxLength {
		return nil, fmt.Errorf("hkdf: length %d is not between 1 and %d", n, MaxLength)
	}
	out := make([]byte, 0, (n+sha256.Size-1)/sha256.Size*sha256.Size)
	message := make([]byte, 0, sha256.Size+len(info)+1)
	defer func() { clear(message[:cap(message)]) }()
	for i := 1; len(out) < n; i++ {
		message = append(append(message, info...), byte(i))
		t, err := mac(message)
		if err == nil && len(t) != sha256.Size {
			err = fmt.Errorf("hkdf: the MAC has %d bytes, not %d", len(t), sha256.Size)
		}
		if err != nil {
			clear(t)
			clear(out)
			return nil, err
		}
		out = append(out, t...)
		message = append(message[:0], t...)
		clear(t)
	}
	clear(out[n:])
	return out[:n:n], nil
}
