package signintest

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// GitHubUser is an account of the stand-in.
type GitHubUser struct {
	ID                    int64
	Login, Password, Name string
	Emails                []GitHubEmail
	Organisations         []string
}

// GitHubEmail is one address of an account.
type GitHubEmail struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// GitHub is a stand-in for github.com with one OAuth app: GitHub's addresses, forms, errors and pages. Goroutines share it.
type GitHub struct {
	URL   string // "/login/oauth/authorize" and "/login/oauth/access_token" are below it
	API   string // "/user" is below it
	CA    *x509.CertPool
	CAPEM []byte
	// ClientID and ClientSecret are the OAuth app's.
	ClientID, ClientSecret string

	server *httptest.Server

	mu        sync.Mutex
	callback  string
	users     map[string]GitHubUser
	codes     map[string]grant
	tokens    map[string]grant
	exchanges int
}

// grant is what a user gave to the app.
type grant struct {
	user      string
	scopes    []string
	challenge string
	redirect  string
}

// NewGitHub starts a stand-in that knows nobody. It ends with the test.
func NewGitHub(tb testing.TB) *GitHub {
	tb.Helper()
	g := &GitHub{
		ClientID: "Iv1." + random()[:16], ClientSecret: random(),
		users: map[string]GitHubUser{}, codes: map[string]grant{}, tokens: map[string]grant{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", g.authorize)
	mux.HandleFunc("POST /session", g.session)
	mux.HandleFunc("POST /login/oauth/access_token", g.accessToken)
	mux.HandleFunc("GET /api/v3/user", g.api("", func(u GitHubUser) any {
		return map[string]any{"id": u.ID, "login": u.Login, "name": nullable(u.Name), "email": nil, "type": "User"}
	}))
	mux.HandleFunc("GET /api/v3/user/emails", g.api("user:email", func(u GitHubUser) any { return u.Emails }))
	mux.HandleFunc("GET /api/v3/user/orgs", g.api("read:org", func(u GitHubUser) any {
		all := make([]map[string]any, 0, len(u.Organisations))
		for i, login := range u.Organisations {
			all = append(all, map[string]any{"id": i + 1, "login": login})
		}
		return all
	}))
	g.server = httptest.NewTLSServer(mux)
	tb.Cleanup(g.server.Close)
	g.URL, g.API, g.CAPEM = g.server.URL, g.server.URL+"/api/v3", certificate(g.server)
	g.CA = x509.NewCertPool()
	g.CA.AddCert(g.server.Certificate())
	return g
}

// AddUser makes an account, or changes it.
func (g *GitHub) AddUser(u GitHubUser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users[u.Login] = u
}

// AllowRedirect sets the app's callback URL. As at GitHub, an address below it is allowed too.
func (g *GitHub) AllowRedirect(callback string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.callback = callback
}

// Exchanges returns how many codes were traded for tokens.
func (g *GitHub) Exchanges() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.exchanges
}

// Stop makes the stand-in unreachable.
func (g *GitHub) Stop() { g.server.Close() }

// authorize shows the login page for a good request.
func (g *GitHub) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	g.mu.Lock()
	redirect := q.Get("redirect_uri")
	allowed := g.allows(redirect)
	g.mu.Unlock()
	switch {
	case q.Get("client_id") != g.ClientID:
		http.NotFound(w, r)
	case !allowed:
		http.Error(w, "the redirect_uri is not associated with this application", http.StatusBadRequest)
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256":
		http.Error(w, "the stand-in insists on PKCE with S256", http.StatusBadRequest)
	default:
		show(w, form{Action: "/session", Hidden: map[string]string{
			"redirect": redirect, "state": q.Get("state"), "scope": q.Get("scope"), "challenge": q.Get("code_challenge"),
		}})
	}
}

