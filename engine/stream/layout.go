package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"cryptoserve/engine/fault"
)

// Sizes in bytes, and the number of segments that a stream can have.
const (
	KeyBytes     = 32
	SegmentBytes = 65536 // of ciphertext, with the tag; for the first, with the header
	HeaderBytes  = 1 + saltBytes + prefixBytes
	MaxSegments  = 1<<32 - 1

	saltBytes   = 32
	prefixBytes = 7
	tagBytes    = 16
	nonceBytes  = 12
)

// ErrDamaged is the one answer for every stream that is not what a writer made under this key and associated data: changed,
// cut, extended, put together from others or of a length that no stream has. It tells nothing else.
var ErrDamaged = errors.New("stream: the ciphertext is damaged, or was sealed under another key or other associated data")

// ErrRange means a range that is no range (negative, or its end before its beginning) or begins behind the end of the
// plaintext. The second is said only when the last segment has proved where the end is.
var ErrRange error = &fault.Error{Kind: fault.Malformed, Op: "stream", Detail: "the range does not lie within the plaintext",
	Fields: []fault.Field{{Name: "range", Detail: "begins behind the end of the plaintext, or ends before it begins"}}}

// ErrTooLong means a plaintext that needs more than MaxSegments segments.
var ErrTooLong error = fault.New(fault.TooLarge, "stream", "a stream holds 256 TiB at most")

// CiphertextLength returns how many bytes the stream of a plaintext with this many bytes has, -1 when there is no such
// stream: for a negative length and for one that needs more than MaxSegments segments.
func CiphertextLength(plaintextLength int64) int64 { return standard.ciphertextLength(plaintextLength) }

// PlaintextLength returns how many bytes of plaintext a stream with this many bytes holds, ErrDamaged when no stream has
// this length. It is a claim until the last segment has been opened.
func PlaintextLength(ciphertextLength int64) (int64, error) {
	return standard.plaintextLength(ciphertextLength)
}

// layout is the sizes of a stream. All but tests use the standard one.
type layout struct {
	segment int64
	header  int64
}

var standard = layout{segment: SegmentBytes, header: HeaderBytes}

// The plaintext bytes in a full segment: the first, and each other.
func (l layout) firstRoom() int64 { return l.segment - l.header - tagBytes }
func (l layout) room() int64      { return l.segment - tagBytes }

func (l layout) ciphertextLength(plaintext int64) int64 {
	if plaintext < 0 {
		return -1
	}
	count := int64(1)
	if plaintext > l.firstRoom() {
		count += (plaintext-l.firstRoom()-1)/l.room() + 1
	}
	if count > MaxSegments {
		return -1
	}
	return l.header + plaintext + count*tagBytes // at most MaxSegments*segment: no overflow
}

func (l layout) plaintextLength(ciphertext int64) (int64, error) {
	count, err := l.segments(ciphertext)
	if err != nil {
		return 0, err
	}
	return ciphertext - l.header - count*tagBytes, nil
}

// segments returns how many segments a stream of this length has. Because the header counts to the first, segment i begins
// at i times the segment size.
func (l layout) segments(ciphertext int64) (int64, error) {
	if ciphertext < l.header+tagBytes {
		return 0, ErrDamaged
	}
	count := (ciphertext-1)/l.segment + 1
	if count > MaxSegments || count > 1 && ciphertext-(count-1)*l.segment <= tagBytes {
		return 0, ErrDamaged
	}
	return count, nil
}

// index returns the segment that holds byte number p of the plaintext, if the stream is that long.
func (l layout) index(p int64) int64 {
	if p < l.firstRoom() {
		return 0
	}
	return (p-l.firstRoom())/l.room() + 1
}

// start returns the number of the first byte of plaintext in a segment below MaxSegments.
func (l layout) start(segment int64) int64 {
	if segment == 0 {
		return 0
	}
	return l.firstRoom() + (segment-1)*l.room()
}

// newAEAD returns AES-256-GCM under the key of one stream.
func newAEAD(key, salt, associated []byte) (cipher.AEAD, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("stream: the key has %d bytes, not %d", len(key), KeyBytes)
	}
	streamKey, err := hkdf.Key(sha256.New, key, salt, string(associated), KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("stream: derive the key of the stream: %w", err)
	}
	defer clear(streamKey)
	block, err := aes.NewCipher(streamKey)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	return aead, nil
}

// nonce is prefix || number || last flag. It lives in its Writer or Reader, where passing a slice of it allocates nothing.
type nonce [nonceBytes]byte

func newNonce(prefix []byte) nonce {
	var n nonce
	copy(n[:prefixBytes], prefix)
	return n
}

// at returns the nonce of a segment below MaxSegments.
func (n *nonce) at(segment int64, last bool) []byte {
	binary.BigEndian.PutUint32(n[prefixBytes:], uint32(segment)) //nolint:gosec // G115: below MaxSegments
	n[nonceBytes-1] = 0
	if last {
		n[nonceBytes-1] = 1
	}
	return n[:]
}
