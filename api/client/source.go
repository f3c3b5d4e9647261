package client

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// source is what a stream is read from, over all tries.
type source struct {
	r      io.Reader
	seeker io.Seeker // nil when r cannot go back
	start  int64
	length int64 // bytes to send; -1 when it is not known before the end

	began atomic.Bool // somebody has begun to read

	mu    sync.Mutex // held while r is read
	sent  int64
	ended bool
	err   error // of r, or its early end
}

// newSource finds out whether r can go back to where it stands now, and how much follows.
func newSource(r io.Reader) (*source, error) {
	if r == nil {
		return nil, errors.New("client: a stream needs a source")
	}
	s := &source{r: r, length: -1}
	if seeker, ok := r.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil { // a pipe is an *os.File too, and refuses
			end, err := seeker.Seek(0, io.SeekEnd)
			if err == nil {
				_, err = seeker.Seek(start, io.SeekStart)
			}
			if err != nil {
				return nil, &SourceError{Err: err}
			}
			s.seeker, s.start = seeker, start
			if end > start { // devices and files of /proc say 0 and have more
				s.length = end - start
			}
		}
	} else if sized, ok := r.(interface{ Len() int }); ok {
		s.length = int64(sized.Len())
	}
	return s, nil
}

// rewind prepares for another try, if that is possible. No upload of an earlier try may be open.
func (s *source) rewind() bool {
	if s.seeker == nil {
		return !s.began.Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	if _, err := s.seeker.Seek(s.start, io.SeekStart); err != nil {
		s.err = &SourceError{Err: err}
		return false
	}
	s.sent, s.ended = 0, false
	return true
}

// failure returns why the source could not be read to its end; nil if it was not the source's fault.
func (s *source) failure() error {
	if !s.mu.TryLock() { // it is being read: it has not failed
		return nil
	}
	defer s.mu.Unlock()
	return s.err
}

// whole reports whether all of the source was sent.
func (s *source) whole() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.ended || s.sent == s.length
}

// SourceError is a source that could not be read to its end.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return fmt.Sprintf("read the source of the stream: %v", e.Err) }
func (e *SourceError) Unwrap() error { return e.Err }

// upload is the source as the body of one try.
type upload struct {
	*source
	watch  *watch
	closed atomic.Bool
}

var errUploadClosed = errors.New("the request has ended")

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed.Load() {
		return 0, errUploadClosed
	}
	u.began.Store(true)
	if u.err != nil {
		return 0, u.err
	}
	if u.length >= 0 {
		p = p[:min(int64(len(p)), u.length-u.sent)]
		if len(p) == 0 {
			return 0, io.EOF
		}
	}
	u.watch.reading(true)
	n, err := u.r.Read(p)
	u.watch.reading(false)
	u.sent += int64(n)
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF):
		u.err = &SourceError{Err: err}
	case u.length >= 0 && u.sent < u.length:
		u.err = &SourceError{Err: fmt.Errorf("it ended after %d of %d bytes", u.sent, u.length)}
	default:
		u.ended = true
		return n, io.EOF
	}
	return n, u.err
}

// Close does not wait for a Read under way, which may be one of a pipe on which nothing comes.
func (u *upload) Close() error {
	u.closed.Store(true)
	return nil
}
