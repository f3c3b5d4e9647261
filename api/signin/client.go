package signin

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"time"
)

const (
	maxAnswerBytes = 1 << 20
	maxHeaderBytes = 64 << 10
)

// newClient returns the client for one provider. It follows no redirect: a token request must not wander, and all other
// addresses are those that the provider itself published. An answer that is longer than maxAnswerBytes is an error.
func newClient(roots *x509.CertPool, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: bounded{&http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    timeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConns:           4,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       timeout,
	}
}

// bounded limits the body of each answer, after decompression.
type bounded struct{ next *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswerBytes)
	return resp, nil
}

// CloseIdleConnections lets http.Client reach the transport.
func (b bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }

// drain reads what is left of an answer, so that the connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, body)
	_ = body.Close()
}
