package cluster

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

func settings(revision uint32, rules ...directory.ApprovalRule) command.ChangeSettings {
	return command.ChangeSettings{Tenant: "ten-a", Settings: directory.Settings{Approvals: rules, Revision: revision}}
}

func rule(act directory.Act, approvers uint8) directory.ApprovalRule {
	return directory.ApprovalRule{Act: act, Approvers: approvers}
}

func deletion(at, wait int64) command.ScheduleTenantDeletion {
	return command.ScheduleTenantDeletion{Tenant: "ten-a", At: at, Wait: wait}
}

var cancelDeletion = command.ScheduleTenantDeletion{Tenant: "ten-a", At: 1, Cancel: true}

func TestTenantsRefuse(t *testing.T) {
	refuses(t, map[string]refusal{
		"create: begins with its deletion": {
			changed(newTenant("ten-z"), func(c *command.CreateTenant) { c.Tenant.DeleteAt = 1 }), fault.Malformed, "begins with its deletion", nil,
		},
		"create: bad settings": {
			changed(newTenant("ten-z"), func(c *command.CreateTenant) { c.Tenant.Settings = &directory.Settings{DestroyWait: -1} }),
			fault.Malformed, "settings that are not valid", nil,
		},

		"status: unknown tenant":  {command.SetTenantStatus{Tenant: "ten-z", Status: directory.Enabled}, fault.NotFound, "tenant does not exist", nil},
		"status: none":            {command.SetTenantStatus{Tenant: "ten-a"}, fault.Malformed, "status is unknown", nil},
		"status: of later":        {command.SetTenantStatus{Tenant: "ten-a", Status: 3}, fault.Malformed, "status is unknown", nil},
		"status: waits for death": {command.SetTenantStatus{Tenant: "ten-a", Status: directory.Enabled}, fault.Conflict, "cancel that first", []command.Command{deletion(1, 5)}},

		"schedule: unknown tenant": {command.ScheduleTenantDeletion{Tenant: "ten-z", At: 1}, fault.NotFound, "tenant does not exist", nil},
		"schedule: twice":          {deletion(1, 5), fault.Conflict, "already as asked", []command.Command{deletion(1, 5)}},
		"schedule: no time":        {deletion(0, 5), fault.Malformed, "no valid time", nil},
		"schedule: negative wait":  {deletion(1, -1), fault.Malformed, "no valid time", nil},
		"schedule: endless wait":   {deletion(2, math.MaxInt64-1), fault.Malformed, "no valid time", nil},
		"cancel: not scheduled":    {cancelDeletion, fault.Conflict, "already as asked", nil},

		"delete: unknown tenant": {command.DeleteTenant{Tenant: "ten-z", At: 100}, fault.NotFound, "tenant does not exist", nil},
		"delete: not scheduled":  {command.DeleteTenant{Tenant: "ten-a", At: 100}, fault.Conflict, "not due", nil},
		"delete: too early":      {command.DeleteTenant{Tenant: "ten-a", At: 14}, fault.Conflict, "not due", []command.Command{deletion(10, 5)}},
		"delete: cancelled":      {command.DeleteTenant{Tenant: "ten-a", At: 100}, fault.Conflict, "not due", []command.Command{deletion(10, 5), cancelDeletion}},

		"settings: unknown tenant": {changed(settings(1), func(c *command.ChangeSettings) { c.Tenant = "ten-z" }), fault.NotFound, "tenant does not exist", nil},
		"settings: not valid":      {settings(2, rule("tea.make", 1)), fault.Malformed, "settings are not valid", nil},
		"settings: same revision":  {settings(1), fault.Conflict, "changed in between", nil},
		"settings: two later":      {settings(3), fault.Conflict, "changed in between", nil},
		"settings: twice":          {settings(2), fault.Conflict, "changed in between", []command.Command{settings(2)}},
	})
}

func TestTenantStatusAndDeletion(t *testing.T) {
	db := world(t)
	record := func() directory.Tenant { return *tenantA(db).Record() }
	mustApply(t, db, command.SetTenantStatus{Tenant: "ten-a", Status: directory.Disabled})
	if record().Status != directory.Disabled {
		t.Fatal("it is not disabled")
	}
	mustApply(t, db, command.SetTenantStatus{Tenant: "ten-a", Status: directory.Enabled}, deletion(10, 5))
	if r := record(); r.Status != directory.Disabled || r.DeleteAt != 15 {
		t.Fatalf("scheduled: %+v", r)
	}
	mustApply(t, db, command.SetTenantStatus{Tenant: "ten-a", Status: directory.Disabled}, cancelDeletion)
	if r := record(); r.Status != directory.Disabled || r.DeleteAt != 0 || r.Settings == nil {
		t.Fatalf("cancelled: %+v", r)
	}
	mustApply(t, db, command.SetTenantStatus{Tenant: "ten-a", Status: directory.Enabled}, deletion(1, math.MaxInt64-1))
	if r := record(); r.DeleteAt != math.MaxInt64 {
		t.Fatalf("the longest wait: %+v", r)
	}
}

