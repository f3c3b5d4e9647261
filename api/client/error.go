package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"cryptoserve/api/wire"
)

// ProblemType is the media type of an error answer, RFC 9457 section 3.
const ProblemType = "application/problem+json"

// detailBytes bounds what an Error keeps of a text that the server chose.
const detailBytes = 1024

// ErrAnswer marks an answer that is not what the API promises: a wrong media type, bad JSON, or more bytes than allowed.
var ErrAnswer = errors.New("the answer is not one of the CryptoServe API")

var errResults = fmt.Errorf("client: %w: it has not one result for each item", ErrAnswer)

// Error is a request that the server refused or could not serve.
type Error struct {
	Status    int    // HTTP status, never 200
	Code      string // stable name of the kind of problem, such as "forbidden"; empty if the answer was no problem document
	Title     string // the kind of problem in words
	Detail    string // what was wrong with this request
	State     string // life-cycle state of the node, such as "operational"
	RequestID string // the id under which the server logged and audited the request
	Retryable bool   // the same request may succeed later
	Fields    []wire.ProblemField
	// RetryAfter is how long the server asked to wait before the next try; 0 when it did not say.
	RetryAfter time.Duration
}

// Error gives one line: title or status, code, detail, bad fields and request id.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Detail != "":
		b.WriteString(e.Detail)
	case e.Title != "":
		b.WriteString(e.Title)
	default:
		b.WriteString(strings.ToLower(http.StatusText(e.Status)))
	}
	for i, f := range e.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, f.Field, f.Detail)
	}
	b.WriteString(" (")
	if e.Code != "" {
		b.WriteString(e.Code + ", ")
	}
	b.WriteString("HTTP " + strconv.Itoa(e.Status))
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	b.WriteByte(')')
	return b.String()
}

// ConnectError is a server that could not be reached, or a connection that broke before the answer was complete.
type ConnectError struct {
	Server string // base URL
	// Sent tells that the request may have reached the server: it may or may not have been carried out.
	Sent bool
	Err  error
}

func (e *ConnectError) Error() string {
	if e.Sent {
		return fmt.Sprintf("the connection to %s broke before the answer was complete: %v", e.Server, e.Err)
	}
	return fmt.Sprintf("cannot reach %s: %v", e.Server, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// problem turns an error answer into an Error. An answer that is no problem document, say from a proxy in between,
// gives an Error with its status alone, which is retryable for 502, 503 and 504.
func problem(status int, header http.Header, body []byte, now time.Time) *Error {
	e := &Error{
		Status:     status,
		RequestID:  clip(header.Get(requestIDHeader)),
		RetryAfter: retryAfter(header.Get("Retry-After"), now),
	}
	var p wire.Problem
	if media, _, _ := mime.ParseMediaType(header.Get("Content-Type")); media != ProblemType || json.Unmarshal(body, &p) != nil {
		switch status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			e.Retryable = true
		}
		return e
	}
	e.Code, e.Title, e.Detail, e.State = clip(p.Code), clip(p.Title), clip(p.Detail), clip(p.State)
	e.Retryable = p.Retryable
	if p.RequestID != "" {
		e.RequestID = clip(p.RequestID)
	}
	for _, f := range p.Errors {
		e.Fields = append(e.Fields, wire.ProblemField{Field: clip(f.Field), Detail: clip(f.Detail)})
	}
	return e
}

// clip bounds a text of the server's and drops what could steer a terminal.
func clip(s string) string {
	if len(s) > detailBytes {
		s = s[:detailBytes]
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// retryAfter reads both forms of Retry-After: seconds or an HTTP date. Anything else counts as absent.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
