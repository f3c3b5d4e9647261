package auth

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"cryptoserve/engine"
	"cryptoserve/engine/fault"
)

const (
	// AccessLifetime is how long an access token is good. A longer one is refused, whoever signed it.
	AccessLifetime = time.Hour
	// RefreshLifetime is how long a refresh token is good when it is not used.
	RefreshLifetime = 30 * 24 * time.Hour
	// MaxTokenBytes is the longest token that is looked at.
	MaxTokenBytes = 8 << 10

	issuer          = "cryptoserve"
	accessAudience  = "cryptoserve-api"
	refreshAudience = "cryptoserve-refresh"
	accessType      = "access"
	refreshType     = "refresh"
	headerType      = "JWT"

	// leeway is how far the clock of the node that issued a token may be ahead. It does not lengthen a token's life.
	leeway = engine.TokenLeeway
)

// claims are the claims of both kinds of token (RFC 7519 section 4). Times are Unix seconds.
type claims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"` // application id
	Audience  string `json:"aud"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf,omitzero"`
	ExpiresAt int64  `json:"exp"`
	Type      string `json:"type"`
	Tenant    string `json:"tid"`
	ID        string `json:"jti"`

	// Access tokens only. Contexts narrows the token; nil does not.
	Name        string   `json:"name,omitzero"`
	Team        string   `json:"team,omitzero"`
	Environment string   `json:"env,omitzero"`
	Contexts    []string `json:"contexts,omitzero"`

	// Refresh tokens only.
	Family string `json:"fam,omitzero"`
}

// UnmarshalJSON refuses a member that appears twice and a name in other letters: encoding/json, which the JWT library
// uses, takes the last of several and ignores case.
func (c *claims) UnmarshalJSON(b []byte) error {
	type plain claims
	return json.Unmarshal(b, (*plain)(c))
}

// The methods that make claims a jwt.Claims. A time of zero counts as missing.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return numericDate(c.ExpiresAt), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return numericDate(c.IssuedAt), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return numericDate(c.NotBefore), nil }
func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings{c.Audience}, nil }

func numericDate(seconds int64) *jwt.NumericDate {
	if seconds == 0 {
		return nil
	}
	return jwt.NewNumericDate(time.Unix(seconds, 0))
}

// header holds every member that a token's header may have (RFC 7515 section 4.1). Members that bring or point to a key,
// and "crit", are not among them.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

// Why a credential was refused: words for the audit log and the tests. The caller reads Detail alone.
const (
	errMissing    fault.Cause = "no-token"        // no bearer token
	errMalformed  fault.Cause = "malformed-token" // not a well-formed token
	errAlgorithm  fault.Cause = "token-algorithm" // wrong algorithm or token type in the header
	errSignature  fault.Cause = "signature"
	errExpired    fault.Cause = "expired"
	errNotYet     fault.Cause = "not-yet-valid"
	errClaims     fault.Cause = "claims"       // wrong issuer, audience, type, tenant or lifetime
	errKeyID      fault.Cause = "key-id"       // not the application's present key
	errUnknown    fault.Cause = "application"  // unknown or disabled
	errNoSession  fault.Cause = "session"      // unknown or ended
	errHeaderForm fault.Cause = "token-header" // an unknown or repeated member
	errUsage      fault.Cause = "certificate-usage"
)

// Detail is all that a caller learns about a credential that was refused.
const Detail = "the credential is missing, not valid or no longer valid"

func refused(reason error) error {
	return fault.Wrap(fault.Unauthenticated, "authenticate", Detail, reason)
}

// profile is one kind of token: what its header and claims must be. It is immutable.
type profile struct {
	algorithm string
	kind      string
	lifetime  time.Duration
	parser    *jwt.Parser
	now       func() time.Time
}

func newProfile(method jwt.SigningMethod, audience, kind string, lifetime time.Duration, now func() time.Time) profile {
	return profile{
		algorithm: method.Alg(), kind: kind, lifetime: lifetime, now: now,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{method.Alg()}),
			jwt.WithIssuer(issuer),
			jwt.WithAudience(audience),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(leeway),
			jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(now),
		),
	}
}

// keyFor finds the key that must have signed a token, from the key id in its header and its claims, none of which is
// proved yet. Its errors reach the caller of parse unchanged.
type keyFor func(keyID string, c *claims) (any, error)

// parse verifies everything about a token that can be told without records. Its errors are reasons as above, or those of
// key.
func (p profile) parse(token string, key keyFor) (*claims, error) {
	if len(token) > MaxTokenBytes || !wellFormed(token) {
		return nil, errMalformed
	}
	head, err := parseHeader(token)
	if err != nil {
		return nil, err
	}
	if head.Algorithm != p.algorithm || head.Type != headerType {
		return nil, errAlgorithm
	}
	c := new(claims)
	var keyErr error
	_, err = p.parser.ParseWithClaims(token, c, func(*jwt.Token) (any, error) {
		var k any
		k, keyErr = key(head.KeyID, c)
		return k, keyErr
	})
	if keyErr != nil {
		return nil, keyErr
	}
	if err != nil {
		return nil, reason(err)
	}
	return c, p.check(c)
}

// check holds what the library does not: the token's type, a lifetime within bounds, and an expiry without leeway.
func (p profile) check(c *claims) error {
	switch {
	case c.Type != p.kind, c.ID == "", c.IssuedAt <= 0, c.ExpiresAt <= c.IssuedAt:
		return errClaims
	case c.ExpiresAt-c.IssuedAt > int64(p.lifetime/time.Second):
		return errClaims
	case !p.now().Before(time.Unix(c.ExpiresAt, 0)):
		return errExpired
	default:
		return nil
	}
}

// wellFormed reports whether a token has three parts in the alphabet of RFC 7515. Go's base64 skips line breaks, which
// would give one token many spellings.
func wellFormed(token string) bool {
	dots := 0
	for i := range len(token) {
		switch b := token[i]; {
		case b == '.':
			dots++
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-', b == '_':
		default:
			return false
		}
	}
	return dots == 2
}

func parseHeader(token string) (header, error) {
	segment, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return header{}, errMalformed
	}
	var head header
	if err := json.Unmarshal(raw, &head, json.RejectUnknownMembers(true)); err != nil {
		return header{}, errHeaderForm
	}
	return head, nil
}

// reason maps the library's errors to ours, which quote nothing from the token.
func reason(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errSignature
	case errors.Is(err, jwt.ErrTokenExpired):
		return errExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return errNotYet
	case errors.Is(err, jwt.ErrTokenInvalidClaims):
		return errClaims
	default:
		return errMalformed
	}
}
