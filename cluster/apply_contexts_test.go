package cluster

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// changeOrchard changes the context of ten-a: what is not named stays as everything made it.
func changeOrchard(changes ...func(*command.ChangeContext)) command.ChangeContext {
	c := command.ChangeContext{Context: newContext("ten-a", orchard, orchardKey(1, 2)).Context}
	c.Context.Revision = 1
	for _, change := range changes {
		change(&c)
	}
	return c
}

// withVersion makes number 3 the active version.
func withVersion(c *command.ChangeContext) {
	v := newVersion("ten-a", orchard, 3, orchardKey(1, 9))
	c.Version = &v
}

func TestPoliciesRefuse(t *testing.T) {
	with := func(f func(*command.PutPolicy)) command.Command { return changed(newPolicy("ten-a", "fresh"), f) }
	const invalid = "policy is not valid"
	refuses(t, map[string]refusal{
		"put: no expression":      {with(func(c *command.PutPolicy) { c.Policy.Expression = "" }), fault.Malformed, invalid, nil},
		"put: bad name":           {newPolicy("ten-a", "Strong"), fault.Malformed, invalid, nil},
		"put: no status":          {with(func(c *command.PutPolicy) { c.Policy.Status = 0 }), fault.Malformed, invalid, nil},
		"put: zero in tenant":     {newPolicy("t\x00", "fresh"), fault.Malformed, invalid, nil},
		"put: no tenant":          {newPolicy("ten-z", "fresh"), fault.NotFound, "tenant does not exist", nil},
		"create: used name":       {newPolicy("ten-a", strongRule), fault.Conflict, "exists already", nil},
		"replace: unknown":        {with(func(c *command.PutPolicy) { c.Create = false }), fault.NotFound, "policy does not exist", nil},
		"replace: one of another": {with(func(c *command.PutPolicy) { c.Create = false }), fault.NotFound, "policy does not exist", []command.Command{newPolicy("ten-b", "fresh")}},
		"delete: unknown":         {command.DeletePolicy{Tenant: "ten-a", Name: "none"}, fault.NotFound, "policy does not exist", nil},
		"delete: one of another":  {command.DeletePolicy{Tenant: "ten-a", Name: "fresh"}, fault.NotFound, "policy does not exist", []command.Command{newPolicy("ten-b", "fresh")}},
		"delete: twice":           {command.DeletePolicy{Tenant: "ten-a", Name: strongRule}, fault.NotFound, "policy does not exist", []command.Command{command.DeletePolicy{Tenant: "ten-a", Name: strongRule}}},
	})
}

func TestPoliciesLive(t *testing.T) {
	db := world(t)
	replaced := newPolicy("ten-a", strongRule)
	replaced.Create, replaced.Policy.Expression, replaced.Policy.CreatedAt, replaced.Policy.UpdatedAt = false, "false", 77, 78
	mustApply(t, db, replaced, newPolicy("ten-a", "a-second"))
	p := tenantA(db).Policy(strongRule)
	if p.Expression != "false" || p.CreatedAt != 5 || p.UpdatedAt != 78 {
		t.Fatalf("%+v", p)
	}
	if list := tenantA(db).Policies(); len(list) != 2 || list[0].Name != "a-second" || newView(db, 0).Tenant("ten-b").Policy(strongRule).Expression == "false" {
		t.Fatalf("%+v", list)
	}
	mustApply(t, db, command.DeletePolicy{Tenant: "ten-a", Name: strongRule})
	if tenantA(db).Policy(strongRule) != nil || newView(db, 0).Tenant("ten-b").Policy(strongRule) == nil {
		t.Fatal("the policy stays, or another tenant's went")
	}
}

func TestPoliciesAreBounded(t *testing.T) {
	db := world(t)
	edit(db, func(txn *memdb.Txn) {
		for i := 1; i < maxPolicies-1; i++ {
			c := newPolicy("ten-a", fmt.Sprintf("p-%d", i))
			put(txn, tablePolicies, &c.Policy)
		}
	})
	again := newPolicy("ten-a", "last")
	again.Create = false
	out := applyAll(t, db, newPolicy("ten-a", "last"), newPolicy("ten-a", "one-more"), newPolicy("ten-b", "one-more"), again)
	if out[0].Refused != 0 || out[1].Refused != fault.Conflict || out[2].Refused != 0 || out[3].Refused != 0 {
		t.Fatalf("%+v", out)
	}
}

