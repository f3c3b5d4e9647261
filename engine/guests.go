package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/lp"
	"cryptoserve/engine/password"
	"cryptoserve/engine/policy"
)

// How many keys the limits of guests remember, each on its own.
const (
	maxGuests  = 100_000
	maxCounted = 1024
)

// visitRate is how often an address may do what needs no credential and costs something.
var visitRate = limit.Rate{PerSecond: 1, Burst: 30}

// purpose is what somebody tries, so that tries of one kind do not count for another.
type purpose uint8

const (
	forLogin purpose = iota + 1
	forPassword
	forReadingCode
	forDecidingCode
	forJoining
)

// guest is whose tries are counted together: an address, a name, or a name from an address.
type guest struct {
	purpose purpose
	address string
	who     [32]byte // of lp(tenant) lp(name)
}

// guests are the limits for those who have not proved who they are, and for those who guess. They are this node's own.
type guests struct {
	tries   *limit.Failures[guest]
	visits  *limit.Buckets[string]
	polls   *limit.Buckets[[32]byte]
	touches *limit.Buckets[[32]byte]
	counted *counted
}

func newGuests() guests {
	return guests{
		tries: limit.NewFailures[guest](maxGuests), visits: limit.NewBuckets[string](maxGuests),
		polls: limit.NewBuckets[[32]byte](maxGuests), touches: limit.NewBuckets[[32]byte](maxGuests),
		counted: &counted{byKey: map[string]*count{}},
	}
}

// verifyPassword is password.Verify.
type verifyPassword func(ctx context.Context, encoded string, pass []byte) (password.Result, error)

const causeLimited fault.Cause = "limited"

// network returns what of an address counts as one caller: of IPv6 the first 64 bits, for a host has all the others.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		p, perr := netip.ParseAddrPort(address)
		if perr != nil {
			return address
		}
		ip = p.Addr()
	}
	if ip.Unmap().Is4() {
		return ip.Unmap().String()
	}
	if p, err := ip.WithZone("").Prefix(64); err == nil {
		return p.String()
	}
	return ip.String()
}

// try reserves a try for each of the guests, or refuses. The caller tells how it ended with failed or succeeded.
func (e *Engine) try(list ...guest) error {
	now := e.now()
	for _, g := range list {
		if retry, ok := e.guests.tries.Check(g, now); !ok {
			return tooMany("tries", retry)
		}
	}
	return nil
}

func (e *Engine) failed(list ...guest) {
	for _, g := range list {
		e.guests.tries.Failed(g, e.now())
	}
}

func (e *Engine) succeeded(list ...guest) {
	for _, g := range list {
		e.guests.tries.Succeeded(g)
	}
}

// loginGuests are whose tries a login counts for. The address comes first: names can be made up freely, addresses cannot. A name
// alone does not count: then anybody could keep its owner out.
func loginGuests(address, tenant, name string) []guest {
	who := sha256.Sum256(lp.Append(lp.Append(nil, tenant), name))
	address = network(address)
	return []guest{{forLogin, address, [32]byte{}}, {forLogin, address, who}}
}

// userGuests are the same for what a signed-in user can guess.
func userGuests(p purpose, address, user string) []guest {
	return []guest{{p, "", sha256.Sum256([]byte(user))}, {p, network(address), [32]byte{}}}
}

// visit lets an address do something without a credential, or refuses.
func (e *Engine) visit(c *Call) error {
	if retry, ok := e.guests.visits.Allow(network(c.Source), visitRate, 1, e.now()); !ok {
		return tooMany("tries", retry)
	}
	return nil
}

// finishGuest is finish for a call that anybody may make: of the refusals by a limit one a second is recorded for each action
// and address, and says how many were not. Otherwise whoever is refused could fill the disk.
func (e *Engine) finishGuest(c *Call, r *audit.Record, err error) error {
	if fault.Of(err) != fault.RateLimited {
		return e.finish(c, r, err)
	}
	n, due := e.guests.counted.add(r, e.now())
	if !due {
		c.Counted = true
		return err
	}
	r.Cause = countedCause(n + 1)
	return e.finish(c, r, err)
}

// countedCause says how many refusals a record stands for.
func countedCause(n int) string {
	if n == 1 {
		return string(causeLimited)
	}
	return fmt.Sprintf("%s, %d times", causeLimited, n)
}

// VisitNode lets the API do something for anybody that is no use case of the engine, or refuses, and records that.
func (e *Engine) VisitNode(_ context.Context, c *Call, action policy.Action, resource string) error {
	if err := e.visit(c); err != nil {
		r := c.begin(action)
		r.Resource = resource
		return e.finishGuest(c, &r, err)
	}
	return nil
}

// Note writes the record of what the API did by itself, and returns what the caller may be told.
func (e *Engine) Note(_ context.Context, c *Call, action policy.Action, resource string, outcome error) error {
	r := c.begin(action)
	r.Resource = resource
	c.noRight()
	return e.finish(c, &r, outcome)
}

// countEvery is how long refusals are only counted after one that was recorded.
const countEvery = time.Second

// counted are refusals without a record of their own. Goroutines share it.
type counted struct {
	mu    sync.Mutex
	byKey map[string]*count
}

// count is what is known of the refusals of one action to one address.
type count struct {
	at     time.Time // of the last record
	n      int       // since then
	record audit.Record
}

// add counts a refusal. It reports whether it should be recorded, and then how many before it were not. When there are too many
// keys the others share one.
func (d *counted) add(r *audit.Record, now time.Time) (n int, due bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := r.Action + " " + network(r.Source)
	if d.byKey[key] == nil && len(d.byKey) >= maxCounted {
		key = ""
	}
	one := d.byKey[key]
	if one == nil {
		d.byKey[key] = &count{at: now, record: *r}
		return 0, true
	}
	if since := now.Sub(one.at); since >= 0 && since < countEvery {
		one.n++
		return 0, false
	}
	n, one.n, one.at, one.record = one.n, 0, now, *r
	return n, true
}

// due takes out what was counted and not recorded for long enough.
func (d *counted) due(now time.Time) []count {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []count
	for key, one := range d.byKey {
		if since := now.Sub(one.at); since >= 0 && since < countEvery {
			continue
		}
		if one.n > 0 {
			list = append(list, *one)
		}
		delete(d.byKey, key)
	}
	return list
}

// recordDropped writes one record for each row of refusals that nothing came after. What cannot be written is lost: the log of
// the node says that the audit log cannot be written.
func (e *Engine) recordDropped() {
	for _, one := range e.guests.counted.due(e.now()) {
		r := one.record
		r.Result, r.Code, r.Cause = audit.Denied, fault.RateLimited.Code(), countedCause(one.n)
		if err := e.record(&Call{}, &r); err != nil {
			e.log.Warn("refusals that were counted could not be recorded", "count", one.n, "error", err)
		}
	}
}
