package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"cryptoserve/api/wire"
)

var errNoName = errors.New("client: the id of what it is about is needed")

// The codes that RedeemDevice is refused with while a sign-in is no session.
const (
	CodeDevicePending = "authorization-pending" // ask again after the interval
	CodeSlowDown      = "slow-down"             // and not so often
	CodeDeviceExpired = "expired"
	CodeDeviceDenied  = "access-denied"
)

// open asks for something that needs no token and must not be done twice.
func open[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return call[T](ctx, c, operation{method: http.MethodPost, path: "/api/v1/auth/" + path, body: body})
}

// about does something to what an id names. Twice does no harm.
func about[T any](ctx context.Context, c *Client, method, folder, id, act string, body any) (T, error) {
	if id == "" {
		var none T
		return none, errNoName
	}
	return call[T](ctx, c, operation{
		method: method, path: "/api/v1/" + folder + "/" + url.PathEscape(id) + act, body: body, authenticated: true, repeatable: true,
	})
}

// Login signs a user in with a password. It needs no token; put the one of the answer into a Config.
func (c *Client) Login(ctx context.Context, req wire.LoginRequest) (wire.SessionResponse, error) {
	return open[wire.SessionResponse](ctx, c, "login", req)
}

// AcceptInvitation makes a user of whoever has the code, and signs him in. It needs no token.
func (c *Client) AcceptInvitation(ctx context.Context, req wire.AcceptInvitationRequest) (wire.SessionResponse, error) {
	return open[wire.SessionResponse](ctx, c, "invitations/accept", req)
}

// Providers lists the identity providers that a browser can sign in at. It needs no token.
func (c *Client) Providers(ctx context.Context) ([]wire.Provider, error) {
	answer, err := call[wire.ProvidersResponse](ctx, c, operation{
		method: http.MethodGet, path: "/api/v1/auth/providers", repeatable: true,
	})
	return answer.Providers, err
}

// CreateDevice begins a sign-in without a browser. It needs no token.
func (c *Client) CreateDevice(ctx context.Context, req wire.DeviceRequest) (wire.DeviceResponse, error) {
	return open[wire.DeviceResponse](ctx, c, "device", req)
}

// RedeemDevice asks once whether a sign-in has become a session. Until then the error has one of the codes above.
func (c *Client) RedeemDevice(ctx context.Context, req wire.DeviceTokenRequest) (wire.SessionResponse, error) {
	return open[wire.SessionResponse](ctx, c, "device/token", req)
}

// Device shows the sign-in that waits under a user code.
func (c *Client) Device(ctx context.Context, code string) (wire.Device, error) {
	return about[wire.Device](ctx, c, http.MethodGet, "device-requests", code, "", nil)
}

// DecideDevice approves or denies a sign-in that waits.
func (c *Client) DecideDevice(ctx context.Context, req wire.DecideDeviceRequest) (wire.Device, error) {
	return change[wire.Device](ctx, c, "/api/v1/auth/device/decide", req)
}

// Logout ends the session of the client's token.
func (c *Client) Logout(ctx context.Context) error {
	_, err := change[struct{}](ctx, c, "/api/v1/auth/logout", nil)
	return err
}

// WhoAmI tells whom the token stands for and what he may do.
func (c *Client) WhoAmI(ctx context.Context) (wire.WhoAmIResponse, error) {
	return get[wire.WhoAmIResponse](ctx, c, "/api/v1/session")
}

// Sessions lists one's own sessions, the newest first.
func (c *Client) Sessions(ctx context.Context) ([]wire.Session, error) {
	answer, err := get[wire.SessionsResponse](ctx, c, "/api/v1/sessions")
	return answer.Sessions, err
}

// EndSession ends one of one's own sessions. It is never repeated when the outcome of a try is unknown.
func (c *Client) EndSession(ctx context.Context, id string) error { return c.drop(ctx, "sessions", id) }

// drop deletes something, once.
func (c *Client) drop(ctx context.Context, folder, id string) error {
	if id == "" {
		return errNoName
	}
	_, err := call[struct{}](ctx, c, operation{
		method: http.MethodDelete, path: "/api/v1/" + folder + "/" + url.PathEscape(id), authenticated: true,
	})
	return err
}

// ChangePassword replaces one's own password and ends one's other sessions.
func (c *Client) ChangePassword(ctx context.Context, req wire.ChangePasswordRequest) error {
	_, err := call[struct{}](ctx, c, operation{
		method: http.MethodPut, path: "/api/v1/account/password", body: req, authenticated: true,
	})
	return err
}

// Roles tells what each role allows.
func (c *Client) Roles(ctx context.Context) ([]wire.Role, error) {
	answer, err := get[wire.RolesResponse](ctx, c, "/api/v1/roles")
	return answer.Roles, err
}

// Users lists the users of the tenant, in order of name.
func (c *Client) Users(ctx context.Context) ([]wire.User, error) {
	answer, err := get[wire.UsersResponse](ctx, c, "/api/v1/users")
	return answer.Users, err
}

// User shows a user.
func (c *Client) User(ctx context.Context, id string) (wire.User, error) {
	return about[wire.User](ctx, c, http.MethodGet, "users", id, "", nil)
}

// CreateUser makes a user. It is never repeated when the outcome of a try is unknown.
func (c *Client) CreateUser(ctx context.Context, req wire.CreateUserRequest) (wire.User, error) {
	return change[wire.User](ctx, c, "/api/v1/users", req)
}

// DeleteUser deletes a user and his sessions.
func (c *Client) DeleteUser(ctx context.Context, id string) error { return c.drop(ctx, "users", id) }

// SetUserRoles replaces a user's roles.
func (c *Client) SetUserRoles(ctx context.Context, id string, req wire.RolesRequest) (wire.User, error) {
	return about[wire.User](ctx, c, http.MethodPut, "users", id, "/roles", req)
}

// DisableUser disables a user and ends his sessions.
func (c *Client) DisableUser(ctx context.Context, id string) (wire.User, error) {
	return about[wire.User](ctx, c, http.MethodPost, "users", id, "/disable", nil)
}

// EnableUser enables a disabled user.
func (c *Client) EnableUser(ctx context.Context, id string) (wire.User, error) {
	return about[wire.User](ctx, c, http.MethodPost, "users", id, "/enable", nil)
}

// ResetPassword gives another user a password and ends his sessions.
func (c *Client) ResetPassword(ctx context.Context, id string, req wire.PasswordRequest) error {
	_, err := about[struct{}](ctx, c, http.MethodPost, "users", id, "/password", req)
	return err
}

// EndUserSessions ends all sessions of a user.
func (c *Client) EndUserSessions(ctx context.Context, id string) error {
	_, err := about[struct{}](ctx, c, http.MethodPost, "users", id, "/end-sessions", nil)
	return err
}

// Invitations lists the invitations that can still be accepted.
func (c *Client) Invitations(ctx context.Context) ([]wire.Invitation, error) {
	answer, err := get[wire.InvitationsResponse](ctx, c, "/api/v1/invitations")
	return answer.Invitations, err
}

// CreateInvitation invites somebody. The answer holds the code, which is shown only there.
func (c *Client) CreateInvitation(ctx context.Context, req wire.CreateInvitationRequest) (wire.InvitationResponse, error) {
	return change[wire.InvitationResponse](ctx, c, "/api/v1/invitations", req)
}

// DropInvitation withdraws an invitation.
func (c *Client) DropInvitation(ctx context.Context, id string) error {
	return c.drop(ctx, "invitations", id)
}
