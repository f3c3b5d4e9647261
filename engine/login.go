package engine

import (
	"context"
	"fmt"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/password"
	"cryptoserve/engine/policy"
)

// The length of a user's password, in bytes.
const (
	PasswordMin = 12
	PasswordMax = 1024
)

// DefaultTenant is the name of the tenant that a login is for when it names none.
const DefaultTenant = "default"

// What session.Provider says of sessions that no identity provider stands behind.
const (
	providerPassword   = "password"
	providerDevice     = "device"
	providerInvitation = "invitation"
)

// unknownName stands in the record of a login under a name that nobody has: it may be a password in the wrong field.
const unknownName = "unknown"

const causePassword fault.Cause = "password"

// LoginRequest is a name with a password, and the hash of the token that the session is to have.
type LoginRequest struct {
	Tenant   string // its name; empty means DefaultTenant
	Name     string
	Password []byte
	Session  [32]byte
}

// Login makes a session of whoever knows the password. A name that nobody has, a wrong password, a user without one and one who
// is disabled cost the same work and get the same answer.
func (e *Engine) Login(ctx context.Context, c *Call, in *LoginRequest) (SessionInfo, error) {
	r := c.begin(policy.Login)
	r.Resource = unknownName
	if len(in.Password) == 0 || len(in.Password) > PasswordMax {
		err := malformedField("password", "is empty or too long")
		if limited := e.visit(c); limited != nil {
			err = limited
		}
		return SessionInfo{}, e.finishGuest(c, &r, err)
	}
	name := in.Tenant
	if name == "" {
		name = DefaultTenant
	}
	if err := e.look(c); err != nil {
		return SessionInfo{}, e.finishGuest(c, &r, err)
	}
	view := e.ledger.View()
	var user *directory.User
	tenant := view.TenantNamed(name)
	if tenant != nil {
		r.Tenant = tenant.ID
		user = view.Tenant(tenant.ID).UserNamed(in.Name)
	}
	if user != nil {
		r.Resource = user.Name
	}
	who := loginGuests(c.Source, name, in.Name)
	if err := e.try(who...); err != nil {
		return SessionInfo{}, e.finishGuest(c, &r, err)
	}
	check, err := e.checkPassword(ctx, user, in.Password)
	switch {
	case err != nil:
		return SessionInfo{}, e.finish(c, &r, err)
	case check.cause != "":
		err = signInRefused(check.cause)
	case tenant.Status != directory.Enabled || user.Status != directory.Enabled:
		err = signInRefused("disabled")
	}
	if err != nil {
		e.failed(who...)
		return SessionInfo{}, e.finish(c, &r, err)
	}
	e.succeeded(who...)
	// He has proved who he is, so he may mend a full disk.
	r.Tenant, r.Subject, r.Kind, r.Administrative = user.Tenant, user.ID, policy.KindUser.String(), true
	var info SessionInfo
	err = e.steps(c, &r, func() (err error) {
		info, err = e.startSession(ctx, c, &r, user, providerPassword, in.Session)
		return err
	})
	if err != nil {
		return SessionInfo{}, err
	}
	if check.rehash {
		e.rehash(ctx, user, in.Password)
	}
	return info, nil
}

// passwordCheck is what came of comparing a password: the cause is empty if it is the right one.
type passwordCheck struct {
	cause  fault.Cause
	rehash bool
}

// checkPassword compares a password with a user's, or with none at the same cost when there is no user or he has none that this
// node may compare.
func (e *Engine) checkPassword(ctx context.Context, u *directory.User, pass []byte) (passwordCheck, error) {
	stored, why := e.decoy, fault.Cause("user")
	switch {
	case u == nil:
	case u.Password == "":
		why = "no-password"
	default:
		stored, why = u.Password, ""
		if name, err := password.Identify(stored); err != nil || e.gate(passwordRow(name), algs.Process) != nil {
			stored, why = e.decoy, "algorithm"
		}
	}
	got, err := e.verify(ctx, stored, pass)
	switch {
	case fault.Of(err) == fault.Malformed: // no algorithm takes it: it is not the one
		got.Valid = false
	case err != nil:
		return passwordCheck{}, err
	}
	if why == "" && !got.Valid {
		why = causePassword
	}
	return passwordCheck{cause: why, rehash: got.Valid && (got.NeedsRehash || e.fips.Choose(got.Algorithm) != got.Algorithm)}, nil
}

// passwordRow returns the row of an algorithm of package password. Names that the table does not have (bcrypt,
// Argon2i) are not approved.
func passwordRow(name algs.Name) algs.Row {
	row, _ := algs.Lookup(name)
	row.Name = name
	return row
}

// rehash stores a password anew as it would be stored today. Nothing waits for its success: the next login tries again.
func (e *Engine) rehash(ctx context.Context, u *directory.User, pass []byte) {
	encoded, err := e.hashPassword(ctx, pass)
	if err == nil {
		_, err = e.ledger.Propose(ctx, command.SetPassword{Tenant: u.Tenant, User: u.ID, Password: encoded, Anew: u.Password})
	}
	if err != nil {
		e.log.Warn("a password could not be hashed anew", "user", u.ID, "error", err)
	}
}

func (e *Engine) hashPassword(ctx context.Context, pass []byte) (string, error) {
	return password.Hash(ctx, e.fips.Choose(algs.Argon2id), pass, nil)
}

// newPassword checks and hashes a password that a user is to have. Field names it in a refusal.
func (e *Engine) newPassword(ctx context.Context, field string, pass []byte) (string, error) {
	if len(pass) < PasswordMin || len(pass) > PasswordMax {
		return "", malformedField(field, fmt.Sprintf("must have %d to %d bytes", PasswordMin, PasswordMax))
	}
	return e.hashPassword(ctx, pass)
}

// ChangePassword gives the user another password and ends his other sessions. He must know the one that he has: a session that
// was stolen is not enough.
func (e *Engine) ChangePassword(ctx context.Context, c *Call, current, next []byte) error {
	r := c.begin(policy.ChangePassword)
	return e.changeAs(ctx, c, &r, policy.ChangePassword, func(u *directory.User) (command.Command, error) {
		if u.Password == "" {
			return nil, fault.New(fault.Conflict, "engine.password", "the user has no password here")
		}
		if len(next) < PasswordMin || len(next) > PasswordMax {
			return nil, malformedField("new", fmt.Sprintf("must have %d to %d bytes", PasswordMin, PasswordMax))
		}
		who := userGuests(forPassword, c.Source, u.ID)
		if err := e.try(who...); err != nil {
			return nil, err
		}
		check, err := e.checkPassword(ctx, u, current)
		if err != nil {
			return nil, err
		}
		if check.cause != "" {
			e.failed(who...)
			return nil, fault.Wrap(fault.Forbidden, "engine.password", "the current password is wrong", check.cause)
		}
		e.succeeded(who...)
		encoded, err := e.newPassword(ctx, "new", next)
		if err != nil {
			return nil, err
		}
		return command.SetPassword{Tenant: u.Tenant, User: u.ID, Password: encoded, Keep: c.Subject.Session}, nil
	})
}
