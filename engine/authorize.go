package engine

import (
	"time"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/policy"
)

// SessionLifetime is how long a session lasts; sessionIdle how long it lasts unused: DESIGN section 8.
const (
	SessionLifetime = 7 * 24 * time.Hour
	sessionIdle     = 12 * time.Hour
)

// maxPlans bounds the compiled decisions that are kept.
const maxPlans = 10_000

// plan is a decision that allows one subject one action in one context, compiled from the records at an epoch. It holds as
// long as the ledger's epoch is the same, which costs one atomic load to see.
type plan struct {
	epoch   uint64
	tenant  TenantView
	context *directory.Context
	active  *keys.Version // of the key object, or of the context's own key
	use     *use          // of active
	// own is the context's own algorithm as the FIPS mode lets it protect; ownErr says why it does not.
	own    suite
	ownErr error
	object *keys.Object // nil when the action works with the context's own key
	// minimum closes the versions with lower numbers; compromised lets the subject process with compromised ones.
	minimum     uint32
	compromised bool
	budget      limit.Allowance // of what the subject decrypts
	// toProtect and toProcess are the policies that the action must meet; nil when there are none.
	toProtect, toProcess *conditions
}

// strict reports whether the context wants the log asked about each use, and no lease.
func (p *plan) strict() bool { return p != nil && p.context.Consistency == directory.Strict }

// planKey names a decision. The object is empty for the context's own key, the context for a key object, whose record tells
// its context.
type planKey struct {
	subject *policy.Subject
	action  policy.Action
	context string
	object  string
}

var (
	errNotAuthenticated = fault.New(fault.Unauthenticated, "engine.authorize", "a valid token is required")
	errNotAllowed       = fault.New(fault.Forbidden, "engine.authorize", "the subject may not do this in this context")
	errContextName      = &fault.Error{
		Kind: fault.Malformed, Op: "engine.authorize", Detail: "the context name is not valid",
		Fields: []fault.Field{{Name: "context", Detail: "a lower-case letter, then letters, digits and hyphens, 64 at most"}},
	}
)

// authorize decides whether an application may protect or process in a context now.
func (e *Engine) authorize(c *Call, action policy.Action, context string) (*plan, error) {
	if c.Subject == nil {
		return nil, errNotAuthenticated
	}
	lease := e.ledger.Lease() // before the records
	p, err := e.planFor(c.Subject, action, context)
	return p, e.looked(c, lease, p.strict(), err)
}

func (e *Engine) planFor(s *policy.Subject, action policy.Action, context string) (*plan, error) {
	epoch := e.ledger.Epoch()
	key := planKey{s, action, context, ""}
	if len(context) <= directory.ContextNameMax {
		if p, ok := e.plans.GetIfPresent(key); ok && p.epoch == epoch {
			return p, nil
		}
	}
	p, err := e.compile(s, action, context, epoch)
	if err != nil {
		return nil, err
	}
	e.plans.Set(key, p)
	return p, nil
}

// compile makes a plan from the records. They are read after the epoch, so they are at least as new.
func (e *Engine) compile(s *policy.Subject, action policy.Action, name string, epoch uint64) (*plan, error) {
	if !directory.ValidContextName(name) {
		return nil, errContextName
	}
	view := e.ledger.View()
	tenant := view.Tenant(s.Tenant)
	app, err := application(view, tenant, s)
	if err != nil {
		return nil, err
	}
	context := tenant.Context(name)
	if context == nil || !policy.ApplicationMay(s, app, action, name) {
		return nil, errNotAllowed
	}
	if context.Status != directory.Enabled {
		return nil, fault.New(fault.Forbidden, "engine.authorize", "the context is disabled")
	}
	active := tenant.Version(context.ActiveKey)
	if active == nil {
		return nil, fault.New(fault.Internal, "engine.authorize", "the context has no active key version")
	}
	grant, _ := app.Grant(name)
	p := &plan{
		epoch: epoch, tenant: tenant, context: context, active: active, use: e.uses.of(active), minimum: context.MinimumVersion,
		compromised: grant.Compromised, budget: budgetOf(tenant.Record(), grant),
	}
	p.own, p.ownErr = e.ownSuite(context)
	e.setPolicies(p, app, action, epoch)
	return p, nil
}

var errKeyName = &fault.Error{
	Kind: fault.Malformed, Op: "engine.authorize", Detail: "the key's name is not valid",
	Fields: []fault.Field{{Name: "key", Detail: "a lower-case letter, then letters, digits and hyphens, 64 at most"}},
}

// authorizeKey decides whether an application may use a key object now. Who may is decided by the key's own record: its
// context's grants count.
func (e *Engine) authorizeKey(c *Call, action policy.Action, name string) (*plan, error) {
	if c.Subject == nil {
		return nil, errNotAuthenticated
	}
	lease := e.ledger.Lease() // before the records
	p, err := e.keyPlanFor(c.Subject, action, name)
	return p, e.looked(c, lease, p.strict(), err)
}

func (e *Engine) keyPlanFor(s *policy.Subject, action policy.Action, name string) (*plan, error) {
	epoch := e.ledger.Epoch()
	key := planKey{s, action, "", name}
	if len(name) <= keys.NameMax {
		if p, ok := e.plans.GetIfPresent(key); ok && p.epoch == epoch {
			return p, nil
		}
	}
	p, err := e.compileKey(s, action, name, epoch)
	if err != nil {
		return nil, err
	}
	e.plans.Set(key, p)
	return p, nil
}

