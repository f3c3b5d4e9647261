package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Names in the node's directory.
const (
	lockFile     = "lock"
	databaseFile = "raft.db"
	snapshotsDir = "snapshots" // the name that raft.FileSnapshotStore gives it
	newSuffix    = ".new"      // of a file that is being made
)

const (
	lockTimeout = time.Second // how long bbolt waits for its own lock
	stableRetry = 200 * time.Millisecond
)

// storage is the node's directory, opened: everything that Raft keeps.
type storage struct {
	lock   *os.File
	bolt   *raftboltdb.BoltStore
	mark   *mark
	logs   *logStore
	stable *stableStore
	snaps  *snapshotStore
	newest *raft.SnapshotMeta // nil when there is no snapshot
	pages  *scrubber
	// leftovers tells that there are entries or snapshots that the newest snapshot makes useless: they may hold keys that were
	// destroyed before a crash.
	leftovers bool
}

// openStorage opens the directory, or makes it when it is empty, and verifies all that can be verified before Raft runs:
// the structure of the database, each log entry, term and vote, and that log and snapshot together hold everything.
func openStorage(cfg Config, key *macKey, frames frameKey, closed <-chan struct{}) (_ *storage, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the Raft log: %w", err)
	}
	s := &storage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	files, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, snapshotsKept, cfg.raftLog())
	if err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	s.snaps = &snapshotStore{files: files, dir: filepath.Join(cfg.Dir, snapshotsDir), key: frames}
	if err := s.snaps.dropUnfinished(); err != nil {
		return nil, fmt.Errorf("remove unfinished snapshots: %w", err)
	}
	path := filepath.Join(cfg.Dir, databaseFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := createDatabase(cfg, key, s.snaps); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if err := checkPages(path); err != nil {
		return nil, err
	}
	if s.bolt, err = openBolt(path); err != nil {
		return nil, err
	}
	var reach uint64
	var marked bool
	s.mark, reach, marked, err = openMark(cfg.Dir, key)
	if errors.Is(err, os.ErrNotExist) {
		return nil, damaged("the high-water mark (file "+markFile+")", "it is missing")
	} else if err != nil {
		return nil, err
	}
	s.pages = &scrubber{path: path}
	logs, stable := cfg.wrapStores(s.pages.log(s.bolt), s.pages.stable(s.bolt))
	s.logs = &logStore{store: logs, key: key, mark: s.mark}
	s.stable = &stableStore{store: stable, key: key, closed: closed, retry: stableRetry}
	return s, s.verify(reach, marked)
}

// verify reads everything but the content of snapshots, which Raft loads next.
//
// A log may end before the newest snapshot: its node was so far behind that the leader sent the state instead of entries.
func (s *storage) verify(reach uint64, marked bool) error {
	metas, listErr := s.snaps.List()
	var covered uint64
	if len(metas) > 0 {
		s.newest, covered = metas[0], metas[0].Index
	}
	if marked && reach <= covered {
		reach = 0
	}
	n, err := s.logs.verify(reach)
	if !marked {
		// When not one entry opens either, the key is wrong rather than everything damaged.
		if n == 0 {
			return fmt.Errorf("%w: neither the Raft log nor its high-water mark was written under this storage key and "+
				"cluster id; start the node with the token that belongs to this directory", ErrWrongKey)
		}
		return errors.Join(damaged("the high-water mark (file "+markFile+")", "its authentication code does not fit"), err)
	}
	if err != nil {
		return err
	}
	if err := s.stable.verify(); err != nil {
		return err
	}
	if listErr != nil {
		return listErr
	}
	first, err := s.logs.FirstIndex()
	if err != nil {
		return err
	}
	s.leftovers = len(metas) > 0 && (first != 0 && first < covered || s.snaps.old())
	if first > covered+1 {
		return damaged(fmt.Sprintf("log entry %d", covered+1),
			fmt.Sprintf("it is missing: the log begins at %d and no snapshot holds what was before", first))
	}
	return nil
}

