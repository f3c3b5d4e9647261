package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// dutyID is the request id in the records of what the appliance does by itself, now and then.
const dutyID = "duty"

const (
	// maxDuties bounds the acts of one round; what is left is done by the next.
	maxDuties = 100
	// dutyPause is how long an act rests that failed, so that it neither fills the audit log nor keeps others waiting.
	dutyPause = 10 * time.Minute
	dayMillis = int64(24 * time.Hour / time.Millisecond)
)

// duties remembers which acts rest.
type duties struct {
	round sync.Mutex // held during one
	rest  map[string]time.Time
}

// RunDuties does one round of what happens by itself: it rotates contexts and keys that are old enough or were used enough,
// destroys the key versions that are due, and deletes the tenants that are. Only the node that leads does that; every node
// then removes what was destroyed from its own disk.
//
// Each act names what it found (the version it replaces, the time that has come), and the ledger refuses it when somebody else
// was first: two nodes that take themselves for the leader do nothing twice. An act that fails does not stop the others.
func (e *Engine) RunDuties(ctx context.Context) error {
	e.duties.round.Lock()
	defer e.duties.round.Unlock()
	e.tick()
	var errs []error
	if e.ledger.Leads() {
		now := e.now()
		r := &round{engine: e, now: now, left: maxDuties}
		r.wake()
		for _, t := range e.ledger.View().Tenants() {
			r.destroyDue(ctx, t.ID)
			if t.Status == directory.Enabled {
				r.rotateDue(ctx, t.ID)
			}
		}
		errs = append(r.errs, e.purgeTenants(ctx, now))
		e.backupDuties(now)
	}
	if err := e.ledger.Compact(ctx); err != nil {
		errs = append(errs, fmt.Errorf("remove destroyed keys from the disk: %w", err))
	}
	return errors.Join(errs...)
}

// round is one round of duties.
type round struct {
	engine *Engine
	now    time.Time
	left   int // acts
	errs   []error
}

// wake forgets the acts that have rested for long: some will never be tried again.
func (r *round) wake() {
	rest := r.engine.duties.rest
	for what, until := range rest {
		if r.now.Sub(until) > dutyPause {
			delete(rest, what)
		}
	}
}

// do carries out one act. That somebody else was first is no error.
func (r *round) do(what string, act func() error) {
	rest := r.engine.duties.rest
	if r.left == 0 || r.now.Before(rest[what]) {
		return
	}
	r.left--
	switch err := act(); fault.Of(err) {
	case fault.Unknown, fault.Conflict, fault.NotFound:
		delete(rest, what)
	case fault.NotLeader:
		r.left = 0 // the rest is for the node that leads by now
	default:
		rest[what] = r.now.Add(dutyPause)
		r.errs = append(r.errs, fmt.Errorf("%s: %w", what, err))
	}
}

// dutyCall is a call of a duty in a tenant: it leaves the audit log's reserve to administrators.
func (e *Engine) dutyCall(tenant string) *Call {
	c := e.ApplianceCall(dutyID, tenant)
	c.routine = true
	return c
}

// destroyDue destroys the versions of a tenant whose waiting period is over.
func (r *round) destroyDue(ctx context.Context, tenant string) {
	e, now := r.engine, r.now.UnixMilli()
	for _, v := range e.ledger.View().Tenant(tenant).Versions() {
		if v.DestroyAt != 0 && v.DestroyAt <= now {
			r.do("destroy "+v.ID, func() error { return e.shred(ctx, v, now) })
		}
	}
}

// shred destroys a version that is due.
func (e *Engine) shred(ctx context.Context, v *keys.Version, now int64) error {
	c := e.dutyCall(v.Tenant)
	rec := c.begin(policy.ShredVersion)
	rec.Resource, rec.Context, rec.KeyID, rec.Algorithm = v.ID, v.Context, v.ID, string(v.Algorithm)
	err := e.change(ctx, c, &rec, policy.ShredVersion, func() (command.Command, error) {
		return command.DestroyVersion{Tenant: v.Tenant, Key: v.ID, At: now}, nil
	})
	e.forget(v.ID)
	return err
}

// rotateDue rotates the contexts and the keys of a tenant that are due. What is disabled is left alone, and so is what an
// administrator stopped: a version that is suspended is not to be replaced behind his back.
func (r *round) rotateDue(ctx context.Context, tenantID string) {
	e := r.engine
	tenant := e.ledger.View().Tenant(tenantID)
	enabled := map[string]bool{}
	for _, c := range tenant.Contexts() {
		enabled[c.Name] = c.Status == directory.Enabled
		active := tenant.Version(c.ActiveKey)
		if !enabled[c.Name] || !r.old(active, c.RotationDays) && !e.worn(tenant, active, c.RotateAfter) {
			continue
		}
		r.do("rotate the context "+c.Name+" of "+tenantID, func() error {
			_, err := e.rotateContext(ctx, e.dutyCall(tenantID), c.Name, active.ID)
			return err
		})
	}
	for _, o := range tenant.Objects() {
		active := tenant.Version(o.ActiveKey)
		if o.Disabled || !enabled[o.Context] || !r.old(active, o.RotationDays) {
			continue
		}
		r.do("rotate the key "+o.Name+" of "+tenantID, func() error {
			_, err := e.rotateKey(ctx, e.dutyCall(tenantID), o.Name, active.ID)
			return err
		})
	}
}

// old reports whether a version protects for so many days; 0 is never.
func (r *round) old(active *keys.Version, days uint16) bool {
	return days > 0 && active != nil && active.Allows(keys.Protect, false) &&
		r.now.UnixMilli()-active.CreatedAt >= int64(days)*dayMillis
}

// worn reports whether a version has protected about so many messages; 0 is never. The counts of other nodes lag behind.
func (e *Engine) worn(tenant TenantView, active *keys.Version, after uint64) bool {
	if after == 0 || active == nil || !active.Allows(keys.Protect, false) {
		return false
	}
	return e.usage(tenant, active.ID).Protected >= after
}