// allows reports whether a code may be sent to an address. The lock is held.
func (g *GitHub) allows(redirect string) bool {
	return g.callback != "" && (redirect == g.callback || strings.HasPrefix(redirect, strings.TrimSuffix(g.callback, "/")+"/"))
}

// session checks the password and gives a code.
func (g *GitHub) session(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(r.FormValue("redirect"))
	g.mu.Lock()
	defer g.mu.Unlock()
	u, known := g.users[r.FormValue("username")]
	if err != nil || !known || subtle.ConstantTimeCompare([]byte(u.Password), []byte(r.FormValue("password"))) != 1 {
		http.Error(w, "incorrect username or password", http.StatusForbidden)
		return
	}
	if !g.allows(r.FormValue("redirect")) {
		http.Error(w, "the redirect_uri is not associated with this application", http.StatusBadRequest)
		return
	}
	code := random()[:20]
	g.codes[code] = grant{
		user: u.Login, scopes: strings.Fields(r.FormValue("scope")), challenge: r.FormValue("challenge"),
		redirect: r.FormValue("redirect"),
	}
	query := target.Query()
	query.Set("code", code)
	query.Set("state", r.FormValue("state"))
	target.RawQuery = query.Encode()
	http.Redirect(w, r, target.String(), http.StatusFound) //nolint:gosec // G710: the app's own callback
}

// accessToken trades a code. GitHub answers errors with status 200, and everything as a form unless asked for JSON.
func (g *GitHub) accessToken(w http.ResponseWriter, r *http.Request) {
	answer := url.Values{}
	g.mu.Lock()
	given, known := g.codes[r.PostFormValue("code")]
	delete(g.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case r.PostFormValue("client_id") != g.ClientID,
		subtle.ConstantTimeCompare([]byte(r.PostFormValue("client_secret")), []byte(g.ClientSecret)) != 1:
		answer.Set("error", "incorrect_client_credentials")
	case !known, base64.RawURLEncoding.EncodeToString(sum[:]) != given.challenge:
		answer.Set("error", "bad_verification_code")
	case r.PostFormValue("redirect_uri") != given.redirect:
		answer.Set("error", "redirect_uri_mismatch")
	default:
		token := "gho_" + random()
		g.tokens[token] = given
		g.exchanges++
		answer.Set("access_token", token)
		answer.Set("token_type", "bearer")
		answer.Set("scope", strings.Join(given.scopes, ","))
	}
	g.mu.Unlock()
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		_, _ = w.Write([]byte(answer.Encode()))
		return
	}
	flat := map[string]string{}
	for name := range answer {
		flat[name] = answer.Get(name)
	}
	writeJSON(w, flat)
}

// api answers a resource to a token that has the scope, in pages when it is a list.
func (g *GitHub) api(scope string, resource func(GitHubUser) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		g.mu.Lock()
		given, known := g.tokens[token]
		u := g.users[given.user]
		g.mu.Unlock()
		switch {
		case r.UserAgent() == "":
			http.Error(w, "a User-Agent is required", http.StatusForbidden)
		case !known:
			http.Error(w, `{"message":"Bad credentials"}`, http.StatusUnauthorized)
		case scope != "" && !slices.Contains(given.scopes, scope):
			http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
		default:
			switch list := resource(u).(type) {
			case []GitHubEmail:
				writeJSON(w, part(list, r))
			case []map[string]any:
				writeJSON(w, part(list, r))
			default:
				writeJSON(w, list)
			}
		}
	}
}

// part is the page of a list that a request asks for: 30 entries unless it says otherwise, 100 at most.
func part[T any](list []T, r *http.Request) []T {
	size, err := strconv.Atoi(r.FormValue("per_page"))
	if err != nil || size < 1 {
		size = 30
	}
	size = min(size, 100)
	number, err := strconv.Atoi(r.FormValue("page"))
	if err != nil || number < 1 {
		number = 1
	}
	from := min((number-1)*size, len(list))
	return list[from:min(from+size, len(list)):len(list)]
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
