package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/seal"
)

// rareSalt is not made by chance.
var rareSalt = []byte("salt of a version to be destroyed"[:keys.SaltBytes])

// destroyed makes a context with rareSalt, rotates it away and destroys it.
func destroyed(t *testing.T, n *Node) {
	t.Helper()
	first := newContext("ten-a", "doomed", keyID("doomed", 1))
	first.Version.Salt = rareSalt
	mustPropose(t, n,
		first, command.RotateContext{Version: newVersion("ten-a", "doomed", 2, keyID("doomed", 2))},
		command.ScheduleDestruction{Tenant: "ten-a", Key: keyID("doomed", 1), At: 5000, Wait: 1000, Reason: "old"},
	)
}

func shred(t *testing.T, n *Node) {
	t.Helper()
	mustPropose(t, n, command.DestroyVersion{Tenant: "ten-a", Key: keyID("doomed", 1), At: 6000})
}

// finds looks for a text in what the sealed parts of a node's directory hold: each blob of the database file that opens, used or
// free, and each frame of each snapshot. It returns where it stands.
type finder struct {
	t      *testing.T
	dir    string
	key    *seal.Key
	frames frameKey
	log    []byte // associated data of log entries
}

func newFinder(t *testing.T, cfg Config) finder {
	t.Helper()
	key, err := seal.New(cfg.StorageKey)
	if err != nil {
		t.Fatal(err)
	}
	return finder{t, cfg.Dir, key, frameKey{key, cfg.ClusterID}, newEntryKey(key, cfg.ClusterID).associated}
}

// inLog reads every entry of an open node's log, as Raft does.
func (f finder) inLog(n *Node, text []byte) (found []string) {
	f.t.Helper()
	first, err := n.storage.logs.FirstIndex()
	if err != nil {
		f.t.Fatal(err)
	}
	last, err := n.storage.logs.LastIndex()
	if err != nil {
		f.t.Fatal(err)
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := n.storage.logs.GetLog(i, &l); err != nil {
			f.t.Fatal(err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		plain, err := f.key.Open(nil, f.log, l.Data)
		if err != nil {
			f.t.Fatal(err)
		}
		if bytes.Contains(plain, text) {
			found = append(found, fmt.Sprintf("log entry %d", i))
		}
	}
	return found
}

// inSnapshots reads every snapshot, finished or not.
func (f finder) inSnapshots(text []byte) (found []string) {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.dir, snapshotsDir, "*", "state.bin"))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.t.Fatal(err)
		}
		r, err := newFrameReader(bytes.NewReader(b), f.frames)
		for last := false; err == nil && !last; {
			var plain []byte
			if plain, last, err = r.Next(); bytes.Contains(plain, text) {
				found = append(found, "snapshot "+filepath.Base(filepath.Dir(path)))
			}
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return found
}

// blobs are the sealed commands of all entries that the log holds now.
func (f finder) blobs(n *Node) (list [][]byte) {
	f.t.Helper()
	last, err := n.storage.logs.LastIndex()
	if err != nil {
		f.t.Fatal(err)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := n.storage.logs.GetLog(i, &l); err == nil && l.Type == raft.LogCommand {
			if plain, err := f.key.Open(nil, f.log, l.Data); err == nil && bytes.Contains(plain, rareSalt) {
				list = append(list, l.Data)
			}
		}
	}
	return list
}

