package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// Directory is where a credential is looked up.
type Directory interface {
	// Application returns the newest record of an application, or nil.
	Application(id string) *directory.Application
	// ApplicationByCertificate returns the newest record of the application with this SHA-256 of a certificate's
	// SubjectPublicKeyInfo, or nil.
	ApplicationByCertificate(hash [32]byte) *directory.Application
	// SessionSubject returns whose session it is, or nil when it is unknown, ended or its user disabled.
	SessionSubject(hash [32]byte) *policy.Subject
}

// DefaultCacheEntries is how many verified access tokens are remembered.
const DefaultCacheEntries = 10_000

// VerifierConfig says what a Verifier works with.
type VerifierConfig struct {
	Directory Directory        // required
	Now       func() time.Time // nil means time.Now
	// CacheEntries bounds the remembered tokens. Zero means DefaultCacheEntries.
	CacheEntries int
}

// Verifier authenticates requests. Goroutines share it.
type Verifier struct {
	directory Directory
	now       func() time.Time
	access    profile
	// verified maps the SHA-256 of an access token to what it proved. Only good tokens get in, so nobody fills it with
	// forged ones. A hit takes no lock.
	verified *otter.Cache[[sha256.Size]byte, *policy.Subject]
	// certified maps the SHA-256 of a client certificate to the subject that it proved, which is one and the same for all
	// its requests. It decides nothing.
	certified *otter.Cache[[sha256.Size]byte, *policy.Subject]
}

// NewVerifier returns a Verifier.
func NewVerifier(c VerifierConfig) (*Verifier, error) {
	if c.Directory == nil {
		return nil, errors.New("auth: a Verifier needs a Directory")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CacheEntries == 0 {
		c.CacheEntries = DefaultCacheEntries
	}
	options := &otter.Options[[sha256.Size]byte, *policy.Subject]{MaximumSize: c.CacheEntries}
	verified, err := otter.New(options)
	if err != nil {
		return nil, err
	}
	certified, err := otter.New(options)
	if err != nil {
		return nil, err
	}
	return &Verifier{
		directory: c.Directory,
		now:       c.Now,
		access:    newProfile(jwt.SigningMethodEdDSA, accessAudience, accessType, AccessLifetime, c.Now),
		verified:  verified,
		certified: certified,
	}, nil
}

// Authenticate returns the subject that the value of an Authorization header proves: "Bearer" (in any case), a space and
// an access token or a session token (RFC 6750 section 2.1). Errors are fault.Unauthenticated.
func (v *Verifier) Authenticate(authorization string) (*policy.Subject, error) {
	const scheme = "Bearer "
	if len(authorization) <= len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) {
		return nil, refused(errMissing)
	}
	token := authorization[len(scheme):]
	if strings.HasPrefix(token, SessionPrefix) {
		return v.session(token)
	}
	return v.Verify(token)
}

func (v *Verifier) session(token string) (*policy.Subject, error) {
	hash, ok := HashSession(token)
	if !ok {
		return nil, refused(errMalformed)
	}
	s := v.directory.SessionSubject(hash)
	if s == nil {
		return nil, refused(errNoSession)
	}
	if !v.now().Before(s.Expires) {
		return nil, refused(errExpired)
	}
	return s, nil
}

// Verify returns the application that an access token proves. Errors are fault.Unauthenticated.
//
// A token that was good once is answered from memory until it expires: the engine compares the subject with the
// application's current record, its key id included, on every operation.
func (v *Verifier) Verify(token string) (*policy.Subject, error) {
	if len(token) > MaxTokenBytes {
		return nil, refused(errMalformed)
	}
	// The usual token fits the array, so that hashing it allocates nothing.
	var text [1 << 10]byte
	hash := sha256.Sum256(append(text[:0], token...))
	if s, ok := v.verified.GetIfPresent(hash); ok {
		if v.now().Before(s.Expires) {
			return s, nil
		}
		v.verified.Invalidate(hash)
		return nil, refused(errExpired)
	}
	var credential string
	c, err := v.access.parse(token, func(keyID string, c *claims) (any, error) {
		credential = keyID
		return v.applicationKey(keyID, c)
	})
	if err != nil {
		return nil, refused(err)
	}
	s := &policy.Subject{
		Kind:       policy.KindApplication,
		ID:         c.Subject,
		Tenant:     c.Tenant,
		Credential: credential,
		IssuedAt:   c.IssuedAt,
		Narrowed:   c.Contexts,
		Expires:    time.Unix(c.ExpiresAt, 0),
	}
	v.verified.Set(hash, s)
	return s, nil
}

// applicationKey returns the public key in the record of the application that the claims name.
func (v *Verifier) applicationKey(keyID string, c *claims) (any, error) {
	app := v.directory.Application(c.Subject)
	switch {
	case app == nil, app.Status != directory.Enabled:
		return nil, errUnknown
	case c.Tenant == "", c.Tenant != app.Tenant:
		return nil, errClaims
	case keyID == "", keyID != app.KeyID:
		return nil, errKeyID
	case len(app.PublicKey) != ed25519.PublicKeySize:
		return nil, errUnknown
	default:
		return ed25519.PublicKey(app.PublicKey), nil
	}
}
