package engine

import (
	"context"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// VersionInfo is a key version with what is known of its use.
type VersionInfo struct {
	Record *keys.Version
	// Active tells that its context, or key object, names it as the version that protects. Its state may forbid that.
	Active bool
	// Shreddable tells that destroying it takes away the only copy of something that its key cannot be made without.
	Shreddable bool
	// Usage is what the nodes have told, and what this node has not told yet.
	Usage keys.Usage
}

var errNoVersion = fault.New(fault.NotFound, "engine.lifecycle", "there is no such key version")

func (e *Engine) versionInfo(tenant TenantView, v *keys.Version) VersionInfo {
	info := VersionInfo{Record: v, Shreddable: true, Usage: e.usage(tenant, v.ID)}
	if v.Object != "" {
		o := tenant.Object(v.Object)
		info.Active = o != nil && o.ActiveKey == v.ID
		return info
	}
	if c := tenant.Context(v.Context); c != nil {
		info.Active, info.Shreddable = c.ActiveKey == v.ID, c.Derivation != directory.Deterministic
	}
	return info
}

// usage returns what is known of a version's use, with what this node has not told yet.
func (e *Engine) usage(tenant TenantView, keyID string) keys.Usage {
	var told keys.Usage
	if u := tenant.Usage(keyID); u != nil {
		told = *u
	}
	return told.Add(e.uses.untold(keyID))
}

// versionAct is a change in the life of one version: what it does to the version that was found.
type versionAct func(tenant TenantView, v *keys.Version) (command.Command, error)

// changeVersion carries out an act on a key version of the caller's tenant.
func (e *Engine) changeVersion(
	ctx context.Context, c *Call, action policy.Action, keyID, reason string, act versionAct,
) (VersionInfo, error) {
	r := c.begin(action)
	r.Resource = keyID
	err := e.change(ctx, c, &r, action, func() (command.Command, error) {
		if len(reason) > directory.ReasonMax {
			return nil, errLongReason
		}
		tenant := e.ledger.View().Tenant(c.Subject.Tenant)
		v := tenant.Version(keyID)
		if v == nil {
			return nil, errNoVersion
		}
		r.Context, r.KeyID, r.Algorithm = v.Context, v.ID, string(v.Algorithm)
		return act(tenant, v)
	})
	if err != nil {
		return VersionInfo{}, err
	}
	return e.changed(c.Subject.Tenant, keyID)
}

// changed returns a version after its change, and drops its key if that is not to be used any more.
func (e *Engine) changed(tenantID, keyID string) (VersionInfo, error) {
	tenant := e.ledger.View().Tenant(tenantID)
	v := tenant.Version(keyID)
	if v == nil || !kept(v) {
		e.forget(keyID)
	}
	if v == nil {
		return VersionInfo{}, errNoVersion
	}
	return e.versionInfo(tenant, v), nil
}

var (
	errLongReason = malformedField("reason", "is too long")
	errNoReason   = malformedField("reason", "is needed: say why")
)

// setState returns the act that moves a version to another state.
func (e *Engine) setState(state keys.State, reason string) versionAct {
	return func(_ TenantView, v *keys.Version) (command.Command, error) {
		return command.SetVersionState{
			Tenant: v.Tenant, Key: v.ID, State: state, At: e.now().UnixMilli(), Reason: reason,
		}, nil
	}
}

// SuspendVersion stops every use of a version until it is resumed. The reason may be empty.
func (e *Engine) SuspendVersion(ctx context.Context, c *Call, keyID, reason string) (VersionInfo, error) {
	return e.changeVersion(ctx, c, policy.SuspendVersion, keyID, reason, e.setState(keys.Suspended, reason))
}

// ResumeVersion ends a suspension: the version is active again if its context, or key object, still protects with it, and
// deactivated if another version came to protect meanwhile.
func (e *Engine) ResumeVersion(ctx context.Context, c *Call, keyID, reason string) (VersionInfo, error) {
	return e.changeVersion(ctx, c, policy.ResumeVersion, keyID, reason, func(tenant TenantView, v *keys.Version) (command.Command, error) {
		if v.State != keys.Suspended {
			return nil, fault.New(fault.KeyState, "engine.lifecycle", "only a version that is suspended can be resumed: this one is "+v.State.String())
		}
		state := keys.Deactivated
		if e.versionInfo(tenant, v).Active {
			state = keys.Active
		}
		return e.setState(state, reason)(tenant, v)
	})
}

// DeactivateVersion ends the protection with a version. What it protected can still be processed. A context or key object
// whose active version it was protects nothing until it is rotated.
func (e *Engine) DeactivateVersion(ctx context.Context, c *Call, keyID, reason string) (VersionInfo, error) {
	return e.changeVersion(ctx, c, policy.DeactivateVersion, keyID, reason, e.setState(keys.Deactivated, reason))
}

// CompromiseVersion marks a version as known to others, for good: it protects nothing any more, and processes only for
// applications whose grant says so. A reason is needed.
func (e *Engine) CompromiseVersion(ctx context.Context, c *Call, keyID, reason string) (VersionInfo, error) {
	return e.changeVersion(ctx, c, policy.CompromiseVersion, keyID, reason, func(tenant TenantView, v *keys.Version) (command.Command, error) {
		if reason == "" {
			return nil, errNoReason
		}
		return e.setState(keys.Compromised, reason)(tenant, v)
	})
}

// Destruction is what became of the wish to destroy a version: it waits for its time, or for approval.
type Destruction struct {
	Version  VersionInfo
	Warnings []string
	Approval *directory.Approval // not nil when it waits for approval: nothing has changed yet
}

// maxWaitDays is the longest waiting period, as for the settings of a tenant.
const maxWaitDays = 366

// remains is what is said of a version whose destruction cannot shred.
const remains = "the context derives its keys from the master key alone: the version will be refused from then on, but whoever " +
	"has the master key can make its key again"

// DestroyVersion has a version destroyed when its waiting period is over. Until then it is not used any more, and
// CancelDestruction takes it back. Its state must be deactivated or compromised. A reason is needed. waitDays replaces the
// waiting period of the tenant's settings, down to that of the node's configuration; nil leaves it as it is.
func (e *Engine) DestroyVersion(ctx context.Context, c *Call, keyID, reason string, waitDays *int) (Destruction, error) {
	r := c.begin(policy.DestroyVersion)
	r.Resource = keyID
	var out Destruction
	var err error
	about := approvable{act: directory.ActDestroyKey, tenant: c.tenant(), resource: keyID, reason: reason}
	out.Approval, err = e.act(ctx, c, &r, policy.DestroyVersion, about, func(*directory.User) (command.Command, error) {
		if reason == "" {
			return nil, errNoReason
		}
		tenant := e.ledger.View().Tenant(c.Subject.Tenant)
		wait, err := e.destroyWait(tenant.Record().Of(), waitDays)
		if err != nil {
			return nil, err
		}
		v := tenant.Version(keyID)
		if v == nil {
			return nil, errNoVersion
		}
		r.Context, r.KeyID, r.Algorithm = v.Context, v.ID, string(v.Algorithm)
		if err := destroyable(v); err != nil {
			return nil, err
		}
		out.Version = e.versionInfo(tenant, v)
		return command.ScheduleDestruction{
			Tenant: v.Tenant, Key: v.ID, At: e.now().UnixMilli(), Wait: wait, Reason: reason,
		}, nil
	})
	if err != nil {
		return Destruction{}, err
	}
	if !out.Version.Shreddable {
		out.Warnings = []string{remains}
	}
	if out.Approval == nil {
		out.Version, err = e.changed(c.Subject.Tenant, keyID)
	}
	return out, err
}

// destroyable refuses what the ledger would, before anybody is asked for approval.
func destroyable(v *keys.Version) error {
	switch {
	case v.DestroyAt != 0:
		return fault.New(fault.Conflict, "engine.lifecycle", "the destruction of the version is already scheduled")
	case !v.State.MayBecome(keys.Destroyed):
		return fault.New(fault.KeyState, "engine.lifecycle",
			"a version that is "+v.State.String()+" cannot be destroyed: rotate, deactivate or mark it as compromised first")
	}
	return nil
}

// destroyWait returns the waiting period of a destruction in milliseconds.
func (e *Engine) destroyWait(s *directory.Settings, days *int) (int64, error) {
	if days == nil {
		return max(s.Wait(), e.leastWait), nil
	}
	if *days < 0 || *days > maxWaitDays {
		return 0, malformedField("wait_days", "is not between 0 and 366")
	}
	wait := int64(*days) * dayMillis
	if least := max(e.leastWait, s.DestroyWait); wait < least {
		return 0, malformedField("wait_days", "is shorter than the node's configuration or the tenant's settings allow: "+
			(time.Duration(least)*time.Millisecond).String()+" at least")
	}
	return wait, nil
}

// CancelDestruction takes back the destruction of a version that still waits. The version is what it was before.
func (e *Engine) CancelDestruction(ctx context.Context, c *Call, keyID, reason string) (VersionInfo, error) {
	return e.changeVersion(ctx, c, policy.CancelDestruction, keyID, reason, func(_ TenantView, v *keys.Version) (command.Command, error) {
		return command.ScheduleDestruction{
			Tenant: v.Tenant, Key: v.ID, At: e.now().UnixMilli(), Cancel: true, Reason: reason,
		}, nil
	})
}
