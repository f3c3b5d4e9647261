package signin

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"cryptoserve/engine/secret"
)

// Preset is a kind of provider.
type Preset string

// The presets.
const (
	GitHub Preset = "github"
	Google Preset = "google"
	Azure  Preset = "azure"
	Okta   Preset = "okta"
	OIDC   Preset = "oidc"
)

const (
	googleIssuer = "https://accounts.google.com"
	azureHost    = "https://login.microsoftonline.com/"
	// azurePersonal is the tenant of all personal Microsoft accounts: no organisation vouches for them.
	azurePersonal = "9188040d-6c67-4c5b-b112-36a304b66dad"
	githubIssuer  = "https://github.com"
	githubAPI     = "https://api.github.com"
)

// KeyBytes is the length of the key that seals the cookie.
const KeyBytes = 32

// DefaultTimeout bounds all that a provider is asked during one Begin or Finish.
const DefaultTimeout = 10 * time.Second

// DefaultUsedStates is how many used states a node remembers.
const DefaultUsedStates = 1 << 16

// GitHubEndpoints are the addresses of a GitHub Enterprise server, or of a stand-in. Empty means github.com. With others,
// the identity's issuer is the origin of Authorize, so that an account there never passes for one of github.com.
type GitHubEndpoints struct {
	Authorize string // ".../login/oauth/authorize"
	Token     string // ".../login/oauth/access_token"
	API       string // what "/user" is added to
}

// ProviderConfig says how one provider is reached and whom of its people it lets in.
type ProviderConfig struct {
	// Name is the provider's name in paths: lower-case letters, digits and hyphens, at most 32.
	Name string
	// DisplayName is what people read. Empty means the preset's own name, or Name.
	DisplayName string
	Preset      Preset
	// Issuer is needed for okta and oidc. For google and azure it is known, and may be set only to a loopback address.
	Issuer string
	// TenantID is the GUID of the Azure tenant. An address for all tenants ("common") is refused.
	TenantID     string
	ClientID     string
	ClientSecret secret.Bytes
	// Scopes are asked for besides those that an Identity needs.
	Scopes []string
	// AllowedDomains, unless empty, lets in only people with a verified e-mail address at exactly one of these domains.
	AllowedDomains []string
	// GroupsClaim is the claim of the ID token with the person's groups, a string or a list. Empty means none. For GitHub
	// the groups are always the organisations, in lower case.
	GroupsClaim string
	// RoleMapping gives roles to the members of a group.
	RoleMapping map[string][]string
	// DefaultRoles are for those to whom RoleMapping gives nothing. Empty means that they bring no role with them.
	DefaultRoles []string
	// Tenant is the name of the tenant that its people belong to.
	Tenant string
	// GitHubOrganisations, unless empty, lets in only members of one of these.
	GitHubOrganisations []string
	GitHubEndpoints     GitHubEndpoints
	// RootCAs is whom the provider's certificate is checked against. Nil means the system's.
	RootCAs *x509.CertPool
}

// Config says what a SignIn works with.
type Config struct {
	Providers []ProviderConfig
	// Key seals the cookies: KeyBytes bytes, the same on all nodes. It must not be destroyed while the SignIn is used.
	Key secret.Bytes
	// Callback returns the https URL on this node to which a provider sends the browser back. Required.
	Callback func(provider string) string
	// Loopback allows http, and issuers of google's and azure's own, at loopback addresses: for tests.
	Loopback bool
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Timeout is the limit for a provider. Zero means DefaultTimeout.
	Timeout time.Duration
	// UsedStates bounds how many states that were used are remembered. Zero means DefaultUsedStates. When so many were used
	// in ten minutes, further sign-ins are refused rather than an old one forgotten.
	UsedStates int
}

var (
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	guidForm   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	scopeForm  = regexp.MustCompile(`^[!#-\[\]-~]+$`) // RFC 6749 section 3.3
	// azureShared are Azure's issuers for the people of many tenants.
	azureShared = regexp.MustCompile(`^https://[^/]*microsoftonline[^/]*/(common|organizations|consumers)(/|$)`)
)

