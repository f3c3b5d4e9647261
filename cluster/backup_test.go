package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/go-memdb"
	"pgregory.net/rapid"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/secret"
)

// backedUp is a state with a record in every table, and the records of its backup.
func backedUp(t testing.TB) (*View, []byte) {
	t.Helper()
	v := newView(world(t), 77)
	return v, recordsOf(t, v)
}

func recordsOf(t interface{ Fatal(...any) }, v *View) []byte {
	b := &Backup{Cluster: "cls_0123456789abcdef", Index: v.applied, Term: 4, Digest: v.Digest(), view: v}
	for _, table := range tables {
		for range each(v.txn, table.name) {
			b.Records++
		}
	}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// items cuts records apart.
func items(records []byte) (all [][]byte) {
	for len(records) > 0 {
		n := 4 + binary.BigEndian.Uint32(records)
		all, records = append(all, records[:n]), records[n:]
	}
	return all
}

func TestBackupHoldsEverything(t *testing.T) {
	v, records := backedUp(t)
	s, err := ReadBackup(iotest.OneByteReader(bytes.NewReader(records)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Digest != v.Digest() || s.View().Digest() != v.Digest() || s.Index != 77 || s.Term != 4 || s.Cluster != "cls_0123456789abcdef" ||
		s.Records != uint64(len(items(records))-2) {
		t.Fatalf("%+v", s)
	}
	for _, table := range s.Report().Tables {
		if table.Records == 0 {
			t.Errorf("no record in table %s: the test shows nothing of it", table.Name)
		}
	}
}

// TestBackupOfANode backs up a node that goes on, with its log, after a snapshot that cut the log off, and after a start.
func TestBackupOfANode(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.TrailingLogs = 1
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster())
	mustPropose(t, n, everything("ten-a", 1)...)
	check := func(what string, n *Node) {
		t.Helper()
		wantIndex, wantDigest := n.Digest()
		b, err := n.Backup()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		mustPropose(t, n, newTenant("later-"+strings.ReplaceAll(what, " ", "-")))
		var out bytes.Buffer
		if err := b.Write(&out); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		r, err := Rehearse(&out)
		if err != nil || r.Digest != wantDigest || b.Digest != wantDigest || r.Index != wantIndex || r.Term == 0 || r.Records != b.Records ||
			r.Found != 0 || r.Cluster != cfg.ClusterID {
			t.Fatalf("%s: %+v, %v", what, r, err)
		}
	}
	check("a log", n)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	check("a snapshot", n)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, n)
	n = mustOpen(t, cfg)
	check("a start", n)
	index, term, digest, err := n.WriteBackup(io.Discard)
	if wantIndex, want := n.Digest(); err != nil || index != wantIndex || digest != want || term == 0 {
		t.Fatalf("%d, %d, %x, %v", index, term, digest, err)
	}
}

// TestTermOfWhatTheLogLost: the snapshot says it.
func TestTermOfWhatTheLogLost(t *testing.T) {
	n := mustOpen(t, testConfig(t, t.TempDir()))
	mustPropose(t, n, newCluster(), newTenant("ten-a"))
	want, err := n.termOf(n.View().applied)
	if err != nil || want == 0 {
		t.Fatal(want, err)
	}
	if _, err := n.termOf(n.View().applied + 1000); err == nil {
		t.Fatal("an entry that is not there has a term")
	}
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	first, err := n.storage.logs.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.storage.logs.DeleteRange(first, n.View().applied); err != nil {
		t.Fatal(err)
	}
	if got, err := n.termOf(n.View().applied); err != nil || got != want {
		t.Fatalf("term %d, not %d: %v", got, want, err)
	}
}

func TestReadBackupRefuses(t *testing.T) {
	_, records := backedUp(t)
	parts := items(records)
	last := len(parts) - 1
	extra := func(v any) []byte {
		var b bytes.Buffer
		if err := writeExtra(&b, v); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	raw := func(i item) []byte {
		encoded, err := command.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := writeSized(&b, encoded); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	with := func(at int, replaced int, parts [][]byte, by ...[]byte) []byte {
		return bytes.Join(slices.Replace(slices.Clone(parts), at, at+replaced, by...), nil)
	}
	trailer := func(count uint64, digest [32]byte) []byte { return extra(backupTrailer{Count: count, Digest: digest}) }
	swapped := with(2, 2, parts, parts[3], parts[2])
	for name, c := range map[string]struct {
		records []byte
		text    string
	}{
		"nothing":               {nil, "ends within item 0"},
		"only a header":         {parts[0], "ends within item 1"},
		"no header":             {with(0, 1, parts), "header"},
		"a later format":        {with(0, 1, parts, extra(backupHeader{Format: 2, Cluster: "c", Index: 1, Term: 1})), "format 2"},
		"no trailer":            {with(last, 1, parts), "ends within"},
		"a record left out":     {with(5, 1, parts), "are not the"},
		"a record twice":        {with(5, 0, parts, parts[5]), "are not the"},
		"records swapped":       {swapped, "are not the"},
		"something behind":      {append(bytes.Clone(records), 0), "follows"},
		"another trailer":       {with(last, 1, parts, trailer(uint64(last-1), [32]byte{})), "are not the"},
		"an impossible length":  {[]byte{0xff, 0xff, 0xff, 0xff}, "impossible length"},
		"no length":             {make([]byte, 4), "impossible length"},
		"an unknown table":      {with(2, 1, parts, raw(item{Table: 250, Record: []byte{0xa0}})), "table 250"},
		"a record of no table":  {with(2, 1, parts, raw(item{Table: 2, Record: []byte{0xf6}})), "table tenants"},
		"what is no item":       {[]byte{0, 0, 0, 1, 0xa0}, "item 0"},
		"a cut within a record": {records[:len(records)/2], "ends within"},
		"a cut within a length": {records[:len(parts[0])+2], "ends within item 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ReadBackup(bytes.NewReader(c.records))
			if err == nil || s != nil || !strings.Contains(err.Error(), c.text) {
				t.Fatal(err)
			}
		})
	}
	gone := errors.New("the source is gone")
	for n := range []int{0, 3, len(parts[0]), len(records)} {
		if _, err := ReadBackup(io.MultiReader(bytes.NewReader(records[:n]), iotest.ErrReader(gone))); !errors.Is(err, gone) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	// The end of the source is part of the backup: it may prove there that nothing was cut off.
	if _, err := ReadBackup(io.MultiReader(bytes.NewReader(records), iotest.ErrReader(gone))); !errors.Is(err, gone) {
		t.Error("an error at the end was not seen")
	}
}

// TestRehearsalOfWhateverApplies: whatever commands make fits together, in a backup as on the node.
func TestRehearsalOfWhateverApplies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db := newState()
		index := uint64(0)
		for _, c := range beginning() {
			index++
			applyOne(t, db, index, c)
		}
		for range 20 + choose(t, "length", 64) {
			index++
			applyOne(t, db, index, drawCommand(t, newView(db, 0)))
		}
		v := newView(db, 5)
		r, err := Rehearse(bytes.NewReader(recordsOf(t, v)))
		if err != nil || r.Digest != v.Digest() || r.Found != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	})
}

