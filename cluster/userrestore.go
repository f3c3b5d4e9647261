package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/fence"
	"cryptoserve/engine/fault"
)

const (
	opRestore = "cluster.Restore"
	// restoreLimit bounds the wait of a restore for the entries before it, and then for Raft to begin with it.
	restoreLimit = 30 * time.Second
	// restoreSettle is how long a node that was cut off may go on serving from the state before: a lease, and what clocks differ.
	restoreSettle = fence.Lease + fence.Lease/10
)

// Restore replaces the state of the cluster by what Onto makes of the backup and of the state at that moment, and returns when a
// majority of the nodes has it, this one among them, and no other serves from the state before. At is in Unix milliseconds.
//
// Only the node that leads can do it; elsewhere the error is of kind NotLeader and names the leader. When it fails with kind
// LedgerUnavailable the restore may still take place: look. Proposals wait meanwhile, and what the log held before is gone.
func (n *Node) Restore(ctx context.Context, s *BackupState, at int64) error {
	if !n.leads() {
		return fault.New(fault.NotLeader, opRestore, fmt.Sprintf("only the node that leads restores a backup: run it on %q", n.leader()))
	}
	unlock, err := n.holdEntries(ctx)
	if err != nil {
		return fault.Wrap(fault.LedgerUnavailable, opRestore, "nothing was restored", err)
	}
	err = n.restore(ctx, s, at)
	unlock()
	if err != nil {
		return err
	}
	// The log before the restore holds keys that the state does not have any more.
	n.fsm.removed.Add(1)
	if !n.solo.Load() {
		n.sleep(ctx, restoreSettle)
	}
	return nil
}

// holdEntries waits until every entry of this leader was applied, and keeps new ones back until unlock is called.
func (n *Node) holdEntries(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, restoreLimit)
	defer cancel()
	held := make(chan struct{})
	go func() {
		n.entering.Lock()
		select {
		case held <- struct{}{}:
		case <-ctx.Done():
			n.entering.Unlock()
		}
	}()
	select {
	case <-held:
		return n.entering.Unlock, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("entries are not committed: %w", context.Cause(ctx))
	}
}

// restore works on a state that nobody changes: entries of this leader are held, those before it are applied after the barrier, and
// another leader would have another term.
func (n *Node) restore(ctx context.Context, s *BackupState, at int64) error {
	if err := n.ended(); err != nil {
		return fault.Wrap(fault.LedgerUnavailable, opRestore, "nothing was restored", err)
	}
	ctx, cancel := context.WithTimeout(ctx, restoreLimit)
	defer cancel()
	term := n.raft.CurrentTerm()
	if err := await(ctx, n.raft.Barrier(restoreLimit)); err != nil {
		return fault.Wrap(fault.LedgerUnavailable, opRestore, "nothing was restored", err)
	}
	source := &restoreSource{term: term, view: s.Onto(n.View(), at), frames: n.fsm.frames}
	err := n.raft.Restore(&raft.SnapshotMeta{Version: snapshotVersion}, source, restoreLimit)
	if failure := n.fsm.failure(); failure != nil {
		err = errors.Join(err, failure)
	}
	switch {
	case err == nil:
		n.keepSolo()
		return nil
	case source.written:
		return fault.Wrap(fault.LedgerUnavailable, opRestore, "it is not sure that the restore took place: look at the state", err)
	case errors.Is(err, raft.ErrNotLeader):
		return fault.Wrap(fault.NotLeader, opRestore, fmt.Sprintf("nothing was restored: %q leads by now", n.leader()), err)
	default:
		return fault.Wrap(fault.LedgerUnavailable, opRestore, "nothing was restored", err)
	}
}

// keepSolo gives a node that is still alone its lease without end back: the fence takes it with every snapshot. What is restored is
// this node's own choice and published by now.
func (n *Node) keepSolo() {
	n.soloing.Lock()
	defer n.soloing.Unlock()
	if n.solo.Load() {
		n.fence.SetAlone(true)
	}
}

// endSolo ends it before Raft is asked to add a node.
func (n *Node) endSolo() {
	n.soloing.Lock()
	defer n.soloing.Unlock()
	n.solo.Store(false)
	n.fence.SetAlone(false)
}

// restoreSource writes the state when Raft has chosen the place in the log that the snapshot gets: the header repeats it.
type restoreSource struct {
	term    uint64
	view    *View
	frames  frameKey
	written bool
}

// Read is never called: io.Copy prefers WriteTo.
func (*restoreSource) Read([]byte) (int, error) {
	return 0, errors.New("cluster: a restore is written, not read")
}

var _ io.WriterTo = (*restoreSource)(nil)

// WriteTo writes the snapshot. It returns the size that Restore told Raft, 0: the real one is not known before.
func (r *restoreSource) WriteTo(w io.Writer) (int64, error) {
	sink, ok := w.(*snapshotSink)
	if !ok {
		return 0, fmt.Errorf("cluster: a snapshot cannot be written into a %T", w)
	}
	if sink.meta.Term != r.term {
		return 0, errors.New("cluster: another node has led meanwhile")
	}
	placed := *r.view
	placed.applied = sink.meta.Index
	if err := writeSnapshot(sink, r.frames, &placed, &sink.meta); err != nil {
		return 0, err
	}
	r.written = true
	return 0, nil
}
