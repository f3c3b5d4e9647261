package kdf

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"cryptoserve/engine/fault"
)

const (
	// DefaultMemoryBytes is what all computations together hold unless SetBudget says otherwise. It is also the least that
	// SetBudget takes: each computation within the limits must fit.
	DefaultMemoryBytes int64 = MaxMemoryKiB << 10
	// maxWait is how long a computation waits for its turn.
	maxWait = 10 * time.Second
)

// collectFrom is how much memory a computation holds for which the collector is run at its end: that takes a few milliseconds, the
// computation far more.
const collectFrom = 32 << 20

// budget is what the computations on passwords share. Waiting is first come, first served.
type budget struct {
	memory *semaphore.Weighted
	calls  *semaphore.Weighted
}

var shared = func() *atomic.Pointer[budget] {
	p := new(atomic.Pointer[budget])
	p.Store(newBudget(DefaultMemoryBytes, runtime.GOMAXPROCS(0)))
	return p
}()

func newBudget(memoryBytes int64, calls int) *budget {
	return &budget{memory: semaphore.NewWeighted(memoryBytes), calls: semaphore.NewWeighted(int64(calls))}
}

// SetBudget sets how many bytes the computations on passwords hold together, and how many run at once. It is for the start
// of a process: what runs already counts against the budget that it began with.
func SetBudget(memoryBytes int64, calls int) error {
	if memoryBytes < DefaultMemoryBytes {
		return fmt.Errorf("kdf: a budget of %d bytes of memory; one computation may need %d", memoryBytes, DefaultMemoryBytes)
	}
	if calls < 1 {
		return fmt.Errorf("kdf: a budget of %d computations", calls)
	}
	shared.Store(newBudget(memoryBytes, calls))
	return nil
}

// Acquire waits for the turn of a computation on a password that will hold so many bytes, at most DefaultMemoryBytes. Derive
// calls it; others call it for algorithms that Derive does not have. The caller calls release when the computation has ended.
// It returns fault.Unavailable when the context ended before, or after 10 seconds.
func Acquire(ctx context.Context, memoryBytes int64) (release func(), err error) {
	return shared.Load().acquire(ctx, memoryBytes, maxWait)
}

func (b *budget) acquire(ctx context.Context, memoryBytes int64, wait time.Duration) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// Memory first: whoever waits for it must not keep a processor from those that need none. Those do not queue for it.
	if memoryBytes > 0 {
		if err := b.memory.Acquire(ctx, memoryBytes); err != nil {
			return nil, busy(err)
		}
	}
	if err := b.calls.Acquire(ctx, 1); err != nil {
		b.memory.Release(memoryBytes)
		return nil, busy(err)
	}
	return func() {
		if memoryBytes >= collectFrom {
			// What the computation held is garbage by now, and would count against nobody until it is collected.
			runtime.GC()
		}
		b.calls.Release(1)
		b.memory.Release(memoryBytes)
	}, nil
}

func busy(err error) error {
	return fault.Wrap(fault.Unavailable, "kdf.acquire", "too many passwords are being worked on; try again in a few seconds", err)
}
