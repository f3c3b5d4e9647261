package engine_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// person makes a user with roles in a tenant, with a session, and returns the subject that the session stands for.
func (w *world) person(tenant, name string, roles ...directory.Role) *policy.Subject {
	w.t.Helper()
	u, err := w.engine.CreateUser(w.t.Context(), w.appliance(tenant), name, roles)
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.now()
	session := directory.Session{User: u.ID, Tenant: tenant, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(7 * 24 * time.Hour).UnixMilli()}
	rand.Read(session.Hash[:])
	if err := w.engine.StartSession(w.t.Context(), w.appliance(tenant), session); err != nil {
		w.t.Fatal(err)
	}
	s := w.engine.SessionSubject(session.Hash)
	if s == nil {
		w.t.Fatal("the session stands for nobody")
	}
	return s
}

// records collects the audit records of what run does.
func (w *world) records(run func()) []audit.Record {
	var mu sync.Mutex
	var list []audit.Record
	w.audit.onAppend = func(r *audit.Record) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, *r)
	}
	run()
	w.audit.onAppend = nil
	return list
}

// apps is a world with people who make applications.
type apps struct {
	*world
	owner, admin, developer, other, viewer *policy.Subject
	foreign                                *policy.Subject // the owner of another tenant
	mine                                   *directory.Application
}

func newApps(t *testing.T) *apps {
	w := newWorld(t)
	a := &apps{
		world: w, owner: w.person(w.tenant, "ow", directory.Owner), admin: w.person(w.tenant, "ad", directory.Admin),
		developer: w.person(w.tenant, "de", directory.Developer), other: w.person(w.tenant, "ot", directory.Developer),
		viewer: w.person(w.tenant, "vi", directory.Viewer), foreign: w.person(w.newTenant("second"), "fo", directory.Owner),
	}
	w.selfService("open")
	w.selfService("default")
	a.mine = a.make(a.developer, engine.ApplicationSpec{Name: "mine", Grants: both("open")})
	return a
}

// selfService makes a context that developers may grant.
func (w *world) selfService(name string) {
	w.t.Helper()
	w.newContext(w.tenant, engine.ContextSpec{Name: name})
	c := *w.ledger.View().Tenant(w.tenant).Context(name)
	c.SelfService, c.Revision = true, c.Revision+1
	if _, err := w.ledger.Propose(w.t.Context(), command.ChangeContext{Context: c}); err != nil {
		w.t.Fatal(err)
	}
}

func both(contexts ...string) []directory.Grant {
	var list []directory.Grant
	for _, c := range contexts {
		list = append(list, directory.Grant{Context: c, Encrypt: true, Decrypt: true})
	}
	return list
}

func (a *apps) make(s *policy.Subject, spec engine.ApplicationSpec) *directory.Application {
	a.t.Helper()
	app, err := a.engine.CreateApplication(a.t.Context(), callOf(s), spec)
	if err != nil {
		a.t.Fatal(err)
	}
	return app
}

