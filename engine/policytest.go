package engine

import (
	"context"
	"slices"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/rules"
)

// PolicyTrial asks what would become of an operation. Nothing is protected or processed.
type PolicyTrial struct {
	Context     string
	Operation   string // an action that uses a key
	Application string // id; empty means none in particular, so that grants do not count
	Algorithm   string // empty means what the operation would take with the context's own key
	Expression  string // a rule that is not saved and counts as enforced; may be empty
	Bytes       int
}

// PolicyDecision is what one policy says of an operation. The error tells why its rule has no answer, which counts as not met.
type PolicyDecision struct {
	Policy      string
	Enforcement directory.Enforcement
	Met         bool
	Error       string
	Message     string // what the caller would read; empty when it is met
}

// PolicyVerdict is what would become of an operation.
type PolicyVerdict struct {
	Allowed bool
	// Reason says what refuses the operation before any policy is asked; empty when nothing does.
	Reason    string
	Decisions []PolicyDecision
	Algorithm string
	Warnings  []string
}

// triedPolicy is what the rule of a trial is called. No policy can have the name.
const triedPolicy = "(expression)"

// TestPolicy explains what would become of an operation, by the same decisions that the operation itself would meet. Of a
// rewrap it explains the half that protects.
func (e *Engine) TestPolicy(_ context.Context, c *Call, in *PolicyTrial) (PolicyVerdict, error) {
	r := c.begin(policy.TestPolicy)
	r.Context, r.Resource = in.Context, in.Operation
	var out PolicyVerdict
	_, err := e.authorizeChange(c, policy.TestPolicy)
	if err == nil {
		out, err = e.tryPolicies(c.Subject.Tenant, in)
	}
	r.Algorithm = out.Algorithm
	if err := e.finish(c, &r, err); err != nil {
		return PolicyVerdict{}, err
	}
	return out, nil
}

func (e *Engine) tryPolicies(tenantID string, in *PolicyTrial) (PolicyVerdict, error) {
	action := policy.Action(in.Operation)
	class := policy.ClassOf(action)
	if class == keys.ClassUnknown {
		return PolicyVerdict{}, malformedField("operation", "is no action that uses a key")
	}
	if in.Bytes < 0 {
		return PolicyVerdict{}, malformedField("bytes", "is negative")
	}
	if in.Expression != "" {
		if err := compileRule(in.Expression); err != nil {
			return PolicyVerdict{}, err
		}
	}
	record, err := e.contextRecord(tenantID, in.Context)
	if err != nil {
		return PolicyVerdict{}, err
	}
	epoch := e.ledger.Epoch()
	tenant := e.ledger.View().Tenant(tenantID)
	var app *directory.Application
	if in.Application != "" {
		if app = tenant.Application(in.Application); app == nil {
			return PolicyVerdict{}, fault.New(fault.NotFound, "engine.policy", "there is no such application")
		}
	}
	row, told, refusal, err := e.triedAlgorithm(record, action, in.Algorithm)
	if err != nil {
		return PolicyVerdict{}, err
	}
	out := PolicyVerdict{Allowed: true, Algorithm: string(row.Name), Warnings: told}
	switch {
	case record.Status != directory.Enabled:
		out.Reason = "the context is disabled"
	case app != nil && app.Status != directory.Enabled:
		out.Reason = "the application is disabled"
	case app != nil && !policy.ApplicationMay(&policy.Subject{}, app, action, in.Context):
		out.Reason = "the application has not been granted this in the context"
	case refusal != nil:
		out.Reason = refusal.Detail
	}
	book := slices.Clone(e.rulebooks.of(tenantID, tenant, epoch))
	if in.Expression != "" {
		book = append(book, e.rulebooks.standing(&directory.Policy{
			Tenant: tenantID, Name: triedPolicy, Expression: in.Expression, Status: directory.Enabled,
		}))
	}
	e.judgeEach(&out, book, record, app, action, class, row, in.Bytes)
	out.Allowed = out.Allowed && out.Reason == ""
	return out, nil
}

// judgeEach asks every policy that concerns the operation.
func (e *Engine) judgeEach(
	out *PolicyVerdict, book []*standing, context *directory.Context, app *directory.Application, action policy.Action,
	class keys.Class, row algs.Row, size int,
) {
	c := newConditions(book, context, app, action, class)
	if c == nil {
		return
	}
	in := c.input
	in.Algorithm, in.Bytes, in.Time = rules.AlgorithmOf(row), int64(size), e.now()
	var all finding
	for _, s := range slices.Concat(c.fixed, c.dynamic) {
		d := PolicyDecision{Policy: s.Name, Enforcement: s.Enforcement}
		var err error
		if d.Met, err = all.add(s, &in); err != nil {
			d.Error = detailOf(err)
		}
		if !d.Met {
			d.Message = s.says()
		}
		out.Decisions = append(out.Decisions, d)
	}
	out.Allowed = all.refusal == nil
	out.Warnings = joined(out.Warnings, all.warnings)
}

// detailOf returns what may be shown of an error.
func detailOf(err error) string {
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // it is not wrapped
		return f.Detail
	}
	return "it failed"
}

// triedAlgorithm chooses the algorithm of an operation as the operation does. The refusal says why it cannot be had there, in
// which case the row is that of the algorithm all the same.
func (e *Engine) triedAlgorithm(
	context *directory.Context, action policy.Action, name string,
) (row algs.Row, warnings []string, refusal *fault.Error, err error) {
	if name == "" && !withContextKey(action) {
		return row, nil, nil, malformedField("algorithm", "is needed: the operation works with a key object")
	}
	p := &plan{context: context}
	p.own, p.ownErr = e.ownSuite(context)
	row, known := algs.Lookup(algs.Name(name))
	switch {
	case name == "":
		row, _ = algs.Lookup(context.Algorithm)
	case !known || withContextKey(action) && row.Class != algs.ClassAEAD && row.Class != algs.ClassHybrid:
		return row, nil, nil, malformedField("algorithm", "is not one that the operation can have")
	}
	if policy.ClassOf(action) == keys.Process {
		refusal, _ = e.gate(row, algs.Process).(*fault.Error) //nolint:errorlint // it is not wrapped
		return row, nil, refusal, nil
	}
	if !withContextKey(action) {
		refusal, _ = e.gate(row, algs.Protect).(*fault.Error) //nolint:errorlint // it is not wrapped
		return row, e.warnings(row), refusal, nil
	}
	chosen, err := e.suite(p, name, "")
	if action == policy.EncryptStream {
		chosen, err = e.streamSuite(p)
	}
	if err != nil {
		refusal, _ = err.(*fault.Error) //nolint:errorlint // it is not wrapped
		return row, nil, refusal, nil
	}
	return chosen.row, chosen.warnings, nil, nil
}

// withContextKey reports whether an action works with a context's own key and not with a key object.
func withContextKey(a policy.Action) bool {
	switch a {
	case policy.Encrypt, policy.EncryptStream, policy.EncryptBatch, policy.Decrypt, policy.DecryptStream, policy.DecryptBatch,
		policy.Rewrap, policy.RewrapBatch, policy.DataKey, policy.DataKeyWrapped:
		return true
	default:
		return false
	}
}
