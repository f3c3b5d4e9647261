package cluster

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// move takes a version of ten-a to another state at 500.
func move(key string, to keys.State) command.SetVersionState {
	return command.SetVersionState{Tenant: "ten-a", Key: key, State: to, At: 500, Reason: "told so"}
}

func destroy(key string, at int64) command.DestroyVersion {
	return command.DestroyVersion{Tenant: "ten-a", Key: key, At: at}
}

func cancelled(key string) command.ScheduleDestruction {
	return command.ScheduleDestruction{Tenant: "ten-a", Key: key, At: 100, Cancel: true}
}

// noApprovals lets ten-a destroy keys without approval.
var noApprovals = settings(2)

func TestLifecycleRefuses(t *testing.T) {
	old, active, object := orchardKey(1, 1), orchardKey(1, 2), orchardKey(1, 3)
	long := strings.Repeat("r", maxKeyReason+1)
	schedule := func(f func(*command.ScheduleDestruction)) command.Command {
		return changed(destruction("ten-a", old), f)
	}
	state := func(f func(*command.SetVersionState)) command.Command {
		return changed(move(active, keys.Suspended), f)
	}
	free := []command.Command{noApprovals}
	scheduled := []command.Command{noApprovals, destruction("ten-a", old)}
	const none, notDue, asAsked = "key version does not exist", "not due to be destroyed", "already as asked"
	minimum := func(context, object string, n uint32) command.SetMinimumVersion {
		return command.SetMinimumVersion{Tenant: "ten-a", Context: context, Object: object, Minimum: n}
	}
	refuses(t, map[string]refusal{
		"state: unknown version":  {move(orchardKey(9, 9), keys.Suspended), fault.NotFound, none, nil},
		"state: of ten-b":         {move(orchardKey(2, 2), keys.Suspended), fault.NotFound, none, nil},
		"state: no time":          {state(func(c *command.SetVersionState) { c.At = 0 }), fault.Malformed, "or the time missing", nil},
		"state: long reason":      {state(func(c *command.SetVersionState) { c.Reason = long }), fault.Malformed, "reason is too long", nil},
		"state: the same":         {move(active, keys.Active), fault.KeyState, "cannot become", nil},
		"state: destroyed":        {move(old, keys.Destroyed), fault.KeyState, "cannot become", nil},
		"resume: replaced":        {move(active, keys.Active), fault.KeyState, "another version protects", []command.Command{move(active, keys.Suspended), changeOrchard(withVersion)}},
		"resume: replaced object": {move(object, keys.Active), fault.KeyState, "another version protects", []command.Command{move(object, keys.Suspended), command.RotateKey{Version: newObjectVersion("ten-a", orchard, press, 2, orchardKey(1, 9))}}},

		"schedule: unknown version": {schedule(func(c *command.ScheduleDestruction) { c.Key = orchardKey(9, 9) }), fault.NotFound, none, free},
		"schedule: of ten-b":        {destruction("ten-a", orchardKey(2, 1)), fault.NotFound, none, free},
		"schedule: no time":         {schedule(func(c *command.ScheduleDestruction) { c.At = 0 }), fault.Malformed, "the time not valid", free},
		"schedule: negative wait":   {schedule(func(c *command.ScheduleDestruction) { c.Wait = -1 }), fault.Malformed, "the time not valid", free},
		"schedule: endless wait":    {schedule(func(c *command.ScheduleDestruction) { c.Wait = math.MaxInt64 - 99 }), fault.Malformed, "the time not valid", free},
		"schedule: long reason":     {schedule(func(c *command.ScheduleDestruction) { c.Reason = long }), fault.Malformed, "reason is too long", free},
		"schedule: twice":           {destruction("ten-a", old), fault.Conflict, asAsked, scheduled},
		"schedule: active":          {destruction("ten-a", active), fault.KeyState, "cannot be destroyed", free},
		"schedule: suspended":       {destruction("ten-a", active), fault.KeyState, "cannot be destroyed", []command.Command{noApprovals, move(active, keys.Suspended)}},
		"schedule: destroyed":       {destruction("ten-a", old), fault.KeyState, "cannot be destroyed", append(slices.Clone(scheduled), destroy(old, 1100))},
		"cancel: not scheduled":     {cancelled(old), fault.Conflict, asAsked, nil},
		"cancel: twice":             {cancelled(old), fault.Conflict, asAsked, append(slices.Clone(scheduled), cancelled(old))},
		"cancel: destroyed":         {cancelled(old), fault.Conflict, asAsked, append(slices.Clone(scheduled), destroy(old, 1100))},

		"destroy: unknown version": {destroy(orchardKey(9, 9), 5000), fault.NotFound, none, nil},
		"destroy: of ten-b":        {destroy(orchardKey(2, 1), 5000), fault.NotFound, none, nil},
		"destroy: not scheduled":   {destroy(old, 5000), fault.Conflict, notDue, free},
		"destroy: too early":       {destroy(old, 1099), fault.Conflict, notDue, scheduled},
		"destroy: cancelled":       {destroy(old, 5000), fault.Conflict, notDue, append(slices.Clone(scheduled), cancelled(old))},
		"destroy: twice":           {destroy(old, 5000), fault.Conflict, notDue, append(slices.Clone(scheduled), destroy(old, 1100))},

		"minimum: no context":        {minimum("pear", "", 1), fault.NotFound, "context does not exist", nil},
		"minimum: none so high":      {minimum(orchard, "", 3), fault.Conflict, "no such version", nil},
		"minimum: no key":            {minimum(orchard, "none", 1), fault.NotFound, "key does not exist", nil},
		"minimum: key, none so high": {minimum(orchard, press, 2), fault.Conflict, "no such version", nil},
		"rotation: no key":           {command.SetKeyRotation{Tenant: "ten-a", Name: "none", Days: 1}, fault.NotFound, "key does not exist", nil},
		"key: closes its version": {changed(newKey("ten-a", orchard, "other", orchardKey(1, 9)), func(c *command.CreateKey) {
			c.Object.MinimumVersion = 2
		}), fault.Malformed, "closes it", nil},
		"key: version due to end": {changed(newKey("ten-a", orchard, "other", orchardKey(1, 9)), func(c *command.CreateKey) {
			c.Version.DestroyAt = 1
		}), fault.Malformed, "not active and unused", nil},
	})
}

