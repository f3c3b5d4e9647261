package engine

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/policy"
)

var (
	errNoApplication = fault.New(fault.NotFound, "engine.application", "there is no such application")
	errNotOwn        = fault.New(fault.Forbidden, "engine.application", "the user may do this to applications that he made, and to no others")
)

// Applications lists the applications of the caller's tenant in order of id.
func (e *Engine) Applications(_ context.Context, c *Call) ([]*directory.Application, error) {
	r := c.begin(policy.ListApplications)
	_, err := e.authorizeChange(c, policy.ListApplications)
	var list []*directory.Application
	if err == nil {
		list = e.ledger.View().Tenant(c.Subject.Tenant).Applications()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// ReadApplication returns one application of the caller's tenant.
func (e *Engine) ReadApplication(_ context.Context, c *Call, id string) (*directory.Application, error) {
	r := c.begin(policy.ReadApplication)
	app, err := e.readApplication(c, &r, policy.ReadApplication, id)
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return app, nil
}

func (e *Engine) readApplication(c *Call, r *audit.Record, action policy.Action, id string) (*directory.Application, error) {
	r.Resource = id
	if _, err := e.authorizeChange(c, action); err != nil {
		return nil, err
	}
	app := e.ledger.View().Tenant(c.Subject.Tenant).Application(id)
	if app == nil {
		return nil, errNoApplication
	}
	return app, nil
}

// applicationFor returns an application of the subject's tenant that the user may do the action to; nil is the appliance.
func (e *Engine) applicationFor(
	s *policy.Subject, user *directory.User, action policy.Action, id string,
) (*directory.Application, error) {
	app := e.ledger.View().Tenant(s.Tenant).Application(id)
	switch {
	case app == nil:
		return nil, errNoApplication
	case user != nil && policy.OnlyOwn(user.Roles, action) && app.CreatedBy != user.ID:
		return nil, errNotOwn
	}
	return app, nil
}

// ApplicationSpec is what a new application is to be.
type ApplicationSpec struct {
	Name        string
	Team        string
	Environment string
	Description string
	Grants      []directory.Grant
	Key         ApplicationKey
}

func (s *ApplicationSpec) check() error {
	if s.Name == "" {
		return malformedField("name", "is empty")
	}
	return errors.Join(
		checkText("name", s.Name, directory.ApplicationNameMax), checkText("team", s.Team, directory.TeamMax),
		checkText("environment", s.Environment, directory.EnvironmentMax), checkText("description", s.Description, ApplicationDescriptionMax),
		s.Key.check(),
	)
}

// ApplicationDescriptionMax is the longest description of an application, in bytes.
const ApplicationDescriptionMax = 1024

// checkText refuses a text that does not fit into a line of a list.
func checkText(field, text string, most int) error {
	switch {
	case len(text) > most:
		return malformedField(field, fmt.Sprintf("is longer than %d bytes", most))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return malformedField(field, "holds a control character, or is not UTF-8")
	case strings.TrimSpace(text) != text:
		return malformedField(field, "begins or ends with a space")
	}
	return nil
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// newApplication returns the record of an application that is to be, still without its key.
func (e *Engine) newApplication(tenant string, user *directory.User, spec *ApplicationSpec) *directory.Application {
	slug := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(spec.Name), "-"), "-")
	app := &directory.Application{
		ID: "app_" + strings.Trim(slug[:min(len(slug), 20)], "-") + "_" + randomID(), Tenant: tenant, Name: spec.Name, Team: spec.Team,
		Environment: spec.Environment, Description: spec.Description, Status: directory.Enabled, Grants: spec.Grants,
		CreatedAt: e.now().UnixMilli(),
	}
	if user != nil {
		app.CreatedBy = user.ID
	}
	return app
}

// giveKey gives an application what it authenticates with from now on: a new Ed25519 key that is kept here, sealed, unless it
// has its own.
func (e *Engine) giveKey(ctx context.Context, app *directory.Application, own ApplicationKey) error {
	app.KeyID, app.PublicKey, app.SealedKey, app.Certificate = "appkey_"+randomID(), own.PublicKey, nil, own.Certificate
	if own.own() {
		return nil
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fault.Wrap(fault.Internal, "engine.application", "", err)
	}
	defer clear(private)
	seed := private.Seed()
	defer clear(seed)
	app.PublicKey = public
	app.SealedKey, err = e.sealKey(ctx, app.Tenant, app.KeyID, applicationKeyVersion, applicationKeyAlgorithm, seed)
	return err
}

// CreateApplication makes an application of the caller's tenant, with a new key that is kept here, or with its own.
func (e *Engine) CreateApplication(ctx context.Context, c *Call, spec ApplicationSpec) (*directory.Application, error) {
	r := c.begin(policy.CreateApplication)
	var app *directory.Application
	err := e.changeAs(ctx, c, &r, policy.CreateApplication, func(user *directory.User) (command.Command, error) {
		if err := spec.check(); err != nil {
			return nil, err
		}
		if err := e.mayGrant(c.Subject, user, spec.Grants, nil); err != nil {
			return nil, err
		}
		app = e.newApplication(c.Subject.Tenant, user, &spec)
		r.Resource = app.ID
		if err := e.giveKey(ctx, app, spec.Key); err != nil {
			return nil, err
		}
		return command.CreateApplication{Application: *app}, nil
	})
	if err != nil {
		return nil, err
	}
	return app, nil
}

// mayGrant decides whether a user may let an application have the grants where it has others before. What it has already it
// may keep, or have less of. nil is the appliance, which makes applications on the first run.
func (e *Engine) mayGrant(s *policy.Subject, user *directory.User, grants, before []directory.Grant) error {
	if user == nil {
		return nil
	}
	tenant := e.ledger.View().Tenant(s.Tenant)
	for i, g := range grants {
		place := fmt.Sprintf("grants[%d]", i)
		switch {
		case !directory.ValidContextName(g.Context):
			return malformedField(place+".context", "is not the name of a context")
		case !g.Encrypt && !g.Decrypt:
			return malformedField(place, "grants nothing")
		case g.Compromised && !g.Decrypt:
			return malformedField(place+".compromised", "needs decrypt")
		case g.Budget != nil && g.Budget.Validate() != nil:
			return malformedField(place+".budget", g.Budget.Validate().Error())
		}
		old := directory.Grant{}
		if j := slices.IndexFunc(before, func(b directory.Grant) bool { return b.Context == g.Context }); j >= 0 {
			old = before[j]
		}
		if err := mayWiden(user, tenant.Context(g.Context), old, g); err != nil {
			return err
		}
	}
	// A grant that is dropped could be taken again without its budget.
	for _, b := range before {
		kept := slices.ContainsFunc(grants, func(g directory.Grant) bool { return g.Context == b.Context })
		if b.Budget != nil && !kept && !policy.MayExempt(user.Roles) {
			return fault.New(fault.Forbidden, "engine.application", "only administrators take away grants with a budget: context "+b.Context)
		}
	}
	return nil
}

// mayWiden decides whether a user may turn one grant in a context into another; an empty one is none.
func mayWiden(user *directory.User, context *directory.Context, old, next directory.Grant) error {
	wider := next.Encrypt && !old.Encrypt || next.Decrypt && !old.Decrypt
	sameBudget := (old.Budget == nil) == (next.Budget == nil) && (old.Budget == nil || *old.Budget == *next.Budget)
	switch {
	case context == nil:
		return fault.New(fault.NotFound, "engine.application", "there is no context "+next.Context)
	case wider && !policy.MayGrant(user.Roles, context):
		return notGrantable(next.Context)
	case (next.Compromised && !old.Compromised || !sameBudget) && !policy.MayExempt(user.Roles):
		return fault.New(fault.Forbidden, "engine.application",
			"only administrators grant use of compromised keys, and budgets: context "+next.Context)
	}
	return nil
}

func notGrantable(context string) error {
	return fault.New(fault.Forbidden, "engine.application",
		"the context "+context+" is not one that the user may grant: ask an administrator")
}

// ApplicationChange is what is said about an application, and what it may do. Before, if not nil, is what the caller has seen of
// its grants: when they are others by now, nothing is changed.
type ApplicationChange struct {
	Team        string
	Description string
	Grants      []directory.Grant
	Before      []directory.Grant
}

// ChangeApplication replaces what an application may do and what is said about it.
func (e *Engine) ChangeApplication(ctx context.Context, c *Call, id string, change ApplicationChange) (*directory.Application, error) {
	r := c.begin(policy.ChangeApplication)
	r.Resource = id
	var next directory.Application
	err := e.changeAs(ctx, c, &r, policy.ChangeApplication, func(user *directory.User) (command.Command, error) {
		app, err := e.applicationFor(c.Subject, user, policy.ChangeApplication, id)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(
			checkText("team", change.Team, directory.TeamMax), checkText("description", change.Description, ApplicationDescriptionMax),
		); err != nil {
			return nil, err
		}
		if err := e.mayGrant(c.Subject, user, change.Grants, app.Grants); err != nil {
			return nil, err
		}
		if change.Before == nil {
			change.Before = app.Grants
		}
		next = *app
		next.Team, next.Description, next.Grants = change.Team, change.Description, change.Grants
		return command.ChangeApplication{
			Tenant: app.Tenant, Application: app.ID, Team: next.Team, Description: next.Description, Grants: next.Grants,
			Before: change.Before,
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return &next, nil
}

// SetApplicationStatus disables an application, whose tokens and certificate then give no right, or enables it again.
func (e *Engine) SetApplicationStatus(ctx context.Context, c *Call, id string, status directory.Status) (*directory.Application, error) {
	action := policy.DisableApplication
	if status == directory.Enabled {
		action = policy.EnableApplication
	}
	r := c.begin(action)
	r.Resource = id
	var next directory.Application
	err := e.changeAs(ctx, c, &r, action, func(user *directory.User) (command.Command, error) {
		app, err := e.applicationFor(c.Subject, user, action, id)
		if err != nil {
			return nil, err
		}
		next = *app
		next.Status = status
		return command.SetApplicationStatus{Tenant: app.Tenant, Application: app.ID, Status: status}, nil
	})
	if err != nil {
		return nil, err
	}
	return &next, nil
}

// DeleteApplication deletes an application and its tokens. What it has encrypted stays readable for others.
func (e *Engine) DeleteApplication(ctx context.Context, c *Call, id string) error {
	r := c.begin(policy.DeleteApplication)
	r.Resource = id
	return e.changeAs(ctx, c, &r, policy.DeleteApplication, func(user *directory.User) (command.Command, error) {
		app, err := e.applicationFor(c.Subject, user, policy.DeleteApplication, id)
		if err != nil {
			return nil, err
		}
		return command.DeleteApplication{Tenant: app.Tenant, Application: app.ID}, nil
	})
}

// How often a user registers applications, and how many users are told apart.
var registrationRate = limit.Rate{PerSecond: 10.0 / 60, Burst: 10}

const maxRegistrants = 10_000
