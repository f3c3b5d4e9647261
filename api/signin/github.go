package signin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/oauth2"
)

const (
	githubPage     = 100 // the most that GitHub gives
	githubPages    = 10
	githubVersion  = "2022-11-28"
	githubAccept   = "application/vnd.github+json"
	githubOAuthISS = "/login/oauth"
)

// gitHub speaks GitHub's OAuth 2.0, which has no ID tokens: who the person is, the API tells. Goroutines share it.
type gitHub struct {
	config *ProviderConfig
	client *http.Client
}

func newGitHub(p *ProviderConfig, client *http.Client) *gitHub {
	return &gitHub{config: p, client: client}
}

func (g *gitHub) httpClient() *http.Client { return g.client }

// organisations reports whether it matters which organisations a person belongs to.
func (g *gitHub) organisations() bool {
	return len(g.config.GitHubOrganisations) > 0 || len(g.config.RoleMapping) > 0
}

func (g *gitHub) scopes() []string {
	scopes := []string{"read:user", "user:email"}
	if g.organisations() {
		scopes = append(scopes, "read:org")
	}
	return scopes
}

func (g *gitHub) describe(context.Context) (*description, error) {
	return &description{
		endpoint: oauth2.Endpoint{
			AuthURL: g.config.GitHubEndpoints.Authorize, TokenURL: g.config.GitHubEndpoints.Token, AuthStyle: oauth2.AuthStyleInParams,
		},
		// GitHub's authorization server metadata (RFC 8414) has the longer one.
		issuers: []string{g.config.Issuer, g.config.Issuer + githubOAuthISS},
	}, nil
}

// identify asks the API. The subject is the numeric id: a login name can be given up and taken by somebody else.
func (g *gitHub) identify(ctx context.Context, _ *description, token *oauth2.Token, _ string) (*person, error) {
	var user struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	if err := g.get(ctx, token, "/user", &user); err != nil {
		return nil, err
	}
	if user.ID <= 0 {
		return nil, refused(CauseClaims)
	}
	found := &person{subject: strconv.FormatInt(user.ID, 10), name: user.Name}
	if found.name == "" {
		found.name = user.Login
	}
	type address struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	addresses, err := pages[address](ctx, g, token, "/user/emails")
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if _, plain := emailDomain(a.Email); plain && a.Primary && a.Verified {
			found.email = a.Email
			break
		}
	}
	if !g.organisations() {
		return found, nil
	}
	type organisation struct {
		Login string `json:"login"`
	}
	all, err := pages[organisation](ctx, g, token, "/user/orgs")
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		found.groups = append(found.groups, lower(o.Login))
	}
	slices.Sort(found.groups)
	return found, nil
}

// pages reads a list of the API to its end, or to githubPages pages.
func pages[T any](ctx context.Context, g *gitHub, token *oauth2.Token, path string) ([]T, error) {
	var all []T
	for n := 1; n <= githubPages; n++ {
		var page []T
		query := url.Values{"per_page": {strconv.Itoa(githubPage)}, "page": {strconv.Itoa(n)}}
		if err := g.get(ctx, token, path+"?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < githubPage {
			break
		}
	}
	return all, nil
}

// get reads one resource of the API into v.
func (g *gitHub) get(ctx context.Context, token *oauth2.Token, path string, v any) error {
	if !strings.EqualFold(token.TokenType, "bearer") {
		return refused(CauseProfile)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.config.GitHubEndpoints.API+path, nil)
	if err != nil {
		return unavailable(CauseProfile, nil)
	}
	r.Header.Set("Accept", githubAccept)
	r.Header.Set("Authorization", "Bearer "+token.AccessToken)
	r.Header.Set("User-Agent", "cryptoserve")
	r.Header.Set("X-Github-Api-Version", githubVersion)
	resp, err := g.client.Do(r)
	if err != nil {
		return unavailable(CauseProfile, err)
	}
	defer drain(resp.Body)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusNotFound: // a token without the scope gets the latter
		return refused(CauseProfile)
	default:
		return unavailable(CauseProfile, nil)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return unavailable(CauseProfile, nil)
	}
	return nil
}
