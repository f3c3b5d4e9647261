// Package signin lets a person prove who he is at an OpenID provider or at GitHub, and turns the proof into an Identity.
//
// It knows no users, sessions or routes: a handler calls Begin and sends the browser to the URL it gets, together with a
// cookie; the provider sends the browser back, and a second handler hands the query and the cookie to Finish. What an
// Identity may do here, and whether anybody knows it, is the caller's decision.
//
// The flow is the authorization code flow of OAuth 2.0 with PKCE, always S256 (RFC 6749 section 4.1, RFC 7636, RFC 9700),
// and OpenID Connect Core 1.0 section 3.1 on top of it where the provider speaks it. Each sign-in has a state, a nonce
// and a verifier of 256 random bits each. They travel in the cookie, sealed under a key that all nodes derive alike, so
// the browser may come back to any node. A state is good for ten minutes, for the provider it was made for, for the
// browser that holds the cookie, and for one use on a node; that a code works once in the world is the provider's duty.
//
// An e-mail address counts only when the provider says that it verified it; otherwise an Identity has none. Whatever is
// wrong with a sign-in, the caller reads the same words; the cause in the error's chain is for the auditor. No error holds
// anything that a browser or a provider wrote, but for the names in a certificate that is not good.
package signin