func TestSettingsChange(t *testing.T) {
	db := world(t)
	fresh := changed(newTenant("ten-z"), func(c *command.CreateTenant) { c.Tenant.Settings = &directory.Settings{DestroyWait: 5, Revision: 4} })
	mustApply(t, db, settings(2, rule(directory.ActChangeSettings, 1)), fresh,
		command.ChangeSettings{Tenant: "ten-z", Settings: directory.Settings{DestroyWait: 7, Revision: 5}})
	if s := tenantA(db).Record().Of(); s.Revision != 2 || s.Approvers(directory.ActDestroyKey) != 0 || s.Approvers(directory.ActChangeSettings) != 1 {
		t.Fatalf("%+v", s)
	}
	if s := newView(db, 0).Tenant("ten-z").Record().Of(); s.Wait() != 7 {
		t.Fatalf("%+v", s)
	}
}

// TestDeleteTenantLeavesNothing: of a tenant that had everything no table holds an id or a name afterwards, and what belongs to
// another tenant is as it was.
func TestDeleteTenantLeavesNothing(t *testing.T) {
	db := world(t)
	mustApply(t, db, deletion(10, 5))
	before := holding(t, db, "ten-a")
	ofNoTenant := []string{tableCluster, tableMembers, tableJoinCodes, tableJoins, tableBackupRuns, tableAnswered}
	for _, table := range tables {
		if before[table.name] == 0 && !slices.Contains(ofNoTenant, table.name) {
			t.Errorf("everything has no record in %s: this test would not see one that stays", table.name)
		}
	}
	others := map[string][]byte{}
	eachRecord(t, db, func(table string, _ any, data []byte) {
		if !bytes.Contains(data, []byte("ten-a")) {
			others[table] = append(others[table], data...)
		}
	})
	mustApply(t, db, command.DeleteTenant{Tenant: "ten-a", At: 15})
	if left := holding(t, db, "ten-a"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	after := map[string][]byte{}
	eachRecord(t, db, func(table string, r any, data []byte) {
		if m, ok := r.(*keys.LegacyMaster); ok && m.Number == 1 {
			if m.Tenant != "" || m.Wrapped != nil {
				t.Errorf("the number of a master key keeps more than that: %+v", m)
			}
			return
		}
		after[table] = append(after[table], data...)
	})
	for _, table := range tables {
		if !bytes.Equal(others[table.name], after[table.name]) {
			t.Errorf("records of others in %s have changed", table.name)
		}
	}
	// The number of the master key stays taken, and belongs to nobody.
	v := newView(db, 0)
	if v.LegacyMasters() != 2 || v.Tenant("").LegacyMaster(1) != nil || v.Tenant("").LegacyMasters() != nil {
		t.Error("the number of a master key is free again, or somebody's")
	}
	// The same names and ids serve again.
	again := everything("ten-a", 3)
	mustApply(t, db, again...)
}

// TestUsageOfDeletedVersionsGoes also for the versions of key objects.
func TestUsageOfDeletedVersionsGoes(t *testing.T) {
	db := world(t)
	mustApply(t, db, command.MergeUsage{Usage: []keys.Usage{{Key: orchardKey(1, 3), Tenant: "ten-a", Processed: 1}}},
		deletion(10, 5), command.DeleteTenant{Tenant: "ten-a", At: 16})
	if left := holding(t, db, "ten-a"); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
}

// TestActsNeedApproval: what a tenant's settings want, no command goes around.
func TestActsNeedApproval(t *testing.T) {
	wanted := settings(2, rule(directory.ActDestroyKey, 1), rule(directory.ActDeleteTenant, 1), rule(directory.ActChangeSettings, 1))
	for name, c := range map[string]struct{ act, cancel command.Command }{
		"destroy key":     {destruction("ten-a", orchardKey(1, 1)), command.ScheduleDestruction{Tenant: "ten-a", Key: orchardKey(1, 1), At: 1, Cancel: true}},
		"delete tenant":   {deletion(1, 5), cancelDeletion},
		"change settings": {settings(3), nil},
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, wanted)
			before := newView(db, 0).Digest()
			for _, act := range []command.Command{c.act, byOwner(c.act)} {
				if out := applyAll(t, db, act)[0]; out.Refused != fault.Forbidden || out.Detail != "the act needs approval" {
					t.Fatalf("%T: %+v", act, out)
				}
			}
			if newView(db, 0).Digest() != before {
				t.Fatal("a refused command changed the state")
			}
			if c.cancel == nil {
				return
			}
			// To take an act back needs none: it is refused because there is nothing to take back.
			if out := applyAll(t, db, c.cancel)[0]; out.Refused != fault.Conflict {
				t.Fatalf("%+v", out)
			}
		})
	}
	// Another tenant's settings do not count.
	db := world(t)
	mustApply(t, db, wanted, command.ScheduleTenantDeletion{Tenant: "ten-b", At: 1})
}
