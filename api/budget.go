package api

import (
	"sync/atomic"

	"cryptoserve/engine/fault"
)

// uncounted is the largest body that is not counted: all others together must not keep a small request out. Connections
// and streams bound how many of these there are.
const uncounted = 64 << 10

// budget bounds the bytes that the large bodies of all requests hold at once. Goroutines share it.
type budget struct {
	limit int64
	held  atomic.Int64
}

// take takes n bytes and reports whether there were as many. It does not wait: the client, who can, is told to.
func (b *budget) take(n int64) bool {
	if b.held.Add(n) <= b.limit {
		return true
	}
	b.held.Add(-n)
	return false
}

// put gives n bytes back.
func (b *budget) put(n int64) {
	if n > 0 {
		b.held.Add(-n)
	}
}

var errBusy = fault.New(fault.Unavailable, "api.body", "too many large requests are running; try again later")

var errShare = fault.New(fault.RateLimited, "api.share", "too many large requests of this subject are running; try again later")

// giveBack ends what the exchange holds of the room for large bodies.
func (x *exchange) giveBack() {
	if x.shareOf != "" {
		x.server.bodiesOf.put(x.shareOf, x.share)
	}
	x.server.bodies.put(x.share)
	x.share, x.shareOf = 0, ""
}

// hold makes sure that the exchange may keep a body of n bytes, before it is read.
func (x *exchange) hold(n int64) error {
	if n <= uncounted || n <= x.share {
		return nil
	}
	more := n - x.share
	of := ""
	if x.call.Subject != nil {
		of = x.call.Subject.ID
	}
	if of != "" && !x.server.bodiesOf.take(of, x.share, more) {
		return errShare
	}
	if !x.server.bodies.take(more) {
		if of != "" {
			x.server.bodiesOf.put(of, more)
		}
		return errBusy
	}
	x.share, x.shareOf = n, of
	return nil
}
