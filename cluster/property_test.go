package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
)

func isUnknown(err error) bool { return errors.Is(err, command.ErrUnknown) }

// drawCommand draws a command over few ids, so that many succeed, many conflict and many refer to what others made.
func drawCommand(t *rapid.T) command.Command {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	number := func(label string, high int64) int64 { return rapid.Int64Range(0, high).Draw(t, label) }
	tenant := pick("tenant", "ten-a", "ten-b", "ten-c")
	context := pick("context", "apple", "pear")
	key := keyID(context, int(number("key", 12)))
	user := pick("user", "usr-1", "usr-2")
	app := pick("application", "app-1", "app-2")
	hash := byte(number("hash", 8))
	from := number("from", 50)
	switch rapid.IntRange(1, 15).Draw(t, "type") {
	case 1:
		return newCluster()
	case 2:
		return newTenant(tenant)
	case 3:
		return newContext(tenant, context, key)
	case 4:
		return command.RotateContext{Version: newVersion(tenant, context, uint32(number("number", 4)), key)}
	case 5:
		return newApplication(tenant, app, context)
	case 6:
		return newUser(tenant, user)
	case 7:
		return newSession(tenant, user, hash, from, from+number("life", 20))
	case 8:
		return newRefresh(tenant, app, pick("family", "ref-1", "ref-2"), hash, from, from+number("life", 20))
	case 9:
		return command.RotateRefresh{
			Family: pick("family", "ref-1", "ref-2"), Presented: [32]byte(fill(32, hash)),
			Next: [32]byte(fill(32, byte(number("next", 8)))), At: from, ExpiresAt: from + number("life", 20),
		}
	case 10:
		return imported(newKey(tenant, context, pick("object", "seal", "other"), key))
	case 11:
		return command.RotateKey{Version: newObjectVersion(tenant, context, pick("object", "seal", "other"), uint32(number("number", 4)), key)}
	case 12:
		return command.SetKeyDisabled{Tenant: tenant, Name: pick("object", "seal", "other"), Disabled: rapid.Bool().Draw(t, "disabled")}
	case 13:
		if rapid.Bool().Draw(t, "in the token") {
			return tokenImport(tenant, importHSM, from, from+number("life", 5000))
		}
		return newImport(tenant, pick("import", importOne, importTwo), from, from+number("life", 5000))
	case 14:
		c := newLegacy(tenant, context, pick("legacy", legacyOne, key), uint32(number("master", 2)))
		if rapid.Bool().Draw(t, "with master") {
			c.Masters, c.Import = []keys.LegacyMaster{newMaster(tenant, c.Keys[0].Master)}, importHSM
		}
		return c
	default:
		return command.LeaseUsage{Key: key, Count: uint64(number("count", int64(keys.GCMRandomNonceLimit)))}
	}
}

func testFSM(t interface{ Fatal(...any) }) *fsm {
	key, err := seal.New(secret.New(fill(32, 7)))
	if err != nil {
		t.Fatal(err)
	}
	return newFSM(newEntryKey(key, "cls"), frameKey{key, "cls"})
}

// TestInvariant10ApplyIsPure applies one random log three times: entry by entry, in one batch, and with a snapshot and a
// restore in the middle. State and outcomes are the same, and the records obey the rules that outlast any command.
func TestInvariant10ApplyIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commands := rapid.SliceOfN(rapid.Custom(drawCommand), 1, 60).Draw(t, "commands")
		commands = append([]command.Command{newCluster(), newTenant("ten-a"), newContext("ten-a", "apple", keyID("apple", 0)),
			newApplication("ten-a", "app-1", "apple"), newUser("ten-a", "usr-1")}, commands...)
		one, batch, restored := testFSM(t), testFSM(t), testFSM(t)
		logs := make([]*raft.Log, len(commands))
		for i, c := range commands {
			encoded, err := command.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := one.entries.seal(encoded)
			if err != nil {
				t.Fatal(err)
			}
			logs[i] = &raft.Log{Index: uint64(i + 1), Type: raft.LogCommand, Data: sealed}
		}
		var singly []any
		for _, l := range logs {
			singly = append(singly, one.Apply(l))
		}
		together := batch.ApplyBatch(logs)
		if a, b := fmt.Sprint(singly), fmt.Sprint(together); a != b {
			t.Fatalf("outcomes differ:\n%s\n%s", a, b)
		}
		half := rapid.IntRange(0, len(logs)).Draw(t, "half")
		for _, l := range logs[:half] {
			restored.Apply(l)
		}
		restored = roundTrip(t, restored)
		for _, l := range logs[half:] {
			restored.Apply(l)
		}
		a, b, c := one.view.Load(), batch.view.Load(), restored.view.Load()
		if a.Digest() != b.Digest() || a.Digest() != c.Digest() || a.applied != b.applied || a.applied != c.applied {
			t.Fatalf("digests %x, %x, %x at %d, %d, %d", a.Digest(), b.Digest(), c.Digest(), a.applied, b.applied, c.applied)
		}
		checkRules(t, a)
	})
}

// roundTrip writes a snapshot and restores it into a new state machine.
func roundTrip(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, f *fsm) *fsm {
	var b bytes.Buffer
	before := f.view.Load()
	if err := writeSnapshot(&b, f.frames, before, &raft.SnapshotMeta{Index: 9, Term: 1}); err != nil {
		t.Fatal(err)
	}
	next := testFSM(t)
	if err := next.Restore(nopCloser{&b}); err != nil {
		t.Fatal(err)
	}
	after := next.view.Load()
	if after.Digest() != before.Digest() || after.applied != before.applied {
		t.Fatalf("the restored state is another: %x at %d, not %x at %d", after.Digest(), after.applied, before.Digest(), before.applied)
	}
	return next
}

type nopCloser struct{ *bytes.Buffer }

func (nopCloser) Close() error { return nil }

func checkRules(t *rapid.T, v *View) {
	for _, id := range []string{"ten-a", "ten-b", "ten-c"} {
		tenant := v.Tenant(id)
		for _, c := range tenant.Contexts() {
			active := 0
			versions := all[keys.Version](v.txn, tableVersions, indexContext, id, c.Name)
			versions = slices.DeleteFunc(versions, func(k *keys.Version) bool { return k.Object != "" })
			for _, k := range versions {
				if err := k.Validate(); err != nil {
					t.Fatal(err)
				}
				if k.State == keys.Active {
					active++
					if c.ActiveKey != k.ID {
						t.Fatalf("%s is active and not the key of %s", k.ID, c.Name)
					}
				}
			}
			if active != 1 || len(versions) != int(c.Versions) {
				t.Fatalf("context %s: %d active of %d versions, counter %d", c.Name, active, len(versions), c.Versions)
			}
		}
		for _, o := range tenant.Objects() {
			if err := o.Validate(); err != nil {
				t.Fatal(err)
			}
			active := 0
			versions := tenant.ObjectVersions(o.Name)
			for _, k := range versions {
				if err := k.Validate(); err != nil {
					t.Fatal(err)
				}
				if k.State == keys.Active {
					active++
				}
			}
			if active != 1 || len(versions) != int(o.Versions) || tenant.Version(o.ActiveKey).State != keys.Active {
				t.Fatalf("key %s: %d active of %d versions, counter %d", o.Name, active, len(versions), o.Versions)
			}
		}
	}
}
