package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// leaseBlock is how many messages a node draws from a version's budget at a time: 4,096 draws in the life of a version, and
// what a restart forgets is counted as used.
const leaseBlock = 1 << 20

// meter counts what is left of this node's lease on one key version.
type meter struct {
	left atomic.Int64
	draw sync.Mutex // held while the next lease is drawn
}

// meters holds a meter for each key version that this node encrypts with in a format that counts.
type meters struct{ byKey sync.Map } // key version id -> *meter

func (m *meters) of(id string) *meter {
	if v, ok := m.byKey.Load(id); ok {
		return v.(*meter)
	}
	v, _ := m.byKey.LoadOrStore(id, new(meter))
	return v.(*meter)
}

var errBudget = fault.New(fault.KeyState, "engine.usage", "the key version has encrypted as many messages as one key may; rotate the context")

// spend takes one message from the version's budget of keys.GCMRandomNonceLimit, drawing a new lease when the node's own is
// used up. Once the draws pass keys.RotateAt the context is rotated.
func (e *Engine) spend(ctx context.Context, v *keys.Version) error {
	m := e.meters.of(v.ID)
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
		return errBudget
	}
	m.left.Store(int64(out.Granted) - 1) //nolint:gosec // at most leaseBlock is granted
	if out.Total >= keys.RotateAt {
		e.rotateByCount(ctx, v)
	}
	return nil
}

// rotateByCount rotates a context whose active version comes near its limit. It is not an error of the call that noticed:
// the lease it drew is good, and the next draw tries again.
func (e *Engine) rotateByCount(ctx context.Context, v *keys.Version) {
	if _, err := e.RotateContext(ctx, e.ApplianceCall("rotation-by-count", v.Tenant), v.Context); err != nil {
		e.log.Warn("a context near its message limit could not be rotated", "key_id", v.ID, "error", err)
	}
}
