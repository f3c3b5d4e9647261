// Package fault is the one vocabulary of failures: every error that leaves a package of the appliance carries a Kind,
// and the kind alone decides what a caller may learn.
//
// An Error keeps three things apart: the kind (which becomes the problem type of the API and the code of the audit
// record), a public detail, and the cause, which never leaves the node.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is a class of failure. The zero Kind is Unknown and is treated as Internal everywhere.
type Kind uint8

// The kinds. Their codes are part of the API: add rows, never change one.
const (
	Unknown Kind = iota
	Malformed
	Unauthenticated
	Forbidden
	NotFound
	Conflict
	KeyState
	AlgorithmDisallowed
	DecryptFailed
	ContextMismatch
	TooLarge
	RateLimited
	NotLeader
	HSMUnavailable
	AuditUnavailable
	LedgerUnavailable
	Unavailable
	Internal
	AlgorithmNotApproved
	StaleReplica

	kindEnd
)

var codes = [kindEnd]string{
	Unknown:              "internal",
	Malformed:            "malformed-request",
	Unauthenticated:      "unauthenticated",
	Forbidden:            "forbidden",
	NotFound:             "not-found",
	Conflict:             "conflict",
	KeyState:             "key-state",
	AlgorithmDisallowed:  "algorithm-disallowed",
	DecryptFailed:        "decrypt-failed",
	ContextMismatch:      "context-mismatch",
	TooLarge:             "too-large",
	RateLimited:          "rate-limited",
	NotLeader:            "not-leader",
	HSMUnavailable:       "hsm-unavailable",
	AuditUnavailable:     "audit-unavailable",
	LedgerUnavailable:    "ledger-unavailable",
	Unavailable:          "unavailable",
	Internal:             "internal",
	AlgorithmNotApproved: "algorithm-not-approved",
	StaleReplica:         "stale-replica",
}

// Kinds returns every kind except Unknown, in order, for tables and tests that must be complete.
func Kinds() []Kind {
	all := make([]Kind, 0, int(kindEnd)-1)
	for k := Unknown + 1; k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}

// Code returns the stable name of the kind as the API and the audit log write it.
func (k Kind) Code() string {
	if k >= kindEnd {
		return codes[Internal]
	}
	return codes[k]
}

// Error makes a Kind a target for errors.Is.
func (k Kind) Error() string { return k.Code() }

// Retryable reports whether the same request may succeed later without being changed.
func (k Kind) Retryable() bool {
	switch k {
	case RateLimited, NotLeader, HSMUnavailable, AuditUnavailable, LedgerUnavailable, Unavailable, StaleReplica:
		return true
	default:
		return false
	}
}

// Cause is a fixed word that tells the auditor, and nobody else, why something was refused: "signature", "tag". It stands at the
// end of an Error's chain.
type Cause string

func (c Cause) Error() string { return string(c) }

// CauseOf returns the cause in err's chain, empty when there is none.
func CauseOf(err error) Cause {
	var c Cause
	errors.As(err, &c)
	return c
}

// Field names one bad field of a request and what is wrong with it. Neither holds the field's value.
type Field struct {
	Name   string
	Detail string
}

// Error is a failure with its kind, the operation that failed, a detail that the caller may read and the cause, which
// only the node's own log may show.
type Error struct {
	Kind   Kind
	Op     string
	Detail string
	Fields []Field
	// RetryAfter is when the same request may succeed; 0 leaves that open. It goes with retryable kinds.
	RetryAfter time.Duration
	Err        error
}

// New returns an Error without a cause.
func New(kind Kind, op, detail string) *Error {
	return &Error{Kind: kind, Op: op, Detail: detail}
}

// Wrap returns an Error with a cause. The cause is for the node's log; the detail is for the caller.
func Wrap(kind Kind, op, detail string, err error) *Error {
	return &Error{Kind: kind, Op: op, Detail: detail, Err: err}
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.Code()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += fmt.Sprintf(" (%v)", e.Err)
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether the target is this error's kind, so that errors.Is(err, fault.Forbidden) works.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// RetryAfterOf returns how long the caller should wait, by the first Error in err's chain that says so; 0 when none does.
func RetryAfterOf(err error) time.Duration {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return 0
		}
		if e.RetryAfter > 0 {
			return e.RetryAfter
		}
		err = e.Err
	}
	return 0
}

// Of returns the kind of the outermost Error in err's chain, Internal when there is none, Unknown when err is nil.
func Of(err error) Kind {
	if err == nil {
		return Unknown
	}
	var e *Error
	if errors.As(err, &e) && e.Kind != Unknown {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) && k != Unknown {
		return k
	}
	return Internal
}
