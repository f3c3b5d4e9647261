package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// compactTrailing is how many entries stay in the log behind the snapshot of a compaction. One has to stay: a log without any
// looks like one that lost its end. It is newer than the entry that removed a key, and so than the one that brought it.
const compactTrailing = 1

// Compact removes from this node's disk what destroyed keys left there: a snapshot of the state as it is now takes the place of
// all entries before it and of all older snapshots, and the pages of the database that are free afterwards are overwritten with
// zeros. It does nothing when no key was destroyed since the last time. It may run while entries are proposed; Raft waits for
// milliseconds.
//
// What the node cannot reach stays: blocks that the file system or the disk itself has put aside, and backups until they end.
// All of it is sealed under the storage key, which only the token derives.
func (n *Node) Compact(ctx context.Context) error {
	n.compacting.Lock()
	defer n.compacting.Unlock()
	seen := n.fsm.removed.Load()
	if seen == 0 {
		return nil
	}
	if err := n.compact(ctx); err != nil {
		return fmt.Errorf("cluster: remove destroyed keys: %w", err)
	}
	n.fsm.removed.Add(-seen) // what was removed meanwhile stays counted
	return nil
}

func (n *Node) compact(ctx context.Context) (err error) {
	usual := n.raft.ReloadableConfig()
	short := usual
	short.TrailingLogs = compactTrailing
	if err := n.raft.ReloadConfig(short); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.raft.ReloadConfig(usual)) }()
	if err := n.snapshot(ctx); err != nil {
		return err
	}
	if err := n.storage.snaps.dropOld(); err != nil {
		return err
	}
	return n.storage.pages.scrub(ctx)
}

// snapshot takes a snapshot, which shortens the log. Raft cannot be told to give up.
func (n *Node) snapshot(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- n.raft.Snapshot().Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(compactLimit):
		return fmt.Errorf("the snapshot was not taken within %v", compactLimit)
	}
}

// compactLimit bounds the wait for a snapshot.
const compactLimit = time.Minute
