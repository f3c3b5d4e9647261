package signin_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/api/signin"
	"cryptoserve/api/signin/signintest"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
)

const password = "correct horse battery staple"

// node is a server that uses a SignIn as the API's handlers will, and a browser with its cookies.
type node struct {
	*signin.SignIn
	url     string
	roots   *x509.CertPool
	browser *http.Client
	clock   *clock
}

// clock is the real one, moved.
type clock struct {
	mu    sync.Mutex
	moved time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.moved)
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}

// arrived is what a node answers to a callback that holds.
type arrived struct {
	Who      signin.Identity
	Redirect string
}

var testKey = secret.Copy([]byte("0123456789abcdef0123456789abcdef"))

// newNode starts a node with these providers. The callback of a provider is URL + "/callback/" + its name.
func newNode(t *testing.T, providers ...signin.ProviderConfig) *node {
	t.Helper()
	n := &node{clock: &clock{}, roots: x509.NewCertPool()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/{provider}", func(w http.ResponseWriter, r *http.Request) {
		target, state, err := n.Begin(r.Context(), r.PathValue("provider"), signin.BeginOptions{
			Redirect: r.FormValue("redirect"), Invitation: r.FormValue("invitation"),
		})
		if err != nil {
			http.Error(w, "", http.StatusBadGateway)
			return
		}
		http.SetCookie(w, state.Cookie())
		http.Redirect(w, r, target, http.StatusFound)
	})
	mux.HandleFunc("GET /callback/{provider}", func(w http.ResponseWriter, r *http.Request) {
		var value string
		if c, err := r.Cookie(signin.CookieName); err == nil {
			value = c.Value
		}
		http.SetCookie(w, signin.ClearCookie())
		who, redirect, err := n.Finish(r.Context(), r.PathValue("provider"), r.URL.Query(), value)
		if err != nil {
			http.Error(w, string(fault.CauseOf(err)), http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(arrived{who, redirect})
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	n.url = server.URL
	n.roots.AddCert(server.Certificate())
	n.browser = n.newBrowser(t)
	s, err := signin.New(n.config(providers...))
	if err != nil {
		t.Fatal(err)
	}
	n.SignIn = s
	return n
}

func (n *node) config(providers ...signin.ProviderConfig) signin.Config {
	return signin.Config{Providers: providers, Key: testKey, Callback: n.callback, Loopback: true, Now: n.clock.now}
}

func (n *node) callback(provider string) string { return n.url + "/callback/" + provider }

// newBrowser returns a client with no cookies. All test servers have one certificate.
func (n *node) newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar}
}

// begin opens the node's login page and returns where the browser is sent.
func (n *node) begin(t *testing.T, browser *http.Client, path string) string {
	t.Helper()
	first := *browser
	first.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := first.Get(n.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	target, err := resp.Location()
	if err != nil {
		t.Fatalf("the node answers %s", resp.Status)
	}
	return target.String()
}

// arrive follows the provider's redirect back to the node. The cause is that of a refusal.
func (n *node) arrive(t *testing.T, browser *http.Client, callback *url.URL) (a arrived, cause string) {
	t.Helper()
	resp, err := browser.Get(callback.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return a, strings.TrimSpace(string(body))
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatal(err)
	}
	return a, ""
}

// signIn goes the whole way with the node's browser.
func (n *node) signIn(t *testing.T, path, user string) (arrived, string) {
	t.Helper()
	callback := signintest.Authorize(t, n.browser, n.begin(t, n.browser, path), user, password)
	return n.arrive(t, n.browser, callback)
}

// attempt is a sign-in that stands right before Finish.
type attempt struct {
	query  url.Values
	cookie string
}

// attempt begins with a provider, passes its login page and returns what the browser would bring back.
func (n *node) attempt(t *testing.T, provider, user string) attempt {
	t.Helper()
	target, state, err := n.Begin(t.Context(), provider, signin.BeginOptions{Redirect: "/console"})
	if err != nil {
		t.Fatal(err)
	}
	return attempt{query: signintest.Authorize(t, n.newBrowser(t), target, user, password).Query(), cookie: state.Value()}
}

// finish hands an attempt to the node.
func (n *node) finish(t *testing.T, provider string, a attempt) (signin.Identity, string, error) {
	t.Helper()
	return n.Finish(t.Context(), provider, a.query, a.cookie)
}

// wantRefused fails unless err is the one refusal, with this cause and without the words of the attempt.
func wantRefused(t *testing.T, who signin.Identity, err error, cause fault.Cause, a attempt) {
	t.Helper()
	if !errors.Is(err, fault.Unauthenticated) {
		t.Fatalf("error is %v, want unauthenticated because of %q", err, cause)
	}
	var e *fault.Error
	if !errors.As(err, &e) || e.Detail != signin.Detail {
		t.Errorf("the refusal has the detail %q, want the one detail", e.Detail)
	}
	if got := fault.CauseOf(err); got != cause {
		t.Errorf("refused because of %q, want %q", got, cause)
	}
	if who.Subject != "" {
		t.Error("a refusal comes with an identity")
	}
	wantSilent(t, err, a)
}

// wantSilent fails when an error shows a code, a state or a cookie.
func wantSilent(t *testing.T, err error, a attempt) {
	t.Helper()
	for _, word := range []string{a.query.Get("code"), a.query.Get("state"), a.cookie, password} {
		if word != "" && strings.Contains(err.Error(), word) {
			t.Error("the error shows a secret of the sign-in")
		}
	}
}

// corp returns a provider with the person ann, and the configuration for it. The node allows the callback afterwards.
func corp(t *testing.T) (*signintest.Provider, signin.ProviderConfig) {
	t.Helper()
	p := signintest.NewProvider(t)
	p.AddUser(signintest.User{
		Subject: "ann", Password: password, Email: "Ann@Corp.Example", EmailVerified: true, Name: "Ann Example",
		Claims: map[string]any{"groups": []string{"crypto-admins", "staff"}},
	})
	return p, configFor("corp", p)
}

func configFor(name string, p *signintest.Provider) signin.ProviderConfig {
	return signin.ProviderConfig{
		Name: name, Preset: signin.OIDC, Issuer: p.URL, ClientID: p.ClientID, ClientSecret: secret.Copy([]byte(p.ClientSecret)),
		Tenant: "acme", RootCAs: p.CA, GroupsClaim: "groups",
		RoleMapping: map[string][]string{"crypto-admins": {"admin"}, "staff": {"viewer", "developer"}},
	}
}

// corpNode is a node with one provider, ready to sign ann in.
func corpNode(t *testing.T, edit func(*signin.ProviderConfig)) (*node, *signintest.Provider) {
	t.Helper()
	p, c := corp(t)
	if edit != nil {
		edit(&c)
	}
	n := newNode(t, c)
	p.AllowRedirect(n.callback(c.Name))
	return n, p
}
