package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"cryptoserve/engine/seal"
)

// TestInvariant02NothingReadableAtRest looks for names in every byte of the directory, also in file names.
func TestInvariant02NothingReadableAtRest(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.TrailingLogs = 1
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, n, newContext("ten-b", "also-"+secretContext, keyID("also-"+secretContext, 9)))
	mustClose(t, n)
	files := 0
	err := filepath.WalkDir(cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, name := range []string{secretContext, secretApplication, "ten-a", "usr-1", "name of", "key_"} {
			if bytes.Contains(b, []byte(name)) || strings.Contains(path, name) {
				t.Errorf("%s holds %q", path, name)
			}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if filepath.Dir(path) == cfg.Dir && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// written is a directory with a log, and what is in its entries.
type written struct {
	cfg    Config
	key    *macKey
	first  uint64
	last   uint64
	values map[uint64][]byte // the stored bytes of each entry
	logs   map[uint64]raft.Log
	data   []byte // of raft.db
}

func writeLog(t *testing.T) written {
	t.Helper()
	cfg := testConfig(t, t.TempDir())
	cfg.Log = nil
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	mustClose(t, n)
	w := written{cfg: cfg, values: map[uint64][]byte{}, logs: map[uint64]raft.Log{}, data: databaseBytes(t, cfg.Dir)}
	var err error
	if w.key, err = newMACKey(cfg.StorageKey, cfg.ClusterID); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(cfg.Dir, databaseFile), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("logs")).ForEach(func(k, v []byte) error {
			w.last = binary.BigEndian.Uint64(k)
			w.values[w.last] = bytes.Clone(v)
			if w.first == 0 {
				w.first = w.last
			}
			return nil
		})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if w.first != 1 || len(w.values) < 12 {
		t.Fatalf("%d entries from %d", len(w.values), w.first)
	}
	if err := w.opened(t, t.TempDir(), w.data); err != nil {
		t.Fatal(err)
	}
	if len(w.logs) != len(w.values) {
		t.Fatalf("%d of %d entries opened", len(w.logs), len(w.values))
	}
	return w
}

// opened is what openStorage finds in a copy of the directory whose raft.db is data: everything that is verified before
// Raft runs. The files of scratch are reused.
func (w written) opened(t *testing.T, scratch string, data []byte) error {
	t.Helper()
	if err := os.WriteFile(filepath.Join(scratch, databaseFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	mark, err := os.ReadFile(filepath.Join(w.cfg.Dir, markFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(scratch, markFile), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := w.cfg
	cfg.Dir = scratch
	key, err := seal.New(cfg.StorageKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStorage(cfg, w.key, frameKey{key, cfg.ClusterID}, make(chan struct{}))
	if err != nil {
		return err
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}()
	// Nothing was noticed: then nothing may be missing or different.
	for i := w.first; i <= w.last; i++ {
		var l raft.Log
		if err := s.logs.GetLog(i, &l); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if before, ok := w.logs[i]; !ok {
			w.logs[i] = l
		} else if l.Index != before.Index || l.Term != before.Term || l.Type != before.Type ||
			!bytes.Equal(l.Data, before.Data) || !l.AppendedAt.Equal(before.AppendedAt) {
			t.Fatalf("entry %d is %+v, not %+v", i, l, before)
		}
	}
	return nil
}

// TestInvariant02FlippedByteInEntry flips one bit in every byte of some entries, wherever it is: type, index, term, time, sealed data
// and authentication code. Each is detected and named.
func TestInvariant02FlippedByteInEntry(t *testing.T) {
	w := writeLog(t)
	scratch := t.TempDir()
	for _, index := range []uint64{w.first, w.first + 3, w.last} {
		value := w.values[index]
		at := bytes.Index(w.data, value)
		if at < 0 {
			t.Fatalf("entry %d is not in the file as one piece", index)
		}
		flips := 0
		for i := range value {
			data := bytes.Clone(w.data)
			// The same bytes may stand in free pages too: change all.
			for at := 0; ; {
				next := bytes.Index(data[at:], value)
				if next < 0 {
					break
				}
				at += next
				data[at+i] ^= 0x01
				at += len(value)
				flips++
			}
			err := w.opened(t, scratch, data)
			// An entry of type 0 whose field Type is named otherwise is the same entry: opened compares.
			if name := bytes.Index(value, []byte("Type")); err == nil && i >= name && i < name+4 && w.logs[index].Type == 0 {
				continue
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("log entry %d is damaged", index)) {
				t.Fatalf("entry %d, byte %d (%q...): %v", index, i, value[max(0, i-8):i+1], err)
			}
		}
		if flips < len(value) {
			t.Fatalf("only %d flips", flips)
		}
	}
}

func TestOpenNamesTheDamagedEntry(t *testing.T) {
	w := writeLog(t)
	value := w.values[w.last-2]
	at := bytes.LastIndex(w.data, value)
	f, err := os.OpenFile(filepath.Join(w.cfg.Dir, databaseFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := at; at >= 0; at = bytes.LastIndex(w.data[:at], value) {
		if _, err := f.WriteAt([]byte{value[len(value)/2] ^ 0x80}, int64(at+len(value)/2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	err = openFails(t, w.cfg)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("log entry %d ", w.last-2)) ||
		!strings.Contains(err.Error(), "copy of the whole directory") {
		t.Fatal(err)
	}
}

// TestInvariant02FlippedBitInPages flips bits in every structural part of the database: both meta pages, the header of
// every page, the elements and keys of the trees. Each flip is detected or harmless (a free page, room at the end): opened
// fails the test when an entry is lost. Neither bbolt nor Raft may panic, and a damaged meta page may not bring the state
// before the last transaction back.
func TestInvariant02FlippedBitInPages(t *testing.T) {
	w := writeLog(t)
	scratch := t.TempDir()
	pageSize := os.Getpagesize()
	detected, harmless := 0, 0
	flip := func(at int, bit int) error {
		data := bytes.Clone(w.data)
		data[at] ^= 1 << bit
		err := w.opened(t, scratch, data)
		switch {
		case err == nil:
			harmless++
		case errors.Is(err, ErrDamaged):
			detected++
		default:
			t.Fatalf("byte %d of page %d, bit %d: %v", at%pageSize, at/pageSize, bit, err)
		}
		return err
	}
	for id := range 2 {
		for at := range 16 + 64 {
			err := flip(id*pageSize+at, at%8)
			unused := at >= 10 && at < 16 // count and overflow of a meta page
			header := at == 8 || at == 9  // bbolt does not read the type of a meta page
			if err == nil && !unused && !header {
				t.Fatalf("byte %d of meta page %d", at, id)
			}
		}
	}
	used := usedPages(t, filepath.Join(w.cfg.Dir, databaseFile))
	if len(used) < 2 {
		t.Fatalf("pages in use: %v", used)
	}
	for _, id := range used {
		elements := 16 * int(binary.NativeEndian.Uint16(w.data[id*pageSize+10:]))
		for at := range 16 + elements + 64 {
			for bit := range 8 {
				if at >= 16 && bit != at%8 && bit != (at+3)%8 {
					continue // all bits of a page's header, two of each other byte
				}
				// A longer last value gains zero bytes from the room at the end, which the decoder of entries skips.
				lastLength := at >= 16+elements-4
				if err := flip(id*pageSize+at, bit); err == nil && at < 16+elements && !lastLength {
					t.Fatalf("byte %d of page %d, bit %d was not noticed", at, id, bit)
				}
			}
		}
	}
	t.Logf("%d flips detected, %d harmless", detected, harmless)
	if detected < 1000 {
		t.Fatalf("only %d flips detected", detected)
	}
	if err := w.opened(t, scratch, w.data); err != nil {
		t.Fatalf("the undamaged log: %v", err)
	}
}

func usedPages(t *testing.T, path string) []int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c := &pageCheck{file: f, size: info.Size(), seen: map[uint64]bool{}}
	root, err := c.meta()
	if err == nil {
		err = c.buckets(root)
	}
	if err != nil {
		t.Fatal(err)
	}
	var used []int
	for id := range c.seen {
		used = append(used, int(id))
	}
	return used
}

// TestIndexBecameZero: to Raft an entry with index 0 first means that the log is empty.
func TestIndexBecameZero(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.Log = nil
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster())
	mustClose(t, n)
	bolt, err := openBolt(filepath.Join(cfg.Dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	var entry raft.Log
	if err := errors.Join(bolt.GetLog(1, &entry), bolt.DeleteRange(1, 1)); err != nil {
		t.Fatal(err)
	}
	entry.Index = 0
	if err := errors.Join(bolt.StoreLog(&entry), bolt.Close()); err != nil {
		t.Fatal(err)
	}
	if err := openFails(t, cfg); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "log entry 0") {
		t.Fatal(err)
	}
}

// TestLogRolledBack puts back an older database, as a restored file or a meta page of the transaction before would.
func TestLogRolledBack(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster())
	older := databaseBytes(t, cfg.Dir)
	mustPropose(t, n, newTenant("ten-a"))
	mustClose(t, n)
	if err := os.WriteFile(filepath.Join(cfg.Dir, databaseFile), older, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openFails(t, cfg); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "the log ends at") {
		t.Fatal(err)
	}
}

func TestDirectoryWithoutAPart(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.TrailingLogs = 1
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, n)
	whole := cfg.Dir
	for name, c := range map[string]struct {
		damage func(dir string) error
		text   string
	}{
		"no raft.db":    {func(dir string) error { return os.Remove(filepath.Join(dir, databaseFile)) }, "raft.db is damaged: it is missing"},
		"empty raft.db": {func(dir string) error { return os.Truncate(filepath.Join(dir, databaseFile), 0) }, "page 0 of raft.db"},
		"cut raft.db":   {func(dir string) error { return os.Truncate(filepath.Join(dir, databaseFile), 8192) }, "raft.db is damaged: it is cut"},
		"no mark":       {func(dir string) error { return os.Remove(filepath.Join(dir, markFile)) }, "high-water mark"},
		"cut mark":      {func(dir string) error { return os.Truncate(filepath.Join(dir, markFile), 20) }, "high-water mark"},
		"changed mark":  {func(dir string) error { return flipFile(filepath.Join(dir, markFile), 15) }, "high-water mark"},
		"no snapshots":  {func(dir string) error { return os.RemoveAll(filepath.Join(dir, snapshotsDir)) }, "no snapshot holds what was before"},
		"no raft.db, no mark": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, databaseFile)), os.Remove(filepath.Join(dir, markFile)))
		}, "raft.db is damaged: it is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.Dir = copyDir(t, whole)
			if err := c.damage(cfg.Dir); err != nil {
				t.Fatal(err)
			}
			if err := openFails(t, cfg); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.text) {
				t.Fatal(err)
			}
		})
	}
}

