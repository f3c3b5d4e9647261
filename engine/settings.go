package engine

import (
	"context"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// Settings returns what the owner of the subject's tenant decided.
func (e *Engine) Settings(_ context.Context, c *Call) (*directory.Settings, error) {
	r := c.begin(policy.ReadSettings)
	_, err := e.authorizeChange(c, policy.ReadSettings)
	var settings *directory.Settings
	if err == nil {
		settings = e.ledger.View().Tenant(c.Subject.Tenant).Record().Of()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return settings, nil
}

// ChangeSettings replaces the settings of the subject's tenant. The revision must be that of the settings the change is based
// on. Where settings need approval, it returns the request for it, and nothing has changed yet.
func (e *Engine) ChangeSettings(ctx context.Context, c *Call, s directory.Settings, reason string) (*directory.Approval, error) {
	r := c.begin(policy.ChangeSettings)
	r.Resource = c.tenant()
	about := approvable{act: directory.ActChangeSettings, tenant: c.tenant(), resource: c.tenant(), reason: reason}
	return e.act(ctx, c, &r, policy.ChangeSettings, about, func(*directory.User) (command.Command, error) {
		if err := s.Validate(); err != nil {
			return nil, fault.New(fault.Malformed, "engine.settings", err.Error())
		}
		tenant := e.ledger.View().Tenant(c.Subject.Tenant)
		if err := enoughApprovers(tenant, &s); err != nil {
			return nil, err
		}
		next := s
		next.Revision++
		return command.ChangeSettings{Tenant: c.Subject.Tenant, Settings: next}, nil
	})
}

// enoughApprovers refuses settings under which an act could never be approved: one of those who may decide wants it, and so
// many others must approve. It also refuses those that one user could change alone to be rid of the approval of something else.
func enoughApprovers(tenant TenantView, s *directory.Settings) error {
	most := 0
	for _, rule := range s.Approvals {
		most = max(most, int(rule.Approvers))
	}
	if s.Approvers(directory.ActChangeSettings) < most {
		return fault.New(fault.Conflict, "engine.settings", "the act "+string(directory.ActChangeSettings)+
			" must need as many approvers as any other: else one user takes the rules away and acts")
	}
	deciders := 0
	for _, u := range tenant.Users() {
		if u.Status == directory.Enabled && policy.UserMay(u.Roles, policy.DecideApproval) {
			deciders++
		}
	}
	for _, rule := range s.Approvals {
		if int(rule.Approvers) >= deciders {
			return fault.New(fault.Conflict, "engine.settings", "the act "+string(rule.Act)+
				" would need more approvers than the tenant has besides the one who wants it: add users who may approve first")
		}
	}
	return nil
}
