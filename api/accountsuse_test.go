package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"cryptoserve/api"
	"cryptoserve/api/auth"
	"cryptoserve/api/signin"
	"cryptoserve/api/signin/signintest"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

const loginBody = `{"tenant":"t","username":"alice","password":"pässword"}`

// browser makes a request as one that has a session: with its cookie, and without a token.
func browser(token string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Header.Set("Cookie", "__Host-session="+token)
	}
}

func anonymously(r *http.Request) { r.Header.Del("Authorization") }

// sessionOf returns the session cookie of an answer.
func sessionOf(t *testing.T, a answer) *http.Cookie {
	t.Helper()
	for _, c := range a.Cookies() {
		if c.Name == "__Host-session" {
			return c
		}
	}
	t.Fatalf("no session cookie: %v", a.Header)
	return nil
}

// TestLoginMakesANewSession, whatever the request brings: a token that somebody planted in the browser stays what it was.
func TestLoginMakesANewSession(t *testing.T) {
	f := newFixture(t)
	planted, _ := auth.NewSessionToken()
	seen := map[string]bool{planted: true}
	for range 3 {
		a := f.do(t, "POST", "/api/v1/auth/login", loginBody, browser(planted))
		var s wire.SessionResponse
		if err := json.Unmarshal(a.body, &s); err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %s", a.Status, a.body)
		}
		c := sessionOf(t, a)
		hash, ok := auth.HashSession(s.Token)
		if seen[s.Token] || !ok || hash != f.engine.issued[len(f.engine.issued)-1] || c.Value != s.Token {
			t.Errorf("the token is not new, or not the cookie's")
		}
		seen[s.Token] = true
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("the cookie is %s", strings.Replace(c.String(), s.Token, "TOKEN", 1))
		}
		if s.User.ID != "user_1" || s.ExpiresAt != newYearText("07") {
			t.Errorf("answered %+v of %s", s.User, s.ExpiresAt)
		}
		got := f.engine.got.(engine.LoginRequest)
		if got.Tenant != "t" || got.Name != "alice" || string(got.Password) != "pässword" {
			t.Errorf("the engine was asked for %s in %s", got.Name, got.Tenant)
		}
	}
	if strings.Contains(f.log.String(), "pässword") {
		t.Error("the password is in the log")
	}
}

// TestCookie: it is a credential where there is no Authorization header, for this site's pages.
func TestCookie(t *testing.T) {
	f := newFixture(t)
	token, hash := auth.NewSessionToken()
	f.engine.sessions[hash] = &policy.Subject{Kind: policy.KindUser, ID: "user-1", Expires: farFuture}
	with := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	both := func(list ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			for _, edit := range list {
				edit(r)
			}
		}
	}
	b := browser(token)
	other, _ := auth.NewSessionToken()
	const read, write = "/api/v1/session", "/api/v1/users/user_1/disable"
	for name, tt := range map[string]struct {
		method, path string
		edit         func(*http.Request)
		status       int
	}{
		"read":                            {"GET", read, b, 200},
		"read for another site's page":    {"GET", read, both(b, with("Sec-Fetch-Site", "cross-site")), 200},
		"write":                           {"POST", write, b, 200},
		"write for this site's page":      {"POST", write, both(b, with("Sec-Fetch-Site", "same-origin"), with("Origin", f.url)), 200},
		"write for another site's page":   {"POST", write, both(b, with("Sec-Fetch-Site", "cross-site"), with("Origin", "https://evil.example.org")), 403},
		"write for a page of a neighbour": {"POST", write, both(b, with("Sec-Fetch-Site", "same-site")), 403},
		"write with another origin":       {"POST", write, both(b, with("Origin", "https://evil.example.org")), 403},
		"write with the origin null":      {"POST", write, both(b, with("Origin", "null")), 403},
		"delete for another site's page":  {"DELETE", "/api/v1/users/user_1", both(b, with("Sec-Fetch-Site", "cross-site")), 403},
		"put for another site's page":     {"PUT", "/api/v1/account/password", both(b, with("Sec-Fetch-Site", "cross-site")), 403},
		"with a token, from anywhere":     {"POST", write, both(with("Authorization", "Bearer "+token), with("Origin", "https://evil.example.org")), 200},
		"unknown session":                 {"GET", read, browser(other), 401},
		"two cookies":                     {"GET", read, browser(token + "; __Host-session=" + other), 401},
		"an access token as a cookie":     {"GET", read, browser(f.token), 401},
		"another cookie":                  {"GET", read, func(r *http.Request) { r.Header.Del("Authorization"); r.Header.Set("Cookie", "session="+token) }, 401},
		"a bad header beside the cookie":  {"GET", read, both(b, with("Authorization", "Bearer x")), 401},
	} {
		t.Run(name, func(t *testing.T) {
			before := f.engine.reached()
			a := f.do(t, tt.method, tt.path, "", tt.edit)
			if a.StatusCode != tt.status || (f.engine.reached() != before) != (tt.status == 200) {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			if tt.status == 403 {
				if r := f.engine.lastRefusal(t); r.code != "forbidden" || r.subject != "user-1" {
					t.Errorf("recorded %+v", r)
				}
			}
		})
	}
	a := f.do(t, "POST", "/api/v1/auth/logout", "", b)
	if c := sessionOf(t, a); c.MaxAge >= 0 || c.Value != "" {
		t.Errorf("logout leaves the cookie %s", c.Name)
	}
}

