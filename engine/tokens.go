package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// TokenLeeway is how far the clock of whoever issued a token may be ahead of the clock of the node that looks at it.
const TokenLeeway = 5 * time.Second

// maxFamilies is how many families of refresh tokens of one application may be good at once.
const maxFamilies = 1000

// StartRefresh records a new family of refresh tokens for an application of the caller's tenant: for the appliance, and for a
// user who may rotate the tokens of the application.
func (e *Engine) StartRefresh(ctx context.Context, c *Call, family directory.RefreshFamily) error {
	r := c.begin(policy.IssueToken)
	r.Resource = family.Application
	action := policy.IssueToken
	if c.Subject != nil && c.Subject.Kind == policy.KindUser {
		action = policy.RotateTokens
	}
	return e.changeAs(ctx, c, &r, action, func(user *directory.User) (command.Command, error) {
		if family.Tenant != c.Subject.Tenant {
			return nil, errNotAllowed
		}
		if _, err := e.applicationFor(c.Subject, user, action, family.Application); err != nil {
			return nil, err
		}
		if len(e.liveFamilies(family.Tenant, family.Application)) >= maxFamilies {
			return nil, fault.New(fault.Conflict, "engine.tokens",
				"the application has too many refresh tokens: revoke them, or wait until some expire")
		}
		return command.CreateRefresh{Family: family}, nil
	})
}