// TestRehearsalFinds takes something away from a state, or adds something, and says what no longer fits.
func TestRehearsalFinds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*memdb.Txn)
		text   string
	}{
		"tenant": {func(txn *memdb.Txn) {
			drop(txn, tableTenants, first[directory.Tenant](txn, tableTenants, indexID, "ten-a"))
		}, `belongs to tenant "ten-a"`},
		"active version": {func(txn *memdb.Txn) {
			drop(txn, tableVersions, first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 2)))
		}, "context orchard protects with key version " + orchardKey(1, 2)},
		"older version": {func(txn *memdb.Txn) {
			drop(txn, tableVersions, first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 1)))
		}, "counts 2 versions and has 1"},
		"version of a key": {func(txn *memdb.Txn) {
			drop(txn, tableVersions, first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 3)))
		}, "key press protects with"},
		"two with one number": {func(txn *memdb.Txn) {
			v := *first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 1))
			v.Number = 2
			put(txn, tableVersions, &v)
		}, "version 2 twice"},
		"impossible version": {func(txn *memdb.Txn) {
			v := *first[keys.Version](txn, tableVersions, indexID, orchardKey(1, 1))
			v.Salt = v.Salt[:8]
			put(txn, tableVersions, &v)
		}, "salt of 8 bytes"},
		"context": {func(txn *memdb.Txn) {
			drop(txn, tableContexts, first[directory.Context](txn, tableContexts, indexID, "ten-a", orchard))
		}, "is granted context orchard"},
		"key": {func(txn *memdb.Txn) {
			drop(txn, tableObjects, first[keys.Object](txn, tableObjects, indexID, "ten-a", press))
		}, "belongs to key press"},
		"application": {func(txn *memdb.Txn) {
			drop(txn, tableApplications, first[directory.Application](txn, tableApplications, indexID, appID("ten-a")))
		}, "refresh tokens"},
		"user": {func(txn *memdb.Txn) {
			drop(txn, tableUsers, first[directory.User](txn, tableUsers, indexID, userID("ten-a", 1)))
		}, "a session belongs to user"},
		"imported master": {func(txn *memdb.Txn) {
			drop(txn, tableMasters, first[keys.LegacyMaster](txn, tableMasters, indexID, masterKey(1)))
		}, "master key 1, which does not exist"},
		"cluster": {func(txn *memdb.Txn) {
			drop(txn, tableCluster, first[directory.Cluster](txn, tableCluster, indexID, ""))
		}, "no record of the cluster"},
		"another cluster": {func(txn *memdb.Txn) {
			put(txn, tableCluster, &directory.Cluster{ID: "cls_other"})
		}, "names cls_other"},
	} {
		t.Run(name, func(t *testing.T) {
			db := newState()
			applyAll(t, db, newCluster())
			applyAll(t, db, everything("ten-a", 1)...)
			txn := db.Txn(true)
			c.change(txn)
			txn.Commit()
			r, err := Rehearse(bytes.NewReader(recordsOf(t, newView(db, 5))))
			if err != nil || r.Found == 0 || r.Found != len(r.Problems) || !strings.Contains(strings.Join(r.Problems, "\n"), c.text) {
				t.Fatalf("%d problems: %q, %v", r.Found, r.Problems, err)
			}
		})
	}
}