// settle returns a checked copy of a provider's configuration with what the preset knows filled in. All problems are
// joined. None of them holds a secret.
func (p ProviderConfig) settle(loopback bool) (ProviderConfig, error) {
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("signin: provider %q: "+format, append([]any{p.Name}, args...)...))
	}
	if !nameForm.MatchString(p.Name) {
		bad("the name must be lower-case letters, digits and hyphens, at most 32")
	}
	if p.ClientID == "" {
		bad("the client id is missing")
	}
	if p.ClientSecret.Len() == 0 {
		bad("the client secret is missing")
	}
	if p.Tenant == "" {
		bad("the tenant is missing")
	}
	if p.Preset != GitHub && (len(p.GitHubOrganisations) > 0 || p.GitHubEndpoints != GitHubEndpoints{}) {
		bad("GitHub's settings are for the preset github only")
	}
	if p.Preset != Azure && p.TenantID != "" {
		bad("a tenant id is for the preset azure only")
	}
	if err := p.preset(loopback); err != nil {
		bad("%w", err)
	}
	p.AllowedDomains = lowerAll(p.AllowedDomains)
	for _, d := range p.AllowedDomains {
		if !domainForm.MatchString(d) {
			bad("the allowed domain %q is not a domain name", d)
		}
	}
	for _, s := range p.Scopes {
		if !scopeForm.MatchString(s) {
			bad("the scope %q is not one", s)
		}
	}
	mapping := make(map[string][]string, len(p.RoleMapping))
	for group, roles := range p.RoleMapping {
		if group == "" || len(roles) == 0 || slices.Contains(roles, "") {
			bad("the role mapping has an empty group or role")
		}
		if p.Preset == GitHub {
			group = lower(group)
		}
		mapping[group] = append(mapping[group], roles...)
	}
	if slices.Contains(p.DefaultRoles, "") {
		bad("a default role is empty")
	}
	if len(mapping) > 0 && p.Preset != GitHub && p.GroupsClaim == "" {
		bad("a role mapping needs a groups claim")
	}
	p.RoleMapping, p.DefaultRoles, p.Scopes = mapping, slices.Clone(p.DefaultRoles), slices.Clone(p.Scopes)
	return p, errors.Join(problems...)
}

// preset checks and fills in what depends on the kind of provider.
func (p *ProviderConfig) preset(loopback bool) error {
	display := p.Name
	var err error
	switch p.Preset {
	case GitHub:
		display = "GitHub"
		err = p.github(loopback)
	case Google:
		display = "Google"
		err = p.knownIssuer(googleIssuer, loopback)
	case Azure:
		display = "Microsoft"
		if !guidForm.MatchString(p.TenantID) || p.TenantID == azurePersonal {
			return errors.New("azure needs the tenant id of one organisation, a GUID in lower case")
		}
		err = p.knownIssuer(azureHost+p.TenantID+"/v2.0", loopback)
	case Okta, OIDC:
		if p.Preset == Okta {
			display = "Okta"
		}
		if err = checkURL(p.Issuer, loopback); err != nil {
			err = fmt.Errorf("the issuer %w", err)
		} else if strings.ContainsAny(p.Issuer, "{}%") || azureShared.MatchString(p.Issuer) {
			err = errors.New("the issuer is that of many tenants, or no fixed address")
		}
	default:
		return errors.New("the preset is none of github, google, azure, okta, oidc")
	}
	if p.DisplayName == "" {
		p.DisplayName = display
	}
	return err
}

// knownIssuer sets the issuer of a preset that has one of its own. Tests may put a loopback address in its place.
func (p *ProviderConfig) knownIssuer(issuer string, loopback bool) error {
	switch {
	case p.Issuer == "" || p.Issuer == issuer:
		p.Issuer = issuer
		return nil
	case loopback && isLoopback(p.Issuer):
		return checkURL(p.Issuer, true)
	default:
		return errors.New("the issuer of this preset is known and cannot be another")
	}
}

func (p *ProviderConfig) github(loopback bool) error {
	if p.Issuer != "" && p.Issuer != githubIssuer || p.GroupsClaim != "" {
		return errors.New("github has neither another issuer nor a groups claim")
	}
	p.Issuer = githubIssuer
	p.GitHubOrganisations = lowerAll(p.GitHubOrganisations)
	if slices.Contains(p.GitHubOrganisations, "") {
		return errors.New("a GitHub organisation is empty")
	}
	e := &p.GitHubEndpoints
	if *e == (GitHubEndpoints{}) {
		*e = GitHubEndpoints{
			Authorize: githubIssuer + "/login/oauth/authorize", Token: githubIssuer + "/login/oauth/access_token", API: githubAPI,
		}
		return nil
	}
	for _, text := range []string{e.Authorize, e.Token, e.API} {
		if err := checkURL(text, loopback); err != nil {
			return fmt.Errorf("a GitHub endpoint %w", err)
		}
	}
	u, err := url.Parse(e.Authorize)
	if err != nil {
		return errors.New("a GitHub endpoint is not a URL")
	}
	p.Issuer = u.Scheme + "://" + u.Host
	e.API = strings.TrimSuffix(e.API, "/")
	return nil
}

// checkURL refuses all but absolute https URLs without user, query and fragment. On loopback, http is let through.
func checkURL(text string, loopback bool) error {
	if strings.Contains(text, "?") {
		return errors.New("has a query")
	}
	return checkEndpoint(text, loopback)
}

// checkEndpoint is checkURL for addresses that may have a query (RFC 6749 section 3.1), which some authorization endpoints do.
func checkEndpoint(text string, loopback bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("is not an absolute URL")
	case u.User != nil || strings.Contains(text, "#"):
		return errors.New("has a user or a fragment")
	case u.Scheme == "https" || u.Scheme == "http" && loopback && isLoopback(text):
		return nil
	default:
		return errors.New("is not an https URL")
	}
}

// isLoopback reports whether the host of a URL is localhost or a loopback address.
func isLoopback(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}

// lower turns the ASCII capitals of s to small letters and leaves all else. Unicode's folding would make letters equal that
// are not, such as the Kelvin sign and k.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func lowerAll(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, lower(s))
	}
	return out
}
