package api

import (
	"net/http"
	"strings"
	"time"

	"cryptoserve/api/auth"
	"cryptoserve/engine/policy"
)

// sessionCookie holds the token of a browser's session. The prefix makes browsers refuse one that another host or plain HTTP
// set (RFC 6265bis section 4.1.3.2).
const sessionCookie = "__Host-session"

// setSession gives the browser a session, or takes it away when the token is empty.
func (x *exchange) setSession(token string, expires time.Time) {
	seconds := -1
	if token != "" {
		seconds = max(int(time.Until(expires)/time.Second), 1)
	}
	http.SetCookie(x.w, &http.Cookie{
		Name: sessionCookie, Value: token, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// authenticateBrowser returns the user whose session the browser's cookie is. It holds for what a page of this node asks for: a
// page of another site makes the browser send the cookie too.
func (x *exchange) authenticateBrowser() (*policy.Subject, error) {
	cookies := x.r.CookiesNamed(sessionCookie)
	if len(cookies) != 1 || !strings.HasPrefix(cookies[0].Value, auth.SessionPrefix) {
		return x.server.config.Auth.Authenticate("")
	}
	subject, err := x.server.config.Auth.Authenticate("Bearer " + cookies[0].Value)
	if err != nil {
		return nil, err
	}
	return subject, x.sameOrigin()
}

// sameOrigin refuses a request that changes something and that a browser sends for a page of another site. Programs send neither
// Sec-Fetch-Site nor Origin, and pass.
func (x *exchange) sameOrigin() error {
	if x.server.origins.Check(x.r) != nil {
		return errCrossOrigin
	}
	return nil
}
