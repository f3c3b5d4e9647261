package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
)

// ErrCut marks a stream that ended before the server said that it is complete. What was read of it until then must not be
// taken for the whole.
var ErrCut = errors.New("the stream was cut off before its end")

// StreamInfo is what the server tells about a stream before its first byte.
type StreamInfo struct {
	KeyID     string
	Algorithm string
	Format    int
	Rewrap    bool // the key version is no longer the one that protects
	Warnings  []string
	RequestID string
	// Length is the number of bytes that can be read, -1 if it is not known.
	Length int64
	// First is the place of the first byte in the whole plaintext: 0 but for a range.
	First int64
	// Total is the length of the whole plaintext of which this is a range, -1 if it is not known or this is no range.
	Total int64
}

// Stream is the answer of EncryptStream, DecryptStream or DecryptRange. Each byte of a decrypted stream is authentic and at
// its place when Read gives it; that nothing is missing is known at io.EOF only. So whatever is done with the bytes before
// must be undone when Read gives another error: write to a temporary file, and rename it after io.EOF.
//
// A Stream is for one goroutine. Close must be called.
type Stream struct {
	StreamInfo

	answer *http.Response
	up     *upload
	watch  *watch
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // tells why the stream ended early
	ranged bool
	read   int64
	err    error // of all further reads
}

// EncryptStream encrypts what src gives, of any size, in constant memory. What is read from the Stream is a ciphertext that
// DecryptStream opens with the same context and associated data. Contexts whose key is a pair refuse streams with the Code
// "algorithm-disallowed".
//
// src is read in another goroutine until the Stream ends; a Read of src that is under way at Close is not waited for. If src
// is an io.Seeker its length now is what is encrypted, and a try that the server refused or did not answer is repeated from
// where src stands now. Otherwise only a try that has read nothing is repeated. Once the server has answered, none is.
func (c *Client) EncryptStream(ctx context.Context, contextName string, associatedData []byte, src io.Reader) (*Stream, error) {
	return c.stream(ctx, "encrypt", contextName, associatedData, src, "")
}

// DecryptStream opens what EncryptStream made, or a frame of Encrypt of at most 17 MiB. See EncryptStream for src and Stream
// for what may be done with the plaintext before io.EOF.
func (c *Client) DecryptStream(ctx context.Context, contextName string, associatedData []byte, src io.Reader) (*Stream, error) {
	return c.stream(ctx, "decrypt", contextName, associatedData, src, "")
}

// DecryptRange opens the bytes first to last of a plaintext, counted from 0 and both included as in RFC 9110 section 14.1.2;
// last may lie behind the end, and -1 means to the end. All of src may be sent, and its length must be known: it is an
// io.Seeker or has the method Len() int. A range that does not reach the end says nothing about what follows it.
func (c *Client) DecryptRange(
	ctx context.Context, contextName string, associatedData []byte, src io.Reader, first, last int64,
) (*Stream, error) {
	if first < 0 || last < -1 || last != -1 && last < first {
		return nil, errors.New("client: a range needs 0 <= first <= last, or last -1")
	}
	spec := "bytes=" + strconv.FormatInt(first, 10) + "-"
	if last != -1 {
		spec += strconv.FormatInt(last, 10)
	}
	s, err := c.stream(ctx, "decrypt", contextName, associatedData, src, spec)
	if err != nil {
		return nil, err
	}
	if s.First != first || last != -1 && s.Length > last-first+1 {
		_ = s.Close() // it is of no use
		return nil, fmt.Errorf("client: %w: it is another range than the one asked for", ErrAnswer)
	}
	return s, nil
}

// EncryptTo is EncryptStream with a writer for the ciphertext. It returns the number of bytes written. When it fails, dst may
// have got the beginning of a ciphertext, which cannot be decrypted as a whole.
func (c *Client) EncryptTo(
	ctx context.Context, dst io.Writer, contextName string, associatedData []byte, src io.Reader,
) (StreamInfo, int64, error) {
	return copyStream(dst, func() (*Stream, error) { return c.EncryptStream(ctx, contextName, associatedData, src) })
}