// liveFamilies returns the families of an application that can still be refreshed, the oldest first.
func (e *Engine) liveFamilies(tenant, application string) []*directory.RefreshFamily {
	now := e.now().UnixMilli()
	list := slices.DeleteFunc(e.ledger.View().Tenant(tenant).RefreshFamilies(application), func(f *directory.RefreshFamily) bool {
		return f.Revoked || f.ExpiresAt <= now
	})
	slices.SortFunc(list, func(a, b *directory.RefreshFamily) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list
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
	err := e.look(c)
	if err == nil {
		err = e.mayRefresh(&r, rotation.Family)
	}
	if err != nil {
		return e.finish(c, &r, err)
	}
	err = e.propose(ctx, c, &r, command.RotateRefresh{
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
	if family.Revoked || family.ExpiresAt <= e.now().UnixMilli() { // it stays so: the ledger need not be asked
		return fault.Wrap(fault.Unauthenticated, errNotAuthenticated.Op, errNotAuthenticated.Detail, fault.Cause("refresh-revoked"))
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

// Revocation is what somebody who shows a token gives up with it: a family of refresh tokens, or the session whose token has
// this SHA-256. One that is neither is a token that nobody knows.
type Revocation struct {
	Tenant, Family string // of a refresh token whose signature was verified
	Session        [32]byte
}

// RevokeToken ends what a token stood for. Whoever has the token may: the caller has verified it. A token that nobody knows,
// or that has ended, is not an error (RFC 7009 section 2.2).
func (e *Engine) RevokeToken(ctx context.Context, c *Call, what Revocation) error {
	r := c.begin(policy.RevokeToken)
	if err := e.visit(c); err != nil {
		return e.finishGuest(c, &r, err)
	}
	// Through the log, also what is unknown here or has ended: it may have begun on another node just now, and a caller that
	// repeats itself because its answer did not come is to be sure, too, that it has ended on every node.
	alone := e.ledger.Lease() == settled
	view := e.ledger.View()
	if what.Family != "" {
		r.Resource, r.Tenant = what.Family, what.Tenant
		if family := view.RefreshFamily(what.Family); family != nil {
			r.Subject, r.Kind = family.Application, policy.KindApplication.String()
		}
		return e.propose(ctx, c, &r, command.RevokeRefresh{Tenant: what.Tenant, Family: what.Family})
	}
	if session := view.Session(what.Session); session != nil {
		r.Tenant, r.Subject, r.Kind = session.Tenant, session.User, policy.KindUser.String()
	} else {
		r.Cause = causeUnknownToken
		if alone {
			c.noRight()
			return e.finish(c, &r, nil)
		}
	}
	return e.propose(ctx, c, &r, command.EndSession{Hash: what.Session})
}

const causeUnknownToken = "unknown-token"

// VerifyToken tells whose access token somebody has, from the subject that it proved; nil proved none. The answer is nil when
// the token gives no right now, or belongs to another tenant than the caller's.
func (e *Engine) VerifyToken(_ context.Context, c *Call, proved *policy.Subject) (*directory.Application, error) {
	r := c.begin(policy.VerifyToken)
	err := e.authorizeFree(c, policy.VerifyToken)
	var app *directory.Application
	if err == nil && proved != nil && proved.Tenant == c.Subject.Tenant {
		view := e.ledger.View()
		if found, err := application(view, view.Tenant(proved.Tenant), proved); err == nil {
			app, r.Resource = found, found.ID
		}
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return app, nil
}

// TokensInfo tells what an application authenticates with, and which of its families of refresh tokens can be refreshed, the
// oldest first.
type TokensInfo struct {
	Application *directory.Application
	Families    []*directory.RefreshFamily
}

// ApplicationTokens describes the tokens of an application of the caller's tenant.
func (e *Engine) ApplicationTokens(_ context.Context, c *Call, id string) (TokensInfo, error) {
	r := c.begin(policy.ReadTokens)
	app, err := e.readApplication(c, &r, policy.ReadTokens, id)
	var info TokensInfo
	if err == nil {
		info = TokensInfo{Application: app, Families: e.liveFamilies(app.Tenant, app.ID)}
	}
	if err := e.finish(c, &r, err); err != nil {
		return TokensInfo{}, err
	}
	return info, nil
}

// ApplicationKey is what an application authenticates with that keeps its key itself: an Ed25519 key (32 bytes) that signs its
// tokens, the SHA-256 of the SubjectPublicKeyInfo of its client certificate, or both. With neither its key is kept here.
type ApplicationKey struct {
	PublicKey   []byte
	Certificate []byte
}

func (k ApplicationKey) own() bool { return len(k.PublicKey) > 0 || len(k.Certificate) > 0 }

func (k ApplicationKey) check() error {
	if n := len(k.PublicKey); n != 0 && n != 32 {
		return malformedField("public_key", "is not an Ed25519 key")
	}
	if n := len(k.Certificate); n != 0 && n != 32 {
		return malformedField("client_certificate", "is not the hash of a certificate's key")
	}
	return nil
}

// RotateTokens gives an application another key, so that every access token and refresh token that it has ends. An application
// that keeps its key itself brings the next one.
func (e *Engine) RotateTokens(ctx context.Context, c *Call, id string, key ApplicationKey) (*directory.Application, error) {
	r := c.begin(policy.RotateTokens)
	r.Resource = id
	var next directory.Application
	err := e.changeAs(ctx, c, &r, policy.RotateTokens, func(user *directory.User) (command.Command, error) {
		app, err := e.applicationFor(c.Subject, user, policy.RotateTokens, id)
		if err != nil {
			return nil, err
		}
		if err := key.check(); err != nil {
			return nil, err
		}
		if !key.own() && len(app.SealedKey) == 0 {
			return nil, fault.New(fault.Conflict, "engine.tokens",
				"the application keeps its key itself: give its next public_key or client_certificate")
		}
		next = *app
		if err := e.giveKey(ctx, &next, key); err != nil {
			return nil, err
		}
		return command.SetApplicationKey{
			Tenant: next.Tenant, Application: next.ID, KeyID: next.KeyID, PublicKey: next.PublicKey, SealedKey: next.SealedKey,
			Certificate: next.Certificate,
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return &next, nil
}

// RevokeTokens ends every access token and refresh token of an application. Its key stays, and so does its certificate. It
// needs no token, so that it works when nothing else does.
func (e *Engine) RevokeTokens(ctx context.Context, c *Call, id string) error {
	r := c.begin(policy.RevokeTokens)
	r.Resource = id
	return e.changeAs(ctx, c, &r, policy.RevokeTokens, func(user *directory.User) (command.Command, error) {
		app, err := e.applicationFor(c.Subject, user, policy.RevokeTokens, id)
		if err != nil {
			return nil, err
		}
		// Tokens that a clock ahead of this one has issued are good already.
		until := e.now().Add(TokenLeeway)
		return command.RevokeApplicationTokens{Tenant: app.Tenant, Application: app.ID, NotBefore: until.UnixMilli()}, nil
	})
}
