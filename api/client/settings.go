package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"cryptoserve/api/wire"
)

const approvalsPath = "/api/v1/approvals"

// Settings returns what the owner of the subject's tenant decided.
func (c *Client) Settings(ctx context.Context) (wire.Settings, error) {
	return get[wire.Settings](ctx, c, "/api/v1/settings")
}

// Changed is the outcome of an act that may need approval: Approval is set when it waits for others, and then nothing has
// changed yet.
type Changed[T any] struct {
	Result   T
	Approval *wire.Approval
}

// ChangeSettings replaces all settings of the subject's tenant. Their revision says which settings the change is based on, so
// trying it again does no harm.
func (c *Client) ChangeSettings(ctx context.Context, req wire.ChangeSettingsRequest) (Changed[wire.Settings], error) {
	return approvable[wire.Settings](ctx, c, operation{
		method: http.MethodPut, path: "/api/v1/settings", body: req, authenticated: true,
	})
}

// Approvals lists the acts that wait for approval in the subject's tenant, and what became of others.
func (c *Client) Approvals(ctx context.Context) ([]wire.Approval, error) {
	answer, err := get[wire.ApprovalsResponse](ctx, c, approvalsPath)
	return answer.Approvals, err
}

// Approval returns one request for approval.
func (c *Client) Approval(ctx context.Context, id string) (wire.Approval, error) {
	path, err := approvalPath(id, "")
	if err != nil {
		return wire.Approval{}, err
	}
	return get[wire.Approval](ctx, c, path)
}

// Decide approves or rejects an act that another user wants.
func (c *Client) Decide(ctx context.Context, id string, approve bool, reason string) (wire.Approval, error) {
	act := "/reject"
	if approve {
		act = "/approve"
	}
	path, err := approvalPath(id, act)
	if err != nil {
		return wire.Approval{}, err
	}
	return change[wire.Approval](ctx, c, path, wire.DecisionRequest{Reason: reason})
}

// CancelApproval withdraws a request of the subject itself.
func (c *Client) CancelApproval(ctx context.Context, id string) (wire.Approval, error) {
	path, err := approvalPath(id, "/cancel")
	if err != nil {
		return wire.Approval{}, err
	}
	return change[wire.Approval](ctx, c, path, nil)
}

func approvalPath(id, act string) (string, error) {
	if id == "" {
		return "", errors.New("client: the request for approval has no id")
	}
	return approvalsPath + "/" + url.PathEscape(id) + act, nil
}

// approvable carries out an operation whose answer is either its result or, with status 202, the approval that it waits for.
func approvable[T any](ctx context.Context, c *Client, op operation) (Changed[T], error) {
	var waiting wire.Approval
	op.waiting = &waiting
	result, err := call[T](ctx, c, op)
	if err != nil || waiting.ID == "" {
		return Changed[T]{Result: result}, err
	}
	return Changed[T]{Approval: &waiting}, nil
}
