package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// SessionPrefix, InvitePrefix and DevicePrefix begin what stands for a session, an invitation and a sign-in of a program, so
// that one that leaked can be recognized.
const (
	SessionPrefix = "cs_session_"
	InvitePrefix  = "cs_invite_"
	DevicePrefix  = "cs_device_"
)

const codeBytes = 32

// NewSessionToken makes the token of a user's session: SessionPrefix || base64url(32 random bytes), without padding. Hash
// is what directory.Session keeps.
func NewSessionToken() (token string, hash [32]byte) { return newCode(SessionPrefix) }

// HashSession returns the hash under which a session token is stored: SHA-256 of its 32 bytes. It reports false when the
// token has another form.
func HashSession(token string) (hash [32]byte, ok bool) { return hashCode(SessionPrefix, token) }

// NewInviteCode makes the code of an invitation: InvitePrefix || base64url(32 random bytes), without padding. Hash is what
// directory.Invitation keeps.
func NewInviteCode() (code string, hash [32]byte) { return newCode(InvitePrefix) }

// HashInvite returns the hash under which an invitation's code is stored, as HashSession does.
func HashInvite(code string) (hash [32]byte, ok bool) { return hashCode(InvitePrefix, code) }

// NewDeviceCode makes the code that a program without a browser keeps to itself: DevicePrefix || base64url(32 random bytes),
// without padding. Hash is what directory.Device keeps.
func NewDeviceCode() (code string, hash [32]byte) { return newCode(DevicePrefix) }

// HashDevice returns the hash under which a device code is stored, as HashSession does.
func HashDevice(code string) (hash [32]byte, ok bool) { return hashCode(DevicePrefix, code) }

func newCode(prefix string) (code string, hash [32]byte) {
	var raw [codeBytes]byte
	rand.Read(raw[:])
	return prefix + base64.RawURLEncoding.EncodeToString(raw[:]), sha256.Sum256(raw[:])
}

func hashCode(prefix, code string) (hash [32]byte, ok bool) {
	text, found := strings.CutPrefix(code, prefix)
	if !found || len(text) != base64.RawURLEncoding.EncodedLen(codeBytes) {
		return hash, false
	}
	var raw [codeBytes]byte
	n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(text))
	if err != nil || n != codeBytes {
		return hash, false
	}
	return sha256.Sum256(raw[:]), true
}
