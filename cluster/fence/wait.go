package fence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// askAgain is the pause before a node that could not be asked is asked again.
	askAgain = 25 * time.Millisecond
	// lookAgain is the longest sleep between two looks at the clock. Timers stand still while the machine is suspended,
	// the clock does not.
	lookAgain = 100 * time.Millisecond
)

// Ask returns nil when a node reports that it has published everything up to index, which it may wait for: see Reached.
// It returns soon after ctx ends.
type Ask func(ctx context.Context, node string, index uint64) error

// Reached waits until this node has applied and published everything up to index. It is the other end of Ask.
func (f *Fence) Reached(ctx context.Context, index uint64) error {
	for {
		f.mu.Lock()
		applied, moved := f.applied, f.moved
		f.mu.Unlock()
		if applied >= index {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("fence: this node has applied entry %d and waits for %d; is there a leader? %w", applied, index, ctx.Err())
		}
	}
}

// Wait returns when no other node acts any more on a state before entry index, which takes a right away: each has reported
// that it has published the entry, or its lease has surely run out. It waits for this node to apply the entry first.
//
// others is every member that is or ever was one, the removed too; who was named in a tick is waited for besides. The
// duration is what the wait took on this node's clock. An error means that ctx has ended: the entry stands, and some node
// may honour the old right until its lease runs out.
func (f *Fence) Wait(ctx context.Context, index uint64, others []string, ask Ask) (time.Duration, error) {
	begin := f.clock()
	waited := func() time.Duration { return time.Duration(max(0, f.clock()-begin)) }
	if err := f.Reached(ctx, index); err != nil {
		return waited(), err
	}
	left := f.bounds(others)
	if len(left) == 0 {
		return waited(), nil
	}

	asking, stop := context.WithCancel(ctx)
	defer stop()
	answers := make(chan string, len(left)) // nobody blocks who answers after the end
	for node := range left {
		go func() {
			for ask(asking, node, index) != nil {
				select {
				case <-time.After(askAgain):
				case <-asking.Done():
					return
				}
			}
			answers <- node
		}()
	}
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case node := <-answers:
			delete(left, node)
		case <-look.C:
			look.Reset(f.settle(left))
		case <-ctx.Done():
			return waited(), unconfirmed(index, left, ctx.Err())
		}
		if len(left) == 0 {
			return waited(), nil
		}
	}
}

// unconfirmed is why a wait ended early.
func unconfirmed(index uint64, left map[string]waiting, cause error) error {
	nodes := slices.Sorted(maps.Keys(left))
	return fmt.Errorf("fence: entry %d stands, but %s may not know it yet and may still honour what it takes away, "+
		"for a few seconds at most; repeat the call to be sure: %w", index, strings.Join(nodes, ", "), cause)
}

// waiting is until when to wait for a node, on this node's clock as it ran when it had stepped back so often.
type waiting struct {
	until       int64
	steppedBack uint64
}

// bounds returns until when to wait for each other node whose lease may still run. What it returns holds for all entries
// that this node has applied: ticks that it applies later come after them in the log.
func (f *Fence) bounds(others []string) map[string]waiting {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	left := map[string]waiting{}
	add := func(node string, at int64) {
		if until := at + f.bound; until > now && node != f.node {
			left[node] = waiting{until, f.steppedBack}
		}
	}
	for _, node := range others {
		add(node, f.began)
	}
	for node, at := range f.ticked {
		add(node, at) // never earlier than f.began
	}
	return left
}

// settle takes out of left the nodes whose lease is over and returns how long to sleep before the next look.
func (f *Fence) settle(left map[string]waiting) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	sleep := int64(lookAgain)
	for node, w := range left {
		if w.steppedBack != f.steppedBack {
			// The bound was on a clock that is gone. From when this was noticed, a whole one.
			w = waiting{f.began + f.bound, f.steppedBack}
			left[node] = w
		}
		if w.until <= now {
			delete(left, node)
			continue
		}
		sleep = min(sleep, w.until-now)
	}
	return time.Duration(max(sleep, int64(time.Millisecond)))
}
