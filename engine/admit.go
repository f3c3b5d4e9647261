package engine

import (
	"math"
	"sync"
	"time"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/policy"
)

// How many addresses, subjects and contexts the limits remember.
const (
	limitedAddresses = 1 << 16
	limitedSubjects  = 1 << 16
	limitedContexts  = 1 << 14
)

// refusalRate bounds the records that callers without a credential cause: what passes it is refused all the same, and
// recorded once a second. Otherwise anybody could fill the audit log's disk.
var refusalRate = limit.Rate{PerSecond: 10, Burst: 200}

// budgetKey names what one application decrypts in one context.
type budgetKey struct{ application, context string }

// limits bound what callers may take of this node: DESIGN section 8. Each node has its own.
type limits struct {
	addresses *limit.Buckets[string] // tenant and address
	subjects  *limit.Buckets[string] // id of an application or user
	contexts  *limit.Buckets[string] // tenant and context
	budgets   *limit.Budget[budgetKey]
	strangers *limit.Buckets[string] // address: refusals without a subject
	settings  sync.Map               // tenant id -> *rates
}

// rates are a tenant's settings as the limits take them, at an epoch.
type rates struct {
	epoch                     uint64
	address, subject, context limit.Rate
}

func newLimits() *limits {
	return &limits{
		addresses: limit.NewBuckets[string](limitedAddresses), subjects: limit.NewBuckets[string](limitedSubjects),
		contexts: limit.NewBuckets[string](limitedContexts), budgets: limit.NewBudget[budgetKey](limitedSubjects),
		strangers: limit.NewBuckets[string](limitedAddresses),
	}
}

// Admit tells whether a call with a subject may go on: neither its address nor its subject has had its share. The engine's
// use cases hold the limits of contexts. Errors are fault.RateLimited.
func (e *Engine) Admit(c *Call, action policy.Action) error {
	r := e.ratesOf(c.Subject.Tenant)
	if r.address != (limit.Rate{}) {
		address := network(c.Source)
		if retry, ok := e.limits.addresses.Allow(c.Subject.Tenant+" "+address, r.address, 1, e.now()); !ok {
			return e.limited(c, action, "address", retry)
		}
	}
	if retry, ok := e.limits.subjects.Allow(c.Subject.ID, r.subject, 1, e.now()); !ok {
		return e.limited(c, action, "subject", retry)
	}
	return nil
}

// ratesOf returns what a tenant's settings say now.
func (e *Engine) ratesOf(tenant string) *rates {
	epoch := e.ledger.Epoch()
	if known, ok := e.limits.settings.Load(tenant); ok {
		if r := known.(*rates); r.epoch == epoch {
			return r
		}
	}
	s := e.ledger.View().Tenant(tenant).Record().Of()
	r := &rates{epoch: epoch, address: rateOf(s.AddressRate), subject: rateOf(s.SubjectRate), context: rateOf(s.ContextRate)}
	e.limits.settings.Store(tenant, r)
	return r
}

func rateOf(r directory.Rate) limit.Rate {
	return limit.Rate{PerSecond: float64(r.PerSecond), Burst: int(r.Burst)}
}

// limited refuses a call for a limit. Of such refusals one a second is recorded, and says how many there were.
func (e *Engine) limited(c *Call, action policy.Action, what string, retry time.Duration) error {
	r := c.begin(action)
	r.Resource = what
	return e.finishGuest(c, &r, tooMany("requests of this "+what, retry))
}

// tooMany refuses a call that may come again.
func tooMany(what string, retry time.Duration) error {
	refusal := fault.Wrap(fault.RateLimited, "engine.limit", "too many "+what+": wait as long as Retry-After says", causeLimited)
	if retry == limit.Never {
		refusal.Detail = "the request asks for more than the limit for " + what + " ever lets pass: make it smaller"
		retry = math.MaxInt32 * time.Second
	}
	refusal.RetryAfter = retry
	return refusal
}

// spendShare takes so many operations from the limit of a plan's context.
func (e *Engine) spendShare(s *policy.Subject, p *plan, operations int) error {
	r := e.ratesOf(s.Tenant)
	if r.context == (limit.Rate{}) {
		return nil
	}
	if retry, ok := e.limits.contexts.Allow(s.Tenant+" "+p.context.Name, r.context, operations, e.now()); !ok {
		return tooMany("requests in this context", retry)
	}
	return nil
}

// spendBudget takes records, and bytes of what is opened, from what an application may decrypt in a context: enough for its
// work, too little for a thief with its token.
func (e *Engine) spendBudget(s *policy.Subject, p *plan, records, bytes int) error {
	if p.budget == (limit.Allowance{}) {
		return nil
	}
	key := budgetKey{s.ID, p.context.Name}
	if retry, ok := e.limits.budgets.Spend(key, p.budget, int64(records), int64(bytes), e.now()); !ok {
		return tooMany("decryptions for the budget", retry)
	}
	return nil
}

// budgetOf is what an application may decrypt under a grant: what the grant says, else the tenant's settings.
func budgetOf(tenant *directory.Tenant, g directory.Grant) limit.Allowance {
	b := g.Budget
	if b == nil {
		b = tenant.Of().Budget
	}
	if b == nil {
		return limit.Allowance{}
	}
	return limit.Allowance{
		Records: clamp(b.Records), Bytes: clamp(b.Bytes), Window: time.Duration(b.Seconds) * time.Second,
	}
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
