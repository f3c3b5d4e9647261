package engine

import (
	"context"
	"math"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
)

// The fence (DESIGN.md, "The fence"): a right that was taken away on one node is honoured on none. Each use of a right reads the
// ledger's lease, then the records that decide, then the lease's clock, in that order, and answers only if the lease has not run
// out. A lease says that this node has applied all that was committed before the lease began, and whoever takes a right away
// waits until every node has applied that or has no lease any more.
//
// Call.lease is the lease that was read before the records which decided; finish asks for the clock, once, of every use case
// that is about to succeed. A use case that never read a lease does not succeed.

// settled stands in the place of a lease when an answer needs none: the log itself said that the records were the newest.
const settled = math.MaxInt64

// errStale refuses what only a node that knows the newest records may do.
var errStale = &fault.Error{
	Kind: fault.StaleReplica, Op: "engine.fence", RetryAfter: time.Second,
	Detail: "this node has no contact with a majority of the cluster, so it cannot know whether rights were taken away: " +
		"try again, or ask another node",
}

// look begins a look at records that decide about a call. It refuses on a node without a lease.
func (e *Engine) look(c *Call) error {
	return e.looked(c, e.ledger.Lease(), false, nil)
}

// looked ends an early look at the records, which were read after the lease and gave err. It is there to save work: a node that
// is refused here says nothing of what it found. The late look replaces the lease that it leaves in the call.
func (e *Engine) looked(c *Call, lease int64, strict bool, err error) error {
	if !strict && e.expired(lease) {
		return errStale
	}
	if c.lease == 0 {
		c.lease = lease
	}
	return err
}

// lookLate begins the decisive look at the records, which is the one after the work: what is read from the ledger from now on
// is covered by the lease that it leaves in the call. In a strict context the log is asked instead of a clock.
func (e *Engine) lookLate(ctx context.Context, c *Call, p *plan) error {
	if p.strict() {
		return e.barrier(ctx, c)
	}
	c.lease = e.ledger.Lease()
	return nil
}

// barrierWithin bounds the wait for the log where the caller's context does not.
const barrierWithin = 10 * time.Second

// barrier waits until this node has applied all that was committed before, so that what is read from the ledger from now on needs
// no lease.
func (e *Engine) barrier(ctx context.Context, c *Call) error {
	ctx, cancel := context.WithTimeout(ctx, barrierWithin)
	defer cancel()
	if err := e.ledger.Barrier(ctx); err != nil {
		stale := *errStale
		stale.Err = err
		return &stale
	}
	c.lease = settled
	return nil
}

// expired reads the lease's clock, which a cluster of one does without.
func (e *Engine) expired(lease int64) bool {
	return lease != settled && (lease <= 0 || e.ledger.Expired(lease))
}

// Current reports whether this node may answer from its records now. It does not for a context that is strict.
func (e *Engine) Current() bool { return !e.expired(e.ledger.Lease()) }

// held refuses when the lease of the records that decided has run out. It comes after the look at them.
func (e *Engine) held(c *Call) error {
	if e.expired(c.lease) {
		return errStale
	}
	return nil
}

// commit has the ledger carry out a command of a call. A command that was applied, or refused, has its place in the log, and this
// node has applied everything before it: what decided about it is what the log says, and no lease is needed for that. Users'
// commands come guarded (guarded), so that applying them looks at the user's rights once more.
func (e *Engine) commit(ctx context.Context, c *Call, cmd command.Command) error {
	out, err := e.ledger.Propose(ctx, cmd)
	c.Fenced += out.Fenced
	if err == nil || out.Refused != 0 {
		c.lease = settled
	}
	return err
}

// noRight marks a call that uses no right and tells nothing of the records.
func (c *Call) noRight() { c.lease = settled }

// ended reports whether the record of the end of a use case was written, or tried.
func ended(r *audit.Record) bool { return r.Result != audit.ResultUnknown && r.Result != audit.Started }
