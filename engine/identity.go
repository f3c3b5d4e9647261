package engine

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// Application returns the newest record of an application, or nil. It is for checking a token's signature; what the
// application may do is decided at each operation.
func (e *Engine) Application(id string) *directory.Application {
	return e.ledger.View().Application(id)
}

// SessionSubject returns the user that a session token with this SHA-256 stands for, or nil when the session is unknown or
// over, or its user or tenant disabled.
func (e *Engine) SessionSubject(hash [32]byte) *policy.Subject {
	view := e.ledger.View()
	session := view.Session(hash)
	if session == nil {
		return nil
	}
	s := &policy.Subject{
		Kind: policy.KindUser, ID: session.User, Tenant: session.Tenant, Session: hash, Expires: time.UnixMilli(session.ExpiresAt),
	}
	if _, err := e.user(view, s); err != nil {
		return nil
	}
	return s
}

// RefreshKey returns the key that signs refresh tokens: 32 bytes, derived in the token.
func (e *Engine) RefreshKey(ctx context.Context) (secret.Bytes, error) {
	return e.vault.Expand(ctx, PurposeInfo(purposeRefreshToken), derivedBytes)
}

// AccessSigner returns the Ed25519 key that signs an application's access tokens, and its kid. The application must be
// enabled and its key kept here.
func (e *Engine) AccessSigner(ctx context.Context, applicationID string) (crypto.Signer, string, error) {
	app := e.ledger.View().Application(applicationID)
	if app == nil || app.Status != directory.Enabled {
		return nil, "", errNotAuthenticated
	}
	if len(app.SealedKey) == 0 {
		return nil, "", fault.New(fault.Conflict, "engine.identity", "the application signs its own tokens")
	}
	seed, err := e.unsealKey(ctx, app.Tenant, app.KeyID, applicationKeyVersion, applicationKeyAlgorithm, app.SealedKey)
	if err != nil {
		return nil, "", err
	}
	defer seed.Destroy()
	return ed25519.NewKeyFromSeed(seed.Reveal()), app.KeyID, nil
}

// An application's key has one version: a new key has a new id.
const (
	applicationKeyVersion   = 1
	applicationKeyAlgorithm = "Ed25519"
)

// StartRefresh records a new family of refresh tokens for an application of the caller's tenant.
func (e *Engine) StartRefresh(ctx context.Context, c *Call, family directory.RefreshFamily) error {
	return e.create(ctx, c, policy.IssueToken, family.Application, func() (command.Command, error) {
		if family.Tenant != c.Subject.Tenant {
			return nil, errNotAllowed
		}
		return command.CreateRefresh{Family: family}, nil
	})
}

// RefreshRotation is a refresh token that was presented and the one that replaces it, both as SHA-256.
type RefreshRotation struct {
	Family    string
	Presented [32]byte
	Next      [32]byte
	ExpiresAt time.Time // of the next token
}

// RotateRefresh replaces the newest refresh token of a family. A token that is not the newest was used before: it revokes
// the family and is fault.Unauthenticated. The caller has verified the token's signature.
func (e *Engine) RotateRefresh(ctx context.Context, c *Call, rotation RefreshRotation) error {
	r := c.begin(policy.RefreshToken)
	r.Resource = rotation.Family
	if err := e.mayRefresh(&r, rotation.Family); err != nil {
		return e.finish(c, &r, err)
	}
	err := e.propose(ctx, c, &r, command.RotateRefresh{
		Family: rotation.Family, Presented: rotation.Presented, Next: rotation.Next,
		At: e.now().UnixMilli(), ExpiresAt: rotation.ExpiresAt.UnixMilli(),
	})
	if fault.Of(err) == fault.Unauthenticated {
		return errNotAuthenticated
	}
	return err
}

// mayRefresh decides whether a family of refresh tokens may go on, and names its application in the record: the token is
// the credential here, so the caller is not yet a subject.
func (e *Engine) mayRefresh(r *audit.Record, familyID string) error {
	view := e.ledger.View()
	family := view.RefreshFamily(familyID)
	if family == nil {
		return errNotAuthenticated
	}
	r.Tenant, r.Subject, r.Kind = family.Tenant, family.Application, policy.KindApplication.String()
	tenant := view.Tenant(family.Tenant).Record()
	if tenant == nil || tenant.Status != directory.Enabled {
		return errNotAuthenticated
	}
	app := view.Application(family.Application)
	if app == nil || app.Status != directory.Enabled {
		return errNotAuthenticated
	}
	return nil
}
