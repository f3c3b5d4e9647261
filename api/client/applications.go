package client

import (
	"context"
	"net/http"

	"cryptoserve/api/wire"
)

// Applications lists the applications of the tenant in order of id.
func (c *Client) Applications(ctx context.Context) ([]wire.Application, error) {
	answer, err := get[wire.ApplicationsResponse](ctx, c, "/api/v1/applications")
	return answer.Applications, err
}

// Application gives one application.
func (c *Client) Application(ctx context.Context, id string) (wire.Application, error) {
	return withPath("applications", id, func(path string) (wire.Application, error) { return get[wire.Application](ctx, c, path) })
}

// CreateApplication makes an application. Its tokens in the answer are not shown again. It is never repeated when the outcome
// of a try is unknown: look at Applications first, then call RotateTokens.
func (c *Client) CreateApplication(ctx context.Context, req wire.CreateApplicationRequest) (wire.IssuedApplication, error) {
	return change[wire.IssuedApplication](ctx, c, "/api/v1/applications", req)
}

// Register finds or makes the application that a program of the user is, and gives it new tokens.
func (c *Client) Register(ctx context.Context, req wire.RegisterRequest) (wire.RegisterResponse, error) {
	return change[wire.RegisterResponse](ctx, c, "/api/v1/applications/sdk/register", req)
}

// ChangeApplication replaces what an application may do and what is said about it. Give what Application said as
// PreviousGrants, so that nothing is lost of what somebody else changed in between.
func (c *Client) ChangeApplication(ctx context.Context, id string, req wire.ChangeApplicationRequest) (wire.Application, error) {
	return withPath("applications", id, func(path string) (wire.Application, error) {
		return act[wire.Application](ctx, c, http.MethodPut, path, req)
	})
}

// DisableApplication takes every right of an application until EnableApplication.
func (c *Client) DisableApplication(ctx context.Context, id string) (wire.Application, error) {
	return withPath("applications", id, func(path string) (wire.Application, error) {
		return change[wire.Application](ctx, c, path+"/disable", nil)
	})
}

// EnableApplication gives a disabled application its rights back.
func (c *Client) EnableApplication(ctx context.Context, id string) (wire.Application, error) {
	return withPath("applications", id, func(path string) (wire.Application, error) {
		return change[wire.Application](ctx, c, path+"/enable", nil)
	})
}

// DeleteApplication deletes an application and its tokens.
func (c *Client) DeleteApplication(ctx context.Context, id string) error {
	_, err := withPath("applications", id, func(path string) (struct{}, error) {
		return act[struct{}](ctx, c, http.MethodDelete, path, nil)
	})
	return err
}

// ApplicationTokens tells of the tokens of an application what is not secret.
func (c *Client) ApplicationTokens(ctx context.Context, id string) (wire.TokensResponse, error) {
	return withPath("applications", id, func(path string) (wire.TokensResponse, error) {
		return get[wire.TokensResponse](ctx, c, path+"/tokens")
	})
}

// RotateTokens gives an application another key, so that all its tokens end, and new tokens. An application that keeps its key
// itself brings the next one.
func (c *Client) RotateTokens(ctx context.Context, id string, req wire.ApplicationKey) (wire.IssuedApplication, error) {
	return withPath("applications", id, func(path string) (wire.IssuedApplication, error) {
		return change[wire.IssuedApplication](ctx, c, path+"/tokens/rotate", req)
	})
}

// RevokeTokens ends all tokens of an application.
func (c *Client) RevokeTokens(ctx context.Context, id string) error {
	_, err := withPath("applications", id, func(path string) (struct{}, error) {
		return change[struct{}](ctx, c, path+"/tokens/revoke", nil)
	})
	return err
}

// VerifyToken tells whether an access token of the own tenant is good.
func (c *Client) VerifyToken(ctx context.Context, accessToken string) (wire.TokenVerifyResponse, error) {
	return call[wire.TokenVerifyResponse](ctx, c, operation{
		method: http.MethodPost, path: "/api/v1/auth/verify", body: wire.TokenVerifyRequest{AccessToken: accessToken},
		authenticated: true, repeatable: true,
	})
}

// RevokeToken ends what a refresh token or a session token stands for. It needs no other token. One that nobody knows is no
// error.
func (c *Client) RevokeToken(ctx context.Context, token string) error {
	_, err := call[struct{}](ctx, c, operation{
		method: http.MethodPost, path: "/api/v1/auth/revoke", body: wire.TokenRevokeRequest{Token: token}, repeatable: true,
	})
	return err
}