// TestLoginOfAnotherSite: a page of another site must not sign its visitor in as somebody else.
func TestLoginOfAnotherSite(t *testing.T) {
	f := newFixture(t)
	code, _ := auth.NewInviteCode()
	for path, body := range map[string]string{
		"/api/v1/auth/login": loginBody, "/api/v1/auth/invitations/accept": `{"code":"` + code + `","name":"n","password":"p"}`,
	} {
		a := f.do(t, "POST", path, body, anonymously, func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		})
		if a.StatusCode != http.StatusForbidden || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %s, %v", path, a.Status, a.Header["Set-Cookie"])
		}
	}
}

// TestRetryAfter rounds up, and a refusal that is only counted has no record.
func TestRetryAfter(t *testing.T) {
	f := newFixture(t)
	for wait, want := range map[time.Duration]string{
		0: "1", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90", 5*time.Minute - 1: "300",
	} {
		f.engine.failure = &fault.Error{Kind: fault.RateLimited, Op: "test", Detail: "d", RetryAfter: wait}
		a := f.do(t, "POST", "/api/v1/auth/login", loginBody, anonymously)
		if a.StatusCode != 429 || a.Header.Get("Retry-After") != want || a.problem(t).Code != "rate-limited" {
			t.Errorf("%v: %s, Retry-After %q", wait, a.Status, a.Header.Get("Retry-After"))
		}
	}
	f.engine.failure = fault.New(fault.RateLimited, "test", "d")
	f.engine.before = func(c *engine.Call) { c.Receipt.Sequence, c.Counted = 0, true }
	refused := len(f.engine.refusals)
	a := f.do(t, "POST", "/api/v1/auth/login", loginBody, anonymously)
	if a.StatusCode != 429 || a.Header.Get("Audit-Receipt") != "" || len(f.engine.refusals) != refused {
		t.Errorf("%s, receipt %q, %d refusals recorded", a.Status, a.Header.Get("Audit-Receipt"), len(f.engine.refusals)-refused)
	}
}

// TestDeviceProblems gives each stage of a sign-in its code.
func TestDeviceProblems(t *testing.T) {
	f := newFixture(t)
	code, hash := auth.NewDeviceCode()
	ask := func(code string) answer {
		return f.do(t, "POST", "/api/v1/auth/device/token", `{"device_code":"`+code+`"}`, anonymously)
	}
	for want, tt := range map[string]struct {
		err    error
		status int
		retry  string
	}{
		"authorization-pending": {engine.ErrDevicePending, 400, ""},
		"slow-down":             {engine.ErrDeviceSlowDown, 429, "5"},
		"expired":               {engine.ErrDeviceExpired, 400, ""},
		"access-denied":         {engine.ErrDeviceDenied, 403, ""},
	} {
		f.engine.failure = tt.err
		a := ask(code)
		if p := a.problem(t); a.StatusCode != tt.status || p.Code != want || a.Header.Get("Retry-After") != tt.retry {
			t.Errorf("%s: %s: %s", want, a.Status, a.body)
		}
	}
	f.engine.failure = nil
	if a := ask("cs_device_x"); a.problem(t).Code != "expired" {
		t.Errorf("no code at all: %s", a.body)
	}
	a := ask(code)
	if a.StatusCode != 200 || f.engine.got != hash || len(a.Cookies()) != 0 {
		t.Errorf("%s: asked for %v", a.Status, f.engine.got)
	}
	a = f.do(t, "POST", "/api/v1/auth/device", `{"client":"c"}`, anonymously)
	var d wire.DeviceResponse
	if err := json.Unmarshal(a.body, &d); err != nil {
		t.Fatal(err)
	}
	if _, ok := auth.HashDevice(d.DeviceCode); !ok || d.UserCode != "BCDF-GHJK" || d.Interval != 5 || d.ExpiresIn != 600 ||
		d.VerificationURI != f.url+"/device" || f.engine.got != "c" {
		t.Errorf("answered %s until %d at %s", d.UserCode, d.ExpiresIn, d.VerificationURI)
	}
}

