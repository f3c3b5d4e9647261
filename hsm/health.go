package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"cryptoserve/engine/fault"
)

// health is what is thought of the token at one moment. A value never changes but for its channel, which is closed when
// another value takes its place.
type health struct {
	since   time.Time // of the first failure; zero while the token is up
	cause   error     // of that failure
	latched bool      // the token refused the PIN: nothing will be tried
	closed  bool
	changed chan struct{}
}

func (h *health) down() bool { return !h.since.IsZero() }

// refuse returns the error of an operation that must not reach the token now, nil when it may.
func (h *health) refuse(op string) error {
	switch {
	case h.closed:
		return fault.Wrap(fault.HSMUnavailable, op, "the token is closed", ErrClosed)
	case h.latched:
		return fault.Wrap(fault.HSMUnavailable, op, "the token refused the PIN; correct it and restart", h.cause)
	case h.down():
		return fault.Wrap(fault.HSMUnavailable, op, "the token does not answer; try again", h.cause)
	default:
		return nil
	}
}

// DownSince tells since when the token has not answered; down is false while it answers. It makes no call to the token.
func (t *Token) DownSince() (since time.Time, down bool) {
	h := t.health.Load()
	return h.since, h.down()
}

// Status is what is known of the token at one moment.
type Status struct {
	// Down says that the token does not answer, Since from when on.
	Down  bool
	Since time.Time
	// PINRefused says that the token refused the PIN when it came back. It stays down until the process restarts: trying
	// the same PIN again would bring the token nearer to locking itself.
	PINRefused bool
}

// Status tells how the token is. It makes no call to the token.
func (t *Token) Status() Status {
	h := t.health.Load()
	return Status{Down: h.down(), Since: h.since, PINRefused: h.latched}
}

// change replaces the health by what f makes of it, unless f returns nil. It returns the values before and after.
func (t *Token) change(f func(h health) *health) (before, after *health) {
	for {
		before = t.health.Load()
		after = f(*before)
		if after == nil {
			return before, nil
		}
		after.changed = make(chan struct{})
		if t.health.CompareAndSwap(before, after) {
			close(before.changed)
			return before, after
		}
	}
}

// markDown notes the first failure and wakes Run. Later ones change nothing.
func (t *Token) markDown(cause error) {
	_, after := t.change(func(h health) *health {
		if h.down() || h.closed {
			return nil
		}
		h.since, h.cause = time.Now(), cause
		return &h
	})
	if after == nil {
		return
	}
	t.cfg.Log.Error("token is down", "token", t.cfg.TokenLabel, "cause", describe("hsm", cause).Error())
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Token) markUp() {
	before, after := t.change(func(h health) *health {
		if !h.down() || h.closed {
			return nil
		}
		return &health{}
	})
	if after != nil {
		t.cfg.Log.Info("token is back", "token", t.cfg.TokenLabel, "outage", time.Since(before.since))
	}
}

// latch keeps a token down until the process restarts.
func (t *Token) latch(cause error) {
	t.change(func(h health) *health {
		if h.closed || h.latched {
			return nil
		}
		h.latched, h.cause = true, cause
		return &h
	})
}

func (t *Token) markClosed() {
	t.change(func(h health) *health {
		h.closed = true
		return &h
	})
}

// alive is the health check: C_GetTokenInfo, and the key check value of the master key once that is loaded, which proves
// that the handle still names the same key.
func (t *Token) alive(s *session) error {
	info, err := t.module.GetTokenInfo(t.slot)
	if err != nil {
		return err
	}
	if info.Label != t.cfg.TokenLabel {
		return fmt.Errorf("the slot now holds the token %q", info.Label)
	}
	keys := t.keys.Load()
	if keys == nil {
		return nil
	}
	kcv, err := t.hmacKCV(s, keys.master)
	if err != nil {
		return err
	}
	if !bytes.Equal(kcv, keys.identity.master) {
		return fmt.Errorf("%w: the key check value of the master key differs", ErrOtherMaster)
	}
	return nil
}

// The wait between two tries to bring the token back doubles from the first to the last.
const (
	firstBackOff = 250 * time.Millisecond
	lastBackOff  = 5 * time.Second
)

// Run watches the token until the context ends or the Token is closed: a health check every ProbeInterval, and recovery
// as soon as that or an operation finds the token down. Recovery waits for the calls that run, finalises and
// initialises the module, logs in, finds the keys by label and goes on only if they are the same keys. It returns nil.
// One Run is enough.
func (t *Token) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ticker := time.NewTicker(t.cfg.ProbeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.closing:
			return nil
		case <-t.wake:
		case <-ticker.C:
			if !t.health.Load().down() {
				t.check(ctx)
			}
		}
		if h := t.health.Load(); h.down() && !h.latched && !h.closed {
			t.recoverToken(ctx)
		}
	}
}

// check makes one health check and marks the token down when it fails or is not done within Config.Wait.
func (t *Token) check(ctx context.Context) {
	var s *session
	select {
	case s = <-t.pool.probe:
	default:
		return // somebody holds every session, or the last check still hangs and the token is down already
	}
	if t.health.Load().refuse("hsm.check") != nil {
		s.giveBack()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.giveBack()
		if err := t.attempt(s, t.alive); err != nil {
			t.markDown(err)
		}
	}()
	timer := time.NewTimer(t.cfg.Wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-t.closing:
	case <-timer.C:
		t.markDown(fmt.Errorf("no answer to the health check within %v", t.cfg.Wait))
	}
}

// recoverToken brings the token back, or gives up when the context ends, the Token is closed or the PIN is refused. A
// call into the module may never return, so it runs in a goroutine that outlives a Run that has to stop.
func (t *Token) recoverToken(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The error is the context's: whatever goes wrong in between is logged where it happens.
		_ = t.exclusively(ctx, "hsm.recover", func(all []*session) error { return t.reopen(ctx, all) })
	}()
	select {
	case <-done:
	case <-ctx.Done():
	case <-t.closing:
	}
	cancel()
}

// reopen tries until the token is back with the same keys.
func (t *Token) reopen(ctx context.Context, all []*session) error {
	logged := ""
	for wait := firstBackOff; ; wait = min(2*wait, lastBackOff) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := t.restore(all)
		if err == nil {
			t.markUp()
			return nil
		}
		if reason := err.Error(); reason != logged {
			t.cfg.Log.Error("token is not back", "token", t.cfg.TokenLabel, "cause", reason)
			logged = reason
		}
		if errors.Is(err, ErrPIN) {
			t.latch(err)
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// restore makes one try. Where no keys were loaded there are none to compare.
func (t *Token) restore(all []*session) error {
	if err := t.reconnect(all); err != nil {
		return describe("hsm.recover", err)
	}
	if t.keys.Load() == nil {
		return nil
	}
	if err := t.load(all[0]); err != nil {
		return describe("hsm.recover", errors.Join(err, t.detach()))
	}
	return nil
}
