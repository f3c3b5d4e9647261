package apitest

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
)

// Transport checks every answer that passes through it against the document. Goroutines share it.
type Transport struct {
	tb   testing.TB
	next http.RoundTripper

	mu       sync.Mutex
	document *Document
}

// NewTransport returns a Transport over another one. An answer that breaks the document is an error of the test.
func NewTransport(tb testing.TB, next http.RoundTripper) *Transport {
	tb.Helper()
	d, err := Load()
	if err != nil {
		tb.Fatal(err)
	}
	return &Transport{tb: tb, next: next, document: d}
}

// RoundTrip sends the request on and checks its answer.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	header := resp.Header.Clone()
	for name, values := range resp.Trailer {
		header[name] = append(header[name], values...)
	}
	t.mu.Lock()
	err = t.document.CheckAnswer(r.Method, r.URL.Path, resp.StatusCode, header, body)
	t.mu.Unlock()
	if err != nil {
		t.tb.Errorf("the answer is not as the document says: %v", err)
	}
	return resp, nil
}

// CloseIdleConnections does so where the next transport can.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
