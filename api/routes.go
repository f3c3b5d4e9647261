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
	// query marks a route that reads its query. All others refuse one.
	query bool
	// exact marks a row that is found by its whole path, before the router is asked: httprouter has no place for a fixed
	// segment beside a parameter.
	exact  bool
	handle func(*Server, *exchange) error
	// stream, if set, is what serves a request that brings a stream instead of JSON.
	stream *route
	// streams marks such a route: it reads query and body itself, in constant memory, and its answer can break off.
	streams bool
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
	return slices.Concat(dataRoutes(l), keyUseRoutes(l), computeRoutes(l), managementRoutes(l),
		tenantRoutes(l), applicationRoutes(l), accountRoutes(l), policyRoutes(l), lifecycleRoutes(l), settingsRoutes(l),
		clusterRoutes(l), backupRoutes(l), []route{
			{
				method: http.MethodPost, path: "/api/v1/auth/refresh", action: policy.RefreshToken, access: anybody,
				bodyBytes: l.BodyBytes, timeout: l.ChangeTimeout, secretAnswer: true, handle: (*Server).refresh,
			},
			{method: http.MethodGet, path: "/health/live", access: anybody, handle: (*Server).live},
			{method: http.MethodGet, path: "/health/ready", access: anybody, handle: (*Server).ready},
			{method: http.MethodGet, path: "/health/state", access: anybody, handle: (*Server).state},
			{method: http.MethodGet, path: "/openapi.yaml", access: anybody, handle: (*Server).openAPI},
		})
}

// crypto returns a row of an operation with data.
func crypto(name string, action policy.Action, bodyBytes int64, handle func(*Server, *exchange) error) route {
	return route{
		method: http.MethodPost, path: "/api/v1/crypto/" + name, action: action, access: subjects, bodyBytes: bodyBytes, handle: handle,
	}
}

// secretly marks the answer of a row as a secret.
func secretly(r route) route {
	r.secretAnswer = true
	return r
}

// orStream lets a row also take a stream.
func orStream(r route, action policy.Action, handle func(*Server, *exchange) error) route {
	r.stream = &route{
		method: r.method, path: r.path, action: action, access: r.access, query: true, handle: handle, streams: true,
	}
	return r
}

// dataRoutes protect data in contexts.
func dataRoutes(l Limits) []route {
	most := l.CryptoBodyBytes
	encrypt := orStream(crypto("encrypt", policy.Encrypt, most, (*Server).encrypt), policy.EncryptStream, (*Server).encryptStream)
	decrypt := secretly(crypto("decrypt", policy.Decrypt, most, (*Server).decrypt))
	decrypt = orStream(decrypt, policy.DecryptStream, (*Server).decryptStream)
	return []route{
		encrypt,
		decrypt,
		crypto("rewrap", policy.Rewrap, most, (*Server).rewrap),
		crypto("batch/encrypt", policy.EncryptBatch, most, (*Server).encryptBatch),
		secretly(crypto("batch/decrypt", policy.DecryptBatch, most, (*Server).decryptBatch)),
		crypto("batch/rewrap", policy.RewrapBatch, most, (*Server).rewrapBatch),
		secretly(crypto("datakey", policy.DataKey, most, (*Server).dataKey)),
		crypto("datakey/wrapped", policy.DataKeyWrapped, most, (*Server).dataKeyWrapped),
	}
}

// keyUseRoutes work with key objects.
func keyUseRoutes(l Limits) []route {
	most := l.CryptoBodyBytes
	return []route{
		crypto("sign", policy.Sign, most, (*Server).sign),
		crypto("verify", policy.Verify, most, (*Server).verify),
		crypto("mac", policy.MAC, most, (*Server).mac),
		crypto("mac/verify", policy.VerifyMAC, most, (*Server).verifyMAC),
		secretly(crypto("kem/encapsulate", policy.Encapsulate, l.BodyBytes, (*Server).encapsulate)),
		secretly(crypto("kem/decapsulate", policy.Decapsulate, l.BodyBytes, (*Server).decapsulate)),
		secretly(crypto("agree", policy.Agree, l.BodyBytes, (*Server).agree)),
		crypto("key/encrypt", policy.KeyEncrypt, most, (*Server).keyEncrypt),
		secretly(crypto("key/decrypt", policy.KeyDecrypt, most, (*Server).keyDecrypt)),
	}
}

