package signintest

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	loginPath     = "/login"
	tokenPath     = "/oauth/token" //nolint:gosec // G101: a path
	discoveryPath = "/.well-known/openid-configuration"
)

// User is a person whom the provider knows. The subject is the user name.
type User struct {
	Subject, Password string
	Email             string
	EmailVerified     bool
	Name              string
	Claims            map[string]any // further claims of the ID token, such as groups
}

// Provider is a running OpenID provider with one client. Goroutines share it.
type Provider struct {
	URL   string         // also the issuer
	CA    *x509.CertPool // whom to trust for URL
	CAPEM []byte
	// ClientID and ClientSecret are the client's, by client_secret_basic.
	ClientID, ClientSecret string

	server  *httptest.Server
	storage *storage

	mu            sync.Mutex
	edit          func(*IDToken)
	editDiscovery func(map[string]any)
	requests      map[string]int
}

// NewProvider starts a provider that signs with ES256 and knows nobody. It ends with the test.
func NewProvider(tb testing.TB) *Provider {
	tb.Helper()
	p := &Provider{ClientID: "client-" + random()[:8], ClientSecret: random(), requests: map[string]int{}}
	p.server = httptest.NewUnstartedServer(nil)
	p.URL = "https://" + p.server.Listener.Addr().String()
	p.storage = &storage{
		clientID: p.ClientID, clientSecret: p.ClientSecret, url: p.URL, users: map[string]User{}, requests: map[string]*request{},
		codes: map[string]string{},
	}
	p.SetKey(tb, jose.ES256)
	codes, err := newSealer()
	if err != nil {
		tb.Fatal(err)
	}
	provider, err := op.NewProvider(&op.Config{CodeMethodS256: true}, p.storage, op.StaticIssuer(p.URL), op.WithCrypto(codes))
	if err != nil {
		tb.Fatal(err)
	}
	callback := op.NewIssuerInterceptor(provider.IssuerFromRequest).HandlerFunc(p.login(op.AuthCallbackURL(provider)))
	mux := http.NewServeMux()
	mux.HandleFunc(loginPath, callback)
	mux.Handle("/", provider)
	p.server.Config.Handler = p.intercept(mux)
	p.server.StartTLS()
	tb.Cleanup(p.server.Close)
	p.CAPEM = certificate(p.server)
	p.CA = x509.NewCertPool()
	p.CA.AddCert(p.server.Certificate())
	return p
}

// AddUser makes a person known, or changes him.
func (p *Provider) AddUser(u User) {
	u.Claims = maps.Clone(u.Claims)
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.users[u.Subject] = u
}

// AllowRedirect registers the URL of a callback for the client.
func (p *Provider) AllowRedirect(callback string) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.redirects = append(p.storage.redirects, callback)
}

// SetKey replaces the signing key by a new one for RS256, ES256 or EdDSA. Its key id is new too.
func (p *Provider) SetKey(tb testing.TB, alg jose.SignatureAlgorithm) {
	tb.Helper()
	k := signingKey{id: random()[:8], algorithm: alg}
	var err error
	switch alg {
	case jose.RS256:
		var private *rsa.PrivateKey
		if private, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			k.private, k.public = private, &private.PublicKey
		}
	case jose.ES256:
		var private *ecdsa.PrivateKey
		if private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			k.private, k.public = private, &private.PublicKey
		}
	case jose.EdDSA:
		k.public, k.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		tb.Fatalf("the provider does not sign with %s", alg)
	}
	if err != nil {
		tb.Fatal(err)
	}
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.key = k
}

// Edit changes the ID tokens that the provider gives out from now on. Nil stops that.
func (p *Provider) Edit(edit func(*IDToken)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edit = edit
}

// EditDiscovery changes the discovery document. Nil stops that.
func (p *Provider) EditDiscovery(edit func(document map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.editDiscovery = edit
}

// Requests returns how often a path was asked for.
func (p *Provider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// Stop makes the provider unreachable.
func (p *Provider) Stop() { p.server.Close() }

// login shows the login page, and sends the browser on once the password is right.
func (p *Provider) login(callbackURL func(context.Context, string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if r.Method != http.MethodPost {
			show(w, form{Action: loginPath, Hidden: map[string]string{"id": id}})
			return
		}
		if !p.storage.login(id, r.FormValue("username"), r.FormValue("password")) {
			http.Error(w, "user name or password wrong", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, callbackURL(r.Context(), id), http.StatusFound)
	}
}

// intercept counts requests and edits answers.
func (p *Provider) intercept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests[r.URL.Path]++
		edit, editDiscovery := p.edit, p.editDiscovery
		p.mu.Unlock()
		switch {
		case r.URL.Path == tokenPath && edit != nil:
			sign := p.storage.signing()
			change(w, r, next, func(answer map[string]any) error {
				token, ok := answer["id_token"].(string)
				if !ok {
					return nil
				}
				edited, err := rewrite(token, Signer(string(sign.algorithm), sign.private), edit)
				answer["id_token"] = edited
				return err
			})
		case r.URL.Path == discoveryPath && editDiscovery != nil:
			change(w, r, next, func(answer map[string]any) error { editDiscovery(answer); return nil })
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// change lets edit change a JSON answer on its way out.
func change(w http.ResponseWriter, r *http.Request, next http.Handler, edit func(map[string]any) error) {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, r)
	body := recorder.Body.Bytes()
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		http.Error(w, "the answer is not JSON", http.StatusInternalServerError)
		return
	}
	err := edit(answer)
	if err == nil {
		body, err = json.Marshal(answer)
	}
	if err != nil {
		http.Error(w, "the answer could not be edited", http.StatusInternalServerError)
		return
	}
	maps.Copy(w.Header(), recorder.Header())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(recorder.Code)
	_, _ = w.Write(body)
}
