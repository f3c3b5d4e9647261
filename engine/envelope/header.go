package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"

	"cryptoserve/engine/algs"
)

const maxName = 256 // of any string in a header

var strictBase64 = base64.StdEncoding.Strict()

// parseHeader reads the header into f, whose prefix is set.
func (f *Frame) parseHeader() error {
	s := scanner{rest: f.prefix[2:], ok: true}
	switch {
	case s.accept(`{"v":4,"ctx":"`):
		f.Format = 4
		f.names(&s)
		f.rest4(&s)
	case s.accept(`{"v":3,"ctx":"`):
		f.Format = 3
		f.names(&s)
		f.rest3(&s)
	case s.accept(`{"v":2,"ctx":"`):
		f.Format = 2
		f.names(&s)
		s.expect(`","mode":"`)
		f.Mode = s.name()
		f.nonceField(&s)
		s.expect(`"}`)
	case s.accept(`{"v":1,"ctx":"`):
		f.Format = 1
		f.names(&s)
		f.nonceField(&s)
		s.expect(`"}`)
	case s.accept(`{"v":1,"mode":"`):
		f.Format, f.OriginalHybrid = 1, true
		f.restHybrid1(&s)
	default:
		return ErrFrame
	}
	if !s.ok || len(s.rest) != 0 || !f.resolve() {
		return ErrFrame
	}
	return nil
}

func (f *Frame) names(s *scanner) {
	f.Context = s.name()
	s.expect(`","kid":"`)
	f.KeyID = s.name()
	s.expect(`","alg":"`)
	f.Algorithm = algs.Name(s.name())
}

func (f *Frame) rest4(s *scanner) {
	if s.accept(`","kem_ct_len":`) {
		f.encapsulated = s.number(MaxEncapsulated)
		s.expect(`,"salt":"`)
	} else {
		s.expect(`","salt":"`)
	}
	s.bytes(f.Salt[:])
	s.expect(`","kc":"`)
	s.bytes(f.Commitment[:])
	if s.accept(`","seg":65536}`) {
		f.Stream = true
		return
	}
	s.expect(`"}`)
}

func (f *Frame) rest3(s *scanner) {
	s.expect(`","mode":"`)
	f.Mode = s.name()
	f.nonceField(s)
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

func (f *Frame) restHybrid1(s *scanner) {
	f.Mode = s.name()
	f.Algorithm = algs.Name(f.Mode)
	s.expect(`","kid":"`)
	f.KeyID = s.name()
	f.nonceField(s)
	s.expect(`","kem_ct_len":`)
	f.encapsulated = s.number(MaxEncapsulated)
	s.expect(`}`)
}

func (f *Frame) nonceField(s *scanner) {
	s.expect(`","nonce":"`)
	switch bytes.IndexByte(s.rest, '"') {
	case strictBase64.EncodedLen(NonceBytes):
		f.nonceBytes = NonceBytes
	case strictBase64.EncodedLen(maxNonce):
		f.nonceBytes = maxNonce
	default:
		s.ok = false
		return
	}
	s.bytes(f.nonceBuf[:f.nonceBytes])
}

// resolve finds how the body is protected and reports whether the fields go together in a way that a writer makes. An
// algorithm that nobody knows passes, for Open to refuse.
func (f *Frame) resolve() bool {
	switch {
	case f.OriginalHybrid:
		k, ok := originalKEM[f.Algorithm]
		return ok && f.encapsulated == k.bytes && f.nonceBytes == NonceBytes
	case f.Format == 4:
		f.layout = layouts4[f.Algorithm]
		hybrid := f.layout != nil && f.layout.hybrid
		return hybrid == (f.encapsulated > 0) && (!f.Stream || f.Algorithm == algs.AES256GCM)
	default:
		var known bool
		f.scheme, known = schemeOf(f.Format, f.Algorithm, f.Mode)
		return !known || f.scheme != nil && f.scheme.nonce == f.nonceBytes
	}
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

// number consumes a decimal number from 1 to limit, written in the one way that a writer writes it.
func (c *scanner) number(limit int) int {
	n, digits := 0, 0
	for digits < len(c.rest) && '0' <= c.rest[digits] && c.rest[digits] <= '9' && n <= limit {
		n = n*10 + int(c.rest[digits]-'0')
		digits++
	}
	if !c.ok || digits == 0 || c.rest[0] == '0' || n > limit {
		c.ok = false
		return 0
	}
	c.rest = c.rest[digits:]
	return n
}

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

// beginHeader appends room for the header length and what formats 3 and 4 begin with. It ends inside the last string.
func beginHeader(dst []byte, p *Params) []byte {
	dst = append(dst, 0, 0)
	dst = append(dst, `{"v":`...)
	dst = strconv.AppendInt(dst, int64(p.Format), 10)
	dst = append(dst, `,"ctx":"`...)
	dst = append(dst, p.Context...)
	dst = append(dst, `","kid":"`...)
	dst = append(dst, p.KeyID...)
	dst = append(dst, `","alg":"`...)
	return append(dst, p.Algorithm...)
}

// endHeader writes the length of the header that begins at start and ends with dst.
func endHeader(dst []byte, start int) {
	// Names are bounded, so a header is far below MaxHeader.
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start-2)) //nolint:gosec // see above
}
