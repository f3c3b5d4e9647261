package engine_test

import (
	"errors"
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
)

func TestRegister(t *testing.T) {
	a := newApps(t)
	register := func(spec engine.RegisterSpec) (engine.Registration, error) {
		return a.engine.RegisterApplication(t.Context(), callOf(a.developer), spec)
	}
	first, err := register(engine.RegisterSpec{Name: "service"})
	if err != nil {
		t.Fatal(err)
	}
	app := first.Application
	if !first.New || app.Team != "default" || app.Environment != "development" || app.CreatedBy != a.developer.ID || len(app.SealedKey) == 0 ||
		!slices.Equal(app.Grants, both("default")) {
		t.Errorf("the new application is %+v", app)
	}
	var again engine.Registration
	records := a.records(func() {
		again, err = register(engine.RegisterSpec{Name: "service", Contexts: []string{"user-pii", "open", "default"}})
	})
	if err != nil || again.New || again.Application.ID != app.ID || !slices.Equal(again.Missing, []string{"open", "user-pii"}) {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if !slices.Equal(again.Application.Grants, both("default")) {
		t.Errorf("registering again widened the grants to %v", again.Application.Grants)
	}
	if len(records) != 1 || records[0].Result != audit.Success || records[0].Resource != app.ID {
		t.Errorf("recorded %+v", records)
	}
	if other, err := register(engine.RegisterSpec{Name: "service", Environment: "production"}); err != nil || !other.New {
		t.Errorf("in another environment: %+v, %v", other, err)
	}
	theirs, err := a.engine.RegisterApplication(t.Context(), callOf(a.other), engine.RegisterSpec{Name: "service"})
	if err != nil || !theirs.New || theirs.Application.ID == app.ID {
		t.Errorf("of another user: %+v, %v", theirs, err)
	}
	if _, err := a.engine.SetApplicationStatus(t.Context(), callOf(a.developer), app.ID, directory.Disabled); err != nil {
		t.Fatal(err)
	}
	if _, err := register(engine.RegisterSpec{Name: "service"}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a disabled one: %v", err)
	}
}

func TestRegisterRefuses(t *testing.T) {
	a := newApps(t)
	type spec = engine.RegisterSpec
	for name, c := range map[string]struct {
		call *engine.Call
		spec spec
		want fault.Kind
		says string
	}{
		"nobody":            {callOf(nil), spec{Name: "a"}, fault.Unauthenticated, ""},
		"an application":    {a.call(), spec{Name: "a"}, fault.Forbidden, ""},
		"a viewer":          {callOf(a.viewer), spec{Name: "a"}, fault.Forbidden, ""},
		"the appliance":     {a.appliance(a.tenant), spec{Name: "a"}, fault.Forbidden, ""},
		"not grantable":     {callOf(a.developer), spec{Name: "a", Contexts: []string{"open", "user-pii"}}, fault.Forbidden, "context user-pii"},
		"no such context":   {callOf(a.developer), spec{Name: "a", Contexts: []string{"nowhere"}}, fault.NotFound, "context nowhere"},
		"not in the tenant": {callOf(a.foreign), spec{Name: "a", Contexts: []string{"open"}}, fault.NotFound, "context open"},
		"bad context":       {callOf(a.owner), spec{Name: "a", Contexts: []string{"a\x00b"}}, fault.Malformed, ""},
		"no name":           {callOf(a.owner), spec{}, fault.Malformed, ""},
		"name with a zero":  {callOf(a.owner), spec{Name: "mine\x00development"}, fault.Malformed, ""},
		"long name":         {callOf(a.owner), spec{Name: strings.Repeat("a", 257)}, fault.Malformed, ""},
		"long team":         {callOf(a.owner), spec{Name: "a", Team: strings.Repeat("a", 65)}, fault.Malformed, ""},
		"long environment":  {callOf(a.owner), spec{Name: "a", Environment: strings.Repeat("a", 33)}, fault.Malformed, ""},
		"long description":  {callOf(a.owner), spec{Name: "a", Description: strings.Repeat("a", 1025)}, fault.Malformed, ""},
	} {
		before := a.ledger.writes.Load()
		var err error
		records := a.records(func() { _, err = a.engine.RegisterApplication(t.Context(), c.call, c.spec) })
		if fault.Of(err) != c.want || c.says != "" && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if len(records) != 1 || records[0].Result != audit.Denied || a.ledger.writes.Load() != before {
			t.Errorf("%s: %d records", name, len(records))
		}
	}
}

// TestRegisterIsBounded: ten times at once, and then one every six seconds; each user by himself.
func TestRegisterIsBounded(t *testing.T) {
	a := newApps(t)
	register := func(c *engine.Call) error {
		_, err := a.engine.RegisterApplication(t.Context(), c, engine.RegisterSpec{Name: "service"})
		return err
	}
	for i := range 10 {
		if err := register(callOf(a.developer)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if err := register(callOf(a.developer)); !errors.Is(err, fault.RateLimited) {
		t.Errorf("the eleventh time: %v", err)
	}
	if err := register(callOf(a.other)); err != nil {
		t.Errorf("another user: %v", err)
	}
	a.clock.Add(int64(7 * time.Second))
	if err := register(callOf(a.developer)); err != nil {
		t.Errorf("seven seconds later: %v", err)
	}
}

// TestRegisterAtOnce: copies of a program that start at the same time are one application.
func TestRegisterAtOnce(t *testing.T) {
	a := newApps(t)
	const copies = 5
	var arrived sync.WaitGroup
	arrived.Add(copies)
	a.ledger.onPropose = func(c command.Command) error {
		arrived.Done()
		arrived.Wait() // nobody has made it when the last wants to
		return nil
	}
	ids, isNew := make([]string, copies), make([]bool, copies)
	var all sync.WaitGroup
	for i := range copies {
		all.Go(func() {
			out, err := a.engine.RegisterApplication(t.Context(), callOf(a.developer), engine.RegisterSpec{Name: "service"})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i], isNew[i] = out.Application.ID, out.New
		})
	}
	all.Wait()
	a.ledger.onPropose = nil
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("the copies are %v", ids)
	}
	made := slices.DeleteFunc(isNew, func(b bool) bool { return !b })
	if len(made) != 1 {
		t.Errorf("%d copies were told that they are new", len(made))
	}
}