func flipFile(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// TestInvariant02FlippedByteInSnapshot flips each byte of a small snapshot in turn, then bytes of its meta.json.
func TestInvariant02FlippedByteInSnapshot(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.TrailingLogs = 1
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster(), newTenant("ten-a"))
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, n)
	id := n.mustNewest(t)
	state := filepath.Join(snapshotsDir, id, "state.bin")
	meta := filepath.Join(snapshotsDir, id, "meta.json")

	t.Run("state", func(t *testing.T) {
		whole, err := os.ReadFile(filepath.Join(cfg.Dir, state))
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			b := bytes.Clone(whole)
			b[i] ^= 0x10
			if _, _, err := readSnapshot(bytes.NewReader(b), n.fsm.frames); err == nil {
				t.Fatalf("byte %d of %d was not noticed", i, len(whole))
			}
			if _, _, err := readSnapshot(bytes.NewReader(whole[:i]), n.fsm.frames); err == nil {
				t.Fatalf("the cut at %d was not noticed", i)
			}
		}
		if _, _, err := readSnapshot(bytes.NewReader(append(bytes.Clone(whole), 0)), n.fsm.frames); err == nil {
			t.Fatal("an added byte was not noticed")
		}
		if _, _, err := readSnapshot(bytes.NewReader(whole), n.fsm.frames); err != nil {
			t.Fatalf("the undamaged snapshot: %v", err)
		}
	})
	t.Run("open names it", func(t *testing.T) {
		for name, damage := range map[string]func(dir string) error{
			"state.bin":      func(dir string) error { return flipFile(filepath.Join(dir, state), 300) },
			"no state.bin":   func(dir string) error { return os.Remove(filepath.Join(dir, state)) },
			"no meta.json":   func(dir string) error { return os.Remove(filepath.Join(dir, meta)) },
			"cut meta.json":  func(dir string) error { return os.Truncate(filepath.Join(dir, meta), 20) },
			"cut state.bin":  func(dir string) error { return os.Truncate(filepath.Join(dir, state), 20) },
			"another format": func(dir string) error { return flipFile(filepath.Join(dir, state), len(streamMagic)-1) },
		} {
			t.Run(name, func(t *testing.T) {
				cfg := cfg
				cfg.Dir = copyDir(t, n.cfg.Dir)
				if err := damage(cfg.Dir); err != nil {
					t.Fatal(err)
				}
				if err := openFails(t, cfg); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "snapshot "+id) {
					t.Fatal(err)
				}
			})
		}
	})
	t.Run("meta.json", func(t *testing.T) {
		whole, err := os.ReadFile(filepath.Join(cfg.Dir, meta))
		if err != nil {
			t.Fatal(err)
		}
		dir := copyDir(t, cfg.Dir)
		list, err := n.storage.snaps.List()
		if err != nil {
			t.Fatal(err)
		}
		want := list[0]
		files, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, cfg.raftLog())
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			for _, with := range []byte{0x01, 0x02, 0x10} {
				b := bytes.Clone(whole)
				b[i] ^= with
				if err := os.WriteFile(filepath.Join(dir, meta), b, 0o600); err != nil {
					t.Fatal(err)
				}
				s := &snapshotStore{files: files, dir: filepath.Join(dir, snapshotsDir), key: n.fsm.frames}
				list, err := s.List()
				if err != nil {
					if !strings.Contains(err.Error(), "snapshot "+id) {
						t.Fatal(err)
					}
					continue
				}
				got, r, err := s.Open(list[0].ID)
				if err != nil {
					continue
				}
				// White space and the field Peers, which this version does not use, may change: nothing else.
				got.Peers = want.Peers
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("byte %d (%q) was not noticed", i, whole[max(0, i-10):i+1])
				}
				_ = r.Close()
			}
		}
	})
}

// mustNewest returns the name of the newest snapshot of a closed node.
func (n *Node) mustNewest(t testing.TB) string {
	t.Helper()
	list, err := n.storage.snaps.List()
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return list[0].ID
}

// TestOlderSnapshotDoesNotStandIn: Raft would load the older snapshot when the newest is damaged.
func TestOlderSnapshotDoesNotStandIn(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.TrailingLogs = 1000
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster())
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, n, newTenant("ten-a"))
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, n)
	id := n.mustNewest(t)
	if err := flipFile(filepath.Join(cfg.Dir, snapshotsDir, id, "state.bin"), 100); err != nil {
		t.Fatal(err)
	}
	if err := openFails(t, cfg); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "snapshot "+id) {
		t.Fatal(err)
	}
}
