package fence

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// keys is how many keys the clients of a simulation use and revoke.
const keys = 4

// world is one simulated cluster: an event loop over real time, a network, and a replicated log as Raft provides it. All
// chance comes from rng, so a seed repeats its run.
type world struct {
	rng    *rand.Rand
	rule   rule
	now    int64 // real time, nanoseconds
	events []event
	serial uint64

	nodes   []*simNode
	cut     map[[2]int]bool // one way: from, to
	voters  uint
	learner uint // receive the log, do not vote
	removed uint

	log       []entry // committed; entry i has index i+1
	queue     []entry // what the leader has appended and not committed
	queued    bool    // a commit of it is under way
	leader    int     // -1 when there is none
	quiet     int64   // since when the leader has no majority, 0 if it has
	truncated uint64  // entries up to here are in snapshots alone

	history history
	// reported is the newest entry of each key whose mutation has returned.
	reported [keys]uint64
	uses     int // under a lease
	stale    int // uses that read the state after a mutation had returned and did not see it
	refused  int
	waits    int // mutations that returned
	slow     int // those that waited for a lease to run out
	installs int
}

type event struct {
	at     int64
	serial uint64
	run    func()
}

// entry is one command in the log.
type entry struct {
	kind  kind
	ticks []Refresh
	key   int
	on    bool
	node  int
	done  func(index uint64) // tells the proposer, over the network
}

type kind int

const (
	tick kind = iota + 1
	set
	add
	promote
	remove
)

// state is what the log makes of a node: a value, so that a copy is a snapshot.
type state struct {
	index   uint64
	on      [keys]bool
	version [keys]uint64
	known   uint // every member ever
	removed uint
}

func (s *state) apply(index uint64, e entry) {
	s.index = index
	switch e.kind {
	case set:
		s.on[e.key], s.version[e.key] = e.on, index
	case add:
		s.known |= 1 << e.node
	case remove:
		s.removed |= 1 << e.node
	case tick, promote:
	}
}

// newWorld returns a cluster of three to five nodes, or of one that takes in others.
func newWorld(seed uint64, r rule) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 0xfe2ce)), rule: r, now: int64(time.Hour), cut: map[[2]int]bool{}}
	n := 3 + w.rng.IntN(3)
	members := n - w.rng.IntN(2)
	if w.rng.IntN(4) == 0 {
		members = 1
	}
	first := state{known: 1<<members - 1}
	for k := range first.on {
		first.on[k] = true
	}
	w.voters = first.known
	for i := range n {
		w.nodes = append(w.nodes, newSimNode(w, i, first))
	}
	if members == 1 {
		w.nodes[0].f.SetAlone(true)
	}
	return w
}

// run simulates for a while. Clients and faults begin at once and end with it.
func (w *world) run(d time.Duration) {
	end := w.now + int64(d)
	w.every(50*time.Millisecond, w.elect)
	w.every(40*time.Millisecond, w.heartbeat)
	w.every(300*time.Millisecond, w.fault)
	w.every(25*time.Millisecond, func() { w.pick().use(w.rng.IntN(keys)) })
	w.every(450*time.Millisecond, func() { w.pick().mutate(w.rng.IntN(keys), w.rng.IntN(2) == 0) })
	for len(w.events) > 0 && w.events[0].at <= end {
		e := w.pop()
		w.now = max(w.now, e.at)
		e.run()
	}
}

func (w *world) pick() *simNode { return w.nodes[w.rng.IntN(len(w.nodes))] }

// between returns a duration from a to b.
func (w *world) between(a, b time.Duration) int64 { return int64(a) + w.rng.Int64N(int64(b-a)) }

// step is how long a goroutine takes from one step to the next: it may lose the processor for long between any two.
func (w *world) step() int64 {
	switch p := w.rng.IntN(1000); {
	case p < 4:
		return w.between(100*time.Millisecond, 3*time.Second)
	case p < 30:
		return w.between(time.Millisecond, 50*time.Millisecond)
	default:
		return w.between(time.Microsecond, 200*time.Microsecond)
	}
}

// every runs something again and again, at random distances with the given mean.
func (w *world) every(mean time.Duration, run func()) {
	var again func()
	again = func() {
		run()
		w.at(w.now+w.between(mean/2, mean*3/2), again)
	}
	w.at(w.now+w.between(0, mean), again)
}

