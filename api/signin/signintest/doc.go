// Package signintest gives tests real counterparts of package signin on loopback TLS: an OpenID provider (the one of
// zitadel/oidc, over a small storage), and a stand-in for GitHub that is as strict as GitHub about codes, PKCE, client
// secrets and scopes. Authorize goes through their login pages as a browser would.
//
// Provider.Edit changes ID tokens on their way out and signs them as told, for tests that attack.
package signintest