// TestWhoMayDoWhatToApplications tries each use case as each kind of subject, and looks at the audit records.
func TestWhoMayDoWhatToApplications(t *testing.T) {
	a := newApps(t)
	ctx := t.Context()
	const ok, forbidden, missing = fault.Unknown, fault.Forbidden, fault.NotFound
	id := a.mine.ID
	useCases := []struct {
		action  policy.Action
		changes bool
		run     func(*engine.Call) error
		// by the maker of the application, another developer, a viewer, the owner of another tenant
		maker, developer, viewer, foreign fault.Kind
	}{
		{policy.ListApplications, false, func(c *engine.Call) error { _, err := a.engine.Applications(ctx, c); return err }, ok, ok, ok, ok},
		{policy.ReadApplication, false, func(c *engine.Call) error { _, err := a.engine.ReadApplication(ctx, c, id); return err }, ok, ok, ok, missing},
		{policy.ReadTokens, false, func(c *engine.Call) error { _, err := a.engine.ApplicationTokens(ctx, c, id); return err }, ok, ok, ok, missing},
		{policy.ChangeApplication, true, func(c *engine.Call) error {
			_, err := a.engine.ChangeApplication(ctx, c, id, engine.ApplicationChange{Team: "t", Grants: both("open")})
			return err
		}, ok, forbidden, forbidden, missing},
		{policy.DisableApplication, true, func(c *engine.Call) error {
			_, err := a.engine.SetApplicationStatus(ctx, c, id, directory.Disabled)
			return err
		}, ok, forbidden, forbidden, missing},
		{policy.EnableApplication, true, func(c *engine.Call) error {
			_, err := a.engine.SetApplicationStatus(ctx, c, id, directory.Enabled)
			return err
		}, ok, forbidden, forbidden, missing},
		{policy.RotateTokens, true, func(c *engine.Call) error {
			_, err := a.engine.RotateTokens(ctx, c, id, engine.ApplicationKey{})
			return err
		}, ok, forbidden, forbidden, missing},
		{policy.RevokeTokens, true, func(c *engine.Call) error { return a.engine.RevokeTokens(ctx, c, id) }, ok, forbidden, forbidden, missing},
		{policy.IssueToken, true, func(c *engine.Call) error {
			family := a.family(a.mine, fmt.Sprintf("fam_%d", time.Now().UnixNano()), [32]byte{1})
			if c.Subject != nil {
				family.Tenant = c.Subject.Tenant
			}
			return a.engine.StartRefresh(ctx, c, family)
		}, ok, forbidden, forbidden, missing},
		{policy.DeleteApplication, true, func(c *engine.Call) error { return a.engine.DeleteApplication(ctx, c, id) }, ok, forbidden, forbidden, missing},
	}
	for _, u := range useCases {
		for _, by := range []struct {
			name string
			call *engine.Call
			want fault.Kind
		}{
			{"nobody", callOf(nil), fault.Unauthenticated},
			{"an application", a.call(), forbidden},
			{"another developer", callOf(a.other), u.developer},
			{"a viewer", callOf(a.viewer), u.viewer},
			{"another tenant", callOf(a.foreign), u.foreign},
			{"its maker", callOf(a.developer), u.maker},
		} {
			var err error
			records := a.records(func() { err = u.run(by.call) })
			if fault.Of(err) != by.want {
				t.Errorf("%s by %s: %v, want %v", u.action, by.name, err, by.want)
			}
			wanted := []audit.Result{audit.Success}
			switch {
			case by.want != ok:
				wanted = []audit.Result{audit.Denied}
			case u.changes:
				wanted = []audit.Result{audit.Started, audit.Success}
			}
			var results []audit.Result
			for _, r := range records {
				results = append(results, r.Result)
				if r.Action != string(u.action) || by.want == ok && u.action != policy.ListApplications && r.Resource != id {
					t.Errorf("%s by %s: recorded as %s of %q", u.action, by.name, r.Action, r.Resource)
				}
			}
			if !slices.Equal(results, wanted) {
				t.Errorf("%s by %s: recorded %v, want %v", u.action, by.name, results, wanted)
			}
		}
	}
	if list, err := a.engine.Applications(ctx, callOf(a.foreign)); err != nil || len(list) != 0 {
		t.Errorf("another tenant's owner lists %d applications: %v", len(list), err)
	}
}

