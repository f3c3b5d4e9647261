package engine

import (
	"context"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
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
}

// tenant returns the subject's tenant, empty when there is no subject.
func (c *Call) tenant() string {
	if c.Subject == nil {
		return ""
	}
	return c.Subject.Tenant
}

// begin returns the audit record of a use case with what is known at its start.
func (c *Call) begin(action policy.Action) audit.Record {
	r := audit.Record{RequestID: c.RequestID, Source: c.Source, Action: string(action)}
	if s := c.Subject; s != nil {
		r.Tenant, r.Subject, r.Kind = s.Tenant, s.ID, s.Kind.String()
	}
	return r
}

// finish writes the record of a use case that ended with err and returns what the caller may be told: err, or
// fault.AuditUnavailable when the record could not be written.
func (e *Engine) finish(c *Call, r *audit.Record, err error) error {
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
	case fault.HSMUnavailable, fault.AuditUnavailable, fault.LedgerUnavailable, fault.Unavailable, fault.NotLeader, fault.Internal:
		return audit.Failed, k.Code()
	default:
		return audit.Denied, k.Code()
	}
}

// Refuse writes the record of a request that was refused before it reached a use case, such as one without a good token
// or with a body that cannot be read, and returns the error to answer with.
func (e *Engine) Refuse(_ context.Context, c *Call, action policy.Action, resource string, refusal error) error {
	r := c.begin(action)
	r.Resource = resource
	return e.finish(c, &r, refusal)
}

// change carries out a use case of the subject that changes replicated state: it authorises the action, builds the command
// and proposes it.
func (e *Engine) change(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, build func() (command.Command, error),
) error {
	if err := e.authorizeChange(c.Subject, action); err != nil {
		return e.finish(c, r, err)
	}
	cmd, err := build()
	if err != nil {
		return e.finish(c, r, err)
	}
	// Only users and the appliance come here. Refused callers must not: they could use up the reserve that lets an
	// administrator mend a full disk.
	r.Administrative = true
	return e.propose(ctx, c, r, cmd)
}

// propose makes a change that was found lawful. The record that it starts stands before the change, so that nothing changes
// unseen even when the record of its end cannot be written.
func (e *Engine) propose(ctx context.Context, c *Call, r *audit.Record, cmd command.Command) error {
	r.Result = audit.Started
	if err := e.record(c, r); err != nil {
		return err
	}
	_, err := e.ledger.Propose(ctx, cmd)
	return e.finish(c, r, err)
}

// malformedField refuses a request for one of its fields.
func malformedField(name, detail string) error {
	return &fault.Error{
		Kind: fault.Malformed, Op: "engine.request", Detail: "a field of the request is not valid",
		Fields: []fault.Field{{Name: name, Detail: detail}},
	}
}
