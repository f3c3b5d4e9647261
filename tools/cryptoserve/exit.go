package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"

	"cryptoserve/api/client"
)

// The exit codes. Scripts depend on them: add, never change.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitDenied   = 3
	exitNotReady = 4
	exitConflict = 5
)

// usageError is a command line that cannot be carried out as it stands.
type usageError struct {
	err     error
	command string // whose help to read; empty for the whole program's
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// hintError adds the next step to an error that knows a better one than its kind does.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// errNotReady is a node that answers and says that it does not serve.
var errNotReady = errors.New("the node does not serve")

// exitCode is the one map from an error to the exit code.
func exitCode(err error) int {
	var usage *usageError
	var problem *client.Error
	var connect *client.ConnectError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, client.ErrCut):
		return exitError
	case errors.As(err, &problem):
		switch problem.Status {
		case http.StatusUnauthorized, http.StatusForbidden:
			return exitDenied
		case http.StatusServiceUnavailable:
			return exitNotReady
		case http.StatusConflict:
			return exitConflict
		}
		return exitError
	case errors.As(err, &certificate):
		return exitError // the node is there; waiting will not help
	case errors.As(err, &connect), errors.Is(err, errNotReady), errors.Is(err, context.DeadlineExceeded):
		return exitNotReady
	case errors.Is(err, client.ErrNoToken):
		return exitUsage
	case errors.Is(err, errDenied):
		return exitDenied
	default:
		return exitError
	}
}

// problemHints says for each problem code what the person at the keyboard can do.
var problemHints = map[string]string{
	"unauthenticated":        "the access token is wrong, has ended or was revoked: put a new one into the token file",
	"forbidden":              "ask an administrator: the token's owner lacks a grant or role for this, or a policy refuses it, as the line above says",
	"decrypt-failed":         "give the same --context and --aad as for encrypt, and the whole ciphertext",
	"context-mismatch":       "give the --context that the data was encrypted in",
	"not-found":              "check the spelling of the names",
	"too-large":              "split the data, or make it smaller",
	"rate-limited":           "wait a little, then try again",
	"conflict":               "look again at what the line above names: it is not as this needs it, perhaps because something else changed it in between",
	"key-state":              "ask an administrator about the state of the key",
	"algorithm-disallowed":   "choose another algorithm or context ('cryptoserve algorithms' lists them), or ask an administrator",
	"algorithm-not-approved": "choose an algorithm that 'cryptoserve algorithms' shows as allowed to protect or process",
	"hsm-unavailable":        "run 'cryptoserve status': the node cannot use its token now",
	"audit-unavailable":      "run 'cryptoserve status': the node cannot write its audit log now, often for want of disk space",
	"ledger-unavailable":     "run 'cryptoserve status': the cluster cannot agree now; a change may or may not have been made",
	"stale-replica":          "try again in a moment, or on another node: this one has lost the others",
	"not-leader":             "try again in a moment",
	"unavailable":            "run 'cryptoserve status', then try again",
	"internal":               "tell the operator the request id: the node's log says what happened",
}

// routeHints is the same for what the API itself finds wrong, before it knows of any algorithm or key.
var routeHints = map[string]string{
	"range-not-satisfiable": "give a --range within the plaintext",
	"length-required":       "name a file in the place of a pipe",
	"authorization-pending": "approve the sign-in with 'cryptoserve approve-login', then try again",
	"slow-down":             "wait a little, then try again",
	"expired":               "begin the sign-in again",
	"access-denied":         "ask who denied it, or begin the sign-in again",
}

// hintFor returns the next step after an error, empty if there is none to name.
func hintFor(err error) string {
	var hint *hintError
	var usage *usageError
	var problem *client.Error
	var connect *client.ConnectError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &hint):
		return hint.hint
	case errors.As(err, &usage):
		if usage.command != "" {
			return fmt.Sprintf("see '%s --help'", usage.command)
		}
		return "see 'cryptoserve --help'"
	case errors.As(err, &problem):
		return firstOf(problemHints[problem.Code], routeHints[problem.Code])
	case errors.Is(err, client.ErrCut):
		return "try again; if it ends early again, the input may be damaged or not whole, or the node's log says why"
	case errors.As(err, &certificate):
		return "name the CA of this node with --ca, and the host as its certificate does with --server"
	case errors.As(err, &connect):
		return "check --server, the network and that the node is running"
	case errors.Is(err, client.ErrAnswer):
		return "check --server: something else may answer there"
	case errors.Is(err, client.ErrNoToken):
		return "name a file with an access token with --token-file, set CRYPTOSERVE_TOKEN_FILE, or run 'cryptoserve login'"
	case errors.Is(err, context.DeadlineExceeded):
		return "check that the node is well with 'cryptoserve status', or allow more time with --timeout"
	default:
		return ""
	}
}

// report writes an error and the next step. It is the only place that does.
func report(w io.Writer, err error) {
	_, _ = fmt.Fprintf(w, "cryptoserve: %v\n", err) // nobody is left to tell
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(w, "  next: %s\n", hint)
	}
}
