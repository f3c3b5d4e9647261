package engine

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// UserSpec is what a new user is to be.
type UserSpec struct {
	Name     string
	Email    string
	Roles    []directory.Role
	Password []byte // empty: he has none until an administrator gives him one
}

// RoleInfo is a role with what it allows.
type RoleInfo struct {
	Role    directory.Role
	Actions []policy.Action
}

// Roles tells what each role allows.
func (e *Engine) Roles(_ context.Context, c *Call) ([]RoleInfo, error) {
	r := c.begin(policy.ListRoles)
	_, err := e.authorizeChange(c, policy.ListRoles)
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	list := make([]RoleInfo, 0, len(directory.Roles))
	for _, role := range directory.Roles {
		list = append(list, RoleInfo{Role: role, Actions: policy.Actions(role)})
	}
	return list, nil
}

// Users lists the users of the subject's tenant, in order of name.
func (e *Engine) Users(_ context.Context, c *Call) ([]*directory.User, error) {
	r := c.begin(policy.ListUsers)
	_, err := e.authorizeChange(c, policy.ListUsers)
	var list []*directory.User
	if err == nil {
		list = e.ledger.View().Tenant(c.tenant()).Users()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// User returns a user of the subject's tenant.
func (e *Engine) User(_ context.Context, c *Call, id string) (*directory.User, error) {
	r := c.begin(policy.ReadUser)
	r.Resource = id
	_, err := e.authorizeChange(c, policy.ReadUser)
	var u *directory.User
	if err == nil {
		u, err = e.someone(c, id)
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return u, nil
}

// someone returns a user of the subject's tenant by id.
func (e *Engine) someone(c *Call, id string) (*directory.User, error) {
	u := e.ledger.View().Tenant(c.tenant()).User(id)
	if u == nil {
		return nil, fault.New(fault.NotFound, "engine.user", "there is no such user")
	}
	return u, nil
}

// validName reports whether people can tell a name from others: no control or invisible characters, no blanks at its ends.
func validName(name string, most int) bool {
	return name != "" && len(name) <= most && utf8.ValidString(name) && name == strings.TrimSpace(name) &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError }) < 0
}

// validEmail reports whether a text can be an address; empty is none. Nothing is decided by it.
func validEmail(email string) bool {
	local, domain, found := strings.Cut(email, "@")
	return email == "" || found && local != "" && domain != "" && validName(email, directory.EmailMax) && !strings.Contains(domain, "@")
}

// checkUser refuses a user who cannot be.
func checkUser(name, email string, roles []directory.Role) error {
	switch {
	case !validName(name, directory.UserNameMax):
		return malformedField("name", "1 to 64 bytes of text, without control characters and blanks at its ends")
	case !validEmail(email):
		return malformedField("email", "is not an address")
	case !directory.ValidRoles(roles):
		return malformedField("roles", "must be known roles, each once, at least one")
	default:
		return nil
	}
}

// mayTouch decides whether a user may have to do with these roles of somebody: he must be allowed to give each of them. So an
// administrator cannot touch an owner, and nobody raises himself. A nil user is the appliance.
func mayTouch(by *directory.User, roles ...directory.Role) error {
	if by == nil {
		return nil
	}
	for _, role := range roles {
		if !policy.MayAssign(by.Roles, role) {
			return fault.New(fault.Forbidden, "engine.user", "the subject may not give or take the role "+string(role)+
				", nor change who has it")
		}
	}
	return nil
}

// AddUser makes a user of the caller's tenant.
func (e *Engine) AddUser(ctx context.Context, c *Call, spec UserSpec) (*directory.User, error) {
	u := &directory.User{
		ID: "user_" + randomID(), Tenant: c.tenant(), Name: spec.Name, Email: spec.Email, Roles: spec.Roles,
		Status: directory.Enabled, CreatedAt: e.now().UnixMilli(),
	}
	r := c.begin(policy.CreateUser)
	r.Resource = u.ID
	err := e.changeAs(ctx, c, &r, policy.CreateUser, func(by *directory.User) (command.Command, error) {
		if err := checkUser(spec.Name, spec.Email, spec.Roles); err != nil {
			return nil, err
		}
		if err := mayTouch(by, spec.Roles...); err != nil {
			return nil, err
		}
		if len(spec.Password) > 0 {
			var err error
			if u.Password, err = e.newPassword(ctx, "password", spec.Password); err != nil {
				return nil, err
			}
			if by != nil {
				u.PasswordBy = by.ID
			}
		}
		return command.CreateUser{User: *u}, nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// CreateUser makes a user of the caller's tenant who has no password.
func (e *Engine) CreateUser(ctx context.Context, c *Call, name string, roles []directory.Role) (*directory.User, error) {
	return e.AddUser(ctx, c, UserSpec{Name: name, Roles: roles})
}

// changeUser carries out a change of another user whom the caller may touch, and returns the record afterwards; nil when it is
// gone. Nobody does to himself what would lock him out or let a stolen session take his account.
func (e *Engine) changeUser(
	ctx context.Context, c *Call, action policy.Action, id string, build func(by, u *directory.User) (command.Command, error),
) (*directory.User, error) {
	r := c.begin(action)
	r.Resource = id
	err := e.changeAs(ctx, c, &r, action, func(by *directory.User) (command.Command, error) {
		u, err := e.someone(c, id)
		if err != nil {
			return nil, err
		}
		if err := mayTouch(by, u.Roles...); err != nil {
			return nil, err
		}
		return build(by, u)
	})
	if err != nil {
		return nil, err
	}
	return e.ledger.View().Tenant(c.tenant()).User(id), nil
}

// notHimself refuses what a user may not do to his own account.
func notHimself(by, u *directory.User, detail string) error {
	if by != nil && by.ID == u.ID {
		return fault.New(fault.Forbidden, "engine.user", detail)
	}
	return nil
}

// SetUserRoles replaces a user's roles. The caller must be allowed to give every role that the user has or gets. The last owner
// of a tenant stays one.
func (e *Engine) SetUserRoles(ctx context.Context, c *Call, id string, roles []directory.Role) (*directory.User, error) {
	return e.changeUser(ctx, c, policy.ChangeRoles, id, func(by, u *directory.User) (command.Command, error) {
		if !directory.ValidRoles(roles) {
			return nil, malformedField("roles", "must be known roles, each once, at least one")
		}
		if err := mayTouch(by, roles...); err != nil {
			return nil, err
		}
		return command.SetUserRoles{Tenant: u.Tenant, User: u.ID, Roles: roles}, nil
	})
}

// SetUserDisabled disables a user, which ends his sessions, or enables him.
func (e *Engine) SetUserDisabled(ctx context.Context, c *Call, id string, disabled bool) (*directory.User, error) {
	action, status := policy.EnableUser, directory.Enabled
	if disabled {
		action, status = policy.DisableUser, directory.Disabled
	}
	return e.changeUser(ctx, c, action, id, func(by, u *directory.User) (command.Command, error) {
		if err := notHimself(by, u, "nobody disables himself"); err != nil {
			return nil, err
		}
		return command.SetUserStatus{Tenant: u.Tenant, User: u.ID, Status: status}, nil
	})
}

// DeleteUser deletes a user and his sessions.
func (e *Engine) DeleteUser(ctx context.Context, c *Call, id string) error {
	_, err := e.changeUser(ctx, c, policy.DeleteUser, id, func(by, u *directory.User) (command.Command, error) {
		if err := notHimself(by, u, "nobody deletes himself"); err != nil {
			return nil, err
		}
		return command.DeleteUser{Tenant: u.Tenant, User: u.ID}, nil
	})
	return err
}

// ResetPassword gives another user a password and ends his sessions.
func (e *Engine) ResetPassword(ctx context.Context, c *Call, id string, pass []byte) error {
	_, err := e.changeUser(ctx, c, policy.ResetPassword, id, func(by, u *directory.User) (command.Command, error) {
		if err := notHimself(by, u, "nobody resets his own password: change it with the present one"); err != nil {
			return nil, err
		}
		if u.Issuer != "" {
			return nil, fault.New(fault.Conflict, "engine.user", "the user signs in at an identity provider")
		}
		encoded, err := e.newPassword(ctx, "password", pass)
		if err != nil {
			return nil, err
		}
		return command.SetPassword{Tenant: u.Tenant, User: u.ID, Password: encoded, By: by.ID}, nil
	})
	return err
}

// EndUserSessions ends all sessions of a user.
func (e *Engine) EndUserSessions(ctx context.Context, c *Call, id string) error {
	_, err := e.changeUser(ctx, c, policy.EndUserSessions, id, func(_, u *directory.User) (command.Command, error) {
		return command.EndSessions{Tenant: u.Tenant, User: u.ID}, nil
	})
	return err
}
