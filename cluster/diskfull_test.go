package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
)

// smallDisk mounts a tmpfs of 1 MiB. Without the right to mount it reports false.
func smallDisk(t *testing.T) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("cannot mount a tmpfs (%v): only the failing store is tested", err)
		return "", false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, true
}

// fillDisk writes until there is no space left and returns how to free it.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// proposeUntil proposes tenants until one fails, and returns the error and how many were acknowledged.
func proposeUntil(t *testing.T, n *Node, from int) (int, error) {
	t.Helper()
	for i := from; i < from+10000; i++ {
		c := newTenant(fmt.Sprintf("ten-%d", i))
		c.Tenant.Name += strings.Repeat("x", 2000)
		if _, err := n.Propose(testContext(t), c); err != nil {
			return i, err
		}
	}
	t.Fatal("the disk never got full")
	return 0, nil
}

// recovers checks that a node whose disk is full again has space: it writes again by itself, without a restart, and
// nothing that was acknowledged is gone, neither now nor after a restart.
func recovers(t *testing.T, n *Node, acknowledged int) {
	t.Helper()
	eventually(t, "writes work again", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := n.Propose(ctx, command.LeaseUsage{Key: keyID("apple", 3), Count: 1})
		return err == nil
	})
	eventually(t, "the node is healthy", func() bool { return n.Status().Healthy })
	index, digest := n.Digest()
	mustClose(t, n)
	cfg := n.cfg
	cfg.wrap = nil
	n = mustOpen(t, cfg)
	if i, d := n.Digest(); i != index || d != digest {
		t.Fatalf("index %d and digest %x after the restart, not %d and %x", i, d, index, digest)
	}
	for i := range acknowledged {
		if n.View().Tenant(fmt.Sprintf("ten-%d", i)).Record() == nil {
			t.Fatalf("tenant %d was acknowledged and is gone", i)
		}
	}
}

func readsGoOn(t *testing.T, n *Node) {
	t.Helper()
	if n.View().Tenant("ten-a").Context("apple") == nil {
		t.Fatal("a read failed")
	}
}

// TestDiskFull fills a real file system under the log.
func TestDiskFull(t *testing.T) {
	dir, ok := smallDisk(t)
	if !ok {
		dir = t.TempDir()
	}
	cfg := testConfig(t, filepath.Join(dir, "raft"))
	cfg.Log = nil
	var full atomic.Bool
	if !ok {
		cfg.wrap = noSpaceWhile(&full)
	}
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	free := func() { full.Store(false) }
	if ok {
		free = fillDisk(t, dir)
	} else {
		full.Store(true)
	}
	acknowledged, err := proposeUntil(t, n, 0)
	if !errors.Is(err, fault.LedgerUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	readsGoOn(t, n)
	eventually(t, "the status shows it", func() bool { return !n.Status().Healthy })
	if _, err := n.Propose(testContext(t), newTenant("ten-z")); !errors.Is(err, fault.LedgerUnavailable) {
		t.Fatal(err)
	}
	free()
	recovers(t, n, acknowledged)
}

func noSpaceWhile(full *atomic.Bool) func(raft.LogStore, raft.StableStore) (raft.LogStore, raft.StableStore) {
	fail := func() error {
		if full.Load() {
			return &os.PathError{Op: "write", Path: databaseFile, Err: syscall.ENOSPC}
		}
		return nil
	}
	return func(l raft.LogStore, s raft.StableStore) (raft.LogStore, raft.StableStore) {
		return &faultyLogs{l, func(next func() error) error {
			if err := fail(); err != nil {
				return err
			}
			return next()
		}}, &failingStable{s, fail}
	}
}

// TestNoWriteSucceeds is a disk so full that not even a term can be saved, on which Raft by itself ends the process.
func TestNoWriteSucceeds(t *testing.T) {
	var full atomic.Bool
	cfg := testConfig(t, t.TempDir())
	cfg.Log = nil
	cfg.wrap = noSpaceWhile(&full)
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	full.Store(true)
	acknowledged, err := proposeUntil(t, n, 0)
	if acknowledged != 0 || !errors.Is(err, fault.LedgerUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(acknowledged, err)
	}
	eventually(t, "the node says that no term can be saved", func() bool {
		return strings.Contains(n.Status().Reason, "cannot save its term")
	})
	readsGoOn(t, n)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := n.Propose(ctx, newTenant("ten-z")); !errors.Is(err, fault.LedgerUnavailable) {
		t.Fatal(err)
	}
	full.Store(false)
	recovers(t, n, acknowledged)
}

// TestCloseOnAFullDisk: a node that waits for space can be closed.
func TestCloseOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	cfg := testConfig(t, t.TempDir())
	cfg.Log = nil
	cfg.wrap = noSpaceWhile(&full)
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	full.Store(true)
	if _, err := n.Propose(testContext(t), newTenant("ten-z")); !errors.Is(err, fault.LedgerUnavailable) {
		t.Fatal(err)
	}
	eventually(t, "Raft waits for space", func() bool { return n.storage.stable.stuck.Load() != nil })
	mustClose(t, n)
	cfg.wrap = nil
	mustOpen(t, cfg)
}

// TestOpenOnAFullDisk: an error, and no half-made log.
func TestOpenOnAFullDisk(t *testing.T) {
	dir, ok := smallDisk(t)
	var free func()
	if ok {
		free = fillDisk(t, dir)
	} else {
		// Without a file system that can be filled: a file of the new log that has no space.
		dir = t.TempDir()
		path := filepath.Join(dir, "raft", markFile+newSuffix)
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.Symlink("/dev/full", path)); err != nil {
			t.Fatal(err)
		}
		free = func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := testConfig(t, filepath.Join(dir, "raft"))
	if err := openFails(t, cfg); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	free()
	mustPropose(t, mustOpen(t, cfg), seed()...)
}
