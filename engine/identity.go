package engine

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"time"

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

// ApplicationByCertificate returns the newest record of the application that authenticates with a client certificate, by the
// SHA-256 of its SubjectPublicKeyInfo, or nil.
func (e *Engine) ApplicationByCertificate(hash [32]byte) *directory.Application {
	return e.ledger.View().ApplicationByCertificate(hash)
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
	e.touch(session)
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
