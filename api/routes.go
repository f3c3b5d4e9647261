package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"cryptoserve/engine/policy"
)

// access says who may call a route at all. What a subject may do is the engine's decision.
type access uint8

const (
	anybody access = iota + 1
	subjects
)

// route is one row of the API.
type route struct {
	method, path string
	// action is what a refusal is recorded as. A route without one is not audited: it tells nothing that is anybody's.
	action policy.Action
	access access
	// bodyBytes is the largest body; 0 means that the route takes none.
	bodyBytes int64
	// timeout bounds the engine's work. 0 leaves it to the bounded waits inside the engine: operations with data are too
	// many to arm a timer for each.
	timeout time.Duration
	// secretAnswer marks an answer that must not stay in a pooled buffer.
	secretAnswer bool
	handle       func(*Server, *exchange) error
}

// audited reports whether each request to the route has a record in the audit log.
func (r *route) audited() bool { return r.action != "" }

// known reports whether the route is a row of the table.
func (r *route) known() bool { return r.path != "" }

// The rows that catch what the table has no row for. They are the two that have no path.
var (
	unknownRoute = route{action: policy.Request, access: anybody, handle: (*Server).noRoute}
	unknownVerb  = route{action: policy.Request, access: anybody, handle: (*Server).noMethod}
)

// routes returns the route table. Each row is an operation of openapi.yaml, and the other way round.
func routes(l Limits) []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{
			method: post, path: "/api/v1/crypto/encrypt", action: policy.Encrypt, access: subjects,
			bodyBytes: l.CryptoBodyBytes, handle: (*Server).encrypt,
		},
		{
			method: post, path: "/api/v1/crypto/decrypt", action: policy.Decrypt, access: subjects,
			bodyBytes: l.CryptoBodyBytes, secretAnswer: true, handle: (*Server).decrypt,
		},
		{
			method: post, path: "/api/v1/auth/refresh", action: policy.RefreshToken, access: anybody,
			bodyBytes: l.BodyBytes, timeout: l.ChangeTimeout, secretAnswer: true, handle: (*Server).refresh,
		},
		{
			method: get, path: "/api/v1/contexts", action: policy.ListContexts, access: subjects,
			timeout: l.ChangeTimeout, handle: (*Server).contexts,
		},
		{
			method: post, path: "/api/v1/contexts/:context/rotate", action: policy.RotateContext, access: subjects,
			bodyBytes: l.BodyBytes, timeout: l.ChangeTimeout, handle: (*Server).rotateContext,
		},
		{method: get, path: "/health/live", access: anybody, handle: (*Server).live},
		{method: get, path: "/health/ready", access: anybody, handle: (*Server).ready},
		{method: get, path: "/health/state", access: anybody, handle: (*Server).state},
		{method: get, path: "/openapi.yaml", access: anybody, handle: (*Server).openAPI},
	}
}

// newRouter returns a router over the table that never redirects: a client that is sent elsewhere may drop its token, or
// send it.
func (s *Server) newRouter() *httprouter.Router {
	r := httprouter.New()
	r.RedirectTrailingSlash = false
	r.RedirectFixedPath = false
	r.HandleOPTIONS = false
	for i := range s.routes {
		row := &s.routes[i]
		r.Handle(row.method, row.path, func(w http.ResponseWriter, q *http.Request, p httprouter.Params) {
			s.serve(row, w, q, p)
		})
	}
	r.NotFound = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { s.serve(&unknownRoute, w, q, nil) })
	r.MethodNotAllowed = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { s.serve(&unknownVerb, w, q, nil) })
	return r
}

func (s *Server) noRoute(*exchange) error { return errNoRoute }

func (s *Server) noMethod(x *exchange) error {
	// The router counts OPTIONS among what is allowed, which it is not.
	x.w.Header()["Allow"] = []string{s.allowed(x.r.URL.Path)}
	return errNoMethod
}

// methods returns the methods of a table, each once and in order.
func methods(table []route) []string {
	var list []string
	for _, r := range table {
		list = append(list, r.method)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// allowed returns the methods that the table has for a path, as the header Allow lists them.
func (s *Server) allowed(path string) string {
	var list []string
	for _, method := range s.methods {
		if h, _, _ := s.router.Lookup(method, path); h != nil {
			list = append(list, method)
		}
	}
	return strings.Join(list, ", ")
}
