package cluster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/engine/directory"
)

// configOf is the configuration with which a node of a group was started, for work on its directory.
func (g *group) configOf(n *Node) Config {
	cfg := n.cfg
	cfg.Network, cfg.Join, cfg.Seeds = nil, false, nil
	return cfg
}

// number is that of a node in its group.
func number(n *Node) int { return int(n.cfg.NodeID[len(n.cfg.NodeID)-1] - '0') }

// TestRecover: two of three nodes are gone for good, and the third goes on alone. The others cannot come back.
func TestRecover(t *testing.T) {
	g := newGroup(t, 3)
	mustPropose(t, g.leader(), leaseOne)
	g.agree()
	survivor := g.follower()
	if _, err := Recover(g.configOf(survivor)); !errors.Is(err, ErrInUse) {
		t.Fatalf("of a node that runs: %v", err)
	}
	var gone []*Node
	for _, n := range g.nodes {
		if n != survivor {
			gone = append(gone, n)
		}
	}
	for _, n := range gone {
		g.kill(n)
		mustClose(t, n)
	}
	mustClose(t, survivor)
	for range 2 { // and again
		r, err := Recover(g.configOf(survivor))
		if err != nil || r.Index == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	n := g.start(number(survivor), false)
	g.ready(n)
	eventually(t, "it is alone", n.solo.Load)
	if leased(n) != 1 {
		t.Fatal("a write is gone")
	}
	mustPropose(t, n, leaseOne)
	for _, m := range n.View().Members() {
		if (m.ID == n.cfg.NodeID) != (m.Status == directory.MemberActive) {
			t.Fatalf("%+v", m)
		}
	}
	// One of the others starts again, with all that it had: it disturbs nobody, and serves nothing.
	back := g.start(number(gone[0]), false)
	time.Sleep(time.Second)
	if !back.Expired(back.Lease()) || back.leads() || !n.leads() || len(n.servers()) != 1 {
		t.Fatal("a node of the cluster that was is back")
	}
	g.stop(back)
	g.join(4)
	g.voters(2)
	g.agree()
}

func TestRecoverRefuses(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	if _, err := Recover(cfg); err == nil || !strings.Contains(err.Error(), "no replicated state") {
		t.Fatalf("of an empty directory: %v", err)
	}
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	mustClose(t, n)
	index, digest := n.Digest()
	if _, err := Recover(cfg); err == nil || !strings.Contains(err.Error(), "do not allow it") {
		t.Fatalf("of a node that is no member: %v", err)
	}
	n = mustOpen(t, cfg)
	if i, d := n.Digest(); i != index || d != digest {
		t.Fatal("it changed the state")
	}
	waiting := testConfig(t, t.TempDir())
	waiting.Join = true
	if err := openAndClose(waiting); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(waiting); err == nil || !strings.Contains(err.Error(), "holds no state") {
		t.Fatalf("of a node that has received nothing: %v", err)
	}
}

// openAndClose makes the directory of a node that joins.
func openAndClose(cfg Config) error {
	n, keys, err := newNode(cfg)
	if err != nil {
		return err
	}
	s, err := openStorage(cfg, keys.mac, keys.frames, n.closed)
	if err != nil {
		return err
	}
	return s.close()
}

// TestRecoverCutShort: it ends between its snapshot and the removal of the entries, and the node starts all the same.
func TestRecoverCutShort(t *testing.T) {
	g := newGroup(t, 2)
	survivor, gone := g.follower(), g.leader()
	g.kill(gone)
	mustClose(t, gone)
	mustClose(t, survivor)
	cfg := g.configOf(survivor)
	cfg.wrap = func(l raft.LogStore, s raft.StableStore) (raft.LogStore, raft.StableStore) { return undeletable{l}, s }
	if _, err := Recover(cfg); !errors.Is(err, errUndeletable) {
		t.Fatal(err)
	}
	n := g.start(number(survivor), false)
	g.ready(n)
	mustPropose(t, n, leaseOne)
	mustClose(t, n)
	n = g.start(number(survivor), false)
	g.ready(n)
	if leased(n) != 1 {
		t.Fatal("a write is gone")
	}
}

var errUndeletable = errors.New("no deletion")

type undeletable struct{ raft.LogStore }

func (undeletable) DeleteRange(uint64, uint64) error { return errUndeletable }

// TestSnapshotInstall: a follower is away until the leader has only a snapshot of what it missed. It takes that, starts with it,
// and has a log that goes on behind it.
func TestSnapshotInstall(t *testing.T) {
	g := newGroupWith(t, 3, func(c *Config) { c.TrailingLogs = 2 })
	away := g.follower()
	g.net.Isolate(away.cfg.NodeID)
	mustPropose(t, g.leader(), leaseOne, leaseOne, leaseOne, leaseOne, leaseOne)
	for _, n := range g.nodes {
		if n != away {
			if err := n.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	end := away.raft.LastIndex()
	if first, err := g.leader().storage.logs.FirstIndex(); err != nil || first <= end {
		t.Fatalf("the leader still has entry %d: the first is %d, %v", end, first, err)
	}
	g.net.Heal()
	eventually(t, "it has caught up", func() bool { return leased(away) == 5 })
	eventually(t, "the old entries before the gap are gone", func() bool {
		first, err := away.storage.logs.FirstIndex()
		return err == nil && first > end
	})
	g.voters(3)
	g.agree()
	g.kill(away)
	mustClose(t, away)
	back := g.start(number(away), false)
	g.ready(back)
	if leased(back) != 5 {
		t.Fatal("a write is gone")
	}
	g.agree()
}

// TestRestartBehindASnapshot: the process ends after it took a snapshot of the leader and before it stored an entry behind it.
func TestRestartBehindASnapshot(t *testing.T) {
	for name, drop := range map[string]bool{"the old entries are there": false, "the old entries are gone": true} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t, t.TempDir())
			n := mustOpen(t, cfg)
			mustPropose(t, n, seed()...)
			mustPropose(t, n, leaseOne)
			end := n.raft.LastIndex()
			mustClose(t, n)
			behind, keys, err := newNode(cfg)
			if err != nil {
				t.Fatal(err)
			}
			s, err := openStorage(cfg, keys.mac, keys.frames, behind.closed)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := behind.replay(s); err != nil {
				t.Fatal(err)
			}
			behind.fsm.publish(effects{applied: end + 1000})
			logs := s.logs
			if !drop {
				s.logs = &logStore{store: undeletable{logs.store}, key: logs.key, mark: logs.mark}
			}
			if err := behind.settle(s, end+1000, 2); drop != (err == nil) {
				t.Fatal(err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			n = mustOpen(t, cfg)
			if leased(n) != 1 || n.View().applied < end+1000 {
				t.Fatal("the snapshot was not taken")
			}
			mustPropose(t, n, leaseOne)
			mustClose(t, n)
			if n = mustOpen(t, cfg); leased(n) != 2 {
				t.Fatal("a write is gone")
			}
		})
	}
}

// TestSnapshotOfALeaderIsChecked: what a leader sends becomes a snapshot only when it is whole and of this cluster and place.
func TestSnapshotOfALeaderIsChecked(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	mustPropose(t, n, seed()...)
	meta := raft.SnapshotMeta{
		Index: 1000, Term: 7, ConfigurationIndex: 1, Configuration: raft.Configuration{Servers: n.servers()},
	}
	var b bytes.Buffer
	if err := writeSnapshot(&b, n.fsm.frames, n.View(), &meta); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	install := func(data []byte, index uint64) error {
		sink, err := n.storage.snaps.Create(1, index, 7, meta.Configuration, 1, n.trans)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(sink, bytes.NewReader(data)); err != nil {
			return errors.Join(err, sink.Cancel())
		}
		return sink.Close()
	}
	kept := func() int {
		t.Helper()
		entries, err := os.ReadDir(filepath.Join(cfg.Dir, snapshotsDir))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	for name, data := range map[string][]byte{
		"nothing": {}, "cut": good[:len(good)-1], "cut after a frame": good[:100], "more": append(bytes.Clone(good), 0),
		"changed": flip(good, len(good)/2), "changed at the end": flip(good, len(good)-1), "changed head": flip(good, 0),
	} {
		if err := install(data, meta.Index); err == nil {
			t.Errorf("%s: it became a snapshot", name)
		}
		if kept() != 0 {
			t.Fatalf("%s: something is left", name)
		}
	}
	if err := install(good, meta.Index+1); err == nil || kept() != 0 {
		t.Fatal("a snapshot of another place was taken")
	}
	if err := install(good, meta.Index); err != nil || kept() != 1 {
		t.Fatalf("the good one: %v", err)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}
