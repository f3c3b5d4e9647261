package engine

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/policy"
)

// maxSessions is how many sessions a user has at most. One more ends the one that was used the longest time ago.
const maxSessions = 100

// SessionInfo is a session with whose it is.
type SessionInfo struct {
	Record *directory.Session
	User   *directory.User
	Tenant *directory.Tenant
}

// Self is what a user may know of himself.
type Self struct {
	SessionInfo
	Actions []policy.Action // what his roles allow, in order
}

// SessionID is the name of a session in lists: it opens nothing.
func SessionID(hash [32]byte) string { return hex.EncodeToString(hash[:8]) }

// steps carries out a change of several commands that no guard ties together: a record before, a record after.
func (e *Engine) steps(c *Call, r *audit.Record, work func() error) error {
	r.Result = audit.Started
	if err := e.record(c, r); err != nil {
		return err
	}
	return e.finish(c, r, work())
}

// signInRefused is the one answer to a sign-in that does not hold.
func signInRefused(cause fault.Cause) error {
	return fault.Wrap(fault.Unauthenticated, "engine.sign-in", "the sign-in failed", cause)
}

// startSession makes a session of a user who has just proved who he is, and looks again afterwards: a session must not come out
// of a password, a role or a status that was taken away meanwhile. Nobody knows its token before that.
func (e *Engine) startSession(
	ctx context.Context, c *Call, r *audit.Record, u *directory.User, provider string, hash [32]byte,
) (SessionInfo, error) {
	r.Tenant, r.Subject, r.Kind = u.Tenant, u.ID, policy.KindUser.String()
	if err := e.makeRoom(ctx, c, u); err != nil {
		return SessionInfo{}, err
	}
	now := e.now()
	s := directory.Session{
		Hash: hash, User: u.ID, Tenant: u.Tenant, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(SessionLifetime).UnixMilli(),
		Provider: provider, Source: c.Source,
	}
	if err := e.commit(ctx, c, command.CreateSession{Session: s}); err != nil {
		return SessionInfo{}, err
	}
	return e.lookAgain(ctx, c, u, hash)
}

// lookAgain tells of a session that the ledger has just made: what this node sees now has all that came before it in the log.
func (e *Engine) lookAgain(ctx context.Context, c *Call, before *directory.User, hash [32]byte) (SessionInfo, error) {
	view := e.ledger.View()
	tenant := view.Tenant(before.Tenant)
	info := SessionInfo{Record: view.Session(hash), User: tenant.User(before.ID), Tenant: tenant.Record()}
	if info.Record != nil && info.User != nil && info.Tenant != nil && info.Tenant.Status == directory.Enabled &&
		info.User.Status == directory.Enabled && info.User.Revision == before.Revision && info.User.Password == before.Password {
		return info, nil
	}
	if err := e.commit(ctx, c, command.EndSession{Hash: hash}); err != nil {
		e.log.Warn("a session that nobody has the token of could not be ended", "error", err)
	}
	return SessionInfo{}, signInRefused("changed")
}

// makeRoom ends sessions of a user who has too many.
func (e *Engine) makeRoom(ctx context.Context, c *Call, u *directory.User) error {
	list := e.ledger.View().Tenant(u.Tenant).Sessions(u.ID)
	if len(list) < maxSessions {
		return nil
	}
	slices.SortFunc(list, func(a, b *directory.Session) int { return int(min(max(a.LastSeen()-b.LastSeen(), -1), 1)) })
	for _, s := range list[:len(list)-maxSessions+1] {
		if err := e.commit(ctx, c, command.EndSession{Hash: s.Hash}); err != nil {
			return err
		}
	}
	return nil
}

