package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/xts"

	"cryptoserve/engine/algs"
)

// Construction is how a body of formats 1 to 3 is protected. The zero value is unknown and refused.
type Construction uint8

// The constructions. Nonces have 12 bytes, but 16 for CBC. Keys in bytes: "AES" is 16, 24 or 32.
const (
	ConstructionUnknown Construction = iota
	OriginalGCM                      // key AES; the same bytes as AES-GCM here
	OriginalCCM                      // key AES; the same bytes as AES-256-CCM here
	OriginalChaCha                   // key 32; the same bytes as ChaCha20-Poly1305 here
	OriginalCBC                      // key AES || mac 32; tag = HMAC-SHA256(mac, IV || ciphertext), no associated data
	OriginalCTR                      // key 32 || mac 32; tag = HMAC-SHA256(mac, nonce || ciphertext), no associated data
	OriginalXTS                      // key 64 || mac 32; tag = HMAC-SHA256(mac, tweak || ciphertext), tweak = nonce || 0^4; read only
)

// NonceBytes returns the length of the nonce, 0 for an unknown construction.
func (c Construction) NonceBytes() int {
	switch c {
	case OriginalGCM, OriginalCCM, OriginalChaCha, OriginalCTR, OriginalXTS:
		return nonceBytes
	case OriginalCBC:
		return blockBytes
	default:
		return 0
	}
}

// Authenticates reports whether the construction authenticates associated data.
func (c Construction) Authenticates() bool {
	return c == OriginalGCM || c == OriginalCCM || c == OriginalChaCha
}

// SealOriginal returns nonce || ciphertext || tag with a random nonce. A plaintext over the limit is fault.TooLarge. XTS is
// not written. Associated data for a construction that does not authenticate it is refused: the caller has told its own
// caller before.
func SealOriginal(c Construction, key, plaintext, associated []byte) ([]byte, error) {
	if len(associated) > 0 && !c.Authenticates() {
		return nil, fmt.Errorf("aead: construction %d does not authenticate associated data", c)
	}
	if !c.fits(key) {
		return nil, fmt.Errorf("aead: construction %d has no key of %d bytes", c, len(key))
	}
	if s := c.limit(); s != nil && uint64(len(plaintext)) > s.max {
		return nil, tooLarge(s.tooLarge)
	}
	if c == OriginalGCM {
		return sealGCM(make([]byte, 0, nonceBytes+len(plaintext)+tagBytes), key, plaintext, associated)
	}
	dst := make([]byte, 0, c.NonceBytes()+len(plaintext)+blockBytes+macBytes)
	var nonce [blockBytes]byte
	n := c.NonceBytes()
	_, _ = rand.Read(nonce[:n]) // never returns an error: crypto/rand documents that it ends the program instead
	return sealOriginal(dst, c, key, nonce[:n], plaintext, associated)
}

// limit returns the suite whose limit of plaintext the construction shares; CBC has none.
func (c Construction) limit() *suite {
	switch c {
	case OriginalGCM:
		return aes256GCM
	case OriginalCCM:
		return suites[algs.AES256CCM]
	case OriginalChaCha:
		return suites[algs.ChaCha20Poly1305]
	case OriginalCTR:
		return suites[algs.AES256CTR]
	default:
		return nil
	}
}

func sealOriginal(dst []byte, c Construction, key, nonce, plaintext, associated []byte) ([]byte, error) {
	switch c {
	case OriginalCCM:
		return sealCCM(dst, key, nonce, plaintext, associated)
	case OriginalChaCha:
		return sealChaCha(dst, key, nonce, plaintext, associated)
	case OriginalCBC:
		return sealMAC(dst, key, nonce, plaintext, hmac.New(sha256.New, macKey(key)), encryptCBC)
	case OriginalCTR:
		return sealMAC(dst, key, nonce, plaintext, hmac.New(sha256.New, macKey(key)), cryptCTR)
	default:
		return nil, fmt.Errorf("aead: construction %d is not written", c)
	}
}

