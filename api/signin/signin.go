package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
)

// MaxInvitationBytes bounds the invitation that a sign-in carries.
const MaxInvitationBytes = 256

// maxCodeBytes bounds the code in a callback. Azure's are the longest, near 2 KiB.
const maxCodeBytes = 4096

// Identity is who a person is, as a provider proved it.
type Identity struct {
	Provider string
	Tenant   string // the tenant of the provider's configuration
	// Issuer and Subject together name the person for good. All else may change.
	Issuer  string
	Subject string
	// Email is empty unless the provider verified it; then it is as the provider writes it.
	Email         string
	EmailVerified bool
	Name          string // for people to read
	Groups        []string
	// Roles are those that the mapping gives, or the default ones. None of them means that this person is known by an
	// invitation or an earlier sign-in, or is nobody here.
	Roles      []string
	Invitation string // what Begin was given
}

// Info is what a page of sign-in buttons shows of a provider.
type Info struct {
	Name        string
	Preset      Preset
	DisplayName string
}

// BeginOptions is what a sign-in carries from Begin to Finish.
type BeginOptions struct {
	// Redirect is where the person goes afterwards: a path on this node of at most MaxRedirectBytes. Anything else becomes "/".
	Redirect string
	// Invitation is printable ASCII, at most MaxInvitationBytes.
	Invitation string
}

// person is what a protocol found out.
type person struct {
	subject string
	email   string // empty unless verified
	name    string
	groups  []string
}

// protocol is what differs between OpenID Connect and GitHub.
type protocol interface {
	// describe tells how the provider is spoken to. It may ask the provider.
	describe(context.Context) (*description, error)
	// identify turns the answer of the token endpoint into a person.
	identify(ctx context.Context, d *description, token *oauth2.Token, nonce string) (*person, error)
	// httpClient is for the token endpoint.
	httpClient() *http.Client
}

// description is what is needed to speak to a provider.
type description struct {
	endpoint oauth2.Endpoint
	// issuers are the values that the callback's parameter "iss" may have.
	issuers []string
	// issuerRequired says that the provider promised to send it (RFC 9207 section 3).
	issuerRequired bool
	openid         *verifiers
}

type provider struct {
	ProviderConfig
	protocol protocol
	callback string
	scopes   []string
}

// SignIn holds the providers. Goroutines share it.
type SignIn struct {
	providers map[string]*provider
	infos     []Info
	key       secret.Bytes
	now       func() time.Time
	timeout   time.Duration
	used      *usedStates
}

