package client

import (
	"context"
	"net/http"

	"cryptoserve/api/wire"
)

// State asks a node what it is, why, and what to do about it. It needs no token. A node that does not serve answers too.
func (c *Client) State(ctx context.Context) (wire.State, error) {
	return call[wire.State](ctx, c, operation{
		method: http.MethodGet, path: "/health/state", repeatable: true, evenUnavailable: true,
	})
}

// Algorithms lists the node's table of algorithms.
func (c *Client) Algorithms(ctx context.Context) ([]wire.Algorithm, error) {
	answer, err := get[wire.AlgorithmsResponse](ctx, c, "/api/v1/algorithms")
	return answer.Algorithms, err
}

// FIPS tells the node's FIPS mode and what is behind it.
func (c *Client) FIPS(ctx context.Context) (wire.FIPSResponse, error) {
	return get[wire.FIPSResponse](ctx, c, "/api/v1/system/fips")
}
