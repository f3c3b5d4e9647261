package signin_test

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/api/signin"
	"cryptoserve/engine/fault"
)

func wantUnavailable(t *testing.T, err error, cause fault.Cause) {
	t.Helper()
	if !errors.Is(err, fault.Unavailable) || fault.CauseOf(err) != cause {
		t.Fatalf("error is %v, want unavailable because of %q", err, cause)
	}
}

// TestProviderDownAtStart starts a node without its provider, and signs in once it is there.
func TestProviderDownAtStart(t *testing.T) {
	n, p := corpNode(t, nil)
	if got := p.Requests("/.well-known/openid-configuration"); got != 0 {
		t.Errorf("New asked the provider %d times", got)
	}
	var broken atomic.Bool
	broken.Store(true)
	p.EditDiscovery(func(d map[string]any) {
		if broken.Load() {
			clear(d)
		}
	})
	_, _, err := n.Begin(t.Context(), "corp", signin.BeginOptions{})
	wantUnavailable(t, err, signin.CauseIssuer) // an empty document names no issuer
	broken.Store(false)
	if _, cause := n.signIn(t, "/login/corp", "ann"); cause != "" {
		t.Errorf("refused because of %q", cause)
	}
}

// TestProviderGoesDown keeps the addresses it knows, and tells that the provider does not answer.
func TestProviderGoesDown(t *testing.T) {
	n, p := corpNode(t, nil)
	a := n.attempt(t, "corp", "ann")
	p.Stop()
	n.clock.move(2 * time.Hour) // past the life of the discovery document
	if _, _, err := n.Begin(t.Context(), "corp", signin.BeginOptions{}); err != nil {
		t.Errorf("the addresses are forgotten: %v", err)
	}
	n.clock.move(-2 * time.Hour)
	_, _, err := n.finish(t, "corp", a)
	wantUnavailable(t, err, signin.CauseToken)
	wantSilent(t, err, a)
}

func TestDiscoveryIsReadAgain(t *testing.T) {
	n, p := corpNode(t, nil)
	for want := 1; want <= 2; want++ {
		for range 3 {
			if _, _, err := n.Begin(t.Context(), "corp", signin.BeginOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.Requests("/.well-known/openid-configuration"); got != want {
			t.Errorf("the discovery document was read %d times, want %d", got, want)
		}
		n.clock.move(2 * time.Hour)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	n, _ := corpNode(t, func(c *signin.ProviderConfig) { c.RootCAs = x509.NewCertPool() })
	_, _, err := n.Begin(t.Context(), "corp", signin.BeginOptions{})
	wantUnavailable(t, err, signin.CauseDiscovery)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("the log does not learn of the certificate: %v", err)
	}
	var e *fault.Error
	if !errors.As(err, &e) || strings.Contains(e.Detail, "certificate") {
		t.Errorf("the caller learns of it: %v", err)
	}
}

// TestDiscoveryDocuments bends what the provider says of itself.
func TestDiscoveryDocuments(t *testing.T) {
	tests := []struct {
		name, member string
		value        any
		cause        fault.Cause
	}{
		{"issuer of another", "issuer", "https://evil.example", signin.CauseIssuer},
		{"token endpoint over http", "token_endpoint", "http://evil.example/token", signin.CauseDiscovery},
		{"no token endpoint", "token_endpoint", "", signin.CauseDiscovery},
		{"keys over http", "jwks_uri", "http://evil.example/keys", signin.CauseDiscovery},
		{"authorization over http", "authorization_endpoint", "http://evil.example/", signin.CauseDiscovery},
		{"authorization by script", "authorization_endpoint", "javascript:alert(1)", signin.CauseDiscovery},
		{"not text", "jwks_uri", 1, signin.CauseDiscovery},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, p := corpNode(t, nil)
			p.EditDiscovery(func(d map[string]any) { d[tt.member] = tt.value })
			_, _, err := n.Begin(t.Context(), "corp", signin.BeginOptions{})
			wantUnavailable(t, err, tt.cause)
		})
	}
}

