package fence

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of Wait run in bubbles of synctest, where time passes when everybody sleeps.

// bubbleClock reads the bubble's time, plus what a test has added.
type bubbleClock struct {
	begin time.Time
	added atomic.Int64
}

func (c *bubbleClock) read() int64 {
	return int64(time.Hour) + int64(time.Since(c.begin)) + c.added.Load()
}

func newBubbleFence() (*Fence, *bubbleClock) {
	c := &bubbleClock{begin: time.Now()}
	return New(Config{Node: "a", Clock: c.read}), c
}

func tell(context.Context, string, uint64) error { return nil }

func hang(ctx context.Context, _ string, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// wholeBound is how long a node is waited for that was named just now.
const wholeBound = time.Duration(float64(Lease)*(1+2*Drift)) + Slack

func TestWait(t *testing.T) {
	for _, test := range []struct {
		name   string
		others []string
		quiet  time.Duration // since the tick that named b
		ask    Ask
		want   time.Duration
	}{
		{"nobody else", nil, 10 * time.Second, hang, 0},
		{"itself", []string{"a"}, 0, func(ctx context.Context, node string, index uint64) error {
			if node == "a" {
				return hang(ctx, node, index)
			}
			return nil
		}, 0},
		{"all report", []string{"a", "b", "c"}, 0, tell, 0},
		{"named just now", []string{"b"}, 0, hang, wholeBound},
		{"named a while ago", []string{"b"}, 1200 * time.Millisecond, hang, wholeBound - 1200*time.Millisecond},
		{"named by a tick, not by the caller", nil, 500 * time.Millisecond, hang, wholeBound - 500*time.Millisecond},
		{"long silent", []string{"b"}, 3 * time.Second, hang, 0},
		{"never named since the start", []string{"c"}, 10 * time.Second, hang, 0},
		{"cannot be asked", []string{"b"}, 0, func(context.Context, string, uint64) error { return errors.New("no route") }, wholeBound},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _ := newBubbleFence()
				f.Applied(1, []Refresh{{"b", Nonce{1}}})
				f.Advance(2)
				time.Sleep(test.quiet)
				begin := time.Now()
				waited, err := f.Wait(t.Context(), 2, test.others, test.ask)
				took := time.Since(begin)
				if err != nil || took < test.want || took > test.want+2*time.Millisecond || waited != took {
					t.Errorf("took %v, says %v, want %v; %v", took, waited, test.want, err)
				}
			})
		})
	}
}

// TestWaitForUnknownNode: what ticks there were before the start is not known, so all have a whole lease from there.
func TestWaitForUnknownNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newBubbleFence()
		f.Advance(1)
		time.Sleep(300 * time.Millisecond)
		if waited, err := f.Wait(t.Context(), 1, []string{"c"}, hang); err != nil || waited < wholeBound-300*time.Millisecond {
			t.Errorf("waited %v, %v", waited, err)
		}
		f.Restored()
		f.Advance(10)
		if waited, err := f.Wait(t.Context(), 10, []string{"c"}, hang); err != nil || waited < wholeBound {
			t.Errorf("after a snapshot: waited %v, %v", waited, err)
		}
	})
}

// TestWaitIsNotProlonged: ticks after the entry come with the entry, and do not make the wait longer.
func TestWaitIsNotProlonged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newBubbleFence()
		f.Applied(1, []Refresh{{"b", Nonce{1}}})
		f.Advance(2)
		stop := make(chan struct{})
		go func() {
			for i := uint64(3); ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(TickEvery):
					f.Applied(i, []Refresh{{"b", Nonce{byte(i)}}})
					f.Advance(i)
				}
			}
		}()
		waited, err := f.Wait(t.Context(), 2, []string{"b"}, hang)
		close(stop)
		if err != nil || waited > wholeBound+2*time.Millisecond {
			t.Errorf("waited %v, %v", waited, err)
		}
	})
}

