package clustertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// workload is the clients of a run. Each has a number, and draws its own random numbers from the seed and that number.
type workload struct {
	cluster Cluster
	options Options
	history *History
	end     chan struct{}
	running sync.WaitGroup
	active  []*slot

	keysMu sync.Mutex
	keys   []string

	mu          sync.Mutex
	created     []string // rights whose making was acknowledged
	ciphertexts []Ciphertext
	wrong       []string // what no client should ever have got
}

// slot is the place of one right in use.
type slot struct {
	mu    sync.Mutex
	right string
	made  []Ciphertext // with this right, some of the newest
}

// keptPerRight is how many ciphertexts of a right are at hand for its decryptions.
const keptPerRight = 64

func newWorkload(c Cluster, o Options) *workload {
	return &workload{cluster: c, options: o, history: NewHistory(), end: make(chan struct{})}
}

// prepare makes keys and the first rights while the cluster is well.
func (w *workload) prepare(ctx context.Context) error {
	if err := w.cluster.Settle(ctx); err != nil {
		return err
	}
	for range w.options.Keys {
		key, err := w.cluster.NewKey(ctx, w.cluster.Nodes()[0])
		if err != nil {
			return err
		}
		w.keys = append(w.keys, key)
	}
	for i := range w.options.Rights {
		n := w.cluster.Nodes()[i%len(w.cluster.Nodes())]
		name := w.name("first", i, 0)
		if a := w.create(ctx, 0, n, name); a.Outcome != OK {
			return fmt.Errorf("create %s at %s: %s %s", name, n.Name, a.Outcome, a.Detail)
		}
		w.active = append(w.active, &slot{right: name})
	}
	return nil
}

// name is one that no run before has used.
func (w *workload) name(what string, client, number int) string {
	return fmt.Sprintf("%s-%d-%d-%d", what, w.options.Seed, client, number)
}

func (w *workload) create(ctx context.Context, client int, n *Node, name string) Answer {
	a := w.history.Do(client, n.Name, Create, name, func() Answer { return w.cluster.Create(ctx, n, name) })
	if a.Outcome == OK {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.created = append(w.created, name)
	}
	return a
}

// client is one of them.
type client struct {
	*workload
	id  int
	rng *rand.Rand
}

func (w *workload) start(ctx context.Context) {
	next := 0
	begin := func(work func(context.Context, *client)) {
		next++
		c := &client{w, next, rand.New(rand.NewPCG(w.options.Seed, uint64(next)))} // #nosec G115 G404 -- repeatable
		w.running.Go(func() { work(ctx, c) })
	}
	for _, n := range w.cluster.Nodes() {
		for range w.options.Users {
			begin(func(ctx context.Context, c *client) { c.use(ctx, n) })
		}
	}
	for _, s := range w.active {
		begin(func(ctx context.Context, c *client) { c.takeAndGive(ctx, s) })
	}
	for place := range w.keys {
		begin(func(ctx context.Context, c *client) { c.rotate(ctx, place) })
	}
	begin(creates)
	if w.options.Reads {
		begin(reads)
		begin(reads)
	}
}

// stop lets every client end what it does.
func (w *workload) stop() {
	close(w.end)
	w.running.Wait()
}

