package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strings"
	"unicode/utf8"
)

// verdict is what the parser says about the bytes of a line.
type verdict uint8

const (
	lineBad   verdict = iota // no line of this format starts so
	lineShort                // a line of this format starts so, and has not ended
	lineWhole                // one whole line, its hash is right
)

// line is what the chain needs to know of a line. A header has no sequence number of its own: seq is that of the first
// record it announces.
type line struct {
	header bool
	node   []byte // aliases the parsed bytes, as keyID does
	keyID  []byte // as it stands between the quotes; nil when there is none
	items  int
	seq    uint64
	synced uint64
	prev   [HashBytes]byte
	hash   [HashBytes]byte
}

// field is one member of a record's body, in the order of the line.
type field struct {
	name     string
	required bool
	read     func(*cursor, *line)
}

var bodyFields = []field{
	{"time", true, func(c *cursor, _ *line) { c.timestamp() }},
	{"node", true, func(c *cursor, l *line) { c.literal(`"`); l.node = c.name(); c.literal(`"`) }},
	{"request_id", false, readString},
	{"tenant", false, readString},
	{"subject", false, readString},
	{"kind", false, readString},
	{"source", false, readString},
	{"action", false, readString},
	{"resource", false, readString},
	{"context", false, readString},
	{"key_id", false, func(c *cursor, l *line) { l.keyID = c.value() }},
	{"algorithm", false, readString},
	{"format", false, func(c *cursor, _ *line) {
		if c.size() == 0 {
			c.fail()
		}
	}},
	{"in", true, func(c *cursor, _ *line) { c.size() }},
	{"out", true, func(c *cursor, _ *line) { c.size() }},
	{"items", false, (*cursor).items},
	{"result", true, func(c *cursor, _ *line) { c.oneOf(`"success"`, `"denied"`, `"failed"`, `"started"`) }},
	{"code", false, readString},
	{"cause", false, readString},
	{"policies", false, func(c *cursor, _ *line) { c.valueUpTo(maxPolicies) }},
	{"latency_us", true, func(c *cursor, _ *line) { c.number() }},
}

func readString(c *cursor, _ *line) { c.value() }

// parseLine reads one line, newline included. It accepts exactly what the log writes: each record has one form, so a
// line that parses but was not written by a log is not possible by a change of spelling. Anything after the newline
// makes the line bad.
func parseLine(b []byte) (line, verdict) {
	if len(b) > maxLine {
		return line{}, lineBad
	}
	// The table of fields makes both escape: they are allocated at once.
	p := struct {
		cursor cursor
		line   line
	}{cursor: cursor{b: b}}
	c, l := &p.cursor, &p.line
	c.literal(lineStart)
	switch c.oneOf(`"seq":`, `"segment":`) {
	case 0:
		c.record(l)
	case 1:
		l.header = true
		c.header(l)
	}
	end := c.i
	c.literal(lineHash)
	c.hash(&l.hash)
	if !c.bad && !c.short && sha256.Sum256(b[:end]) != l.hash {
		c.fail()
	}
	c.literal(lineEnd)
	switch {
	case c.bad:
		return *l, lineBad
	case c.short:
		return *l, lineShort
	case c.i != len(b):
		return *l, lineBad
	default:
		return *l, lineWhole
	}
}

func (c *cursor) record(l *line) {
	l.seq = c.number()
	c.literal(lineSynced)
	l.synced = c.number()
	c.literal(linePrev)
	c.hash(&l.prev)
	c.literal(`"`)
	for i := range bodyFields {
		f := &bodyFields[i]
		if !c.member(f) {
			continue
		}
		f.read(c, l)
	}
	if !c.bad && !c.short && (l.seq == 0 || l.synced >= l.seq) {
		c.fail()
	}
}

func (c *cursor) header(l *line) {
	c.literal(strings.TrimPrefix(headerStart, `"segment":`))
	l.node = c.name()
	c.literal(headerFirst)
	l.seq = c.number()
	c.literal(linePrev)
	c.hash(&l.prev)
	c.literal(`"`)
	if !c.bad && !c.short && l.seq == 0 {
		c.fail()
	}
}

// cursor reads from b. Once the bytes cannot be a line it is bad; once they end where a line could go on it is short.
// After either every method does nothing.
type cursor struct {
	b     []byte
	i     int
	bad   bool
	short bool
}

func (c *cursor) stopped() bool { return c.bad || c.short }

func (c *cursor) fail() {
	if !c.short {
		c.bad = true
	}
}

func (c *cursor) rest() []byte { return c.b[c.i:] }

// peek returns the next byte, or stops short.
func (c *cursor) peek() (byte, bool) {
	if c.stopped() {
		return 0, false
	}
	if c.i == len(c.b) {
		c.short = true
		return 0, false
	}
	return c.b[c.i], true
}

func (c *cursor) literal(s string) {
	if c.stopped() {
		return
	}
	rest := c.rest()
	switch {
	case len(rest) >= len(s) && string(rest[:len(s)]) == s:
		c.i += len(s)
	case len(rest) < len(s) && s[:len(rest)] == string(rest):
		c.short = true
	default:
		c.fail()
	}
}

// oneOf reads one of the literals and returns its index, or -1. None is a prefix of another.
func (c *cursor) oneOf(literals ...string) int {
	if c.stopped() {
		return -1
	}
	rest := c.rest()
	for i, s := range literals {
		if bytes.HasPrefix(rest, []byte(s)) {
			c.i += len(s)
			return i
		}
	}
	for _, s := range literals {
		if strings.HasPrefix(s, string(rest)) {
			c.short = true
			return -1
		}
	}
	c.fail()
	return -1
}

