package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"cryptoserve/api/wire"
)

// TestAccountRoutes is TestRoutes for users and signing in: also which of them take no token.
func TestAccountRoutes(t *testing.T) {
	type do = func(context.Context, *Client) error
	tests := map[string]struct {
		call       do
		request    string
		token      bool
		repeatable bool
	}{
		"login": {func(ctx context.Context, c *Client) error {
			_, err := c.Login(ctx, wire.LoginRequest{Username: "u", Password: "p"})
			return err
		}, `POST /api/v1/auth/login {"username":"u","password":"p"}`, false, false},
		"accept": {func(ctx context.Context, c *Client) error {
			_, err := c.AcceptInvitation(ctx, wire.AcceptInvitationRequest{Code: "c", Name: "n", Password: "p"})
			return err
		}, `POST /api/v1/auth/invitations/accept {"code":"c","name":"n","password":"p"}`, false, false},
		"providers": {func(ctx context.Context, c *Client) error { _, err := c.Providers(ctx); return err }, `GET /api/v1/auth/providers `, false, true},
		"create device": {func(ctx context.Context, c *Client) error {
			_, err := c.CreateDevice(ctx, wire.DeviceRequest{Client: "x"})
			return err
		}, `POST /api/v1/auth/device {"client":"x"}`, false, false},
		"redeem device": {func(ctx context.Context, c *Client) error {
			_, err := c.RedeemDevice(ctx, wire.DeviceTokenRequest{DeviceCode: "d"})
			return err
		}, `POST /api/v1/auth/device/token {"device_code":"d"}`, false, false},
		"device": {func(ctx context.Context, c *Client) error { _, err := c.Device(ctx, "a/b"); return err }, `GET /api/v1/device-requests/a%2Fb `, true, true},
		"decide": {func(ctx context.Context, c *Client) error {
			_, err := c.DecideDevice(ctx, wire.DecideDeviceRequest{UserCode: "x"})
			return err
		}, `POST /api/v1/auth/device/decide {"user_code":"x","approve":false}`, true, false},
		"logout":      {func(ctx context.Context, c *Client) error { return c.Logout(ctx) }, `POST /api/v1/auth/logout `, true, false},
		"who am I":    {func(ctx context.Context, c *Client) error { _, err := c.WhoAmI(ctx); return err }, `GET /api/v1/session `, true, true},
		"sessions":    {func(ctx context.Context, c *Client) error { _, err := c.Sessions(ctx); return err }, `GET /api/v1/sessions `, true, true},
		"end session": {func(ctx context.Context, c *Client) error { return c.EndSession(ctx, "s") }, `DELETE /api/v1/sessions/s `, true, false},
		"change password": {func(ctx context.Context, c *Client) error {
			return c.ChangePassword(ctx, wire.ChangePasswordRequest{Current: "a", New: "b"})
		}, `PUT /api/v1/account/password {"current":"a","new":"b"}`, true, false},
		"roles": {func(ctx context.Context, c *Client) error { _, err := c.Roles(ctx); return err }, `GET /api/v1/roles `, true, true},
		"users": {func(ctx context.Context, c *Client) error { _, err := c.Users(ctx); return err }, `GET /api/v1/users `, true, true},
		"user":  {func(ctx context.Context, c *Client) error { _, err := c.User(ctx, "u"); return err }, `GET /api/v1/users/u `, true, true},
		"create user": {func(ctx context.Context, c *Client) error {
			_, err := c.CreateUser(ctx, wire.CreateUserRequest{Name: "n", Roles: []string{"viewer"}})
			return err
		}, `POST /api/v1/users {"name":"n","roles":["viewer"]}`, true, false},
		"delete user": {func(ctx context.Context, c *Client) error { return c.DeleteUser(ctx, "u") }, `DELETE /api/v1/users/u `, true, false},
		"set roles": {func(ctx context.Context, c *Client) error {
			_, err := c.SetUserRoles(ctx, "u", wire.RolesRequest{Roles: []string{"viewer"}})
			return err
		}, `PUT /api/v1/users/u/roles {"roles":["viewer"]}`, true, true},
		"disable": {func(ctx context.Context, c *Client) error { _, err := c.DisableUser(ctx, "u"); return err }, `POST /api/v1/users/u/disable `, true, true},
		"enable":  {func(ctx context.Context, c *Client) error { _, err := c.EnableUser(ctx, "u"); return err }, `POST /api/v1/users/u/enable `, true, true},
		"reset": {func(ctx context.Context, c *Client) error {
			return c.ResetPassword(ctx, "u", wire.PasswordRequest{Password: "p"})
		}, `POST /api/v1/users/u/password {"password":"p"}`, true, true},
		"end sessions": {func(ctx context.Context, c *Client) error { return c.EndUserSessions(ctx, "u") }, `POST /api/v1/users/u/end-sessions `, true, true},
		"invitations":  {func(ctx context.Context, c *Client) error { _, err := c.Invitations(ctx); return err }, `GET /api/v1/invitations `, true, true},
		"invite": {func(ctx context.Context, c *Client) error {
			_, err := c.CreateInvitation(ctx, wire.CreateInvitationRequest{Roles: []string{"viewer"}})
			return err
		}, `POST /api/v1/invitations {"roles":["viewer"]}`, true, false},
		"withdraw": {func(ctx context.Context, c *Client) error { return c.DropInvitation(ctx, "i") }, `DELETE /api/v1/invitations/i `, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var away atomic.Bool
			var tries atomic.Int32
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				if got := r.Method + " " + r.URL.EscapedPath() + " " + string(body); got != tt.request {
					t.Errorf("got  %s\nwant %s", got, tt.request)
				}
				if (r.Header.Get("Authorization") == "Bearer "+testToken) != tt.token || (r.Header.Get("Authorization") != "") != tt.token {
					t.Error("with a token where none is wanted, or without one")
				}
				if away.Load() {
					refuse(t, w, 503, "ledger-unavailable", true)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, "{}")
			})
			if err := tt.call(t.Context(), c); err != nil {
				t.Error(err)
			}
			away.Store(true)
			tries.Store(0)
			var problem *Error
			if err := tt.call(t.Context(), c); !errors.As(err, &problem) || problem.Code != "ledger-unavailable" {
				t.Errorf("got %v", err)
			}
			if want := map[bool]int32{false: 1, true: 4}[tt.repeatable]; tries.Load() != want {
				t.Errorf("%d tries, want %d", tries.Load(), want)
			}
		})
	}
}

// TestAccountsNeedANameToAskAbout sends nothing for an empty id, whose path would be that of the list.
func TestAccountsNeedANameToAskAbout(t *testing.T) {
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was asked for") })
	if c.DeleteUser(t.Context(), "") == nil || c.EndUserSessions(t.Context(), "") == nil {
		t.Error("no error")
	}
	if _, err := c.User(t.Context(), ""); err == nil {
		t.Error("no error")
	}
}