// New checks the configuration and asks no provider anything: one that is down does not stop a node. All problems are
// joined in the error.
func New(c Config) (*SignIn, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.UsedStates == 0 {
		c.UsedStates = DefaultUsedStates
	}
	var problems []error
	if c.Key.Len() != KeyBytes {
		problems = append(problems, fmt.Errorf("signin: the key is not %d bytes long", KeyBytes))
	}
	if c.Timeout < 0 || c.UsedStates < 0 {
		problems = append(problems, errors.New("signin: a limit is negative"))
	}
	if c.Callback == nil {
		return nil, errors.Join(append(problems, errors.New("signin: the callback is missing"))...)
	}
	s := &SignIn{
		providers: make(map[string]*provider, len(c.Providers)),
		key:       c.Key, now: c.Now, timeout: c.Timeout,
		used: &usedStates{limit: c.UsedStates, seen: map[string]struct{}{}},
	}
	for _, raw := range c.Providers {
		p, err := newProvider(raw, &c)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if _, twice := s.providers[p.Name]; twice {
			problems = append(problems, fmt.Errorf("signin: two providers are named %q", p.Name))
		}
		s.providers[p.Name] = p
		s.infos = append(s.infos, Info{Name: p.Name, Preset: p.Preset, DisplayName: p.DisplayName})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
}

func newProvider(raw ProviderConfig, c *Config) (*provider, error) {
	settled, err := raw.settle(c.Loopback)
	if err != nil {
		return nil, err
	}
	p := &provider{ProviderConfig: settled, callback: c.Callback(settled.Name)}
	if err := checkURL(p.callback, c.Loopback); err != nil {
		return nil, fmt.Errorf("signin: provider %q: the callback %w", p.Name, err)
	}
	client := newClient(p.RootCAs, c.Timeout)
	if p.Preset == GitHub {
		g := newGitHub(&p.ProviderConfig, client)
		p.protocol, p.scopes = g, g.scopes()
	} else {
		p.protocol = newOpenID(&p.ProviderConfig, client, c)
		p.scopes = []string{"openid", "profile", "email"}
	}
	for _, scope := range p.Scopes {
		if !slices.Contains(p.scopes, scope) {
			p.scopes = append(p.scopes, scope)
		}
	}
	return p, nil
}

// Providers lists the providers in the order of the configuration.
func (s *SignIn) Providers() []Info { return slices.Clone(s.infos) }

// Begin returns the provider's URL to send the browser to, and the state to set as a cookie with it. Errors are
// fault.NotFound for an unknown provider, fault.Malformed for an invitation that cannot be one, fault.Unavailable when
// the provider does not tell its addresses.
func (s *SignIn) Begin(ctx context.Context, name string, o BeginOptions) (redirectURL string, state State, err error) {
	p, known := s.providers[name]
	if !known {
		return "", State{}, fault.Wrap(fault.NotFound, op, "there is no such sign-in provider", CauseProvider)
	}
	if !isPrintable(o.Invitation, MaxInvitationBytes) {
		return "", State{}, fault.New(fault.Malformed, op, "the invitation is malformed")
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	d, err := p.protocol.describe(ctx)
	if err != nil {
		return "", State{}, err
	}
	begun := &pending{
		Provider: name, State: random(), Nonce: random(), Verifier: random(), IssuedAt: s.now().UnixMilli(),
		Redirect: localPath(o.Redirect), Invitation: o.Invitation,
	}
	state, err = begun.seal(s.key)
	if err != nil {
		return "", State{}, fault.Wrap(fault.Internal, op, "", err)
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(begun.Verifier)}
	if d.openid != nil {
		options = append(options, oauth2.SetAuthURLParam("nonce", begun.Nonce))
	}
	return p.oauth(d).AuthCodeURL(begun.State, options...), state, nil
}

// Finish takes the query with which the provider sent the browser back, and the value of the browser's cookie. It returns
// who the person is, and the path to send him to: a path on this node, and nothing else. Errors are
// fault.Unauthenticated with Detail and a Cause, fault.Unavailable when the provider does not answer, and
// fault.RateLimited when too many people sign in.
func (s *SignIn) Finish(
	ctx context.Context, name string, query url.Values, cookie string,
) (who Identity, redirect string, err error) {
	p, known := s.providers[name]
	if !known {
		return Identity{}, "", refused(CauseProvider)
	}
	begun, err := s.resume(name, query, cookie)
	if err != nil {
		return Identity{}, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	d, err := p.protocol.describe(ctx)
	if err != nil {
		return Identity{}, "", err
	}
	code, err := d.code(query)
	if err != nil {
		return Identity{}, "", err
	}
	token, err := p.exchange(ctx, d, code, begun.Verifier)
	if err != nil {
		return Identity{}, "", err
	}
	found, err := p.protocol.identify(ctx, d, token, begun.Nonce)
	if err != nil {
		return Identity{}, "", err
	}
	who, err = p.admit(found)
	if err != nil {
		return Identity{}, "", err
	}
	who.Invitation = begun.Invitation
	return who, begun.Redirect, nil
}

// resume returns the sign-in that a callback belongs to, and uses it up.
func (s *SignIn) resume(name string, query url.Values, cookie string) (*pending, error) {
	begun, ok := openCookie(cookie, s.key)
	if !ok {
		return nil, refused(CauseCookie)
	}
	state, ok := single(query, "state")
	if !ok || subtle.ConstantTimeCompare([]byte(state), []byte(begun.State)) != 1 {
		return nil, refused(CauseState)
	}
	now := s.now()
	switch {
	case begun.expired(now):
		return nil, refused(CauseExpired)
	case begun.Provider != name:
		return nil, refused(CauseProvider)
	}
	return begun, s.used.use(begun.State, now)
}

// code returns the code in a callback, once the callback is known to come from the right issuer.
func (d *description) code(query url.Values) (string, error) {
	if issuer, ok := single(query, "iss"); ok {
		if !slices.Contains(d.issuers, issuer) {
			return "", refused(CauseIssuer)
		}
	} else if d.issuerRequired || query.Has("iss") {
		return "", refused(CauseIssuer)
	}
	if query.Has("error") {
		switch query.Get("error") {
		case "server_error", "temporarily_unavailable": // RFC 6749 section 4.1.2.1
			return "", unavailable(CauseProvider, nil)
		default:
			return "", refused(CauseDenied)
		}
	}
	code, ok := single(query, "code")
	if !ok || !isPrintable(code, maxCodeBytes) {
		return "", refused(CauseCode)
	}
	return code, nil
}

// single returns a parameter that is there once and not empty.
func single(query url.Values, name string) (string, bool) {
	values := query[name]
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

func (p *provider) oauth(d *description) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: string(p.ClientSecret.Reveal()), Endpoint: d.endpoint,
		RedirectURL: p.callback, Scopes: p.scopes,
	}
}

// exchange trades the code for tokens. oauth2's errors may hold the answer, so they go no further than this.
func (p *provider) exchange(ctx context.Context, d *description, code, verifier string) (*oauth2.Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.protocol.httpClient())
	token, err := p.oauth(d).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err == nil {
		return token, nil
	}
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		return nil, unavailable(CauseToken, err)
	}
	switch answer.ErrorCode {
	case "invalid_client", "unauthorized_client", "incorrect_client_credentials":
		return nil, refused(CauseClient)
	}
	// GitHub answers errors with status 200.
	if status := answer.Response.StatusCode; status < 300 || status >= 400 && status < 500 {
		return nil, refused(CauseCode)
	}
	return nil, unavailable(CauseToken, nil)
}
