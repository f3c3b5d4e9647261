package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"cryptoserve/engine/fault"
)

const (
	defaultCachedKeys = 10_000
	defaultCacheIdle  = 15 * time.Minute
)

// destroyer is key material that can be overwritten.
type destroyer interface{ Destroy() }

// held is a key in memory. It is counted: the cache holds one reference and each operation that uses it another, and the
// last to let go overwrites it, so that a key is never overwritten under an operation that works with it.
type held[K destroyer] struct {
	key  K
	refs atomic.Int64
}

func hold[K destroyer](key K) *held[K] {
	h := &held[K]{key: key}
	h.refs.Store(1)
	return h
}

// acquire takes a reference; it fails when the key is gone.
func (h *held[K]) acquire() bool {
	for {
		n := h.refs.Load()
		if n == 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (h *held[K]) release() {
	if h.refs.Add(-1) == 0 {
		h.key.Destroy()
	}
}

// keyCache holds keys by an id: bounded in number, dropped when idle, and unusable when the token has been gone for longer
// than the grace.
type keyCache[K destroyer] struct {
	cache *otter.Cache[string, *held[K]]
	vault Vault
	grace time.Duration
	now   func() time.Time
}

func newKeyCache[K destroyer](c Config) (*keyCache[K], error) {
	if c.CachedKeys == 0 {
		c.CachedKeys = defaultCachedKeys
	}
	if c.CacheIdle == 0 {
		c.CacheIdle = defaultCacheIdle
	}
	cache, err := otter.New(&otter.Options[string, *held[K]]{
		MaximumSize:      c.CachedKeys,
		ExpiryCalculator: otter.ExpiryAccessing[string, *held[K]](c.CacheIdle),
		OnAtomicDeletion: func(d otter.DeletionEvent[string, *held[K]]) { d.Value.release() },
	})
	if err != nil {
		return nil, err
	}
	return &keyCache[K]{cache: cache, vault: c.Vault, grace: c.Grace, now: c.Now}, nil
}

var errTokenGone = fault.New(fault.HSMUnavailable, "engine.keys", "the token does not answer; try again later")

// cached returns a key that is in memory, which the caller must release, or nil.
func (c *keyCache[K]) cached(id string) (*held[K], error) {
	if !c.usable() {
		return nil, errTokenGone
	}
	if h, ok := c.cache.GetIfPresent(id); ok && h.acquire() {
		return h, nil
	}
	return nil, nil
}

// get returns a key, which the caller must release. load makes it when it is not in memory.
func (c *keyCache[K]) get(ctx context.Context, id string, load func(context.Context) (K, error)) (*held[K], error) {
	if !c.usable() {
		return nil, errTokenGone
	}
	for {
		h, err := c.cache.Get(ctx, id, otter.LoaderFunc[string, *held[K]](func(ctx context.Context, _ string) (*held[K], error) {
			key, err := load(ctx)
			if err != nil {
				return nil, err
			}
			return hold(key), nil
		}))
		if err != nil {
			return nil, err
		}
		// An entry can be evicted between being found and being acquired.
		if h.acquire() {
			return h, nil
		}
	}
}

// usable reports whether cached keys may serve. When they may not they are dropped, not just passed over.
func (c *keyCache[K]) usable() bool {
	since, down := c.vault.DownSince()
	if !down || c.now().Sub(since) < c.grace {
		return true
	}
	c.drop()
	return false
}

func (c *keyCache[K]) drop() { c.cache.InvalidateAll() }

// Tend drops the cached keys if the token has been gone for longer than the grace. The appliance calls it from time to
// time, so that keys do not outlive their right on a node that nobody calls.
func (e *Engine) Tend() {
	e.deks.usable()
	e.signers.usable()
	e.openers.usable()
}

// dropKeys overwrites every cached key. Operations that run meanwhile finish with the keys they hold.
func (e *Engine) dropKeys() {
	e.deks.drop()
	e.signers.drop()
	e.openers.drop()
}
