package engine

import (
	"context"
	"slices"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// ContextDetail is all of a context: what follows from its layers, the versions of its key, newest first, and how many
// applications may use it.
type ContextDetail struct {
	ContextInfo

	Derived  *classify.Derived // nil without layers
	Versions []*keys.Version
	// Grants counts the applications; it is not told to applications, which get -1.
	Grants   int
	Warnings []string
}

var errNoContext = fault.New(fault.NotFound, "engine.context", "there is no such context")

// Context returns one context that the subject may use. Others do not exist for it.
func (e *Engine) Context(_ context.Context, c *Call, name string) (ContextDetail, error) {
	r := c.begin(policy.ListContexts)
	r.Context = name
	var out ContextDetail
	list, err := e.contexts(c)
	if err == nil {
		i := slices.IndexFunc(list, func(info ContextInfo) bool { return info.Record.Name == name })
		switch {
		case !directory.ValidContextName(name):
			err = errContextName
		case i < 0:
			err = errNoContext
		default:
			out = e.detail(c.Subject, list[i])
		}
	}
	if err := e.finish(c, &r, err); err != nil {
		return ContextDetail{}, err
	}
	return out, nil
}

func (e *Engine) detail(s *policy.Subject, info ContextInfo) ContextDetail {
	tenant := e.ledger.View().Tenant(info.Record.Tenant)
	out := ContextDetail{
		ContextInfo: info, Derived: derived(info.Record), Versions: tenant.ContextVersions(info.Record.Name), Grants: -1,
		Warnings: ContextAdvice(info.Record),
	}
	newestFirst(out.Versions)
	if s.Kind != policy.KindApplication {
		out.Grants = 0
		for _, app := range tenant.Applications() {
			if _, granted := app.Grant(info.Record.Name); granted {
				out.Grants++
			}
		}
	}
	return out
}

func derived(c *directory.Context) *classify.Derived {
	if c.Layers == nil {
		return nil
	}
	d := classify.Resolve(c.Layers)
	return &d
}

// ContextAdvice says where a context's algorithm falls short of what its layers ask for.
func ContextAdvice(c *directory.Context) []string {
	d := derived(c)
	row, ok := algs.Lookup(c.Algorithm)
	if d == nil || !ok {
		return nil
	}
	var list []string
	if row.KeyBits < d.MinimumSecurityBits {
		list = append(list, "the layers ask for more bits than "+string(row.Name)+" has: "+string(d.Algorithm)+" is what they resolve to")
	}
	if d.QuantumResistant && !row.QuantumSafe {
		list = append(list, "the layers ask for quantum resistance, which "+string(row.Name)+" does not give")
	}
	return list
}

// ContextChange is what a context is to be from now on.
type ContextChange struct {
	// ContextSpec holds what replaces the present values. The name and the derivation stay; so do algorithm and format when
	// they are empty, whatever the layers resolve to.
	ContextSpec

	Revision uint32 // of the record that the change is based on
}

// ChangeContext changes a context. A new algorithm or format makes a new version of its key in the same change; what older
// versions protected stays readable.
func (e *Engine) ChangeContext(ctx context.Context, c *Call, name string, in ContextChange) (ContextDetail, error) {
	r := c.begin(policy.ChangeContext)
	r.Context = name
	var warnings []string
	err := e.change(ctx, c, &r, policy.ChangeContext, func() (command.Command, error) {
		before, err := e.contextRecord(c.Subject.Tenant, name)
		if err != nil {
			return nil, err
		}
		if in.Revision != before.Revision {
			return nil, fault.New(fault.Conflict, "engine.context", "the context was changed in between: read it again")
		}
		next := *before
		next.Revision++
		if err := e.fill(&next, &in.ContextSpec); err != nil {
			return nil, err
		}
		if err := e.checkContext(&next); err != nil {
			return nil, err
		}
		r.KeyID, r.Algorithm = next.ActiveKey, string(next.Algorithm)
		if strictness(next.Enforcement) < strictness(before.Enforcement) {
			warnings = []string{"the algorithm policy is enforced less than before: " + next.Enforcement.String() + " instead of " +
				before.Enforcement.String()}
		}
		cmd := command.ChangeContext{Context: next}
		if next.Algorithm != before.Algorithm || next.Format != before.Format {
			if cmd.Version, err = e.newVersion(ctx, &next, before.Versions+1); err != nil {
				return nil, err
			}
			r.KeyID = cmd.Version.ID
		}
		return cmd, nil
	})
	if err != nil {
		return ContextDetail{}, err
	}
	out, err := e.contextNow(c, name)
	out.Warnings = append(warnings, out.Warnings...)
	return out, err
}

// contextRecord returns the record of a context of a tenant.
func (e *Engine) contextRecord(tenant, name string) (*directory.Context, error) {
	if !directory.ValidContextName(name) {
		return nil, errContextName
	}
	record := e.ledger.View().Tenant(tenant).Context(name)
	if record == nil {
		return nil, errNoContext
	}
	return record, nil
}

// contextNow returns a context after a change of it.
func (e *Engine) contextNow(c *Call, name string) (ContextDetail, error) {
	record, err := e.contextRecord(c.Subject.Tenant, name)
	if err != nil { // deleted in between
		return ContextDetail{}, err
	}
	version := e.ledger.View().Tenant(record.Tenant).Version(record.ActiveKey)
	return e.detail(c.Subject, ContextInfo{Record: record, Version: version}), nil
}

// SetContextDisabled disables a context, or enables it again. In a disabled one nothing is protected or processed.
func (e *Engine) SetContextDisabled(ctx context.Context, c *Call, name string, disabled bool) (ContextDetail, error) {
	action, status := policy.EnableContext, directory.Enabled
	if disabled {
		action, status = policy.DisableContext, directory.Disabled
	}
	r := c.begin(action)
	r.Context = name
	err := e.change(ctx, c, &r, action, func() (command.Command, error) {
		if _, err := e.contextRecord(c.Subject.Tenant, name); err != nil {
			return nil, err
		}
		return command.SetContextStatus{Tenant: c.Subject.Tenant, Name: name, Status: status}, nil
	})
	if err != nil {
		return ContextDetail{}, err
	}
	return e.contextNow(c, name)
}

// DeleteContext deletes a context that is empty: every version of its key destroyed, no key object in it, granted to nobody.
func (e *Engine) DeleteContext(ctx context.Context, c *Call, name string) error {
	r := c.begin(policy.DeleteContext)
	r.Context = name
	return e.change(ctx, c, &r, policy.DeleteContext, func() (command.Command, error) {
		if _, err := e.contextRecord(c.Subject.Tenant, name); err != nil {
			return nil, err
		}
		return command.DeleteContext{Tenant: c.Subject.Tenant, Name: name}, nil
	})
}

// Explanation is what layers resolve to on this node.
type Explanation struct {
	Derived   classify.Derived
	Algorithm algs.Name // as the FIPS mode has it
}

// ExplainContext resolves layers without making a context.
func (e *Engine) ExplainContext(_ context.Context, c *Call, layers *classify.Layers) (Explanation, error) {
	r := c.begin(policy.ExplainContext)
	var out Explanation
	_, err := e.authorizeChange(c, policy.ExplainContext)
	if err == nil {
		err = checkLayers(layers)
	}
	if err == nil {
		out.Derived = classify.Resolve(layers)
		out.Algorithm = e.fips.Choose(out.Derived.Algorithm)
		r.Algorithm = string(out.Algorithm)
	}
	if err := e.finish(c, &r, err); err != nil {
		return Explanation{}, err
	}
	return out, nil
}