// allStates are the states that a record can have.
var allStates = []keys.State{keys.PreActivation, keys.Active, keys.Suspended, keys.Deactivated, keys.Compromised, keys.Destroyed}

// inState is a world in which the newest version of the context, or of the key, has a state, and is or is not the active one
// of its owner.
func inState(t *testing.T, key string, s keys.State) *memdb.MemDB {
	t.Helper()
	db := world(t)
	mustApply(t, db, noApprovals)
	edit(db, func(txn *memdb.Txn) {
		v := first[keys.Version](txn, tableVersions, indexID, key)
		if s == keys.Destroyed {
			put(txn, tableVersions, v.Destroy(50))
			return
		}
		next := *v
		next.State, next.DeactivatedAt = s, 0
		put(txn, tableVersions, &next)
	})
	return db
}

// TestVersionStates is the whole table of states and commands, for a context's key and a key object's: SP 800-57 part 1,
// section 7.2. What it does not list is refused and changes nothing.
func TestVersionStates(t *testing.T) {
	const toActive, toSuspended, toDeactivated, toCompromised, schedule = "active", "suspended", "deactivated", "compromised", "schedule"
	allowed := map[keys.State][]string{
		keys.PreActivation: {toActive, toCompromised, schedule},
		keys.Active:        {toSuspended, toDeactivated, toCompromised},
		keys.Suspended:     {toActive, toDeactivated, toCompromised},
		keys.Deactivated:   {toCompromised, schedule},
		keys.Compromised:   {schedule},
		keys.Destroyed:     {},
	}
	for _, key := range []string{orchardKey(1, 2), orchardKey(1, 3)} {
		commands := map[string]command.Command{
			"unknown": move(key, keys.StateUnknown), "pre-activation": move(key, keys.PreActivation), toActive: move(key, keys.Active),
			toSuspended: move(key, keys.Suspended), toDeactivated: move(key, keys.Deactivated), toCompromised: move(key, keys.Compromised),
			"destroyed": move(key, keys.Destroyed), "no state": move(key, 7), schedule: destruction("ten-a", key),
			"destroy": destroy(key, 5000),
		}
		for _, state := range allStates {
			for name, c := range commands {
				t.Run(fmt.Sprintf("%s/%s/%s", key, state, name), func(t *testing.T) {
					db := inState(t, key, state)
					before, digest := *tenantA(db).Version(key), newView(db, 0).Digest()
					out := applyAll(t, db, c)[0]
					if !slices.Contains(allowed[state], name) {
						if out.Refused != fault.KeyState && (name != "destroy" || out.Refused != fault.Conflict) || newView(db, 0).Digest() != digest {
							t.Fatalf("%+v", out)
						}
						return
					}
					want := before
					switch name {
					case schedule:
						want.DestroyAt, want.Reason = 1100, "because"
					default:
						want.State, want.Reason = c.(command.SetVersionState).State, "told so"
						if want.State == keys.Deactivated {
							want.DeactivatedAt = 500
						}
					}
					if got := *tenantA(db).Version(key); out.Refused != 0 || !reflect.DeepEqual(got, want) {
						t.Fatalf("%+v, %+v", out, got)
					}
				})
			}
		}
	}
}

