package fence

import (
	"crypto/rand"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Lease is how long a node may act on what it has applied, from when it noted its clock. It must outlast the worst
	// failover plus a refresh plus a tick, or leases would run out at each of them.
	Lease = 2 * time.Second
	// RefreshEvery is how often a node notes its clock and sends the nonce to the leader.
	RefreshEvery = 250 * time.Millisecond
	// TickEvery is how often the leader appends the nonces that it has collected.
	TickEvery = 100 * time.Millisecond
	// Drift bounds how much faster the clock of one node runs than that of another. NTP slews each by 5e-4 at most.
	Drift = 1.0 / 1000
	// Slack is added to every wait: for what clocks round.
	Slack = 10 * time.Millisecond
)

// endless is the lease of a node that is alone: nobody else can take a right away.
const endless = math.MaxInt64

// maxOutstanding bounds the nonces that may still be answered: a lease has eight of them at the usual pace.
const maxOutstanding = 32

// Nonce stands for one reading of one node's clock. Only that node, in that process, knows which.
type Nonce [16]byte

// Refresh is a nonce and who made it: what a node sends to the leader, and what a tick entry holds for each node.
type Refresh struct {
	Node  string
	Nonce Nonce
}

// Clock returns nanoseconds of a clock that never stops and is never set. Readings are compared only with others of the
// same node.
type Clock func() int64

// Config is what a Fence needs.
type Config struct {
	Node string // this node's id
	// Clock is BootClock if nil.
	Clock Clock
	// Lease is the constant of that name if 0. It must be the same on all nodes of a cluster.
	Lease time.Duration
}

// Fence is one node's part in the lease, as holder and as coordinator of mutations. Goroutines may share it, except that
// Applied, Advance and Restored are for the goroutine that drives the state machine.
type Fence struct {
	node  string
	clock Clock
	term  int64 // how long a lease is, in nanoseconds
	bound int64 // how long the lease of another node may still run after this node has applied the tick behind it

	// lease is what a use reads: when the lease ends, endless when alone, 0 when there is none.
	lease atomic.Int64
	// seen is a reading of the clock that happened before: no later one may be smaller.
	seen atomic.Int64

	mu          sync.Mutex
	alone       bool
	granted     int64 // the newest end that an applied and published tick has granted; 0 for none
	outstanding []note
	pending     []grant          // of ticks that are applied, but not published yet
	ticked      map[string]int64 // when a tick that names the node was applied here
	began       int64            // the same for nodes without an entry
	applied     uint64
	moved       chan struct{} // closed and replaced when applied grows
	steppedBack uint64        // how often the clock was seen to run backward
}

// note is a reading of this node's clock and the nonce that stands for it.
type note struct {
	nonce Nonce
	at    int64
}

// grant is a lease that counts from when everything up to index is published.
type grant struct {
	index uint64
	until int64
}

// New returns the fence of a node that has applied nothing and holds no lease. The clock counts from here for every other
// node, as after Restored.
func New(config Config) *Fence {
	if config.Clock == nil {
		config.Clock = BootClock
	}
	if config.Lease <= 0 {
		config.Lease = Lease
	}
	f := &Fence{
		node:   config.Node,
		clock:  config.Clock,
		term:   int64(config.Lease),
		bound:  int64(float64(config.Lease)*(1+2*Drift)) + int64(Slack),
		ticked: map[string]int64{},
		moved:  make(chan struct{}),
	}
	f.began = f.clock()
	f.seen.Store(f.began)
	return f
}

// Refresh notes the clock and returns a fresh nonce that stands for the reading. The clock is read before anybody can know
// the nonce, so however late it is sent, the lease that it brings began before. Refreshing more often than RefreshEvery is
// allowed; what is outstanding is bounded, and old notes stay then rather than new ones.
func (f *Fence) Refresh() Nonce {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := note{at: f.now()}
	_, _ = rand.Read(n.nonce[:]) // never fails (package crypto/rand)
	for len(f.outstanding) > 0 && f.outstanding[0].at+f.term <= n.at {
		f.outstanding = f.outstanding[1:] // would grant what is over already
	}
	if len(f.outstanding) == maxOutstanding {
		f.outstanding = f.outstanding[:maxOutstanding-1]
	}
	f.outstanding = append(f.outstanding, n)
	return n.nonce
}

