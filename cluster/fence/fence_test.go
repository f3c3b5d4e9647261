package fence

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// handClock is a clock that tests set.
type handClock struct{ at atomic.Int64 }

func newHandClock() *handClock {
	c := &handClock{}
	c.at.Store(int64(time.Hour))
	return c
}

func (c *handClock) read() int64                { return c.at.Load() }
func (c *handClock) pass(d time.Duration) int64 { return c.at.Add(int64(d)) }

func newTestFence() (*Fence, *handClock) {
	c := newHandClock()
	return New(Config{Node: "a", Clock: c.read}), c
}

// granted gives a fence a lease at an index.
func granted(f *Fence, index uint64) {
	f.Applied(index, []Refresh{{"a", f.Refresh()}})
	f.Advance(index)
}

func TestNoLeaseAtFirst(t *testing.T) {
	f, _ := newTestFence()
	if lease := f.Lease(); lease != 0 || !f.Expired(lease) || f.Remaining() != 0 {
		t.Errorf("lease %d, expired %v, remaining %v", lease, f.Expired(lease), f.Remaining())
	}
	f.Advance(100)
	if f.Lease() != 0 {
		t.Error("a state without a tick gave a lease")
	}
}

// TestLeaseCountsFromTheNote: the time that the nonce was on its way comes off the lease.
func TestLeaseCountsFromTheNote(t *testing.T) {
	f, c := newTestFence()
	noted := c.read()
	nonce := f.Refresh()
	c.pass(700 * time.Millisecond)
	f.Applied(5, []Refresh{{"b", Nonce{1}}, {"a", nonce}})
	f.Advance(5)
	lease := f.Lease()
	if lease != noted+int64(Lease) {
		t.Fatalf("the lease ends %v after the note, want %v", time.Duration(lease-noted), Lease)
	}
	if f.Expired(lease) || f.Remaining() != Lease-700*time.Millisecond {
		t.Errorf("expired %v, remaining %v", f.Expired(lease), f.Remaining())
	}
	c.pass(Lease - 700*time.Millisecond - 1)
	if f.Expired(lease) {
		t.Error("expired a nanosecond early")
	}
	c.pass(1)
	if !f.Expired(lease) || f.Remaining() != 0 {
		t.Error("not expired at its end")
	}
}

// TestLeaseAwaitsPublication: a lease must not be seen before the state that it vouches for.
func TestLeaseAwaitsPublication(t *testing.T) {
	f, _ := newTestFence()
	f.Applied(7, []Refresh{{"a", f.Refresh()}})
	if f.Lease() != 0 {
		t.Error("a lease before its state is published")
	}
	f.Advance(6)
	if f.Lease() != 0 {
		t.Error("a lease of entry 7 with entry 6")
	}
	f.Advance(9)
	if f.Lease() == 0 {
		t.Error("no lease though its entry is published")
	}
}

func TestNonces(t *testing.T) {
	t.Run("of others", func(t *testing.T) {
		f, _ := newTestFence()
		nonce := f.Refresh()
		f.Applied(1, []Refresh{{"b", nonce}, {"a", Nonce{}}})
		f.Advance(1)
		if f.Lease() != 0 {
			t.Error("granted by somebody else's entry")
		}
	})
	t.Run("twice", func(t *testing.T) {
		f, c := newTestFence()
		nonce := f.Refresh()
		f.Applied(1, []Refresh{{"a", nonce}})
		f.Advance(1)
		lease := f.Lease()
		c.pass(time.Second)
		f.Applied(2, []Refresh{{"a", nonce}})
		f.Advance(2)
		if f.Lease() != lease {
			t.Error("a nonce that came twice moved the lease")
		}
	})
	t.Run("out of order", func(t *testing.T) {
		f, c := newTestFence()
		first := f.Refresh()
		c.pass(RefreshEvery)
		second := f.Refresh()
		f.Applied(1, []Refresh{{"a", second}})
		f.Advance(1)
		lease := f.Lease()
		f.Applied(2, []Refresh{{"a", first}})
		f.Advance(2)
		if f.Lease() != lease {
			t.Errorf("an older note moved the lease by %v", time.Duration(f.Lease()-lease))
		}
	})
	t.Run("replayed after a restart", func(t *testing.T) {
		f, c := newTestFence()
		nonce := f.Refresh()
		again := New(Config{Node: "a", Clock: c.read})
		again.Applied(1, []Refresh{{"a", nonce}})
		again.Advance(1)
		if again.Lease() != 0 {
			t.Error("a nonce of another life gave a lease")
		}
	})
	t.Run("older than a lease", func(t *testing.T) {
		f, c := newTestFence()
		nonce := f.Refresh()
		c.pass(Lease)
		f.Applied(1, []Refresh{{"a", nonce}})
		f.Advance(1)
		if !f.Expired(f.Lease()) {
			t.Error("not expired")
		}
	})
	t.Run("unique", func(t *testing.T) {
		f, _ := newTestFence()
		seen := map[Nonce]bool{}
		for range 1000 {
			n := f.Refresh()
			if seen[n] || n == (Nonce{}) {
				t.Fatal("a nonce came twice")
			}
			seen[n] = true
		}
	})
}

