package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"cryptoserve/api/wire"
)

// ErrNoToken is returned by an authenticated call when there is no access token, or one with bytes that no token has.
var ErrNoToken = errors.New("client: no usable access token")

// refreshBefore is how long before the end of an access token a new one is fetched.
const refreshBefore = 5 * time.Minute

// refreshPause is how long a failed refresh is not tried again while the old access token still holds.
const refreshPause = 10 * time.Second

// TokenSource supplies the access token of each authenticated try. Token must be safe for concurrent use.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// StaticToken is a TokenSource that always gives the same token. It prints as its length only.
type StaticToken string

// Token returns the token.
func (t StaticToken) Token(context.Context) (string, error) { return string(t), nil }

func (t StaticToken) String() string { return fmt.Sprintf("token of %d bytes", len(t)) }

// GoString keeps the token out of %#v.
func (t StaticToken) GoString() string { return t.String() }

// LogValue keeps the token out of structured logs.
func (t StaticToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// usableToken reports whether the token fits into an Authorization header: the b64token of RFC 6750 section 2.1.
func usableToken(token string) bool {
	for i := range len(token) {
		b := token[i]
		if (b|0x20 < 'a' || b|0x20 > 'z') && (b < '0' || b > '9') && strings.IndexByte("-._~+/=", b) < 0 {
			return false
		}
	}
	return token != ""
}

// Refresh trades a refresh token for a new access token and a new refresh token. The one shown is used up: showing it
// again revokes its whole family, so Refresh is never repeated when the outcome of a try is unknown.
func (c *Client) Refresh(ctx context.Context, refreshToken string) (wire.RefreshResponse, error) {
	if refreshToken == "" {
		return wire.RefreshResponse{}, errors.New("client: refresh needs a refresh token")
	}
	return call[wire.RefreshResponse](ctx, c, operation{
		method: http.MethodPost, path: "/api/v1/auth/refresh", body: wire.RefreshRequest{RefreshToken: refreshToken},
	})
}

// RefresherConfig says from which tokens a Refresher starts.
type RefresherConfig struct {
	// Client carries the refresh calls; its own TokenSource is not used.
	Client *Client
	// RefreshToken is the newest one of its family. Showing an older one revokes the family.
	RefreshToken string
	// AccessToken is used until 5 minutes before its end. If empty, the first call fetches one.
	AccessToken string
	// Rotated is called with each new pair of tokens before the access token is used, never twice at once. The refresh
	// token in it must be saved: after a restart only the newest one works. If nil, the tokens live in memory only.
	Rotated func(wire.RefreshResponse)
}

// Refresher is a TokenSource that keeps an access token fresh with a refresh token. Goroutines may share it: however many
// ask, one refresh is under way at a time. A program must have only one Refresher for a family of refresh tokens.
type Refresher struct {
	client  *Client
	rotated func(wire.RefreshResponse)
	now     func() time.Time

	mu       sync.Mutex
	access   string
	ends     time.Time
	refresh  string
	notAgain time.Time     // no refresh before this moment while the access token holds
	lastErr  error         // of the last refresh
	revoked  bool          // the server knows the refresh token no more: asking again is in vain
	underway chan struct{} // closed when the refresh under way is done; nil if there is none
}

// NewRefresher returns a Refresher. It does not connect.
func NewRefresher(cfg RefresherConfig) (*Refresher, error) {
	if cfg.Client == nil || cfg.RefreshToken == "" {
		return nil, errors.New("client: a Refresher needs a Client and a refresh token")
	}
	r := &Refresher{
		client: cfg.Client, rotated: cfg.Rotated, now: time.Now,
		access: cfg.AccessToken, ends: tokenEnd(cfg.AccessToken), refresh: cfg.RefreshToken,
	}
	return r, nil
}

// Token returns an access token that holds for some time yet, and fetches one if need be. When a refresh fails while the
// present token still holds, that one is returned and the refresh is tried again later.
func (r *Refresher) Token(ctx context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.Before(r.ends.Add(-refreshBefore)) || now.Before(r.ends) && now.Before(r.notAgain) {
		return r.access, nil
	}
	if r.revoked {
		if now.Before(r.ends) {
			return r.access, nil
		}
		return "", r.failure()
	}
	if r.underway == nil {
		r.underway = make(chan struct{})
		// The refresh outlives the call that began it: its answer holds the only refresh token that works from then on.
		go r.renew(context.WithoutCancel(ctx), r.refresh, r.underway)
	}
	done := r.underway
	r.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
	r.mu.Lock()
	switch {
	case r.now().Before(r.ends):
		return r.access, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("client: waiting for a new access token: %w", context.Cause(ctx))
	default:
		return "", r.failure()
	}
}

// failure says why there is no access token. The caller holds the lock.
func (r *Refresher) failure() error {
	if r.lastErr != nil {
		return fmt.Errorf("client: get a new access token: %w", r.lastErr)
	}
	return fmt.Errorf("client: the new access token has already ended, compare the clocks of both sides: %w", ErrNoToken)
}

// renew does one refresh. The client's own time-out bounds it.
func (r *Refresher) renew(ctx context.Context, refresh string, done chan struct{}) {
	answer, err := r.client.Refresh(ctx, refresh)
	if err == nil && (answer.AccessToken == "" || answer.RefreshToken == "") {
		err = fmt.Errorf("%w: a token is missing", ErrAnswer)
	}
	ends, timeErr := time.Parse(time.RFC3339, answer.ExpiresAt)
	if timeErr != nil {
		ends = tokenEnd(answer.AccessToken)
	}
	if err == nil && r.rotated != nil {
		r.rotated(answer)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lastErr = err; err == nil {
		r.access, r.ends, r.refresh = answer.AccessToken, ends, answer.RefreshToken
	}
	// Also after a success: a token whose whole life is shorter than refreshBefore must not be renewed at every call.
	r.notAgain = r.now().Add(refreshPause)
	var refused *Error
	r.revoked = errors.As(err, &refused) && refused.Status == http.StatusUnauthorized
	r.underway = nil
	close(done)
}

// tokenEnd reads the exp claim of a JWT (RFC 7519 section 4.1.4) without checking the signature, which is the server's
// affair. A token that cannot be read counts as ended.
func tokenEnd(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var c struct {
		Exp float64 `json:"exp"` // NumericDate may have a fraction
	}
	if json.Unmarshal(claims, &c) != nil || c.Exp <= 0 || c.Exp > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(c.Exp), 0)
}