// computeRoutes compute with what the request holds.
func computeRoutes(l Limits) []route {
	return []route{
		crypto("hash", policy.Hash, l.CryptoBodyBytes, (*Server).hash),
		secretly(crypto("kdf", policy.DeriveKey, l.BodyBytes, (*Server).deriveKey)),
		secretly(crypto("random", policy.Random, l.BodyBytes, (*Server).random)),
		crypto("password/hash", policy.HashPassword, l.BodyBytes, (*Server).hashPassword),
		crypto("password/verify", policy.VerifyPassword, l.BodyBytes, (*Server).verifyPassword),
	}
}

// managementRoutes list and change what there is.
func managementRoutes(l Limits) []route {
	list := func(path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{method: http.MethodGet, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
	}
	change := func(path string, action policy.Action, timeout time.Duration, handle func(*Server, *exchange) error) route {
		return route{
			method: http.MethodPost, path: path, action: action, access: subjects, bodyBytes: l.BodyBytes, timeout: timeout,
			handle: handle,
		}
	}
	imports := func(r route) route {
		r.bodyBytes = l.ImportBodyBytes
		return r
	}
	public := list(keysPath+"/:key/public", policy.ReadKey, (*Server).publicKey)
	public.query = true
	return []route{
		list("/api/v1/algorithms", policy.ListAlgorithms, (*Server).algorithms),
		list("/api/v1/system/fips", policy.ReadFIPS, (*Server).fips),
		list(contextsPath, policy.ListContexts, (*Server).contexts),
		change(contextsPath, policy.CreateContext, l.ChangeTimeout, (*Server).createContext),
		change(contextsPath+"/:context/rotate", policy.RotateContext, l.ChangeTimeout, (*Server).rotateContext),
		list(keysPath, policy.ListKeys, (*Server).keys),
		change(keysPath, policy.CreateKey, l.KeyTimeout, (*Server).createKey),
		list(keysPath+"/:key", policy.ReadKey, (*Server).key),
		public,
		change(keysPath+"/:key/rotate", policy.RotateKey, l.KeyTimeout, (*Server).rotateKey),
		change(keysPath+"/:key/disable", policy.DisableKey, l.ChangeTimeout, (*Server).disableKey),
		change(keysPath+"/:key/enable", policy.EnableKey, l.ChangeTimeout, (*Server).enableKey),
		change(importsPath, policy.CreateImport, l.KeyTimeout, (*Server).createImport),
		imports(change(importsPath+"/:import", policy.ImportKey, l.KeyTimeout, (*Server).importKey)),
		imports(change("/api/v1/legacy-imports", policy.ImportLegacy, l.KeyTimeout, (*Server).importLegacy)),
	}
}

// newRouter returns a router over the table that never redirects: a client that is sent elsewhere may drop its token, or
// send it.
func (s *Server) newRouter() *httprouter.Router {
	r := httprouter.New()
	r.RedirectTrailingSlash = false
	r.RedirectFixedPath = false
	r.HandleOPTIONS = false
	s.exact = map[string][]*route{}
	for i := range s.routes {
		row := &s.routes[i]
		if row.exact {
			s.exact[row.path] = append(s.exact[row.path], row)
			continue
		}
		r.Handle(row.method, row.path, func(w http.ResponseWriter, q *http.Request, p httprouter.Params) {
			s.serve(row, w, q, p)
		})
	}
	r.NotFound = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { s.serve(&unknownRoute, w, q, nil) })
	r.MethodNotAllowed = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { s.serve(&unknownVerb, w, q, nil) })
	return r
}

// dispatch answers a request: by a row that is found by its path, or else by what the router finds.
func (s *Server) dispatch(w http.ResponseWriter, q *http.Request) {
	rows, ok := s.exact[q.URL.Path]
	if !ok {
		s.router.ServeHTTP(w, q)
		return
	}
	for _, row := range rows {
		if row.method == q.Method {
			s.serve(row, w, q, nil)
			return
		}
	}
	s.serve(&unknownVerb, w, q, nil)
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
	for _, row := range s.exact[path] {
		list = append(list, row.method)
	}
	if list != nil {
		return strings.Join(list, ", ")
	}
	for _, method := range s.methods {
		if h, _, _ := s.router.Lookup(method, path); h != nil {
			list = append(list, method)
		}
	}
	return strings.Join(list, ", ")
}
