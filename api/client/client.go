package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	defaultTimeout     = 30 * time.Second
	defaultAnswerBytes = 32 << 20
	requestIDHeader    = "X-Request-Id"
)

// Config says how to reach a server. Server is required, everything else has a default.
type Config struct {
	// Server is the base URL, "https://host" or "https://host:port". Only https is accepted.
	Server string
	// CA is one or more PEM certificates. Only servers whose certificate leads to one of them are trusted. If nil, Roots
	// is used.
	CA []byte
	// Roots is the same as CA, as a pool. If CA and Roots are both nil the system's roots are used.
	Roots *x509.CertPool
	// Token supplies the access token. If nil, only Refresh and State can be called.
	Token TokenSource
	// Retry says how often and how patiently a failed call is tried again. Its zero value is the default.
	Retry Retry
	// Timeout bounds one try, from dialing to the last byte of the answer; 0 means 30 s. The context of a call bounds all
	// of its tries together. A stream may take longer: for it, Timeout bounds how long the server may do nothing.
	Timeout time.Duration
	// MaxAnswerBytes bounds an answer; 0 means 32 MiB, more than any answer that the API gives.
	MaxAnswerBytes int64
	// UserAgent is sent with each request; empty means "cryptoserve-go".
	UserAgent string
}

// Client calls the API of one server over pooled HTTP/1.1 connections, TLS 1.2 or newer. Goroutines may share it.
type Client struct {
	server    string // scheme and host, without a slash at the end
	http      *http.Client
	token     TokenSource
	retry     Retry
	timeout   time.Duration
	maxAnswer int64
	userAgent string
	now       func() time.Time
}

// New checks the configuration and returns a Client. It does not connect.
func New(cfg Config) (*Client, error) {
	server, err := baseURL(cfg.Server)
	if err != nil {
		return nil, err
	}
	roots, err := trusted(cfg)
	if err != nil {
		return nil, err
	}
	retry, err := cfg.Retry.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Timeout < 0 || cfg.MaxAnswerBytes < 0 {
		return nil, errors.New("client: Timeout and MaxAnswerBytes must not be negative")
	}
	c := &Client{
		server:    server,
		token:     cfg.Token,
		retry:     retry,
		timeout:   orDefault(cfg.Timeout, defaultTimeout),
		maxAnswer: orDefault(cfg.MaxAnswerBytes, int64(defaultAnswerBytes)),
		userAgent: orDefault(cfg.UserAgent, "cryptoserve-go"),
		now:       time.Now,
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     60 * time.Second,
			DisableCompression:  true,
		},
		// A redirect could carry a plaintext and a token to somebody else. The API has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// WithToken returns a Client that differs only in its TokenSource and shares the connections of c.
func (c *Client) WithToken(source TokenSource) *Client {
	other := *c
	other.token = source
	return &other
}

// CloseIdleConnections closes the pooled connections that are not in use, also those of Clients made by WithToken.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

func baseURL(server string) (string, error) {
	u, err := url.Parse(server)
	switch {
	case err != nil, u.Host == "", u.Hostname() == "":
		return "", fmt.Errorf("client: server %q is not a URL such as https://node-1:8443", server)
	case u.Scheme != "https":
		return "", fmt.Errorf("client: server %q must start with https://", server)
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return "", fmt.Errorf("client: server URL must hold only a host and a port, such as https://%s", u.Host)
	}
	return "https://" + u.Host, nil
}

func trusted(cfg Config) (*x509.CertPool, error) {
	if cfg.CA == nil {
		return cfg.Roots, nil
	}
	if cfg.Roots != nil {
		return nil, errors.New("client: set CA or Roots, not both")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cfg.CA) {
		return nil, errors.New("client: CA holds no PEM certificate")
	}
	return pool, nil
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
