package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// streamRounds bounds the rounds of the comparison of streams, which are much longer than a slice.
	streamRounds = 3
	// together is the number of streams that run at once when the memory is measured a second time.
	together = 4
	// streamLimit bounds how long one stream may take.
	streamLimit = 2 * time.Minute
	streamBuf   = 256 << 10
)

// streamLoad is one stream to one server and back.
type streamLoad struct {
	server *server
	path   string
	size   int64  // bytes of the body
	file   string // what the body is read from; if empty it is one buffer again and again
	least  int64  // bytes that the answer must have
	most   int64
	told   bool // the answer must say in a trailer that it is complete
}

// moved is what one stream, or several at once, showed.
type moved struct {
	bytes   int64 // of the plaintexts
	elapsed time.Duration
	cpu     time.Duration // of the server
	load    time.Duration // processor time of this process
}

func (m moved) perSecond() float64 { return float64(m.bytes) / m.elapsed.Seconds() }

// run moves one stream. The answer goes to sink.
func (l *streamLoad) run(ctx context.Context, sink io.Writer) (moved, error) {
	return meter(l.server, func() error { return l.move(ctx, sink) })
}

// meter measures what work costs the server and this process. The bytes are for the caller to fill in.
func meter(s *server, work func() error) (moved, error) {
	before, err := s.cpu()
	if err != nil {
		return moved{}, err
	}
	own, begin := ownCPU(), time.Now()
	if err := work(); err != nil {
		return moved{}, fmt.Errorf("%s: %w", s.name, err)
	}
	m := moved{elapsed: time.Since(begin), load: ownCPU() - own}
	after, err := s.cpu()
	m.cpu = after - before
	return m, err
}

// ownCPU returns the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (l *streamLoad) move(ctx context.Context, sink io.Writer) error {
	c, err := dial(ctx, l.server)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the stream has ended or failed
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(streamLimit)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- l.send(c) }()
	err = l.receive(c, sink)
	if err != nil {
		_ = c.Close() // so that the sender ends
	}
	if failed := <-sent; err == nil {
		err = failed
	}
	return err
}

// send writes the request, whose body takes no work of its own.
func (l *streamLoad) send(c *conn) error {
	_, err := fmt.Fprintf(c, "POST %s?context=%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		l.path, url.QueryEscape(benchContext), l.server.address, l.server.token, streamType, l.size)
	if err != nil {
		return err
	}
	buf := plaintext(streamBuf)
	if l.file != "" {
		f, err := os.Open(l.file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		_, err = io.CopyBuffer(writerOnly{c}, io.LimitReader(f, l.size), buf)
		return err
	}
	for rest := l.size; rest > 0; {
		n, err := c.Write(buf[:min(rest, int64(len(buf)))])
		if err != nil {
			return err
		}
		rest -= int64(n)
	}
	return nil
}

// receive reads the answer and checks its length and its end.
func (l *streamLoad) receive(c *conn, sink io.Writer) error {
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or given up
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 300)) // the status is the error
		return fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	n, err := io.CopyBuffer(writerOnly{sink}, answer.Body, make([]byte, streamBuf))
	if err != nil {
		return err
	}
	if n < l.least || n > l.most {
		return fmt.Errorf("an answer of %d bytes, want %d to %d", n, l.least, l.most)
	}
	if status := answer.Trailer.Get("X-Stream-Status"); l.told && status != "complete" {
		return fmt.Errorf("the stream ends with the status %q", status)
	}
	return nil
}

// writerOnly hides ReadFrom, whose buffers are smaller than ours.
type writerOnly struct{ io.Writer }

// streamResult is the part of the report about streams.
type streamResult struct {
	size   int64
	rows   []*streamRow
	memory []memory
	// sinceStart tells that the peaks could not be reset and count from the start of the process.
	sinceStart bool
}

// streamRow compares the two servers in one direction.
type streamRow struct {
	label string
	goal  float64
	bare  []moved
	ours  []moved // of none if only the bare server runs
}

// memory is what streams take, in bytes.
type memory struct {
	label               string
	before, peak, after int64
	goal                int64 // 0: none
}

// growth is what the streams added at their worst.
func (m memory) growth() int64 { return m.peak - m.before }

