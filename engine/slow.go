package engine

import (
	"context"
	"strings"
	"time"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// slowWait is how long a computation waits for its turn.
const slowWait = 10 * time.Second

// isSlow reports whether one use of a private key takes a processor for tens of milliseconds or more. Nothing can stop it once
// it has begun.
func isSlow(name algs.Name) bool { return strings.HasPrefix(string(name), "SLH-DSA-") }

// slowly waits for the turn of a slow computation and returns what ends it. A caller that hung up has none.
func (e *Engine) slowly(ctx context.Context) (end func(), err error) {
	timer := time.NewTimer(slowWait)
	defer timer.Stop()
	select {
	case e.slow <- struct{}{}:
		if ctx.Err() == nil {
			return func() { <-e.slow }, nil
		}
		<-e.slow
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil, fault.New(fault.Unavailable, "engine.slow", "too many slow computations wait; try again later")
}