// pause waits a random time and tells whether to go on.
func (c *client) pause(ctx context.Context, least, most time.Duration) bool {
	timer := time.NewTimer(least + time.Duration(c.rng.Float64()*float64(most-least)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.end:
		return false
	case <-ctx.Done():
		return false
	}
}

func (c *client) anyNode() *Node {
	nodes := c.cluster.Nodes()
	return nodes[c.rng.IntN(len(nodes))]
}

// use encrypts and decrypts at one node with any of the rights.
func (c *client) use(ctx context.Context, n *Node) {
	for number := 0; ; number++ {
		wait := 8 * time.Millisecond
		s := c.active[c.rng.IntN(len(c.active))]
		s.mu.Lock()
		right, made := s.right, s.made
		s.mu.Unlock()
		var a Answer
		if len(made) == 0 || c.rng.IntN(2) == 0 {
			var sealed Ciphertext
			a = c.history.Do(c.id, n.Name, Encrypt, right, func() (a Answer) {
				sealed, a = c.cluster.Encrypt(ctx, n, right)
				return a
			})
			if a.Outcome == OK {
				c.keep(s, sealed)
			}
		} else {
			sealed := made[c.rng.IntN(len(made))]
			a = c.history.Do(c.id, n.Name, Decrypt, right, func() Answer { return c.cluster.Decrypt(ctx, n, right, sealed) })
			if a.Outcome == OK && a.Detail == WrongPlaintext {
				c.noteWrong("wrong plaintext with %s at %s", right, n.Name)
			}
		}
		if a.Outcome != OK {
			wait = 20 * time.Millisecond
		}
		if !c.pause(ctx, time.Millisecond, wait) {
			return
		}
	}
}

func (c *client) keep(s *slot, sealed Ciphertext) {
	c.mu.Lock()
	c.ciphertexts = append(c.ciphertexts, sealed)
	c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.right == sealed.Right {
		// A new list: users read the old one without the lock.
		s.made = append(slices.Clone(s.made[max(0, len(s.made)-keptPerRight+1):]), sealed)
	}
}

func (w *workload) noteWrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// takeAndGive takes a right away and gives it back, again and again, and puts another in its place after a while. It does that at once
// when nobody knows whether a right was given back: a use of it would prove nothing.
func (c *client) takeAndGive(ctx context.Context, s *slot) {
	for number := 1; ; number++ {
		for from := time.Now(); time.Since(from) < rightLife; {
			if !c.pause(ctx, 20*time.Millisecond, 300*time.Millisecond) {
				return
			}
			// Whoever takes a right away asks again until he knows that it is.
			if c.change(ctx, Revoke, s.right, Refused, Unknown) != OK || !c.pause(ctx, 20*time.Millisecond, 200*time.Millisecond) {
				break
			}
			if c.change(ctx, Grant, s.right, Refused) != OK {
				break
			}
		}
		for try := 0; ; try++ {
			name := fmt.Sprintf("%s-%d", c.name("right", c.id, number), try)
			if !c.pause(ctx, 20*time.Millisecond, 100*time.Millisecond) {
				return
			}
			if c.create(ctx, c.id, c.anyNode(), name).Outcome == OK {
				s.mu.Lock()
				s.right, s.made = name, nil
				s.mu.Unlock()
				break
			}
		}
	}
}

// Bounds on how often a change is asked for. Of unknown outcomes only a few can be told apart from each other later, in all orders.
const (
	mostTries   = 500
	mostUnknown = 4
)

// change asks for a change of a right, each time at a random node, as long as the outcome is one of those given.
func (c *client) change(ctx context.Context, kind Kind, right string, again ...Outcome) Outcome {
	call := c.cluster.Revoke
	if kind == Grant {
		call = c.cluster.Grant
	}
	for tries, unknown := 1, 0; ; tries++ {
		n := c.anyNode()
		a := c.history.Do(c.id, n.Name, kind, right, func() Answer { return call(ctx, n, right) })
		wait := 10 * time.Millisecond
		if a.Outcome == Unknown {
			wait = 100 * time.Millisecond
			unknown++
		}
		if !slices.Contains(again, a.Outcome) || tries >= mostTries || unknown >= mostUnknown || !c.pause(ctx, wait/2, 2*wait) {
			return a.Outcome
		}
	}
}

// rotate rotates the key of one place, and takes another key when too many outcomes are unknown.
func (c *client) rotate(ctx context.Context, place int) {
	unknown := 0
	for c.pause(ctx, 50*time.Millisecond, 200*time.Millisecond) {
		n, key := c.anyNode(), c.key(place)
		a := c.history.Do(c.id, n.Name, Rotate, key, func() Answer { return c.cluster.Rotate(ctx, n, key) })
		if a.Outcome == Unknown {
			unknown++
		}
		if unknown < mostUnknown {
			continue
		}
		if key, err := c.cluster.NewKey(ctx, n); err == nil {
			c.keysMu.Lock()
			c.keys[place] = key
			c.keysMu.Unlock()
			unknown = 0
		}
	}
}

func (c *client) key(place int) string {
	c.keysMu.Lock()
	defer c.keysMu.Unlock()
	return c.keys[place]
}

func creates(ctx context.Context, c *client) {
	for number := 0; c.pause(ctx, 100*time.Millisecond, 400*time.Millisecond); number++ {
		c.create(ctx, c.id, c.anyNode(), c.name("created", c.id, number))
	}
}

func reads(ctx context.Context, c *client) {
	for c.pause(ctx, 5*time.Millisecond, 40*time.Millisecond) {
		n := c.anyNode()
		if c.rng.IntN(2) == 0 {
			key := c.key(c.rng.IntN(c.options.Keys))
			c.history.Do(c.id, n.Name, ReadVersion, key, func() Answer { return c.cluster.ReadVersion(ctx, n, key) })
			continue
		}
		s := c.active[c.rng.IntN(len(c.active))]
		s.mu.Lock()
		right := s.right
		s.mu.Unlock()
		c.history.Do(c.id, n.Name, ReadRight, right, func() Answer { return c.cluster.ReadRight(ctx, n, right) })
	}
}