// TestScheduledVersions: one that waits for its end may still be marked as compromised, and goes at its time, not before.
func TestScheduledVersions(t *testing.T) {
	db := world(t)
	old := orchardKey(1, 1)
	get := func() *keys.Version { return tenantA(db).Version(old) }
	mustApply(t, db, noApprovals, destruction("ten-a", old))
	if v := get(); v.DestroyAt != 1100 || v.Reason != "because" || v.Allows(keys.Process, true) || len(v.Salt) == 0 {
		t.Fatalf("%+v", v)
	}
	mustApply(t, db, cancelled(old))
	if v := get(); v.DestroyAt != 0 || !v.Allows(keys.Process, false) {
		t.Fatalf("%+v", v)
	}
	mustApply(t, db, destruction("ten-a", old), move(old, keys.Compromised))
	if v := get(); v.DestroyAt != 1100 || v.State != keys.Compromised {
		t.Fatalf("%+v", v)
	}
	mustApply(t, db, destroy(old, 1100))
	v := get()
	if v.State != keys.Destroyed || v.DestroyedAt != 1100 || v.DestroyAt != 0 || len(v.Salt) != 0 || v.Reason != "told so" || v.Validate() != nil {
		t.Fatalf("%+v", v)
	}
	if c := tenantA(db).Context(orchard); c.ActiveKey != orchardKey(1, 2) || c.Versions != 2 {
		t.Fatalf("%+v", c)
	}
}

// TestLongestWait: a waiting period may be as long as time goes, and no longer: the sum would be in the past.
func TestLongestWait(t *testing.T) {
	db := world(t)
	mustApply(t, db, noApprovals, changed(destruction("ten-a", orchardKey(1, 1)), func(c *command.ScheduleDestruction) {
		c.Wait = math.MaxInt64 - 100
	}))
	if out := applyAll(t, db, destroy(orchardKey(1, 1), math.MaxInt64-1))[0]; out.Refused != fault.Conflict {
		t.Fatalf("%+v", out)
	}
	// No wait at all is due at once.
	mustApply(t, db, cancelled(orchardKey(1, 1)), changed(destruction("ten-a", orchardKey(1, 1)), func(c *command.ScheduleDestruction) { c.Wait = 0 }),
		destroy(orchardKey(1, 1), 100))
}

// TestDestructionLooksAtTheState: no command leaves a version that is due in a state that cannot end; the rule does not rely
// on it.
func TestDestructionLooksAtTheState(t *testing.T) {
	for _, s := range []keys.State{keys.Active, keys.Suspended} {
		db := inState(t, orchardKey(1, 2), s)
		edit(db, func(txn *memdb.Txn) {
			v := *first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 2))
			v.DestroyAt = 10
			put(txn, tableVersions, &v)
		})
		if out := applyAll(t, db, destroy(orchardKey(1, 2), 20))[0]; out.Refused != fault.Conflict {
			t.Fatalf("%s: %+v", s, out)
		}
	}
}

