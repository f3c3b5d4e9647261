package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// leaseBlock is how many messages a node draws from a version's budget at a time: 4,096 draws in the life of a version, and
// what a restart forgets is counted as used.
const leaseBlock = 1 << 20

// rotateWithin bounds a rotation by count.
const rotateWithin = 10 * time.Second

// meter counts what is left of this node's lease on one key version.
type meter struct {
	version *keys.Version
	left    atomic.Int64
	draw    sync.Mutex // held while the next lease is drawn
}

// meters holds a meter for the key version that each context protects with, in a format that counts. What an older version
// had left is dropped with its meter and counts as used, so there are about as many meters as contexts.
type meters struct{ byKey sync.Map } // key version id -> *meter

func (m *meters) of(v *keys.Version) *meter {
	if found, ok := m.byKey.Load(v.ID); ok {
		return found.(*meter)
	}
	found, raced := m.byKey.LoadOrStore(v.ID, &meter{version: v})
	if !raced {
		m.dropBefore(v)
	}
	return found.(*meter)
}

// dropBefore drops the meters of the versions before v of its context.
func (m *meters) dropBefore(v *keys.Version) {
	m.byKey.Range(func(id, found any) bool {
		if old := found.(*meter).version; old.Tenant == v.Tenant && old.Context == v.Context &&
			old.Object == v.Object && old.Number < v.Number {
			m.byKey.Delete(id)
		}
		return true
	})
}

// errSuperseded tells encrypt to start again with the version that protects by now.
var errSuperseded = errors.New("engine: the key version no longer protects in its context")

var errBudget = fault.New(fault.KeyState, "engine.usage", "the key version has encrypted as many messages as one key may; rotate the context")

// spend takes one message from the version's budget of keys.GCMRandomNonceLimit, drawing a new lease when the node's own is
// used up. Once the draws pass keys.RotateAt the context is rotated. It returns errSuperseded when a draw found that another
// version protects by now.
func (e *Engine) spend(ctx context.Context, v *keys.Version) error {
	m := e.meters.of(v)
	if m.left.Add(-1) >= 0 {
		return nil
	}
	m.draw.Lock()
	defer m.draw.Unlock()
	if m.left.Add(-1) >= 0 { // another call drew meanwhile
		return nil
	}
	out, err := e.ledger.Propose(ctx, command.LeaseUsage{Key: v.ID, Count: leaseBlock})
	if err != nil {
		return err
	}
	if out.Granted == 0 {
		if !e.active(v) {
			return errSuperseded
		}
		return errBudget
	}
	m.left.Store(int64(out.Granted) - 1) //nolint:gosec // at most leaseBlock is granted
	if out.Total >= keys.RotateAt {
		e.rotateByCount(ctx, v)
	}
	return nil
}

// rotateByCount rotates a context whose active version comes near its limit. It is not an error of the call that noticed:
// the lease it drew is good, and the next draw tries again. Nor does it end with that call: a caller that hangs up must not
// keep the version in use.
func (e *Engine) rotateByCount(ctx context.Context, v *keys.Version) {
	if !e.active(v) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotateWithin)
	defer cancel()
	call := e.ApplianceCall("rotation-by-count", v.Tenant)
	var err error
	if v.Object != "" {
		_, err = e.rotateKey(ctx, call, v.Object, v.ID)
	} else {
		_, err = e.rotateContext(ctx, call, v.Context, v.ID)
	}
	if err != nil {
		e.log.Warn("a key near its message limit could not be rotated", "key_id", v.ID, "error", err)
	}
}

// active reports whether v is the version that protects in its context, or for its key object, now.
func (e *Engine) active(v *keys.Version) bool {
	tenant := e.ledger.View().Tenant(v.Tenant)
	if v.Object != "" {
		o := tenant.Object(v.Object)
		return o != nil && o.ActiveKey == v.ID
	}
	c := tenant.Context(v.Context)
	return c != nil && c.ActiveKey == v.ID
}
