package client

import (
	"context"
	"errors"
	"net/http"
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

// Context gives all of one context.
func (c *Client) Context(ctx context.Context, name string) (wire.ContextDetail, error) {
	return aboutContext(name, func(path string) (wire.ContextDetail, error) { return get[wire.ContextDetail](ctx, c, path) })
}

// ChangeContext replaces what a context is. The revision says which context the change is based on, so trying it again does
// no harm; but the second try of one that was carried out is a conflict.
func (c *Client) ChangeContext(ctx context.Context, name string, req wire.ChangeContextRequest) (wire.ContextDetail, error) {
	return aboutContext(name, func(path string) (wire.ContextDetail, error) {
		return call[wire.ContextDetail](ctx, c, operation{method: http.MethodPut, path: path, body: req, authenticated: true})
	})
}

// DisableContext makes a context serve nothing until EnableContext.
func (c *Client) DisableContext(ctx context.Context, name string) (wire.ContextDetail, error) {
	return aboutContext(name, func(path string) (wire.ContextDetail, error) {
		return change[wire.ContextDetail](ctx, c, path+"/disable", nil)
	})
}

// EnableContext makes a disabled context serve again.
func (c *Client) EnableContext(ctx context.Context, name string) (wire.ContextDetail, error) {
	return aboutContext(name, func(path string) (wire.ContextDetail, error) {
		return change[wire.ContextDetail](ctx, c, path+"/enable", nil)
	})
}

// DeleteContext deletes a context that is empty.
func (c *Client) DeleteContext(ctx context.Context, name string) error {
	_, err := aboutContext(name, func(path string) (struct{}, error) {
		return call[struct{}](ctx, c, operation{method: http.MethodDelete, path: path, authenticated: true})
	})
	return err
}

// ExplainContext tells what layers resolve to, without making a context.
func (c *Client) ExplainContext(ctx context.Context, layers wire.Layers) (wire.ExplainResponse, error) {
	return call[wire.ExplainResponse](ctx, c, operation{
		method: http.MethodPost, path: "/api/v1/context-explanations", body: wire.ExplainRequest{Layers: layers},
		authenticated: true, repeatable: true,
	})
}

// aboutContext does something with the path of a context.
func aboutContext[T any](name string, do func(path string) (T, error)) (T, error) {
	if name == "" {
		var none T
		return none, errors.New("client: the name of a context is needed")
	}
	return do("/api/v1/contexts/" + url.PathEscape(name))
}
