package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// purgeTenants deletes the tenants whose waiting period is over, with everything that belongs to them.
func (e *Engine) purgeTenants(ctx context.Context, now time.Time) error {
	var errs []error
	for _, t := range e.ledger.View().Tenants() {
		if t.DeleteAt == 0 || t.DeleteAt > now.UnixMilli() {
			continue
		}
		c := e.dutyCall(t.ID)
		r := c.begin(policy.PurgeTenant)
		r.Resource = t.ID
		err := e.change(ctx, c, &r, policy.PurgeTenant, func() (command.Command, error) {
			return command.DeleteTenant{Tenant: t.ID, At: now.UnixMilli()}, nil
		})
		switch fault.Of(err) {
		case fault.Unknown, fault.Conflict, fault.NotFound: // done, or somebody else was first
		default:
			errs = append(errs, fmt.Errorf("delete the tenant %s: %w", t.ID, err))
		}
	}
	e.sweep()
	return errors.Join(errs...)
}

// leastTime is Config.DestroyMinimum as a time.
func (e *Engine) leastTime() time.Duration { return time.Duration(e.leastWait) * time.Millisecond }
