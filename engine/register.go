package engine

import (
	"context"
	"slices"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// RegisterSpec is an application that a program wants to be: specification section 13.4.
type RegisterSpec struct {
	Name        string
	Team        string   // empty means "default"
	Environment string   // empty means "development"
	Contexts    []string // empty means "default" alone
	Description string
}

// Registration tells which application a program is. Missing lists the contexts that it asked for and does not have: only a new
// application is given contexts.
type Registration struct {
	Application *directory.Application
	New         bool
	Missing     []string
}

// RegisterApplication finds the application that the user made under a name in an environment, or makes it. All contexts of a
// new one must be among those that the user may grant. It is bounded for each user; errors then are fault.RateLimited.
func (e *Engine) RegisterApplication(ctx context.Context, c *Call, spec RegisterSpec) (Registration, error) {
	r := c.begin(policy.RegisterApplication)
	user, err := e.authorizeChange(c, policy.RegisterApplication)
	if err == nil && user == nil {
		err = errMayNot
	}
	if err == nil {
		err = e.mayRegister(user, &spec)
	}
	if err != nil {
		return Registration{}, e.finish(c, &r, err)
	}
	if app := e.registered(user, &spec); app != nil {
		out, err := again(&r, app, &spec)
		if err := e.finish(c, &r, err); err != nil {
			return Registration{}, err
		}
		return out, nil
	}
	return e.registerNew(ctx, c, &r, user, &spec)
}

// mayRegister fills in what the specification leaves open, and refuses what cannot be.
func (e *Engine) mayRegister(user *directory.User, spec *RegisterSpec) error {
	if retry, ok := e.registrations.Allow(user.ID, registrationRate, 1, e.now()); !ok {
		refusal := fault.New(fault.RateLimited, "engine.register", "a user registers at most 10 applications a minute")
		refusal.RetryAfter = retry
		return refusal
	}
	orText := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	orText(&spec.Team, "default")
	orText(&spec.Environment, "development")
	if len(spec.Contexts) == 0 {
		spec.Contexts = []string{"default"}
	}
	for _, name := range spec.Contexts {
		if !directory.ValidContextName(name) {
			return malformedField("contexts", "hold what is not the name of a context")
		}
	}
	slices.Sort(spec.Contexts)
	spec.Contexts = slices.Compact(spec.Contexts)
	if spec.Name == "" {
		return malformedField("app_name", "is empty")
	}
	for _, t := range []struct {
		field, text string
		most        int
	}{
		{"app_name", spec.Name, directory.ApplicationNameMax}, {"team", spec.Team, directory.TeamMax},
		{"environment", spec.Environment, directory.EnvironmentMax}, {"description", spec.Description, ApplicationDescriptionMax},
	} {
		if err := checkText(t.field, t.text, t.most); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) registered(user *directory.User, spec *RegisterSpec) *directory.Application {
	return e.ledger.View().Tenant(user.Tenant).ApplicationOf(user.ID, spec.Name, spec.Environment)
}

// again answers for an application that exists. Registering never widens what it may do.
func again(r *audit.Record, app *directory.Application, spec *RegisterSpec) (Registration, error) {
	r.Resource = app.ID
	if app.Status != directory.Enabled {
		return Registration{}, fault.New(fault.Conflict, "engine.register", "the application exists and is disabled: enable it first")
	}
	out := Registration{Application: app}
	for _, name := range spec.Contexts {
		if _, ok := app.Grant(name); !ok {
			out.Missing = append(out.Missing, name)
		}
	}
	return out, nil
}

func (e *Engine) registerNew(
	ctx context.Context, c *Call, r *audit.Record, user *directory.User, spec *RegisterSpec,
) (Registration, error) {
	app, cmd, err := e.registration(ctx, c.Subject, user, spec)
	if err != nil {
		return Registration{}, e.finish(c, r, err)
	}
	r.Resource, r.Administrative, r.Result = app.ID, true, audit.Started
	if err := e.record(c, r); err != nil {
		return Registration{}, err
	}
	out := Registration{Application: app, New: true}
	err = e.commit(ctx, c, cmd)
	if fault.Of(err) == fault.Conflict {
		// Another copy of the program was quicker.
		if app := e.registered(user, spec); app != nil {
			out, err = again(r, app, spec)
		}
	}
	if err := e.finish(c, r, err); err != nil {
		return Registration{}, err
	}
	return out, nil
}

// registration returns a new application and the command that makes it.
func (e *Engine) registration(
	ctx context.Context, s *policy.Subject, user *directory.User, spec *RegisterSpec,
) (*directory.Application, command.Command, error) {
	of := ApplicationSpec{Name: spec.Name, Team: spec.Team, Environment: spec.Environment, Description: spec.Description}
	for _, name := range spec.Contexts {
		of.Grants = append(of.Grants, directory.Grant{Context: name, Encrypt: true, Decrypt: true})
	}
	if err := e.mayGrant(s, user, of.Grants, nil); err != nil {
		return nil, nil, err
	}
	app := e.newApplication(s.Tenant, user, &of)
	if err := e.giveKey(ctx, app, ApplicationKey{}); err != nil {
		return nil, nil, err
	}
	cmd, err := e.guarded(s, user, command.CreateApplication{Application: *app})
	return app, cmd, err
}
