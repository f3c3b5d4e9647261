package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// usageBatch is how many key versions one command tells of.
const usageBatch = 500

// use counts what this node did with one key version since it told the ledger last. Requests meet here only when they use the
// same version, and nobody waits for anybody.
type use struct {
	key, tenant              string
	protected, processed     atomic.Uint64 // operations; each item of a batch is one
	lastProtect, lastProcess atomic.Int64  // Unix milliseconds, to the second; they stay when the counts are told
}

// uses holds a use for each key version that this node worked with.
type uses struct {
	byKey sync.Map   // key version id -> *use
	flush sync.Mutex // held while the ledger is told
}

// of returns the use of a version. Plans keep that of the version that protects.
func (u *uses) of(v *keys.Version) *use {
	if found, ok := u.byKey.Load(v.ID); ok {
		return found.(*use)
	}
	found, _ := u.byKey.LoadOrStore(v.ID, &use{key: v.ID, tenant: v.Tenant})
	return found.(*use)
}

// untold returns what the ledger does not know yet of a version's use on this node.
func (u *uses) untold(keyID string) keys.Usage {
	if found, ok := u.byKey.Load(keyID); ok {
		return found.(*use).read((*atomic.Uint64).Load)
	}
	return keys.Usage{}
}

func (u *use) protect(n uint64, at int64) {
	u.protected.Add(n)
	stamp(&u.lastProtect, at)
}

func (u *use) process(at int64) {
	u.processed.Add(1)
	stamp(&u.lastProcess, at)
}

// stamp writes only what is new, so that the processors need not pass the value around.
func stamp(last *atomic.Int64, at int64) {
	if last.Load() < at {
		last.Store(at)
	}
}

// read returns the counts as take gives them.
func (u *use) read(take func(*atomic.Uint64) uint64) keys.Usage {
	told := keys.Usage{Key: u.key, Tenant: u.tenant, Protected: take(&u.protected), Processed: take(&u.processed)}
	if told.Protected > 0 {
		told.LastProtect = u.lastProtect.Load()
	}
	if told.Processed > 0 {
		told.LastProcess = u.lastProcess.Load()
	}
	return told
}

// protected counts operations with a plan's active version.
func (e *Engine) protected(p *plan, n uint64) { p.use.protect(n, e.second.Load()) }

// processed counts an operation with any version; keys of imported deployments, which have none, are not counted.
func (e *Engine) processed(v *keys.Version) {
	if v != nil {
		e.uses.of(v).process(e.second.Load())
	}
}

// tick reads the clock that uses are stamped with: asking for the time at each of them would cost more than counting.
func (e *Engine) tick() { e.second.Store(e.now().UnixMilli()) }

// FlushUsage tells the ledger what this node did with key versions since the last time. Nothing is proposed when there is
// nothing to tell. What the ledger did not take is told the next time; when it is not known whether it took it, that may be
// counted twice. The appliance calls it every minute and before Close.
func (e *Engine) FlushUsage(ctx context.Context) error {
	e.uses.flush.Lock()
	defer e.uses.flush.Unlock()
	e.tick()
	var told []keys.Usage
	e.uses.byKey.Range(func(id, found any) bool {
		u := found.(*use)
		// Whoever made the entry has seen the version, so the newest view has it, or it is gone.
		if v := e.ledger.View().Tenant(u.tenant).Version(u.key); v == nil || v.State == keys.Destroyed {
			e.uses.byKey.Delete(id)
			return true
		}
		if now := u.read(func(n *atomic.Uint64) uint64 { return n.Swap(0) }); now.Protected+now.Processed > 0 {
			told = append(told, now)
		}
		return true
	})
	var errs []error
	for list := range slices.Chunk(told, usageBatch) {
		c := e.ApplianceCall(dutyID, "")
		r := c.begin(policy.MergeUsage)
		if err := e.propose(ctx, c, &r, command.MergeUsage{Usage: list}); err != nil {
			e.giveBack(list)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// giveBack counts again what could not be told.
func (e *Engine) giveBack(list []keys.Usage) {
	for _, told := range list {
		if found, ok := e.uses.byKey.Load(told.Key); ok {
			u := found.(*use)
			u.protected.Add(told.Protected)
			u.processed.Add(told.Processed)
		}
	}
}