// TestCodesAreShownOnce looks at what else holds the code of an invitation: nothing.
func TestCodesAreShownOnce(t *testing.T) {
	f := newFixture(t)
	a := f.do(t, "POST", "/api/v1/invitations", `{"email":"bob@example.org","roles":["viewer"]}`)
	var i wire.InvitationResponse
	if err := json.Unmarshal(a.body, &i); err != nil {
		t.Fatal(err)
	}
	if _, ok := auth.HashInvite(i.Code); !ok || i.ID != "invitation_1" || a.Header.Get("Location") != "/api/v1/invitations/invitation_1" {
		t.Errorf("%s: %d bytes of code", a.Status, len(i.Code))
	}
	if list := f.do(t, "GET", "/api/v1/invitations", ""); strings.Contains(string(list.body), "cs_invite_") {
		t.Error("the list shows a code")
	}
	a = f.do(t, "POST", "/api/v1/auth/invitations/accept", `{"code":"`+i.Code+`x","name":"n","password":"p"}`, anonymously)
	if a.StatusCode != 401 || strings.Contains(string(a.body)+f.log.String(), i.Code) {
		t.Errorf("%s: %d bytes", a.Status, len(a.body))
	}
	for _, bad := range []string{"?invitation=x", "?redirect=/a&redirect=/b", "?other=1", "?redirect=%zz"} {
		if a := f.do(t, "GET", "/auth/login/corp"+bad, ""); a.StatusCode != 400 {
			t.Errorf("%s: %s", bad, a.Status)
		}
	}
}

