package fence

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// simNode is one node: a real Fence, a state machine that lags, and programs whose every step may be delayed.
type simNode struct {
	w  *world
	i  int
	id string
	f  *Fence

	rate   float64
	offset int64 // what the clock showed at real time 0 of this boot
	boot   int64

	life        int   // counts starts and stops of the process; odd when it is down
	pausedUntil int64 // the whole process, as by SIGSTOP
	stuckUntil  int64 // the log: heartbeats arrive, entries do not

	believes  int // the leader, as far as known
	committed uint64
	contact   int64 // own clock at the last word from a leader
	applying  bool
	state     state // published
	disk      state // the newest snapshot
	collector Collector
	waiters   []waiter
	notes     []note // for a broken rule, and so the next
	cached    int64
}

// waiter goes on when this node's fence has reached an index.
type waiter struct {
	index uint64
	then  func()
}

func newSimNode(w *world, i int, first state) *simNode {
	n := &simNode{w: w, i: i, id: fmt.Sprintf("n%d", i+1), state: first, disk: first, believes: -1}
	n.bootClock()
	n.start(false)
	return n
}

func (n *simNode) bootClock() {
	n.rate, n.boot, n.offset = n.w.clockRate(), n.w.now, n.w.between(time.Second, 10*time.Second)
}

// clock is the node's CLOCK_BOOTTIME.
func (n *simNode) clock() int64 { return n.offset + int64(n.rate*float64(n.w.now-n.boot)) }

func (n *simNode) runs() bool { return n.life%2 == 0 && n.w.now >= n.pausedUntil }

func (n *simNode) stuck() bool { return n.w.now < n.stuckUntil }

// do runs a step of a program after a delay, later if the process is paused, never if it has ended.
func (n *simNode) do(delay int64, step func()) {
	life := n.life
	var run func()
	run = func() {
		switch {
		case n.life != life:
		case n.w.now < n.pausedUntil:
			n.w.at(n.pausedUntil+n.w.rng.Int64N(1000), run)
		default:
			step()
		}
	}
	n.w.at(n.w.now+delay, run)
}

// start begins a process: from its snapshot, with a new fence.
func (n *simNode) start(sameBoot bool) {
	n.f = New(Config{Node: n.id, Clock: n.clock})
	if n.w.rule.forgetStart {
		n.f.began -= n.f.bound
	}
	if n.w.rule.keepNonces && sameBoot {
		n.f.outstanding = slices.Clone(n.notes)
	}
	n.state, n.committed, n.believes, n.applying, n.contact = n.disk, n.disk.index, -1, false, 0
	n.collector, n.waiters = Collector{}, nil
	n.f.Advance(n.state.index)
	var refresh, tick func()
	refresh = func() {
		nonce := n.f.Refresh()
		if n.w.rule.keepNonces {
			n.notes = append(n.notes, n.f.outstanding[len(n.f.outstanding)-1])
		}
		n.do(n.w.step(), func() { n.refresh(nonce) })
		n.do(n.w.between(RefreshEvery*9/10, RefreshEvery*11/10), refresh)
	}
	tick = func() {
		n.tick()
		n.do(int64(TickEvery), tick)
	}
	n.do(n.w.between(0, RefreshEvery), refresh)
	if n.w.rule.cachedClock {
		var read func()
		read = func() {
			n.cached = n.clock()
			n.do(n.w.step()+int64(10*time.Millisecond), read)
		}
		read()
	}
	n.do(n.w.between(0, TickEvery), tick)
}

// restart ends the process and begins it again after a while, sometimes with the machine and its clock. A clean stop writes
// a snapshot.
func (n *simNode) restart() {
	if n.life%2 == 1 {
		return
	}
	n.life++
	if n.w.rng.IntN(2) == 0 {
		n.disk = n.state
	}
	down := n.w.between(5*time.Millisecond, 200*time.Millisecond)
	if n.w.rng.IntN(2) == 0 {
		down = n.w.between(100*time.Millisecond, 2*time.Second)
	}
	n.w.at(n.w.now+down, func() {
		n.life++
		newBoot := n.w.rng.IntN(4) == 0
		if newBoot {
			n.bootClock()
		}
		n.start(!newBoot)
	})
}

