package api

import (
	"context"
	"net/http"
	"time"

	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// AccountEngine signs users in and manages them.
type AccountEngine interface {
	SignInEngine

	Logout(ctx context.Context, call *engine.Call) error
	WhoAmI(ctx context.Context, call *engine.Call) (engine.Self, error)
	Sessions(ctx context.Context, call *engine.Call) ([]*directory.Session, error)
	EndSession(ctx context.Context, call *engine.Call, id string) error
	ChangePassword(ctx context.Context, call *engine.Call, current, next []byte) error

	Roles(ctx context.Context, call *engine.Call) ([]engine.RoleInfo, error)
	Users(ctx context.Context, call *engine.Call) ([]*directory.User, error)
	User(ctx context.Context, call *engine.Call, id string) (*directory.User, error)
	AddUser(ctx context.Context, call *engine.Call, spec engine.UserSpec) (*directory.User, error)
	DeleteUser(ctx context.Context, call *engine.Call, id string) error
	SetUserRoles(ctx context.Context, call *engine.Call, id string, roles []directory.Role) (*directory.User, error)
	SetUserDisabled(ctx context.Context, call *engine.Call, id string, disabled bool) (*directory.User, error)
	ResetPassword(ctx context.Context, call *engine.Call, id string, pass []byte) error
	EndUserSessions(ctx context.Context, call *engine.Call, id string) error

	Invitations(ctx context.Context, call *engine.Call) ([]*directory.Invitation, error)
	CreateInvitation(ctx context.Context, call *engine.Call, spec engine.InvitationSpec) (*directory.Invitation, error)
	DropInvitation(ctx context.Context, call *engine.Call, id string) error
}

const (
	usersPath       = "/api/v1/users"
	sessionsPath    = "/api/v1/sessions"
	invitationsPath = "/api/v1/invitations"
)

// accountRoutes are its routes.
func accountRoutes(l Limits) []route {
	row := func(method, path string, action policy.Action, handle func(*Server, *exchange) error) route {
		r := route{method: method, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
		if method == http.MethodPost || method == http.MethodPut {
			r.bodyBytes = l.BodyBytes
		}
		return r
	}
	user := usersPath + "/:user"
	return append(signInRoutes(row),
		row("POST", "/api/v1/auth/logout", policy.Logout, (*Server).logout),
		row("GET", "/api/v1/session", policy.WhoAmI, (*Server).whoAmI),
		row("GET", sessionsPath, policy.ListSessions, (*Server).sessions),
		row("DELETE", sessionsPath+"/:session", policy.EndSession, (*Server).endSession),
		row("PUT", "/api/v1/account/password", policy.ChangePassword, (*Server).changePassword),
		row("GET", "/api/v1/roles", policy.ListRoles, (*Server).roles),
		row("GET", usersPath, policy.ListUsers, (*Server).users),
		row("POST", usersPath, policy.CreateUser, (*Server).createUser),
		row("GET", user, policy.ReadUser, (*Server).user),
		row("DELETE", user, policy.DeleteUser, (*Server).deleteUser),
		row("PUT", user+"/roles", policy.ChangeRoles, (*Server).setUserRoles),
		row("POST", user+"/disable", policy.DisableUser, (*Server).disableUser),
		row("POST", user+"/enable", policy.EnableUser, (*Server).enableUser),
		row("POST", user+"/password", policy.ResetPassword, (*Server).resetPassword),
		row("POST", user+"/end-sessions", policy.EndUserSessions, (*Server).endUserSessions),
		row("GET", invitationsPath, policy.ListInvitations, (*Server).invitations),
		secretly(row("POST", invitationsPath, policy.CreateInvitation, (*Server).createInvitation)),
		row("DELETE", invitationsPath+"/:invitation", policy.DropInvitation, (*Server).dropInvitation),
	)
}

// done is the answer to an act that gives nothing back.
func (x *exchange) done(err error) error {
	if err != nil {
		return err
	}
	return x.answer(struct{}{})
}

func wireUser(u *directory.User) wire.User {
	out := wire.User{
		ID: u.ID, Name: u.Name, Email: u.Email, DisplayName: u.DisplayName, Roles: texts(u.Roles), Status: u.Status.String(),
		HasPassword: u.Password != "", Issuer: u.Issuer, CreatedAt: milliseconds(u.CreatedAt),
	}
	return out
}

// texts returns words of other types as strings; never nil.
func texts[T ~string](list []T) []string {
	out := make([]string, 0, len(list))
	for _, word := range list {
		out = append(out, string(word))
	}
	return out
}

// rolesOf are the roles that a body names. Which there are, the engine knows.
func rolesOf(names []string) []directory.Role {
	roles := make([]directory.Role, 0, len(names))
	for _, name := range names {
		roles = append(roles, directory.Role(name))
	}
	return roles
}

func wireSession(s *directory.Session, current [32]byte) wire.Session {
	return wire.Session{
		ID: engine.SessionID(s.Hash), Provider: s.Provider, Source: s.Source, CreatedAt: milliseconds(s.CreatedAt),
		LastSeenAt: milliseconds(s.LastSeen()), ExpiresAt: milliseconds(s.ExpiresAt), Current: s.Hash == current,
	}
}

func (s *Server) logout(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	if err := s.config.Engine.Logout(x.r.Context(), &x.call); err != nil {
		return err
	}
	x.setSession("", time.Time{})
	return x.done(nil)
}

func (s *Server) whoAmI(x *exchange) error {
	self, err := s.config.Engine.WhoAmI(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	return x.answer(wire.WhoAmIResponse{
		User: wireUser(self.User), Tenant: self.Tenant.Name, TenantID: self.Tenant.ID,
		Session: wireSession(self.Record, self.Record.Hash), Actions: texts(self.Actions),
	})
}

func (s *Server) sessions(x *exchange) error {
	list, err := s.config.Engine.Sessions(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.SessionsResponse{Sessions: make([]wire.Session, 0, len(list))}
	for _, session := range list {
		answer.Sessions = append(answer.Sessions, wireSession(session, x.call.Subject.Session))
	}
	return x.answer(answer)
}

func (s *Server) endSession(x *exchange) error {
	return x.done(s.config.Engine.EndSession(x.r.Context(), &x.call, x.params.ByName("session")))
}

var changePasswordFields = []field{
	{name: "current", kind: hidden, required: true, max: engine.PasswordMax},
	{name: "new", kind: hidden, required: true, max: engine.PasswordMax},
}

// changePassword keeps the passwords in memory that is overwritten.
func (s *Server) changePassword(x *exchange) error {
	if err := x.json.object(x.body, changePasswordFields); err != nil {
		return err
	}
	v := &x.json.values
	return x.done(s.config.Engine.ChangePassword(x.r.Context(), &x.call, v[0].bytes, v[1].bytes))
}

func (s *Server) roles(x *exchange) error {
	list, err := s.config.Engine.Roles(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.RolesResponse{Roles: make([]wire.Role, 0, len(list))}
	for _, r := range list {
		answer.Roles = append(answer.Roles, wire.Role{Role: string(r.Role), Actions: texts(r.Actions)})
	}
	return x.answer(answer)
}

func (s *Server) users(x *exchange) error {
	list, err := s.config.Engine.Users(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.UsersResponse{Users: make([]wire.User, 0, len(list))}
	for _, u := range list {
		answer.Users = append(answer.Users, wireUser(u))
	}
	return x.answer(answer)
}

func (s *Server) user(x *exchange) error {
	return x.answerUser(s.config.Engine.User(x.r.Context(), &x.call, x.params.ByName("user")))
}

func (x *exchange) answerUser(u *directory.User, err error) error {
	switch {
	case err != nil:
		return err
	case u == nil: // gone since
		return errNoUser
	}
	return x.answer(wireUser(u))
}

func (s *Server) createUser(x *exchange) error {
	var in wire.CreateUserRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	u, err := s.config.Engine.AddUser(x.r.Context(), &x.call, engine.UserSpec{
		Name: in.Name, Email: in.Email, Roles: rolesOf(in.Roles), Password: []byte(in.Password),
	})
	if err != nil {
		return err
	}
	x.created(usersPath + "/" + u.ID)
	return x.answer(wireUser(u))
}

func (s *Server) deleteUser(x *exchange) error {
	return x.done(s.config.Engine.DeleteUser(x.r.Context(), &x.call, x.params.ByName("user")))
}

func (s *Server) setUserRoles(x *exchange) error {
	var in wire.RolesRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	return x.answerUser(s.config.Engine.SetUserRoles(x.r.Context(), &x.call, x.params.ByName("user"), rolesOf(in.Roles)))
}

func (s *Server) disableUser(x *exchange) error { return x.setUserDisabled(true) }

func (s *Server) enableUser(x *exchange) error { return x.setUserDisabled(false) }

func (x *exchange) setUserDisabled(disabled bool) error {
	if err := x.nothing(); err != nil {
		return err
	}
	return x.answerUser(x.server.config.Engine.SetUserDisabled(x.r.Context(), &x.call, x.params.ByName("user"), disabled))
}

var passwordFields = []field{{name: "password", kind: hidden, required: true, max: engine.PasswordMax}}

func (s *Server) resetPassword(x *exchange) error {
	if err := x.json.object(x.body, passwordFields); err != nil {
		return err
	}
	return x.done(s.config.Engine.ResetPassword(x.r.Context(), &x.call, x.params.ByName("user"), x.json.values[0].bytes))
}

func (s *Server) endUserSessions(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	return x.done(s.config.Engine.EndUserSessions(x.r.Context(), &x.call, x.params.ByName("user")))
}

func wireInvitation(i *directory.Invitation) wire.Invitation {
	return wire.Invitation{
		ID: i.ID, Email: i.Email, Roles: texts(i.Roles), CreatedBy: i.CreatedBy, CreatedAt: milliseconds(i.CreatedAt),
		ExpiresAt: milliseconds(i.ExpiresAt),
	}
}

func (s *Server) invitations(x *exchange) error {
	list, err := s.config.Engine.Invitations(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.InvitationsResponse{Invitations: make([]wire.Invitation, 0, len(list))}
	for _, i := range list {
		answer.Invitations = append(answer.Invitations, wireInvitation(i))
	}
	return x.answer(answer)
}

func (s *Server) createInvitation(x *exchange) error {
	var in wire.CreateInvitationRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	code, hash := auth.NewInviteCode()
	i, err := s.config.Engine.CreateInvitation(x.r.Context(), &x.call, engine.InvitationSpec{
		Email: in.Email, Roles: rolesOf(in.Roles), Hash: hash,
	})
	if err != nil {
		return err
	}
	x.created(invitationsPath + "/" + i.ID)
	return x.answer(wire.InvitationResponse{Invitation: wireInvitation(i), Code: code})
}

func (s *Server) dropInvitation(x *exchange) error {
	return x.done(s.config.Engine.DropInvitation(x.r.Context(), &x.call, x.params.ByName("invitation")))
}
