package engine

import (
	"context"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// AnnounceMember records what a node says of itself when it starts: the first node of a cluster becomes its first member, and
// any other brings its own record up to date. It changes nothing when the record says so already. fault.Forbidden when the node
// is no member: it was removed, or never joined.
func (e *Engine) AnnounceMember(ctx context.Context, c *Call, self directory.Member) error {
	view := e.ledger.View()
	before := view.Member(self.ID)
	switch {
	case before == nil && len(view.Members()) > 0, before != nil && before.Status != directory.MemberActive:
		return fault.New(fault.Forbidden, "engine.AnnounceMember", "this node is no member of the cluster: it was removed, or never joined")
	case before != nil && before.Address == self.Address && before.API == self.API &&
		before.CommandVersion == self.CommandVersion && before.Program == self.Program:
		return nil
	}
	r := c.begin(policy.UpdateMember)
	r.Resource = self.ID
	return e.change(ctx, c, &r, policy.UpdateMember, func() (command.Command, error) {
		if before == nil {
			self.Status, self.JoinedAt = directory.MemberActive, e.now().UnixMilli()
			return command.AddMember{Member: self}, nil
		}
		return command.UpdateMember{
			ID: self.ID, Address: self.Address, API: self.API, CommandVersion: self.CommandVersion, Program: self.Program,
		}, nil
	})
}
