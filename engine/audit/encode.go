package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

// HashBytes is the length of a line's hash: SHA-256.
const HashBytes = sha256.Size

const (
	hashHex = 2 * HashBytes

	// maxString bounds a string value in the line, in bytes after escaping and without the quotes.
	maxString = 256
	// maxPolicies bounds the names of policies in the same way.
	maxPolicies = 128
	// ellipsis ends a value that was cut. Its bytes count towards the bound.
	ellipsis = "…"

	// shortLine bounds a line without items, with its newline: twelve strings of maxString, policies and everything around them.
	shortLine = 4608
	// maxLine bounds any line, with its newline.
	maxLine = shortLine + maxItems
	// maxHeader bounds a segment's header line.
	maxHeader = 512
	// maxNode bounds a node's name.
	maxNode = 64

	// chainOverhead bounds what the log adds to a record's body: sequence numbers, both hashes and the newline.
	chainOverhead = 256
)

const (
	lineStart   = `{"v":1,`
	lineSeq     = `"seq":`
	lineSynced  = `,"synced":`
	linePrev    = `,"prev":"`
	lineHash    = `,"hash":"`
	lineEnd     = "\"}\n"
	headerStart = `"segment":"cryptoserve-audit","node":"`
	headerFirst = `","first":`
)

// appendBody appends the part of a line that does not depend on its place in the chain, from `,"time"` to the latency.
// It runs outside the lock.
func appendBody(b []byte, node string, at time.Time, r *Record) []byte {
	b = append(b, `,"time":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","node":"`...)
	b = append(b, node...)
	b = append(b, '"')
	b = appendField(b, `,"request_id":`, r.RequestID)
	b = appendField(b, `,"tenant":`, r.Tenant)
	b = appendField(b, `,"subject":`, r.Subject)
	b = appendField(b, `,"kind":`, r.Kind)
	b = appendField(b, `,"source":`, r.Source)
	b = appendField(b, `,"action":`, r.Action)
	b = appendField(b, `,"resource":`, r.Resource)
	b = appendField(b, `,"context":`, r.Context)
	start := len(b)
	b = appendField(b, `,"key_id":`, r.KeyID)
	var keyID []byte
	if r.KeyID != "" {
		keyID = unquoted(b[start+len(`,"key_id":`):])
	}
	b = appendField(b, `,"algorithm":`, r.Algorithm)
	if r.Format > 0 {
		b = appendNumber(b, `,"format":`, int64(r.Format))
	}
	b = appendNumber(b, `,"in":`, int64(r.In))
	b = appendNumber(b, `,"out":`, int64(r.Out))
	b = appendItems(b, r, keyID)
	b = append(b, `,"result":"`...)
	b = append(b, r.Result.String()...)
	b = append(b, '"')
	b = appendField(b, `,"code":`, r.Code)
	b = appendField(b, `,"cause":`, r.Cause)
	if r.Policies != "" {
		b = appendString(append(b, `,"policies":`...), r.Policies, maxPolicies)
	}
	return appendNumber(b, `,"latency_us":`, r.Latency.Microseconds())
}

// appendRecordStart appends a record line up to the body. Everything up to the sequence number synced was durable before
// this line was written to its file.
func appendRecordStart(b []byte, seq, synced uint64, prev *[hashHex]byte) []byte {
	b = append(b, lineStart+lineSeq...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, lineSynced...)
	b = strconv.AppendUint(b, synced, 10)
	b = append(b, linePrev...)
	b = append(b, prev[:]...)
	return append(b, '"')
}

// appendHeaderStart appends the header line of a segment whose first record is first, up to the hash.
func appendHeaderStart(b []byte, node string, first uint64, prev *[hashHex]byte) []byte {
	b = append(b, lineStart+headerStart...)
	b = append(b, node...)
	b = append(b, headerFirst...)
	b = strconv.AppendUint(b, first, 10)
	b = append(b, linePrev...)
	b = append(b, prev[:]...)
	return append(b, '"')
}

// appendHash ends the line that begins at b[from:] with its hash, which it also returns, raw and in hex.
func appendHash(b []byte, from int, text *[hashHex]byte) ([]byte, [HashBytes]byte) {
	sum := sha256.Sum256(b[from:])
	hex.Encode(text[:], sum[:])
	b = append(b, lineHash...)
	b = append(b, text[:]...)
	return append(b, lineEnd...), sum
}

// hexOf returns a hash as it stands in a line.
func hexOf(sum [HashBytes]byte) (text [hashHex]byte) {
	hex.Encode(text[:], sum[:])
	return text
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value, maxString)
}

func appendNumber(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), max(n, 0), 10)
}

// appendString appends s as a JSON string of at most limit bytes that is safe to show: invalid UTF-8 becomes U+FFFD,
// and what could steer a terminal or reorder text is escaped. A longer value is cut between runes and ends with an
// ellipsis.
func appendString(b []byte, s string, limit int) []byte {
	b = append(b, '"')
	if len(s) <= limit && isPlain(s) {
		b = append(b, s...)
		return append(b, '"')
	}
	start, cut := len(b), len(b)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		b = appendRune(b, r)
		if len(b)-start > limit {
			b = append(b[:cut], ellipsis...)
			break
		}
		if len(b)-start <= limit-len(ellipsis) {
			cut = len(b)
		}
	}
	return append(b, '"')
}

// isPlain reports whether s stands in the line as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendRune(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(b, '\\', byte(r))
	case mustEscape(r):
		return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
	default:
		return utf8.AppendRune(b, r)
	}
}

// mustEscape tells the runes that are written as \uXXXX: controls, line separators, and the invisible ones that change
// the direction or the joining of text. The set is part of the format: it is fixed, not taken from a Unicode table that
// changes between releases. All of it lies in the basic plane.
func mustEscape(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	case r == 0xfeff, r >= 0xfff9 && r <= 0xfffb:
		return true
	default:
		return false
	}
}
