package client

import (
	"errors"
	"sync"
	"time"
)

// errStalled is why a stream was ended on which nothing moved.
var errStalled = errors.New("nothing moved for too long")

// watch ends a stream on which the server does nothing for some time. Time that passes in the source, or while the caller
// does something else with what was read, does not count.
type watch struct {
	timeout time.Duration

	mu       sync.Mutex
	timer    *time.Timer
	forReply bool // somebody waits for the server
	inSource bool // the source is being read
}

// newWatch returns a watch that calls expired at most once. It begins with waiting.
func newWatch(timeout time.Duration, expired func()) *watch {
	w := &watch{timeout: timeout, forReply: true}
	w.timer = time.AfterFunc(timeout, expired)
	return w
}

// waiting says whether somebody waits for the server.
func (w *watch) waiting(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forReply = yes
	w.set()
}

// reading says whether the source is being read.
func (w *watch) reading(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inSource = yes
	w.set()
}

func (w *watch) set() {
	if w.forReply && !w.inSource {
		w.timer.Reset(w.timeout)
	} else {
		w.timer.Stop()
	}
}
