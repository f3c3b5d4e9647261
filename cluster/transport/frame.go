package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// MaxMessageBytes bounds a request and an answer.
const MaxMessageBytes = 4 << 20

const (
	maxMethodBytes = 255
	maxCodeBytes   = 255
	maxDetailBytes = 4 << 10

	frameHeadBytes = 4 + 1 + 8
	// maxBodyBytes is what can follow the head of a frame.
	maxBodyBytes = MaxMessageBytes + 1<<10
	clockBytes   = 8 + 8

	bufferBytes = 32 << 10
	queueFrames = 256
	writeLimit  = 10 * time.Second // for what lies in the queue
)

// The kinds of frames.
const (
	kindRequest byte = 1
	kindAnswer  byte = 2
	kindRefusal byte = 3
	kindCancel  byte = 4
	kindPing    byte = 5
	kindPong    byte = 6
)

var errFrame = errors.New("not a frame of calls")

// frame is what arrives: kind, id and the rest, whose layout doc.go has.
type frame struct {
	kind byte
	id   uint64
	body []byte
}

// readFrame reads one frame. It takes memory as the bytes arrive, not as the length promises.
func readFrame(r *bufio.Reader) (frame, error) {
	var head [frameHeadBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := int(binary.BigEndian.Uint32(head[:4]))
	f := frame{kind: head[4], id: binary.BigEndian.Uint64(head[5:])}
	if n < frameHeadBytes-4 || n > frameHeadBytes-4+maxBodyBytes || f.kind < kindRequest || f.kind > kindPong {
		return frame{}, fmt.Errorf("%w: kind %d, length %d", errFrame, f.kind, n)
	}
	n -= frameHeadBytes - 4
	if n <= bufferBytes {
		f.body = make([]byte, n)
		_, err := io.ReadFull(r, f.body)
		return f, unexpected(err)
	}
	var b bytes.Buffer
	_, err := io.CopyN(&b, r, int64(n))
	f.body = b.Bytes()
	return f, unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendHead begins a frame of which after bytes follow those that the caller appends to the head, extra.
func appendHead(b []byte, kind byte, id uint64, extra int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(frameHeadBytes-4+extra)) //nolint:gosec // bounded by maxBodyBytes
	return binary.BigEndian.AppendUint64(append(b, kind), id)
}

// requestHead returns a request up to its payload. A limit of 0 is none.
func requestHead(id uint64, limit time.Duration, method string, payload int) []byte {
	extra := 4 + 1 + len(method) + payload
	b := appendHead(make([]byte, 0, frameHeadBytes+5+len(method)), kindRequest, id, extra)
	ms := min(max(limit.Milliseconds(), 0), 1<<31)
	if limit > 0 && ms == 0 {
		ms = 1
	}
	b = binary.BigEndian.AppendUint32(b, uint32(ms))
	return append(append(b, byte(len(method))), method...) //nolint:gosec // Call bounds it
}

func parseRequest(body []byte) (limit time.Duration, method string, payload []byte, err error) {
	if len(body) < 5 || len(body) < 5+int(body[4]) || body[4] == 0 {
		return 0, "", nil, fmt.Errorf("%w: request", errFrame)
	}
	limit = time.Duration(binary.BigEndian.Uint32(body)) * time.Millisecond
	n := 5 + int(body[4])
	return limit, string(body[5:n]), body[n:], nil
}

// clock is what an answer tells about time: the wall clock of the peer and how long it worked.
type clock struct {
	wall  time.Time
	taken time.Duration
}

func (c clock) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(c.wall.UnixNano()))
	return binary.BigEndian.AppendUint64(b, uint64(max(c.taken, 0).Nanoseconds())) //nolint:gosec // as i64
}

func parseClock(body []byte) (clock, []byte, error) {
	if len(body) < clockBytes {
		return clock{}, nil, fmt.Errorf("%w: clock", errFrame)
	}
	wall, taken := int64(binary.BigEndian.Uint64(body)), int64(binary.BigEndian.Uint64(body[8:])) //nolint:gosec // as i64
	return clock{wall: time.Unix(0, wall), taken: time.Duration(taken)}, body[clockBytes:], nil
}

// answerHead returns an answer up to its payload.
func answerHead(id uint64, c clock, payload int) []byte {
	return c.append(appendHead(make([]byte, 0, frameHeadBytes+clockBytes), kindAnswer, id, clockBytes+payload))
}

func refusalFrame(id uint64, c clock, e *RemoteError) []byte {
	code, detail := cut(e.Code, maxCodeBytes), cut(e.Detail, maxDetailBytes)
	b := c.append(appendHead(nil, kindRefusal, id, clockBytes+1+len(code)+len(detail)))
	return append(append(append(b, byte(len(code))), code...), detail...) //nolint:gosec // cut
}

func parseRefusal(body []byte) (*RemoteError, error) {
	if len(body) < 1 || len(body) < 1+int(body[0]) {
		return nil, fmt.Errorf("%w: refusal", errFrame)
	}
	n := 1 + int(body[0])
	return &RemoteError{Code: string(body[1:n]), Detail: string(body[n:])}, nil
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// outgoing is a frame on its way out, in two parts so that a large payload is not copied.
type outgoing struct {
	head, payload []byte
	// claim is asked before the first byte is sent; the frame is left out if it says no. May be nil.
	claim func() bool
}

// pipe is one connection of calls: a queue of frames with one goroutine that writes them, and its end.
type pipe struct {
	conn  *memberConn
	queue chan outgoing
	done  chan struct{} // closed after the connection
	heard atomic.Uint64 // bytes that arrived
	// large is true while a large payload is written: a ping behind it gets no answer yet.
	large atomic.Bool

	once sync.Once
	err  error // why it ended; set before done is closed
}

func newPipe(c *memberConn) *pipe {
	return &pipe{conn: c, queue: make(chan outgoing, queueFrames), done: make(chan struct{})}
}

// end closes the connection. Nothing is sent any more when done is closed.
func (p *pipe) end(err error) {
	p.once.Do(func() {
		p.err = err
		_ = p.conn.Close()
		close(p.done)
	})
}

func (p *pipe) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Read counts what arrives.
func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.conn.Read(b)
	p.heard.Add(uint64(n)) //nolint:gosec // a count
	return n, err
}

// put queues a frame, unless the connection ends before there is room.
func (p *pipe) put(o outgoing) {
	select {
	case p.queue <- o:
	case <-p.done:
	}
}

// offer queues a frame if there is room.
func (p *pipe) offer(o outgoing) {
	select {
	case p.queue <- o:
	default:
	}
}

// write sends what is queued until the connection ends. Frames that wait go out together.
func (p *pipe) write() {
	w := bufio.NewWriterSize(p.conn, bufferBytes)
	for {
		select {
		case <-p.done:
			return
		case o := <-p.queue:
			if err := p.send(w, o); err != nil {
				p.end(err)
				return
			}
		}
	}
}

func (p *pipe) send(w *bufio.Writer, o outgoing) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	for {
		if o.claim == nil || o.claim() {
			if _, err := w.Write(o.head); err != nil {
				return err
			}
			large := len(o.payload) > bufferBytes
			p.large.Store(large)
			_, err := w.Write(o.payload)
			p.large.Store(false)
			if err != nil {
				return err
			}
		}
		select {
		case o = <-p.queue:
		default:
			return w.Flush()
		}
	}
}
