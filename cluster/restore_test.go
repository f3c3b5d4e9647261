package cluster

import (
	"bytes"
	"testing"
	"time"

	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

func manifestOf(b *Backup) backup.Manifest {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return backup.Manifest{
		ID: backup.NewID(at, [8]byte{1}), Cluster: b.Cluster, Node: "node-1", CreatedAt: at, Index: b.Index, Term: b.Term,
		StateDigest: b.Digest[:], Records: b.Records, MasterKCV: fill(8, 1), Program: "1.0.0", Commands: 1,
	}
}

func TestEveryTableHasATreatment(t *testing.T) {
	for _, table := range tables {
		if treatments[table.name] == 0 {
			t.Errorf("what does a restore do with table %s?", table.name)
		}
	}
	if len(treatments) != len(tables) {
		t.Errorf("%d treatments for %d tables", len(treatments), len(tables))
	}
}

// restoredOnto restores a state with everything onto a new cluster of another id.
func restoredOnto(t *testing.T, at int64) (before, after *View) {
	t.Helper()
	before, records := backedUp(t)
	s, err := ReadBackup(bytes.NewReader(records))
	if err != nil {
		t.Fatal(err)
	}
	db := newState()
	c := newCluster()
	c.Cluster.ID, c.Cluster.CAKey = "cls_new", fill(48, 9)
	applyAll(t, db, c, newTenant("ten-new"))
	current := newView(db, 3)
	was := current.Digest()
	after = s.Onto(current, at)
	if current.Digest() != was || s.View().Digest() != before.Digest() {
		t.Fatal("a state was changed")
	}
	if again := s.Onto(current, at); again.Digest() != after.Digest() {
		t.Fatal("two restores of one backup differ")
	}
	return before, after
}

// TestInvariant06RestoreKeepsKeys: every key version of the backup is there after it, with all that its key is derived from or
// opened with, whatever the id of the cluster.
func TestInvariant06RestoreKeepsKeys(t *testing.T) {
	before, after := restoredOnto(t, 5000)
	for _, id := range []string{"ten-a", "ten-b"} {
		for _, v := range before.Tenant(id).Versions() {
			got := after.Tenant(id).Version(v.ID)
			if got == nil {
				t.Fatalf("%s is gone", v.ID)
			}
			same := *got
			same.Leased = v.Leased
			if a, b := mustMarshal(t, &same), mustMarshal(t, v); !bytes.Equal(a, b) {
				t.Errorf("%s came back changed", v.ID)
			}
		}
	}
	for _, table := range []string{
		tableTenants, tableContexts, tableUsers, tableObjects, tableMasters, tableLegacy, tablePolicies, tableUsage,
	} {
		a, b := encodedTable(t, before, table), encodedTable(t, after, table)
		if len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("table %s differs", table)
		}
	}
}

func encodedTable(t *testing.T, v *View, table string) (b []byte) {
	for r := range each(v.txn, table) {
		b = append(b, mustMarshal(t, r)...)
	}
	return b
}

// TestRestoreKeepsTheClusterItself: the id, the CA and its key stay those of the cluster that restores.
func TestRestoreKeepsTheClusterItself(t *testing.T) {
	_, after := restoredOnto(t, 5000)
	if c := after.Cluster(); c == nil || c.ID != "cls_new" || !bytes.Equal(c.CAKey, fill(48, 9)) {
		t.Fatalf("%+v", c)
	}
	if after.Tenant("ten-new").Record() != nil {
		t.Error("a tenant that the backup does not know is left")
	}
	if after.Applied() != 3 {
		t.Errorf("at %d", after.Applied())
	}
}

// TestRestoreBringsNoOldRightBack: sessions, refresh tokens, codes, sign-ins and pending requests may have ended since.
func TestRestoreBringsNoOldRightBack(t *testing.T) {
	before, after := restoredOnto(t, 5000)
	for _, table := range []string{tableSessions, tableRefresh, tableInvitations, tableDevices, tableImports} {
		if len(encodedTable(t, before, table)) == 0 || len(encodedTable(t, after, table)) != 0 {
			t.Errorf("table %s is not emptied", table)
		}
	}
	if a := before.Tenant("ten-a").Approval(approvalOne); a == nil || a.State != directory.ApprovalPending {
		t.Fatal("no request waits: the test shows nothing")
	}
	if after.Tenant("ten-a").Approval(approvalOne) != nil {
		t.Error("a request waits again")
	}
	for _, a := range after.Tenant("ten-a").Applications() {
		if a.NotBefore != 5000 {
			t.Errorf("tokens of %s that were issued before the restore are good", a.ID)
		}
	}
	_, later := restoredOnto(t, 0)
	for _, a := range later.Tenant("ten-a").Applications() {
		if a.NotBefore != before.Application(a.ID).NotBefore {
			t.Error("a moment before which tokens are refused went back")
		}
	}
}

// TestRestoreUsesUpBudgets: what was drawn from a counted key since the backup is not known.
func TestRestoreUsesUpBudgets(t *testing.T) {
	db := newState()
	counted, drawn := newContext("ten-a", "counted", keyID("counted", 1)), newContext("ten-a", "drawn", keyID("drawn", 1))
	counted.Context.Format = 3
	drawn.Context.Format = 3
	applyAll(t, db, newCluster(), newTenant("ten-a"), counted, drawn, newContext("ten-a", "free", keyID("free", 1)))
	txn := db.Txn(true)
	v := *first[keys.Version](txn, tableVersions, indexID, keyID("drawn", 1))
	v.Leased = keys.GCMRandomNonceLimit
	put(txn, tableVersions, &v)
	txn.Commit()
	s, err := ReadBackup(bytes.NewReader(recordsOf(t, newView(db, 5))))
	if err != nil {
		t.Fatal(err)
	}
	after := s.Onto(newView(newState(), 0), 1)
	for name, want := range map[string]uint64{
		"counted": keys.GCMRandomNonceLimit - leftBudget, "drawn": keys.GCMRandomNonceLimit, "free": 0,
	} {
		if got := after.Tenant("ten-a").Version(keyID(name, 1)).Leased; got != want {
			t.Errorf("%s: %d drawn, not %d", name, got, want)
		}
	}
	if keys.GCMRandomNonceLimit-leftBudget < keys.RotateAt {
		t.Error("a restored context does not rotate with its first message")
	}
}