// measureStream measures memory in a daemon that was just started, then speed.
func (b *bench) measureStream(ctx context.Context, r *report) error {
	result := &streamResult{size: b.streamBytes}
	r.stream = result
	if err := b.measureMemory(ctx, result); err != nil {
		return err
	}
	for _, direction := range []struct {
		label, path string
		goal        float64
	}{{"encrypt", encryptPath, goalStream}, {"decrypt", decryptPath, 0}} {
		row := &streamRow{label: direction.label, goal: direction.goal}
		result.rows = append(result.rows, row)
		bare, err := b.streamLoad(ctx, b.bare, direction.path)
		if err != nil {
			return err
		}
		turns := []turn{{bare, &row.bare}}
		if ours := b.daemons[streamMode]; ours != nil {
			l, err := b.streamLoad(ctx, ours, direction.path)
			if err != nil {
				return err
			}
			turns = append(turns, turn{l, &row.ours})
		}
		if err := b.takeTurns(ctx, direction.label, turns); err != nil {
			return err
		}
		if direction.path == decryptPath {
			for _, t := range turns {
				if err := os.Remove(t.load.file); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// streamMode is the daemon that streams are measured with. A stream has two records, so the mode makes no difference.
const streamMode = "strict"

// turn is a load and where its results go.
type turn struct {
	load *streamLoad
	into *[]moved
}

// takeTurns runs the loads one after the other, in a changing order.
func (b *bench) takeTurns(ctx context.Context, label string, turns []turn) error {
	rounds := min(b.rounds, streamRounds)
	for round := range rounds {
		b.say("stream, %s %d MiB: round %d of %d", label, b.streamBytes>>20, round+1, rounds)
		for _, t := range turns {
			m, err := t.load.run(ctx, io.Discard)
			if err != nil {
				return err
			}
			m.bytes = b.streamBytes
			*t.into = append(*t.into, m)
		}
		slices.Reverse(turns)
	}
	return nil
}

// streamLoad returns the load of one direction. What is to be decrypted is encrypted into a file first.
func (b *bench) streamLoad(ctx context.Context, s *server, path string) (*streamLoad, error) {
	l := &streamLoad{server: s, path: encryptPath, size: b.streamBytes, least: b.streamBytes, most: math.MaxInt64, told: s != b.bare}
	if path == encryptPath {
		return l, nil
	}
	file := filepath.Join(b.dir, fmt.Sprintf("ciphertext-%d", s.cmd.Process.Pid))
	b.say("stream: a ciphertext of %s", s.name)
	size, err := l.intoFile(ctx, file)
	if err != nil {
		return nil, err
	}
	return &streamLoad{
		server: s, path: path, size: size, file: file, least: b.streamBytes, most: b.streamBytes, told: s != b.bare,
	}, nil
}

// intoFile keeps an answer and returns its length. It is on the disk when it returns, so that writing it back falls on
// nobody's slice.
func (l *streamLoad) intoFile(ctx context.Context, name string) (size int64, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := l.run(ctx, f); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), f.Sync()
}

// measureMemory looks at the resident memory around one stream and around several at once. Both are compared with the
// memory of a daemon that was started just before and has served nothing; the bare server is there to compare with.
func (b *bench) measureMemory(ctx context.Context, result *streamResult) error {
	if b.daemons[streamMode] != nil {
		if err := b.restart(ctx, streamMode); err != nil {
			return err
		}
	}
	for _, s := range []*server{b.bare, b.daemons[streamMode]} {
		if s == nil {
			continue
		}
		before, err := s.rss()
		if err != nil {
			return err
		}
		for _, count := range []int{1, together} {
			m := memory{label: fmt.Sprintf("%s, %d at once", s.name, count), before: before}
			if s != b.bare && count == 1 {
				m.goal = goalGrowth
			}
			b.say("stream: memory of %s", m.label)
			if err := b.watchMemory(ctx, s, count, &m, result); err != nil {
				return err
			}
			result.memory = append(result.memory, m)
		}
	}
	return nil
}

func (b *bench) watchMemory(ctx context.Context, s *server, count int, m *memory, result *streamResult) error {
	if s.resetPeak() != nil { // no right to
		result.sinceStart = true
	}
	l, err := b.streamLoad(ctx, s, encryptPath)
	if err != nil {
		return err
	}
	errs := make([]error, count)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = l.move(ctx, io.Discard) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if m.peak, err = s.peak(); err != nil {
		return err
	}
	m.after, err = s.rss()
	return err
}
