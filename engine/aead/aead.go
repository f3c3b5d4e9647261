package aead

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// Sizes in bytes.
const (
	nonceBytes = 12
	tagBytes   = 16
	blockBytes = 16 // of AES, and so the IV of CBC
	macBytes   = 32 // HMAC-SHA256: its tag, and the key we give it
)

// CCMMaxPlaintext is the longest plaintext of AES-256-CCM: the specification's limit.
const CCMMaxPlaintext = 64 << 10

// ErrOpen is the one answer for every message that does not open: cut, changed, under another key or with other associated
// data.
var ErrOpen = errors.New("aead: authentication failed")

// suite is one construction. seal appends nonce || ciphertext || tag; open takes the same and appends the plaintext. Both
// get a key of the right length, and open at least nonce and tag.
type suite struct {
	key      int
	nonce    int
	tag      int
	padding  int // most bytes that padding adds
	max      uint64
	tooLarge string // detail of the answer to a longer plaintext
	seal     func(dst, key, plaintext, associated []byte) ([]byte, error)
	open     func(dst, key, sealed, associated []byte) ([]byte, error)
}

func (s *suite) overhead() int { return s.nonce + s.padding + s.tag }

// aes256GCM is what nearly every message is sealed with: find does not look it up.
var aes256GCM = gcmSuite(32)

var suites = map[algs.Name]*suite{
	algs.AES128GCM: gcmSuite(16),
	algs.AES192GCM: gcmSuite(24),
	algs.AES256GCM: aes256GCM,
	algs.AES256CCM: {
		key: 32, nonce: nonceBytes, tag: tagBytes, max: CCMMaxPlaintext, tooLarge: "AES-256-CCM takes 65536 bytes of plaintext at most",
		seal: drawn(nonceBytes, sealCCM), open: openCCM,
	},
	algs.AES256GCMSIV: {
		key: 32, nonce: nonceBytes, tag: tagBytes, max: gcmSIVMaxPlaintext, tooLarge: "AES-256-GCM-SIV takes 2 GiB of plaintext at most",
		seal: sealGCMSIV, open: openGCMSIV,
	},
	algs.ChaCha20Poly1305: {
		key: 32, nonce: nonceBytes, tag: tagBytes, max: chachaMaxPlaintext, tooLarge: "ChaCha20-Poly1305 takes 256 GiB of plaintext at most",
		seal: drawn(nonceBytes, sealChaCha), open: openChaCha,
	},
	algs.AES256CBC: {
		key: 32 + macBytes, nonce: blockBytes, tag: macBytes, padding: blockBytes, max: math.MaxUint64,
		seal: drawn(blockBytes, sealCBC), open: openCBC,
	},
	algs.AES256CTR: {
		key: 32 + macBytes, nonce: nonceBytes, tag: macBytes, max: gcmMaxPlaintext, tooLarge: "AES-256-CTR takes 64 GiB of plaintext at most",
		seal: drawn(nonceBytes, sealCTR), open: openCTR,
	},
}

// drawn returns seal with a random nonce of n bytes.
func drawn(
	n int, seal func(dst, key, nonce, plaintext, associated []byte) ([]byte, error),
) func(dst, key, plaintext, associated []byte) ([]byte, error) {
	return func(dst, key, plaintext, associated []byte) ([]byte, error) {
		var nonce [blockBytes]byte
		_, _ = rand.Read(nonce[:n]) // never returns an error: crypto/rand documents that it ends the program instead
		return seal(dst, key, nonce[:n], plaintext, associated)
	}
}

// KeyBytes returns the length in bytes of the key that Seal and Open take, 0 for a name they do not know.
func KeyBytes(name algs.Name) int {
	if s := suites[name]; s != nil {
		return s.key
	}
	return 0
}

// Overhead returns the most bytes by which a sealed message is longer than its plaintext, 0 for an unknown name. It is exact
// but for AES-256-CBC, whose padding is 1 to 16 bytes of it.
func Overhead(name algs.Name) int {
	if s := suites[name]; s != nil {
		return s.overhead()
	}
	return 0
}

// Seal appends nonce || ciphertext || tag to dst and returns it; the nonce is random. dst must not overlap the plaintext or
// the associated data. A plaintext over the algorithm's limit is fault.TooLarge; a name without a construction, or a key
// that has not KeyBytes bytes, is a mistake of the program.
func Seal(dst []byte, name algs.Name, key, plaintext, associated []byte) ([]byte, error) {
	s, err := find(name, key)
	if err != nil {
		return nil, err
	}
	if uint64(len(plaintext)) > s.max {
		return nil, tooLarge(s.tooLarge)
	}
	return s.seal(slices.Grow(dst, len(plaintext)+s.overhead()), key, plaintext, associated)
}

// Open appends the plaintext of what Seal made to dst and returns it. Whatever does not open is ErrOpen and leaves no
// plaintext behind. dst must not overlap the other arguments. Name and key are as for Seal.
func Open(dst []byte, name algs.Name, key, sealed, associated []byte) ([]byte, error) {
	s, err := find(name, key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < s.nonce+s.tag {
		return nil, ErrOpen
	}
	return s.open(dst, key, sealed, associated)
}

func find(name algs.Name, key []byte) (*suite, error) {
	s := aes256GCM
	if name != algs.AES256GCM {
		s = suites[name]
	}
	if s == nil || len(key) != s.key {
		return nil, fmt.Errorf("aead: no construction for %q with a key of %d bytes", name, len(key))
	}
	return s, nil
}

func tooLarge(detail string) error {
	return &fault.Error{
		Kind: fault.TooLarge, Op: "aead.seal", Detail: detail,
		Fields: []fault.Field{{Name: "plaintext", Detail: "longer than the algorithm takes"}},
	}
}
