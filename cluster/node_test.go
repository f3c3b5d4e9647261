package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
)

func TestRestartReplaysTheLog(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	index, digest := n.Digest()
	mustClose(t, n)

	n = mustOpen(t, cfg)
	if i, d := n.Digest(); i != index || d != digest {
		t.Fatalf("index %d, digest %x after the restart; before: %d, %x", i, d, index, digest)
	}
	if n.View().Tenant("ten-a").Context(secretContext) == nil {
		t.Fatal("a context is gone")
	}
	if s := n.Status(); !s.Leader || !s.Healthy || s.Applied != index || s.LastIndex < index {
		t.Fatalf("status %+v", s)
	}
}

func TestSnapshotRestartReplay(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.TrailingLogs = 1
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if err := n.Snapshot(); err != nil {
		t.Fatalf("a second snapshot of the same state: %v", err)
	}
	first, err := n.storage.logs.FirstIndex()
	if err != nil || first <= 2 {
		t.Fatalf("the log was not shortened: first %d, %v", first, err)
	}
	mustPropose(t, n, command.LeaseUsage{Key: keyID("apple", 3), Count: 5})
	index, digest := n.Digest()
	mustClose(t, n)

	n = mustOpen(t, cfg)
	if i, d := n.Digest(); i != index || d != digest {
		t.Fatalf("index %d, digest %x after the restart; before: %d, %x", i, d, index, digest)
	}
	if n.Epoch() == 0 {
		t.Fatal("restoring a snapshot did not change the epoch")
	}
}

// TestInvariant10EqualDigests replays one log on a second node.
func TestInvariant10EqualDigests(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	a := mustOpen(t, cfg)
	mustPropose(t, a, seed()...)
	for range 20 {
		mustPropose(t, a, command.LeaseUsage{Key: keyID("apple", 3), Count: 3})
	}
	other := cfg
	other.Dir = copyDir(t, cfg.Dir)
	b := mustOpen(t, other)
	ia, da := a.Digest()
	ib, db := b.Digest()
	if ia != ib || da != db {
		t.Fatalf("indexes %d and %d, digests %x and %x", ia, ib, da, db)
	}
	mustPropose(t, b, command.LeaseUsage{Key: keyID("apple", 3), Count: 1})
	if _, d := b.Digest(); d == da {
		t.Fatal("the digest of another state is the same")
	}
}

// TestAcknowledgedSurvivesKill copies the directory of a running node, as kill -9 leaves it, after each of some
// acknowledged proposals.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster())
	for _, id := range []string{"t1", "t2", "t3"} {
		mustPropose(t, n, newTenant(id))
		after := cfg
		after.Dir = copyDir(t, cfg.Dir)
		again := mustOpen(t, after)
		if again.View().Tenant(id).Record() == nil {
			t.Fatalf("tenant %s was acknowledged and is gone", id)
		}
		mustClose(t, again)
	}
}

