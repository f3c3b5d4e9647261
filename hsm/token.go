package hsm

import (
	"context"
	"sync"
	"sync/atomic"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/p11"
)

// Token is the open token of this process. Goroutines may share it.
type Token struct {
	cfg     Config
	module  p11.Module
	pool    *pool
	specs   []spec // the keys of this node's token
	release func() // gives up the ownership of the module

	// Whoever holds a session may read these, whoever holds all of them may change them.
	slot     uint
	attached bool // the module is initialised

	mechanisms atomic.Pointer[map[uint]bool] // that the token has

	ring   *keyring
	keys   atomic.Pointer[keySet] // nil before Provision or Load
	health atomic.Pointer[health]
	keygen chan struct{} // holds one value while no key is being made

	oaep atomic.Pointer[tried] // whether RSA-OAEP with SHA-256 works; nil before somebody asked

	wake      chan struct{} // has a value when Run should look at the health
	closing   chan struct{} // closed by Close
	closeOnce sync.Once
}

// Open connects to the token and logs in. A process has one Token: a second Open fails with fault.Conflict until the
// first is closed. A wrong PIN is one clear error with ErrPIN in its chain, after exactly one try, and the same PIN is
// not tried again in this process. The Token holds no keys before Provision or Load, and recovers only while Run runs.
func Open(ctx context.Context, c Config) (*Token, error) {
	const op = "hsm.Open"
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "", err)
	}
	release, err := claim(op)
	if err != nil {
		return nil, err
	}
	t, err := open(c, release)
	if err != nil {
		release()
		return nil, err
	}
	return t, nil
}

func open(c Config, release func()) (*Token, error) {
	m, err := c.module()
	if err != nil {
		return nil, err
	}
	c.PIN = secret.Copy(c.PIN.Reveal())
	t := &Token{
		cfg:     c,
		module:  m,
		specs:   c.specs(),
		pool:    newPool(c.Sessions),
		ring:    newKeyring(c.UnwrappedKeys),
		release: release,
		keygen:  make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	t.keygen <- struct{}{}
	t.health.Store(&health{changed: make(chan struct{})})
	conn, err := connect(m, &t.cfg, t.pool.size())
	if err != nil {
		c.PIN.Destroy()
		return nil, err
	}
	t.attach(conn)
	t.pool.fill(conn.sessions)
	return t, nil
}

// Close waits for the calls that run, finalises the module, which logs out, and forgets the PIN. When the context ends
// first the module stays as it is, because finalising it under a running call can crash the process; Close may then be
// called again. After Close every operation fails with ErrClosed, and another Token may be opened.
func (t *Token) Close(ctx context.Context) error {
	const op = "hsm.Close"
	t.closeOnce.Do(func() {
		t.markClosed()
		close(t.closing)
	})
	return t.exclusively(ctx, op, func([]*session) error {
		err := t.detach()
		t.cfg.PIN.Destroy()
		t.release()
		return describe(op, err)
	})
}

func (t *Token) attach(c *connection) {
	t.slot, t.attached = c.slot, true
	t.mechanisms.Store(&c.mechanisms)
}

// detach finalises the module. The caller holds every session; their handles, and those of keys, mean nothing afterwards.
func (t *Token) detach() error {
	t.ring.reset()
	if !t.attached {
		return nil
	}
	t.attached = false
	return finalizeQuietly(t.module)
}

// reconnect finalises the module, initialises it again and logs in, and gives every session a new handle. The caller
// holds all of them. When it fails the module is finalised.
func (t *Token) reconnect(all []*session) error {
	if err := t.detach(); err != nil {
		return err
	}
	conn, err := connect(t.module, &t.cfg, len(all))
	if err != nil {
		return err
	}
	t.attach(conn)
	for i, s := range all {
		s.handle = conn.sessions[i]
	}
	return nil
}

// loaded returns the keys, or a fault when the token has none yet.
func (t *Token) loaded(op string) (*keySet, error) {
	if k := t.keys.Load(); k != nil {
		return k, nil
	}
	return nil, fault.Wrap(fault.Unavailable, op, "the keys of the token are not loaded", ErrNotProvisioned)
}
