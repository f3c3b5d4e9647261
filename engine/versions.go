package engine

import (
	"context"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// ContextVersions lists the versions of a context's own key, newest first.
func (e *Engine) ContextVersions(_ context.Context, c *Call, name string) ([]VersionInfo, error) {
	r := c.begin(policy.ListVersions)
	r.Context = name
	list, err := e.versions(c, policy.ListVersions, func(tenant TenantView) ([]*keys.Version, error) {
		if !directory.ValidContextName(name) {
			return nil, errContextName
		}
		if tenant.Context(name) == nil {
			return nil, errNoContext
		}
		return tenant.ContextVersions(name), nil
	})
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// KeyVersions lists the versions of a key object, newest first.
func (e *Engine) KeyVersions(_ context.Context, c *Call, name string) ([]VersionInfo, error) {
	r := c.begin(policy.ListVersions)
	r.Resource = name
	list, err := e.versions(c, policy.ListVersions, func(tenant TenantView) ([]*keys.Version, error) {
		if !keys.ValidName(name) {
			return nil, errKeyName
		}
		o := tenant.Object(name)
		if o == nil {
			return nil, fault.New(fault.NotFound, "engine.lifecycle", "there is no such key")
		}
		r.Context = o.Context
		return tenant.ObjectVersions(name), nil
	})
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// versions authorises a look at key versions of the subject's tenant and tells what is known of them, newest first.
func (e *Engine) versions(
	c *Call, action policy.Action, find func(TenantView) ([]*keys.Version, error),
) ([]VersionInfo, error) {
	if _, err := e.authorizeChange(c, action); err != nil {
		return nil, err
	}
	tenant := e.ledger.View().Tenant(c.Subject.Tenant)
	found, err := find(tenant)
	if err != nil {
		return nil, err
	}
	newestFirst(found)
	list := make([]VersionInfo, 0, len(found))
	for _, v := range found {
		list = append(list, e.versionInfo(tenant, v))
	}
	return list, nil
}

// KeyUsage tells who still uses old keys: the versions that another one replaced and that processed something since. They
// stand by context and key object, newest first. An empty context means all of them.
func (e *Engine) KeyUsage(_ context.Context, c *Call, name string) ([]VersionInfo, error) {
	r := c.begin(policy.KeyUsage)
	r.Context = name
	list, err := e.oldUses(c, name)
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

func (e *Engine) oldUses(c *Call, name string) ([]VersionInfo, error) {
	if _, err := e.authorizeChange(c, policy.KeyUsage); err != nil {
		return nil, err
	}
	tenant := e.ledger.View().Tenant(c.Subject.Tenant)
	contexts := tenant.Contexts()
	if name != "" {
		if !directory.ValidContextName(name) {
			return nil, errContextName
		}
		one := tenant.Context(name)
		if one == nil {
			return nil, errNoContext
		}
		contexts = []*directory.Context{one}
	}
	list := []VersionInfo{}
	for _, one := range contexts {
		list = e.stillUsed(list, tenant, tenant.ContextVersions(one.Name))
	}
	for _, o := range tenant.Objects() {
		if name == "" || o.Context == name {
			list = e.stillUsed(list, tenant, tenant.ObjectVersions(o.Name))
		}
	}
	return list, nil
}

// stillUsed appends those of the versions of one key that processed something after another one replaced them.
func (e *Engine) stillUsed(list []VersionInfo, tenant TenantView, versions []*keys.Version) []VersionInfo {
	newestFirst(versions)
	for i, v := range versions {
		info := e.versionInfo(tenant, v)
		if info.Active || info.Usage.LastProcess == 0 {
			continue
		}
		since := v.DeactivatedAt
		if since == 0 && i > 0 {
			since = versions[i-1].CreatedAt // it was suspended or compromised when it was replaced
		}
		if info.Usage.LastProcess > since {
			list = append(list, info)
		}
	}
	return list
}

// SetContextMinimum closes the versions of a context's key with lower numbers: they process nothing until the minimum is
// lowered again. 0 closes none.
func (e *Engine) SetContextMinimum(ctx context.Context, c *Call, name string, minimum uint32) error {
	r := c.begin(policy.SetMinimumVersion)
	r.Context = name
	return e.change(ctx, c, &r, policy.SetMinimumVersion, func() (command.Command, error) {
		if !directory.ValidContextName(name) {
			return nil, errContextName
		}
		if e.ledger.View().Tenant(c.Subject.Tenant).Context(name) == nil {
			return nil, errNoContext
		}
		return command.SetMinimumVersion{Tenant: c.Subject.Tenant, Context: name, Minimum: minimum}, nil
	})
}

// SetKeyMinimum does for a key object what SetContextMinimum does for a context.
func (e *Engine) SetKeyMinimum(ctx context.Context, c *Call, name string, minimum uint32) error {
	r := c.begin(policy.SetMinimumVersion)
	r.Resource = name
	return e.change(ctx, c, &r, policy.SetMinimumVersion, func() (command.Command, error) {
		o, err := e.object(c.Subject.Tenant, name)
		if err != nil {
			return nil, err
		}
		r.Context = o.Context
		return command.SetMinimumVersion{Tenant: o.Tenant, Context: o.Context, Object: o.Name, Minimum: minimum}, nil
	})
}

// SetKeyRotation sets at which age in days a key object is rotated by itself; 0 is never.
func (e *Engine) SetKeyRotation(ctx context.Context, c *Call, name string, days int) error {
	r := c.begin(policy.SetKeyRotation)
	r.Resource = name
	return e.change(ctx, c, &r, policy.SetKeyRotation, func() (command.Command, error) {
		if days < 0 || days > MaxRotationDays {
			return nil, malformedField("days", "is not between 0 and 3650")
		}
		o, err := e.object(c.Subject.Tenant, name)
		if err != nil {
			return nil, err
		}
		r.Context = o.Context
		return command.SetKeyRotation{Tenant: o.Tenant, Name: o.Name, Days: uint16(days)}, nil
	})
}