// TestWhoMayGrantWhat makes and changes applications with grants of each kind.
func TestWhoMayGrantWhat(t *testing.T) {
	a := newApps(t)
	budget := &directory.Budget{Records: 1, Seconds: 60}
	grant := func(edit func(*directory.Grant)) []directory.Grant {
		g := both("open")
		edit(&g[0])
		return g
	}
	for _, c := range []struct {
		name             string
		grants           []directory.Grant
		developer, admin fault.Kind
	}{
		{"open to developers", both("open"), fault.Unknown, fault.Unknown},
		{"not open", both("user-pii"), fault.Forbidden, fault.Unknown},
		{"one of two not open", both("open", "user-pii"), fault.Forbidden, fault.Unknown},
		{"compromised", grant(func(g *directory.Grant) { g.Compromised = true }), fault.Forbidden, fault.Unknown},
		{"a budget", grant(func(g *directory.Grant) { g.Budget = budget }), fault.Forbidden, fault.Unknown},
		{"a budget without a window", grant(func(g *directory.Grant) { g.Budget = &directory.Budget{Records: 1} }), fault.Malformed, fault.Malformed},
		{"nothing", []directory.Grant{{Context: "open"}}, fault.Malformed, fault.Malformed},
		{"compromised to encrypt", []directory.Grant{{Context: "open", Encrypt: true, Compromised: true}}, fault.Malformed, fault.Malformed},
		{"what does not exist", both("nowhere"), fault.NotFound, fault.NotFound},
		{"not a name", both("No Name"), fault.Malformed, fault.Malformed},
		{"twice", both("open", "open"), fault.Malformed, fault.Malformed},
	} {
		for who, by := range map[string]struct {
			s    *policy.Subject
			want fault.Kind
		}{"developer": {a.developer, c.developer}, "admin": {a.admin, c.admin}} {
			spec := engine.ApplicationSpec{Name: c.name, Grants: c.grants}
			if _, err := a.engine.CreateApplication(t.Context(), callOf(by.s), spec); fault.Of(err) != by.want {
				t.Errorf("%s makes an application with %s: %v, want %v", who, c.name, err, by.want)
			}
			app := a.make(by.s, engine.ApplicationSpec{Name: "changed to " + c.name})
			_, err := a.engine.ChangeApplication(t.Context(), callOf(by.s), app.ID, engine.ApplicationChange{Grants: c.grants})
			if fault.Of(err) != by.want {
				t.Errorf("%s changes an application to %s: %v, want %v", who, c.name, err, by.want)
			}
		}
	}
	// A developer keeps what an administrator gave, may have less of it, and not more.
	given := []directory.Grant{{Context: "user-pii", Decrypt: true, Compromised: true, Budget: budget}}
	change := func(s *policy.Subject, grants, before []directory.Grant) error {
		_, err := a.engine.ChangeApplication(t.Context(), callOf(s), a.mine.ID, engine.ApplicationChange{Grants: grants, Before: before})
		return err
	}
	if err := change(a.admin, given, nil); err != nil {
		t.Fatal(err)
	}
	edited := func(edit func(*directory.Grant)) []directory.Grant {
		g := slices.Clone(given)
		edit(&g[0])
		return g
	}
	for name, c := range map[string]struct {
		grants []directory.Grant
		want   fault.Kind
	}{
		"kept":           {given, fault.Unknown},
		"to encrypt too": {edited(func(g *directory.Grant) { g.Encrypt = true }), fault.Forbidden},
		"another budget": {edited(func(g *directory.Grant) { g.Budget = &directory.Budget{Records: 2, Seconds: 60} }), fault.Forbidden},
		"no budget":      {edited(func(g *directory.Grant) { g.Budget = nil }), fault.Forbidden},
	} {
		if err := change(a.developer, c.grants, nil); fault.Of(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := change(a.developer, given, both("open")); !errors.Is(err, fault.Conflict) {
		t.Errorf("a change of grants that were others: %v", err)
	}
	if err := change(a.developer, edited(func(g *directory.Grant) { g.Compromised = false }), given); err != nil {
		t.Errorf("less: %v", err)
	}
}

func TestBadApplications(t *testing.T) {
	a := newApps(t)
	for name, spec := range map[string]engine.ApplicationSpec{
		"no name":                {},
		"long name":              {Name: strings.Repeat("a", directory.ApplicationNameMax+1)},
		"name of two lines":      {Name: "a\nb"},
		"name with a zero":       {Name: "a\x00b"},
		"name with bad UTF-8":    {Name: "a\xff"},
		"name of blanks":         {Name: " "},
		"long team":              {Name: "a", Team: strings.Repeat("a", directory.TeamMax+1)},
		"environment with zero":  {Name: "a", Environment: "a\x00b"},
		"long environment":       {Name: "a", Environment: strings.Repeat("a", directory.EnvironmentMax+1)},
		"long description":       {Name: "a", Description: strings.Repeat("a", engine.ApplicationDescriptionMax+1)},
		"short key":              {Name: "a", Key: engine.ApplicationKey{PublicKey: make([]byte, 31)}},
		"short certificate hash": {Name: "a", Key: engine.ApplicationKey{Certificate: make([]byte, 31)}},
	} {
		if _, err := a.engine.CreateApplication(t.Context(), callOf(a.owner), spec); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.engine.CreateApplication(t.Context(), callOf(a.developer), engine.ApplicationSpec{Name: "mine"}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second application of the name: %v", err)
	}
	certificate := []byte(strings.Repeat("c", 32))
	spec := engine.ApplicationSpec{Name: "pinned", Key: engine.ApplicationKey{Certificate: certificate}}
	first := a.make(a.owner, spec)
	if len(first.PublicKey) != 0 || len(first.SealedKey) != 0 || a.engine.ApplicationByCertificate([32]byte(certificate)) == nil {
		t.Errorf("an application with a certificate: %d bytes of a key", len(first.PublicKey))
	}
	spec.Name = "pinned too"
	if _, err := a.engine.CreateApplication(t.Context(), callOf(a.foreign), spec); !errors.Is(err, fault.Conflict) {
		t.Errorf("the certificate of an application of another tenant: %v", err)
	}
	if _, err := a.engine.RotateTokens(t.Context(), callOf(a.owner), a.mine.ID, spec.Key); !errors.Is(err, fault.Conflict) {
		t.Errorf("rotating to the certificate of another application: %v", err)
	}
	if _, err := a.engine.RotateTokens(t.Context(), callOf(a.owner), first.ID, engine.ApplicationKey{}); !errors.Is(err, fault.Conflict) {
		t.Errorf("rotating without the next key: %v", err)
	}
}

// TestInvariant04TokensEnd takes the tokens of an application away in each way. The subject that an old token proves, whether
// it was verified before or is now, has no right any more; a new one has.
func TestInvariant04TokensEnd(t *testing.T) {
	for name, end := range map[string]func(*apps) error{
		"rotate": func(a *apps) error {
			_, err := a.engine.RotateTokens(a.t.Context(), callOf(a.developer), a.mine.ID, engine.ApplicationKey{})
			return err
		},
		"revoke": func(a *apps) error { return a.engine.RevokeTokens(a.t.Context(), callOf(a.developer), a.mine.ID) },
		"disable": func(a *apps) error {
			_, err := a.engine.SetApplicationStatus(a.t.Context(), callOf(a.developer), a.mine.ID, directory.Disabled)
			return err
		},
		"delete": func(a *apps) error { return a.engine.DeleteApplication(a.t.Context(), callOf(a.developer), a.mine.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApps(t)
			at := func(ahead time.Duration) *policy.Subject {
				s := subject(a.mine)
				s.IssuedAt = a.now().Add(ahead).Unix()
				return s
			}
			encrypt := func(s *policy.Subject) error {
				_, err := a.engine.Encrypt(t.Context(), callOf(s), &engine.EncryptRequest{Context: "open", Plaintext: []byte("p")})
				return err
			}
			used, ahead := at(0), at(engine.TokenLeeway)
			if err := encrypt(used); err != nil {
				t.Fatal(err)
			}
			if err := a.engine.StartRefresh(t.Context(), callOf(a.developer), a.family(a.mine, "fam_1", [32]byte{1})); err != nil {
				t.Fatal(err)
			}
			info, err := a.engine.ApplicationTokens(t.Context(), callOf(a.developer), a.mine.ID)
			if err != nil || len(info.Families) != 1 || info.Families[0].ID != "fam_1" {
				t.Fatalf("families %v, %v", info.Families, err)
			}
			if err := end(a); err != nil {
				t.Fatal(err)
			}
			for what, s := range map[string]*policy.Subject{"used before": used, "from a clock that is ahead": ahead, "not used before": at(0)} {
				if err := encrypt(s); !errors.Is(err, fault.Unauthenticated) {
					t.Errorf("a token %s: %v", what, err)
				}
			}
			if err := a.engine.RotateRefresh(t.Context(), callOf(nil), engine.RefreshRotation{
				Family: "fam_1", Presented: [32]byte{1}, Next: [32]byte{2}, ExpiresAt: time.Now().Add(time.Hour),
			}); !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("the refresh token: %v", err)
			}
			switch name {
			case "revoke":
				if err := encrypt(at(engine.TokenLeeway + time.Second)); err != nil {
					t.Errorf("a new token: %v", err)
				}
				certified := at(0)
				certified.Certified = true
				if err := encrypt(certified); err != nil {
					t.Errorf("a certificate: %v", err)
				}
			case "rotate":
				a.mine = a.engine.Application(a.mine.ID)
				if err := encrypt(at(0)); err != nil {
					t.Errorf("a new token: %v", err)
				}
			}
		})
	}
}

// TestRevocationNeedsNoToken: it works when the HSM does not.
func TestRevocationNeedsNoToken(t *testing.T) {
	a := newApps(t)
	now := time.Now()
	a.vault.down.Store(&now)
	if err := a.engine.RevokeTokens(t.Context(), callOf(a.developer), a.mine.ID); err != nil {
		t.Error(err)
	}
	if _, err := a.engine.RotateTokens(t.Context(), callOf(a.developer), a.mine.ID, engine.ApplicationKey{}); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("rotating: %v", err)
	}
}

// TestVerifyTokenOfTheTenant tells about the tokens of the caller's tenant that give a right now.
func TestVerifyTokenOfTheTenant(t *testing.T) {
	a := newApps(t)
	good := subject(a.mine)
	good.IssuedAt = time.Now().Unix()
	old := *good
	old.Credential = "appkey_0"
	for name, c := range map[string]struct {
		call   *engine.Call
		proved *policy.Subject
		told   bool
		want   fault.Kind
	}{
		"by an application": {a.call(), good, true, fault.Unknown},
		"by a viewer":       {callOf(a.viewer), good, true, fault.Unknown},
		"by nobody":         {callOf(nil), good, false, fault.Unauthenticated},
		"from elsewhere":    {callOf(a.foreign), good, false, fault.Unknown},
		"of an old key":     {a.call(), &old, false, fault.Unknown},
		"of a user":         {a.call(), a.owner, false, fault.Unknown},
		"not good at all":   {a.call(), nil, false, fault.Unknown},
	} {
		app, err := a.engine.VerifyToken(t.Context(), c.call, c.proved)
		if fault.Of(err) != c.want || (app != nil) != c.told {
			t.Errorf("%s: %v, %v", name, app != nil, err)
		}
		if r := a.audit.last.Load(); r.Action != string(policy.VerifyToken) || (r.Resource == a.mine.ID) != c.told {
			t.Errorf("%s: recorded as %s of %q", name, r.Action, r.Resource)
		}
	}
}

// TestRevokeToken ends a family and a session for whoever has the token, and nothing for whoever has none.
func TestRevokeToken(t *testing.T) {
	a := newApps(t)
	if err := a.engine.StartRefresh(t.Context(), a.appliance(a.tenant), a.family(a.app, "fam_1", [32]byte{1})); err != nil {
		t.Fatal(err)
	}
	revoke := func(what engine.Revocation) audit.Record {
		t.Helper()
		if err := a.engine.RevokeToken(t.Context(), callOf(nil), what); err != nil {
			t.Error(err)
		}
		return *a.audit.last.Load()
	}
	writes := a.ledger.writes.Load()
	if r := revoke(engine.Revocation{Session: [32]byte{9}}); r.Cause != "unknown-token" || a.ledger.writes.Load() != writes {
		t.Errorf("an unknown session: %+v, %d writes", r, a.ledger.writes.Load()-writes)
	}
	revoke(engine.Revocation{Tenant: a.foreign.Tenant, Family: "fam_1"})
	if f := a.ledger.View().RefreshFamily("fam_1"); f.Revoked {
		t.Error("a family was revoked from another tenant")
	}
	if r := revoke(engine.Revocation{Tenant: a.tenant, Family: "fam_1"}); r.Subject != a.app.ID || r.Tenant != a.tenant {
		t.Errorf("recorded as %+v", r)
	}
	if f := a.ledger.View().RefreshFamily("fam_1"); !f.Revoked {
		t.Error("the family is not revoked")
	}
	if r := revoke(engine.Revocation{Session: a.viewer.Session}); r.Subject != a.viewer.ID {
		t.Errorf("recorded as %+v", r)
	}
	if a.engine.SessionSubject(a.viewer.Session) != nil {
		t.Error("the session goes on")
	}
}

func TestTooManyFamilies(t *testing.T) {
	a := newApps(t)
	for i := range 1000 {
		_, err := a.ledger.Propose(t.Context(), command.CreateRefresh{Family: a.family(a.mine, fmt.Sprintf("fam_%d", i), [32]byte{1})})
		if err != nil {
			t.Fatal(err)
		}
	}
	next := a.family(a.mine, "fam_next", [32]byte{1})
	if err := a.engine.StartRefresh(t.Context(), callOf(a.developer), next); !errors.Is(err, fault.Conflict) {
		t.Errorf("the 1001st family: %v", err)
	}
	if _, err := a.ledger.Propose(t.Context(), command.RevokeRefresh{Tenant: a.tenant, Family: "fam_7"}); err != nil {
		t.Fatal(err)
	}
	if err := a.engine.StartRefresh(t.Context(), callOf(a.developer), next); err != nil {
		t.Errorf("after one was revoked: %v", err)
	}
}