// DecryptTo is DecryptStream with a writer for the plaintext. It returns the number of bytes written. When it fails, dst may
// have got the beginning of the plaintext: authentic, but not the whole, so the caller must throw it away.
func (c *Client) DecryptTo(
	ctx context.Context, dst io.Writer, contextName string, associatedData []byte, src io.Reader,
) (StreamInfo, int64, error) {
	return copyStream(dst, func() (*Stream, error) { return c.DecryptStream(ctx, contextName, associatedData, src) })
}

func copyStream(dst io.Writer, open func() (*Stream, error)) (StreamInfo, int64, error) {
	s, err := open()
	if err != nil {
		return StreamInfo{}, 0, err
	}
	defer func() { _ = s.Close() }() // the copy tells
	n, err := io.Copy(dst, s)
	return s.StreamInfo, n, err
}

// stream carries out a streaming operation with retries until the server's answer begins.
func (c *Client) stream(
	ctx context.Context, act, contextName string, associatedData []byte, src io.Reader, spec string,
) (*Stream, error) {
	if contextName == "" {
		return nil, errors.New("client: a stream needs the name of a context")
	}
	from, err := newSource(src)
	if err != nil {
		return nil, err
	}
	op := operation{
		method: http.MethodPost, path: "/api/v1/crypto/" + act + "?context=" + url.QueryEscape(contextName), authenticated: true,
	}
	// The request is not announced with Expect: 100-continue. A server of net/http that refuses such a request in its middle
	// closes the connection at once, and the answer may be lost. Otherwise it leaves time to read it.
	header := http.Header{"Content-Type": {streamType}, "Accept": {streamType + ", " + ProblemType}}
	if len(associatedData) > 0 {
		header.Set("X-Associated-Data", base64.StdEncoding.EncodeToString(associatedData))
	}
	if spec != "" {
		header.Set("Range", spec)
	}
	if spec != "" && from.length < 0 {
		return nil, errors.New("client: a range needs a source of known length: an io.Seeker, or one with Len() int")
	}
	for tries := 1; ; tries++ {
		s, err := c.tryStream(ctx, op, header, from)
		if err == nil {
			return s, nil
		}
		if failed := from.failure(); failed != nil {
			return nil, fmt.Errorf("client: %w", failed)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("client: %w", context.Cause(ctx))
		}
		if !from.rewind() {
			return nil, err
		}
		if err := c.beforeNext(ctx, err, tries, true); err != nil {
			return nil, err
		}
	}
}

// tryStream sends the request once and returns as soon as the server's answer begins.
func (c *Client) tryStream(parent context.Context, op operation, header http.Header, from *source) (_ *Stream, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	w := newWatch(c.timeout, func() { cancel(errStalled) })
	up := &upload{source: from, watch: w}
	defer func() {
		if err != nil {
			_ = up.Close()
			cancel(nil)
			w.waiting(false)
		}
	}()
	var sent atomic.Bool
	req, err := c.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	}), op, up)
	if err != nil {
		return nil, err
	}
	if req.ContentLength = from.length; op.method == http.MethodGet {
		req.Body = http.NoBody
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		return nil, &ConnectError{Server: c.server, Sent: sent.Load(), Err: withoutURL(err)}
	}
	s := &Stream{
		StreamInfo: streamInfo(resp), answer: resp, up: up, watch: w, cancel: cancel, ctx: ctx,
		ranged: header.Get("Range") != "",
	}
	if err := c.checkStream(s, resp); err != nil {
		_ = resp.Body.Close() // what it says is known
		return nil, err
	}
	w.waiting(false)
	return s, nil
}

// checkStream refuses an answer that is no stream.
func (c *Client) checkStream(s *Stream, resp *http.Response) error {
	want := http.StatusOK
	if s.ranged {
		want = http.StatusPartialContent
	}
	switch media := mediaType(resp); {
	case resp.StatusCode >= http.StatusMultipleChoices:
		answer, err := c.readAnswer(resp)
		if err != nil {
			return err
		}
		return problem(resp.StatusCode, resp.Header, answer, c.now())
	case media != streamType:
		return fmt.Errorf("client: %w: its media type is %q; check the server's address", ErrAnswer, clip(media))
	case resp.StatusCode != want:
		return fmt.Errorf("client: %w: its status is %d and not %d", ErrAnswer, resp.StatusCode, want)
	}
	return nil
}

