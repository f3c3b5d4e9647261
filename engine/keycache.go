package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
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
	of   owner
	refs atomic.Int64
}

// owner names the record that a key in memory belongs to.
type owner struct {
	tenant, keyID string
	legacy        bool // of an imported deployment
}

func hold[K destroyer](key K, of owner) *held[K] {
	h := &held[K]{key: key, of: of}
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

// once returns a key that is not kept, which the caller must release.
func (c *keyCache[K]) once(ctx context.Context, of owner, load func(context.Context) (K, error)) (*held[K], error) {
	if !c.usable() {
		return nil, errTokenGone
	}
	key, err := load(ctx)
	if err != nil {
		return nil, err
	}
	return hold(key, of), nil
}

// get returns a key, which the caller must release. load makes it when it is not in memory.
func (c *keyCache[K]) get(ctx context.Context, id string, of owner, load func(context.Context) (K, error)) (*held[K], error) {
	if !c.usable() {
		return nil, errTokenGone
	}
	for {
		h, err := c.cache.Get(ctx, id, otter.LoaderFunc[string, *held[K]](func(ctx context.Context, _ string) (*held[K], error) {
			key, err := load(ctx)
			if err != nil {
				return nil, err
			}
			return hold(key, of), nil
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

// forget drops one key.
func (c *keyCache[K]) forget(id string) { c.cache.Invalidate(id) }

// sweep drops the keys whose record no longer allows their use.
func (c *keyCache[K]) sweep(ended func(owner) bool) {
	for id, h := range c.cache.All() {
		if ended(h.of) {
			c.cache.Invalidate(id)
		}
	}
}

// Tend drops the cached keys if the token has been gone for longer than the grace, and those whose version may not be used any
// more. The appliance calls it every second, so that keys do not outlive their right on a node that nobody calls. It also records
// refusals that were counted only.
func (e *Engine) Tend() {
	e.tick()
	e.deks.usable()
	e.signers.usable()
	e.openers.usable()
	e.sweep()
	e.recordDropped()
}

// forget drops the cached keys of a version.
func (e *Engine) forget(keyID string) {
	e.deks.forget(keyID)
	e.signers.forget(keyID)
	e.openers.forget(keyID)
}

// sweepFor is for how long after a change of rights the caches are looked through: an operation that was allowed before it may
// still put a key there, and none takes so long.
const sweepFor = 2 * time.Minute

// sweeps tells when the caches have to be looked through.
type sweeps struct {
	mu    sync.Mutex
	epoch uint64
	until time.Time
}

// due reports whether rights have changed not long before now.
func (s *sweeps) due(epoch uint64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != s.epoch {
		s.epoch, s.until = epoch, now.Add(sweepFor)
	}
	return now.Before(s.until)
}

// sweep drops the cached keys whose version may not be used any more, by whatever node that was decided.
func (e *Engine) sweep() {
	if !e.sweeps.due(e.ledger.Epoch(), e.now()) {
		return
	}
	view := e.ledger.View()
	ended := func(of owner) bool {
		tenant := view.Tenant(of.tenant)
		if of.legacy {
			k := tenant.LegacyKey(of.keyID)
			return k == nil || !k.State.Allows(keys.Process)
		}
		v := tenant.Version(of.keyID)
		return v == nil || !kept(v) || v.Number < minimumOf(tenant, v)
	}
	e.deks.sweep(ended)
	e.signers.sweep(ended)
	e.openers.sweep(ended)
}

// kept reports whether the keys of a version may stay in memory after use. Those of one that is compromised serve the few who
// may use it, each time anew.
func kept(v *keys.Version) bool {
	return v.Allows(keys.Protect, false) || v.Allows(keys.Process, false)
}

// minimumOf returns the least number that a version's context, or key object, lets process.
func minimumOf(tenant TenantView, v *keys.Version) uint32 {
	if v.Object != "" {
		if o := tenant.Object(v.Object); o != nil {
			return o.MinimumVersion
		}
	} else if c := tenant.Context(v.Context); c != nil {
		return c.MinimumVersion
	}
	return 0
}

// dropKeys overwrites every cached key. Operations that run meanwhile finish with the keys they hold.
func (e *Engine) dropKeys() {
	e.deks.drop()
	e.signers.drop()
	e.openers.drop()
}
