package clustertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// Caller makes requests to one server and tells what is known of each afterwards. It never sends one twice: a repeated request has two
// effects, or one outside of the recorded interval. Goroutines may share it.
type Caller struct {
	kept  *http.Client // for POST and PUT, on connections that are kept
	fresh *http.Client // for GET, each on its own connection: on a kept one net/http repeats it by itself
}

// maxAnswerBytes is more than any answer to a test has.
const maxAnswerBytes = 16 << 20

// NewCaller returns a Caller that trusts the given roots, and gives up a request after a time. Nil roots are for servers without TLS.
func NewCaller(roots *x509.CertPool, timeout time.Duration) *Caller {
	transport := func(keep bool) *http.Client {
		return &http.Client{
			Timeout: timeout,
			Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
				DisableKeepAlives: !keep, MaxIdleConnsPerHost: 64, IdleConnTimeout: timeout,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &Caller{kept: transport(true), fresh: transport(false)}
}

// Close ends the connections that are kept.
func (c *Caller) Close() { c.kept.CloseIdleConnections() }

// Reply is what became of a request. Status is 0 when there was no whole answer. Sent tells whether anything of the request may have
// reached the server.
type Reply struct {
	Status int
	Body   []byte
	Sent   bool
	Err    error
}

// Do sends a request. A body that is not nil goes out as JSON; token, if not empty, authenticates.
func (c *Caller) Do(ctx context.Context, method, url, token string, body any) Reply {
	var reply Reply
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	client := c.kept
	if method == http.MethodGet {
		client = c.fresh
	}
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return Reply{Err: err}
		}
		content = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return Reply{Err: err}
	}
	r.GetBody = nil // what cannot be read again is not sent again, should anything ever mark it as repeatable
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(r) // #nosec G704 -- the URL is the test's
	reply.Sent = sent.Load()
	if err != nil {
		reply.Err = err
		return reply
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		reply.Err = err
		return reply
	}
	reply.Status, reply.Body = answer.StatusCode, raw
	return reply
}

// Answer tells what the client knows. A status of 4xx is a clear no, as is a request that found no connection. Everything else that is not
// 2xx leaves it open whether the request took effect: a node may answer 503 after it has proposed a change.
func (r Reply) Answer() Answer {
	switch {
	case r.Status >= 200 && r.Status < 300:
		return Answer{Outcome: OK, Detail: r.detail()}
	case r.Status >= 400 && r.Status < 500 || r.Status == 0 && !r.Sent:
		return Answer{Outcome: Refused, Detail: r.detail()}
	default:
		return Answer{Outcome: Unknown, Detail: r.detail()}
	}
}

// detail is the status with the code of a problem document (RFC 9457), or the error, shortened to what tells them apart.
func (r Reply) detail() string {
	if r.Status == 0 {
		switch text := fmt.Sprint(r.Err); {
		case !r.Sent:
			return "no connection"
		case strings.Contains(text, "Timeout"), strings.Contains(text, "deadline"):
			return "no answer in time"
		default:
			return "connection lost"
		}
	}
	var problem struct {
		Code string `json:"code"`
	}
	if r.Status >= 300 && json.Unmarshal(r.Body, &problem) == nil && problem.Code != "" {
		return fmt.Sprintf("%d %s", r.Status, problem.Code)
	}
	return fmt.Sprint(r.Status)
}

// Read decodes the answer of a request that succeeded.
func Read[T any](r Reply) (out T, err error) {
	if r.Status < 200 || r.Status >= 300 {
		return out, fmt.Errorf("clustertest: answer %s: %w", r.detail(), errors.Join(r.Err, errors.New(string(r.Body))))
	}
	return out, json.Unmarshal(r.Body, &out)
}
