package appliance

import (
	"context"
	"time"
)

const (
	// dutyInterval is the time between two rounds of what happens by itself, and dutyTimeout bounds one.
	dutyInterval = time.Minute
	dutyTimeout  = 50 * time.Second
	// flushTimeout bounds how long a stop waits until the use of keys is told: without a leader it never is.
	flushTimeout = 5 * time.Second
)

// duties tells the cluster how keys were used and does what is due, at each tick: see engine.Engine.RunDuties. What fails is done
// again by a later round.
func (n *node) duties(ctx context.Context, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			n.round(ctx)
		}
	}
}

func (n *node) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, dutyTimeout)
	defer cancel()
	n.flushUsage(ctx)
	if err := n.engine.RunDuties(ctx); err != nil {
		n.log.Warn("a duty failed; it is tried again", "error", err)
	}
}

func (n *node) flushUsage(ctx context.Context) {
	if err := n.engine.FlushUsage(ctx); err != nil {
		n.log.Warn("the use of keys could not be told; it is told later, or lost when the node stops", "error", err)
	}
}

// leastWait is a waiting period as engine.Config has it: there, 0 is the default and none is negative.
func leastWait(configured time.Duration) time.Duration {
	if configured == 0 {
		return -1
	}
	return configured
}