func TestProposeAnswers(t *testing.T) {
	n := mustOpen(t, testConfig(t, t.TempDir()))
	mustPropose(t, n, seed()...)
	t.Run("outcome", func(t *testing.T) {
		out, err := n.Propose(testContext(t), &command.LeaseUsage{Key: keyID("apple", 3), Count: 7})
		if err != nil || out.Granted != 7 || out.Total != 7 {
			t.Fatalf("%+v, %v", out, err)
		}
		if n.View().Tenant("ten-a").Version(keyID("apple", 3)).Leased != 7 {
			t.Fatal("the view does not show what was answered")
		}
	})
	t.Run("refused", func(t *testing.T) {
		out, err := n.Propose(testContext(t), newTenant("ten-a"))
		if !errors.Is(err, fault.Conflict) || out.Refused != fault.Conflict {
			t.Fatalf("%+v, %v", out, err)
		}
	})
	t.Run("no command", func(t *testing.T) {
		if _, err := n.Propose(testContext(t), nil); !errors.Is(err, fault.Malformed) {
			t.Fatal(err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		c := newContext("ten-a", "large", keyID("large", 9))
		c.Context.Description = strings.Repeat("x", maxCommand)
		if _, err := n.Propose(testContext(t), c); !errors.Is(err, fault.TooLarge) {
			t.Fatal(err)
		}
	})
	t.Run("context ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(testContext(t))
		cancel()
		if _, err := n.Propose(ctx, newTenant("ten-z")); !errors.Is(err, fault.LedgerUnavailable) || !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		mustClose(t, n)
		if _, err := n.Propose(testContext(t), newTenant("ten-z")); !errors.Is(err, fault.LedgerUnavailable) || !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		if s := n.Status(); s.Healthy || s.Reason == "" {
			t.Fatalf("status %+v", s)
		}
		mustClose(t, n)
	})
}

func TestEpoch(t *testing.T) {
	n := mustOpen(t, testConfig(t, t.TempDir()))
	mustPropose(t, n, newCluster(), newTenant("ten-a"), newContext("ten-a", "apple", keyID("apple", 1)),
		newApplication("ten-a", "app-1", "apple"), newUser("ten-a", "usr-1"))
	for _, c := range []struct {
		command command.Command
		changes bool
	}{
		{newTenant("ten-b"), true},
		{newContext("ten-b", "apple", keyID("apple", 2)), true},
		{command.RotateContext{Version: newVersion("ten-a", "apple", 2, keyID("apple", 3))}, true},
		{newApplication("ten-a", "app-2"), true},
		{newUser("ten-a", "usr-2"), true},
		{newSession("ten-a", "usr-1", 1, 1, 2), false},
		{newRefresh("ten-a", "app-1", "ref-1", 1, 1, 20), false},
		{command.RotateRefresh{Family: "ref-1", Presented: [32]byte(fill(32, 1)), Next: [32]byte(fill(32, 2)), At: 2, ExpiresAt: 30}, false},
		{command.LeaseUsage{Key: keyID("apple", 3), Count: 1}, false},
	} {
		before := n.Epoch()
		mustPropose(t, n, c.command)
		if changed := n.Epoch() != before; changed != c.changes {
			t.Errorf("%T: the epoch changed: %v", c.command, changed)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	good := testConfig(t, t.TempDir())
	n := mustOpen(t, good)
	mustPropose(t, n, seed()...)
	t.Run("a directory in use", func(t *testing.T) {
		if err := openFails(t, good); !errors.Is(err, ErrInUse) {
			t.Fatal(err)
		}
	})
	t.Run("a database in use", func(t *testing.T) {
		if err := os.Rename(filepath.Join(good.Dir, lockFile), filepath.Join(good.Dir, "other")); err != nil {
			t.Fatal(err)
		}
		if err := openFails(t, good); !errors.Is(err, ErrInUse) {
			t.Fatal(err)
		}
	})
	mustClose(t, n)
	for name, change := range map[string]struct {
		config func(*Config)
		want   error
		text   string
	}{
		"another storage key": {func(c *Config) { c.StorageKey = secret.New(fill(32, 8)) }, ErrWrongKey, "token that belongs"},
		"another cluster":     {func(c *Config) { c.ClusterID = "cls_fedcba9876543210" }, ErrWrongKey, ""},
		"a short key":         {func(c *Config) { c.StorageKey = secret.New(fill(16, 7)) }, nil, "16 bytes"},
		"no directory":        {func(c *Config) { c.Dir = "" }, nil, "must be given"},
		"another node":        {func(c *Config) { c.NodeID = "node-2" }, nil, "not a member"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change.config(&cfg)
			err := openFails(t, cfg)
			if change.want != nil && !errors.Is(err, change.want) || !strings.Contains(err.Error(), change.text) {
				t.Fatal(err)
			}
		})
	}
	t.Run("context ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := Open(ctx, good); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
	mustClose(t, mustOpen(t, good)) // after all these the directory is as it was
}

func TestOpenAfterCreationWasCutShort(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	mustClose(t, mustOpen(t, cfg))
	whole := cfg.Dir
	for name, cut := range map[string]func(dir string) error{
		"before the log appeared": func(dir string) error {
			key, err := newMACKey(cfg.StorageKey, cfg.ClusterID)
			if err != nil {
				return err
			}
			path := filepath.Join(dir, databaseFile)
			return errors.Join(createMark(dir, key, 1), os.Truncate(path, 5000), os.Rename(path, path+newSuffix))
		},
		"before the mark": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, databaseFile)),
				os.Rename(filepath.Join(dir, markFile), filepath.Join(dir, markFile+newSuffix)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.Dir = copyDir(t, whole)
			if err := cut(cfg.Dir); err != nil {
				t.Fatal(err)
			}
			mustPropose(t, mustOpen(t, cfg), seed()...)
		})
	}
}