// close closes what is open. The transport and Raft must be closed before.
func (s *storage) close() error {
	var errs []error
	for _, c := range []io.Closer{closerOf(s.bolt), closerOf(s.lock)} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if s.mark != nil {
		errs = append(errs, s.mark.close())
	}
	return errors.Join(errs...)
}

// closerOf returns nil for a nil pointer, which a plain conversion to an interface would hide.
func closerOf[T any, P interface {
	*T
	io.Closer
}](p P) io.Closer {
	if p == nil {
		return nil
	}
	return p
}

// lockDir takes the directory for this node. The lock ends with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the directory of the Raft log: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, inUse(dir)
		}
		return nil, fmt.Errorf("lock the directory of the Raft log: %w", err)
	}
	return f, nil
}

func inUse(dir string) error {
	return fmt.Errorf("the directory %s is %w by another process; stop that one first, or give this one a directory of its own",
		dir, ErrInUse)
}

// openBolt opens the database without a persisted list of free pages: that list makes each write slower the more a log
// was cut, and is found again on opening.
func openBolt(path string) (_ *raftboltdb.BoltStore, err error) {
	defer guard(databaseFile, &err)
	store, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
		Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	}})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, inUse(filepath.Dir(path))
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, damaged(databaseFile, err.Error())
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", databaseFile, err)
	}
	return store, nil
}

// createDatabase makes the log of a new cluster whose one voter is this node, or an empty one for a node that joins, whole or not
// at all: raft.db appears only when everything is in it.
func createDatabase(cfg Config, key *macKey, snaps *snapshotStore) (err error) {
	if err := checkEmpty(cfg.Dir, key); err != nil {
		return err
	}
	path := filepath.Join(cfg.Dir, databaseFile)
	if err := os.RemoveAll(path + newSuffix); err != nil {
		return err
	}
	if err := createMark(cfg.Dir, key, 0); err != nil {
		return fmt.Errorf("make the high-water mark of the log: %w", err)
	}
	if err := fillDatabase(cfg, key, snaps, path+newSuffix); err != nil {
		return fmt.Errorf("make the Raft log: %w", err)
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return fmt.Errorf("make the Raft log: %w", err)
	}
	return syncDir(cfg.Dir)
}

func fillDatabase(cfg Config, key *macKey, snaps *snapshotStore, path string) (err error) {
	m, _, _, err := openMark(cfg.Dir, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	bolt, err := openBolt(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bolt.Close()) }()
	stable := &stableStore{store: bolt, key: key}
	// A vote for nobody in term 0: from now on a missing vote is damage.
	if err := stable.Set(keyVoteCand, nil); err != nil {
		return err
	}
	if cfg.Join {
		// A member gets the configuration with the log. Without a term a missing one could not be told from damage.
		return stable.SetUint64(keyTerm, 0)
	}
	trans := memoryTransport(cfg.NodeID)
	defer func() { err = errors.Join(err, trans.Close()) }()
	return raft.BootstrapCluster(cfg.raftConfig(), &logStore{store: bolt, key: key, mark: m}, stable, snaps, trans,
		raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(cfg.NodeID), Address: raft.ServerAddress(cfg.NodeID)}}})
}

// mustExist refuses a directory without a log.
func mustExist(dir string) error {
	_, err := os.Stat(filepath.Join(dir, databaseFile))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no replicated state in %s: check the data directory", dir)
	}
	return err
}

// checkEmpty refuses to make a new log where there was one: that would look like a cluster that lost everything.
func checkEmpty(dir string, key *macKey) error {
	const how = "it is missing, although other files of the log are there"
	entries, err := os.ReadDir(filepath.Join(dir, snapshotsDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") {
			return damaged(databaseFile, how)
		}
	}
	m, reach, ok, err := openMark(dir, key)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := m.close(); err != nil {
		return err
	}
	if !ok || reach > 1 { // 1 is where a start that was cut short may have left it
		return damaged(databaseFile, how)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
