package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"cryptoserve/api/wire"
)

const (
	jsonType   = "application/json"
	streamType = "application/octet-stream"
)

// Retry says how a failed call is tried again. The pause before try n+1 is random between half and the whole of
// MinWait * 2^(n-1), at most MaxWait, or what the server asks for in Retry-After, if that is longer.
type Retry struct {
	// Attempts is the highest number of tries of one call; 0 means 4, 1 means no second try.
	Attempts int
	// MinWait is the pause after the first try; 0 means 100 ms.
	MinWait time.Duration
	// MaxWait bounds each pause; 0 means 5 s. A server that asks for a longer one ends the call.
	MaxWait time.Duration
}

func (r Retry) withDefaults() (Retry, error) {
	r.Attempts = orDefault(r.Attempts, 4)
	r.MinWait = orDefault(r.MinWait, 100*time.Millisecond)
	r.MaxWait = orDefault(r.MaxWait, max(5*time.Second, r.MinWait))
	if r.Attempts < 0 || r.MinWait < 0 || r.MaxWait < r.MinWait {
		return Retry{}, errors.New("client: Retry needs Attempts >= 0 and 0 <= MinWait <= MaxWait")
	}
	return r, nil
}

// pause returns how long to wait after the given number of failed tries.
func (r Retry) pause(tries int) time.Duration {
	wait := r.MinWait
	for range tries - 1 {
		if wait >= r.MaxWait/2 {
			wait = r.MaxWait
			break
		}
		wait *= 2
	}
	half := wait / 2
	return half + rand.N(wait-half+1) //nolint:gosec // spreads retries in time, protects nothing
}

// operation is one row of what the API can be asked.
type operation struct {
	method string
	path   string // escaped
	body   any    // nil: no body
	// authenticated operations carry the access token; the others must not, so that it goes nowhere without need.
	authenticated bool
	// repeatable operations do no harm when carried out twice.
	repeatable bool
	// evenUnavailable operations answer with their usual body under status 503 too.
	evenUnavailable bool
	// waiting, if set, takes the answer of an act that waits for approval: status 202.
	waiting *wire.Approval
}

// get asks for something that does not change.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, operation{method: http.MethodGet, path: path, authenticated: true, repeatable: true})
}

// compute asks for something to be computed. Twice does no harm.
func compute[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return call[T](ctx, c, operation{
		method: http.MethodPost, path: "/api/v1/crypto/" + path, body: body, authenticated: true, repeatable: true,
	})
}

// change asks for a change that must not be made twice.
func change[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return call[T](ctx, c, operation{method: http.MethodPost, path: path, body: body, authenticated: true})
}

// call carries out an operation with retries and decodes its answer.
func call[T any](ctx context.Context, c *Client, op operation) (T, error) {
	var answer, none T
	var body []byte
	if op.body != nil {
		var err error
		if body, err = json.Marshal(op.body); err != nil {
			return none, fmt.Errorf("client: encode the request: %w", err)
		}
	}
	for tries := 1; ; tries++ {
		err := c.try(ctx, op, body, &answer)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return none, fmt.Errorf("client: %w", context.Cause(ctx))
		}
		if err := c.beforeNext(ctx, err, tries, op.repeatable); err != nil {
			return none, err
		}
	}
}

// beforeNext waits until the next try after one that failed, or says why there is none.
func (c *Client) beforeNext(ctx context.Context, failed error, tries int, repeatable bool) error {
	again, after := mayRepeat(failed, repeatable)
	if !again || tries >= c.retry.Attempts || after > c.retry.MaxWait {
		return failed
	}
	timer := time.NewTimer(max(after, c.retry.pause(tries)))
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		timer.Stop()
		return fmt.Errorf("client: %w; the last try said: %w", context.Cause(ctx), failed)
	}
}

// mayRepeat decides from a failed try whether another one is allowed, and after which pause at least.
func mayRepeat(err error, repeatable bool) (again bool, after time.Duration) {
	var refused *Error
	if errors.As(err, &refused) {
		// A request over the limit was turned away before anything was done. After any other retryable problem the act may
		// still be carried out, or already be: a ledger that did not answer in time is an example.
		// So was one to a node that has lost the others: whatever it knows may be out of date, so it does nothing.
		untouched := refused.Status == http.StatusTooManyRequests || refused.Code == staleReplica
		return refused.Retryable && (repeatable || untouched), refused.RetryAfter
	}
	var connect *ConnectError
	if errors.As(err, &connect) {
		var badCertificate *tls.CertificateVerificationError
		if errors.As(err, &badCertificate) {
			return false, 0 // it will not become right by waiting
		}
		return repeatable || !connect.Sent, 0
	}
	return false, 0
}

// try sends the request once and decodes the answer into out.
func (c *Client) try(ctx context.Context, op operation, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	// Once a connection is there, bytes of the request may have left. Before that, surely none have.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	req, err := c.request(ctx, op, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if op.body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return &ConnectError{Server: c.server, Sent: sent.Load(), Err: withoutURL(err)}
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below, or not worth keeping

	answer, err := c.readAnswer(resp)
	if err != nil {
		return err
	}
	media := mediaType(resp)
	if op.waiting != nil && resp.StatusCode == http.StatusAccepted {
		out = op.waiting
	}
	useful := resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated ||
		resp.StatusCode == http.StatusAccepted && op.waiting != nil ||
		op.evenUnavailable && resp.StatusCode == http.StatusServiceUnavailable && media == jsonType
	if !useful {
		return problem(resp.StatusCode, resp.Header, answer, c.now())
	}
	if media != jsonType {
		return fmt.Errorf("client: %w: its media type is %q; check the server's address", ErrAnswer, clip(media))
	}
	noteFence(ctx, resp.Header)
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("client: %w: %s", ErrAnswer, jsonFault(err))
	}
	return nil
}

// withoutURL takes the URL off an error: it says no more than Server does.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// readAnswer reads an answer that has to fit into memory.
func (c *Client) readAnswer(resp *http.Response) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.maxAnswer+1))
	if err != nil {
		return nil, &ConnectError{Server: c.server, Sent: true, Err: err}
	}
	if int64(len(answer)) > c.maxAnswer {
		return nil, fmt.Errorf("client: %w: more than %d bytes", ErrAnswer, c.maxAnswer)
	}
	return answer, nil
}

// mediaType returns the media type of an answer; a bad one is not the expected one.
func mediaType(resp *http.Response) string {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return media
}

// request makes a request with everything but the type of its body.
func (c *Client) request(ctx context.Context, op operation, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, op.method, c.server+op.path, body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", jsonType+", "+ProblemType)
	if !op.authenticated {
		return req, nil
	}
	if c.token == nil {
		return nil, ErrNoToken
	}
	token, err := c.token.Token(ctx)
	if err != nil {
		return nil, err
	}
	if !usableToken(token) {
		return nil, ErrNoToken
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req, nil
}

// jsonFault describes a decoding error without the text that caused it, which may be a plaintext.
func jsonFault(err error) string {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return fmt.Sprintf("field %q has the wrong type", wrongType.Field)
	}
	return "its body is not the expected JSON"
}
