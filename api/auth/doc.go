// Package auth turns the credential of a request into a subject, and makes the tokens of applications.
//
// There are four credentials. An application's access token is a JWT signed with EdDSA (Ed25519, RFC 8037) by the
// application's own key, good for an hour. Its refresh token is a JWT with HMAC-SHA-256 under a key derived from the
// master key, good for 30 days and for one use. A user's session token is 32 random bytes. An
// application may sign its access tokens itself, or be known by the key of a client certificate instead.
//
// The Verifier follows RFC 8725: one algorithm for each kind of token and never the one the token asks for; the key comes
// from the record that the subject claim names, never from the token; issuer, audience, type, tenant, key id and times are
// all required; a header member that is not understood is refused, and so is a member that appears twice. Whatever is
// wrong, the caller reads the same words.
//
// A subject is proof of identity only. What it may do is decided by package engine from the current records, on each
// operation; so a token that was verified once may be remembered until it expires.
package auth
