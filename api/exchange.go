package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// Header values that never change are shared by all answers: net/http does not write to them.
var (
	applicationJSON = []string{"application/json"}
	problemJSON     = []string{"application/problem+json"}
	applicationYAML = []string{"application/yaml"} // RFC 9512
	noStore         = []string{"no-store"}
	noSniff         = []string{"nosniff"}
	connectionClose = []string{"close"}
)

// exchange is one request and its answer, with all the memory they need. It belongs to one goroutine and is pooled.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	params httprouter.Params
	route  *route
	call   engine.Call

	body    []byte // the request's body
	json    decoder
	result  []byte // what the engine appends its result to
	encrypt engine.EncryptRequest
	decrypt engine.DecryptRequest
	batch   engine.BatchRequest

	transfer *transfer // of a stream that is running

	share   int64  // what the body holds of Server.bodies
	shareOf string // the subject whose part of it that is

	status      int
	contentType []string
	out         []byte // the answer's body
	problem     string // code of the problem in the answer, if it is one
	err         error  // why, for the log
	answered    bool
	reusable    bool // nothing holds the memory any more, which is not sure after a panic
}

// serve answers one request.
func (s *Server) serve(row *route, w http.ResponseWriter, r *http.Request, p httprouter.Params) {
	if row.stream != nil && bringsStream(r.Header) {
		row = row.stream
	}
	x := s.exchanges.Get().(*exchange)
	x.server, x.w, x.r, x.params, x.route = s, w, r, p, row
	x.status, x.contentType = http.StatusOK, applicationJSON
	x.call.Start = time.Now()
	x.call.RequestID = s.requestID(r)
	x.call.Source = source(r)
	x.reusable = true
	// A panic beyond run ends the connection and nothing else: the share comes back.
	defer x.end()

	err := x.run()
	switch {
	case x.transfer == nil || !x.transfer.begun:
		if err != nil {
			x.fail(err)
		}
		x.send()
		if x.route.streams {
			x.linger()
		}
	case err != nil:
		x.cut(err)
	default:
		x.transfer.end()
	}
	x.log()
	x.answered = true
}

// end gives back what the exchange holds.
func (x *exchange) end() {
	x.giveBack()
	if x.answered && x.reusable {
		x.release()
	}
}

// run does everything up to the answer. A panic becomes an error of kind Internal.
func (x *exchange) run() (err error) {
	defer func() {
		if v := recover(); v != nil {
			x.reusable = false
			err = x.server.panicked(x, v)
		}
	}()
	if x.route.access != anybody {
		if x.call.Subject, err = x.authenticate(); err != nil {
			return err
		}
		if err := x.server.config.Engine.Admit(&x.call, x.route.action); err != nil {
			return err
		}
	}
	if x.takesInput() && !x.route.query && x.r.URL.RawQuery != "" {
		return &fault.Error{Kind: fault.Malformed, Op: "api.query", Detail: "the route takes no query parameters"}
	}
	if !x.route.streams {
		if err := x.readBody(); err != nil {
			return err
		}
	}
	if x.route.timeout > 0 {
		ctx, cancel := context.WithTimeout(x.r.Context(), x.route.timeout)
		defer cancel()
		x.r = x.r.WithContext(ctx)
	}
	return x.route.handle(x.server, x)
}

func (x *exchange) authenticate() (*policy.Subject, error) {
	values := x.r.Header["Authorization"]
	switch {
	case len(values) == 0 && len(x.r.CookiesNamed(sessionCookie)) > 0:
		return x.authenticateBrowser()
	case len(values) == 0 && x.r.TLS != nil && len(x.r.TLS.PeerCertificates) > 0:
		// A browser shows a certificate to whoever makes it ask.
		if err := x.sameOrigin(); err != nil {
			return nil, err
		}
		return x.server.config.Auth.Certificate(x.r.TLS.PeerCertificates[0])
	}
	if len(values) != 1 {
		// None, or several that a proxy and this node could read differently.
		return x.server.config.Auth.Authenticate("")
	}
	return x.server.config.Auth.Authenticate(values[0])
}

// takesInput reports whether query and body are looked at. Probes ignore theirs, and what no route takes is refused anyhow.
func (x *exchange) takesInput() bool { return x.route.known() && x.route.audited() }

// resource is what a refused request was about, as far as its path tells.
func (x *exchange) resource() string {
	if !x.route.known() {
		return x.r.Method + " " + x.r.URL.Path
	}
	if len(x.params) == 0 {
		return ""
	}
	return x.params[0].Value
}

