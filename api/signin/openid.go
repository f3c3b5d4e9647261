package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// descriptionLifetime is how long a discovery document is used before it is read again.
	descriptionLifetime = time.Hour
	// descriptionRetry is how long an old one is kept when it could not be read again.
	descriptionRetry = time.Minute
)

// signingAlgorithms are those that an ID token may be signed with. HS256, which would make the client secret a signing key,
// and none are not among them (RFC 8725 sections 3.1 and 3.2).
var signingAlgorithms = []string{oidc.RS256, oidc.ES256, oidc.EdDSA}

// openID speaks OpenID Connect with one provider. Goroutines share it.
type openID struct {
	config   *ProviderConfig
	client   *http.Client
	now      func() time.Time
	loopback bool

	turn  chan struct{} // holds one value while somebody reads the discovery document
	known atomic.Pointer[dated]
}

type dated struct {
	*description
	until time.Time
}

// verifiers check ID tokens. strict decides. naming checks the signature alone, and only to tell the auditor what else
// strict found wrong.
type verifiers struct {
	strict, naming *oidc.IDTokenVerifier
}

func newOpenID(p *ProviderConfig, client *http.Client, c *Config) *openID {
	return &openID{config: p, client: client, now: c.Now, loopback: c.Loopback, turn: make(chan struct{}, 1)}
}

func (o *openID) httpClient() *http.Client { return o.client }

// describe returns what the discovery document says, from memory for descriptionLifetime. One caller reads it, the others
// wait. When it cannot be read again the old one stays good for a while.
func (o *openID) describe(ctx context.Context) (*description, error) {
	if k := o.known.Load(); k != nil && o.now().Before(k.until) {
		return k.description, nil
	}
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return nil, unavailable(CauseDiscovery, nil)
	}
	k := o.known.Load()
	if k != nil && o.now().Before(k.until) {
		return k.description, nil
	}
	d, err := o.discover(ctx)
	switch {
	case err == nil:
		o.known.Store(&dated{description: d, until: o.now().Add(descriptionLifetime)})
		return d, nil
	case k != nil:
		o.known.Store(&dated{description: k.description, until: o.now().Add(descriptionRetry)})
		return k.description, nil
	default:
		return nil, err
	}
}

// discover reads the discovery document (OpenID Connect Discovery 1.0 section 4). Its issuer must be the configured one to
// the letter, and its addresses https.
func (o *openID) discover(ctx context.Context) (*description, error) {
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, o.client), o.config.Issuer)
	if err != nil {
		var other *oidc.IssuerMismatchError
		if errors.As(err, &other) {
			return nil, unavailable(CauseIssuer, nil)
		}
		return nil, unavailable(CauseDiscovery, err)
	}
	var document struct {
		KeysURL    string   `json:"jwks_uri"`
		Methods    []string `json:"token_endpoint_auth_methods_supported"`
		SendIssuer bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := p.Claims(&document); err != nil {
		return nil, unavailable(CauseDiscovery, nil)
	}
	endpoint := p.Endpoint()
	for _, address := range []string{endpoint.AuthURL, endpoint.TokenURL, document.KeysURL} {
		if err := checkEndpoint(address, o.loopback); err != nil {
			return nil, unavailable(CauseDiscovery, nil)
		}
	}
	// Never by trial, which would send a code twice. Basic is the default of the standard.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if len(document.Methods) > 0 && !slices.Contains(document.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	keys := remoteKeys{oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), o.client), document.KeysURL)}
	return &description{
		endpoint: endpoint, issuers: []string{o.config.Issuer}, issuerRequired: document.SendIssuer,
		openid: &verifiers{
			strict: oidc.NewVerifier(o.config.Issuer, keys, &oidc.Config{
				ClientID: o.config.ClientID, SupportedSigningAlgs: signingAlgorithms, Now: o.now,
			}),
			naming: oidc.NewVerifier(o.config.Issuer, keys, &oidc.Config{
				SupportedSigningAlgs: signingAlgorithms, SkipClientIDCheck: true, SkipIssuerCheck: true, SkipExpiryCheck: true,
			}),
		},
	}, nil
}