// TestOutstandingIsBounded: whoever refreshes too often keeps a bounded number of notes, and those that were on their way
// still bring a lease.
func TestOutstandingIsBounded(t *testing.T) {
	f, c := newTestFence()
	first := f.Refresh()
	for range 10 * maxOutstanding {
		c.pass(time.Millisecond)
		f.Refresh()
	}
	if n := len(f.outstanding); n > maxOutstanding {
		t.Errorf("%d notes are kept", n)
	}
	newest := f.Refresh()
	f.Applied(1, []Refresh{{"a", first}})
	f.Advance(1)
	if f.Expired(f.Lease()) {
		t.Error("the oldest note was lost")
	}
	before := f.Lease()
	f.Applied(2, []Refresh{{"a", newest}})
	f.Advance(2)
	if f.Lease() <= before {
		t.Error("the newest note was lost")
	}
	c.pass(2 * Lease)
	f.Refresh()
	if n := len(f.outstanding); n != 1 {
		t.Errorf("%d notes are kept, one is young enough", n)
	}
}

func TestRestored(t *testing.T) {
	f, c := newTestFence()
	granted(f, 1)
	lease, old := f.Lease(), f.Refresh()
	f.Applied(2, []Refresh{{"a", old}, {"b", Nonce{1}}}) // not published when the snapshot comes
	underway := f.Refresh()
	c.pass(time.Second)
	f.Restored()
	if f.Lease() != 0 || !f.Expired(lease) {
		t.Error("the lease outlived the state that it was for")
	}
	f.Advance(50)
	f.Applied(51, []Refresh{{"a", old}, {"a", underway}})
	f.Advance(51)
	if f.Lease() != 0 {
		t.Error("a nonce from before gave a lease")
	}
	granted(f, 52)
	if f.Expired(f.Lease()) {
		t.Error("a nonce from after gave none")
	}
	want := int64(f.bound) + c.read()
	left := f.bounds([]string{"c"})
	if left["b"].until != want || left["c"].until != want {
		t.Errorf("waits %v, want both nodes to the end of a lease from now", left)
	}
}

func TestAlone(t *testing.T) {
	f, c := newTestFence()
	f.SetAlone(true)
	lease := f.Lease()
	c.pass(1000 * time.Hour)
	if lease != math.MaxInt64 || f.Expired(lease) || f.Remaining() != math.MaxInt64 {
		t.Errorf("lease %d, expired %v, remaining %v", lease, f.Expired(lease), f.Remaining())
	}
	f.SetAlone(false)
	if !f.Expired(lease) || f.Lease() != 0 {
		t.Error("the endless lease has not ended")
	}
	granted(f, 1)
	if !f.Expired(lease) || f.Expired(f.Lease()) {
		t.Error("after a tick only its lease counts")
	}

	f.SetAlone(true)
	lease = f.Lease()
	f.SetAlone(false)
	if !f.Expired(lease) || f.Expired(f.Lease()) {
		t.Error("what ticks have granted did not stay")
	}
	f.SetAlone(true)
	f.Restored()
	if f.Lease() != 0 {
		t.Error("alone after a snapshot")
	}
}

// TestClockForward is a suspended machine: the lease is over when it wakes.
func TestClockForward(t *testing.T) {
	f, c := newTestFence()
	granted(f, 1)
	lease := f.Lease()
	c.pass(8 * time.Hour)
	if !f.Expired(lease) {
		t.Error("a lease outlived a night")
	}
	granted(f, 2)
	if f.Expired(f.Lease()) || f.SteppedBack() != 0 {
		t.Error("no lease in the morning")
	}
}

