package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"cryptoserve/api/wire"
)

const policiesPath = "/api/v1/policies"

// Policies lists the policies of the subject's tenant, in order of name.
func (c *Client) Policies(ctx context.Context) ([]wire.Policy, error) {
	answer, err := get[wire.PoliciesResponse](ctx, c, policiesPath)
	return answer.Policies, err
}

// PolicyDefaults lists policies to begin with. None of them is in force until somebody creates it.
func (c *Client) PolicyDefaults(ctx context.Context) ([]wire.Policy, error) {
	answer, err := get[wire.PoliciesResponse](ctx, c, "/api/v1/policy-defaults")
	return answer.Policies, err
}

// Policy gives one policy.
func (c *Client) Policy(ctx context.Context, name string) (wire.Policy, error) {
	return aboutPolicy(name, func(path string) (wire.Policy, error) { return get[wire.Policy](ctx, c, path) })
}

// CreatePolicy makes a policy. It is never repeated when the outcome of a try is unknown.
func (c *Client) CreatePolicy(ctx context.Context, req wire.CreatePolicyRequest) (wire.Policy, error) {
	return change[wire.Policy](ctx, c, policiesPath, req)
}

// ChangePolicy replaces a policy. Twice does no harm.
func (c *Client) ChangePolicy(ctx context.Context, name string, req wire.PolicySpec) (wire.Policy, error) {
	return aboutPolicy(name, func(path string) (wire.Policy, error) {
		return call[wire.Policy](ctx, c, operation{method: http.MethodPut, path: path, body: req, authenticated: true, repeatable: true})
	})
}

// DeletePolicy deletes a policy.
func (c *Client) DeletePolicy(ctx context.Context, name string) error {
	_, err := aboutPolicy(name, func(path string) (struct{}, error) {
		return call[struct{}](ctx, c, operation{method: http.MethodDelete, path: path, authenticated: true})
	})
	return err
}

// TestPolicy explains what policies would make of an operation.
func (c *Client) TestPolicy(ctx context.Context, req wire.PolicyTestRequest) (wire.PolicyTestResponse, error) {
	return call[wire.PolicyTestResponse](ctx, c, operation{
		method: http.MethodPost, path: policiesPath + "/test", body: req, authenticated: true, repeatable: true,
	})
}

// aboutPolicy does something with the path of a policy.
func aboutPolicy[T any](name string, do func(path string) (T, error)) (T, error) {
	if name == "" {
		var none T
		return none, errors.New("client: the name of a policy is needed")
	}
	return do(policiesPath + "/" + url.PathEscape(name))
}
