package api

import (
	"context"
	"net/http"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// PolicyEngine manages rules, and contexts in full.
type PolicyEngine interface {
	Context(ctx context.Context, call *engine.Call, name string) (engine.ContextDetail, error)
	ChangeContext(ctx context.Context, call *engine.Call, name string, in engine.ContextChange) (engine.ContextDetail, error)
	SetContextDisabled(ctx context.Context, call *engine.Call, name string, disabled bool) (engine.ContextDetail, error)
	DeleteContext(ctx context.Context, call *engine.Call, name string) error
	ExplainContext(ctx context.Context, call *engine.Call, layers *classify.Layers) (engine.Explanation, error)
	Policies(ctx context.Context, call *engine.Call) ([]*directory.Policy, error)
	DefaultPolicies(ctx context.Context, call *engine.Call) ([]engine.PolicySpec, error)
	Policy(ctx context.Context, call *engine.Call, name string) (*directory.Policy, error)
	CreatePolicy(ctx context.Context, call *engine.Call, spec engine.PolicySpec) (engine.PolicyInfo, error)
	ChangePolicy(ctx context.Context, call *engine.Call, spec engine.PolicySpec) (engine.PolicyInfo, error)
	DeletePolicy(ctx context.Context, call *engine.Call, name string) error
	TestPolicy(ctx context.Context, call *engine.Call, in *engine.PolicyTrial) (engine.PolicyVerdict, error)
}

const (
	contextPath  = contextsPath + "/:context"
	policiesPath = "/api/v1/policies"
	policyPath   = policiesPath + "/:policy"
)

// policyRoutes are its routes.
func policyRoutes(l Limits) []route {
	list := func(path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{method: http.MethodGet, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
	}
	change := func(method, path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{
			method: method, path: path, action: action, access: subjects, bodyBytes: l.BodyBytes, timeout: l.ChangeTimeout, handle: handle,
		}
	}
	drop := func(path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{method: http.MethodDelete, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
	}
	return []route{
		list(contextPath, policy.ListContexts, (*Server).context),
		change(http.MethodPut, contextPath, policy.ChangeContext, (*Server).changeContext),
		drop(contextPath, policy.DeleteContext, (*Server).deleteContext),
		change(http.MethodPost, contextPath+"/disable", policy.DisableContext, (*Server).disableContext),
		change(http.MethodPost, contextPath+"/enable", policy.EnableContext, (*Server).enableContext),
		change(http.MethodPost, "/api/v1/context-explanations", policy.ExplainContext, (*Server).explainContext),
		list(policiesPath, policy.ListPolicies, (*Server).policies),
		change(http.MethodPost, policiesPath, policy.CreatePolicy, (*Server).createPolicy),
		change(http.MethodPost, policiesPath+"/test", policy.TestPolicy, (*Server).testPolicy),
		list(policyPath, policy.ReadPolicy, (*Server).policy),
		change(http.MethodPut, policyPath, policy.ChangePolicy, (*Server).changePolicy),
		drop(policyPath, policy.DeletePolicy, (*Server).deletePolicy),
		list("/api/v1/policy-defaults", policy.ListPolicies, (*Server).policyDefaults),
	}
}

func (s *Server) policies(x *exchange) error {
	list, err := s.config.Engine.Policies(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.PoliciesResponse{Policies: make([]wire.Policy, 0, len(list))}
	for _, p := range list {
		answer.Policies = append(answer.Policies, wirePolicy(p))
	}
	return x.answer(answer)
}

func (s *Server) policyDefaults(x *exchange) error {
	list, err := s.config.Engine.DefaultPolicies(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.PoliciesResponse{Policies: make([]wire.Policy, 0, len(list))}
	for i := range list {
		d := &list[i]
		answer.Policies = append(answer.Policies, wire.Policy{
			Name: d.Name, Description: d.Description, Expression: d.Expression, Message: d.Message,
			Enforcement: d.Enforcement.String(), Contexts: some(d.Contexts), Operations: some(d.Operations), Enabled: !d.Disabled,
		})
	}
	return x.answer(answer)
}

func (s *Server) policy(x *exchange) error {
	p, err := s.config.Engine.Policy(x.r.Context(), &x.call, x.params.ByName("policy"))
	if err != nil {
		return err
	}
	return x.answer(wirePolicy(p))
}

func (s *Server) createPolicy(x *exchange) error {
	var in wire.CreatePolicyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	spec, err := policySpec(in.Name, &in.PolicySpec)
	if err != nil {
		return err
	}
	info, err := s.config.Engine.CreatePolicy(x.r.Context(), &x.call, spec)
	if err != nil {
		return err
	}
	x.created(policiesPath + "/" + info.Record.Name)
	return x.answerPolicy(&info)
}

func (s *Server) changePolicy(x *exchange) error {
	var in wire.PolicySpec
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	spec, err := policySpec(x.params.ByName("policy"), &in)
	if err != nil {
		return err
	}
	info, err := s.config.Engine.ChangePolicy(x.r.Context(), &x.call, spec)
	if err != nil {
		return err
	}
	return x.answerPolicy(&info)
}

func (s *Server) deletePolicy(x *exchange) error {
	if err := s.config.Engine.DeletePolicy(x.r.Context(), &x.call, x.params.ByName("policy")); err != nil {
		return err
	}
	return x.answer(struct{}{})
}

func (s *Server) testPolicy(x *exchange) error {
	var in wire.PolicyTestRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.TestPolicy(x.r.Context(), &x.call, &engine.PolicyTrial{
		Context: in.Context, Operation: in.Operation, Application: in.Application, Algorithm: in.Algorithm,
		Expression: in.Expression, Bytes: in.Bytes,
	})
	if err != nil {
		return err
	}
	answer := wire.PolicyTestResponse{
		Allowed: res.Allowed, Reason: res.Reason, Algorithm: res.Algorithm, Warnings: some(res.Warnings),
		Decisions: make([]wire.PolicyDecision, 0, len(res.Decisions)),
	}
	for _, d := range res.Decisions {
		answer.Decisions = append(answer.Decisions, wire.PolicyDecision{
			Policy: d.Policy, Enforcement: d.Enforcement.String(), Met: d.Met, Error: d.Error, Message: d.Message,
		})
	}
	return x.answer(answer)
}

// policySpec reads what a policy is to be.
func policySpec(name string, in *wire.PolicySpec) (engine.PolicySpec, error) {
	spec := engine.PolicySpec{
		Name: name, Description: in.Description, Expression: in.Expression, Message: in.Message, Contexts: in.Contexts,
		Operations: in.Operations, Disabled: in.Enabled != nil && !*in.Enabled,
	}
	var err error
	spec.Enforcement, err = enforcement("enforcement", in.Enforcement)
	return spec, err
}

func (x *exchange) answerPolicy(info *engine.PolicyInfo) error {
	p := wirePolicy(info.Record)
	p.Warnings = info.Warnings
	return x.answer(p)
}

func wirePolicy(p *directory.Policy) wire.Policy {
	return wire.Policy{
		Name: p.Name, Description: p.Description, Expression: p.Expression, Message: p.Message,
		Enforcement: p.Enforcement.String(), Contexts: some(p.Contexts), Operations: some(p.Operations),
		Enabled: p.Status == directory.Enabled, CreatedAt: milliseconds(p.CreatedAt), UpdatedAt: milliseconds(p.UpdatedAt),
	}
}

// some returns a list that is never null.
func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
