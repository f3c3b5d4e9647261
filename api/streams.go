package api

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/stream"
)

// Streams: a body of any size goes through the engine and out again, in constant memory and in both directions at once.
//
// An answer without a range is always chunked and ends with trailer fields, so that what was cut is told from what is whole
// twice: by the end that the protocol has for it, and by X-Stream-Status. A range has a Content-Length for that.

const (
	octetStream = "application/octet-stream"

	associatedDataHeader = "X-Associated-Data"
	receiptHeader        = "Audit-Receipt"
	streamStatusHeader   = "X-Stream-Status"
)

// Header values of all streams.
var (
	applicationOctetStream = []string{octetStream}
	streamTrailer          = []string{receiptHeader + ", " + streamStatusHeader}
	streamComplete         = []string{"complete"}
)

// bringsStream reports whether a request brings a stream instead of JSON.
func bringsStream(h http.Header) bool {
	values := h["Content-Type"]
	if len(values) != 1 || len(values[0]) < len(octetStream) {
		return false
	}
	mediaType, _, _ := strings.Cut(values[0], ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), octetStream)
}

func (s *Server) encryptStream(x *exchange) error {
	if len(x.r.Header["Range"]) > 0 {
		return malformedHeader("Range", "is for decryption only")
	}
	return x.runStream(&transfer{}, s.config.Engine.EncryptStream)
}

func (s *Server) decryptStream(x *exchange) error {
	part, err := rangeOf(x.r.Header["Range"])
	if err != nil {
		return err
	}
	if part != nil && x.r.ContentLength < 0 {
		return errLength // without it nobody knows where the plaintext ends, which Content-Range has to tell
	}
	return x.runStream(&transfer{decrypts: true, part: part}, s.config.Engine.DecryptStream)
}

var errStreams = fault.New(fault.Unavailable, "api.stream", "too many streams are running; try again later")

var errStreamShare = fault.New(fault.RateLimited, "api.stream", "too many streams of this subject are running; try again later")

// runStream has an operation done on the body. Once the answer has begun, an error breaks it off (serve).
func (x *exchange) runStream(
	t *transfer, operate func(context.Context, *engine.Call, *engine.StreamRequest, io.Reader, engine.Begin) error,
) error {
	in, err := x.streamRequest()
	if err != nil {
		return err
	}
	in.Range = t.part
	release, err := x.takeStream()
	if err != nil {
		return err
	}
	defer release()
	t.x, t.control, t.idle = x, http.NewResponseController(x.w), x.server.config.Limits.StreamIdle
	x.transfer = t
	err = operate(x.r.Context(), &x.call, in, t, t.begin)
	switch {
	case errors.Is(err, stream.ErrRange):
		return errRange
	case err == nil && t.part != nil:
		return t.finish()
	default:
		return err
	}
}

// takeStream takes one of the places for streams, until release is called.
func (x *exchange) takeStream() (release func(), err error) {
	server, subject := x.server, x.call.Subject.ID
	if !server.streamsOf.take(subject, 0, 1) {
		return nil, errStreamShare
	}
	select {
	case server.streams <- struct{}{}:
		return func() {
			<-server.streams
			server.streamsOf.put(subject, 1)
		}, nil
	default:
		server.streamsOf.put(subject, 1)
		return nil, errStreams
	}
}

var errOldHTTP = fault.New(fault.Malformed, "api.stream",
	"streams need HTTP/1.1 or HTTP/2: HTTP/1.0 cannot tell a whole answer from a cut one")

// streamRequest reads what stands beside the body of a stream.
func (x *exchange) streamRequest() (*engine.StreamRequest, error) {
	h := x.r.Header
	if len(h["Content-Encoding"]) > 0 {
		return nil, errMediaType
	}
	if !x.r.ProtoAtLeast(1, 1) {
		return nil, errOldHTTP
	}
	in := &engine.StreamRequest{Length: x.r.ContentLength}
	var err error
	if in.Context, err = contextOf(x.r.URL.RawQuery); err != nil {
		return nil, err
	}
	switch values := h[associatedDataHeader]; len(values) {
	case 0:
	case 1:
		if in.AssociatedData, err = base64Strict.DecodeString(values[0]); err != nil || strings.ContainsAny(values[0], "\r\n") {
			return nil, malformedHeader(associatedDataHeader, notBase64)
		}
	default:
		return nil, malformedHeader(associatedDataHeader, "appears more than once")
	}
	return in, nil
}