func (n *simNode) refresh(nonce Nonce) {
	if n.believes < 0 {
		return
	}
	leader := n.w.nodes[n.believes]
	n.w.send(n.i, leader.i, func() {
		if n.w.removed&(1<<n.i) == 0 {
			leader.collector.Add(Refresh{n.id, nonce})
		}
	})
}

// tick is for who believes to lead.
func (n *simNode) tick() {
	if n.believes != n.i {
		return
	}
	if ticks := n.collector.Take(); ticks != nil {
		n.w.propose(n.i, entry{kind: tick, ticks: ticks})
	}
}

// learn is what a heartbeat does.
func (n *simNode) learn(leader int, committed uint64) {
	n.believes, n.contact = leader, n.clock()
	if n.stuck() || committed <= n.committed {
		return
	}
	n.committed = committed
	if !n.applying {
		n.applying = true
		n.do(n.w.step(), n.apply)
	}
}

// apply is the loop of the state machine: some entries, or a snapshot, then what they lead to becomes visible.
func (n *simNode) apply() {
	if n.state.index >= n.committed {
		n.applying = false
		return
	}
	next := n.state
	rule := n.w.rule
	if next.index < n.w.truncated {
		next = n.w.stateAt(max(n.w.truncated, next.index), next)
		n.committed = max(n.committed, next.index)
		n.w.installs++
		if !rule.forgetRestored {
			n.f.Restored()
		}
	} else {
		for range 1 + n.w.rng.IntN(4) {
			if next.index == n.committed {
				break
			}
			e := n.w.log[next.index]
			next.apply(next.index+1, e)
			if e.kind == tick {
				n.f.Applied(next.index, e.ticks)
			}
		}
	}
	publish := func() { n.state = next }
	advance := func() { n.advance(next.index) }
	if rule.grantEarly || rule.reportEarly {
		early := n.f.granted
		n.advance(next.index)
		if rule.reportEarly {
			// Only the report is early: the lease is what it was until the state is published.
			granted := n.f.granted
			n.f.granted = early
			n.f.publish()
			advance = func() { n.f.granted = max(granted, n.f.granted); n.f.publish() }
		} else {
			advance = func() {}
		}
	}
	n.do(n.w.step(), func() {
		publish()
		n.do(n.w.step(), func() {
			advance()
			n.do(n.w.step(), n.apply)
		})
	})
}

func (n *simNode) advance(index uint64) {
	before := n.f.granted
	n.f.Advance(index)
	n.waiters = slices.DeleteFunc(n.waiters, func(w waiter) bool {
		if w.index <= index {
			n.do(n.w.step(), w.then)
		}
		return w.index <= index
	})
	if n.w.rule.fromApply && n.f.granted > before {
		n.f.granted = n.clock() + n.f.term
		n.f.publish()
	}
}

// stateAt returns the state at an index, from an older one.
func (w *world) stateAt(index uint64, s state) state {
	for s.index < index {
		s.apply(s.index+1, w.log[s.index])
	}
	return s
}

