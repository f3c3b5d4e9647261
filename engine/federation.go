package engine

import (
	"context"
	"slices"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// ProviderRules are what an identity provider may decide here.
type ProviderRules struct {
	// Manages says that the provider has a role mapping, which alone decides the roles of its people, at each sign-in.
	Manages bool
	// ApplianceRoles lets the mapping give and take roles of the appliance too (operator, auditor, backup).
	ApplianceRoles bool
}

// Identity is a person as an identity provider proved him.
type Identity struct {
	Provider string
	Tenant   string // name of the tenant that the provider's people belong to
	Issuer   string
	Subject  string
	Email    string // as the provider verified it, or empty
	Name     string
	Roles    []directory.Role
	// Invitation is the hash of the code that the sign-in began with; nil for none.
	Invitation *[32]byte
	Rules      ProviderRules
}

// applianceRoles are not those of a tenant.
var applianceRoles = []directory.Role{directory.Operator, directory.Auditor, directory.Backup}

// roles returns the roles that the provider gives, each once. What it may not give is left out.
func (i *Identity) roles() []directory.Role {
	var list []directory.Role
	for _, r := range directory.Roles {
		if slices.Contains(i.Roles, r) && (i.Rules.ApplianceRoles || !slices.Contains(applianceRoles, r)) {
			list = append(list, r)
		}
	}
	return list
}

// SignIn makes a session of a person whom an identity provider vouches for. A user is known by issuer and subject alone, never by
// his address. Who is not known becomes a user when the provider gives him roles, or by an invitation; where the provider
// manages the roles, only by what it gives.
func (e *Engine) SignIn(ctx context.Context, c *Call, who *Identity, session [32]byte) (SessionInfo, error) {
	r := c.begin(policy.FinishSignIn)
	r.Resource = who.Provider
	if err := e.look(c); err != nil {
		return SessionInfo{}, e.finish(c, &r, err)
	}
	view := e.ledger.View()
	tenant := view.TenantNamed(who.Tenant)
	if tenant == nil || tenant.Status != directory.Enabled || who.Issuer == "" || who.Subject == "" {
		return SessionInfo{}, e.finish(c, &r, signInRefused("tenant"))
	}
	r.Tenant = tenant.ID
	user := view.Tenant(tenant.ID).UserIdentified(who.Issuer, who.Subject)
	if user != nil {
		r.Subject, r.Kind = user.ID, policy.KindUser.String()
	}
	if user != nil && user.Status != directory.Enabled {
		return SessionInfo{}, e.finish(c, &r, signInRefused("disabled"))
	}
	if who.Rules.Manages && len(who.roles()) == 0 {
		if user != nil {
			e.endAll(ctx, c, user)
		}
		return SessionInfo{}, e.finish(c, &r, signInRefused("roles"))
	}
	birth, err := e.newcomer(view, tenant, who)
	if user == nil && err != nil {
		return SessionInfo{}, e.finish(c, &r, err)
	}
	r.Administrative = user != nil
	var info SessionInfo
	err = e.steps(c, &r, func() (err error) {
		if user == nil {
			r.Cause = "new-user"
			if err = e.commit(ctx, c, birth); err == nil {
				user = e.ledger.View().Tenant(tenant.ID).UserIdentified(who.Issuer, who.Subject)
			}
		} else if who.Rules.Manages {
			user, err = e.mapRoles(ctx, c, user, who)
		}
		switch {
		case err != nil:
			return err
		case user == nil:
			return signInRefused("changed")
		}
		info, err = e.startSession(ctx, c, &r, user, who.Provider, session)
		return err
	})
	if err != nil {
		return SessionInfo{}, err
	}
	return info, nil
}

// newcomer returns the command that makes a user of somebody who is not known, or why he does not become one.
func (e *Engine) newcomer(view View, tenant *directory.Tenant, who *Identity) (command.Command, error) {
	u := directory.User{
		ID: "user_" + randomID(), Tenant: tenant.ID, Name: e.freeName(view.Tenant(tenant.ID), who), Roles: who.roles(),
		Status: directory.Enabled, CreatedAt: e.now().UnixMilli(), Email: who.Email, Issuer: who.Issuer, Subject: who.Subject,
	}
	if validName(who.Name, directory.UserNameMax) {
		u.DisplayName = who.Name
	}
	if who.Invitation != nil && !who.Rules.Manages {
		i, err := e.invitation(view, *who.Invitation)
		if err != nil {
			return nil, err
		}
		// Its people are looked up in the provider's tenant only.
		if i.Tenant != tenant.ID {
			return nil, errNoInvitation
		}
		return command.AcceptInvitation{Hash: *who.Invitation, User: u, At: e.now().UnixMilli()}, nil
	}
	if len(u.Roles) == 0 {
		return nil, signInRefused("unknown-user")
	}
	return command.CreateUser{User: u}, nil
}

// freeName finds a name that no user of the tenant has. One who has it already is not the same person.
func (e *Engine) freeName(tenant TenantView, who *Identity) string {
	for _, name := range []string{who.Email, who.Name} {
		if validName(name, directory.UserNameMax) && tenant.UserNamed(name) == nil {
			return name
		}
	}
	return who.Provider + "-" + randomID()
}

// mapRoles replaces a user's roles by those that his provider gives, if they differ, and returns his record afterwards. Roles of
// the appliance stay where the provider may not give them. The last owner stays one, and signs in as what he is.
func (e *Engine) mapRoles(ctx context.Context, c *Call, u *directory.User, who *Identity) (*directory.User, error) {
	var roles []directory.Role
	given := who.roles()
	for _, role := range directory.Roles {
		kept := !who.Rules.ApplianceRoles && slices.Contains(applianceRoles, role) && u.Has(role)
		if slices.Contains(given, role) || kept {
			roles = append(roles, role)
		}
	}
	if len(roles) == len(u.Roles) && !slices.ContainsFunc(u.Roles, func(r directory.Role) bool { return !slices.Contains(roles, r) }) {
		return u, nil
	}
	r := c.begin(policy.ChangeRoles)
	r.Tenant, r.Subject, r.Kind, r.Resource, r.Cause = u.Tenant, u.ID, policy.KindUser.String(), u.ID, "role-mapping"
	err := e.propose(ctx, c, &r, command.SetUserRoles{Tenant: u.Tenant, User: u.ID, Roles: roles})
	if err != nil && fault.Of(err) != fault.Conflict {
		return nil, err
	}
	return e.ledger.View().Tenant(u.Tenant).User(u.ID), nil
}

// endAll ends the sessions of a user whom his provider gives no role any more. What cannot be ended now ends when it is over.
func (e *Engine) endAll(ctx context.Context, c *Call, u *directory.User) {
	r := c.begin(policy.EndUserSessions)
	r.Tenant, r.Subject, r.Kind, r.Resource, r.Cause = u.Tenant, u.ID, policy.KindUser.String(), u.ID, "role-mapping"
	if err := e.propose(ctx, c, &r, command.EndSessions{Tenant: u.Tenant, User: u.ID}); err != nil {
		e.log.Warn("the sessions of a user without roles could not be ended", "user", u.ID, "error", err)
	}
}