func TestContextsRefuse(t *testing.T) {
	change := func(f ...func(*command.ChangeContext)) command.Command { return changeOrchard(f...) }
	rename := func(name string) func(*command.ChangeContext) {
		return func(c *command.ChangeContext) { c.Context.Name = name }
	}
	version := func(f func(*keys.Version)) command.Command {
		return change(withVersion, func(c *command.ChangeContext) { f(c.Version) })
	}
	const none, between, material = "context does not exist", "changed in between", "not active and unused"
	closed := changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Context.MinimumVersion = 2 })
	doomed := func(f func(*keys.Version)) command.Command {
		return changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { f(&c.Version) })
	}
	refuses(t, map[string]refusal{
		"create: closes its version":    {closed, fault.Malformed, "or closes it", nil},
		"create: version due to end":    {doomed(func(v *keys.Version) { v.DestroyAt = 1 }), fault.Malformed, material, nil},
		"create: version ended":         {doomed(func(v *keys.Version) { v.DestroyedAt = 1 }), fault.Malformed, material, nil},
		"create: imported version":      {doomed(func(v *keys.Version) { v.Imported = true }), fault.Malformed, "never imported", nil},
		"create: zero in tenant":        {newContext("t\x00", "pear", keyID("pear", 9)), fault.Malformed, "no valid id", nil},
		"change: unknown":               {change(rename("pear")), fault.NotFound, none, nil},
		"change: unknown tenant":        {change(func(c *command.ChangeContext) { c.Context.Tenant = "ten-z" }), fault.NotFound, none, nil},
		"change: same revision":         {change(func(c *command.ChangeContext) { c.Context.Revision = 0 }), fault.Conflict, between, nil},
		"change: two later":             {change(func(c *command.ChangeContext) { c.Context.Revision = 2 }), fault.Conflict, between, nil},
		"change: twice":                 {change(), fault.Conflict, between, []command.Command{change()}},
		"change: not valid":             {change(func(c *command.ChangeContext) { c.Context.Enforcement = 9 }), fault.Malformed, "context is not valid", nil},
		"change: other algorithm":       {change(func(c *command.ChangeContext) { c.Context.Algorithm = algs.AES256GCMSIV }), fault.Malformed, "needs a new key version", nil},
		"change: other format":          {change(func(c *command.ChangeContext) { c.Context.Format = 3 }), fault.Malformed, "needs a new key version", nil},
		"change: version, same no":      {version(func(v *keys.Version) { v.Number = 2 }), fault.Conflict, "next number", nil},
		"change: version too high":      {version(func(v *keys.Version) { v.Number = 4 }), fault.Conflict, "next number", nil},
		"change: version of old":        {change(withVersion, func(c *command.ChangeContext) { c.Context.Algorithm = algs.AES256GCMSIV }), fault.Malformed, "another algorithm", nil},
		"change: used version":          {version(func(v *keys.Version) { v.ID = orchardKey(1, 1) }), fault.Conflict, "exists already", nil},
		"change: version of ten-b":      {version(func(v *keys.Version) { v.Tenant = "ten-b" }), fault.Malformed, "belongs to something else", nil},
		"change: version without":       {version(func(v *keys.Version) { v.Salt = nil }), fault.Malformed, "salt", nil},
		"change: version due to end":    {version(func(v *keys.Version) { v.DestroyAt = 1 }), fault.Malformed, material, nil},
		"status: unknown":               {command.SetContextStatus{Tenant: "ten-a", Name: "pear", Status: directory.Enabled}, fault.NotFound, none, nil},
		"status: none":                  {command.SetContextStatus{Tenant: "ten-a", Name: orchard}, fault.Malformed, "status is unknown", nil},
		"delete: unknown":               {command.DeleteContext{Tenant: "ten-a", Name: "pear"}, fault.NotFound, none, nil},
		"delete: of another tenant":     {command.DeleteContext{Tenant: "ten-a", Name: "pear"}, fault.NotFound, none, []command.Command{newContext("ten-b", "pear", keyID("pear", 9))}},
		"delete: version not destroyed": {command.DeleteContext{Tenant: "ten-a", Name: orchard}, fault.Conflict, "is not destroyed", nil},
	})
}

func TestContextChanges(t *testing.T) {
	db := world(t)
	get := func() directory.Context { return *tenantA(db).Context(orchard) }
	before := get()
	edited := func(c *command.ChangeContext) {
		c.Context.Description, c.Context.Enforcement, c.Context.Allowed = "apples", directory.EnforceWarn, []algs.Name{algs.AES256GCM}
		c.Context.MinimumBits, c.Context.QuantumSafe, c.Context.Ciphers, c.Context.Modes = 192, true, []string{"AES"}, []string{"gcm"}
		c.Context.RotationDays, c.Context.RotateAfter, c.Context.SelfService = 90, 1000, true
		c.Context.Layers = &classify.Layers{DataIdentity: classify.DataIdentity{Category: classify.GeneralData, Sensitivity: classify.SensitivityLow}}
	}
	// What the command does not change stays whatever it says.
	stays := func(c *command.ChangeContext) {
		c.Context.Derivation, c.Context.Status, c.Context.CreatedAt = directory.Deterministic, directory.Disabled, 1
		c.Context.ActiveKey, c.Context.Versions, c.Context.MinimumVersion = orchardKey(1, 1), 9, 9
	}
	mustApply(t, db, changeOrchard(edited, stays))
	want := changeOrchard(edited).Context
	want.Derivation, want.Status, want.CreatedAt = before.Derivation, before.Status, before.CreatedAt
	want.ActiveKey, want.Versions, want.MinimumVersion = before.ActiveKey, before.Versions, before.MinimumVersion
	if !reflect.DeepEqual(get(), want) {
		t.Fatalf("%+v", get())
	}
	// Another algorithm comes with its version, which replaces the one before.
	mustApply(t, db, changeOrchard(withVersion, func(c *command.ChangeContext) {
		c.Context.Revision, c.Context.Algorithm, c.Version.Algorithm = 2, algs.AES256GCMSIV, algs.AES256GCMSIV
	}))
	c, a := get(), tenantA(db)
	old, next := a.Version(orchardKey(1, 2)), a.Version(orchardKey(1, 9))
	if c.Algorithm != algs.AES256GCMSIV || c.ActiveKey != next.ID || c.Versions != 3 || c.Revision != 2 || next.State != keys.Active ||
		old.State != keys.Deactivated || old.DeactivatedAt != 3000 {
		t.Fatalf("%+v, %+v, %+v", c, old, next)
	}
	mustApply(t, db, command.SetContextStatus{Tenant: "ten-a", Name: orchard, Status: directory.Disabled})
	want = c
	want.Status = directory.Disabled
	if !reflect.DeepEqual(get(), want) || newView(db, 0).Tenant("ten-b").Context(orchard).Status != directory.Enabled {
		t.Fatalf("%+v", get())
	}
	mustApply(t, db, command.SetContextStatus{Tenant: "ten-a", Name: orchard, Status: directory.Enabled})
	if get().Status != directory.Enabled {
		t.Fatal("it is not enabled again")
	}
}

