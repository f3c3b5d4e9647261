package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"
)

// Options say how to run chaos. Zero values of the counts and times mean the defaults.
type Options struct {
	// Seed decides which faults come when and where, and what each client does next. 0 takes one from the clock.
	Seed     uint64
	Duration time.Duration // of the faults; what follows takes some more
	// Faults are those to choose from; nil means all that the cluster has the parts for. Each comes once before any comes again.
	Faults []Fault
	// Lease is how long a node may serve without hearing from the others; faults last up to 1.8 of it. Default 2 s.
	Lease time.Duration
	// Quiet is the longest time between two faults. Default 1 s.
	Quiet time.Duration
	// Users is the number of clients of each node that encrypt and decrypt (default 3), Rights that of rights in use at a time, each with
	// a client that takes it away and gives it back (default 4), Keys that of keys with a client that rotates them (default 2).
	Users, Rights, Keys int
	// Reads lets two more clients read rights and versions. The service must have strict reads.
	Reads bool
	// Artifacts is where the history goes when a check fails; empty for nowhere.
	Artifacts string
	// Log tells of each fault, such as t.Logf; nil for nobody. It is called by one goroutine.
	Log func(format string, args ...any)
}

const (
	settleTimeout = 60 * time.Second
	// rightLife is how long a right is used before another takes its place: histories of one right stay short enough to be checked.
	rightLife = 20 * time.Second
	// modelTimeout is how long porcupine may search. The scans have decided by then what they can decide.
	modelTimeout = 30 * time.Second
)

func (o Options) withDefaults(nodes []*Node) (Options, error) {
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano()) // #nosec G115 -- any number will do
	}
	if o.Duration <= 0 || len(nodes) == 0 {
		return o, errors.New("clustertest: chaos needs a duration and a node")
	}
	o.Lease, o.Quiet = orDefault(o.Lease, 2*time.Second), orDefault(o.Quiet, time.Second)
	o.Users, o.Rights, o.Keys = orDefault(o.Users, 3), orDefault(o.Rights, 4), orDefault(o.Keys, 2)
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Faults == nil {
		for _, f := range AllFaults {
			if f.Possible(nodes) == nil {
				o.Faults = append(o.Faults, f)
			}
		}
	}
	var impossible []error
	for _, f := range o.Faults {
		impossible = append(impossible, f.Possible(nodes))
	}
	return o, errors.Join(impossible...)
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Run lets clients use a cluster while faults are injected, then undoes all faults, waits until the cluster has settled, and checks
// everything that was promised. The report says whether the promises were kept; the error is for runs that could not be made.
// The first thing it logs is the seed.
func Run(ctx context.Context, c Cluster, o Options) (*Report, error) {
	o, err := o.withDefaults(c.Nodes())
	if err != nil {
		return nil, err
	}
	o.Log("chaos: seed %d, %v on %s", o.Seed, o.Duration, names(c.Nodes()))
	report := &Report{Seed: o.Seed, Duration: o.Duration, Nodes: len(c.Nodes()), possible: o.Faults}
	w := newWorkload(c, o)
	if err := w.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare the chaos: %w", err)
	}
	exits := exitsOf(c)
	w.start(ctx)
	report.Injected, err = injectAll(ctx, c, o, w.history)
	// The cluster must serve again while the clients go on.
	err = errors.Join(err, restore(ctx, c.Nodes()))
	if err == nil {
		err = errors.Join(sleep(ctx, min(o.Lease, time.Second)), c.Settle(ctx))
	}
	w.stop()
	if err != nil {
		return report, errors.Join(err, o.save(w.history))
	}
	for name, n := range exitsOf(c) {
		if n -= exits[name]; n > 0 {
			report.Exits += n
		}
	}
	report.judge(ctx, c, w)
	if report.Err() != nil {
		return report, o.save(w.history)
	}
	return report, nil
}

func (o Options) save(h *History) error {
	if o.Artifacts == "" {
		return nil
	}
	return h.Save(filepath.Join(o.Artifacts, fmt.Sprintf("history-%d.json", o.Seed)))
}

func exitsOf(c Cluster) map[string]int {
	exits := map[string]int{}
	for _, n := range c.Nodes() {
		exits[n.Name] = n.Process.Exits()
	}
	return exits
}

// injectAll injects one fault after the other until the time is over.
func injectAll(ctx context.Context, c Cluster, o Options, h *History) ([]Injected, error) {
	rng := rand.New(rand.NewPCG(o.Seed, 0)) // #nosec G404 -- a schedule that can be repeated
	var injected []Injected
	var deck []Fault
	leader := c.Nodes()[0]
	for end := h.Now() + o.Duration; len(o.Faults) > 0; {
		if err := sleep(ctx, o.Quiet/5+time.Duration(rng.Float64()*float64(o.Quiet)*4/5)); err != nil {
			return injected, err
		}
		if h.Now() >= end {
			break
		}
		if len(deck) == 0 {
			deck = slices.Clone(o.Faults)
			rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		fault := deck[0]
		deck = deck[1:]
		// Half of the faults are over before a lease is, the other half are not.
		hold := time.Duration((0.05 + 0.85*rng.Float64()) * float64(o.Lease))
		if rng.IntN(2) == 0 {
			hold += o.Lease * 9 / 10
		}
		// Between two leaders it is the last one that is broken.
		if now, err := c.Leader(ctx); err == nil {
			leader = now
		}
		one, err := inject(ctx, fault, fault.place(rng, c.Nodes(), leader), hold, h)
		injected = append(injected, one)
		o.Log("chaos: %8.3f s  %-22s %-12s for %.3f s", one.From.Seconds(), one.Fault, one.Nodes, (one.To - one.From).Seconds())
		if err != nil {
			return injected, fmt.Errorf("%s at %s: %w", fault, one.Nodes, err)
		}
	}
	return injected, nil
}

func inject(ctx context.Context, f Fault, at injection, hold time.Duration, h *History) (Injected, error) {
	one := Injected{Fault: f, Nodes: names(at.nodes), From: h.Now()}
	err := at.inject()
	if err == nil {
		err = sleep(ctx, hold)
	}
	one.To = h.Now()
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	return one, errors.Join(err, at.undo(ctx))
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
