package engine

import (
	"context"
	"slices"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// InvitationLifetime is how long an invitation can be accepted.
const InvitationLifetime = 7 * 24 * time.Hour

const causeInvitation fault.Cause = "invitation"

var errNoInvitation = fault.Wrap(
	fault.Unauthenticated, "engine.invitation", "the invitation is unknown, used or over", causeInvitation)

// InvitationSpec is what a new invitation is to be. Hash is the SHA-256 of its code.
type InvitationSpec struct {
	Email string
	Roles []directory.Role
	Hash  [32]byte
}

// Invitations lists the invitations of the subject's tenant that can still be accepted.
func (e *Engine) Invitations(_ context.Context, c *Call) ([]*directory.Invitation, error) {
	r := c.begin(policy.ListInvitations)
	_, err := e.authorizeChange(c, policy.ListInvitations)
	var list []*directory.Invitation
	if err == nil {
		list = e.ledger.View().Tenant(c.tenant()).Invitations()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	now := e.now().UnixMilli()
	return slices.DeleteFunc(list, func(i *directory.Invitation) bool { return i.ExpiresAt <= now }), nil
}

// CreateInvitation invites somebody to become a user of the caller's tenant.
func (e *Engine) CreateInvitation(ctx context.Context, c *Call, spec InvitationSpec) (*directory.Invitation, error) {
	now := e.now()
	i := &directory.Invitation{
		ID: "invitation_" + randomID(), Tenant: c.tenant(), Hash: spec.Hash, Email: spec.Email, Roles: spec.Roles,
		CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(InvitationLifetime).UnixMilli(),
	}
	r := c.begin(policy.CreateInvitation)
	r.Resource = i.ID
	err := e.changeAs(ctx, c, &r, policy.CreateInvitation, func(by *directory.User) (command.Command, error) {
		switch {
		case !validEmail(spec.Email):
			return nil, malformedField("email", "is not an address")
		case !directory.ValidRoles(spec.Roles):
			return nil, malformedField("roles", "must be known roles, each once, at least one")
		}
		if err := mayTouch(by, spec.Roles...); err != nil {
			return nil, err
		}
		i.CreatedBy = by.ID
		return command.CreateInvitation{Invitation: *i}, nil
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}

// DropInvitation withdraws an invitation. Who may not give its roles may not withdraw it.
func (e *Engine) DropInvitation(ctx context.Context, c *Call, id string) error {
	r := c.begin(policy.DropInvitation)
	r.Resource = id
	return e.changeAs(ctx, c, &r, policy.DropInvitation, func(by *directory.User) (command.Command, error) {
		list := e.ledger.View().Tenant(c.tenant()).Invitations()
		n := slices.IndexFunc(list, func(i *directory.Invitation) bool { return i.ID == id })
		if n < 0 {
			return nil, fault.New(fault.NotFound, "engine.invitation", "there is no such invitation")
		}
		if err := mayTouch(by, list[n].Roles...); err != nil {
			return nil, err
		}
		return command.DropInvitation{Tenant: c.tenant(), ID: id}, nil
	})
}

// invitation returns what a code stands for. Whoever wrote it must still be allowed to give its roles: otherwise an owner who is
// about to lose his role could keep a way back.
func (e *Engine) invitation(view View, hash [32]byte) (*directory.Invitation, error) {
	i := view.Invitation(hash)
	if i == nil || i.ExpiresAt <= e.now().UnixMilli() {
		return nil, errNoInvitation
	}
	tenant := view.Tenant(i.Tenant)
	if t := tenant.Record(); t == nil || t.Status != directory.Enabled {
		return nil, errNoInvitation
	}
	by := tenant.User(i.CreatedBy)
	if by == nil && !hasOwner(tenant) {
		return i, nil // of an operator, for the first owner: the ledger looks at his record
	}
	if by == nil || by.Status != directory.Enabled || !policy.UserMay(by.Roles, policy.CreateInvitation) || mayTouch(by, i.Roles...) != nil {
		return nil, fault.Wrap(fault.Unauthenticated, "engine.invitation", errNoInvitation.Detail, fault.Cause("inviter"))
	}
	return i, nil
}

// hasOwner reports whether a tenant has an owner, enabled or not.
func hasOwner(tenant TenantView) bool {
	return slices.ContainsFunc(tenant.Users(), func(u *directory.User) bool { return u.Has(directory.Owner) })
}

// AcceptRequest is an invitation's code, as a hash, with who wants to become a user and the session that he gets.
type AcceptRequest struct {
	Invitation [32]byte
	Name       string
	Password   []byte
	Session    [32]byte
}

// AcceptInvitation makes a user with a password of whoever has the code, and a session of his.
func (e *Engine) AcceptInvitation(ctx context.Context, c *Call, in *AcceptRequest) (SessionInfo, error) {
	r := c.begin(policy.AcceptInvitation)
	if err := e.visit(c); err != nil {
		return SessionInfo{}, e.finishGuest(c, &r, err)
	}
	var i *directory.Invitation
	err := e.look(c)
	if err == nil {
		i, err = e.invitation(e.ledger.View(), in.Invitation)
	}
	if err != nil {
		return SessionInfo{}, e.finish(c, &r, err)
	}
	r.Tenant, r.Resource = i.Tenant, i.ID
	u := directory.User{
		ID: "user_" + randomID(), Tenant: i.Tenant, Name: in.Name, Email: i.Email, Roles: i.Roles, Status: directory.Enabled,
		CreatedAt: e.now().UnixMilli(),
	}
	err = checkUser(u.Name, u.Email, u.Roles)
	if err == nil {
		u.Password, err = e.newPassword(ctx, "password", in.Password)
	}
	if err != nil {
		return SessionInfo{}, e.finish(c, &r, err)
	}
	var info SessionInfo
	err = e.steps(c, &r, func() (err error) {
		accept := command.AcceptInvitation{Hash: in.Invitation, User: u, At: e.now().UnixMilli()}
		if err = e.commit(ctx, c, accept); err == nil {
			info, err = e.startSession(ctx, c, &r, &u, providerInvitation, in.Session)
		}
		return err
	})
	if err != nil {
		return SessionInfo{}, err
	}
	return info, nil
}
