package engine

import (
	"context"
	"fmt"
	"net/mail"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

const day = 24 * time.Hour

// How long the first owner has to come, and how long a tenant waits for its deletion when nobody says otherwise and at most.
const (
	ownerInvitation = 7 * day
	tenantWait      = 30 * day
	tenantWaitMost  = 366 * day
)

var (
	errNoTenant  = fault.New(fault.NotFound, "engine.tenant", "there is no such tenant")
	errOwnTenant = fault.New(fault.Conflict, "engine.tenant",
		"it is the operator's own tenant: an operator who is a user of another tenant must do this")
	errTenantName = malformedField("name", "is not a lower-case letter, then letters, digits and hyphens, 64 at most")
)

// Tenants lists all tenants in order of id. The records hold nothing of what belongs to a tenant.
func (e *Engine) Tenants(_ context.Context, c *Call) ([]*directory.Tenant, error) {
	r := c.begin(policy.ListTenants)
	_, err := e.authorizeChange(c, policy.ListTenants)
	var list []*directory.Tenant
	if err == nil {
		list = e.ledger.View().Tenants()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// OwnerInvitation lets a tenant's first owner in. Hash is the SHA-256 of the bytes of the code, which only the caller knows.
type OwnerInvitation struct {
	Email string // may be empty
	Hash  [32]byte
}

// FoundTenant makes a tenant and invites its first owner. When only the invitation fails the tenant stays: InviteOwner invites
// again.
func (e *Engine) FoundTenant(
	ctx context.Context, c *Call, name string, invite OwnerInvitation,
) (*directory.Tenant, *directory.Invitation, error) {
	r := c.begin(policy.CreateTenant)
	var tenant *directory.Tenant
	var invitation *directory.Invitation
	err := e.changeAll(ctx, c, &r, policy.CreateTenant, func(user *directory.User) ([]command.Command, error) {
		if !directory.ValidContextName(name) { // names of tenants have the form of those of contexts
			return nil, errTenantName
		}
		tenant = &directory.Tenant{ID: "tenant_" + randomID(), Name: name, Status: directory.Enabled, CreatedAt: e.now().UnixMilli()}
		r.Resource = tenant.ID
		var err error
		if invitation, err = e.ownerInvitation(user, tenant.ID, invite); err != nil {
			return nil, err
		}
		return []command.Command{command.CreateTenant{Tenant: *tenant}, command.CreateInvitation{Invitation: *invitation}}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return tenant, invitation, nil
}

// InviteOwner invites the first owner of a tenant once more. A tenant with an owner invites by itself.
func (e *Engine) InviteOwner(
	ctx context.Context, c *Call, ref string, invite OwnerInvitation,
) (*directory.Tenant, *directory.Invitation, error) {
	r := c.begin(policy.CreateTenant)
	r.Resource = ref
	var tenant *directory.Tenant
	var invitation *directory.Invitation
	err := e.changeAs(ctx, c, &r, policy.CreateTenant, func(user *directory.User) (command.Command, error) {
		if tenant = e.tenantCalled(ref); tenant == nil {
			return nil, errNoTenant
		}
		r.Resource = tenant.ID
		if hasOwner(e.ledger.View().Tenant(tenant.ID)) {
			return nil, fault.New(fault.Conflict, "engine.tenant", "the tenant has an owner, who invites others by himself")
		}
		var err error
		if invitation, err = e.ownerInvitation(user, tenant.ID, invite); err != nil {
			return nil, err
		}
		return command.CreateInvitation{Invitation: *invitation}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return tenant, invitation, nil
}

func (e *Engine) ownerInvitation(user *directory.User, tenant string, invite OwnerInvitation) (*directory.Invitation, error) {
	if invite.Email != "" {
		address, err := mail.ParseAddress(invite.Email)
		if err != nil || address.Address != invite.Email || len(invite.Email) > directory.EmailMax {
			return nil, malformedField("owner_email", "is not an address such as name@example.org")
		}
	}
	now := e.now()
	invitation := &directory.Invitation{
		ID: "invitation_" + randomID(), Tenant: tenant, Hash: invite.Hash, Email: invite.Email,
		Roles: []directory.Role{directory.Owner}, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(ownerInvitation).UnixMilli(),
	}
	if user != nil {
		invitation.CreatedBy = user.ID
	}
	return invitation, nil
}

// changeAll does what changeAs does with several commands, one after the other. Those before one that fails stay.
func (e *Engine) changeAll(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, build func(*directory.User) ([]command.Command, error),
) error {
	user, err := e.authorizeChange(c, action)
	if err != nil {
		return e.finish(c, r, err)
	}
	list, err := build(user)
	for i := range list {
		if list[i], err = e.guarded(c.Subject, user, list[i]); err != nil {
			break
		}
	}
	if err != nil {
		return e.finish(c, r, err)
	}
	r.Administrative, r.Result = true, audit.Started
	if err := e.record(c, r); err != nil {
		return err
	}
	for _, cmd := range list {
		if err = e.commit(ctx, c, cmd); err != nil {
			break
		}
	}
	return e.finish(c, r, err)
}

// tenantCalled returns a tenant by its id or its name, which have different forms; nil is none.
func (e *Engine) tenantCalled(ref string) *directory.Tenant {
	view := e.ledger.View()
	if t := view.Tenant(ref).Record(); t != nil {
		return t
	}
	return view.TenantNamed(ref)
}

// otherTenant returns a tenant that an operator may take away from its users: not his own, which he could not give back.
func (e *Engine) otherTenant(c *Call, r *audit.Record, ref string) (*directory.Tenant, error) {
	tenant := e.tenantCalled(ref)
	if tenant == nil {
		return nil, errNoTenant
	}
	r.Resource = tenant.ID
	if tenant.ID == c.Subject.Tenant {
		return nil, errOwnTenant
	}
	return tenant, nil
}

// SetTenantStatus disables a tenant, none of whose subjects has any right then, or enables it again.
func (e *Engine) SetTenantStatus(ctx context.Context, c *Call, ref string, status directory.Status) (*directory.Tenant, error) {
	action := policy.DisableTenant
	if status == directory.Enabled {
		action = policy.EnableTenant
	}
	r := c.begin(action)
	r.Resource = ref
	var next directory.Tenant
	err := e.change(ctx, c, &r, action, func() (command.Command, error) {
		tenant, err := e.otherTenant(c, &r, ref)
		if err != nil {
			return nil, err
		}
		next = *tenant
		next.Status = status
		return command.SetTenantStatus{Tenant: tenant.ID, Status: status}, nil
	})
	if err != nil {
		return nil, err
	}
	return &next, nil
}

// TenantDeletion says why a tenant is to be deleted, and how long it waits for that; nil is 30 days.
type TenantDeletion struct {
	Reason   string
	WaitDays *uint32
}

// DeleteTenant disables a tenant and has it deleted with all its keys after a waiting period. Where the tenant's settings ask
// for approval, the request for it is what comes back, and nothing else has changed.
func (e *Engine) DeleteTenant(
	ctx context.Context, c *Call, ref string, in TenantDeletion,
) (*directory.Tenant, *directory.Approval, error) {
	r := c.begin(policy.DeleteTenant)
	r.Resource = ref
	var next directory.Tenant
	about := approvable{act: directory.ActDeleteTenant, reason: in.Reason}
	if tenant := e.tenantCalled(ref); tenant != nil {
		about.tenant, about.resource = tenant.ID, tenant.ID
	}
	waiting, err := e.act(ctx, c, &r, policy.DeleteTenant, about, func(*directory.User) (command.Command, error) {
		tenant, err := e.otherTenant(c, &r, ref)
		if err != nil {
			return nil, err
		}
		wait, err := e.deletionWait(in.WaitDays)
		if err != nil {
			return nil, err
		}
		if tenant.ID != about.tenant { // the name was given to another one in between
			return nil, errNoTenant
		}
		now := e.now().UnixMilli()
		next = *tenant
		next.Status, next.DeleteAt = directory.Disabled, now+wait.Milliseconds()
		return command.ScheduleTenantDeletion{Tenant: tenant.ID, At: now, Wait: wait.Milliseconds()}, nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case waiting != nil:
		return nil, waiting, nil
	}
	return &next, nil, nil
}

func (e *Engine) deletionWait(days *uint32) (time.Duration, error) {
	wait := max(tenantWait, e.leastTime())
	if days != nil {
		wait = time.Duration(*days) * day
	}
	if wait < e.leastTime() || wait > tenantWaitMost {
		least := (e.leastTime() + day - 1) / day
		return 0, malformedField("wait_days", fmt.Sprintf("is not between %d and %d", least, tenantWaitMost/day))
	}
	return wait, nil
}

// RestoreTenant takes a deletion back that is not due yet. The tenant stays disabled until SetTenantStatus enables it.
func (e *Engine) RestoreTenant(ctx context.Context, c *Call, ref string) (*directory.Tenant, error) {
	r := c.begin(policy.RestoreTenant)
	r.Resource = ref
	var next directory.Tenant
	err := e.change(ctx, c, &r, policy.RestoreTenant, func() (command.Command, error) {
		tenant := e.tenantCalled(ref)
		if tenant == nil {
			return nil, errNoTenant
		}
		r.Resource = tenant.ID
		next = *tenant
		next.DeleteAt = 0
		return command.ScheduleTenantDeletion{Tenant: tenant.ID, At: e.now().UnixMilli(), Cancel: true}, nil
	})
	if err != nil {
		return nil, err
	}
	return &next, nil
}

// PurgeTenants deletes the tenants whose waiting period is over. It may run on several nodes at once.
func (e *Engine) PurgeTenants(ctx context.Context) error { return e.purgeTenants(ctx, e.now()) }