// identify checks the ID token as OpenID Connect Core 1.0 section 3.1.3.7 asks, and reads the claims.
func (o *openID) identify(ctx context.Context, d *description, token *oauth2.Token, nonce string) (*person, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok || raw == "" {
		return nil, refused(CauseSignature)
	}
	id, err := d.openid.verify(ctx, raw, o.config)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return nil, refused(CauseNonce)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, refused(CauseClaims)
	}
	// The party that the token was issued to: it must be named when there are several audiences.
	if azp, named := claims["azp"]; named && azp != o.config.ClientID || !named && len(id.Audience) > 1 {
		return nil, refused(CauseAudience)
	}
	if o.config.Preset == Azure && claims["tid"] != o.config.TenantID {
		return nil, refused(CauseTenant)
	}
	found := &person{subject: id.Subject}
	if o.config.GroupsClaim != "" {
		found.groups = groupsIn(claims[o.config.GroupsClaim])
	}
	found.name, _ = claims["name"].(string)
	if found.name == "" {
		found.name, _ = claims["preferred_username"].(string)
	}
	if email, _ := claims["email"].(string); o.emailVerified(claims) {
		if _, plain := emailDomain(email); plain {
			found.email = email
		}
	}
	return found, nil
}

// emailVerified reports whether the provider vouches for the address: the boolean true and nothing like it. Azure has no
// email_verified and lets administrators of any tenant write any address; its xms_edov says that the owner of the domain
// was verified.
func (o *openID) emailVerified(claims map[string]any) bool {
	name := "email_verified"
	if o.config.Preset == Azure {
		name = "xms_edov"
	}
	return claims[name] == true
}

// groupsIn reads a claim that is a string or a list of them. Longer lists are cut: nobody gets more rights by that.
func groupsIn(claim any) []string {
	var groups []string
	add := func(v any) {
		if g, ok := v.(string); ok && g != "" && len(g) <= maxGroupBytes && len(groups) < maxGroups {
			groups = append(groups, g)
		}
	}
	if list, ok := claim.([]any); ok {
		for _, v := range list {
			add(v)
		}
	} else {
		add(claim)
	}
	return groups
}

// verify checks signature, issuer, audience and expiry.
func (v *verifiers) verify(ctx context.Context, raw string, p *ProviderConfig) (*oidc.IDToken, error) {
	var fetch error
	ctx = context.WithValue(ctx, fetchErrorKey{}, &fetch)
	id, err := v.strict.Verify(ctx, raw)
	if err == nil {
		return id, nil
	}
	if fetch != nil {
		return nil, unavailable(CauseKeys, fetch)
	}
	signed, badSignature := v.naming.Verify(ctx, raw)
	var expired *oidc.TokenExpiredError
	switch {
	case fetch != nil:
		return nil, unavailable(CauseKeys, fetch)
	case badSignature != nil:
		return nil, refused(CauseSignature)
	case signed.Issuer != p.Issuer:
		return nil, refused(CauseIssuer)
	case !slices.Contains(signed.Audience, p.ClientID):
		return nil, refused(CauseAudience)
	case errors.As(err, &expired):
		return nil, refused(CauseExpired)
	default:
		return nil, refused(CauseClaims)
	}
}

// fetchErrorKey is where remoteKeys leaves its error: the verifier keeps the text of it alone.
type fetchErrorKey struct{}

// remoteKeys is a provider's published keys. It tells keys that could not be fetched from a signature that is wrong.
type remoteKeys struct{ *oidc.RemoteKeySet }

// VerifySignature is for the verifiers.
func (k remoteKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, jwt)
	// The key set wraps what went wrong while fetching, and nothing else.
	if keep, ok := ctx.Value(fetchErrorKey{}).(*error); ok && errors.Unwrap(err) != nil {
		*keep = err
	}
	return payload, err
}