// TestDestructionOfEachKind: of a salted, a deterministic and a stored key nothing secret is left in any record.
func TestDestructionOfEachKind(t *testing.T) {
	deterministic := changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) {
		c.Context.Derivation, c.Version.Salt = directory.Deterministic, nil
	})
	wrapped := newKey("ten-a", orchard, "wrapped", orchardKey(1, 8))
	wrapped.Object.Protection, wrapped.Version.Wrapped, wrapped.Version.Sealed = keys.Token, wrapped.Version.Sealed, nil
	for name, key := range map[string]string{
		"salted": orchardKey(1, 2), "deterministic": keyID("pear", 9), "sealed": orchardKey(1, 3), "wrapped": orchardKey(1, 8),
	} {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, noApprovals, deterministic, wrapped)
			before := *tenantA(db).Version(key)
			mustApply(t, db, move(key, keys.Compromised), destruction("ten-a", key), destroy(key, 1100))
			v := tenantA(db).Version(key)
			if v.State != keys.Destroyed || len(v.Salt)+len(v.Sealed)+len(v.Wrapped) != 0 || v.Validate() != nil || v.Number != before.Number {
				t.Fatalf("%+v", v)
			}
			for _, secret := range [][]byte{before.Sealed, before.Wrapped} {
				if len(secret) == 0 {
					continue
				}
				// ten-b's key of the same name has the same bytes in this test: only ten-a's records count.
				eachRecord(t, db, func(table string, r any, data []byte) {
					if strings.Contains(string(data), "ten-a") && table == tableVersions && strings.Contains(string(data), key) &&
						strings.Contains(string(data), string(secret)) {
						t.Errorf("%s: %+v", table, r)
					}
				})
			}
			// Its owner is still there, and rotation goes on.
			if name == "deterministic" {
				next := newVersion("ten-a", "pear", 2, keyID("pear", 10))
				next.Salt = nil
				mustApply(t, db, command.RotateContext{Version: next})
			}
		})
	}
}

func TestMinimumVersionAndRotation(t *testing.T) {
	db := world(t)
	before := *tenantA(db).Context(orchard)
	mustApply(t, db, command.SetMinimumVersion{Tenant: "ten-a", Context: orchard, Minimum: 2})
	want := before
	want.MinimumVersion = 2
	if got := *tenantA(db).Context(orchard); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v", got)
	}
	object := *tenantA(db).Object(press)
	mustApply(t, db, command.SetMinimumVersion{Tenant: "ten-a", Context: orchard, Object: press, Minimum: 1},
		command.SetMinimumVersion{Tenant: "ten-a", Context: orchard}, command.SetKeyRotation{Tenant: "ten-a", Name: press, Days: 30})
	object.MinimumVersion, object.RotationDays = 1, 30
	if got := *tenantA(db).Object(press); !reflect.DeepEqual(got, object) {
		t.Fatalf("%+v", got)
	}
	if got := tenantA(db).Context(orchard).MinimumVersion; got != 0 {
		t.Fatalf("the minimum of the context is %d", got)
	}
	if b := newView(db, 0).Tenant("ten-b"); b.Context(orchard).MinimumVersion != 0 || b.Object(press).RotationDays != 0 {
		t.Fatal("another tenant's key changed")
	}
}

// TestUsageMerges adds up what nodes tell, and skips what is gone or is another tenant's.
func TestUsageMerges(t *testing.T) {
	db := world(t)
	mustApply(t, db, command.MergeUsage{Usage: []keys.Usage{
		{Key: orchardKey(1, 1), Tenant: "ten-a", Protected: 1, Processed: 2, LastProtect: 20, LastProcess: 50},
		{Key: orchardKey(9, 9), Tenant: "ten-a", Protected: 1},
		{Key: orchardKey(2, 1), Tenant: "ten-a", Protected: 1},
		{Key: orchardKey(1, 2), Tenant: "ten-a", Processed: 3, LastProcess: 60},
		{Key: orchardKey(1, 2), Tenant: "ten-a", Processed: 4, LastProcess: 55},
	}})
	v := newView(db, 0)
	a, b := v.Tenant("ten-a"), v.Tenant("ten-b")
	if got := *a.Usage(orchardKey(1, 1)); got != (keys.Usage{Key: orchardKey(1, 1), Tenant: "ten-a", Protected: 8, Processed: 2, LastProtect: 30, LastProcess: 50}) {
		t.Errorf("%+v", got)
	}
	if got := *a.Usage(orchardKey(1, 2)); got != (keys.Usage{Key: orchardKey(1, 2), Tenant: "ten-a", Processed: 7, LastProcess: 60}) {
		t.Errorf("%+v", got)
	}
	if a.Usage(orchardKey(9, 9)) != nil || b.Usage(orchardKey(2, 1)).Protected != 7 {
		t.Error("usage of a version that is not there, or of another tenant's")
	}
}

// TestLeaseOfAScheduledVersion: it protects nothing, so nothing is drawn for it.
func TestLeaseOfAScheduledVersion(t *testing.T) {
	db := world(t)
	edit(db, func(txn *memdb.Txn) {
		v := *first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 2))
		v.DestroyAt = 1
		put(txn, tableVersions, &v)
	})
	if out := applyAll(t, db, command.LeaseUsage{Key: orchardKey(1, 2), Count: 5})[0]; out != (command.Outcome{}) {
		t.Fatalf("%+v", out)
	}
}