// send delivers a message unless the network loses it.
func (w *world) send(from, to int, receive func()) {
	if from == to {
		w.nodes[to].do(w.step(), receive)
		return
	}
	if w.cut[[2]int{from, to}] {
		return
	}
	delay := w.between(50*time.Microsecond, 500*time.Microsecond)
	if w.rng.IntN(100) == 0 {
		delay = w.between(time.Millisecond, 300*time.Millisecond)
	}
	life := w.nodes[to].life
	w.at(w.now+delay, func() {
		// A connection does not survive its process.
		if !w.cut[[2]int{from, to}] && w.nodes[to].life == life {
			w.nodes[to].do(0, receive)
		}
	})
}

// reaches reports whether two nodes hear each other now.
func (w *world) reaches(a, b int) bool {
	x, y := w.nodes[a], w.nodes[b]
	return x.runs() && y.runs() && !w.cut[[2]int{a, b}] && !w.cut[[2]int{b, a}]
}

// majority reports whether a node could commit now.
func (w *world) majority(of int) bool {
	voters, heard := 0, 0
	for i := range w.nodes {
		if w.voters&(1<<i) == 0 {
			continue
		}
		voters++
		if w.reaches(of, i) && (i == of || !w.nodes[i].stuck()) {
			heard++
		}
	}
	return heard > voters/2
}

// elect gives the lead to somebody else when the leader has had no majority for a while, and sometimes without reason. What
// the old leader had appended survives up to some entry.
func (w *world) elect() {
	if w.leader >= 0 && w.voters&(1<<w.leader) != 0 && w.majority(w.leader) {
		w.quiet = 0
		if w.rng.IntN(60) != 0 {
			return
		}
	} else if w.quiet == 0 {
		w.quiet = w.now + w.between(200*time.Millisecond, 600*time.Millisecond)
		return
	} else if w.now < w.quiet {
		return
	}
	var able []int
	for i := range w.nodes {
		if w.voters&(1<<i) != 0 && w.majority(i) {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		return
	}
	w.leader, w.quiet = able[w.rng.IntN(len(able))], 0
	w.queue = w.queue[:w.rng.IntN(len(w.queue)+1)]
	w.queued = false
	leader := w.nodes[w.leader]
	leader.believes = w.leader
	leader.do(w.step(), func() { w.commit(leader.i) })
}

// propose appends an entry at the leader; any other node loses it.
func (w *world) propose(at int, e entry) {
	if at != w.leader || !w.nodes[at].runs() {
		return
	}
	w.queue = append(w.queue, e)
	if !w.queued {
		w.queued = true
		w.nodes[at].do(w.between(200*time.Microsecond, 2*time.Millisecond), func() { w.commit(at) })
	}
}

// commit commits what is queued if the node still leads and has a majority.
func (w *world) commit(leader int) {
	if leader != w.leader {
		return
	}
	if !w.majority(leader) {
		w.nodes[leader].do(w.between(5*time.Millisecond, 20*time.Millisecond), func() { w.commit(leader) })
		return
	}
	w.queued = false
	for _, e := range w.queue {
		w.log = append(w.log, e)
		bit := uint(1) << e.node
		switch e.kind {
		case add:
			w.learner |= bit
		case promote:
			w.learner, w.voters = w.learner&^bit, w.voters|bit
		case remove:
			w.learner, w.voters, w.removed = w.learner&^bit, w.voters&^bit, w.removed|bit
		case tick, set:
		}
		if index := uint64(len(w.log)); e.done != nil {
			e.done(index)
		}
	}
	w.queue = nil
	w.nodes[leader].learn(leader, uint64(len(w.log)))
	w.heartbeat()
}

// heartbeat tells every member the leader and what is committed.
func (w *world) heartbeat() {
	if w.leader < 0 || !w.nodes[w.leader].runs() {
		return
	}
	leader, committed := w.leader, uint64(len(w.log))
	for i := range w.nodes {
		if i != leader && (w.voters|w.learner)&(1<<i) != 0 {
			w.send(leader, i, func() { w.nodes[i].learn(leader, committed) })
		}
	}
}

// fault does something bad, or heals the network, or changes the members.
func (w *world) fault() {
	n := w.pick()
	switch w.rng.IntN(14) {
	case 0, 1, 2: // one node hears nobody, is heard by nobody, or both
		way := w.rng.IntN(3)
		for i := range w.nodes {
			if i == n.i {
				continue
			}
			if way != 0 {
				w.cut[[2]int{n.i, i}] = true
			}
			if way != 1 {
				w.cut[[2]int{i, n.i}] = true
			}
		}
	case 3: // one line
		w.cut[[2]int{n.i, w.pick().i}] = true
	case 4, 5, 6:
		clear(w.cut)
	case 7:
		n.pausedUntil = w.now + w.between(100*time.Millisecond, 3600*time.Millisecond)
	case 8:
		n.restart()
	case 9:
		n.stuckUntil = w.now + w.between(100*time.Millisecond, 4*time.Second)
	case 10:
		n.disk = n.state
	case 11:
		w.truncated = uint64(len(w.log) - w.rng.IntN(len(w.log)+1)/4)
	case 12:
		w.grow()
	case 13:
		w.shrink()
	}
}

// grow adds a node that never was a member, or gives a vote to one that was added.
func (w *world) grow() {
	if w.leader < 0 || !w.nodes[w.leader].runs() {
		return
	}
	leader := w.nodes[w.leader]
	for i := range w.nodes {
		switch bit := uint(1) << i; {
		case w.learner&bit != 0:
			w.propose(leader.i, entry{kind: promote, node: i})
			return
		case (w.voters|w.removed)&bit == 0:
			if !w.rule.alone {
				leader.f.SetAlone(false) // before Raft is asked to add anybody
			}
			w.propose(leader.i, entry{kind: add, node: i})
			return
		}
	}
}

// shrink removes a voter that does not lead, as long as two are left.
func (w *world) shrink() {
	var others []int
	for i := range w.nodes {
		if w.voters&(1<<i) != 0 && i != w.leader {
			others = append(others, i)
		}
	}
	if len(others) >= 2 && w.leader >= 0 {
		w.propose(w.leader, entry{kind: remove, node: others[w.rng.IntN(len(others))]})
	}
}

// at runs something at a time.
func (w *world) at(t int64, run func()) {
	w.serial++
	e := event{t, w.serial, run}
	w.events = append(w.events, e)
	i := len(w.events) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(w.events[up]) {
			break
		}
		w.events[i] = w.events[up]
		i = up
	}
	w.events[i] = e
}