// OpenOriginal appends the plaintext of body = ciphertext || tag to dst and returns it. Constructions that do not
// authenticate associated data ignore it: what that means is for the caller to decide. Whatever does not open is ErrOpen.
func OpenOriginal(dst []byte, c Construction, key, nonce, body, associated []byte) ([]byte, error) {
	if !c.fits(key) || len(nonce) != c.NonceBytes() {
		return nil, fmt.Errorf("aead: construction %d has no key of %d and nonce of %d bytes", c, len(key), len(nonce))
	}
	switch c {
	case OriginalGCM:
		return openGCM(dst, key, slices.Concat(nonce, body), associated)
	case OriginalCCM:
		return openCCM(dst, key, slices.Concat(nonce, body), associated)
	case OriginalChaCha:
		return openChaCha(dst, key, slices.Concat(nonce, body), associated)
	case OriginalCBC:
		return openMAC(dst, key, slices.Concat(nonce, body), blockBytes, hmac.New(sha256.New, macKey(key)), decryptCBC)
	case OriginalCTR:
		return openMAC(dst, key, slices.Concat(nonce, body), nonceBytes, hmac.New(sha256.New, macKey(key)), cryptCTR)
	default:
		tweak := append(slices.Clone(nonce), 0, 0, 0, 0)
		return openMAC(dst, key, slices.Concat(tweak, body), blockBytes, hmac.New(sha256.New, macKey(key)), decryptXTS)
	}
}

// fits reports whether key has a length that the construction takes.
func (c Construction) fits(key []byte) bool {
	switch c {
	case OriginalGCM, OriginalCCM:
		return len(key) == 16 || len(key) == 24 || len(key) == 32
	case OriginalChaCha:
		return len(key) == chacha20poly1305.KeySize
	case OriginalCBC:
		n := len(key) - macBytes
		return n == 16 || n == 24 || n == 32
	case OriginalCTR:
		return len(key) == 32+macBytes
	case OriginalXTS:
		return len(key) == 64+macBytes
	default:
		return false
	}
}

// xtsMaxBytes is the longest data unit: 2^20 blocks, SP 800-38E section 4.
const xtsMaxBytes = 1 << 20 * blockBytes

// decryptXTS appends the plaintext of one XTS data unit of 16 bytes or more: IEEE 1619-2018 section 5.4. The library knows
// neither ciphertext stealing nor a tweak of 16 bytes. The tweak goes in through the cipher that it encrypts the tweak with.
// Stealing needs the last whole block decrypted with the next tweak, which is what a unit longer by one block has in its
// last place.
func decryptXTS(dst, key, tweak, ciphertext []byte) ([]byte, error) {
	if len(ciphertext) < blockBytes || len(ciphertext) > xtsMaxBytes {
		return nil, ErrOpen
	}
	c, err := newXTS(key, tweak)
	if err != nil {
		return nil, err
	}
	start, whole := len(dst), len(ciphertext)/blockBytes*blockBytes
	dst = append(dst, ciphertext...)
	out := dst[start:]
	if partial := len(out) - whole; partial > 0 {
		last := whole - blockBytes
		unit := make([]byte, whole+blockBytes)
		copy(unit[whole:], ciphertext[last:whole])
		c.Decrypt(unit, unit, 0)
		copy(out[last:], ciphertext[whole:])
		copy(out[last+partial:], unit[whole+partial:])
		copy(out[whole:], unit[whole:whole+partial])
		clear(unit)
	}
	c.Decrypt(out[:whole], out[:whole], 0)
	return dst, nil
}

func newXTS(key, tweak []byte) (*xts.Cipher, error) {
	made := 0
	return xts.NewCipher(func(half []byte) (cipher.Block, error) {
		block, err := aes.NewCipher(half)
		if made++; made == 1 || err != nil { // the cipher of the data comes first, then that of the tweak
			return block, err
		}
		return tweakBlock{Block: block, tweak: tweak}, nil
	}, key)
}

// tweakBlock encrypts the same tweak, whatever sector number it is asked for.
type tweakBlock struct {
	cipher.Block
	tweak []byte
}

func (b tweakBlock) Encrypt(dst, _ []byte) { b.Block.Encrypt(dst, b.tweak) }