func streamInfo(resp *http.Response) StreamInfo {
	h := resp.Header
	info := StreamInfo{
		KeyID: clip(h.Get("X-Key-Id")), Algorithm: clip(h.Get("X-Algorithm")), RequestID: clip(h.Get(requestIDHeader)),
		Rewrap: h.Get("X-Rewrap") == "true", Length: resp.ContentLength, Total: -1,
	}
	info.Format, _ = strconv.Atoi(h.Get("X-Format")) // 0 when it is not told
	for _, warning := range h.Values("X-Warning") {
		info.Warnings = append(info.Warnings, clip(warning))
	}
	if first, last, total, ok := contentRange(h.Get("Content-Range")); ok {
		info.First, info.Length, info.Total = first, last-first+1, total
	}
	return info
}

// contentRange reads RFC 9110 section 14.4; total is -1 for "*".
func contentRange(value string) (first, last, total int64, ok bool) {
	spec, found := strings.CutPrefix(value, "bytes ")
	part, whole, slash := strings.Cut(spec, "/")
	from, to, dash := strings.Cut(part, "-")
	if !found || !slash || !dash {
		return 0, 0, 0, false
	}
	if whole == "*" {
		total = -1
	} else if n, err := strconv.ParseUint(whole, 10, 63); err == nil {
		total = int64(n)
	} else {
		return 0, 0, 0, false
	}
	a, errA := strconv.ParseUint(from, 10, 62)
	b, errB := strconv.ParseUint(to, 10, 62)
	if errA != nil || errB != nil || b < a {
		return 0, 0, 0, false
	}
	return int64(a), int64(b), total, true
}

// Read gives the next bytes. io.EOF means that the server has said that the stream is complete. Any other error means that
// what was read is not the whole: it is ErrCut, a *SourceError or the end of the context, and stays.
func (s *Stream) Read(p []byte) (int, error) {
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	s.watch.waiting(true)
	n, err := s.answer.Body.Read(p)
	s.watch.waiting(false)
	s.read += int64(n)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = s.ending()
	}
	if err != nil {
		s.err = s.cut(err)
	} else {
		s.err = io.EOF
	}
	s.release()
	return n, s.err
}

// ending says what is missing at the end of the body; nil if nothing is.
func (s *Stream) ending() error {
	status := s.answer.Trailer.Get("X-Stream-Status")
	switch {
	case s.Length >= 0 && s.read != s.Length:
		return fmt.Errorf("%d of %d bytes came", s.read, s.Length)
	case status == "complete":
	case status != "":
		return fmt.Errorf("the server says %q", clip(status))
	case !s.ranged || s.Length < 0:
		return errors.New("the server did not say that it is complete")
	}
	if !s.ranged && !s.up.whole() {
		return errors.New("the server ended it before it had all of the source")
	}
	return nil
}

// cut says why a stream is not complete.
func (s *Stream) cut(err error) error {
	if failed := s.up.failure(); failed != nil {
		return fmt.Errorf("client: %w", failed)
	}
	if cause := context.Cause(s.ctx); cause != nil {
		if !errors.Is(cause, errStalled) {
			return fmt.Errorf("client: %w", cause)
		}
		err = cause
	}
	if s.RequestID != "" {
		return fmt.Errorf("client: %w: %w (request %s)", ErrCut, err, s.RequestID)
	}
	return fmt.Errorf("client: %w: %w", ErrCut, err)
}

// Receipt is the place of the operation's record in the node's audit log. It is known after io.EOF.
func (s *Stream) Receipt() string {
	if receipt := s.answer.Trailer.Get("Audit-Receipt"); receipt != "" {
		return clip(receipt)
	}
	return clip(s.answer.Header.Get("Audit-Receipt"))
}

// Close ends the stream; before io.EOF it tells the server to stop.
func (s *Stream) Close() error {
	if s.err == nil {
		s.err = errors.New("client: the stream is closed")
		s.release()
	}
	return nil
}

func (s *Stream) release() {
	_ = s.up.Close()
	_ = s.answer.Body.Close() // its end has been judged, or nobody wants it
	s.cancel(nil)
	s.watch.waiting(false)
}
