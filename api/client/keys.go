package client

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"cryptoserve/api/wire"
)

var errNoKey = errors.New("client: the name of a key is needed")

// Keys lists the key objects that the token's subject may use, in order of name.
func (c *Client) Keys(ctx context.Context) ([]wire.Key, error) {
	answer, err := get[wire.KeysResponse](ctx, c, "/api/v1/keys")
	return answer.Keys, err
}

// Key gives one key object with its versions.
func (c *Client) Key(ctx context.Context, name string) (wire.Key, error) {
	return aboutKey(name, func(path string) (wire.Key, error) { return get[wire.Key](ctx, c, path) })
}

// CreateKey makes a key object with a new first version. It is never repeated when the outcome of a try is unknown.
func (c *Client) CreateKey(ctx context.Context, req wire.CreateKeyRequest) (wire.Key, error) {
	return change[wire.Key](ctx, c, "/api/v1/keys", req)
}

// RotateKey gives a key object a new version, which protects from now on. It is never repeated when the outcome of a try is
// unknown: look at Key first.
func (c *Client) RotateKey(ctx context.Context, name string) (wire.Key, error) {
	return aboutKey(name, func(path string) (wire.Key, error) { return change[wire.Key](ctx, c, path+"/rotate", nil) })
}

// DisableKey makes a key object serve nothing until EnableKey.
func (c *Client) DisableKey(ctx context.Context, name string) (wire.Key, error) {
	return aboutKey(name, func(path string) (wire.Key, error) { return change[wire.Key](ctx, c, path+"/disable", nil) })
}

// EnableKey makes a disabled key object serve again.
func (c *Client) EnableKey(ctx context.Context, name string) (wire.Key, error) {
	return aboutKey(name, func(path string) (wire.Key, error) { return change[wire.Key](ctx, c, path+"/enable", nil) })
}

// PublicKey gives the public half of a version of a key object; version 0 means the one that protects.
func (c *Client) PublicKey(ctx context.Context, name string, version uint32) (wire.PublicKeyResponse, error) {
	query := "/public"
	if version != 0 {
		query += "?version=" + strconv.FormatUint(uint64(version), 10)
	}
	return aboutKey(name, func(path string) (wire.PublicKeyResponse, error) {
		return get[wire.PublicKeyResponse](ctx, c, path+query)
	})
}

// CreateImport makes a pair that one key can be imported with. Wrap the key as wire.ImportResponse tells, then call
// ImportKey or ImportLegacy before the pair expires.
func (c *Client) CreateImport(ctx context.Context, req wire.CreateImportRequest) (wire.ImportResponse, error) {
	return change[wire.ImportResponse](ctx, c, "/api/v1/key-imports", req)
}

// ImportKey brings a wrapped key. A key object of the name gets another version, or is made. It is never repeated when the
// outcome of a try is unknown; its pair is used up by success only.
func (c *Client) ImportKey(ctx context.Context, importID string, req wire.ImportKeyRequest) (wire.Key, error) {
	if importID == "" {
		return wire.Key{}, errors.New("client: the id of an import is needed")
	}
	return change[wire.Key](ctx, c, "/api/v1/key-imports/"+url.PathEscape(importID), req)
}

// ImportLegacy imports key versions of a deployment of the public original: 1,000 at most in one call.
func (c *Client) ImportLegacy(ctx context.Context, req wire.LegacyImportRequest) (wire.LegacyImportResponse, error) {
	return change[wire.LegacyImportResponse](ctx, c, "/api/v1/legacy-imports", req)
}

// aboutKey does something with the path of a key object.
func aboutKey[T any](name string, do func(path string) (T, error)) (T, error) {
	if name == "" {
		var none T
		return none, errNoKey
	}
	return do("/api/v1/keys/" + url.PathEscape(name))
}