func (w *world) pop() event {
	first := w.events[0]
	last := len(w.events) - 1
	e := w.events[last]
	w.events[last] = event{}
	w.events = w.events[:last]
	for i := 0; last > 0; {
		down := 2*i + 1
		if down+1 < last && w.events[down+1].before(w.events[down]) {
			down++
		}
		if down >= last || !w.events[down].before(e) {
			w.events[i] = e
			break
		}
		w.events[i] = w.events[down]
		i = down
	}
	return first
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.serial < o.serial }

// rule is how the simulated nodes keep to the rules; the zero value keeps all of them.
type rule struct {
	name string
	from uint64 // where to begin among the seeds, for what is seldom found

	lastContact      bool // a lease from the last contact with the leader
	noWait           bool // mutations return when committed
	noLease          bool // mutations wait for the reports of nodes that answer at once, uses ask for no lease
	skipRemoved      bool // removed nodes are not waited for
	fromApply        bool // a lease counts from when its tick is applied
	clockBeforeState bool
	cachedClock      bool // a reading that some goroutine renews every 10 ms
	stateBeforeLease bool
	grantEarly       bool // a tick's lease counts before the state is published
	reportEarly      bool // a node reports an entry before the state is published
	forgetRestored   bool // an installed snapshot goes unnoticed
	forgetStart      bool // a started node takes others for long silent
	keepNonces       bool // they survive a restart
	alone            bool // a node stays alone when others join
	drift            float64
}

// clockRate returns how fast a node's clock runs: within half the bound around real time, often at an end of it.
func (w *world) clockRate() float64 {
	half := max(w.rule.drift, Drift) / 2
	return 1 + half*math.Max(-1, math.Min(1, 3*(w.rng.Float64()-0.5)))
}

// ids returns the ids of a set of nodes, but one.
func (w *world) ids(members uint, but int) []string {
	var names []string
	for i, n := range w.nodes {
		if members&(1<<i) != 0 && i != but {
			names = append(names, n.id)
		}
	}
	return names
}

func (w *world) byID(id string) *simNode {
	return w.nodes[slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.id == id })]
}
