package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"cryptoserve/api/wire"
)

var (
	errNoContext = errors.New("client: the name of a context is needed")
	errNoVersion = errors.New("client: the id of a key version is needed")
)

// ContextVersions lists the versions of a context's own key with their use, newest first.
func (c *Client) ContextVersions(ctx context.Context, name string) ([]wire.Version, error) {
	if name == "" {
		return nil, errNoContext
	}
	answer, err := get[wire.VersionsResponse](ctx, c, "/api/v1/contexts/"+url.PathEscape(name)+"/versions")
	return answer.Versions, err
}

// KeyVersions lists the versions of a key object with their use, newest first.
func (c *Client) KeyVersions(ctx context.Context, name string) ([]wire.Version, error) {
	return aboutKey(name, func(path string) ([]wire.Version, error) {
		answer, err := get[wire.VersionsResponse](ctx, c, path+"/versions")
		return answer.Versions, err
	})
}

// KeyUsage tells who still uses old keys: the versions that another one replaced and that processed something since. An empty
// name means those of all contexts.
func (c *Client) KeyUsage(ctx context.Context, contextName string) ([]wire.Version, error) {
	path := "/api/v1/key-usage"
	if contextName != "" {
		path += "?context=" + url.QueryEscape(contextName)
	}
	answer, err := get[wire.VersionsResponse](ctx, c, path)
	return answer.Versions, err
}

// SuspendVersion stops every use of a version until ResumeVersion. The reason may be empty, here and below unless it says
// otherwise. Changes of versions are never repeated when the outcome of a try is unknown.
func (c *Client) SuspendVersion(ctx context.Context, keyID, reason string) (wire.Version, error) {
	return c.changeVersion(ctx, keyID, "suspend", wire.VersionChangeRequest{Reason: reason})
}

// ResumeVersion ends a suspension.
func (c *Client) ResumeVersion(ctx context.Context, keyID, reason string) (wire.Version, error) {
	return c.changeVersion(ctx, keyID, "resume", wire.VersionChangeRequest{Reason: reason})
}

// DeactivateVersion ends the protection with a version; what it protected can still be processed.
func (c *Client) DeactivateVersion(ctx context.Context, keyID, reason string) (wire.Version, error) {
	return c.changeVersion(ctx, keyID, "deactivate", wire.VersionChangeRequest{Reason: reason})
}

// CompromiseVersion marks a version as known to others, for good. A reason is needed.
func (c *Client) CompromiseVersion(ctx context.Context, keyID, reason string) (wire.Version, error) {
	return c.changeVersion(ctx, keyID, "compromise", wire.CompromiseRequest{Reason: reason})
}

// CancelDestruction takes back the destruction of a version that still waits.
func (c *Client) CancelDestruction(ctx context.Context, keyID, reason string) (wire.Version, error) {
	return c.changeVersion(ctx, keyID, "cancel-destroy", wire.VersionChangeRequest{Reason: reason})
}

func (c *Client) changeVersion(ctx context.Context, keyID, act string, body any) (wire.Version, error) {
	if keyID == "" {
		return wire.Version{}, errNoVersion
	}
	return change[wire.Version](ctx, c, versionPath(keyID, act), body)
}

func versionPath(keyID, act string) string {
	return "/api/v1/key-versions/" + url.PathEscape(keyID) + "/" + act
}

// DestroyVersion has a version destroyed when its waiting period is over, which may need approval.
func (c *Client) DestroyVersion(ctx context.Context, keyID string, req wire.DestroyRequest) (Changed[wire.DestroyResponse], error) {
	if keyID == "" {
		return Changed[wire.DestroyResponse]{}, errNoVersion
	}
	return approvable[wire.DestroyResponse](ctx, c, operation{
		method: http.MethodPost, path: versionPath(keyID, "destroy"), body: req, authenticated: true,
	})
}

// SetContextMinimum closes the versions of a context's key with lower numbers; 0 closes none.
func (c *Client) SetContextMinimum(ctx context.Context, name string, version uint32) (wire.MinimumVersion, error) {
	if name == "" {
		return wire.MinimumVersion{}, errNoContext
	}
	return replace[wire.MinimumVersion](ctx, c, "/api/v1/contexts/"+url.PathEscape(name)+"/minimum-version", wire.MinimumVersion{Version: version})
}

// SetKeyMinimum closes the versions of a key object with lower numbers; 0 closes none.
func (c *Client) SetKeyMinimum(ctx context.Context, name string, version uint32) (wire.MinimumVersion, error) {
	return aboutKey(name, func(path string) (wire.MinimumVersion, error) {
		return replace[wire.MinimumVersion](ctx, c, path+"/minimum-version", wire.MinimumVersion{Version: version})
	})
}

// SetKeyRotation sets at which age in days a key object is rotated by itself; 0 is never.
func (c *Client) SetKeyRotation(ctx context.Context, name string, days int) (wire.KeyRotation, error) {
	return aboutKey(name, func(path string) (wire.KeyRotation, error) {
		return replace[wire.KeyRotation](ctx, c, path+"/rotation", wire.KeyRotation{Days: days})
	})
}

// replace says how something is to be. Twice does no harm.
func replace[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return call[T](ctx, c, operation{method: http.MethodPut, path: path, body: body, authenticated: true, repeatable: true})
}
