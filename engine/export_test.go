package engine

import (
	"context"
	"sync/atomic"

	"cryptoserve/engine/keys"
	"cryptoserve/engine/password"
)

// CountDecoys counts the decapsulations with decoy keys from now on.
func (e *Engine) CountDecoys() *atomic.Int64 {
	n := new(atomic.Int64)
	for name, d := range e.decoys {
		e.decoys[name] = countingDecoy{d, n}
	}
	return n
}

type countingDecoy struct {
	decapsulator
	n *atomic.Int64
}

func (c countingDecoy) Decapsulate(ciphertext []byte) ([]byte, error) {
	c.n.Add(1)
	return c.decapsulator.Decapsulate(ciphertext)
}

// Meters returns how many meters there are.
func (e *Engine) Meters() int {
	n := 0
	e.meters.byKey.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

// LeaseLeft returns what is left of this node's lease on a key version. Each call that waits for the next lease has made it
// one smaller than zero.
func (e *Engine) LeaseLeft(keyID string) int64 {
	if m, ok := e.meters.byKey.Load(keyID); ok {
		return m.(*meter).left.Load()
	}
	return 0
}

// HoldSlow takes every turn of slow computations until release is called.
func (e *Engine) HoldSlow() (release func()) {
	for range cap(e.slow) {
		e.slow <- struct{}{}
	}
	return func() {
		for range cap(e.slow) {
			<-e.slow
		}
	}
}

// Cached counts the keys of a version that are in memory.
func (e *Engine) Cached(keyID string) int {
	return e.deks.count(keyID) + e.signers.count(keyID) + e.openers.count(keyID)
}

func (c *keyCache[K]) count(id string) int {
	if _, ok := c.cache.GetEntryQuietly(id); ok {
		return 1
	}
	return 0
}

// Uses counts the key versions whose use is counted on this node.
func (e *Engine) Uses() int {
	n := 0
	e.uses.byKey.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

// CountUse returns what counts one use of a version, as each request does.
func (e *Engine) CountUse(v *keys.Version) func() { return func() { e.processed(v) } }

// CachedKeys returns how many keys are in memory.
func (e *Engine) CachedKeys() int {
	return e.deks.all() + e.signers.all() + e.openers.all()
}

func (c *keyCache[K]) all() int {
	n := 0
	for range c.cache.Keys() {
		n++
	}
	return n
}

// CountPasswords counts the comparisons of passwords from now on.
func (e *Engine) CountPasswords() *atomic.Int64 {
	n := new(atomic.Int64)
	verify := e.verify
	e.verify = func(ctx context.Context, encoded string, pass []byte) (password.Result, error) {
		n.Add(1)
		return verify(ctx, encoded, pass)
	}
	return n
}

// OnPassword runs before each comparison of a password.
func (e *Engine) OnPassword(before func()) {
	verify := e.verify
	e.verify = func(ctx context.Context, encoded string, pass []byte) (password.Result, error) {
		before()
		return verify(ctx, encoded, pass)
	}
}

// CountedKeys returns how many rows of refusals are counted.
func (e *Engine) CountedKeys() int {
	e.guests.counted.mu.Lock()
	defer e.guests.counted.mu.Unlock()
	return len(e.guests.counted.byKey)
}

// WaitBackground waits for the writes that nobody waits for.
func (e *Engine) WaitBackground() { e.background.Wait() }
