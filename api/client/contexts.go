package client

import (
	"context"
	"errors"
	"net/url"

	"cryptoserve/api/wire"
)

// Contexts lists the contexts that the token's subject may use, in order of name.
func (c *Client) Contexts(ctx context.Context) ([]wire.Context, error) {
	answer, err := get[wire.ContextsResponse](ctx, c, "/api/v1/contexts")
	return answer.Contexts, err
}

// CreateContext makes a context with a first key version. It is never repeated when the outcome of a try is unknown.
func (c *Client) CreateContext(ctx context.Context, req wire.CreateContextRequest) (wire.Context, error) {
	return change[wire.Context](ctx, c, "/api/v1/contexts", req)
}

// Rotate makes a new key version protect in a context. Each call that is carried out makes one version, so it is never
// repeated when the outcome of a try is unknown: look at Contexts first.
func (c *Client) Rotate(ctx context.Context, name string) (wire.RotateResponse, error) {
	if name == "" {
		return wire.RotateResponse{}, errors.New("client: rotate needs the name of a context")
	}
	return change[wire.RotateResponse](ctx, c, "/api/v1/contexts/"+url.PathEscape(name)+"/rotate", nil)
}
