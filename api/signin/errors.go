package signin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"cryptoserve/engine/fault"
)

// Detail is all that a person learns of a sign-in that was refused.
const Detail = "the sign-in failed; begin it again"

const detailUnavailable = "the sign-in provider cannot be reached"

const op = "signin"

// Why a sign-in was refused, for the auditor.
const (
	CauseCookie       fault.Cause = "cookie"       // no cookie, or none of ours
	CauseState        fault.Cause = "state"        // no state, or that of another browser
	CauseExpired      fault.Cause = "expired"      // the state or the ID token is too old
	CauseReplay       fault.Cause = "replay"       // the state was used before
	CauseProvider     fault.Cause = "provider"     // unknown, or not the one the sign-in began with
	CauseIssuer       fault.Cause = "issuer"       // the answer, the ID token or the discovery document names another issuer
	CauseDenied       fault.Cause = "denied"       // the provider or the person said no
	CauseCode         fault.Cause = "code"         // no code, or the provider does not take it
	CauseClient       fault.Cause = "client"       // the provider refuses our client id or secret
	CauseSignature    fault.Cause = "signature"    // no ID token, or one whose form, algorithm or signature is wrong
	CauseAudience     fault.Cause = "audience"     // the ID token is for another client
	CauseNonce        fault.Cause = "nonce"        // the ID token belongs to another sign-in
	CauseClaims       fault.Cause = "claims"       // something else in the ID token or the profile is wrong
	CauseTenant       fault.Cause = "tenant"       // the ID token is of another Azure tenant
	CauseEmail        fault.Cause = "email"        // no verified e-mail address where one is needed
	CauseDomain       fault.Cause = "domain"       // the e-mail address is of a domain that is not allowed
	CauseOrganisation fault.Cause = "organisation" // not a member of an allowed GitHub organisation
)

// What did not answer when a provider is unavailable.
const (
	CauseDiscovery fault.Cause = "discovery"
	CauseToken     fault.Cause = "token-endpoint"
	CauseKeys      fault.Cause = "keys"
	CauseProfile   fault.Cause = "profile"
	CauseFull      fault.Cause = "full" // too many sign-ins in the last ten minutes
)

// refused is the one answer to a sign-in that does not hold.
func refused(cause fault.Cause) error { return fault.Wrap(fault.Unauthenticated, op, Detail, cause) }

// unavailable tells of a provider that gives no usable answer. The node's log learns of a connection that failed, a
// certificate that is not good and a limit that passed. All else that a library says is dropped: it may quote the answer.
func unavailable(cause fault.Cause, err error) error {
	var (
		connection  *net.OpError
		certificate *tls.CertificateVerificationError
		reason      error
	)
	switch {
	case errors.As(err, &certificate):
		reason = certificate
	case errors.As(err, &connection):
		reason = connection
	case errors.Is(err, context.DeadlineExceeded):
		reason = context.DeadlineExceeded
	default:
		return fault.Wrap(fault.Unavailable, op, detailUnavailable, cause)
	}
	return fault.Wrap(fault.Unavailable, op, detailUnavailable, fmt.Errorf("%w: %w", reason, cause))
}