// WhoAmI tells a user what he is and may do.
func (e *Engine) WhoAmI(_ context.Context, c *Call) (Self, error) {
	r := c.begin(policy.WhoAmI)
	u, err := e.self(c, policy.WhoAmI)
	var out Self
	if err == nil {
		view := e.ledger.View()
		out.SessionInfo = SessionInfo{Record: view.Session(c.Subject.Session), User: u, Tenant: view.Tenant(u.Tenant).Record()}
		if out.Record == nil || out.Tenant == nil {
			err = errNotAuthenticated // ended since
		}
	}
	if err := e.finish(c, &r, err); err != nil {
		return Self{}, err
	}
	for _, role := range u.Roles {
		out.Actions = append(out.Actions, policy.Actions(role)...)
	}
	slices.Sort(out.Actions)
	out.Actions = slices.Compact(out.Actions)
	return out, nil
}

// self returns the user who calls.
func (e *Engine) self(c *Call, action policy.Action) (*directory.User, error) {
	u, err := e.authorizeChange(c, action)
	if err == nil && u == nil {
		err = errMayNot
	}
	return u, err
}

// Sessions lists the user's own sessions that are not over, the newest first.
func (e *Engine) Sessions(_ context.Context, c *Call) ([]*directory.Session, error) {
	r := c.begin(policy.ListSessions)
	u, err := e.self(c, policy.ListSessions)
	var list []*directory.Session
	if err == nil {
		list = e.ledger.View().Tenant(u.Tenant).Sessions(u.ID)
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	now := e.now().UnixMilli()
	list = slices.DeleteFunc(list, func(s *directory.Session) bool { return isOver(s, now) })
	slices.SortFunc(list, func(a, b *directory.Session) int {
		if a.CreatedAt != b.CreatedAt {
			return int(min(max(b.CreatedAt-a.CreatedAt, -1), 1))
		}
		return slices.Compare(a.Hash[:], b.Hash[:])
	})
	return list, nil
}

// isOver reports whether a session has lasted too long, or was not used for too long.
func isOver(s *directory.Session, now int64) bool {
	return s.ExpiresAt <= now || s.LastSeen()+sessionIdle.Milliseconds() <= now
}

// EndSession ends one of the user's own sessions.
func (e *Engine) EndSession(ctx context.Context, c *Call, id string) error {
	r := c.begin(policy.EndSession)
	r.Resource = id
	return e.changeAs(ctx, c, &r, policy.EndSession, func(u *directory.User) (command.Command, error) {
		list := e.ledger.View().Tenant(u.Tenant).Sessions(u.ID)
		i := slices.IndexFunc(list, func(s *directory.Session) bool { return SessionID(s.Hash) == id })
		if i < 0 {
			return nil, fault.New(fault.NotFound, "engine.session", "there is no such session")
		}
		return command.EndSession{Hash: list[i].Hash}, nil
	})
}

// Logout ends the session that the call was made with.
func (e *Engine) Logout(ctx context.Context, c *Call) error {
	r := c.begin(policy.Logout)
	return e.changeAs(ctx, c, &r, policy.Logout, func(*directory.User) (command.Command, error) {
		return command.EndSession{Hash: c.Subject.Session}, nil
	})
}

// How often it is written down that a session is used, and how long that may take. It is far less than sessionIdle.
const (
	touchEvery   = 15 * time.Minute
	touchTimeout = 5 * time.Second
)

// touchRetry bounds the tries of one session's write, when the cluster cannot agree.
var touchRetry = limit.Rate{PerSecond: 1.0 / 60, Burst: 1}

// touch writes down that a session is used, now and then. Nobody waits for it, and nothing fails with it.
func (e *Engine) touch(s *directory.Session) {
	now := e.now()
	if now.UnixMilli()-s.LastSeen() < touchEvery.Milliseconds() {
		return
	}
	if _, ok := e.guests.touches.Allow(s.Hash, touchRetry, 1, now); !ok {
		return
	}
	hash := s.Hash
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), touchTimeout)
		defer cancel()
		if _, err := e.ledger.Propose(ctx, command.TouchSession{Hash: hash, At: now.UnixMilli()}); err != nil {
			e.log.Debug("the use of a session could not be written down", "error", err)
		}
	})
}
