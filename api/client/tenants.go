package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"cryptoserve/api/wire"
)

// Tenants lists all tenants in order of id.
func (c *Client) Tenants(ctx context.Context) ([]wire.Tenant, error) {
	answer, err := get[wire.TenantsResponse](ctx, c, "/api/v1/tenants")
	return answer.Tenants, err
}

// CreateTenant makes a tenant. The code in the answer lets its first owner in and is not shown again. It is never repeated
// when the outcome of a try is unknown: look at Tenants first, then call InviteOwner.
func (c *Client) CreateTenant(ctx context.Context, req wire.CreateTenantRequest) (wire.InvitedTenant, error) {
	return change[wire.InvitedTenant](ctx, c, "/api/v1/tenants", req)
}

// InviteOwner makes another code for the first owner of a tenant that has none. A tenant is named by its id or its name.
func (c *Client) InviteOwner(ctx context.Context, tenant string, req wire.InviteOwnerRequest) (wire.InvitedTenant, error) {
	return withPath("tenants", tenant, func(path string) (wire.InvitedTenant, error) {
		return change[wire.InvitedTenant](ctx, c, path+"/invite", req)
	})
}

// DisableTenant takes every right of the users and applications of a tenant, until EnableTenant.
func (c *Client) DisableTenant(ctx context.Context, tenant string) (wire.Tenant, error) {
	return c.changeTenant(ctx, tenant, "disable")
}

// EnableTenant gives a disabled tenant its rights back.
func (c *Client) EnableTenant(ctx context.Context, tenant string) (wire.Tenant, error) {
	return c.changeTenant(ctx, tenant, "enable")
}

// RestoreTenant takes the deletion of a tenant back, which stays disabled.
func (c *Client) RestoreTenant(ctx context.Context, tenant string) (wire.Tenant, error) {
	return c.changeTenant(ctx, tenant, "restore")
}

func (c *Client) changeTenant(ctx context.Context, tenant, act string) (wire.Tenant, error) {
	return withPath("tenants", tenant, func(path string) (wire.Tenant, error) {
		return change[wire.Tenant](ctx, c, path+"/"+act, nil)
	})
}

// DeleteTenant disables a tenant and has it deleted with all its keys after a waiting period, which may need approval.
func (c *Client) DeleteTenant(ctx context.Context, tenant string, req wire.DeleteTenantRequest) (Changed[wire.Tenant], error) {
	return withPath("tenants", tenant, func(path string) (Changed[wire.Tenant], error) {
		return approvable[wire.Tenant](ctx, c, operation{method: http.MethodDelete, path: path, body: req, authenticated: true})
	})
}

// act asks by any method for a change that must not be made twice.
func act[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	return call[T](ctx, c, operation{method: method, path: path, body: body, authenticated: true})
}

// withPath does something with the path of a thing, which must have a name.
func withPath[T any](kind, name string, do func(path string) (T, error)) (T, error) {
	if name == "" || name == "." || name == ".." {
		var none T
		return none, errors.New("client: one of the " + kind + " must be named")
	}
	return do("/api/v1/" + kind + "/" + url.PathEscape(name))
}
