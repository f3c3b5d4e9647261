package signin_test

import (
	"errors"
	"net/http"
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

// TestAuthorizationRequest looks at what the browser takes to the provider.
func TestAuthorizationRequest(t *testing.T) {
	n, p := corpNode(t, func(c *signin.ProviderConfig) { c.Scopes = []string{"groups", "email"} })
	seen := map[string]bool{}
	for range 2 {
		target, state, err := n.Begin(t.Context(), "corp", signin.BeginOptions{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		for name, want := range map[string]string{
			"response_type": "code", "client_id": p.ClientID, "redirect_uri": n.callback("corp"), "code_challenge_method": "S256",
			"scope": "openid profile email groups",
		} {
			if got := q.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if len(q.Get(name)) != 43 || seen[q.Get(name)] {
				t.Errorf("%s is not 256 fresh bits", name)
			}
			seen[q.Get(name)] = true
			if strings.Contains(state.Value(), q.Get(name)) {
				t.Errorf("the cookie shows the %s", name)
			}
		}
		if strings.Contains(target, p.ClientSecret) || q.Has("code_verifier") {
			t.Error("the browser is given a secret")
		}
	}
}

func TestCookie(t *testing.T) {
	n, _ := corpNode(t, nil)
	_, state, err := n.Begin(t.Context(), "corp", signin.BeginOptions{
		Redirect: "/" + strings.Repeat("r", signin.MaxRedirectBytes-1), Invitation: strings.Repeat(`"`, signin.MaxInvitationBytes),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := state.Cookie()
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge != 600 || c.Path != "/" || c.Domain != "" {
		t.Errorf("the cookie is %+v", c)
	}
	if got := len(c.String()); got > 4096 {
		t.Errorf("the largest cookie has %d bytes", got)
	}
	if gone := signin.ClearCookie(); gone.Name != c.Name || gone.MaxAge >= 0 || gone.Value != "" || gone.Path != c.Path {
		t.Errorf("the cookie is cleared by %+v", gone)
	}
}

// TestStates bends what a browser brings back.
func TestStates(t *testing.T) {
	p, corpConfig := corp(t)
	rival, rivalConfig := corp(t)
	rivalConfig.Name = "rival"
	n := newNode(t, corpConfig, rivalConfig)
	p.AllowRedirect(n.callback("corp"))
	rival.AllowRedirect(n.callback("rival"))
	strangers := n.config(corpConfig)
	strangers.Key = secret.Copy([]byte("another key of thirty-two bytes!"))
	other, err := signin.New(strangers)
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := other.Begin(t.Context(), "corp", signin.BeginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		bend  func(*attempt)
		at    string
		cause fault.Cause
	}{
		{"no cookie", func(a *attempt) { a.cookie = "" }, "corp", signin.CauseCookie},
		{"cookie under another key", func(a *attempt) { a.cookie = foreign.Value() }, "corp", signin.CauseCookie},
		{"cookie with a flipped bit", func(a *attempt) {
			b := []byte(a.cookie)
			b[len(b)/2] ^= 1
			a.cookie = string(b)
		}, "corp", signin.CauseCookie},
		{"cookie cut short", func(a *attempt) { a.cookie = a.cookie[:40] }, "corp", signin.CauseCookie},
		{"cookie too long", func(a *attempt) { a.cookie = strings.Repeat("A", 5000) }, "corp", signin.CauseCookie},
		{"cookie of another browser", func(a *attempt) { a.cookie = n.attempt(t, "corp", "ann").cookie }, "corp", signin.CauseState},
		{"no state", func(a *attempt) { a.query.Del("state") }, "corp", signin.CauseState},
		{"empty state", func(a *attempt) { a.query.Set("state", "") }, "corp", signin.CauseState},
		{"foreign state", func(a *attempt) { a.query.Set("state", n.attempt(t, "corp", "ann").query.Get("state")) },
			"corp", signin.CauseState},
		{"two states", func(a *attempt) { a.query.Add("state", "x") }, "corp", signin.CauseState},
		{"provider mixed up", func(*attempt) {}, "rival", signin.CauseProvider},
		{"unknown provider", func(*attempt) {}, "nobody", signin.CauseProvider},
		{"no code", func(a *attempt) { a.query.Del("code") }, "corp", signin.CauseCode},
		{"two codes", func(a *attempt) { a.query.Add("code", "x") }, "corp", signin.CauseCode},
		{"foreign code", func(a *attempt) { a.query.Set("code", n.attempt(t, "corp", "ann").query.Get("code")) },
			"corp", signin.CauseCode},
		{"invented code", func(a *attempt) { a.query.Set("code", "invented") }, "corp", signin.CauseCode},
		{"person said no", func(a *attempt) { a.query.Set("error", "access_denied") }, "corp", signin.CauseDenied},
		{"issuer of another", func(a *attempt) { a.query.Set("iss", rival.URL) }, "corp", signin.CauseIssuer},
		{"issuer of another on an error", func(a *attempt) {
			a.query = url.Values{"state": a.query["state"], "error": {"x"}, "iss": {rival.URL}}
		},
			"corp", signin.CauseIssuer},
		{"empty issuer", func(a *attempt) { a.query.Set("iss", "") }, "corp", signin.CauseIssuer},
		{"two issuers", func(a *attempt) { a.query["iss"] = []string{p.URL, rival.URL} }, "corp", signin.CauseIssuer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := n.attempt(t, "corp", "ann")
			tt.bend(&a)
			who, redirect, err := n.finish(t, tt.at, a)
			wantRefused(t, who, err, tt.cause, a)
			if redirect != "" {
				t.Errorf("a refusal sends the browser to %q", redirect)
			}
		})
	}
	t.Run("right issuer", func(t *testing.T) {
		a := n.attempt(t, "corp", "ann")
		a.query.Set("iss", p.URL)
		if _, _, err := n.finish(t, "corp", a); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("replayed", func(t *testing.T) {
		a := n.attempt(t, "corp", "ann")
		if _, _, err := n.finish(t, "corp", a); err != nil {
			t.Fatal(err)
		}
		who, _, err := n.finish(t, "corp", a)
		wantRefused(t, who, err, signin.CauseReplay, a)
	})
	t.Run("code replayed on a node that has not seen it", func(t *testing.T) {
		a := n.attempt(t, "corp", "ann")
		if _, _, err := n.finish(t, "corp", a); err != nil {
			t.Fatal(err)
		}
		second, err := signin.New(n.config(corpConfig))
		if err != nil {
			t.Fatal(err)
		}
		who, _, err := second.Finish(t.Context(), "corp", a.query, a.cookie)
		wantRefused(t, who, err, signin.CauseCode, a)
	})
	t.Run("second node finishes what the first began", func(t *testing.T) {
		second, err := signin.New(n.config(corpConfig))
		if err != nil {
			t.Fatal(err)
		}
		a := n.attempt(t, "corp", "ann")
		who, redirect, err := second.Finish(t.Context(), "corp", a.query, a.cookie)
		if err != nil || who.Subject != "ann" || redirect != "/console" {
			t.Fatalf("%+v, %q, %v", who, redirect, err)
		}
	})
}

// TestBrowserWithoutTheCookie sends a good callback to another person's browser: login CSRF.
func TestBrowserWithoutTheCookie(t *testing.T) {
	n, _ := corpNode(t, nil)
	callback := signintest.Authorize(t, n.browser, n.begin(t, n.browser, "/login/corp"), "ann", password)
	victim := n.newBrowser(t)
	if _, cause := n.arrive(t, victim, callback); cause != string(signin.CauseCookie) {
		t.Errorf("a browser without a cookie: %q", cause)
	}
	n.begin(t, victim, "/login/corp")
	if _, cause := n.arrive(t, victim, callback); cause != string(signin.CauseState) {
		t.Errorf("a browser with its own cookie: %q", cause)
	}
	if _, cause := n.arrive(t, n.browser, callback); cause != "" {
		t.Errorf("the browser that began: %q", cause)
	}
	if _, cause := n.arrive(t, n.browser, callback); cause != string(signin.CauseCookie) {
		t.Errorf("the same browser again, its cookie cleared: %q", cause)
	}
}

func TestStateExpires(t *testing.T) {
	tests := []struct {
		name  string
		moved time.Duration
		cause fault.Cause
	}{
		{"nearly ten minutes", signin.StateLifetime - time.Minute, ""},
		{"ten minutes", signin.StateLifetime + time.Second, signin.CauseExpired},
		{"begun on a node that is a little ahead", -signin.MaxSkew / 2, ""},
		{"begun in the future", -2 * signin.MaxSkew, signin.CauseExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, p := corpNode(t, nil)
			p.Edit(func(i *signintest.IDToken) { i.Claims["exp"] = time.Now().Add(time.Hour).Unix() })
			a := n.attempt(t, "corp", "ann")
			n.clock.move(tt.moved)
			who, _, err := n.finish(t, "corp", a)
			if tt.cause != "" {
				wantRefused(t, who, err, tt.cause, a)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestIssuerPromised refuses an answer without "iss" from a provider that says it sends one.
func TestIssuerPromised(t *testing.T) {
	n, p := corpNode(t, nil)
	p.EditDiscovery(func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true })
	a := n.attempt(t, "corp", "ann")
	who, _, err := n.finish(t, "corp", a)
	wantRefused(t, who, err, signin.CauseIssuer, a)
	a = n.attempt(t, "corp", "ann")
	a.query.Set("iss", p.URL)
	if _, _, err := n.finish(t, "corp", a); err != nil {
		t.Fatal(err)
	}
}

// TestWrongSecret shows that the provider's refusal of the client is told from that of a code.
func TestWrongSecret(t *testing.T) {
	n, _ := corpNode(t, func(c *signin.ProviderConfig) { c.ClientSecret = secret.Copy([]byte("wrong")) })
	a := n.attempt(t, "corp", "ann")
	who, _, err := n.finish(t, "corp", a)
	wantRefused(t, who, err, signin.CauseClient, a)
}

// TestOneStateOneUse races many callbacks with one state: one of them wins.
func TestOneStateOneUse(t *testing.T) {
	n, _ := corpNode(t, nil)
	a := n.attempt(t, "corp", "ann")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, _, errs[i] = n.finish(t, "corp", a) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if fault.CauseOf(err) != signin.CauseReplay {
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d callbacks won", won)
	}
}

// TestUsedStatesAreBounded fills the memory: no used state is forgotten before it expires, and none after.
func TestUsedStatesAreBounded(t *testing.T) {
	p, c := corp(t)
	n := newNode(t, c)
	p.AllowRedirect(n.callback("corp"))
	config := n.config(c)
	config.UsedStates = 2
	s, err := signin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	n.SignIn = s
	p.Edit(func(i *signintest.IDToken) { i.Claims["exp"] = time.Now().Add(time.Hour).Unix() })
	first := n.attempt(t, "corp", "ann")
	for _, a := range []attempt{first, n.attempt(t, "corp", "ann")} {
		if _, _, err := n.finish(t, "corp", a); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = n.finish(t, "corp", n.attempt(t, "corp", "ann"))
	if !errors.Is(err, fault.RateLimited) || fault.CauseOf(err) != signin.CauseFull {
		t.Errorf("a third sign-in: %v", err)
	}
	who, _, err := n.finish(t, "corp", first)
	wantRefused(t, who, err, signin.CauseReplay, first)
	n.clock.move(signin.StateLifetime + signin.MaxSkew + time.Second)
	if _, _, err := n.finish(t, "corp", n.attempt(t, "corp", "ann")); err != nil {
		t.Errorf("a sign-in after the others expired: %v", err)
	}
}

// TestRedirects carries each target through a whole sign-in's cookie.
func TestRedirects(t *testing.T) {
	n, _ := corpNode(t, nil)
	tests := []struct{ target, want string }{
		{"/", "/"},
		{"/console", "/console"},
		{"/console/", "/console/"},
		{"/console/keys?context=a%20b&next=https://x.example//y#top", "/console/keys?context=a%20b&next=https://x.example//y#top"},
		{"/a%C3%A4", "/a%C3%A4"},
		{"/" + strings.Repeat("a", 511), "/" + strings.Repeat("a", 511)},
		{"", "/"},
		{"console", "/"},
		{"?a=b", "/"},
		{"//evil.example", "/"},
		{"///evil.example", "/"},
		{"/\\evil.example", "/"},
		{"\\\\evil.example", "/"},
		{"/%5cevil.example", "/"},
		{"/%2f/evil.example", "/"},
		{"/%2Fevil.example", "/"},
		{"/console//evil.example", "/"},
		{"/..//evil.example", "/"},
		{"/console/../..", "/"},
		{"/%2e%2e/x", "/"},
		{"https://evil.example/", "/"},
		{"HTTPS:evil.example", "/"},
		{"https:/evil.example", "/"},
		{"javascript:alert(1)", "/"},
		{"data:text/html,x", "/"},
		{" /console", "/"},
		{"/console ", "/"},
		{"/\t/evil.example", "/"},
		{"/\n/evil.example", "/"},
		{"/console\r\nLocation: https://evil.example", "/"},
		{"/console%0d%0aLocation:x", "/"},
		{"/console\x00", "/"},
		{"/%00", "/"},
		{"/console\x7f", "/"},
		{"/\u2215evil.example", "/"},
		{"/\xff", "/"},
		{"/%zz", "/"},
		{"@evil.example", "/"},
		{"/" + strings.Repeat("a", 512), "/"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			target, state, err := n.Begin(t.Context(), "corp", signin.BeginOptions{Redirect: tt.target})
			if err != nil {
				t.Fatal(err)
			}
			callback := signintest.Authorize(t, n.newBrowser(t), target, "ann", password)
			_, got, err := n.Finish(t.Context(), "corp", callback.Query(), state.Value())
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("the browser goes to %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBeginRefuses(t *testing.T) {
	n, _ := corpNode(t, nil)
	if _, _, err := n.Begin(t.Context(), "nobody", signin.BeginOptions{}); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown provider: %v", err)
	}
	for _, invitation := range []string{strings.Repeat("i", signin.MaxInvitationBytes+1), "line\nbreak", "\u00e4"} {
		if _, _, err := n.Begin(t.Context(), "corp", signin.BeginOptions{Invitation: invitation}); !errors.Is(err, fault.Malformed) {
			t.Errorf("the invitation %.20q: %v", invitation, err)
		}
	}
}