func TestReportIsBounded(t *testing.T) {
	db := newState()
	applyAll(t, db, newCluster())
	txn := db.Txn(true)
	for i := range 500 {
		put(txn, tableUsers, &directory.User{ID: fmt.Sprint(i), Name: fmt.Sprint(i), Tenant: "gone"})
	}
	txn.Commit()
	r, err := Rehearse(bytes.NewReader(recordsOf(t, newView(db, 5))))
	if err != nil || r.Found != 500 || len(r.Problems) != maxProblems {
		t.Fatalf("%d of %d problems, %v", len(r.Problems), r.Found, err)
	}
}

// TestSealedBackup is the whole way: a node, sealed, opened under the key alone, and rehearsed.
func TestSealedBackup(t *testing.T) {
	n := mustOpen(t, testConfig(t, t.TempDir()))
	mustPropose(t, n, newCluster())
	mustPropose(t, n, everything("ten-a", 1)...)
	b, err := n.Backup()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	key := secret.New(fill(32, 9))
	_, err = backup.Write(&file, key, manifestOf(b), b.Write)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file.Bytes(), []byte(orchard)) || bytes.Contains(file.Bytes(), fill(keys.SaltBytes, 1)) {
		t.Fatal("a name or a salt can be read")
	}
	m, body, err := backup.Open(bytes.NewReader(file.Bytes()), key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Rehearse(body)
	if err != nil || !bytes.Equal(m.StateDigest, r.Digest[:]) || m.Records != r.Records || m.Index != r.Index || r.Found != 0 {
		t.Fatalf("%+v, %+v, %v", m, r, err)
	}
	// Cut at the end, where all records were read already: it is refused all the same.
	_, body, err = backup.Open(bytes.NewReader(file.Bytes()[:file.Len()-1]), key)
	if err == nil {
		_, err = Rehearse(body)
	}
	if !errors.Is(err, backup.ErrDamaged) {
		t.Fatalf("a cut backup: %v", err)
	}
}

func FuzzReadBackup(f *testing.F) {
	db := newState()
	applyAll(f, db, newCluster(), newTenant("ten-a"), newContext("ten-a", orchard, orchardKey(1, 1)))
	records := recordsOf(f, newView(db, 77))
	f.Add(records)
	for _, n := range []int{0, 4, 40, len(records) / 2} {
		f.Add(records[:n])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadBackup(bytes.NewReader(b))
		if err != nil {
			return
		}
		s.Report()
		again := &Backup{Cluster: s.Cluster, Index: s.Index, Term: s.Term, Digest: s.Digest, Records: s.Records, view: s.View()}
		var out bytes.Buffer
		if err := again.Write(&out); err != nil || !bytes.Equal(out.Bytes(), b) {
			t.Fatalf("what was read is written otherwise: %v", err)
		}
	})
}
