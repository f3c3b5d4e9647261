package transport

import (
	"errors"
	"fmt"
	"net"
)

var (
	// ErrUnreachable says that the request did not reach the peer: it was not executed, and the caller may ask again or ask
	// another node. Its text says why.
	ErrUnreachable = errors.New("the node cannot be reached")
	// ErrInterrupted says that the request was sent and no answer came: it may or may not have been executed.
	ErrInterrupted = errors.New("there is no answer: the outcome is not known")
	// ErrRefused says that one of the two nodes does not accept the other as a member. It goes with ErrUnreachable.
	ErrRefused = errors.New("not accepted as a member of the cluster")
	// ErrTooLarge says that a request is longer than MaxMessageBytes. It was not sent.
	ErrTooLarge = errors.New("the message is too large for a call between nodes")
	// ErrClosed says that this node's transport was closed.
	ErrClosed = errors.New("the transport is closed")
)

// The codes of RemoteError that this package itself gives. A handler gives its own by returning a *RemoteError.
const (
	CodeInternal = "internal"  // the handler failed with an error that is not for peers, or panicked
	CodeBusy     = "busy"      // the peer works on as many calls of this node as it accepts
	CodeNotReady = "not-ready" // the peer has no handler yet
	CodeTooLarge = "too-large" // the answer is longer than MaxMessageBytes

	// codeTimeout says that the handler gave up at its time limit. The caller learns it as ErrInterrupted.
	codeTimeout = "timeout"
)

// RemoteError is the peer's refusal of a call: it was reached, and this is what it says.
type RemoteError struct {
	Code   string // stable, at most 255 bytes
	Detail string // for people, at most 4 KiB; longer ones are cut
}

func (e *RemoteError) Error() string {
	if e.Detail == "" {
		return "the node refused: " + e.Code
	}
	return "the node refused: " + e.Code + ": " + e.Detail
}

// refusal is why this node does not accept a certificate. The reason names what an operator can look at.
type refusal struct {
	reason string
	node   string // from the certificate, empty before it was read
}

func (r *refusal) Error() string { return r.reason }

func (r *refusal) Unwrap() error { return ErrRefused }

func refuse(node, format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...), node: node}
}

// refusedByPeer reports whether err is the alert that TLS sends when VerifyConnection of the other side said no, or when it
// wants a certificate (RFC 8446 section 6.2: bad_certificate, certificate_required).
func refusedByPeer(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return false
	}
	s := op.Err.Error()
	return s == "tls: bad certificate" || s == "tls: certificate required"
}