func TestUnknownCommandStopsTheNode(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster(), newTenant("ten-a"))
	before, _ := n.Digest()

	encoded, err := command.Marshal(map[int]any{1: command.Version, 2: 999, 3: []byte{0xa0}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.commit(testContext(t), encoded, false); !errors.Is(err, fault.LedgerUnavailable) || !errors.Is(err, command.ErrUnknown) {
		t.Fatal(err)
	}
	select {
	case err := <-n.Failed():
		if !errors.Is(err, command.ErrUnknown) || !strings.Contains(err.Error(), "type 999") ||
			!strings.Contains(err.Error(), "newer program") {
			t.Fatal(err)
		}
	case <-testContext(t).Done():
		t.Fatal("Failed said nothing")
	}
	if _, err := n.Propose(testContext(t), newTenant("ten-b")); !errors.Is(err, fault.LedgerUnavailable) {
		t.Fatal(err)
	}
	// What Raft still brings is not applied, and no snapshot hides the stop.
	sealed, err := n.fsm.entries.seal(encodeCommand(t, newTenant("ten-c")))
	if err != nil {
		t.Fatal(err)
	}
	f := n.raft.Apply(sealed, 0)
	if err := f.Error(); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Response().(error); !ok {
		t.Fatalf("a later entry was applied: %v", f.Response())
	}
	if after, _ := n.Digest(); after != before || n.View().Tenant("ten-c").Record() != nil {
		t.Fatalf("applied %d, then %d", before, after)
	}
	if err := n.Snapshot(); !strings.Contains(err.Error(), "unknown command") {
		t.Fatal(err)
	}
	if s := n.Status(); s.Healthy || !strings.Contains(s.Reason, "type 999") {
		t.Fatalf("status %+v", s)
	}
	mustClose(t, n)
	if err := openFails(t, cfg); !errors.Is(err, command.ErrUnknown) {
		t.Fatal(err)
	}
}

func encodeCommand(t testing.TB, c command.Command) []byte {
	t.Helper()
	b, err := command.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUndecodableEntryStopsTheNode(t *testing.T) {
	for name, make := range map[string]func(n *Node) []byte{
		"not sealed": func(*Node) []byte { return encodeCommand(t, newTenant("ten-a")) },
		"sealed rubbish": func(n *Node) []byte {
			b, err := n.fsm.entries.seal([]byte("rubbish"))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := mustOpen(t, testConfig(t, t.TempDir()))
			mustPropose(t, n, newCluster())
			f := n.raft.Apply(make(n), 0)
			if err := f.Error(); err != nil {
				t.Fatal(err)
			}
			if err := <-n.Failed(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "log entry ") {
				t.Fatal(err)
			}
		})
	}
}

// TestTrapF6HungLog: the disk of the log hangs; Raft keeps its leadership and says nothing.
func TestTrapF6HungLog(t *testing.T) {
	hang := make(chan chan struct{}, 1)
	cfg := testConfig(t, t.TempDir())
	cfg.wrap = func(l raft.LogStore, s raft.StableStore) (raft.LogStore, raft.StableStore) {
		return &faultyLogs{l, func(next func() error) error {
			select {
			case release := <-hang:
				<-release
			default:
			}
			return next()
		}}, s
	}
	n := mustOpen(t, cfg)
	mustPropose(t, n, newCluster())
	release := make(chan struct{})
	hang <- release
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Propose(ctx, newTenant("ten-a")); !errors.Is(err, fault.LedgerUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	eventually(t, "the watchdog sees it", func() bool { return !n.Status().Healthy })
	if s := n.Status(); !s.Leader || !strings.Contains(s.Reason, "not committed within 1s") {
		t.Fatalf("status %+v", s)
	}
	close(release)
	eventually(t, "the node is healthy again", func() bool { return n.Status().Healthy })
	eventually(t, "what was proposed is applied", func() bool { return n.View().Tenant("ten-a").Record() != nil })
}