// Applied tells that the state machine has applied the tick entry at an index, though it may not have published the state
// yet: a lease that the tick brings counts from Advance(index) on. Call it for every tick, also of an old log.
func (f *Fence) Applied(index uint64, ticks []Refresh) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for node, at := range f.ticked {
		if at+f.bound <= now {
			delete(f.ticked, node) // f.began, which then counts, is older still
		}
	}
	for _, t := range ticks {
		if t.Node != f.node {
			f.ticked[t.Node] = now
			continue
		}
		for i, n := range f.outstanding {
			if n.nonce == t.Nonce {
				f.pending = append(f.pending, grant{index, n.at + f.term})
				f.outstanding = f.outstanding[i+1:] // an older note could grant less only
				break
			}
		}
	}
}

// Advance tells that everything up to index is applied and published: who reads the state from now on sees it. Leases of
// ticks up to there begin to count, and who waits for the index goes on.
func (f *Fence) Advance(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := f.pending[:0]
	for _, g := range f.pending {
		if g.index > index {
			waiting = append(waiting, g)
			continue
		}
		f.granted = max(f.granted, g.until)
	}
	f.pending = waiting
	f.publish()
	if index > f.applied {
		f.applied = index
		close(f.moved)
		f.moved = make(chan struct{})
	}
}

// Restored tells that the state is about to be replaced by that of a snapshot. It comes before the new state is published;
// Advance with the snapshot's index comes after. The node's own lease ends, also that of being alone, and nonces that are
// on their way are void: they are for the state that was. What ticks the snapshot stands for is not known, so every other
// node may have had one just now.
func (f *Fence) Restored() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now()
	f.alone = false
	f.applied = 0
	f.restart()
}

// SetAlone tells whether this node is the whole cluster: then its lease has no end, as nobody else can commit anything.
//
// True is right only when the newest configuration in the log, committed or not, names this node and no other, non-voters
// being others; when no other member was ever known; and when a barrier has shown that everything in the log is applied
// and published. False must be set before Raft is asked to add anybody. It ends the endless lease at once, for uses that
// are under way too; what is left is what ticks have granted.
func (f *Fence) SetAlone(alone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alone = alone
	f.publish()
}

// Lease returns when this node's lease ends on its own clock: 0 for none, math.MaxInt64 when it is alone. A use calls it
// first, reads the newest state second, and asks Expired last; any other order may answer by what is no longer true.
func (f *Fence) Lease() int64 { return f.lease.Load() }

// Expired reads the clock and reports whether a lease, read before, is over or was taken back since. A use whose lease has
// expired must not answer; it may begin again with a new Lease and the newest state.
func (f *Fence) Expired(lease int64) bool {
	switch lease {
	case 0:
		return true
	case endless:
		return f.lease.Load() != endless
	}
	// In this order: a clock that is set back between any two of them is noticed here, or by whoever noticed it first,
	// who took the lease back before telling in seen.
	seen := f.seen.Load()
	now := f.clock()
	if now < seen {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now()
		return true
	}
	return now >= lease || lease > f.lease.Load()
}

// Remaining returns for how long the lease still runs, for display: 0 for none, the longest duration when alone.
func (f *Fence) Remaining() time.Duration {
	lease := f.lease.Load()
	if lease == endless {
		return math.MaxInt64
	}
	return time.Duration(max(0, lease-f.clock()))
}

// SteppedBack returns how often the clock was seen to run backward. It is an alarm: the host's clock cannot be trusted.
func (f *Fence) SteppedBack() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steppedBack
}

// now reads the clock; f.mu is held. When it has run backward nothing noted before means anything: it is as after Restored.
func (f *Fence) now() int64 {
	now := f.clock()
	if now < f.seen.Load() {
		f.steppedBack++
		f.restart()
		return f.began
	}
	f.seen.Store(now)
	return now
}

// restart forgets leases and nonces, and lets the clock count from now for every other node; f.mu is held.
func (f *Fence) restart() {
	f.granted, f.outstanding, f.pending = 0, nil, nil
	f.publish()
	f.began = f.clock()
	f.seen.Store(f.began)
	for node := range f.ticked {
		f.ticked[node] = f.began
	}
}

// publish makes the lease visible; f.mu is held.
func (f *Fence) publish() {
	if f.alone {
		f.lease.Store(endless)
		return
	}
	f.lease.Store(f.granted)
}
