package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/lp"
	"cryptoserve/engine/seal"
)

// entryKey seals the commands of log entries. The associated data is lp("cryptoserve/log/1") lp(cluster id), without term
// and index: who proposes a command does not know them yet. The frame of an entry is authenticated besides, see macKey.
type entryKey struct {
	key        *seal.Key
	associated []byte
}

func newEntryKey(key *seal.Key, cluster string) entryKey {
	return entryKey{key, lp.Append(lp.Append(nil, "cryptoserve/log/1"), cluster)}
}

func (k entryKey) seal(encoded []byte) ([]byte, error) { return k.key.Seal(nil, k.associated, encoded) }

func (k entryKey) open(data []byte) ([]byte, error) { return k.key.Open(nil, k.associated, data) }

// fsm is the state machine that Raft drives. Raft calls it from one goroutine; view, epoch and failure are for all.
type fsm struct {
	entries entryKey
	frames  frameKey

	db    *memdb.MemDB
	view  atomic.Pointer[View]
	epoch atomic.Uint64
	// removed counts what may have left key material behind on this disk: see Node.Compact.
	removed atomic.Uint64

	// failed is why the state machine stopped. Once set it applies nothing: to skip an entry would give this node
	// another state than the rest, or none that anybody agreed to.
	failed   atomic.Pointer[error]
	failures chan error
	// restoreErr is why the last snapshot did not load: Raft drops the reason.
	restoreErr atomic.Pointer[error]
}

func newFSM(entries entryKey, frames frameKey) *fsm {
	f := &fsm{entries: entries, frames: frames, db: newState(), failures: make(chan error, 1)}
	f.view.Store(newView(f.db, 0))
	return f
}

// Apply applies one entry. It returns a command.Outcome, or an error when the state machine has stopped.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries in one transaction: their effects become visible together, before the first is answered.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	applied := f.view.Load().applied
	var changes uint64
	txn := f.db.Txn(true)
	for i, l := range logs {
		if err := f.failed.Load(); err != nil {
			responses[i] = *err
			continue
		}
		if l.Type == raft.LogCommand {
			outcome, rights, err := f.applyEntry(txn, l)
			if err != nil {
				f.fail(err)
				responses[i] = err
				continue
			}
			if rights && outcome.Refused == 0 {
				changes++
			}
			responses[i] = outcome
		}
		applied = l.Index
	}
	txn.Commit()
	f.publish(applied, changes)
	return responses
}

// applyEntry opens, decodes and applies one entry, and tells whether it is of a kind that changes rights. When it fails, the
// entry has changed nothing.
func (f *fsm) applyEntry(txn *memdb.Txn, l *raft.Log) (outcome command.Outcome, rights bool, err error) {
	what := fmt.Sprintf("log entry %d", l.Index)
	encoded, err := f.entries.open(l.Data)
	if err != nil {
		return command.Outcome{}, false, damaged(what, err.Error())
	}
	c, err := command.Decode(encoded)
	if errors.Is(err, command.ErrUnknown) {
		return command.Outcome{}, false, fmt.Errorf("%s holds an %w", what, err)
	}
	if err != nil {
		return command.Outcome{}, false, damaged(what, err.Error())
	}
	outcome = apply(txn, c)
	if outcome.Refused == 0 && removesKeys(c) {
		f.removed.Add(1)
	}
	return outcome, changesRights(c), nil
}

// publish makes the state of f.db visible, and only then the new epoch.
func (f *fsm) publish(applied, changes uint64) {
	f.view.Store(newView(f.db, applied))
	if changes > 0 {
		f.epoch.Add(changes)
	}
}

func (f *fsm) fail(err error) {
	if f.failed.CompareAndSwap(nil, &err) {
		f.failures <- err
	}
}

// failure returns why the state machine has stopped, nil while it runs.
func (f *fsm) failure() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Snapshot returns what the state is now, to be written while entries go on being applied. A state machine that has
// stopped gives none: Raft would take it for one that contains the entries after the stop.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	return &fsmSnapshot{f.view.Load(), f.frames}, nil
}

// Restore replaces the state by that of a snapshot. When it fails the state is as before.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer func() { _ = r.Close() }() // only read from
	db, applied, err := readSnapshot(r, f.frames)
	if err != nil {
		f.restoreErr.Store(&err)
		return err
	}
	f.db = db
	f.publish(applied, 1)
	return nil
}

// fsmSnapshot is a state that is being written.
type fsmSnapshot struct {
	view   *View
	frames frameKey
}

// Persist writes the snapshot into a sink of snapshotStore.
func (s *fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	own, ok := sink.(*snapshotSink)
	if !ok {
		return errors.Join(fmt.Errorf("cluster: a snapshot cannot be written into a %T", sink), sink.Cancel())
	}
	if err := writeSnapshot(sink, s.frames, s.view, &own.meta); err != nil {
		return errors.Join(fmt.Errorf("cluster: write snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release does nothing: the view is garbage when nobody holds it.
func (s *fsmSnapshot) Release() {}
