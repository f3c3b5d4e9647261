package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine/fault"
)

// problemType begins the type URI of each problem; the code follows (RFC 9457 section 3.1.1, RFC 8141).
const problemType = "urn:cryptoserve:problem:"

// requestInstance begins the URI of one occurrence of a problem; the request id follows.
const requestInstance = "urn:cryptoserve:request:"

// row says how a kind of failure looks to a caller.
type row struct {
	status int
	title  string
	// detail, when set, stands for whatever the error says: the caller may not tell one cause from another.
	detail string
}

// problems is the one map from kinds to HTTP.
var problems = map[fault.Kind]row{
	fault.Malformed:            {http.StatusBadRequest, "The request is malformed", ""},
	fault.Unauthenticated:      {http.StatusUnauthorized, "Authentication is required", auth.Detail},
	fault.Forbidden:            {http.StatusForbidden, "The subject may not do this", ""},
	fault.NotFound:             {http.StatusNotFound, "There is no such thing", ""},
	fault.Conflict:             {http.StatusConflict, "The request conflicts with the present state", ""},
	fault.KeyState:             {http.StatusConflict, "The key's state does not allow this", ""},
	fault.AlgorithmDisallowed:  {http.StatusForbidden, "The algorithm is not allowed", ""},
	fault.AlgorithmNotApproved: {http.StatusForbidden, "The algorithm is not approved, and FIPS mode is enabled", ""},
	fault.DecryptFailed:        {http.StatusBadRequest, "Decryption failed", "decryption failed"},
	fault.ContextMismatch:      {http.StatusBadRequest, "The ciphertext belongs to another context", ""},
	fault.TooLarge:             {http.StatusRequestEntityTooLarge, "The request is too large", ""},
	fault.RateLimited:          {http.StatusTooManyRequests, "Too many requests", ""},
	fault.NotLeader:            {http.StatusServiceUnavailable, "This node cannot accept changes now", ""},
	fault.HSMUnavailable:       {http.StatusServiceUnavailable, "The HSM is not available", ""},
	fault.AuditUnavailable:     {http.StatusServiceUnavailable, "The audit log cannot be written", ""},
	fault.LedgerUnavailable:    {http.StatusServiceUnavailable, "The cluster cannot agree on changes now", ""},
	fault.Unavailable:          {http.StatusServiceUnavailable, "The service is not available", ""},
	fault.StaleReplica:         {http.StatusServiceUnavailable, "This node may not know the newest rights", ""},
	fault.Internal:             {http.StatusInternalServerError, "Internal error", "something went wrong on this node; its log has the request id"},
}

// retryAfter is what the header Retry-After says, in seconds, where nothing else is known.
var retryAfter = []string{"1"}

// retryAfterOf returns what the header Retry-After says of an error: whole seconds, rounded up.
func retryAfterOf(err error) []string {
	wait := fault.RetryAfterOf(err)
	if wait <= time.Second {
		return retryAfter
	}
	return []string{strconv.FormatInt(int64((wait-1)/time.Second)+1, 10)}
}

var challenge = []string{`Bearer realm="cryptoserve"`}

// httpError is a refusal that only HTTP knows: it has a status and code of its own, and a kind for the audit log.
type httpError struct {
	row
	code  string
	cause *fault.Error
}

func (e *httpError) Error() string { return e.cause.Error() }
func (e *httpError) Unwrap() error { return e.cause }

var (
	errNoRoute  = fault.New(fault.NotFound, "api.route", "there is no such route")
	errNoMethod = &httpError{
		row{http.StatusMethodNotAllowed, "The route does not have this method", ""}, "method-not-allowed",
		fault.New(fault.Malformed, "api.route", "the header Allow lists the methods of this route"),
	}
	errMediaType = &httpError{
		row{http.StatusUnsupportedMediaType, "The media type is not supported", ""}, "unsupported-media-type",
		fault.New(fault.Malformed, "api.body", "the body must be application/json in UTF-8, without a content encoding"),
	}
	errLength = &httpError{
		row{http.StatusLengthRequired, "The length of the body is required", ""}, "length-required",
		fault.New(fault.Malformed, "api.stream", "a range needs the Content-Length of the whole stream that it is a part of"),
	}
	errCrossOrigin = fault.New(fault.Forbidden, "api.origin", "a page of another site may not use the browser's session")
	errRange       = &httpError{
		row{http.StatusRequestedRangeNotSatisfiable, "There is no such range", ""}, "range-not-satisfiable",
		fault.New(fault.Malformed, "api.stream", "the range begins behind the end of the plaintext"),
	}
)

// ProblemOf returns the problem document of an error for the other handlers of a node: what the API would answer.
func ProblemOf(err error) wire.Problem { return problemOf(err) }

// problemOf returns the problem document of an error. Request id and state are for the caller to add.
func problemOf(err error) wire.Problem {
	kind := fault.Of(err)
	if kind == fault.Internal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		kind = fault.Unavailable
	}
	r, code := problems[kind], kind.Code()
	if h, ok := errors.AsType[*httpError](err); ok {
		r, code = h.row, h.code
	}
	p := wire.Problem{
		Type: problemType + code, Title: r.title, Status: r.status, Detail: r.detail, Code: code, Retryable: kind.Retryable(),
	}
	if e, ok := errors.AsType[*fault.Error](err); ok && r.detail == "" && e.Kind == kind {
		p.Detail = e.Detail
		for _, f := range e.Fields {
			p.Errors = append(p.Errors, wire.ProblemField{Field: f.Name, Detail: f.Detail})
		}
	}
	return p
}

// fail makes an error the answer. It is recorded first unless a use case of the engine has already done so.
func (x *exchange) fail(err error) {
	s := x.server
	if x.route.audited() && x.call.Receipt.Sequence == 0 && !x.call.Counted && fault.Of(err) != fault.AuditUnavailable {
		// The record is written even when the caller has gone.
		ctx := context.WithoutCancel(x.r.Context())
		if answer := s.config.Engine.Refuse(ctx, &x.call, x.route.action, x.resource(), err); answer != nil {
			err = answer
		}
	}
	p := problemOf(err)
	p.RequestID = x.call.RequestID
	p.Instance = requestInstance + x.call.RequestID
	p.State = s.config.State().State
	x.problem, x.err = p.Code, err

	h := x.w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = challenge
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h["Retry-After"] = retryAfterOf(err)
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // a struct of strings, numbers and booleans
	}
	x.out = append(x.out[:0], body...)
	x.status, x.contentType = p.Status, problemJSON
}
