package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// SessionPrefix begins each session token, so that a token that leaked can be recognized.
const SessionPrefix = "cs_session_"

const sessionBytes = 32

// NewSessionToken makes the token of a user's session: SessionPrefix || base64url(32 random bytes), without padding. Hash
// is what directory.Session keeps.
func NewSessionToken() (token string, hash [32]byte) {
	var raw [sessionBytes]byte
	rand.Read(raw[:])
	return SessionPrefix + base64.RawURLEncoding.EncodeToString(raw[:]), sha256.Sum256(raw[:])
}

// HashSession returns the hash under which a session token is stored: SHA-256 of its 32 bytes. It reports false when the
// token has another form.
func HashSession(token string) (hash [32]byte, ok bool) {
	text, found := strings.CutPrefix(token, SessionPrefix)
	if !found || len(text) != base64.RawURLEncoding.EncodedLen(sessionBytes) {
		return hash, false
	}
	var raw [sessionBytes]byte
	n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(text))
	if err != nil || n != sessionBytes {
		return hash, false
	}
	return sha256.Sum256(raw[:]), true
}
