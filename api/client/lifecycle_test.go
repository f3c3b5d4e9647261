package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"cryptoserve/api/wire"
)

// lifecycleRoutes are the methods of lifecycle.go, for TestRoutes.
var lifecycleRoutes = []routeTest{
	{"context versions", func(ctx context.Context, c *Client) (any, error) { return c.ContextVersions(ctx, "x/y") },
		`GET /api/v1/contexts/x%2Fy/versions `, `{"versions":[{}]}`, true},
	{"key versions", func(ctx context.Context, c *Client) (any, error) { return c.KeyVersions(ctx, "k") },
		`GET /api/v1/keys/k/versions `, `{"versions":[{}]}`, true},
	{"key usage", func(ctx context.Context, c *Client) (any, error) { return c.KeyUsage(ctx, "") },
		`GET /api/v1/key-usage `, `{"versions":[]}`, true},
	{"key usage of a context", func(ctx context.Context, c *Client) (any, error) { return c.KeyUsage(ctx, "a&b") },
		`GET /api/v1/key-usage?context=a%26b `, `{"versions":[]}`, true},
	{"suspend", func(ctx context.Context, c *Client) (any, error) { return c.SuspendVersion(ctx, "v/1", "") },
		`POST /api/v1/key-versions/v%2F1/suspend {}`, `{}`, false},
	{"resume", func(ctx context.Context, c *Client) (any, error) { return c.ResumeVersion(ctx, "v", "r") },
		`POST /api/v1/key-versions/v/resume {"reason":"r"}`, `{}`, false},
	{"deactivate", func(ctx context.Context, c *Client) (any, error) { return c.DeactivateVersion(ctx, "v", "") },
		`POST /api/v1/key-versions/v/deactivate {}`, `{}`, false},
	{"compromise", func(ctx context.Context, c *Client) (any, error) { return c.CompromiseVersion(ctx, "v", "r") },
		`POST /api/v1/key-versions/v/compromise {"reason":"r"}`, `{}`, false},
	{"cancel", func(ctx context.Context, c *Client) (any, error) { return c.CancelDestruction(ctx, "v", "") },
		`POST /api/v1/key-versions/v/cancel-destroy {}`, `{}`, false},
	{"destroy", func(ctx context.Context, c *Client) (any, error) {
		days := 0
		out, err := c.DestroyVersion(ctx, "v", wire.DestroyRequest{Reason: "r", WaitDays: &days})
		return out.Result, err
	}, `POST /api/v1/key-versions/v/destroy {"reason":"r","wait_days":0}`, `{}`, false},
	{"context minimum", func(ctx context.Context, c *Client) (any, error) { return c.SetContextMinimum(ctx, "x", 0) },
		`PUT /api/v1/contexts/x/minimum-version {"version":0}`, `{}`, true},
	{"key minimum", func(ctx context.Context, c *Client) (any, error) { return c.SetKeyMinimum(ctx, "k", 2) },
		`PUT /api/v1/keys/k/minimum-version {"version":2}`, `{}`, true},
	{"rotation", func(ctx context.Context, c *Client) (any, error) { return c.SetKeyRotation(ctx, "k", 30) },
		`PUT /api/v1/keys/k/rotation {"days":30}`, `{}`, true},
}

// TestDestroyAnswers tells the version from a request for approval.
func TestDestroyAnswers(t *testing.T) {
	status, body := 0, ""
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	destroy := func() (wire.DestroyResponse, *wire.Approval, error) {
		got, err := c.DestroyVersion(t.Context(), "v", wire.DestroyRequest{Reason: "r"})
		return got.Result, got.Approval, err
	}
	status, body = 200, `{"key_id":"v","version":2,"shreddable":true,"warnings":["w"]}`
	if out, a, err := destroy(); err != nil || a != nil || out.KeyID != "v" || out.Version.Version != 2 || !out.Shreddable || len(out.Warnings) != 1 {
		t.Errorf("got %+v, %+v, %v", out, a, err)
	}
	status, body = 202, `{"id":"a","act":"key.destroy","required":2,"state":"pending"}`
	if out, a, err := destroy(); err != nil || a == nil || a.ID != "a" || a.Required != 2 || out.KeyID != "" {
		t.Errorf("got %+v, %+v, %v", out, a, err)
	}
	for status, body = range map[int]string{200: `{"version":"2"}`, 202: `{"act":"key.destroy","required":"2"}`} {
		if _, _, err := destroy(); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestVersionsNeedANameOrID(t *testing.T) {
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	ctx := t.Context()
	_, destroy := c.DestroyVersion(ctx, "", wire.DestroyRequest{})
	_, suspend := c.SuspendVersion(ctx, "", "")
	_, list := c.ContextVersions(ctx, "")
	_, keys := c.KeyVersions(ctx, "")
	_, minimum := c.SetContextMinimum(ctx, "", 1)
	for name, err := range map[string]error{"destroy": destroy, "suspend": suspend, "list": list, "keys": keys, "minimum": minimum} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
