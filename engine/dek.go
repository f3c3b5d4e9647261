package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/secret"
)

const (
	defaultCachedKeys = 10_000
	defaultCacheIdle  = 15 * time.Minute
)

// dek is a data key in memory. It is counted: the cache holds one reference and each operation that uses it another, and
// the last to let go overwrites it, so that a key is never overwritten under an operation that encrypts with it.
type dek struct {
	key  secret.Bytes
	refs atomic.Int64
}

func newDEK(key secret.Bytes) *dek {
	d := &dek{key: key}
	d.refs.Store(1)
	return d
}

// acquire takes a reference; it fails when the key is gone.
func (d *dek) acquire() bool {
	for {
		n := d.refs.Load()
		if n == 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *dek) release() {
	if d.refs.Add(-1) == 0 {
		d.key.Destroy()
	}
}

// dekCache holds data keys by the id of their version: bounded in number, dropped when idle, and unusable when the token
// has been gone for longer than the grace.
type dekCache struct {
	cache *otter.Cache[string, *dek]
	vault Vault
	grace time.Duration
	now   func() time.Time
}

func newDEKCache(c Config) (*dekCache, error) {
	if c.CachedKeys == 0 {
		c.CachedKeys = defaultCachedKeys
	}
	if c.CacheIdle == 0 {
		c.CacheIdle = defaultCacheIdle
	}
	cache, err := otter.New(&otter.Options[string, *dek]{
		MaximumSize:      c.CachedKeys,
		ExpiryCalculator: otter.ExpiryAccessing[string, *dek](c.CacheIdle),
		OnAtomicDeletion: func(d otter.DeletionEvent[string, *dek]) { d.Value.release() },
	})
	if err != nil {
		return nil, err
	}
	return &dekCache{cache: cache, vault: c.Vault, grace: c.Grace, now: c.Now}, nil
}

var errTokenGone = fault.New(fault.HSMUnavailable, "engine.keys", "the token does not answer; try again later")

// get returns the data key of a version, which the caller must release. load derives it when it is not cached.
func (c *dekCache) get(ctx context.Context, v *keys.Version, load func(context.Context, *keys.Version) (secret.Bytes, error)) (*dek, error) {
	if !c.usable() {
		return nil, errTokenGone
	}
	if d, ok := c.cache.GetIfPresent(v.ID); ok && d.acquire() {
		return d, nil
	}
	for {
		d, err := c.cache.Get(ctx, v.ID, otter.LoaderFunc[string, *dek](func(ctx context.Context, _ string) (*dek, error) {
			key, err := load(ctx, v)
			if err != nil {
				return nil, err
			}
			return newDEK(key), nil
		}))
		if err != nil {
			return nil, err
		}
		// An entry can be evicted between being found and being acquired.
		if d.acquire() {
			return d, nil
		}
	}
}

// usable reports whether cached keys may serve. When they may not they are dropped, not just passed over.
func (c *dekCache) usable() bool {
	since, down := c.vault.DownSince()
	if !down || c.now().Sub(since) < c.grace {
		return true
	}
	c.drop()
	return false
}

func (c *dekCache) drop() { c.cache.InvalidateAll() }

// Tend drops the cached keys if the token has been gone for longer than the grace. The appliance calls it from time to
// time, so that keys do not outlive their right on a node that nobody calls.
func (e *Engine) Tend() { e.deks.usable() }