// hub is a server whose people come from GitHub, or what stands for it.
func hub(t *testing.T) (*fixture, *signintest.GitHub, *http.Client) {
	t.Helper()
	g := signintest.NewGitHub(t)
	g.AddUser(signintest.GitHubUser{ID: 7, Login: "alice", Password: "x", Name: "Alice", Emails: []signintest.GitHubEmail{{Email: "a@example.org", Primary: true, Verified: true}}})
	f := newFixture(t, func(c *api.Config) {
		s, err := signin.New(signin.Config{
			Key: secret.New(make([]byte, signin.KeyBytes)), Loopback: true, Callback: func(p string) string { return "https://node.example.org" + api.CallbackPath + p },
			Providers: []signin.ProviderConfig{{
				Name: "hub", Preset: signin.GitHub, ClientID: g.ClientID, ClientSecret: secret.New([]byte(g.ClientSecret)), Tenant: "default",
				DefaultRoles: []string{"viewer"}, RootCAs: g.CA,
				GitHubEndpoints: signin.GitHubEndpoints{
					Authorize: g.URL + "/login/oauth/authorize", Token: g.URL + "/login/oauth/access_token", API: g.API,
				},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.SignIn, c.Rules = s, map[string]engine.ProviderRules{"hub": {ApplianceRoles: true}}
	})
	g.AllowRedirect("https://node.example.org" + api.CallbackPath + "hub")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = g.CA
	t.Cleanup(transport.CloseIdleConnections)
	return f, g, &http.Client{Transport: transport, Jar: jar}
}

// comeBack goes to the provider and returns what the browser brings back: the path with its query, and the cookie.
func comeBack(t *testing.T, f *fixture, g *http.Client, query string) (path, cookie string) {
	t.Helper()
	begun := f.do(t, "GET", "/auth/login/hub"+query, "", anonymously)
	if begun.StatusCode != http.StatusFound {
		t.Fatalf("%s: %s", begun.Status, begun.body)
	}
	back := signintest.Authorize(t, g, begun.Header.Get("Location"), "alice", "x")
	for _, c := range begun.Cookies() {
		if c.Name == signin.CookieName {
			cookie = c.Value
		}
	}
	return back.RequestURI(), cookie
}

// TestSignInAtAProvider walks the whole way, and then the ways that are none.
func TestSignInAtAProvider(t *testing.T) {
	f, _, g := hub(t)
	finish := func(path, cookie string) answer {
		return f.do(t, "GET", path, "", anonymously, func(r *http.Request) {
			if cookie != "" {
				r.Header.Set("Cookie", signin.CookieName+"="+cookie)
			}
		})
	}
	code, hash := auth.NewInviteCode()
	path, cookie := comeBack(t, f, g, "?redirect="+url.QueryEscape("/keys?a=b")+"&invitation="+code)
	a := finish(path, cookie)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/keys?a=b" {
		t.Fatalf("%s to %q: %s", a.Status, a.Header.Get("Location"), a.body)
	}
	who := f.engine.got.(engine.Identity)
	if who.Subject != "7" || who.Email != "a@example.org" || who.Provider != "hub" || who.Tenant != "default" || len(who.Roles) != 1 ||
		!who.Rules.ApplianceRoles || who.Invitation == nil || *who.Invitation != hash {
		t.Errorf("the engine was told %+v", who)
	}
	if got, ok := auth.HashSession(sessionOf(t, a).Value); !ok || got != f.engine.issued[0] {
		t.Error("the cookie is not the session")
	}
	gone := false
	for _, c := range a.Cookies() {
		gone = gone || c.Name == signin.CookieName && c.MaxAge < 0
	}
	if !gone {
		t.Error("the state's cookie stays")
	}
	refused := func(what, path, cookie, cause string) {
		t.Helper()
		reached := f.engine.reached()
		a := finish(path, cookie)
		if a.StatusCode != http.StatusUnauthorized || f.engine.reached() != reached || strings.Contains(a.Header.Get("Set-Cookie"), "__Host-session") {
			t.Errorf("%s: %s: %s", what, a.Status, a.body)
		}
		if r := f.engine.lastRefusal(t); r.action != policy.FinishSignIn || r.cause != cause {
			t.Errorf("%s: recorded %+v", what, r)
		}
	}
	refused("replayed", path, cookie, "replay")
	path, cookie = comeBack(t, f, g, "")
	_, foreign := comeBack(t, f, g, "")
	refused("without the cookie", path, "", "cookie")
	refused("with the cookie of another browser", path, foreign, "state")
	refused("without the state", strings.Split(path, "?")[0]+"?code=x", cookie, "state")
	refused("at another provider", strings.Replace(path, "/hub", "/other", 1), cookie, "provider")
	if a := finish(path, cookie); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the attempts before used it up: %s: %s", a.Status, a.body)
	}
	for _, elsewhere := range []string{"//evil.example.org", "https://evil.example.org/", `/\evil.example.org`, "/%2fevil.example.org/", "javascript:alert(1)", "/a\r\nb"} {
		path, cookie = comeBack(t, f, g, "?redirect="+url.QueryEscape(elsewhere))
		if a := finish(path, cookie); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" {
			t.Errorf("%q leads to %q: %s", elsewhere, a.Header.Get("Location"), a.Status)
		}
	}
	if a := f.do(t, "GET", "/auth/login/nobody", "", anonymously); a.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown provider: %s", a.Status)
	}
}

// TestWithoutProviders: a node without any says so.
func TestWithoutProviders(t *testing.T) {
	f := newFixture(t, func(c *api.Config) { c.SignIn = nil })
	if a := f.do(t, "GET", "/api/v1/auth/providers", "", anonymously); string(a.body) != `{"providers":[]}` {
		t.Errorf("%s", a.body)
	}
	for path, status := range map[string]int{"/auth/login/x": 404, "/auth/callback/x?code=a": 401} {
		if a := f.do(t, "GET", path, "", anonymously); a.StatusCode != status {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
}