// readBody reads the body, if the route takes one, into x.body.
func (x *exchange) readBody() error {
	limit, length := x.route.bodyBytes, x.r.ContentLength
	switch {
	case !x.takesInput():
		return nil
	case limit == 0 && length == 0:
		return nil
	case limit == 0:
		return malformed("the route takes no body")
	case length > limit:
		return tooLarge(limit)
	case length == 0:
		return nil
	}
	if err := checkMediaType(x.r.Header); err != nil {
		return err
	}
	var err error
	if length > 0 {
		if err := x.hold(length); err != nil {
			return err
		}
		x.body = grow(x.body, int(length))[:length]
		_, err = io.ReadFull(x.r.Body, x.body)
	} else {
		err = x.readUnknown(limit)
	}
	if err != nil && fault.Of(err) == fault.Internal {
		return fault.Wrap(fault.Malformed, "api.body", "the body could not be read to its end", err)
	}
	return err
}

// readUnknown reads a body whose length the client did not announce.
func (x *exchange) readUnknown(limit int64) error {
	x.body = grow(x.body, 0)
	for {
		if int64(len(x.body)) >= x.share {
			// What comes next may be as much as what is there.
			if err := x.hold(min(2*int64(len(x.body)), limit)); err != nil {
				return err
			}
		}
		x.body = extend(x.body, 512)
		n, err := x.r.Body.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		if int64(len(x.body)) > limit {
			return tooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "api.body", "the body is longer than "+strconv.FormatInt(limit, 10)+" bytes")
}

// checkMediaType accepts JSON: application/json, no media type at all, and application/x-www-form-urlencoded, which curl -d
// sends when it is told nothing else. There is no form to confuse it with: the body must be a JSON object either way, and
// requests with a cookie must come from this site.
func checkMediaType(h http.Header) error {
	if len(h["Content-Encoding"]) > 0 {
		return errMediaType
	}
	values := h["Content-Type"]
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return errMediaType
	case values[0] == "application/json", values[0] == "application/x-www-form-urlencoded":
		return nil
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	if err != nil || (mediaType != "application/json" && mediaType != "application/x-www-form-urlencoded") {
		return errMediaType
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return errMediaType
	}
	return nil
}

// source returns the network address of the peer of the connection. What a header claims about it is not looked at.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// send writes the answer.
func (x *exchange) send() {
	h := x.w.Header()
	own := make([]string, 3)
	x.setHeaders(h, own[0:1:1])
	own[1] = strconv.Itoa(len(x.out))
	h["Content-Length"] = own[1:2:2]
	if receipt := x.call.Receipt; receipt.Sequence != 0 {
		own[2] = receipt.String()
		h[receiptHeader] = own[2:3:3]
	}
	if took := x.call.Fenced; took > 0 && x.status < http.StatusBadRequest {
		h[wire.FenceHeader] = []string{strconv.FormatInt(max(took.Microseconds(), 1), 10)}
	}
	if x.route.streams && x.r.ProtoMajor == 1 && x.r.ContentLength != 0 && (x.transfer == nil || !x.transfer.ended) {
		// What the client still sends is not read, however much it is.
		h["Connection"] = connectionClose
	}
	x.w.WriteHeader(x.status)
	if _, err := x.w.Write(x.out); err != nil {
		// The HTTP/2 server may still be writing from the buffer when it reports that the stream has ended, so the
		// buffer is neither wiped nor used again.
		x.out = nil
	}
}

// setHeaders sets the header fields that each answer has. id is where the request id has room.
func (x *exchange) setHeaders(h http.Header, id []string) {
	h["Content-Type"] = x.contentType
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	id[0] = x.call.RequestID
	h["X-Request-Id"] = id
	if x.server.draining.Load() {
		h["Connection"] = connectionClose
	}
}

// log reports what an operator should look at. The audit log is the record of each request.
func (x *exchange) log() {
	took := time.Since(x.call.Start)
	// How long a stream takes is its client's doing.
	slow := took >= x.server.config.Limits.SlowRequest && !x.route.streams
	if x.status < http.StatusInternalServerError && !slow {
		return
	}
	log := x.server.config.Log.With("request_id", x.call.RequestID, "method", x.r.Method, "route", x.route.path,
		"status", x.status, "duration_us", took.Microseconds())
	switch {
	case x.problem == fault.Internal.Code():
		log.Error("request failed", "code", x.problem, "error", x.err)
	case x.problem != "" && x.status >= http.StatusInternalServerError:
		// While the token or the disk is away every request is refused: a line a second says it. The audit log has them all.
		x.server.refusals.Do(func() { log.Warn("request refused", "code", x.problem, "error", x.err) })
	case slow:
		x.server.slow.Do(func() { log.Warn("slow request") })
	}
}

// release overwrites what was secret and returns the exchange to the pool.
func (x *exchange) release() {
	clear(x.body)
	x.json.wipe()
	if x.route.secretAnswer {
		clear(x.result)
		clear(x.out)
	}
	x.body, x.result, x.out = poolable(x.body), poolable(x.result), poolable(x.out)
	x.w, x.r, x.params, x.route, x.transfer = nil, nil, nil, nil, nil
	x.call, x.encrypt, x.decrypt, x.batch = engine.Call{}, engine.EncryptRequest{}, engine.DecryptRequest{}, engine.BatchRequest{}
	x.problem, x.err, x.answered = "", nil, false
	x.server.exchanges.Put(x)
}
