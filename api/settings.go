package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// SettingsEngine manages approvals and settings.
type SettingsEngine interface {
	Settings(ctx context.Context, call *engine.Call) (*directory.Settings, error)
	ChangeSettings(ctx context.Context, call *engine.Call, s directory.Settings, reason string) (*directory.Approval, error)
	Approvals(ctx context.Context, call *engine.Call) ([]*directory.Approval, error)
	Approval(ctx context.Context, call *engine.Call, id string) (*directory.Approval, error)
	DecideApproval(ctx context.Context, call *engine.Call, id string, approve bool, reason string) (*directory.Approval, error)
	CancelApproval(ctx context.Context, call *engine.Call, id string) (*directory.Approval, error)
}

const (
	settingsPath  = "/api/v1/settings"
	approvalsPath = "/api/v1/approvals"
	approvalPath  = approvalsPath + "/:approval"
)

// settingsRoutes are its routes.
func settingsRoutes(l Limits) []route {
	list := func(path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{method: http.MethodGet, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
	}
	change := func(method, path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{
			method: method, path: path, action: action, access: subjects, bodyBytes: l.BodyBytes, timeout: l.ChangeTimeout, handle: handle,
		}
	}
	return []route{
		list(settingsPath, policy.ReadSettings, (*Server).settings),
		change(http.MethodPut, settingsPath, policy.ChangeSettings, (*Server).changeSettings),
		list(approvalsPath, policy.ListApprovals, (*Server).approvals),
		list(approvalPath, policy.ReadApproval, (*Server).approval),
		change(http.MethodPost, approvalPath+"/approve", policy.DecideApproval, (*Server).approve),
		change(http.MethodPost, approvalPath+"/reject", policy.DecideApproval, (*Server).reject),
		change(http.MethodPost, approvalPath+"/cancel", policy.CancelApproval, (*Server).cancelApproval),
	}
}

const day = 24 * time.Hour

func (s *Server) settings(x *exchange) error {
	found, err := s.config.Engine.Settings(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	return x.answer(wireSettings(found))
}

func wireSettings(s *directory.Settings) wire.Settings {
	out := wire.Settings{
		AddressRate: wire.Rate(s.AddressRate), SubjectRate: wire.Rate(s.SubjectRate), ContextRate: wire.Rate(s.ContextRate),
		DecryptBudget: wireBudget(s.Budget), Approvals: make([]wire.ApprovalRule, 0, len(s.Approvals)),
		DestroyWaitDays: int(s.DestroyWait / day.Milliseconds()), Revision: s.Revision,
	}
	for _, r := range s.Approvals {
		out.Approvals = append(out.Approvals, wire.ApprovalRule{Act: string(r.Act), Approvers: int(r.Approvers)})
	}
	return out
}

func wireBudget(b *directory.Budget) *wire.Budget {
	if b == nil {
		return nil
	}
	most := func(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
	return &wire.Budget{Records: most(b.Records), Bytes: most(b.Bytes), Seconds: b.Seconds}
}

func budgetOf(b *wire.Budget) *directory.Budget {
	if b == nil {
		return nil
	}
	return &directory.Budget{Records: uint64(b.Records), Bytes: uint64(b.Bytes), Seconds: b.Seconds}
}

func (s *Server) changeSettings(x *exchange) error {
	var in wire.ChangeSettingsRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	next := directory.Settings{
		AddressRate: directory.Rate(in.AddressRate), SubjectRate: directory.Rate(in.SubjectRate), ContextRate: directory.Rate(in.ContextRate),
		Budget: budgetOf(in.DecryptBudget), DestroyWait: int64(in.DestroyWaitDays) * day.Milliseconds(), Revision: in.Revision,
	}
	for _, r := range in.Approvals {
		if r.Approvers < 1 || r.Approvers > directory.MaxApprovers {
			return malformedField("approvals.approvers", "is not 1 to 10")
		}
		next.Approvals = append(next.Approvals, directory.ApprovalRule{Act: directory.Act(r.Act), Approvers: uint8(r.Approvers)})
	}
	waiting, err := s.config.Engine.ChangeSettings(x.r.Context(), &x.call, next, in.Reason)
	if err != nil {
		return err
	}
	if waiting != nil {
		return x.waits(waiting)
	}
	next.Revision++
	return x.answer(wireSettings(&next))
}

func (s *Server) approvals(x *exchange) error {
	list, err := s.config.Engine.Approvals(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.ApprovalsResponse{Approvals: make([]wire.Approval, 0, len(list))}
	for _, a := range list {
		answer.Approvals = append(answer.Approvals, wireApproval(a, x.call.Start))
	}
	return x.answer(answer)
}

func (s *Server) approval(x *exchange) error {
	found, err := s.config.Engine.Approval(x.r.Context(), &x.call, x.params.ByName("approval"))
	if err != nil {
		return err
	}
	return x.answer(wireApproval(found, x.call.Start))
}

func (s *Server) approve(x *exchange) error { return s.decide(x, true) }

func (s *Server) reject(x *exchange) error { return s.decide(x, false) }

func (s *Server) decide(x *exchange, approve bool) error {
	var in wire.DecisionRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	decided, err := s.config.Engine.DecideApproval(x.r.Context(), &x.call, x.params.ByName("approval"), approve, in.Reason)
	if err != nil {
		return err
	}
	return x.answer(wireApproval(decided, x.call.Start))
}

// cancelApproval takes no body, or an empty object.
func (s *Server) cancelApproval(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	withdrawn, err := s.config.Engine.CancelApproval(x.r.Context(), &x.call, x.params.ByName("approval"))
	if err != nil {
		return err
	}
	return x.answer(wireApproval(withdrawn, x.call.Start))
}