// TestWaitAppliesFirst: what this node has not applied itself it cannot bound, so it waits for that, also when a snapshot
// brings the entry.
func TestWaitAppliesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newBubbleFence()
		f.Advance(1)
		time.Sleep(10 * time.Second) // nobody was named for long
		go func() {
			time.Sleep(time.Second)
			f.Restored()
			f.Advance(9)
		}()
		waited, err := f.Wait(t.Context(), 5, []string{"b"}, hang)
		if want := time.Second + wholeBound; err != nil || waited < want || waited > want+2*time.Millisecond {
			t.Errorf("waited %v, want %v; %v", waited, want, err)
		}
	})
}

// TestRestoredDuringWait: the bounds were right when the wait began, and stay so.
func TestRestoredDuringWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newBubbleFence()
		f.Applied(1, []Refresh{{"b", Nonce{1}}})
		f.Advance(2)
		go func() {
			time.Sleep(time.Second)
			f.Restored()
			f.Advance(9)
		}()
		waited, err := f.Wait(t.Context(), 2, []string{"b"}, hang)
		if err != nil || waited < wholeBound || waited > wholeBound+2*time.Millisecond {
			t.Errorf("waited %v, want %v; %v", waited, wholeBound, err)
		}
	})
}

// TestWaitAsks: a node that fails to answer is asked again, one that reports late ends the wait then, and the slowest counts.
func TestWaitAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newBubbleFence()
		f.Advance(7)
		var asked atomic.Int64
		ask := func(ctx context.Context, node string, index uint64) error {
			if index != 7 {
				t.Errorf("asked for entry %d", index)
			}
			if node == "b" {
				if asked.Add(1) < 5 {
					return errors.New("try again")
				}
				return nil
			}
			select {
			case <-time.After(300 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		waited, err := f.Wait(t.Context(), 7, []string{"b", "c"}, ask)
		if err != nil || asked.Load() != 5 || waited != 300*time.Millisecond {
			t.Errorf("waited %v, asked %d times, %v", waited, asked.Load(), err)
		}
	})
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newBubbleFence()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := f.Wait(ctx, 3, []string{"b"}, tell); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "entry 0") {
			t.Errorf("entry not applied: %v", err)
		}
		f.Advance(3)
		ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		waited, err := f.Wait(ctx, 3, []string{"b", "c"}, hang)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "b, c may not know") || waited != 200*time.Millisecond {
			t.Errorf("nodes not reached: waited %v, %v", waited, err)
		}
	})
}

// TestWaitAndTheClock: a suspended coordinator has waited when it wakes; one whose clock is set back waits a whole lease from
// when that was noticed, and not until the clock is where it was.
func TestWaitAndTheClock(t *testing.T) {
	for _, test := range []struct {
		name  string
		added time.Duration
		want  time.Duration // from when it was added
	}{
		{"forward", time.Hour, 0},
		{"backward", -time.Hour, wholeBound},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, c := newBubbleFence()
				f.Advance(1)
				go func() {
					time.Sleep(time.Second)
					c.added.Add(int64(test.added))
				}()
				begin := time.Now()
				if _, err := f.Wait(t.Context(), 1, []string{"b"}, hang); err != nil {
					t.Fatal(err)
				}
				took, want := time.Since(begin), time.Second+test.want
				if took < want || took > want+lookAgain+2*time.Millisecond {
					t.Errorf("took %v, want %v and at most one look more", took, want)
				}
			})
		})
	}
}

// TestReached: the node that is asked answers when it has published the entry, not sooner.
func TestReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newBubbleFence()
		done := make(chan error, 1)
		go func() { done <- f.Reached(t.Context(), 5) }()
		f.Applied(5, nil)
		f.Advance(4)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("reported before it was published: %v", err)
		default:
		}
		f.Advance(6)
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.Restored()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Reached(ctx, 5); err == nil {
			t.Error("reported while the state is being replaced")
		}
	})
}