// TestEndpoints replaces an endpoint of a good provider by a bad one.
func TestEndpoints(t *testing.T) {
	var wandered atomic.Int32
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { wandered.Add(1) }))
	defer elsewhere.Close()
	long := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		pad := strings.Repeat("a", 1<<20)
		_, _ = w.Write([]byte(`{"keys":[],"access_token":"t","token_type":"bearer","id_token":"x","pad":"` + pad + `"}`))
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	redirect := http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP
	tests := []struct {
		name, member string
		handler      http.HandlerFunc
		kind         fault.Kind
		cause        fault.Cause
	}{
		{"token endpoint redirects", "token_endpoint", redirect, fault.Unavailable, signin.CauseToken},
		{"token endpoint fails", "token_endpoint", status(http.StatusServiceUnavailable), fault.Unavailable, signin.CauseToken},
		{"token endpoint too long", "token_endpoint", long, fault.Unavailable, signin.CauseToken},
		{"token endpoint says nothing", "token_endpoint", status(http.StatusOK), fault.Unavailable, signin.CauseToken},
		{"token endpoint answers no HTTP and quotes the code", "token_endpoint", func(w http.ResponseWriter, r *http.Request) {
			conn, out, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = out.WriteString("code " + r.PostFormValue("code") + "\r\n\r\n")
			_ = out.Flush()
			_ = conn.Close()
		}, fault.Unavailable, signin.CauseToken},
		{"token endpoint redirects nowhere and quotes the code", "token_endpoint", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "%zz"+r.PostFormValue("code"))
			w.WriteHeader(http.StatusFound)
		}, fault.Unavailable, signin.CauseToken},
		{"no ID token", "token_endpoint", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"t","token_type":"bearer"}`))
		}, fault.Unauthenticated, signin.CauseSignature},
		{"keys redirect", "jwks_uri", redirect, fault.Unavailable, signin.CauseKeys},
		{"keys fail", "jwks_uri", status(http.StatusInternalServerError), fault.Unavailable, signin.CauseKeys},
		{"keys too long", "jwks_uri", long, fault.Unavailable, signin.CauseKeys},
		{"keys are nonsense", "jwks_uri", status(http.StatusOK), fault.Unavailable, signin.CauseKeys},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := httptest.NewTLSServer(tt.handler)
			defer bad.Close()
			n, p := corpNode(t, nil)
			p.EditDiscovery(func(d map[string]any) { d[tt.member] = bad.URL })
			a := n.attempt(t, "corp", "ann")
			_, _, err := n.finish(t, "corp", a)
			if !errors.Is(err, tt.kind) || fault.CauseOf(err) != tt.cause {
				t.Errorf("error is %v, want %s because of %q", err, tt.kind.Code(), tt.cause)
			}
			wantSilent(t, err, a)
		})
	}
	if wandered.Load() != 0 {
		t.Errorf("%d requests went to another host", wandered.Load())
	}
}

// TestSilentProvider takes the connection and never answers. The limit ends the wait.
func TestSilentProvider(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(release)
	roots := x509.NewCertPool()
	roots.AddCert(silent.Certificate())
	c := goodConfig()
	c.Timeout = 50 * time.Millisecond
	c.Providers[0].Issuer, c.Providers[0].RootCAs = silent.URL, roots
	s, err := signin.New(c)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Begin(t.Context(), "corp", signin.BeginOptions{})
	wantUnavailable(t, err, signin.CauseDiscovery)
}

// TestGitHubGoesDown tells that GitHub does not answer.
func TestGitHubGoesDown(t *testing.T) {
	n, g := githubNode(t, octo(), nil)
	a := n.attempt(t, "hub", "octo")
	g.Stop()
	_, _, err := n.finish(t, "hub", a)
	wantUnavailable(t, err, signin.CauseToken)
	wantSilent(t, err, a)
}

// TestGitHubAPIFails answers the code and nothing after it.
func TestGitHubAPIFails(t *testing.T) {
	for code, want := range map[int]fault.Kind{
		http.StatusInternalServerError: fault.Unavailable, http.StatusForbidden: fault.Unavailable, http.StatusFound: fault.Unavailable,
		http.StatusUnauthorized: fault.Unauthenticated, http.StatusNotFound: fault.Unauthenticated,
	} {
		api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		defer api.Close()
		n, _ := githubNode(t, octo(), func(c *signin.ProviderConfig) { c.GitHubEndpoints.API = api.URL })
		_, _, err := n.finish(t, "hub", n.attempt(t, "hub", "octo"))
		if !errors.Is(err, want) || fault.CauseOf(err) != signin.CauseProfile {
			t.Errorf("status %d: %v, want %s", code, err, want.Code())
		}
	}
}

// TestProviderSaysTemporarily makes the provider's own words for trouble retryable.
func TestProviderSaysTemporarily(t *testing.T) {
	n, _ := corpNode(t, nil)
	for _, word := range []string{"server_error", "temporarily_unavailable"} {
		a := n.attempt(t, "corp", "ann")
		a.query.Set("error", word)
		_, _, err := n.finish(t, "corp", a)
		wantUnavailable(t, err, signin.CauseProvider)
	}
}

// TestPostedSecret sends the client secret as the provider wants it.
func TestPostedSecret(t *testing.T) {
	var seen atomic.Int32
	n, p := corpNode(t, nil)
	token := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, basic := r.BasicAuth()
		if !basic && r.PostFormValue("client_id") == p.ClientID && r.PostFormValue("client_secret") == p.ClientSecret &&
			len(r.PostFormValue("code_verifier")) == 43 {
			seen.Add(1)
		}
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer token.Close()
	p.EditDiscovery(func(d map[string]any) {
		d["token_endpoint"], d["token_endpoint_auth_methods_supported"] = token.URL, []string{"client_secret_post"}
	})
	a := n.attempt(t, "corp", "ann")
	who, _, err := n.finish(t, "corp", a)
	wantRefused(t, who, err, signin.CauseCode, a)
	if seen.Load() != 1 {
		t.Errorf("%d good token requests, want one", seen.Load())
	}
}
