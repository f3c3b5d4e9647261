package signin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/engine/secret"
)

const (
	// StateLifetime is how long a sign-in may take.
	StateLifetime = 10 * time.Minute
	// MaxSkew is how far the clock of the node that began a sign-in may be ahead.
	MaxSkew = time.Minute
	// CookieName is the name of the cookie. The prefix makes browsers refuse one that another host or plain HTTP set.
	CookieName = "__Host-signin"
)

const (
	saltBytes      = 32
	maxCookieBytes = 4096 // what browsers keep at least (RFC 6265 section 6.1)
	cookieInfo     = "cryptoserve/1/signin-cookie"
)

// State is what the browser keeps between Begin and Finish.
type State struct {
	value string
}

// Value is the cookie's value, for Finish.
func (s State) Value() string { return s.value }

// Cookie returns the cookie to set with the redirect. SameSite is Lax: a browser does not send a strict cookie when the
// provider redirects to this node.
func (s State) Cookie() *http.Cookie { return newCookie(s.value, int(StateLifetime/time.Second)) }

// ClearCookie returns the cookie that removes a State from the browser: send it with every answer to a callback.
func ClearCookie() *http.Cookie { return newCookie("", -1) }

func newCookie(value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: CookieName, Value: value, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// pending is a sign-in that began.
type pending struct {
	Provider   string `json:"p"`
	State      string `json:"s"`
	Nonce      string `json:"n"`
	Verifier   string `json:"v"`
	IssuedAt   int64  `json:"t"` // Unix milliseconds
	Redirect   string `json:"r"`
	Invitation string `json:"i,omitzero"`
}

// expired reports whether the sign-in took too long, or was begun in the future.
func (p *pending) expired(now time.Time) bool {
	issued := time.UnixMilli(p.IssuedAt)
	return !now.Before(issued.Add(StateLifetime)) || now.Before(issued.Add(-MaxSkew))
}

// random returns 256 random bits in base64url: 43 characters.
func random() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// seal returns base64url(salt(32) || nonce(12) || ciphertext || tag(16)): AES-256-GCM under HKDF-SHA256(key, salt), so that
// anybody may begin any number of sign-ins without wearing out one key (SP 800-38D section 8.3).
func (p *pending) seal(key secret.Bytes) (State, error) {
	plain, err := json.Marshal(p)
	if err != nil {
		return State{}, err
	}
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	aead, err := cookieAEAD(key, salt)
	if err != nil {
		return State{}, err
	}
	sealed := aead.Seal(salt, nil, plain, nil) //nolint:gosec // G407: this AEAD draws its nonces itself and takes none
	return State{value: base64.RawURLEncoding.EncodeToString(sealed)}, nil
}

// openCookie returns the sign-in in a cookie's value. It reports false for whatever this cluster did not seal.
func openCookie(value string, key secret.Bytes) (*pending, bool) {
	// The decoder would skip line breaks.
	if value == "" || len(value) > maxCookieBytes || strings.ContainsAny(value, "\r\n") {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(raw) < saltBytes {
		return nil, false
	}
	aead, err := cookieAEAD(key, raw[:saltBytes])
	if err != nil {
		return nil, false
	}
	plain, err := aead.Open(nil, nil, raw[saltBytes:], nil)
	if err != nil {
		return nil, false
	}
	var p pending
	if err := json.Unmarshal(plain, &p); err != nil {
		return nil, false
	}
	return &p, true
}

func cookieAEAD(key secret.Bytes, salt []byte) (cipher.AEAD, error) {
	k, err := hkdf.Key(sha256.New, key.Reveal(), salt, cookieInfo, KeyBytes)
	if err != nil {
		return nil, err
	}
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