// use is a request of a client: at the end of its work it reads lease, state and clock, and answers only under the lease. What
// it answers must be true when it reads the state, which is more than a client can tell: for that, when the request began.
func (n *simNode) use(key int) {
	if n.life%2 == 1 {
		return
	}
	w := n.w
	var began int64
	var required uint64
	var lease int64
	var seen state
	var expired bool
	readLease := func() {
		lease = n.f.Lease()
		if w.rule.lastContact {
			lease = n.contact + n.f.term
		}
	}
	readState := func() { seen, began, required = n.state, w.now, w.reported[key] }
	readClock := func() {
		switch {
		case w.rule.noLease:
		case w.rule.lastContact:
			expired = n.clock() >= lease
		case w.rule.cachedClock:
			expired = n.cached >= lease
		default:
			expired = n.f.Expired(lease)
		}
	}
	steps := []func(){readLease, readState, readClock}
	if w.rule.clockBeforeState {
		steps = []func(){readLease, readClock, readState}
	}
	if w.rule.stateBeforeLease {
		steps = []func(){readState, readLease, readClock}
	}
	n.do(w.step(), func() {
		steps[0]()
		n.do(w.step(), func() {
			steps[1]()
			n.do(w.step(), func() {
				steps[2]()
				n.do(w.step(), func() {
					if expired {
						w.refused++
						return
					}
					w.uses++
					if seen.index < required {
						w.stale++
					}
					w.history.used(key, seen.on[key], began, w.now)
				})
			})
		})
	})
}

// mutate is a request that grants or takes away. It answers when the entry is applied here and the fence has waited.
func (n *simNode) mutate(key int, on bool) {
	if n.life%2 == 1 || n.believes < 0 {
		return
	}
	w := n.w
	m := w.history.requested(key, on, w.now)
	life := n.life
	done := func(at int) func(uint64) {
		return func(index uint64) {
			w.send(at, n.i, func() {
				if n.life == life {
					n.until(index, func() { n.fence(index, func() { w.returned(m, key, index) }) })
				}
			})
		}
	}
	leader := n.believes
	n.do(w.step(), func() {
		w.send(n.i, leader, func() { w.propose(leader, entry{kind: set, key: key, on: on, done: done(leader)}) })
	})
}

// until goes on when this node's fence has reached an index.
func (n *simNode) until(index uint64, then func()) {
	if n.f.applied >= index {
		then()
		return
	}
	n.waiters = append(n.waiters, waiter{index, then})
}

// fence does what Wait does, with the same bounds, as steps of this world.
func (n *simNode) fence(index uint64, then func()) {
	w := n.w
	if w.rule.noWait {
		then()
		return
	}
	known := n.state.known
	if w.rule.skipRemoved {
		known &^= n.state.removed
	}
	left := n.f.bounds(w.ids(known, n.i))
	if w.rule.skipRemoved {
		for _, id := range w.ids(n.state.removed, -1) {
			delete(left, id)
		}
	}
	begin, over, life := w.now, false, n.life
	settle := func() time.Duration {
		if n.life != life {
			return 0 // an answer to who asked before a restart
		}
		sleep := n.f.settle(left)
		if len(left) == 0 && !over {
			over = true
			if w.now-begin > int64(Lease)/4 {
				w.slow++
			}
			n.do(w.step(), then)
		}
		return sleep
	}
	for _, id := range slices.Sorted(maps.Keys(left)) {
		n.ask(w.byID(id), index, left, settle)
	}
	var look func()
	look = func() {
		if sleep := settle(); !over {
			n.do(int64(sleep), look)
		}
	}
	look()
}

// ask asks a node until it has reported or is not waited for any more.
func (n *simNode) ask(other *simNode, index uint64, left map[string]waiting, settle func() time.Duration) {
	if _, asked := left[other.id]; !asked {
		return
	}
	n.w.send(n.i, other.i, func() {
		other.until(index, func() {
			n.w.send(other.i, n.i, func() {
				delete(left, other.id)
				settle()
			})
		})
	})
	n.do(int64(askAgain), func() { n.ask(other, index, left, settle) })
}

// returned is when a client has its answer. Clients at all nodes try at once what they may not any more.
func (w *world) returned(m mutation, key int, index uint64) {
	w.waits++
	w.reported[key] = max(w.reported[key], index)
	w.history.returned(m, w.now)
	w.at(w.now+1, func() {
		for _, n := range w.nodes {
			n.use(key)
		}
	})
}
