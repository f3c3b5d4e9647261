package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"cryptoserve/engine/algs"
)

// Sizes in bytes.
const (
	MaxHeader       = 4096
	SaltBytes       = 32
	CommitmentBytes = 32
	NonceBytes      = 12
	TagBytes        = 16

	maxName = 256 // of any string in a header
)

// ErrFrame means that the bytes are not a frame that this package writes.
var ErrFrame = errors.New("envelope: not a ciphertext frame")

// Frame is a parsed frame. Its slices point into the bytes it was parsed from. What the header says is a claim of whoever
// sent the frame, until Open has succeeded.
type Frame struct {
	Format     int // 3 or 4
	Context    string
	KeyID      string
	Algorithm  algs.Name
	HasAAD     bool     // format 3: associated data was used
	Salt       [32]byte // format 4
	Commitment [32]byte
	nonce      [NonceBytes]byte // format 3
	prefix     []byte           // header length || header
	body       []byte
}

// Parse reads a frame. Any bytes that no writer of this package produces are ErrFrame.
func Parse(b []byte) (Frame, error) {
	var f Frame
	if len(b) < 2 {
		return f, ErrFrame
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > MaxHeader || len(b) < 2+n {
		return f, ErrFrame
	}
	f.prefix, f.body = b[:2+n:2+n], b[2+n:]
	s := scanner{rest: f.prefix[2:], ok: true}
	switch {
	case s.accept(`{"v":4,"ctx":"`):
		f.Format = 4
	case s.accept(`{"v":3,"ctx":"`):
		f.Format = 3
	default:
		return f, ErrFrame
	}
	f.Context = s.name()
	s.expect(`","kid":"`)
	f.KeyID = s.name()
	s.expect(`","alg":"`)
	f.Algorithm = algs.Name(s.name())
	if f.Format == 4 {
		s.expect(`","salt":"`)
		s.bytes(f.Salt[:])
		s.expect(`","kc":"`)
		s.bytes(f.Commitment[:])
		s.expect(`"}`)
	} else {
		s.expect(`","mode":"gcm","nonce":"`)
		s.bytes(f.nonce[:])
		s.expect(`","kc":"`)
		s.bytes(f.Commitment[:])
		switch {
		case s.accept(`","aad":true}`):
			f.HasAAD = true
		case s.accept(`","aad":false}`), s.accept(`"}`):
		default:
			s.ok = false
		}
	}
	least := TagBytes
	if f.Format == 4 {
		least += NonceBytes
	}
	if !s.ok || len(s.rest) != 0 || len(f.body) < least {
		return f, ErrFrame
	}
	return f, nil
}

// scanner reads the one form a header can have. After a mismatch ok is false and stays so.
type scanner struct {
	rest []byte
	ok   bool
}

// accept consumes s if it comes next and reports whether it did.
func (c *scanner) accept(s string) bool {
	if !c.ok || len(c.rest) < len(s) || string(c.rest[:len(s)]) != s {
		return false
	}
	c.rest = c.rest[len(s):]
	return true
}

func (c *scanner) expect(s string) {
	if !c.accept(s) {
		c.ok = false
	}
}

// name consumes a string of the characters that names of contexts, keys and algorithms are made of, up to its quote.
func (c *scanner) name() string {
	i := bytes.IndexByte(c.rest, '"')
	if !c.ok || i < 1 || i > maxName {
		c.ok = false
		return ""
	}
	for _, b := range c.rest[:i] {
		if !nameByte(b) {
			c.ok = false
			return ""
		}
	}
	s := string(c.rest[:i])
	c.rest = c.rest[i:]
	return s
}

func nameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_' || b == '.' || b == '+'
}

func validName(s string) bool {
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxName
}

var strictBase64 = base64.StdEncoding.Strict()

// bytes fills dst from exactly its length in standard base64.
func (c *scanner) bytes(dst []byte) {
	n := strictBase64.EncodedLen(len(dst))
	if !c.ok || len(c.rest) < n {
		c.ok = false
		return
	}
	var buf [48]byte // the decoder wants room for whole quanta
	got, err := strictBase64.Decode(buf[:], c.rest[:n])
	if err != nil || got != len(dst) {
		c.ok = false
		return
	}
	copy(dst, buf[:])
	c.rest = c.rest[n:]
}
