package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// maxCallTime is how long a handler may work for a caller that set no limit, or a longer one.
	maxCallTime = time.Minute
	// callsIdleLimit ends a connection from which nothing comes; a caller that lives pings more often.
	callsIdleLimit = time.Minute
)

// served is the answering side of a connection of calls.
type served struct {
	*pipe
	t      *Transport
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}

	mu      sync.Mutex
	running map[uint64]context.CancelFunc
}

// serveCalls answers calls until the connection ends.
func (t *Transport) serveCalls(c *memberConn) {
	slots, _ := t.slots.LoadOrStore(c.node, make(chan struct{}, maxCallsPerNode))
	s := &served{
		pipe: newPipe(c), t: t, slots: slots.(chan struct{}),
		running: map[uint64]context.CancelFunc{},
	}
	s.ctx, s.cancel = context.WithCancel(t.ctx)
	defer s.cancel()
	if !t.spawn(s.write) {
		s.end(ErrClosed)
		return
	}
	err := s.read()
	s.end(err)
	if errors.Is(err, errFrame) {
		t.notices.warn(noticeFrame, slog.String("node", c.node), slog.Any("error", err))
	}
}

func (s *served) read() error {
	r := bufio.NewReaderSize(s.pipe, bufferBytes)
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(callsIdleLimit)); err != nil {
			return err
		}
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		if err := s.take(f); err != nil {
			return err
		}
	}
}

func (s *served) take(f frame) error {
	switch f.kind {
	case kindRequest:
		return s.request(f)
	case kindCancel:
		s.mu.Lock()
		defer s.mu.Unlock()
		if cancel := s.running[f.id]; cancel != nil {
			cancel()
		}
		return nil
	case kindPing:
		b := clock{wall: s.t.cfg.now()}.append(appendHead(nil, kindPong, f.id, clockBytes))
		s.put(outgoing{head: b})
		return nil
	default:
		return fmt.Errorf("%w: kind %d from the side that calls", errFrame, f.kind)
	}
}

// request starts the handler of a request. That the caller is a member still is asked each time: a removal counts from the
// moment in which this node has it.
func (s *served) request(f frame) error {
	limit, method, payload, err := parseRequest(f.body)
	if err != nil {
		return err
	}
	if err := s.t.still(s.conn); err != nil {
		return err
	}
	began := time.Now()
	h := s.t.handler.Load()
	if h == nil {
		s.refuse(f.id, began, &RemoteError{Code: CodeNotReady, Detail: "the node has not started yet, or is sealed"})
		return nil
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.refuse(f.id, began, &RemoteError{Code: CodeBusy, Detail: fmt.Sprintf("%d calls of this node are under way", maxCallsPerNode)})
		return nil
	}
	if limit <= 0 || limit > maxCallTime {
		limit = maxCallTime
	}
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	s.mu.Lock()
	_, twice := s.running[f.id]
	if !twice {
		s.running[f.id] = cancel
	}
	s.mu.Unlock()
	started := !twice && s.t.spawn(func() {
		defer func() {
			s.mu.Lock()
			delete(s.running, f.id)
			s.mu.Unlock()
			cancel()
			<-s.slots
		}()
		s.answer(ctx, *h, f.id, began, method, payload)
	})
	if !started {
		cancel()
		<-s.slots
		if twice {
			return fmt.Errorf("%w: request %d is there twice", errFrame, f.id)
		}
		return ErrClosed
	}
	return nil
}

func (s *served) answer(ctx context.Context, h Handler, id uint64, began time.Time, method string, request []byte) {
	answer, err := s.handle(ctx, h, method, request)
	if err == nil && len(answer) > MaxMessageBytes {
		err = &RemoteError{Code: CodeTooLarge, Detail: fmt.Sprintf("the answer has %d bytes", len(answer))}
	}
	if err != nil {
		refused, ok := errors.AsType[*RemoteError](err)
		switch {
		case ok:
		case ctx.Err() != nil:
			refused = &RemoteError{Code: codeTimeout}
		default:
			refused = &RemoteError{Code: CodeInternal}
			s.t.notices.log.DebugContext(ctx, "a call of a node failed", slog.String("node", s.conn.node), slog.String("method", method),
				slog.Any("error", err))
		}
		s.refuse(id, began, refused)
		return
	}
	s.put(outgoing{head: answerHead(id, s.clock(began), len(answer)), payload: answer})
}

// handle calls the handler. A panic in it is the end of the call, not of the node.
func (s *served) handle(ctx context.Context, h Handler, method string, request []byte) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.t.notices.warn(noticePanic, slog.String("node", s.conn.node), slog.String("method", method),
				slog.String("stack", string(debug.Stack())))
			answer, err = nil, &RemoteError{Code: CodeInternal}
		}
	}()
	return h(ctx, s.conn.node, method, request)
}

func (s *served) refuse(id uint64, began time.Time, e *RemoteError) {
	s.put(outgoing{head: refusalFrame(id, s.clock(began), e)})
}

func (s *served) clock(began time.Time) clock {
	return clock{wall: s.t.cfg.now(), taken: time.Since(began)}
}