// TestChangedContextKeepsSuspension: a version that is suspended does not process again by being replaced.
func TestChangedContextKeepsSuspension(t *testing.T) {
	db := world(t)
	mustApply(t, db, move(orchardKey(1, 2), keys.Suspended), changeOrchard(withVersion))
	if v := tenantA(db).Version(orchardKey(1, 2)); v.State != keys.Suspended || v.DeactivatedAt != 0 {
		t.Fatalf("%+v", v)
	}
}

// TestDeleteContextWhenEmpty takes away, one after the other, what keeps the context of everything from being deleted.
func TestDeleteContextWhenEmpty(t *testing.T) {
	db := world(t)
	remove := command.DeleteContext{Tenant: "ten-a", Name: orchard}
	refusedFor := func(text string) {
		t.Helper()
		before := newView(db, 0).Digest()
		if out := applyAll(t, db, remove)[0]; out.Refused != fault.Conflict || !strings.Contains(out.Detail, text) {
			t.Fatalf("%+v, want %s", out, text)
		}
		if newView(db, 0).Digest() != before {
			t.Fatal("a refused command changed the state")
		}
	}
	// A second context with a key and usage of its own is not touched.
	mustApply(t, db, newContext("ten-a", "orchard-two", keyID("orchard-two", 1)), newKey("ten-a", "orchard-two", "other", keyID("orchard-two", 2)),
		command.MergeUsage{Usage: []keys.Usage{{Key: keyID("orchard-two", 1), Tenant: "ten-a", Processed: 1}, {Key: orchardKey(1, 3), Tenant: "ten-a", Processed: 1}}})
	for i := range 3 {
		refusedFor("is not destroyed")
		edit(db, func(txn *memdb.Txn) {
			put(txn, tableVersions, first[keys.Version](txn, tableVersions, indexID, orchardKey(1, i+1)).Destroy(50))
		})
	}
	refusedFor("granted to an application")
	mustApply(t, db, change())
	refusedFor("keys of an imported deployment")
	edit(db, func(txn *memdb.Txn) {
		drop(txn, tableLegacy, first[keys.LegacyKey](txn, tableLegacy, indexID, "ten-a", "key_orchard_a1b2c3d4"))
	})
	// What ten-b has under the same name keeps nothing.
	mustApply(t, db, remove)
	a, b := tenantA(db), newView(db, 0).Tenant("ten-b")
	if a.Context(orchard) != nil || a.Object(press) != nil || len(a.Versions()) != 2 || a.Usage(orchardKey(1, 1)) != nil || a.Usage(orchardKey(1, 3)) != nil {
		t.Fatal("something of the context stays")
	}
	if a.Context("orchard-two") == nil || a.Object("other") == nil || a.Usage(keyID("orchard-two", 1)) == nil || b.Context(orchard) == nil ||
		b.Object(press) == nil || len(b.Versions()) != 3 || b.Usage(orchardKey(2, 1)) == nil {
		t.Fatal("something of another context went")
	}
}

// TestDeleteContextNextToOthers: grants and imported keys of other contexts keep nothing.
func TestDeleteContextNextToOthers(t *testing.T) {
	db := world(t)
	mustApply(t, db, newContext("ten-a", "pear", keyID("pear", 9)))
	edit(db, func(txn *memdb.Txn) {
		put(txn, tableVersions, first[keys.Version](txn, tableVersions, indexID, keyID("pear", 9)).Destroy(50))
	})
	mustApply(t, db, command.DeleteContext{Tenant: "ten-a", Name: "pear"})
	if tenantA(db).Context("pear") != nil || tenantA(db).Context(orchard) == nil {
		t.Fatal("the wrong context went")
	}
}
