package cluster

import (
	"cmp"
	"slices"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// How many requests a tenant can have, and how long one stays that was decided or has expired, in milliseconds.
const (
	maxApprovals  = 1000
	keepApprovals = 90 * 24 * 60 * 60 * 1000
)

var (
	noApproval    = refused(fault.NotFound, "the request for approval does not exist")
	changedRights = refused(fault.Forbidden, "the rights of the one who wanted it have changed")
)

// actOf tells which act a command carries out, and the tenant whose users approve it; empty when it is none.
func actOf(c command.Command) (act directory.Act, tenant string) {
	switch c := c.(type) {
	case command.ScheduleDestruction:
		if !c.Cancel {
			return directory.ActDestroyKey, c.Tenant
		}
	case command.ScheduleTenantDeletion:
		if !c.Cancel {
			return directory.ActDeleteTenant, c.Tenant
		}
	case command.ChangeSettings:
		return directory.ActChangeSettings, c.Tenant
	}
	return "", ""
}

// begun returns the command of a request as it is carried out at a time: waiting periods begin when the last approval is
// given.
func begun(c command.Command, at int64) command.Command {
	switch c := c.(type) {
	case command.ScheduleDestruction:
		c.At = at
		return c
	case command.ScheduleTenantDeletion:
		c.At = at
		return c
	default:
		return c
	}
}

// requestApproval adds a request. How many approvers it needs is what the settings say now: a request cannot ask for fewer.
func requestApproval(txn *memdb.Txn, c command.RequestApproval) command.Outcome {
	a := c.Approval
	inside, err := c.Inner()
	if err != nil {
		return refused(fault.Malformed, "the request holds no command") // Decode has read it: this does not happen
	}
	act, owner := actOf(inside)
	tenant := first[directory.Tenant](txn, tableTenants, indexID, a.Tenant)
	switch {
	case tenant == nil:
		return noTenant
	case !validKey(a.ID) || len(a.Reason) > directory.ReasonMax || a.ExpiresAt <= a.CreatedAt,
		a.State != directory.ApprovalPending || len(a.Decisions) != 0 || a.DecidedAt != 0,
		act == "" || act != a.Act || owner != a.Tenant:
		return refused(fault.Malformed, "the request for approval is not valid")
	case !asksStill(txn, &a):
		return changedRights
	case int(a.Required) != tenant.Of().Approvers(act) || a.Required == 0:
		return refused(fault.Conflict, "the number of approvers was changed in between")
	case first[directory.Approval](txn, tableApprovals, indexID, a.Tenant, a.ID) != nil:
		return refused(fault.Conflict, "the request for approval exists already")
	}
	kept := all[directory.Approval](txn, tableApprovals, indexID+"_prefix", a.Tenant)
	ended := slices.DeleteFunc(slices.Clone(kept), func(o *directory.Approval) bool { return endOf(o) > a.CreatedAt })
	if len(kept)-len(ended) >= maxApprovals {
		return refused(fault.Conflict, "the tenant has too many requests for approval")
	}
	// The oldest end first also when they are young, so that nobody fills the list with what he withdraws.
	slices.SortStableFunc(ended, func(x, y *directory.Approval) int { return cmp.Compare(endOf(x), endOf(y)) })
	for i, o := range ended {
		if endOf(o) < a.CreatedAt-keepApprovals || len(kept)-i >= maxApprovals {
			drop(txn, tableApprovals, o)
		}
	}
	put(txn, tableApprovals, &a)
	return done
}

// endOf is when a request was decided, or expires.
func endOf(a *directory.Approval) int64 {
	if a.State != directory.ApprovalPending {
		return a.DecidedAt
	}
	return a.ExpiresAt
}

// asksStill reports whether the requester's rights are what they were when he asked.
func asksStill(txn *memdb.Txn, a *directory.Approval) bool {
	u := first[directory.User](txn, tableUsers, indexID, a.Requester)
	return u != nil && maySignIn(txn, u) && u.Revision == a.Revision
}

// decideApproval adds a decision and does what the request is about when it was the last that was needed. Whoever is not the
// requester and has not decided yet counts; who may decide at all is the engine's decision, which Guarded holds.
func decideApproval(txn *memdb.Txn, c command.DecideApproval) command.Outcome {
	a := first[directory.Approval](txn, tableApprovals, indexID, c.Tenant, c.ID)
	d := c.Decision
	voter := userOf(txn, c.Tenant, d.User)
	switch {
	case a == nil:
		return noApproval
	case len(d.Reason) > directory.ReasonMax || d.At <= 0 || voter == nil || voter.Status != directory.Enabled:
		return refused(fault.Malformed, "the decision is not valid")
	case a.State != directory.ApprovalPending:
		return refused(fault.Conflict, "the request was decided already: it is "+a.State.String())
	case a.ExpiresAt <= d.At:
		return refused(fault.Conflict, "the request has expired")
	case d.User == a.Requester:
		return refused(fault.Forbidden, "the one who wants an act cannot approve it")
	case slices.ContainsFunc(a.Decisions, func(b directory.Decision) bool { return b.User == d.User }):
		return refused(fault.Conflict, "the user has decided already")
	case d.Approve && (voter.CreatedAt > a.CreatedAt || voter.PasswordBy == a.Requester):
		return refused(fault.Forbidden, "the approver became a user after the request, or has a password that the one who wants the act chose")
	}
	next := *a
	next.Decisions = append(slices.Clone(a.Decisions), d)
	out := command.Outcome{}
	switch {
	case !d.Approve:
		next.State, next.DecidedAt = directory.ApprovalRejected, d.At
	case len(next.Decisions) >= needed(txn, a):
		next.State, next.DecidedAt = directory.ApprovalExecuted, d.At
		if failed := carryOut(txn, a, d.At); failed.Refused != 0 {
			next.State, out.Detail = directory.ApprovalFailed, failed.Detail
		}
	}
	put(txn, tableApprovals, &next)
	out.Approval = next.State
	return out
}

// needed is how many approvals a request needs: as many as when it was made, or as the settings say now when that is more.
func needed(txn *memdb.Txn, a *directory.Approval) int {
	tenant := first[directory.Tenant](txn, tableTenants, indexID, a.Tenant)
	return max(int(a.Required), tenant.Of().Approvers(a.Act))
}

// takeBackApprovals drops a user's approvals from the requests of his tenant that still wait. All their decisions are
// approvals: a rejection ends a request.
func takeBackApprovals(txn *memdb.Txn, u *directory.User) {
	his := func(d directory.Decision) bool { return d.User == u.ID }
	for _, a := range all[directory.Approval](txn, tableApprovals, indexID+"_prefix", u.Tenant) {
		if a.State != directory.ApprovalPending || !slices.ContainsFunc(a.Decisions, his) {
			continue
		}
		next := *a
		next.Decisions = slices.DeleteFunc(slices.Clone(a.Decisions), his)
		put(txn, tableApprovals, &next)
	}
}

// carryOut does what a request is about, for a requester whose rights are what they were when he asked.
func carryOut(txn *memdb.Txn, a *directory.Approval, at int64) command.Outcome {
	if !asksStill(txn, a) {
		return changedRights
	}
	inside, err := command.Decode(a.Command)
	if err != nil {
		return refused(fault.Malformed, "the request holds no command") // it was read when the request was made
	}
	return execute(txn, begun(inside, at))
}

func cancelApproval(txn *memdb.Txn, c command.CancelApproval) command.Outcome {
	a := first[directory.Approval](txn, tableApprovals, indexID, c.Tenant, c.ID)
	switch {
	case a == nil:
		return noApproval
	case a.Requester != c.User:
		return refused(fault.Forbidden, "only the one who wanted an act can withdraw the request")
	case a.State != directory.ApprovalPending:
		return refused(fault.Conflict, "the request was decided already: it is "+a.State.String())
	}
	next := *a
	next.State, next.DecidedAt = directory.ApprovalCancelled, c.At
	put(txn, tableApprovals, &next)
	return done
}
