package auth

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// Authority is what an Issuer needs of the engine: the keys that sign tokens and the record of refresh tokens.
type Authority interface {
	// Application returns the newest record of an application, or nil.
	Application(id string) *directory.Application
	// AccessSigner opens the application's own Ed25519 key and names it.
	AccessSigner(ctx context.Context, applicationID string) (key crypto.Signer, keyID string, err error)
	// RefreshKey derives the 32 bytes under which refresh tokens are authenticated. The caller destroys them.
	RefreshKey(ctx context.Context) (secret.Bytes, error)
	// StartRefresh records a first refresh token.
	StartRefresh(ctx context.Context, call *engine.Call, family directory.RefreshFamily) error
	// RotateRefresh replaces a refresh token. Use of an old one revokes the family and is fault.Unauthenticated.
	RotateRefresh(ctx context.Context, call *engine.Call, rotation engine.RefreshRotation) error
	// RevokeToken ends a family of refresh tokens or a session.
	RevokeToken(ctx context.Context, call *engine.Call, what engine.Revocation) error
}

// contextsClaimBytes bounds the context names in a token, so that it stays well below MaxTokenBytes.
const contextsClaimBytes = 4 << 10

// Tokens is what an application gets: an access token and the refresh token for the next time.
type Tokens struct {
	Access         string
	AccessExpires  time.Time
	Refresh        string
	RefreshExpires time.Time
}

// Issuer makes the tokens of applications. Goroutines share it.
type Issuer struct {
	authority Authority
	now       func() time.Time
	refresh   profile
}

// NewIssuer returns an Issuer. A nil now means time.Now.
func NewIssuer(authority Authority, now func() time.Time) (*Issuer, error) {
	if authority == nil {
		return nil, errors.New("auth: an Issuer needs an Authority")
	}
	if now == nil {
		now = time.Now
	}
	return &Issuer{
		authority: authority,
		now:       now,
		refresh:   newProfile(jwt.SigningMethodHS256, refreshAudience, refreshType, RefreshLifetime, now),
	}, nil
}

// IssueAccess returns an access token for an application, narrowed to the contexts that its record grants now. An
// application with so many contexts that a token could not hold them gets one that is not narrowed: the record decides
// either way. Errors are those of Authority.AccessSigner.
//
// Just after all tokens of the application were revoked it waits, for about a second, until a new one is told from an old one.
func (i *Issuer) IssueAccess(ctx context.Context, app *directory.Application) (token string, expires time.Time, err error) {
	signer, keyID, err := i.authority.AccessSigner(ctx, app.ID)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("open the signing key of application %s: %w", app.ID, err)
	}
	c := i.claims(app, accessAudience, accessType, AccessLifetime)
	if app.NotBefore != 0 {
		c.IssuedAt = max(c.IssuedAt, app.NotBefore/1000+1)
		if err := i.settle(ctx, c.IssuedAt); err != nil {
			return "", time.Time{}, err
		}
	}
	c.Name, c.Team, c.Environment = app.Name, app.Team, app.Environment
	c.Contexts = contextNames(app)
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"] = keyID
	token, err = t.SignedString(signer)
	if err != nil {
		return "", time.Time{}, fault.Wrap(fault.Internal, "sign access token", "", err)
	}
	if len(token) > MaxTokenBytes {
		return "", time.Time{}, fault.New(fault.Internal, "sign access token", "the application's record is too long for a token")
	}
	return token, time.Unix(c.ExpiresAt, 0), nil
}

// settle waits until a token with this time of issue is good.
func (i *Issuer) settle(ctx context.Context, issuedAt int64) error {
	ahead := time.Unix(issuedAt, 0).Sub(i.now().Add(leeway))
	switch {
	case ahead <= 0:
		return nil
	case ahead > 2*leeway:
		return fault.New(fault.Unavailable, "sign access token", "the clocks of the nodes are too far apart to tell new tokens from old ones")
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, "sign access token", "new tokens can be issued a second after the old ones were revoked", ctx.Err())
	}
}

// Issue returns the tokens that an application begins with: an access token, and the first refresh token of a new family.
// Errors are those of IssueAccess and StartRefresh.
func (i *Issuer) Issue(ctx context.Context, call *engine.Call, app *directory.Application) (t Tokens, err error) {
	if t.Access, t.AccessExpires, err = i.IssueAccess(ctx, app); err != nil {
		return Tokens{}, err
	}
	if t.Refresh, t.RefreshExpires, err = i.StartRefresh(ctx, call, app); err != nil {
		return Tokens{}, err
	}
	return t, nil
}

// Revoke ends what a token stands for: the family of a refresh token, or a session. Anything else, such as an access token,
// is no error and changes nothing (RFC 7009 section 2.2). Errors are those of Authority.
func (i *Issuer) Revoke(ctx context.Context, call *engine.Call, token string) error {
	var what engine.Revocation
	if strings.HasPrefix(token, SessionPrefix) {
		what.Session, _ = HashSession(token)
		return i.authority.RevokeToken(ctx, call, what)
	}
	c, _, key, err := i.verifyRefresh(ctx, token, true)
	key.Destroy()
	switch {
	case err == nil:
		what.Tenant, what.Family = c.Tenant, c.Family
	case !errors.Is(err, fault.Unauthenticated):
		return err
	}
	return i.authority.RevokeToken(ctx, call, what)
}