func (e *Engine) compileKey(s *policy.Subject, action policy.Action, name string, epoch uint64) (*plan, error) {
	if !keys.ValidName(name) {
		return nil, errKeyName
	}
	view := e.ledger.View()
	tenant := view.Tenant(s.Tenant)
	app, err := application(view, tenant, s)
	if err != nil {
		return nil, err
	}
	object := tenant.Object(name)
	if object == nil || !policy.ApplicationMay(s, app, action, object.Context) {
		return nil, errNotAllowed
	}
	context := tenant.Context(object.Context)
	switch {
	case context == nil || context.Status != directory.Enabled:
		return nil, fault.New(fault.Forbidden, "engine.authorize", "the key's context is disabled")
	case object.Disabled:
		return nil, fault.New(fault.KeyState, "engine.authorize", "the key is disabled")
	}
	active := tenant.Version(object.ActiveKey)
	if active == nil {
		return nil, fault.New(fault.Internal, "engine.authorize", "the key has no active version")
	}
	grant, _ := app.Grant(context.Name)
	p := &plan{
		epoch: epoch, tenant: tenant, context: context, active: active, use: e.uses.of(active), object: object,
		minimum:     object.MinimumVersion,
		compromised: grant.Compromised, budget: budgetOf(tenant.Record(), grant),
	}
	e.setPolicies(p, app, action, epoch)
	return p, nil
}

// authorizeFree decides whether a subject may do an action that uses no key and no record of the appliance.
func (e *Engine) authorizeFree(c *Call, action policy.Action) error {
	s := c.Subject
	if s == nil {
		return errNotAuthenticated
	}
	if s.Kind != policy.KindApplication {
		_, err := e.authorizeChange(c, action)
		return err
	}
	if err := e.look(c); err != nil {
		return err
	}
	view := e.ledger.View()
	app, err := application(view, view.Tenant(s.Tenant), s)
	if err != nil {
		return err
	}
	if !policy.ApplicationMay(s, app, action, "") {
		return errNotAllowed
	}
	return nil
}

// application returns the newest record of the application that a subject is, or refuses.
func application(view View, tenant TenantView, s *policy.Subject) (*directory.Application, error) {
	if s.Kind != policy.KindApplication {
		return nil, errNotAllowed
	}
	if t := tenant.Record(); t == nil || t.Status != directory.Enabled {
		return nil, errNotAuthenticated
	}
	app := view.Application(s.ID)
	if app == nil || app.Tenant != s.Tenant || app.Status != directory.Enabled || app.KeyID != s.Credential {
		return nil, errNotAuthenticated
	}
	// A token of the second that the tokens were revoked in may be older than that.
	if app.NotBefore != 0 && !s.Certified && s.IssuedAt <= app.NotBefore/1000 {
		return nil, errNotAuthenticated
	}
	return app, nil
}

// user returns the newest record of the user that a subject is, or refuses.
func (e *Engine) user(view View, s *policy.Subject) (*directory.User, error) {
	session := view.Session(s.Session)
	now := e.now().UnixMilli()
	if session == nil || session.User != s.ID || session.Tenant != s.Tenant || session.ExpiresAt <= now ||
		session.LastSeen()+sessionIdle.Milliseconds() <= now {
		return nil, errNotAuthenticated
	}
	tenant := view.Tenant(s.Tenant)
	if t := tenant.Record(); t == nil || t.Status != directory.Enabled {
		return nil, errNotAuthenticated
	}
	u := tenant.User(s.ID)
	if u == nil || u.Status != directory.Enabled {
		return nil, errNotAuthenticated
	}
	return u, nil
}

// stillFree is authorizeFree after the work, which may have taken longer than a lease.
func (e *Engine) stillFree(c *Call, action policy.Action) error {
	c.lease = 0
	return e.authorizeFree(c, action)
}

// authorizeChange decides whether a subject may do an action that changes or lists records of its tenant, and returns the
// user who it is; nil is the appliance. Users need a node with a lease even for changes, whose rights are looked at once more
// when the ledger applies them: what a change is made of is read here. The appliance has no rights that somebody could take, and
// its commands name what they found.
func (e *Engine) authorizeChange(c *Call, action policy.Action) (*directory.User, error) {
	s := c.Subject
	if s == nil {
		return nil, errNotAuthenticated
	}
	lease := e.ledger.Lease() // before the records
	u, err := e.userFor(s, action)
	return u, e.looked(c, lease, s.Kind == policy.KindAppliance, err)
}

func (e *Engine) userFor(s *policy.Subject, action policy.Action) (*directory.User, error) {
	switch s.Kind {
	case policy.KindAppliance:
		if policy.ApplianceMay(action) {
			return nil, nil
		}
	case policy.KindUser:
		u, err := e.user(e.ledger.View(), s)
		if err != nil {
			return nil, err
		}
		if policy.UserMay(u.Roles, action) {
			return u, nil
		}
	case policy.KindApplication, policy.KindUnknown:
	}
	return nil, errMayNot
}

var errMayNot = fault.New(fault.Forbidden, "engine.authorize", "the subject may not do this")
