package appliance

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"cryptoserve/api"
	"cryptoserve/api/signin"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/secret"
)

// SignInConfig names the identity providers that people sign in at, besides passwords.
type SignInConfig struct {
	// BaseURL is what browsers reach the API under, such as https://keys.example.org. Providers send people back to
	// BaseURL/auth/callback/NAME. It is needed with a provider.
	BaseURL   string           `yaml:"base_url"`
	Providers []ProviderConfig `yaml:"providers"`
}

// ProviderConfig is one identity provider.
type ProviderConfig struct {
	// Name stands in paths: lower-case letters, digits and hyphens, at most 32.
	Name string `yaml:"name"`
	// Preset is github, google, azure, okta or oidc.
	Preset string `yaml:"preset"`
	// Issuer is for okta and oidc, TenantID for azure.
	Issuer   string `yaml:"issuer"`
	TenantID string `yaml:"tenant_id"`
	// CAFile holds the certificates, in PEM, that the provider's certificate leads to; empty means the system's.
	CAFile   string `yaml:"ca_file"`
	ClientID string `yaml:"client_id"`
	// ClientSecretFile holds the client secret on one line. Only its owner may read it.
	ClientSecretFile string   `yaml:"client_secret_file"`
	Scopes           []string `yaml:"scopes"`
	// AllowedDomains, unless empty, lets in only people with a verified e-mail address at exactly one of these.
	AllowedDomains []string `yaml:"allowed_domains"`
	// GroupsClaim is the claim with a person's groups; RoleMapping gives roles to their members. With a mapping the provider
	// alone decides about the roles of its people, at each sign-in.
	GroupsClaim string              `yaml:"groups_claim"`
	RoleMapping map[string][]string `yaml:"role_mapping"`
	// DefaultRoles are for those to whom the mapping gives nothing. Empty means that they need an invitation.
	DefaultRoles []string `yaml:"default_roles"`
	// ApplianceRoles lets the provider give the roles operator, auditor and backup too.
	ApplianceRoles bool `yaml:"appliance_roles"`
	// Tenant is the name of the tenant that its people belong to.
	Tenant string `yaml:"tenant"`
	// Organisations, unless empty, lets in only members of one of these GitHub organisations.
	Organisations []string `yaml:"organisations"`
}

// problems reports every wrong value.
func (c *SignInConfig) problems() []error {
	var list []error
	bad := func(format string, args ...any) { list = append(list, fmt.Errorf("sign_in."+format, args...)) }
	if len(c.Providers) == 0 && c.BaseURL == "" {
		return nil
	}
	if u, err := url.Parse(c.BaseURL); err != nil || u.Scheme != "https" || u.Host == "" || c.BaseURL != "https://"+u.Host {
		bad("base_url: must be https:// and a host, without a slash at the end")
	}
	for i := range c.Providers {
		p := &c.Providers[i]
		place := fmt.Sprintf("providers[%d]", i)
		if p.ClientSecretFile == "" {
			bad("%s.client_secret_file: must name the file that holds the client secret", place)
		}
		roles := slices.Clone(p.DefaultRoles)
		for _, mapped := range p.RoleMapping {
			roles = append(roles, mapped...)
		}
		slices.Sort(roles)
		for _, role := range slices.Compact(roles) {
			switch r := directory.Role(role); {
			case !slices.Contains(directory.Roles, r):
				bad("%s: there is no role %q", place, role)
			case !p.ApplianceRoles && slices.Contains([]directory.Role{directory.Operator, directory.Auditor, directory.Backup}, r):
				bad("%s: the role %s needs appliance_roles: true", place, role)
			}
		}
	}
	stand := secret.New([]byte("stands for a key and for secrets")) // 32 bytes, as long as a key is
	defer stand.Destroy()
	if _, err := c.open(stand, func(*ProviderConfig) (secret.Bytes, *x509.CertPool, error) { return stand, nil, nil }); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			bad("%s", strings.TrimPrefix(line, "signin: "))
		}
	}
	return list
}

// fileProblems reports every file that is not there or cannot be used.
func (c *SignInConfig) fileProblems() []error {
	var list []error
	for i := range c.Providers {
		p := &c.Providers[i]
		if p.ClientSecretFile == "" {
			continue // problems has it
		}
		key, _, err := p.files()
		key.Destroy()
		if err != nil {
			list = append(list, fmt.Errorf("sign_in.providers[%d]: %w", i, err))
		}
	}
	return list
}

// files reads what a provider's configuration names.
func (p *ProviderConfig) files() (secret.Bytes, *x509.CertPool, error) {
	clientSecret, err := readSecret(p.ClientSecretFile, "client secret")
	if err != nil || p.CAFile == "" {
		return clientSecret, nil, err
	}
	text, err := os.ReadFile(p.CAFile)
	if err != nil {
		return clientSecret, nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return clientSecret, nil, errors.New("ca_file: holds no certificate in PEM")
	}
	return clientSecret, pool, nil
}

// open makes the providers of what the configuration says and its files hold.
func (c *SignInConfig) open(
	key secret.Bytes, files func(*ProviderConfig) (secret.Bytes, *x509.CertPool, error),
) (*signin.SignIn, error) {
	config := signin.Config{Key: key, Callback: func(provider string) string { return c.BaseURL + api.CallbackPath + provider }}
	for i := range c.Providers {
		p := &c.Providers[i]
		clientSecret, roots, err := files(p)
		if err != nil {
			return nil, fmt.Errorf("sign_in.providers[%d]: %w", i, err)
		}
		config.Providers = append(config.Providers, signin.ProviderConfig{
			Name: p.Name, Preset: signin.Preset(p.Preset), Issuer: p.Issuer, TenantID: p.TenantID, ClientID: p.ClientID,
			ClientSecret: clientSecret, Scopes: p.Scopes, AllowedDomains: p.AllowedDomains, GroupsClaim: p.GroupsClaim,
			RoleMapping: p.RoleMapping, DefaultRoles: p.DefaultRoles, Tenant: p.Tenant, GitHubOrganisations: p.Organisations,
			RootCAs: roots,
		})
	}
	return signin.New(config)
}

// rules says what each provider may decide.
func (c *SignInConfig) rules() map[string]engine.ProviderRules {
	rules := make(map[string]engine.ProviderRules, len(c.Providers))
	for _, p := range c.Providers {
		rules[p.Name] = engine.ProviderRules{Manages: len(p.RoleMapping) > 0, ApplianceRoles: p.ApplianceRoles}
	}
	return rules
}

// openSignIn makes the identity providers. Their cookies are sealed under a key that all nodes of the cluster derive alike.
func (n *node) openSignIn(ctx context.Context) error {
	if len(n.config.SignIn.Providers) == 0 {
		return nil
	}
	key, err := n.token.Expand(ctx, engine.PurposeInfo(engine.PurposeSession, n.identity.ClusterID), signin.KeyBytes)
	if err != nil {
		return err
	}
	s, err := n.config.SignIn.open(key, (*ProviderConfig).files)
	if err != nil {
		key.Destroy()
		return fmt.Errorf("identity providers: %w", err)
	}
	n.onClose(closer(func() error { key.Destroy(); return nil }))
	n.signIn = s
	return nil
}