// StartRefresh returns the first refresh token of a new family and records its hash. Errors are those of
// Authority.RefreshKey and Authority.StartRefresh.
func (i *Issuer) StartRefresh(ctx context.Context, call *engine.Call, app *directory.Application) (token string, expires time.Time, err error) {
	key, err := i.authority.RefreshKey(ctx)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("derive the refresh key: %w", err)
	}
	defer key.Destroy()
	family := "fam_" + hex.EncodeToString(random16())
	token, expires, err = i.signRefresh(key, app, family)
	if err != nil {
		return "", time.Time{}, err
	}
	err = i.authority.StartRefresh(ctx, call, directory.RefreshFamily{
		ID:          family,
		Tenant:      app.Tenant,
		Application: app.ID,
		Hash:        sha256.Sum256([]byte(token)),
		CreatedAt:   i.now().UnixMilli(),
		ExpiresAt:   expires.UnixMilli(),
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return token, expires, nil
}

// Refresh takes a refresh token and returns a new access token and the refresh token that replaces it. It leaves the
// application as subject in the call once the token is proved.
//
// All that can fail is done before the ledger is told: a dead HSM does not use up the refresh token. Errors are
// fault.Unauthenticated for a token that is not, or no longer, good, and those of Authority.
func (i *Issuer) Refresh(ctx context.Context, call *engine.Call, presented string) (Tokens, error) {
	c, app, key, err := i.verifyRefresh(ctx, presented, false)
	defer key.Destroy()
	if err != nil {
		return Tokens{}, err
	}
	call.Subject = &policy.Subject{
		Kind: policy.KindApplication, ID: app.ID, Tenant: app.Tenant, Credential: app.KeyID,
		IssuedAt: c.IssuedAt, Expires: time.Unix(c.ExpiresAt, 0),
	}
	var t Tokens
	if t.Access, t.AccessExpires, err = i.IssueAccess(ctx, app); err != nil {
		return Tokens{}, err
	}
	if t.Refresh, t.RefreshExpires, err = i.signRefresh(key, app, c.Family); err != nil {
		return Tokens{}, err
	}
	err = i.authority.RotateRefresh(ctx, call, engine.RefreshRotation{
		Family:    c.Family,
		Presented: sha256.Sum256([]byte(presented)),
		Next:      sha256.Sum256([]byte(t.Refresh)),
		ExpiresAt: t.RefreshExpires,
	})
	if errors.Is(err, fault.Unauthenticated) {
		// The same words as for a token that was never good.
		return Tokens{}, refused(err)
	}
	if err != nil {
		return Tokens{}, err
	}
	return t, nil
}

// verifyRefresh returns the claims of a refresh token, the application it belongs to and the key that proved it, which the
// caller destroys in any case. The key is derived last, so that a token for nobody costs no call to the HSM. Only who asks for
// it gets those of a disabled application.
func (i *Issuer) verifyRefresh(ctx context.Context, token string, disabled bool) (*claims, *directory.Application, secret.Bytes, error) {
	var (
		app       *directory.Application
		key       secret.Bytes
		deriveErr error
	)
	c, err := i.refresh.parse(token, func(keyID string, c *claims) (any, error) {
		app = i.authority.Application(c.Subject)
		switch {
		case keyID != "":
			return nil, errKeyID
		case app == nil, app.Status != directory.Enabled && !disabled:
			return nil, errUnknown
		case c.Tenant == "", c.Tenant != app.Tenant, c.Family == "":
			return nil, errClaims
		}
		key, deriveErr = i.authority.RefreshKey(ctx)
		return key.Reveal(), deriveErr
	})
	if deriveErr != nil {
		return nil, nil, key, fmt.Errorf("derive the refresh key: %w", deriveErr)
	}
	if err != nil {
		return nil, nil, key, refused(err)
	}
	return c, app, key, nil
}

func (i *Issuer) signRefresh(key secret.Bytes, app *directory.Application, family string) (string, time.Time, error) {
	c := i.claims(app, refreshAudience, refreshType, RefreshLifetime)
	c.Family = family
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(key.Reveal())
	if err != nil {
		return "", time.Time{}, fault.Wrap(fault.Internal, "sign refresh token", "", err)
	}
	return token, time.Unix(c.ExpiresAt, 0), nil
}

func (i *Issuer) claims(app *directory.Application, audience, kind string, lifetime time.Duration) *claims {
	now := i.now()
	return &claims{
		Issuer: issuer, Subject: app.ID, Audience: audience, Type: kind, Tenant: app.Tenant,
		ID:        base64.RawURLEncoding.EncodeToString(random16()),
		IssuedAt:  now.Unix(),
		ExpiresAt: now.Add(lifetime).Unix(),
	}
}

// contextNames returns the contexts that a token is narrowed to, nil when they are too many for it.
func contextNames(app *directory.Application) []string {
	names, size := make([]string, 0, len(app.Grants)), 0
	for _, g := range app.Grants {
		names = append(names, g.Context)
		size += len(g.Context) + len(`"",`)
	}
	if size > contextsClaimBytes {
		return nil
	}
	return names
}

func random16() []byte {
	b := make([]byte, 16)
	rand.Read(b)
	return b
}
