package api_test

import (
	"bytes"
	"context"
	"net/url"

	"cryptoserve/api/signin"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// What the stand-in says of users.
var (
	anyUser = &directory.User{
		ID: "user_1", Tenant: "tenant-1", Name: "alice", Email: "alice@example.org", DisplayName: "Alice", Status: directory.Enabled,
		Roles: []directory.Role{directory.Admin, directory.Auditor}, Password: "$argon2id$s3cret", CreatedAt: newYear,
	}
	anySession = &directory.Session{
		Hash: [32]byte{0xab, 0xcd}, User: "user_1", Tenant: "tenant-1", CreatedAt: newYear, ExpiresAt: newYear + 7000, SeenAt: newYear + 1000,
		Provider: "password", Source: "192.0.2.1",
	}
	anyInvitation = &directory.Invitation{
		ID: "invitation_1", Tenant: "tenant-1", Hash: [32]byte{1}, Email: "bob@example.org", Roles: []directory.Role{directory.Viewer},
		CreatedBy: "user_1", CreatedAt: newYear, ExpiresAt: newYear + 7000,
	}
	anyDevice = &directory.Device{
		Hash: [32]byte{2}, UserCode: "BCDF-GHJK", Client: "cryptoserve", Source: "192.0.2.1", CreatedAt: newYear, ExpiresAt: newYear + 7000,
		State: directory.DevicePending,
	}
)

func anySessionInfo() engine.SessionInfo {
	return engine.SessionInfo{
		Record: anySession, User: anyUser, Tenant: &directory.Tenant{ID: "tenant-1", Name: "default", Status: directory.Enabled},
	}
}

func (s *standIn) Login(_ context.Context, c *engine.Call, in *engine.LoginRequest) (engine.SessionInfo, error) {
	copied := *in
	copied.Password = bytes.Clone(in.Password)
	s.mu.Lock()
	s.issued = append(s.issued, in.Session)
	s.mu.Unlock()
	return with(s, c, copied, anySessionInfo())
}

func (s *standIn) AcceptInvitation(_ context.Context, c *engine.Call, in *engine.AcceptRequest) (engine.SessionInfo, error) {
	copied := *in
	copied.Password = bytes.Clone(in.Password)
	return with(s, c, copied, anySessionInfo())
}

func (s *standIn) SignIn(_ context.Context, c *engine.Call, who *engine.Identity, session [32]byte) (engine.SessionInfo, error) {
	s.mu.Lock()
	s.issued = append(s.issued, session)
	s.mu.Unlock()
	return with(s, c, *who, anySessionInfo())
}

func (s *standIn) CreateDevice(_ context.Context, c *engine.Call, _ [32]byte, client string) (*directory.Device, error) {
	return with(s, c, client, anyDevice)
}

func (s *standIn) Device(_ context.Context, c *engine.Call, code string) (*directory.Device, error) {
	return with(s, c, code, anyDevice)
}

func (s *standIn) DecideDevice(_ context.Context, c *engine.Call, code string, approve bool) (*directory.Device, error) {
	return with(s, c, []any{code, approve}, anyDevice)
}

func (s *standIn) RedeemDevice(_ context.Context, c *engine.Call, hash, _ [32]byte) (engine.SessionInfo, error) {
	return with(s, c, hash, anySessionInfo())
}

// VisitNode lets everybody in.
func (s *standIn) VisitNode(context.Context, *engine.Call, policy.Action, string) error { return nil }

func (s *standIn) Note(_ context.Context, c *engine.Call, action policy.Action, resource string, outcome error) error {
	if err := s.note(c, []any{action, resource}); err != nil {
		return err
	}
	return outcome
}

func (s *standIn) Logout(_ context.Context, c *engine.Call) error { return s.note(c, "logout") }

func (s *standIn) WhoAmI(_ context.Context, c *engine.Call) (engine.Self, error) {
	return with(s, c, nil, engine.Self{SessionInfo: anySessionInfo(), Actions: []policy.Action{policy.CreateUser, policy.WhoAmI}})
}

func (s *standIn) Sessions(_ context.Context, c *engine.Call) ([]*directory.Session, error) {
	return with(s, c, nil, []*directory.Session{anySession})
}

func (s *standIn) EndSession(_ context.Context, c *engine.Call, id string) error {
	return s.note(c, id)
}

func (s *standIn) ChangePassword(_ context.Context, c *engine.Call, current, next []byte) error {
	return s.note(c, []any{string(current), string(next)})
}

func (s *standIn) Roles(_ context.Context, c *engine.Call) ([]engine.RoleInfo, error) {
	return with(s, c, nil, []engine.RoleInfo{{Role: directory.Backup, Actions: []policy.Action{policy.WhoAmI}}})
}

func (s *standIn) Users(_ context.Context, c *engine.Call) ([]*directory.User, error) {
	return with(s, c, nil, []*directory.User{anyUser})
}

func (s *standIn) User(_ context.Context, c *engine.Call, id string) (*directory.User, error) {
	return with(s, c, id, anyUser)
}

func (s *standIn) AddUser(_ context.Context, c *engine.Call, spec engine.UserSpec) (*directory.User, error) {
	return with(s, c, spec, anyUser)
}

func (s *standIn) DeleteUser(_ context.Context, c *engine.Call, id string) error {
	return s.note(c, id)
}

func (s *standIn) SetUserRoles(_ context.Context, c *engine.Call, id string, roles []directory.Role) (*directory.User, error) {
	return with(s, c, []any{id, roles}, anyUser)
}

func (s *standIn) SetUserDisabled(_ context.Context, c *engine.Call, id string, disabled bool) (*directory.User, error) {
	return with(s, c, []any{id, disabled}, anyUser)
}

func (s *standIn) ResetPassword(_ context.Context, c *engine.Call, id string, pass []byte) error {
	return s.note(c, []any{id, string(pass)})
}

func (s *standIn) EndUserSessions(_ context.Context, c *engine.Call, id string) error {
	return s.note(c, id)
}

func (s *standIn) Invitations(_ context.Context, c *engine.Call) ([]*directory.Invitation, error) {
	return with(s, c, nil, []*directory.Invitation{anyInvitation})
}

func (s *standIn) CreateInvitation(_ context.Context, c *engine.Call, spec engine.InvitationSpec) (*directory.Invitation, error) {
	spec.Hash = [32]byte{}
	return with(s, c, spec, anyInvitation)
}

func (s *standIn) DropInvitation(_ context.Context, c *engine.Call, id string) error {
	return s.note(c, id)
}

// providers stands for package signin where the tests look at the routes: whoever comes back is Carol.
type providers struct{}

func (providers) Providers() []signin.Info {
	return []signin.Info{{Name: "corp", Preset: signin.OIDC, DisplayName: "Corp"}}
}

func (providers) Begin(_ context.Context, name string, o signin.BeginOptions) (string, signin.State, error) {
	return "https://id.example.org/" + name + "?to=" + url.QueryEscape(o.Redirect), signin.State{}, nil
}

func (providers) Finish(_ context.Context, name string, q url.Values, cookie string) (signin.Identity, string, error) {
	return signin.Identity{
		Provider: name, Tenant: "default", Issuer: "https://id.example.org", Subject: q.Get("code") + cookie, Email: "carol@example.org",
		EmailVerified: true, Name: "Carol", Roles: []string{"viewer"},
	}, "/here", nil
}
