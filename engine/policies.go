package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/rules"
)

// PolicySpec is what a policy is to be.
type PolicySpec struct {
	Name        string
	Description string
	Expression  string // CEL: package rules
	Message     string
	Enforcement directory.Enforcement
	Contexts    []string // empty means all
	Operations  []string // actions that use keys, protect or process; empty means all
	Disabled    bool
}

// PolicyInfo is a policy after a change, with what its author should know.
type PolicyInfo struct {
	Record   *directory.Policy
	Warnings []string
}

var errNoPolicy = fault.New(fault.NotFound, "engine.policy", "there is no such policy")

// DefaultPolicies are policies that a tenant may begin with: those of package rules.
func DefaultPolicies() []PolicySpec {
	var list []PolicySpec
	for _, d := range rules.Defaults() {
		enforcement, _ := directory.ParseEnforcement(d.Enforcement)
		list = append(list, PolicySpec{
			Name: d.Name, Description: d.Description, Expression: d.Expression, Message: d.Message, Enforcement: enforcement,
		})
	}
	return list
}

// DefaultPolicies lists them for a subject that may list policies. None of them is in force until somebody creates it.
func (e *Engine) DefaultPolicies(_ context.Context, c *Call) ([]PolicySpec, error) {
	r := c.begin(policy.ListPolicies)
	r.Resource = "defaults"
	_, err := e.authorizeChange(c, policy.ListPolicies)
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return DefaultPolicies(), nil
}

// Policies lists the policies of the subject's tenant, in order of name.
func (e *Engine) Policies(_ context.Context, c *Call) ([]*directory.Policy, error) {
	r := c.begin(policy.ListPolicies)
	var list []*directory.Policy
	_, err := e.authorizeChange(c, policy.ListPolicies)
	if err == nil {
		list = e.ledger.View().Tenant(c.Subject.Tenant).Policies()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// Policy returns one policy of the subject's tenant.
func (e *Engine) Policy(_ context.Context, c *Call, name string) (*directory.Policy, error) {
	r := c.begin(policy.ReadPolicy)
	r.Resource = name
	var found *directory.Policy
	_, err := e.authorizeChange(c, policy.ReadPolicy)
	if err == nil {
		if found = e.ledger.View().Tenant(c.Subject.Tenant).Policy(name); found == nil {
			err = errNoPolicy
		}
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return found, nil
}

// CreatePolicy makes a policy of the caller's tenant. Unless it is disabled every operation that begins after this returns
// must meet it.
func (e *Engine) CreatePolicy(ctx context.Context, c *Call, spec PolicySpec) (PolicyInfo, error) {
	var info PolicyInfo
	err := e.create(ctx, c, policy.CreatePolicy, spec.Name, func() (command.Command, error) {
		p, err := e.newPolicy(c.Subject.Tenant, &spec)
		if err != nil {
			return nil, err
		}
		info.Record = p
		return command.PutPolicy{Policy: *p, Create: true}, nil
	})
	if err != nil {
		return PolicyInfo{}, err
	}
	return info, nil
}

// ChangePolicy replaces a policy.
func (e *Engine) ChangePolicy(ctx context.Context, c *Call, spec PolicySpec) (PolicyInfo, error) {
	var info PolicyInfo
	err := e.create(ctx, c, policy.ChangePolicy, spec.Name, func() (command.Command, error) {
		before := e.ledger.View().Tenant(c.Subject.Tenant).Policy(spec.Name)
		if before == nil {
			return nil, errNoPolicy
		}
		p, err := e.newPolicy(c.Subject.Tenant, &spec)
		if err != nil {
			return nil, err
		}
		p.CreatedAt = before.CreatedAt
		info = PolicyInfo{Record: p, Warnings: weaker(before, p)}
		return command.PutPolicy{Policy: *p}, nil
	})
	if err != nil {
		return PolicyInfo{}, err
	}
	return info, nil
}

// weaker says where a policy lets more pass than before.
func weaker(before, now *directory.Policy) []string {
	var list []string
	if strictness(now.Enforcement) < strictness(before.Enforcement) {
		list = append(list, "the policy is enforced less than before: "+now.Enforcement.String()+" instead of "+before.Enforcement.String())
	}
	if before.Status == directory.Enabled && now.Status != directory.Enabled {
		list = append(list, "the policy is disabled: nothing has to meet it")
	}
	return list
}

// DeletePolicy deletes a policy.
func (e *Engine) DeletePolicy(ctx context.Context, c *Call, name string) error {
	return e.create(ctx, c, policy.DeletePolicy, name, func() (command.Command, error) {
		if e.ledger.View().Tenant(c.Subject.Tenant).Policy(name) == nil {
			return nil, errNoPolicy
		}
		return command.DeletePolicy{Tenant: c.Subject.Tenant, Name: name}, nil
	})
}

// newPolicy makes the record of a policy and refuses what cannot be one.
func (e *Engine) newPolicy(tenantID string, spec *PolicySpec) (*directory.Policy, error) {
	now := e.now().UnixMilli()
	p := &directory.Policy{
		Tenant: tenantID, Name: spec.Name, Description: spec.Description, Expression: spec.Expression, Message: spec.Message,
		Enforcement: spec.Enforcement, Contexts: spec.Contexts, Operations: spec.Operations, Status: directory.Enabled,
		CreatedAt: now, UpdatedAt: now,
	}
	if spec.Disabled {
		p.Status = directory.Disabled
	}
	if err := compileRule(spec.Expression); err != nil {
		return nil, err
	}
	// The message stands in a header of streams.
	if !isLine(spec.Message) {
		return nil, malformedField("message", "is not one line of text")
	}
	tenant := e.ledger.View().Tenant(tenantID)
	for _, name := range spec.Contexts {
		if !directory.ValidContextName(name) || tenant.Context(name) == nil {
			return nil, malformedField("contexts", "lists a context that does not exist")
		}
	}
	for _, name := range spec.Operations {
		if name != classProtect && name != classProcess && policy.ClassOf(policy.Action(name)) == keys.ClassUnknown {
			return nil, malformedField("operations", "lists what is none of protect, process, "+strings.Join(PolicyOperations(), ", "))
		}
	}
	if err := p.Validate(); err != nil {
		return nil, fault.New(fault.Malformed, "engine.policy", err.Error())
	}
	return p, e.fewDynamic(tenant, p)
}

// maxDynamic is how many policies of a tenant may ask for the size or the time: these are computed anew in each call, and cost
// processor time that all tenants share.
const maxDynamic = 16

func (e *Engine) fewDynamic(tenant TenantView, p *directory.Policy) error {
	dynamic := 0
	for _, other := range append(tenant.Policies(), p) {
		if other.Status != directory.Enabled || other != p && other.Name == p.Name {
			continue
		}
		if rule, err := rules.Compile(other.Expression); err == nil && rule.Dynamic() {
			dynamic++
		}
	}
	if dynamic > maxDynamic {
		return fault.New(fault.Conflict, "engine.policy",
			"the tenant has 16 policies that ask for data.size or now, which is as many as it can have: disable one, or join some")
	}
	return nil
}

// PolicyOperations returns the actions that policies decide on.
func PolicyOperations() []string {
	var list []string
	for _, a := range policy.KeyActions() {
		list = append(list, string(a))
	}
	return list
}

// compileRule refuses a text that is no rule, and says where it is not.
func compileRule(text string) error {
	_, err := rules.Compile(text)
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Malformed {
		return malformedField("expression", f.Detail)
	}
	return err
}

// isLine reports whether a text is one line that can be shown as it is.
func isLine(s string) bool {
	return utf8.ValidString(s) && !slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) })
}