// contextOf reads the query of a stream.
func contextOf(query string) (string, error) {
	values, err := url.ParseQuery(query)
	given := values["context"]
	if err != nil || len(values) != 1 || len(given) != 1 {
		return "", malformedQuery("context=NAME and nothing else")
	}
	if len(given[0]) > directory.ContextNameMax {
		return "", tooLong("context", directory.ContextNameMax)
	}
	return given[0], nil
}

func malformedHeader(name, detail string) error {
	return &fault.Error{
		Kind: fault.Malformed, Op: "api.header", Detail: "a header field of the request is not valid",
		Fields: []fault.Field{{Name: name, Detail: detail}},
	}
}

// rangeOf reads the header Range: nothing, or one range of bytes that begins at its first byte (RFC 9110 section 14.1.2).
// Where a plaintext ends only the engine knows, so a range that is counted from there is refused.
func rangeOf(values []string) (*engine.ByteRange, error) {
	if len(values) == 0 {
		return nil, nil
	}
	unit, set, ok := strings.Cut(values[0], "=")
	from, to, dash := strings.Cut(set, "-")
	switch {
	case len(values) > 1 || strings.Contains(set, ","):
		return nil, malformedHeader("Range", "must be one range")
	case !ok || !dash || !strings.EqualFold(unit, "bytes"):
		return nil, malformedHeader("Range", "must be bytes=FIRST-LAST or bytes=FIRST-")
	case from == "":
		return nil, malformedHeader("Range", "must name its first byte: ranges from the end are not taken")
	}
	part := engine.ByteRange{To: math.MaxInt64}
	first, valid := bytePosition(from)
	part.From = first
	if to != "" && valid {
		var last int64
		if last, valid = bytePosition(to); valid && last < first {
			return nil, malformedHeader("Range", "ends before it begins")
		}
		part.To = last + 1
	}
	if !valid {
		return nil, malformedHeader("Range", "must be bytes=FIRST-LAST or bytes=FIRST-")
	}
	return &part, nil
}

// bytePosition reads a number of any length. One that no plaintext reaches becomes one that none reaches either.
func bytePosition(digits string) (int64, bool) {
	if strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n == math.MaxInt64 {
		n = math.MaxInt64 - 1
	}
	return n, true
}

// transfer is a stream that is running: where the engine reads from and writes to. It keeps the deadlines of the connection
// ahead of a stream that moves, in the place of those that bound a whole request.
type transfer struct {
	decrypts bool
	part     *engine.ByteRange // nil for all of it

	x       *exchange
	control *http.ResponseController
	idle    time.Duration
	armed   time.Time // when the deadlines were set
	read    int64     // bytes of the body
	ended   bool      // it was read to its end
	begun   bool      // the answer has begun
	held    []byte    // the last byte of a range
}

// Read reads from the body. What is read before the answer begins is held in memory by the engine, which is little for a
// stream and all of a frame that is none: that much is counted like a body.
func (t *transfer) Read(p []byte) (int, error) {
	t.arm()
	n, err := t.x.r.Body.Read(p)
	t.read += int64(n)
	if errors.Is(err, io.EOF) {
		t.ended = true
	}
	const free, step = 2 * uncounted, 1 << 20
	if !t.begun && t.read > max(free, t.x.share) {
		if err := t.x.hold(t.read + step); err != nil {
			return n, err
		}
	}
	return n, err
}

// Write writes to the answer. Of a range it holds the last byte back for finish.
func (t *transfer) Write(p []byte) (int, error) {
	t.arm()
	if t.part == nil || len(p) == 0 {
		return t.x.w.Write(p)
	}
	if len(t.held) > 0 {
		if _, err := t.x.w.Write(t.held); err != nil {
			return 0, err
		}
	}
	last := len(p) - 1
	t.held = append(t.held[:0], p[last])
	_, err := t.x.w.Write(p[:last])
	return len(p), err
}

// arm sets the deadlines anew, unless they have just been: for HTTP/2 it costs a turn of the connection's loop. So a stream
// breaks off after the idle time or up to an eighth of it before.
func (t *transfer) arm() {
	const part = 8
	now := time.Now()
	if now.Sub(t.armed) < t.idle/part {
		return
	}
	t.armed = now
	// Errors come from writers of tests, which have no deadlines.
	if !t.ended { // else the server watches the connection, and that nothing more comes must not end the request
		_ = t.control.SetReadDeadline(now.Add(t.idle))
	}
	// Later, so that an upload that stalls can be answered.
	_ = t.control.SetWriteDeadline(now.Add(t.idle + t.idle/4))
}

