package client

import (
	"context"

	"cryptoserve/api/wire"
)

// Random gives random bytes of the node's token.
func (c *Client) Random(ctx context.Context, bytes int) ([]byte, error) {
	answer, err := compute[wire.RandomResponse](ctx, c, "random", wire.RandomRequest{Bytes: bytes})
	return answer.Random, err
}

// Hash gives the digest of data.
func (c *Client) Hash(ctx context.Context, req wire.HashRequest) (wire.HashResponse, error) {
	req.Data = present(req.Data)
	return compute[wire.HashResponse](ctx, c, "hash", req)
}

// DeriveKey derives a key from a secret or from a password. HashPassword is what stores a password.
func (c *Client) DeriveKey(ctx context.Context, req wire.KDFRequest) (wire.KDFResponse, error) {
	req.Secret = present(req.Secret)
	return compute[wire.KDFResponse](ctx, c, "kdf", req)
}

// HashPassword gives the string to store for a password.
func (c *Client) HashPassword(ctx context.Context, req wire.PasswordHashRequest) (wire.PasswordHashResponse, error) {
	return compute[wire.PasswordHashResponse](ctx, c, "password/hash", req)
}

// VerifyPassword tells whether a password is the one of a stored string. A nil error does not mean that it is: look at Valid.
func (c *Client) VerifyPassword(ctx context.Context, req wire.PasswordVerifyRequest) (wire.PasswordVerifyResponse, error) {
	return compute[wire.PasswordVerifyResponse](ctx, c, "password/verify", req)
}