// TestCompactRemovesASalt reads all that the node's folder holds after a version was destroyed: the entries of the log, the
// snapshots, and the sealed bytes of the entry that brought the salt, wherever they stand in the database file.
func TestCompactRemovesASalt(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	f := newFinder(t, cfg)
	mustPropose(t, n, seed()...)
	destroyed(t, n)
	if err := n.Snapshot(); err != nil { // one that holds the salt
		t.Fatal(err)
	}
	shred(t, n)
	sealed := f.blobs(n)
	if len(sealed) != 1 || len(f.inLog(n, rareSalt)) != 1 || len(f.inSnapshots(rareSalt)) != 1 {
		t.Fatalf("before: %d entries, %v, %v", len(sealed), f.inLog(n, rareSalt), f.inSnapshots(rareSalt))
	}
	index, digest := n.Digest()

	if err := n.Compact(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if at := append(f.inLog(n, rareSalt), f.inSnapshots(rareSalt)...); len(at) > 0 {
		t.Errorf("the salt stands in %v", at)
	}
	if bytes.Contains(databaseBytes(t, cfg.Dir), sealed[0]) {
		t.Error("a free page of the database holds the entry that brought the salt")
	}
	if got := n.raft.ReloadableConfig().TrailingLogs; got != defaultTrailingLogs {
		t.Errorf("the log is kept %d entries long from now on", got)
	}

	mustPropose(t, n, newTenant("ten-later"))
	mustClose(t, n)
	if err := checkPages(filepath.Join(cfg.Dir, databaseFile)); err != nil {
		t.Error(err)
	}
	again := mustOpen(t, cfg)
	if v := again.View().Tenant("ten-a").Version(keyID("doomed", 1)); v == nil || v.State != keys.Destroyed || len(v.Salt) != 0 {
		t.Errorf("after a restart: %+v", v)
	}
	if again.View().Tenant("ten-later").Record() == nil {
		t.Error("what came after the compaction is gone")
	}
	if i, d := again.Digest(); i <= index || d == digest {
		t.Errorf("index %d, digest as before: %v", i, d == digest)
	}
}

// TestCompactOnlyWhenKeysWereRemoved, and again after a crash between the destruction and the compaction.
func TestCompactOnlyWhenKeysWereRemoved(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.TrailingLogs = 1000
	n := mustOpen(t, cfg)
	f := newFinder(t, cfg)
	snapshots := func() int {
		list, err := filepath.Glob(filepath.Join(cfg.Dir, snapshotsDir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	mustPropose(t, n, seed()...)
	destroyed(t, n)
	if err := n.Compact(testContext(t)); err != nil || snapshots() != 0 {
		t.Errorf("nothing was destroyed: %v, %d snapshots", err, snapshots())
	}
	// A refused command removed nothing.
	if _, err := n.Propose(testContext(t), command.DestroyVersion{Tenant: "ten-a", Key: keyID("doomed", 1), At: 5999}); err == nil {
		t.Fatal("destroyed before its time")
	}
	if err := n.Compact(testContext(t)); err != nil || snapshots() != 0 {
		t.Errorf("a destruction was refused: %v, %d snapshots", err, snapshots())
	}
	shred(t, n)
	// An ordinary snapshot leaves entries behind it, which no start applies again.
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	unfinished := filepath.Join(cfg.Dir, snapshotsDir, "9-99-9.tmp")
	if err := os.Mkdir(unfinished, 0o700); err != nil {
		t.Fatal(err)
	}
	mustClose(t, n)
	n = mustOpen(t, cfg)
	if _, err := os.Stat(unfinished); !os.IsNotExist(err) {
		t.Errorf("an unfinished snapshot stays: %v", err)
	}
	if len(f.inLog(n, rareSalt)) != 1 {
		t.Fatal("the entry is gone already")
	}
	if err := n.Compact(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if at := append(f.inLog(n, rareSalt), f.inSnapshots(rareSalt)...); len(at) > 0 {
		t.Errorf("after a restart the salt stands in %v", at)
	}
	mustClose(t, n)
	n = mustOpen(t, cfg)
	if n.fsm.removed.Load() != 0 {
		t.Error("a start after a compaction compacts again")
	}
}

// TestCompactAfterTheEndOfATenant: all its keys go, without having been destroyed one by one.
func TestCompactAfterTheEndOfATenant(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	f := newFinder(t, cfg)
	mustPropose(t, n, seed()...)
	first := newContext("ten-a", "doomed", keyID("doomed", 1))
	first.Version.Salt = rareSalt
	mustPropose(t, n, first, command.ScheduleTenantDeletion{Tenant: "ten-a", At: 5, Wait: 5}, command.DeleteTenant{Tenant: "ten-a", At: 10})
	if err := n.Compact(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if at := append(f.inLog(n, rareSalt), f.inSnapshots(rareSalt)...); len(at) > 0 {
		t.Errorf("the salt stands in %v", at)
	}
}

// TestCompactWhileEntriesCome: nothing that is acknowledged meanwhile is lost.
func TestCompactWhileEntriesCome(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	destroyed(t, n)
	shred(t, n)
	const writers, each = 4, 40
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				c := newTenant(fmt.Sprintf("w%d-%d", w, i))
				c.Tenant.Name += strings.Repeat("x", 3000)
				if _, err := n.Propose(testContext(t), c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		n.fsm.removed.Add(1)
		if err := n.Compact(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	mustClose(t, n)
	n = mustOpen(t, cfg)
	for w := range writers {
		for i := range each {
			if r := n.View().Tenant(fmt.Sprintf("w%d-%d", w, i)).Record(); r == nil || r.Status != directory.Enabled {
				t.Errorf("tenant %d of writer %d is gone", i, w)
			}
		}
	}
}
