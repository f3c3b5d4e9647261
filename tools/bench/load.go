package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"cryptoserve/api/wire"
)

const (
	encryptPath = "/api/v1/crypto/encrypt"
	decryptPath = "/api/v1/crypto/decrypt"
	// benchContext is one of the contexts that the daemon's demo application may use.
	benchContext = "default"
	// warmUp is the number of requests on each connection before the clock starts.
	warmUp = 20
	// answerLimit bounds how long one answer may take.
	answerLimit = 30 * time.Second
)

// load is one kind of request to one server.
type load struct {
	server  *server
	request []byte             // complete, head and body
	check   func([]byte) error // of the first answer on each connection
}

// slice is what one slice of load showed.
type slice struct {
	elapsed   time.Duration
	cpu       time.Duration // of the server
	latencies []time.Duration
}

func (s slice) perSecond() float64 { return float64(len(s.latencies)) / s.elapsed.Seconds() }

// request returns the bytes of a POST.
func request(s *server, path string, body any) ([]byte, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, s.address, s.token, len(encoded))
	b.Write(encoded)
	return b.Bytes(), nil
}

// encryptLoad asks to encrypt size bytes. Its check wants a ciphertext that is longer than that.
func encryptLoad(s *server, size int) (*load, error) {
	req, err := request(s, encryptPath, wire.EncryptRequest{Plaintext: plaintext(size), Context: benchContext})
	if err != nil {
		return nil, err
	}
	return &load{server: s, request: req, check: func(body []byte) error {
		var answer wire.EncryptResponse
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if len(answer.Ciphertext) < size+28 {
			return fmt.Errorf("a ciphertext of %d bytes for a plaintext of %d", len(answer.Ciphertext), size)
		}
		return nil
	}}, nil
}

// decryptLoad asks to decrypt what the server encrypted before. Its check wants the plaintext back.
func decryptLoad(ctx context.Context, s *server, size int) (*load, error) {
	encrypt, err := encryptLoad(s, size)
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // one request, answered
	body, err := c.do(encrypt.request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	var sealed wire.EncryptResponse
	if err := json.Unmarshal(body, &sealed); err != nil {
		return nil, err
	}
	req, err := request(s, decryptPath, wire.DecryptRequest{Ciphertext: sealed.Ciphertext, Context: benchContext})
	if err != nil {
		return nil, err
	}
	return &load{server: s, request: req, check: func(body []byte) error {
		var answer wire.DecryptResponse
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if !bytes.Equal(answer.Plaintext, plaintext(size)) {
			return errors.New("the plaintext is not the one that was encrypted")
		}
		return nil
	}}, nil
}

func plaintext(size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i)
	}
	return p
}

// run keeps the server busy for the given time over that many connections, each with one request at a time. Every
// answer must be 200.
func (l *load) run(ctx context.Context, connections int, length time.Duration) (slice, error) {
	conns := make([]*conn, 0, connections)
	defer func() {
		for _, c := range conns {
			_ = c.Close() // the slice is over
		}
	}()
	for range connections {
		c, err := dial(ctx, l.server)
		if err != nil {
			return slice{}, err
		}
		conns = append(conns, c)
	}
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() { errs[i] = l.warm(c) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return slice{}, fmt.Errorf("%s: %w", l.server.name, err)
	}

	before, err := l.server.cpu()
	if err != nil {
		return slice{}, err
	}
	latencies := make([][]time.Duration, connections)
	begin := time.Now()
	for i, c := range conns {
		wg.Go(func() { latencies[i], errs[i] = l.repeat(ctx, c, begin.Add(length)) })
	}
	wg.Wait()
	elapsed := time.Since(begin)
	after, err := l.server.cpu()
	if err := errors.Join(append(errs, err)...); err != nil {
		return slice{}, fmt.Errorf("%s: %w", l.server.name, err)
	}
	return slice{elapsed: elapsed, cpu: after - before, latencies: slices.Concat(latencies...)}, nil
}

func (l *load) warm(c *conn) error {
	for i := range warmUp {
		body, err := c.do(l.request)
		if err != nil {
			return err
		}
		if i == 0 {
			if err := l.check(body); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *load) repeat(ctx context.Context, c *conn, end time.Time) ([]time.Duration, error) {
	latencies := make([]time.Duration, 0, 1<<14)
	for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
		if _, err := c.do(l.request); err != nil {
			return nil, err
		}
		then := time.Now()
		latencies = append(latencies, then.Sub(now))
		now = then
	}
	return latencies, ctx.Err()
}

// conn is one keep-alive connection with a reader that does the least that HTTP/1.1 asks for.
type conn struct {
	net.Conn
	r    *bufio.Reader
	body []byte // of the last answer, used again for the next
}

func dial(ctx context.Context, s *server) (*conn, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: answerLimit}, Config: s.tls}
	c, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.name, err)
	}
	return newConn(c), nil
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, r: bufio.NewReaderSize(c, 32<<10)} }

// do sends a request and returns the body of its answer, which holds until the next call. Any status but 200 is an error.
func (c *conn) do(request []byte) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return nil, err
	}
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	status, length, err := c.head()
	if err != nil {
		return nil, err
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.r, c.body); err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("status %d: %.300s", status, c.body)
	}
	return c.body, nil
}

// head reads the status line and the fields up to the blank line. Servers here must give a Content-Length.
func (c *conn) head() (status, length int, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, errors.New("not an HTTP/1.1 status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, errors.New("not an HTTP/1.1 status line")
	}
	length = -1
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		const field = "content-length:"
		if len(line) > len(field) && bytes.EqualFold(line[:len(field)], []byte(field)) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(field):]))); err != nil {
				return 0, 0, errors.New("bad Content-Length")
			}
		}
	}
	if length < 0 || length > 64<<20 {
		return 0, 0, fmt.Errorf("status %d: no Content-Length, or more than 64 MiB", status)
	}
	return status, length, nil
}
