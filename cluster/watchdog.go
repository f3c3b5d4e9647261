package cluster

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// watchdog notices a leader whose own entries do not commit. Raft does not: a leader whose disk hangs goes on sending
// heartbeats and keeps its leadership (hashicorp/raft#503), and one whose leadership transfer was left half done refuses
// every entry (hashicorp/raft#696).
type watchdog struct {
	limit time.Duration
	leads func() bool
	// bark is called when the watchdog has tripped, and may be nil.
	bark  func()
	stuck atomic.Bool
	// transferring is since when Raft refuses every entry because a transfer is in progress, refusedAt when it did last, in
	// nanoseconds since 1970. A transfer takes an election timeout at most.
	transferring, refusedAt atomic.Int64
}

func newWatchdog(limit time.Duration, leads func() bool, bark func()) *watchdog {
	return &watchdog{limit: limit, leads: leads, bark: bark}
}

func (w *watchdog) trip() {
	w.stuck.Store(true)
	if w.bark != nil {
		w.bark()
	}
}

// watch begins the wait for one entry. The function that it returns ends it, and is told how the entry went.
func (w *watchdog) watch() (stop func(err error)) {
	var ended atomic.Bool
	timer := time.AfterFunc(w.limit, func() {
		if !w.leads() {
			return
		}
		// A process that was paused finds its timers over. What else was due has time to happen.
		time.AfterFunc(w.limit/4, func() {
			if w.leads() && !ended.Load() {
				w.trip()
			}
		})
	})
	return func(err error) {
		ended.Store(true)
		timer.Stop()
		switch {
		case err == nil:
			if w.stuck.Load() {
				w.stuck.Store(false)
			}
			if w.transferring.Load() != 0 {
				w.transferring.Store(0)
			}
		case errors.Is(err, raft.ErrLeadershipTransferInProgress):
			w.refused(time.Now().UnixNano())
		default:
			w.transferring.Store(0)
		}
	}
}

// refused notes that Raft refused an entry for a transfer at a time. Ticks come ten times a second: when the last refusal was
// long ago, it was for another transfer.
func (w *watchdog) refused(now int64) {
	last := w.refusedAt.Swap(now)
	if now-last > int64(w.limit) {
		w.transferring.Store(now)
		return
	}
	if w.transferring.CompareAndSwap(0, now) {
		return
	}
	if now-w.transferring.Load() > int64(w.limit) && w.leads() {
		w.trip()
	}
}

// tripped reports whether an entry waited too long and none was committed since.
func (w *watchdog) tripped() bool { return w.stuck.Load() }
