package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
)

func isUnknown(err error) bool { return errors.Is(err, command.ErrUnknown) }

func testFSM(t interface{ Fatal(...any) }) *fsm {
	key, err := seal.New(secret.New(fill(32, 7)))
	if err != nil {
		t.Fatal(err)
	}
	return newFSM("node-1", nil, newEntryKey(key, "cls"), frameKey{key, "cls"})
}

// TestInvariant10ApplyIsPure applies one random log three times: entry by entry, in one batch, and with a snapshot and a
// restore in the middle. State and outcomes are the same, and the records obey the rules that outlast any command.
func TestInvariant10ApplyIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commands := beginning()
		scratch := newState()
		for i, c := range commands {
			applyOne(t, scratch, uint64(i+1), c)
		}
		for range 40 + choose(t, "length", 64) {
			c := drawCommand(t, newView(scratch, 0))
			commands = append(commands, c)
			applyOne(t, scratch, uint64(len(commands)), c)
		}
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
		owned := map[string]bool{}
		for _, l := range logs {
			singly = append(singly, one.Apply(l))
			checkOwners(t, one.view.Load(), owned)
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

// beginning is what every drawn log begins with, so that acts, approvals and guarded commands find what they are about.
func beginning() []command.Command {
	return []command.Command{
		newCluster(), newTenant("ten-a"), newContext("ten-a", "apple", keyID("apple", 0)), rotation(2, 1),
		newApplication("ten-a", "app-1", "apple"), newUser("ten-a", "usr-1"), newUser("ten-a", "usr-2"), newUser("ten-a", "usr-3"),
		newSession("ten-a", "usr-1", 1, 0, 60), newSession("ten-a", "usr-2", 2, 0, 60), newSession("ten-a", "usr-3", 3, 0, 60),
		settings(1, rule(directory.ActDestroyKey, 1), rule(directory.ActDeleteTenant, 2)),
	}
}

// applyOne applies a command as a log entry brings it.
func applyOne(t *rapid.T, db *memdb.MemDB, index uint64, c command.Command) command.Outcome {
	decoded, err := command.Decode(encoded(c))
	if err != nil {
		t.Fatal(err)
	}
	txn := db.Txn(true)
	defer txn.Commit()
	return applyEntry(txn, index, decoded)
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

// checkOwners: a tenant that has had an enabled owner has one until it is deleted.
func checkOwners(t *rapid.T, v *View, owned map[string]bool) {
	for _, id := range []string{"ten-a", "ten-b", "ten-c"} {
		tenant := v.Tenant(id)
		has := slices.ContainsFunc(tenant.Users(), func(u *directory.User) bool {
			return u.Status == directory.Enabled && u.Has(directory.Owner)
		})
		if owned[id] && !has && tenant.Record() != nil {
			t.Fatalf("%s has no owner any more", id)
		}
		owned[id] = has
	}
}

// checkRules looks at what is true of every state.
func checkRules(t *rapid.T, v *View) {
	for _, id := range []string{"ten-a", "ten-b", "ten-c"} {
		tenant := v.Tenant(id)
		if r := tenant.Record(); r != nil && r.DeleteAt != 0 && r.Status != directory.Disabled {
			t.Fatalf("%s waits for its deletion and is %s", id, r.Status)
		}
		for _, k := range tenant.Versions() {
			checkVersion(t, tenant, k)
		}
		for _, c := range tenant.Contexts() {
			checkOwner(t, c.Name, c.ActiveKey, c.Versions, tenant.ContextVersions(c.Name))
		}
		for _, o := range tenant.Objects() {
			if err := o.Validate(); err != nil {
				t.Fatal(err)
			}
			checkOwner(t, o.Name, o.ActiveKey, o.Versions, tenant.ObjectVersions(o.Name))
		}
		for _, a := range tenant.Approvals() {
			checkApproval(t, tenant, a)
		}
	}
	checkMembers(t, v)
	for _, s := range all[directory.Session](v.txn, tableSessions, indexID) {
		if u := v.Tenant(s.Tenant).User(s.User); u == nil || u.Status != directory.Enabled {
			t.Fatalf("a session of %s, who is %+v", s.User, u)
		}
	}
	for _, d := range all[directory.Device](v.txn, tableDevices, indexID) {
		if d.State == directory.DeviceApproved && (v.Tenant(d.Tenant).User(d.User) == nil || v.Tenant(d.Tenant).User(d.User).Status != directory.Enabled) {
			t.Fatalf("a sign-in approved by %s, who is not there", d.User)
		}
	}
	for _, table := range tables[1:] {
		for it, err := v.txn.Get(table.name, indexID); ; {
			if err != nil {
				t.Fatal(err)
			}
			r := it.Next()
			if r == nil {
				break
			}
			checkBelongs(t, v, r)
		}
	}
}

// checkMembers: a cluster that has members has an active one, two of which never share an address, and each knows what is written.
func checkMembers(t *rapid.T, v *View) {
	active, addresses := 0, map[string]bool{}
	for _, m := range v.Members() {
		if (m.Status == directory.MemberRemoved) != (m.RemovedAt != 0) {
			t.Fatalf("%+v", m)
		}
		if m.Status != directory.MemberActive {
			continue
		}
		if active++; addresses[m.Address] || m.CommandVersion < v.Cluster().Commands() {
			t.Fatalf("%+v", m)
		}
		addresses[m.Address] = true
	}
	if active == 0 && len(v.Members()) > 0 {
		t.Fatal("the cluster has no active member any more")
	}
}

// checkBelongs: no record outlasts its tenant, but the number of a master key.
func checkBelongs(t *rapid.T, v *View, record any) {
	field := reflect.ValueOf(record).Elem().FieldByName("Tenant")
	if !field.IsValid() || field.String() == "" {
		return
	}
	if v.Tenant(field.String()).Record() == nil {
		t.Fatalf("a record of no tenant: %+v", record)
	}
}

// checkOwner: at most one version of a context, or of a key, is active, and it is the one that it names.
func checkOwner(t *rapid.T, name, active string, count uint32, versions []*keys.Version) {
	named := false
	for _, k := range versions {
		named = named || k.ID == active
		if k.State == keys.Active && k.ID != active {
			t.Fatalf("%s is active and not the key of %s", k.ID, name)
		}
	}
	if !named || len(versions) != int(count) {
		t.Fatalf("%s: %d versions, counter %d, names its key: %v", name, len(versions), count, named)
	}
}

func checkVersion(t *rapid.T, tenant *TenantView, k *keys.Version) {
	if err := k.Validate(); err != nil {
		t.Fatal(err)
	}
	if k.State == keys.Destroyed && (len(k.Salt)+len(k.Sealed)+len(k.Wrapped) != 0 || k.DestroyedAt == 0) {
		t.Fatalf("a destroyed version holds material: %+v", k)
	}
	if tenant.Context(k.Context) == nil || k.Object != "" && tenant.Object(k.Object) == nil {
		t.Fatalf("a version of nothing: %+v", k)
	}
}

func checkApproval(t *rapid.T, tenant *TenantView, a *directory.Approval) {
	users := map[string]bool{a.Requester: true}
	for _, d := range a.Decisions {
		if users[d.User] {
			t.Fatalf("%s has decided twice, or about his own request: %+v", d.User, a)
		}
		users[d.User] = true
		if u := tenant.User(d.User); a.State == directory.ApprovalPending && (u == nil || u.Status != directory.Enabled || !d.Approve) {
			t.Fatalf("a decision that does not count: %+v", a)
		}
	}
	if a.State == directory.ApprovalExecuted && len(a.Decisions) < int(a.Required) {
		t.Fatalf("done with too few approvals: %+v", a)
	}
}
