package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/cluster/fence"
	"cryptoserve/engine/directory"
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

	fence *fence.Fence
	node  string // this node's id
	// retired is set once a record says that this node was removed.
	retired atomic.Bool
	// membersChanged has a value when records of members have changed since it was read.
	membersChanged chan struct{}
	marked         markedViews

	// failed is why the state machine stopped. Once set it applies nothing: to skip an entry would give this node
	// another state than the rest, or none that anybody agreed to.
	failed   atomic.Pointer[error]
	failures chan error
	// restoreErr is why the last snapshot did not load: Raft drops the reason.
	restoreErr atomic.Pointer[error]
}

func newFSM(node string, clock fence.Clock, entries entryKey, frames frameKey) *fsm {
	f := &fsm{
		entries: entries, frames: frames, db: newState(), failures: make(chan error, 1), node: node,
		fence: fence.New(fence.Config{Node: node, Clock: clock}), membersChanged: make(chan struct{}, 1),
	}
	f.view.Store(newView(f.db, 0))
	return f
}

// Apply applies one entry. It returns a command.Outcome, or an error when the state machine has stopped.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries in one transaction: their effects become visible together, before the first is answered.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	e := effects{applied: f.view.Load().applied}
	txn := f.db.Txn(true)
	for i, l := range logs {
		if err := f.failed.Load(); err != nil {
			responses[i] = *err
			continue
		}
		if l.Type == raft.LogCommand {
			outcome, err := f.applyEntry(txn, l, &e)
			if err != nil {
				f.fail(err)
				responses[i] = err
				continue
			}
			responses[i] = outcome
		}
		e.applied = l.Index
	}
	txn.Commit()
	f.publish(e)
	return responses
}

// effects is what entries did besides changing records.
type effects struct {
	applied uint64 // index of the last one
	changes uint64 // how many may have changed rights
	cluster bool   // the record of the cluster or one of a member
}

// applyEntry opens, decodes and applies one entry. When it fails, the entry has changed nothing.
func (f *fsm) applyEntry(txn *memdb.Txn, l *raft.Log, e *effects) (command.Outcome, error) {
	what := fmt.Sprintf("log entry %d", l.Index)
	encoded, err := f.entries.open(l.Data)
	if err != nil {
		return command.Outcome{}, damaged(what, err.Error())
	}
	c, err := command.Decode(encoded)
	if errors.Is(err, command.ErrUnknown) {
		return command.Outcome{}, fmt.Errorf("%s cannot be applied: %w", what, err)
	}
	if err != nil {
		return command.Outcome{}, damaged(what, err.Error())
	}
	outcome := applyEntry(txn, l.Index, c)
	if outcome.Refused != 0 {
		return outcome, nil
	}
	inside, ok := innermost(c)
	if !ok {
		return outcome, nil // Decode has read it: this does not happen
	}
	if t, ok := inside.(command.Tick); ok {
		f.ticked(txn, l.Index, t)
		return outcome, nil
	}
	if changesRights(inside) {
		e.changes++
	}
	if removesKeys(inside) {
		f.removed.Add(1)
	}
	e.cluster = e.cluster || changesCluster(inside)
	return outcome, nil
}

// ticked tells the fence of a tick, and keeps the state at one that is marked.
func (f *fsm) ticked(txn *memdb.Txn, index uint64, t command.Tick) {
	refreshes := make([]fence.Refresh, 0, len(t.Refreshes))
	for _, r := range t.Refreshes {
		if r.Node == f.node && f.retired.Load() {
			continue // a node that was removed is given no lease
		}
		refreshes = append(refreshes, fence.Refresh{Node: r.Node, Nonce: r.Nonce})
	}
	f.fence.Applied(index, refreshes)
	if t.Mark {
		f.marked.keep(&View{txn: txn.Snapshot(), applied: index})
	}
}

// publish makes the state of f.db visible, then the new epoch, and only then tells the fence, which others wait for.
func (f *fsm) publish(e effects) {
	v := newView(f.db, e.applied)
	f.view.Store(v)
	if e.changes > 0 {
		f.epoch.Add(e.changes)
	}
	if e.cluster {
		f.clusterChanged(v)
	}
	f.fence.Advance(e.applied)
}

// clusterChanged looks at what the records of cluster and members say about this node.
func (f *fsm) clusterChanged(v *View) {
	if c := v.Cluster(); c != nil && c.CommandVersion > command.Newest() {
		f.fail(fmt.Errorf("the cluster was finalised at command version %d, and this program knows up to %d: install the program that the "+
			"other nodes have, and start the node again; nothing was changed", c.CommandVersion, command.Newest()))
	}
	if m := v.Member(f.node); m != nil && m.Status == directory.MemberRemoved && !f.retired.Swap(true) {
		f.fence.Restored() // its lease ends now
	}
	select {
	case f.membersChanged <- struct{}{}:
	default:
	}
}

// markedViews are the states at the last few marked ticks.
type markedViews struct {
	mu    sync.Mutex
	views []*View
}

// markedKept is how many states are kept: more than one, since two members may compare digests at the same time.
const markedKept = 4

func (m *markedViews) keep(v *View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.views) == markedKept {
		m.views = m.views[1:]
	}
	m.views = append(m.views, v)
}

// at returns the state at an index, nil when it is not kept.
func (m *markedViews) at(index uint64) *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.views {
		if v.applied == index {
			return v
		}
	}
	return nil
}

func (f *fsm) fail(err error) {
	if f.halt(err) {
		f.failures <- err
	}
}

// halt has the state machine apply nothing any more, and reports whether this is the first reason to.
func (f *fsm) halt(err error) bool { return f.failed.CompareAndSwap(nil, &err) }

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
	f.fence.Restored()
	f.db = db
	f.publish(effects{applied: applied, changes: 1, cluster: true})
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
	own.own = true
	if err := writeSnapshot(sink, s.frames, s.view, &own.meta); err != nil {
		return errors.Join(fmt.Errorf("cluster: write snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release does nothing: the view is garbage when nobody holds it.
func (s *fsmSnapshot) Release() {}
