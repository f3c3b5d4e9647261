package hsm

import (
	"context"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// session is the right to make calls to the token: whoever has one knows that the module will not be finalised. The
// handle is replaced in place when the token loses it.
type session struct {
	handle pkcs11.SessionHandle
	home   chan *session // where it waits while idle
}

func (s *session) giveBack() { s.home <- s }

// pool holds the idle sessions. One is set aside for the health check, so that load never looks like an outage, and one to
// keep the unwrapped keys in: they last as long as it does.
type pool struct {
	idle   chan *session
	probe  chan *session
	keeper chan *session
	// exclusive holds one value while nobody collects every session.
	exclusive chan struct{}
}

func newPool(sessions int) *pool {
	p := &pool{
		idle:      make(chan *session, sessions),
		probe:     make(chan *session, 1),
		keeper:    make(chan *session, 1),
		exclusive: make(chan struct{}, 1),
	}
	p.exclusive <- struct{}{}
	return p
}

// fill puts sessions with these handles into the empty pool.
func (p *pool) fill(handles []pkcs11.SessionHandle) {
	p.probe <- &session{handles[0], p.probe}
	p.keeper <- &session{handles[1], p.keeper}
	for _, h := range handles[2:] {
		p.idle <- &session{h, p.idle}
	}
}

// size is the number of sessions, those set aside included.
func (p *pool) size() int { return cap(p.idle) + cap(p.probe) + cap(p.keeper) }

// take returns a session from one of the pool's channels. It waits no longer than wait, stops when the context ends and
// when stop is closed. taken is false when it got none.
func take(ctx context.Context, from chan *session, wait time.Duration, stop <-chan struct{}) (s *session, taken bool) {
	select {
	case s := <-from:
		return s, true
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case s := <-from:
		return s, true
	case <-timer.C:
	case <-ctx.Done():
	case <-stop:
	}
	return nil, false
}

// borrow returns an idle session, or says at once why there is none.
func (t *Token) borrow(ctx context.Context, op string) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "the request ended before it reached the token", err)
	}
	h := t.health.Load()
	if err := h.refuse(op); err != nil {
		return nil, err
	}
	s, taken := take(ctx, t.pool.idle, t.cfg.Wait, h.changed)
	// Look again: whoever holds a session of a token that is up may call it, because recovery needs that session first.
	if err := t.health.Load().refuse(op); err != nil {
		if taken {
			s.giveBack()
		}
		return nil, err
	}
	if taken {
		return s, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "the request ended before the token was free", err)
	}
	return nil, fault.New(fault.HSMUnavailable, op, "every session of the token is busy; try again")
}

// do borrows a session for one operation. f may run twice, the second time with a new session, so all it does before its
// last call must be repeatable. The error f returns decides what is thought of the token; see attempt.
func (t *Token) do(ctx context.Context, op string, f func(*session) error) error {
	s, err := t.borrow(ctx, op)
	if err != nil {
		return err
	}
	defer s.giveBack()
	return describe(op, t.attempt(s, f))
}

// attempt runs f, once more with a new session when the old one was lost, and marks the token down when the error means
// that, or when the error means nothing and the token then fails the health check.
func (t *Token) attempt(s *session, f func(*session) error) error {
	err := f(s)
	if classOf(err) == classSession {
		if rerr := t.replace(s); rerr != nil {
			t.markDown(rerr)
			return err
		}
		if err = f(s); classOf(err) == classSession {
			// A new session is lost at once: that is not about a session.
			t.markDown(err)
		}
	}
	switch classOf(err) {
	case classNone, classRequest, classSession:
	case classObject, classUnspecific:
		if perr := t.retryAlive(s); perr != nil {
			t.markDown(perr)
		}
	case classGone, classPIN:
		t.markDown(err)
	}
	return err
}

// retryAlive is the health check with a session that may have been left in a bad state by the call that failed.
func (t *Token) retryAlive(s *session) error {
	err := t.alive(s)
	if classOf(err) != classSession {
		return err
	}
	if err := t.replace(s); err != nil {
		return err
	}
	return t.alive(s)
}

// replace opens a new session before it closes the old one: modules take the end of the last session for a logout, and
// SoftHSM2 can lose another thread's new session with it.
func (t *Token) replace(s *session) error {
	fresh, err := t.module.OpenSession(t.slot, sessionFlags)
	if err != nil {
		return err
	}
	old := s.handle
	s.handle = fresh
	// The old session is lost or useless, so there is nothing to learn from how its end went.
	_ = t.module.CloseSession(old)
	return nil
}

// exclusively runs f while it holds every session, so that no call to the token runs and none can begin. Operations wait
// for it as for a busy token. It waits for running calls as long as the context lets it.
func (t *Token) exclusively(ctx context.Context, op string, f func(all []*session) error) error {
	select {
	case <-t.pool.exclusive:
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, op, "the request ended before the token was free", ctx.Err())
	}
	defer func() { t.pool.exclusive <- struct{}{} }()
	var all []*session
	defer func() {
		for _, s := range all {
			s.giveBack()
		}
	}()
	for len(all) < t.pool.size() {
		// The keeper comes last: an operation with a session of its own may wait for it.
		var keeper chan *session
		if len(all) == t.pool.size()-1 {
			keeper = t.pool.keeper
		}
		select {
		case s := <-t.pool.idle:
			all = append(all, s)
		case s := <-t.pool.probe:
			all = append(all, s)
		case s := <-keeper:
			all = append(all, s)
		case <-ctx.Done():
			return fault.Wrap(fault.HSMUnavailable, op, "a call to the token has not returned", ctx.Err())
		}
	}
	return f(all)
}