// begin begins the answer. It is engine.Begin.
func (t *transfer) begin(info engine.StreamInfo) (io.Writer, error) {
	x := t.x
	if t.read == 0 && (x.r.ProtoMajor != 1 || len(x.r.Header["Expect"]) > 0) {
		// The client may wait to be asked for the body, which is read after the answer has begun. Of HTTP/2 the server does
		// not tell; a client that does not wait ignores it.
		x.w.WriteHeader(http.StatusContinue)
	}
	h := x.w.Header()
	if t.part == nil {
		h["Trailer"] = streamTrailer
	} else {
		if t.part.From >= info.Total {
			return nil, stream.ErrRange
		}
		x.status = http.StatusPartialContent
		last := min(t.part.To, info.Total) - 1
		h["Content-Range"] = []string{
			"bytes " + strconv.FormatInt(t.part.From, 10) + "-" + strconv.FormatInt(last, 10) + "/" + strconv.FormatInt(info.Total, 10),
		}
		h["Content-Length"] = []string{strconv.FormatInt(info.Length, 10)}
		h[receiptHeader] = []string{x.call.Receipt.String()}
	}
	h["X-Key-Id"] = []string{info.KeyID}
	h["X-Algorithm"] = []string{info.Algorithm}
	h["X-Format"] = []string{strconv.Itoa(info.Format)}
	if t.decrypts {
		h["X-Rewrap"] = []string{strconv.FormatBool(info.Rewrap)}
	}
	if len(info.Warnings) > 0 {
		h["X-Warning"] = info.Warnings
	}
	x.contentType = applicationOctetStream
	x.setHeaders(h, make([]string, 1))
	// Without it an HTTP/1 server reads the whole body before it writes.
	_ = t.control.EnableFullDuplex()
	t.begun = true
	t.arm()
	x.w.WriteHeader(x.status)
	// At once: the client may wait for it before it sends more.
	return t, t.control.Flush()
}

// end adds what only a whole stream has.
func (t *transfer) end() {
	if t.part == nil {
		h := t.x.w.Header()
		h[receiptHeader] = []string{t.x.call.Receipt.String()}
		h[streamStatusHeader] = streamComplete
	}
}

// finish reads what the client still sends behind the range that it wanted, and then gives it the last byte. Ending an
// HTTP/1 connection with data on its way could take the answer with it; and there are clients that read nothing more, and so
// can send nothing more over HTTP/2, once they have the whole answer (curl 7.88).
func (t *transfer) finish() error {
	var err error
	if !t.ended {
		if err = t.control.Flush(); err == nil {
			_, err = io.Copy(io.Discard, t)
		}
	}
	if err == nil {
		t.arm()
		_, err = t.x.w.Write(t.held)
	}
	if err != nil {
		return fault.Wrap(fault.Malformed, "api.stream", "the stream broke off", err)
	}
	return nil
}

// How long a refused stream is read on. In HTTP/2 the answer ends only when that does.
const (
	lingers      = 2 * time.Second
	lingersHTTP2 = 100 * time.Millisecond
)

// linger reads for a moment what a client still sends whose stream was refused, so that it gets to know why. One that waits
// to be asked for its stream is not asked.
func (x *exchange) linger() {
	asked := x.transfer != nil && x.transfer.read > 0 || len(x.r.Header["Expect"]) == 0
	if !asked || x.r.ContentLength == 0 || (x.transfer != nil && x.transfer.ended) {
		return
	}
	moment := lingers
	if x.r.ProtoMajor != 1 {
		moment = lingersHTTP2
	}
	control := http.NewResponseController(x.w)
	if control.Flush() == nil && control.SetReadDeadline(time.Now().Add(moment)) == nil {
		_, _ = io.Copy(io.Discard, x.r.Body)
	}
}

// cut ends an answer that has begun so that nobody takes it for whole. It does not return.
func (x *exchange) cut(err error) {
	if !x.reusable && x.route.audited() {
		// After a panic the record of the end is missing.
		_ = x.server.config.Engine.Refuse(context.WithoutCancel(x.r.Context()), &x.call, x.route.action, x.resource(), err)
	}
	log := x.server.config.Log.With("request_id", x.call.RequestID, "method", x.r.Method, "route", x.route.path)
	if kind := fault.Of(err); kind == fault.Internal {
		log.Error("stream failed", "code", kind.Code(), "error", err)
	} else {
		x.server.refusals.Do(func() { log.Warn("stream broke off", "code", kind.Code(), "error", err) })
	}
	x.answered = true
	panic(http.ErrAbortHandler)
}