// member reads `,"name":` and reports whether it was there. A required one that is not there fails.
func (c *cursor) member(f *field) bool {
	if c.stopped() {
		return false
	}
	rest, key := c.rest(), `,"`+f.name+`":`
	if f.required || len(rest) < len(key) && strings.HasPrefix(key, string(rest)) {
		c.literal(key)
		return !c.stopped()
	}
	if !bytes.HasPrefix(rest, []byte(key)) {
		return false
	}
	c.i += len(key)
	return true
}

// number reads an unsigned decimal of 64 bits without leading zeros. A number at the very end may go on.
func (c *cursor) number() uint64 { return c.numberUpTo(math.MaxUint64) }

// numberUpTo reads a number of at most limit, which is at least 1e18.
func (c *cursor) numberUpTo(limit uint64) uint64 {
	if _, ok := c.peek(); !ok {
		return 0
	}
	var n uint64
	start := c.i
	for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' {
		d := uint64(c.b[c.i] - '0')
		// Below 1e17 no digit takes n past a limit: most numbers cost no division.
		if n >= 1e17 && n > (limit-d)/10 || c.i > start && c.b[start] == '0' {
			c.fail()
			return 0
		}
		n = n*10 + d
		c.i++
	}
	switch {
	case c.i == start:
		c.fail()
	case c.i == len(c.b):
		c.short = true
	}
	return n
}

// hash reads 64 lower-case hex digits.
func (c *cursor) hash(into *[HashBytes]byte) {
	if c.stopped() {
		return
	}
	rest := c.rest()
	n := min(len(rest), hashHex)
	for _, d := range rest[:n] {
		if (d < '0' || d > '9') && (d < 'a' || d > 'f') {
			c.fail()
			return
		}
	}
	if n < hashHex {
		c.short = true
		return
	}
	_, _ = hex.Decode(into[:], rest[:n]) // cannot fail: the digits were checked
	c.i += n
}

// name reads a node's name.
func (c *cursor) name() []byte {
	if c.stopped() {
		return nil
	}
	start := c.i
	for c.i < len(c.b) && isNameByte(c.b[c.i]) {
		c.i++
	}
	switch {
	case c.i-start > maxNode:
		c.fail()
	case c.i == len(c.b):
		c.short = true
	case c.i == start:
		c.fail()
	}
	return c.b[start:c.i]
}

// timestamp reads a quoted RFC 3339 time in UTC with up to nine digits of fraction, none of them a trailing zero.
func (c *cursor) timestamp() {
	for _, p := range []byte(`"dddd-dd-ddTdd:dd:dd`) {
		got, ok := c.peek()
		if !ok {
			return
		}
		if p != 'd' && got != p || p == 'd' && (got < '0' || got > '9') {
			c.fail()
			return
		}
		c.i++
	}
	if got, ok := c.peek(); ok && got == '.' {
		c.i++
		start := c.i
		for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' && c.i-start < 9 {
			c.i++
		}
		if c.i == len(c.b) {
			c.short = true
		} else if c.i == start || c.b[c.i-1] == '0' {
			c.fail()
		}
	}
	c.literal(`Z"`)
}

// value reads the text of a member, which is not empty.
func (c *cursor) value() []byte { return c.valueUpTo(maxString) }

func (c *cursor) valueUpTo(limit int) []byte {
	text := c.text(limit)
	if len(text) == 0 {
		c.fail()
	}
	return text
}

// text reads a JSON string of at most limit bytes in the one form that appendString gives it, and returns what stands
// between its quotes.
func (c *cursor) text(limit int) []byte {
	c.literal(`"`)
	start := c.i
	for {
		ch, ok := c.peek()
		if !ok {
			return nil
		}
		if c.i-start > limit {
			c.fail()
			return nil
		}
		switch {
		case ch == '"':
			c.i++
			return c.b[start : c.i-1]
		case ch == '\\':
			c.escape()
		case ch < utf8.RuneSelf:
			if mustEscape(rune(ch)) {
				c.fail()
				return nil
			}
			c.i++
		default:
			r, n := utf8.DecodeRune(c.rest())
			if r == utf8.RuneError && n == 1 {
				if utf8.FullRune(c.rest()) {
					c.fail()
				} else {
					c.short = true
				}
				return nil
			}
			if mustEscape(r) {
				c.fail()
				return nil
			}
			c.i += n
		}
	}
}

// escape reads \" or \\ or the \uXXXX of a rune that has to be escaped.
func (c *cursor) escape() {
	c.literal(`\`)
	ch, ok := c.peek()
	if !ok {
		return
	}
	c.i++
	if ch == '"' || ch == '\\' {
		return
	}
	if ch != 'u' {
		c.fail()
		return
	}
	var r rune
	for range 4 {
		d, ok := c.peek()
		if !ok {
			return
		}
		switch {
		case d >= '0' && d <= '9':
			r = r<<4 | rune(d-'0')
		case d >= 'a' && d <= 'f':
			r = r<<4 | rune(d-'a'+10)
		default:
			c.fail()
			return
		}
		c.i++
	}
	if !mustEscape(r) {
		c.fail()
	}
}

// isNameByte tells the bytes a node's name may hold.
func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_' || b == '.'
}
