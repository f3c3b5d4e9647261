package engine

import (
	"context"
	"strings"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/joincode"
	"cryptoserve/engine/policy"
)

// Call is one request as the engine sees it: who makes it, under which id, from where and since when. The engine leaves
// the receipt of the audit record in it. A Call belongs to one goroutine.
type Call struct {
	Subject   *policy.Subject // nil until authenticated
	RequestID string
	Source    string // the caller's network address
	Start     time.Time
	Receipt   audit.Receipt
	// Counted says that the call was refused by a limit and that it has no record of its own: the next record of its key tells
	// how many there were.
	Counted bool
	// Fenced is how long the changes of this call waited until no node honoured any more what they took away; 0 when they took
	// nothing.
	Fenced time.Duration
	// lease is that of the records that decide, read before them: see fence.go. 0 is none.
	lease int64
	// routine marks what the appliance does by itself again and again: its records leave the audit log's reserve alone.
	routine bool
}

// tenant returns the subject's tenant, empty when there is no subject.
func (c *Call) tenant() string {
	if c.Subject == nil {
		return ""
	}
	return c.Subject.Tenant
}

// begin returns the audit record of a use case with what is known at its start. What decided about another use case of the call
// does not count for this one.
func (c *Call) begin(action policy.Action) audit.Record {
	c.lease = 0
	r := audit.Record{RequestID: c.RequestID, Source: c.Source, Action: string(action)}
	if s := c.Subject; s != nil {
		r.Tenant, r.Subject, r.Kind = s.Tenant, s.ID, s.Kind.String()
	}
	return r
}

// finish writes the record of a use case that ended with err and returns what the caller may be told: err, fault.StaleReplica
// when it has succeeded by records that this node can no longer vouch for, or fault.AuditUnavailable when the record could not be
// written.
func (e *Engine) finish(c *Call, r *audit.Record, err error) error {
	if err == nil {
		err = e.held(c)
	}
	r.Result, r.Code = result(err)
	if err != nil && r.Cause == "" {
		r.Cause = string(fault.CauseOf(err))
	}
	if aerr := e.record(c, r); aerr != nil {
		return aerr
	}
	return err
}

func (e *Engine) record(c *Call, r *audit.Record) error {
	if strings.HasPrefix(r.Resource, "cs_") || strings.HasPrefix(r.Resource, joincode.Prefix) { // a token or code that was typed where an id belongs
		r.Resource = "withheld"
	}
	r.Time = e.now()
	if !c.Start.IsZero() {
		r.Latency = r.Time.Sub(c.Start)
	}
	receipt, err := e.audit.Append(r)
	if err != nil {
		return fault.Wrap(fault.AuditUnavailable, "engine.audit", "the audit record cannot be written, so the operation is refused", err)
	}
	c.Receipt = receipt
	return nil
}

func result(err error) (audit.Result, string) {
	if err == nil {
		return audit.Success, ""
	}
	switch k := fault.Of(err); k {
	case fault.HSMUnavailable, fault.AuditUnavailable, fault.LedgerUnavailable, fault.Unavailable, fault.NotLeader, fault.StaleReplica,
		fault.Internal:
		return audit.Failed, k.Code()
	default:
		return audit.Denied, k.Code()
	}
}

// Refuse writes the record of a request that was refused before it reached a use case, such as one without a good token
// or with a body that cannot be read, and returns the error to answer with. An address that causes too many of them without a
// credential is told so, and is recorded less often. A node without a lease cannot tell a credential that it does not know from
// one that is new, and says that instead.
func (e *Engine) Refuse(_ context.Context, c *Call, action policy.Action, resource string, refusal error) error {
	if fault.Of(refusal) == fault.Unauthenticated && !e.Current() {
		refusal = errStale
	}
	if c.Subject == nil {
		if _, ok := e.limits.strangers.Allow(network(c.Source), refusalRate, 1, e.now()); !ok {
			// The caller is told what he would be told: behind one address there may be many who only need a new token.
			c.Counted = true
			r := c.begin(action)
			r.Resource = "address"
			if _, due := e.guests.counted.add(&r, e.now()); !due {
				return refusal
			}
		}
	}
	r := c.begin(action)
	r.Resource = resource
	return e.finish(c, &r, refusal)
}

// change carries out a use case of the subject that changes replicated state: it authorises the action, builds the command
// and proposes it.
func (e *Engine) change(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, build func() (command.Command, error),
) error {
	return e.changeAs(ctx, c, r, action, func(*directory.User) (command.Command, error) { return build() })
}

// changeAs does what change does for a command that depends on the user who wants it; nil is the appliance.
func (e *Engine) changeAs(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, build func(*directory.User) (command.Command, error),
) error {
	user, err := e.authorizeChange(c, action)
	if err != nil {
		return e.finish(c, r, err)
	}
	rotates := false
	lawful := func() (command.Command, error) {
		cmd, err := build(user)
		if err != nil {
			return nil, err
		}
		rotates = isRotation(cmd)
		return e.guarded(c.Subject, user, cmd)
	}
	cmd, err := lawful()
	if err != nil {
		return e.finish(c, r, err)
	}
	// Only users and the appliance come here. Refused callers must not: they could use up the reserve that lets an
	// administrator mend a full disk.
	r.Administrative = !c.routine
	if err := e.start(c, r); err != nil {
		return err
	}
	err = e.commit(ctx, c, cmd)
	for again := 0; again < mostRebuilt && rotates && user != nil && fault.Of(err) == fault.Conflict; again++ {
		if cmd, err = lawful(); err == nil {
			err = e.commit(ctx, c, cmd)
		}
	}
	return e.finish(c, r, err)
}

// mostRebuilt is how often a rotation that others were in the way of is built anew.
const mostRebuilt = 2

// isRotation reports whether a command asks for the next version, whichever number it has: when the node did not know yet that
// somebody else had just rotated, it does so after the refusal, and the same user still wants the next version. All other conflicts
// are the caller's to look at.
func isRotation(cmd command.Command) bool {
	switch cmd := cmd.(type) {
	case command.RotateContext:
		return true
	case command.RotateKey:
		return cmd.Import == ""
	default:
		return false
	}
}

// guarded ties a command to the rights that a user had when it was authorised, so that it is refused when he has lost them by
// the time it is applied.
func (e *Engine) guarded(s *policy.Subject, user *directory.User, cmd command.Command) (command.Command, error) {
	if user == nil {
		return cmd, nil
	}
	encoded, err := command.Encode(cmd)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "engine.change", "", err)
	}
	return command.Guarded{
		Tenant: user.Tenant, User: user.ID, Revision: user.Revision, Session: s.Session, At: e.now().UnixMilli(), Command: encoded,
	}, nil
}

// propose makes a change that was found lawful. The record that it starts stands before the change, so that nothing changes
// unseen even when the record of its end cannot be written.
func (e *Engine) propose(ctx context.Context, c *Call, r *audit.Record, cmd command.Command) error {
	if err := e.start(c, r); err != nil {
		return err
	}
	return e.finish(c, r, e.commit(ctx, c, cmd))
}

// start writes the record that stands before a change.
func (e *Engine) start(c *Call, r *audit.Record) error {
	r.Result = audit.Started
	return e.record(c, r)
}

// malformedField refuses a request for one of its fields.
func malformedField(name, detail string) error {
	return &fault.Error{
		Kind: fault.Malformed, Op: "engine.request", Detail: "a field of the request is not valid",
		Fields: []fault.Field{{Name: name, Detail: detail}},
	}
}