// TestClockBackward is a broken clock: it must not extend a lease, from whichever call it is noticed in.
func TestClockBackward(t *testing.T) {
	for name, notice := range map[string]func(*Fence){
		"expired": func(f *Fence) { f.Expired(f.Lease()) },
		"refresh": func(f *Fence) { f.Refresh() },
		"applied": func(f *Fence) { f.Applied(2, nil) },
		"bounds":  func(f *Fence) { f.bounds(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			f, c := newTestFence()
			granted(f, 1)
			f.Applied(2, []Refresh{{"b", Nonce{1}}})
			lease, nonce := f.Lease(), f.Refresh()
			c.pass(-time.Minute)
			notice(f)
			if f.Lease() != 0 || !f.Expired(lease) || f.SteppedBack() != 1 {
				t.Errorf("lease %d, expired %v, stepped back %d times", f.Lease(), f.Expired(lease), f.SteppedBack())
			}
			f.Applied(3, []Refresh{{"a", nonce}})
			f.Advance(3)
			if f.Lease() != 0 {
				t.Error("a reading of the clock as it was gave a lease")
			}
			granted(f, 4)
			if f.Expired(f.Lease()) {
				t.Error("no lease on the clock as it is")
			}
			if !f.Expired(lease) {
				t.Error("the old lease came back")
			}
			if got := f.bounds(nil)["b"].until; got != c.read()+f.bound {
				t.Errorf("the other node is waited for until %v from now", time.Duration(got-c.read()))
			}
		})
	}
}

// TestSharedFence is for the race detector: uses beside the state machine.
func TestSharedFence(t *testing.T) {
	f := New(Config{Node: "a"})
	var stop atomic.Bool
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for !stop.Load() {
				f.Expired(f.Lease())
				f.Remaining()
			}
		})
	}
	for i := uint64(1); i < 500; i++ {
		granted(f, i)
		if i%50 == 0 {
			f.Restored()
			f.SetAlone(i%100 == 0)
		}
	}
	stop.Store(true)
	wait.Wait()
	if f.SteppedBack() != 0 {
		t.Error("CLOCK_BOOTTIME ran backward")
	}
}

func TestTickedIsBounded(t *testing.T) {
	f, c := newTestFence()
	for i := range 1000 {
		f.Applied(uint64(i+1), []Refresh{{fmt.Sprint("n", i), Nonce{1}}})
		c.pass(100 * time.Millisecond)
	}
	if n := len(f.ticked); n > 25 {
		t.Errorf("%d nodes are remembered", n)
	}
}

func TestCollector(t *testing.T) {
	var c Collector
	if c.Take() != nil {
		t.Error("something from nothing")
	}
	c.Add(Refresh{"b", Nonce{1}})
	c.Add(Refresh{"a", Nonce{2}})
	c.Add(Refresh{"b", Nonce{3}})
	if got, want := c.Take(), []Refresh{{"a", Nonce{2}}, {"b", Nonce{3}}}; !slices.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
	if c.Take() != nil {
		t.Error("the same again")
	}
	for i := range maxNodes {
		if !c.Add(Refresh{fmt.Sprint(i), Nonce{}}) {
			t.Fatal("full too early")
		}
	}
	if c.Add(Refresh{"one more", Nonce{}}) || !c.Add(Refresh{"7", Nonce{9}}) {
		t.Error("the bound holds for new nodes alone")
	}
	if n := len(c.Take()); n != maxNodes {
		t.Errorf("took %d", n)
	}
}

// TestBootClock: it runs as fast as the monotonic clock while nothing is suspended.
func TestBootClock(t *testing.T) {
	begin, boot := time.Now(), BootClock()
	time.Sleep(20 * time.Millisecond)
	bootTook := time.Duration(BootClock() - boot)
	took := time.Since(begin)
	if boot <= 0 || bootTook < 20*time.Millisecond || bootTook > took {
		t.Errorf("from %d: %v, by the monotonic clock %v", boot, bootTook, took)
	}
}

func BenchmarkLease(b *testing.B) {
	f := New(Config{Node: "a"})
	granted(f, 1)
	for b.Loop() {
		f.Lease()
	}
}

func BenchmarkExpired(b *testing.B) {
	b.Run("lease", func(b *testing.B) {
		f := New(Config{Node: "a", Lease: time.Hour})
		granted(f, 1)
		lease := f.Lease()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if f.Expired(lease) {
					b.Error("expired")
				}
			}
		})
	})
	b.Run("alone", func(b *testing.B) {
		f := New(Config{Node: "a"})
		f.SetAlone(true)
		lease := f.Lease()
		for b.Loop() {
			if f.Expired(lease) {
				b.Error("expired")
			}
		}
	})
	b.Run("clock", func(b *testing.B) {
		for b.Loop() {
			BootClock()
		}
	})
}
