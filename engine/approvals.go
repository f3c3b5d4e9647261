package engine

import (
	"context"
	"fmt"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// approvalLifetime is how long a request for approval waits.
const approvalLifetime = 7 * 24 * time.Hour

// approvable is an act that may need the approval of others: whose users approve it, what it is about and why it is wanted.
type approvable struct {
	act      directory.Act
	tenant   string
	resource string
	reason   string
}

// act carries out a use case as changeAs does, or asks for approval where the tenant's settings want that: then the request is
// what it returns, and nothing else has changed.
func (e *Engine) act(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, about approvable,
	build func(*directory.User) (command.Command, error),
) (*directory.Approval, error) {
	var waiting *directory.Approval
	err := e.changeAs(ctx, c, r, action, func(user *directory.User) (command.Command, error) {
		if len(about.reason) > directory.ReasonMax {
			return nil, malformedField("reason", "is too long")
		}
		cmd, err := build(user)
		if err != nil {
			return nil, err
		}
		needed := e.ledger.View().Tenant(about.tenant).Record().Of().Approvers(about.act)
		if needed == 0 {
			return cmd, nil
		}
		if user == nil {
			return nil, fault.New(fault.Forbidden, "engine.approval", "the act needs approval, which the appliance cannot ask for")
		}
		encoded, err := command.Encode(cmd)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "engine.approval", "", err)
		}
		now := e.now()
		waiting = &directory.Approval{
			ID: "approval_" + randomID(), Tenant: about.tenant, Act: about.act, Resource: about.resource, Command: encoded,
			Required: uint8(needed), Requester: user.ID, Revision: user.Revision, Reason: about.reason, //nolint:gosec // MaxApprovers
			State: directory.ApprovalPending, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(approvalLifetime).UnixMilli(),
		}
		r.Cause = "approval-asked"
		return command.RequestApproval{Approval: *waiting}, nil
	})
	if err != nil {
		return nil, err
	}
	return waiting, nil
}

// ApprovalDetails says what a request would do, for those who decide: what its act and resource do not tell.
func ApprovalDetails(a *directory.Approval) []string {
	wait := func(milliseconds int64) string {
		return "waits " + (time.Duration(milliseconds) * time.Millisecond).String() + " after the last approval"
	}
	cmd, err := command.Decode(a.Command)
	if err != nil {
		return []string{"what it would do cannot be read on this node"}
	}
	switch c := cmd.(type) {
	case command.ScheduleDestruction:
		return []string{wait(c.Wait)}
	case command.ScheduleTenantDeletion:
		return []string{wait(c.Wait)}
	case command.ChangeSettings:
		s := &c.Settings
		list := []string{
			fmt.Sprintf("address rate %d a second, %d at once", s.AddressRate.PerSecond, s.AddressRate.Burst),
			fmt.Sprintf("subject rate %d a second, %d at once", s.SubjectRate.PerSecond, s.SubjectRate.Burst),
			fmt.Sprintf("context rate %d a second, %d at once", s.ContextRate.PerSecond, s.ContextRate.Burst),
			"destructions wait " + (time.Duration(s.Wait()) * time.Millisecond).String(),
		}
		if b := s.Budget; b != nil {
			list = append(list, fmt.Sprintf("budget for decryption %d records and %d bytes in %d seconds", b.Records, b.Bytes, b.Seconds))
		} else {
			list = append(list, "no budget for decryption")
		}
		for _, r := range s.Approvals {
			list = append(list, fmt.Sprintf("act %s needs %d approvers", r.Act, r.Approvers))
		}
		if len(s.Approvals) == 0 {
			list = append(list, "no act needs approval")
		}
		return list
	default:
		return nil
	}
}

// Approvals lists the requests for approval that the subject's tenant decides, in order of id.
func (e *Engine) Approvals(_ context.Context, c *Call) ([]*directory.Approval, error) {
	r := c.begin(policy.ListApprovals)
	_, err := e.authorizeChange(c, policy.ListApprovals)
	var list []*directory.Approval
	if err == nil {
		list = e.ledger.View().Tenant(c.Subject.Tenant).Approvals()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

var errNoApproval = fault.New(fault.NotFound, "engine.approval", "there is no such request for approval")

// Approval returns one request that the subject's tenant decides.
func (e *Engine) Approval(_ context.Context, c *Call, id string) (*directory.Approval, error) {
	r := c.begin(policy.ReadApproval)
	r.Resource = id
	_, err := e.authorizeChange(c, policy.ReadApproval)
	var found *directory.Approval
	if err == nil {
		if found = e.ledger.View().Tenant(c.Subject.Tenant).Approval(id); found == nil {
			err = errNoApproval
		}
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return found, nil
}

// DecideApproval approves or rejects a request. The approval that completes it carries the act out; the request that comes back
// tells what became of it.
func (e *Engine) DecideApproval(ctx context.Context, c *Call, id string, approve bool, reason string) (*directory.Approval, error) {
	r := c.begin(policy.DecideApproval)
	r.Resource = id
	err := e.changeAs(ctx, c, &r, policy.DecideApproval, func(user *directory.User) (command.Command, error) {
		if len(reason) > directory.ReasonMax {
			return nil, malformedField("reason", "is too long")
		}
		found := e.ledger.View().Tenant(c.Subject.Tenant).Approval(id)
		switch {
		case found == nil:
			return nil, errNoApproval
		case user == nil || found.Requester == user.ID:
			return nil, fault.New(fault.Forbidden, "engine.approval", "the one who wants an act cannot decide on it")
		}
		r.Cause = string(found.Act)
		return command.DecideApproval{Tenant: c.Subject.Tenant, ID: id, Decision: directory.Decision{
			User: user.ID, At: e.now().UnixMilli(), Approve: approve, Reason: reason,
		}}, nil
	})
	if err != nil {
		return nil, err
	}
	// A tenant that the act deleted has no request any more; nothing else removes one.
	return e.ledger.View().Tenant(c.Subject.Tenant).Approval(id), nil
}

// CancelApproval withdraws a request of the subject's own, wherever it is decided.
func (e *Engine) CancelApproval(ctx context.Context, c *Call, id string) (*directory.Approval, error) {
	r := c.begin(policy.CancelApproval)
	r.Resource = id
	var tenant string
	err := e.changeAs(ctx, c, &r, policy.CancelApproval, func(user *directory.User) (command.Command, error) {
		view := e.ledger.View()
		for _, t := range view.Tenants() {
			if a := view.Tenant(t.ID).Approval(id); a != nil && user != nil && (a.Requester == user.ID || t.ID == user.Tenant) {
				tenant = t.ID
				return command.CancelApproval{Tenant: t.ID, ID: id, User: user.ID, At: e.now().UnixMilli()}, nil
			}
		}
		return nil, errNoApproval
	})
	if err != nil {
		return nil, err
	}
	return e.ledger.View().Tenant(tenant).Approval(id), nil
}
