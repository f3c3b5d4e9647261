package client

import (
	"context"
	"io"
	"net/http"
	"testing"

	"cryptoserve/api/wire"
)

// TestAccessRoutes checks for each method of tenants and applications which route it asks for, with which body and token, and
// whether it is asked again when the node could not serve.
func TestAccessRoutes(t *testing.T) {
	days := uint32(9)
	tests := []struct {
		name       string
		call       func(context.Context, *Client) error
		request    string // method, path and body
		repeatable bool
		anonymous  bool
	}{
		{"tenants", func(ctx context.Context, c *Client) error { _, err := c.Tenants(ctx); return err }, `GET /api/v1/tenants `, true, false},
		{"create tenant", func(ctx context.Context, c *Client) error {
			_, err := c.CreateTenant(ctx, wire.CreateTenantRequest{Name: "acme"})
			return err
		}, `POST /api/v1/tenants {"name":"acme"}`, false, false},
		{"invite owner", func(ctx context.Context, c *Client) error {
			_, err := c.InviteOwner(ctx, "acme", wire.InviteOwnerRequest{})
			return err
		}, `POST /api/v1/tenants/acme/invite {}`, false, false},
		{"disable tenant", func(ctx context.Context, c *Client) error { _, err := c.DisableTenant(ctx, "a/b"); return err },
			`POST /api/v1/tenants/a%2Fb/disable `, false, false},
		{"enable tenant", func(ctx context.Context, c *Client) error { _, err := c.EnableTenant(ctx, "acme"); return err },
			`POST /api/v1/tenants/acme/enable `, false, false},
		{"restore tenant", func(ctx context.Context, c *Client) error { _, err := c.RestoreTenant(ctx, "acme"); return err },
			`POST /api/v1/tenants/acme/restore `, false, false},
		{"delete tenant", func(ctx context.Context, c *Client) error {
			_, err := c.DeleteTenant(ctx, "acme", wire.DeleteTenantRequest{Reason: "r", WaitDays: &days})
			return err
		}, `DELETE /api/v1/tenants/acme {"reason":"r","wait_days":9}`, false, false},
		{"applications", func(ctx context.Context, c *Client) error { _, err := c.Applications(ctx); return err }, `GET /api/v1/applications `, true, false},
		{"application", func(ctx context.Context, c *Client) error { _, err := c.Application(ctx, "app"); return err }, `GET /api/v1/applications/app `, true, false},
		{"create application", func(ctx context.Context, c *Client) error {
			_, err := c.CreateApplication(ctx, wire.CreateApplicationRequest{Name: "a", ApplicationKey: wire.ApplicationKey{PublicKey: "p"}})
			return err
		}, `POST /api/v1/applications {"name":"a","public_key":"p"}`, false, false},
		{"register", func(ctx context.Context, c *Client) error {
			_, err := c.Register(ctx, wire.RegisterRequest{AppName: "a"})
			return err
		}, `POST /api/v1/applications/sdk/register {"app_name":"a"}`, false, false},
		{"change application", func(ctx context.Context, c *Client) error {
			_, err := c.ChangeApplication(ctx, "app", wire.ChangeApplicationRequest{Grants: []wire.Grant{{Context: "x", Encrypt: true}}})
			return err
		}, `PUT /api/v1/applications/app {"team":"","description":"","grants":[{"context":"x","encrypt":true}]}`, false, false},
		{"disable application", func(ctx context.Context, c *Client) error { _, err := c.DisableApplication(ctx, "app"); return err },
			`POST /api/v1/applications/app/disable `, false, false},
		{"enable application", func(ctx context.Context, c *Client) error { _, err := c.EnableApplication(ctx, "app"); return err },
			`POST /api/v1/applications/app/enable `, false, false},
		{"delete application", func(ctx context.Context, c *Client) error { return c.DeleteApplication(ctx, "app") },
			`DELETE /api/v1/applications/app `, false, false},
		{"tokens", func(ctx context.Context, c *Client) error { _, err := c.ApplicationTokens(ctx, "app"); return err },
			`GET /api/v1/applications/app/tokens `, true, false},
		{"rotate tokens", func(ctx context.Context, c *Client) error {
			_, err := c.RotateTokens(ctx, "app", wire.ApplicationKey{})
			return err
		}, `POST /api/v1/applications/app/tokens/rotate {}`, false, false},
		{"revoke tokens", func(ctx context.Context, c *Client) error { return c.RevokeTokens(ctx, "app") },
			`POST /api/v1/applications/app/tokens/revoke `, false, false},
		{"verify token", func(ctx context.Context, c *Client) error { _, err := c.VerifyToken(ctx, "t"); return err },
			`POST /api/v1/auth/verify {"access_token":"t"}`, true, false},
		{"revoke token", func(ctx context.Context, c *Client) error { return c.RevokeToken(ctx, "t") },
			`POST /api/v1/auth/revoke {"token":"t"}`, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tries, away := 0, false
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tries++
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				if got := r.Method + " " + r.URL.EscapedPath() + " " + string(body); got != tt.request {
					t.Errorf("got  %s\nwant %s", got, tt.request)
				}
				if (r.Header.Get("Authorization") == "") != tt.anonymous {
					t.Errorf("with a token: %v", !tt.anonymous)
				}
				if away {
					refuse(t, w, 503, "ledger-unavailable", true)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{}`)
			})
			if err := tt.call(t.Context(), c); err != nil {
				t.Error(err)
			}
			tries, away = 0, true
			want := 1
			if tt.repeatable {
				want = 4
			}
			if err := tt.call(t.Context(), c); err == nil || tries != want {
				t.Errorf("away: %v after %d tries, want %d", err, tries, want)
			}
		})
	}
}

// TestDeletionOrApproval tells the two answers of DeleteTenant apart.
func TestDeletionOrApproval(t *testing.T) {
	status, text := 200, `{"id":"tenant_1","name":"acme","delete_at":"2031-01-01T00:00:00Z"}`
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
	out, err := c.DeleteTenant(t.Context(), "acme", wire.DeleteTenantRequest{})
	if err != nil || out.Approval != nil || out.Result.DeleteAt == "" {
		t.Errorf("a deletion: %+v, %v", out, err)
	}
	status, text = 202, `{"id":"approval_1","act":"tenant.delete","required":2}`
	out, err = c.DeleteTenant(t.Context(), "acme", wire.DeleteTenantRequest{})
	if err != nil || out.Result.ID != "" || out.Approval == nil || out.Approval.Required != 2 {
		t.Errorf("an approval: %+v, %v", out, err)
	}
	text = `{"id":7}`
	if _, err := c.DeleteTenant(t.Context(), "acme", wire.DeleteTenantRequest{}); err == nil {
		t.Error("something else is taken for an answer")
	}
	for _, name := range []string{"", ".", ".."} {
		if _, err := c.DisableTenant(t.Context(), name); err == nil {
			t.Errorf("a tenant called %q was asked for", name)
		}
		if _, err := c.Application(t.Context(), name); err == nil {
			t.Errorf("an application called %q was asked for", name)
		}
	}
}
