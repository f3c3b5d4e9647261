package engine

import (
	"slices"
	"strings"
	"sync/atomic"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/rules"
)

// conditions are the policies that a plan's operation must meet in one class, with what their rules see of it that is the
// same in every call. What does not change from call to call is decided once for each algorithm and kept.
type conditions struct {
	fixed, dynamic []*standing
	input          rules.Input // but the algorithm, size and time
	kept           atomic.Pointer[[]*verdict]
}

// verdict is what the fixed policies say of an algorithm.
type verdict struct {
	algorithm algs.Name
	input     rules.Input // with the algorithm
	finding
}

// finding is what policies said of an operation.
type finding struct {
	refusal  error
	warnings []string
	unmet    []string // names, for the auditor
}

// add takes what one policy says into account, and returns it.
func (f *finding) add(s *standing, in *rules.Input) (met bool, err error) {
	met, err = s.judge(in)
	if met && err == nil {
		return true, nil
	}
	f.unmet = append(f.unmet, s.Name)
	switch s.Enforcement {
	case directory.EnforceNone:
	case directory.EnforceWarn:
		f.warnings = append(f.warnings, s.says())
	default:
		if f.refusal == nil {
			f.refusal = refusedBy(s)
		}
	}
	return false, err
}

// note writes the names of policies that were not met into a record, each once.
func (f *finding) note(r *audit.Record) {
	for _, name := range f.unmet {
		if !slices.Contains(strings.Split(r.Policies, ","), name) {
			r.Policies = strings.TrimPrefix(r.Policies+","+name, ",")
		}
	}
}

// setPolicies gives a plan the policies that its action must meet.
func (e *Engine) setPolicies(p *plan, app *directory.Application, action policy.Action, epoch uint64) {
	book := e.rulebooks.of(p.context.Tenant, p.tenant, epoch)
	if len(book) == 0 {
		return
	}
	switch action {
	case policy.Rewrap, policy.RewrapBatch: // they process what is there and protect it anew
		p.toProcess = newConditions(book, p.context, app, action, keys.Process)
		p.toProtect = newConditions(book, p.context, app, action, keys.Protect)
	default:
		if policy.ClassOf(action) == keys.Process {
			p.toProcess = newConditions(book, p.context, app, action, keys.Process)
		} else {
			p.toProtect = newConditions(book, p.context, app, action, keys.Protect)
		}
	}
}

// newConditions returns nil when no policy concerns the action in the context.
func newConditions(
	book []*standing, context *directory.Context, app *directory.Application, action policy.Action, class keys.Class,
) *conditions {
	c := &conditions{}
	for _, s := range book {
		switch {
		case !s.Concerns(context.Name, string(action), className(class)):
		case s.dynamic():
			c.dynamic = append(c.dynamic, s)
		default:
			c.fixed = append(c.fixed, s)
		}
	}
	if len(c.fixed)+len(c.dynamic) == 0 {
		return nil
	}
	c.input = ruleInput(context, app, action, class)
	return c
}

// ruleInput is what rules see of an action of an application in a context. Nil stands for no application in particular.
func ruleInput(context *directory.Context, app *directory.Application, action policy.Action, class keys.Class) rules.Input {
	in := rules.Input{
		Context: ruleContext(context), Identity: rules.Identity{Type: policy.KindApplication.String()},
		Operation: operationName(action), Class: className(class),
	}
	if app != nil {
		in.Identity.ID, in.Identity.Name, in.Identity.Team, in.Identity.Environment = app.ID, app.Name, app.Team, app.Environment
	}
	return in
}

// ruleContext is what rules see of a context. Nothing is known of the data of one without layers.
func ruleContext(c *directory.Context) rules.Context {
	out := rules.Context{Name: c.Name}
	l := c.Layers
	if l == nil {
		return out
	}
	d := &l.DataIdentity
	out.Sensitivity, out.PII, out.PHI, out.PCI = string(d.Sensitivity), d.PII, d.PHI, d.PCI
	out.NotificationRequired = d.NotificationRequired
	out.Frameworks = l.Regulatory.Frameworks
	out.ProtectionLifetimeYears = float64(l.ThreatModel.ProtectionLifetimeDays) / classify.DaysPerYear
	out.Frequency = string(l.AccessPatterns.Frequency)
	out.AuditLevel = string(classify.Resolve(l).AuditLevel)
	return out
}

// verdict returns what the fixed policies say of an algorithm.
func (c *conditions) verdict(row algs.Row) *verdict {
	kept := c.kept.Load()
	if kept != nil {
		for _, v := range *kept {
			if v.algorithm == row.Name {
				return v
			}
		}
	}
	v := &verdict{algorithm: row.Name, input: c.input}
	v.input.Algorithm = rules.AlgorithmOf(row)
	for _, s := range c.fixed {
		_, _ = v.add(s, &v.input) // the finding holds what it says
	}
	// Of two that come at once one may be lost, and is made again.
	next := []*verdict{v}
	if kept != nil {
		next = append(slices.Clip(*kept), v)
	}
	c.kept.CompareAndSwap(kept, &next)
	return v
}

// sizeUnknown stands for the size of a stream that has just begun. What depends on the single call is then decided at its
// end.
const sizeUnknown = -1

// decide reports whether an operation with an algorithm, on so many bytes, meets the policies of its plan, and what the caller
// is to be told. The record gets the names of those that are not met. A refusal is fault.Forbidden.
func (e *Engine) decide(p *plan, class keys.Class, row algs.Row, size int, r *audit.Record) (warnings []string, err error) {
	c := p.toProtect
	if class == keys.Process {
		c = p.toProcess
	}
	if c == nil {
		return nil, nil
	}
	v := c.verdict(row)
	v.note(r)
	if v.refusal != nil || len(c.dynamic) == 0 || size == sizeUnknown {
		return v.warnings, v.refusal
	}
	in := v.input
	in.Bytes, in.Time = int64(size), e.now()
	var now finding
	for _, s := range c.dynamic {
		_, _ = now.add(s, &in) // the finding holds what it says
	}
	now.note(r)
	return append(slices.Clip(v.warnings), now.warnings...), now.refusal
}

// joined returns the warnings of an answer and those of policies.
func joined(warnings, more []string) []string {
	if len(more) == 0 {
		return warnings
	}
	out := slices.Clip(warnings)
	for _, w := range more {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// byPolicy reports whether an error is the refusal of a policy.
func byPolicy(err error) bool { return fault.CauseOf(err) == causePolicy }
