package cluster

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestTrapsF3F4F5Source: nothing in this package calls what says nothing certain about freshness, nor what loses the membership.
func TestTrapsF3F4F5Source(t *testing.T) {
	closed := map[string]string{
		"VerifyLeader":           "it counts answers to requests from before the call, and nodes without a vote (F3)",
		"LastContact":            "heartbeats refresh it while the log or the state machine stands still (F4)",
		"RestoreCommittedLogs":   "it loses the membership (F5)",
		"CommitTrackingLogStore": "it is what RestoreCommittedLogs needs (F5)",
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && closed[name.Name] != "" {
				t.Errorf("%s uses %s: %s", path, name.Name, closed[name.Name])
			}
			return true
		})
	}
	if _, ok := any(&logStore{}).(interface{ SetCommitIndex(uint64) error }); ok {
		t.Error("the log store tracks the commit index (F5)")
	}
}

// TestTrapF4LeaseIsNotContact: a follower whose log store hangs hears the leader all the time, and its lease runs out.
func TestTrapF4LeaseIsNotContact(t *testing.T) {
	var hang atomic.Pointer[string]
	release := make(chan struct{})
	g := newGroupWith(t, 3, func(c *Config) { c.wrap = hanging(c.NodeID, &hang, release) })
	defer close(release)
	ill := g.follower()
	hang.Store(&ill.cfg.NodeID)
	eventually(t, "its lease has run out", func() bool { return ill.Expired(ill.Lease()) })
	if s := ill.Status(); s.Healthy || s.Reason == "" {
		t.Fatalf("%+v", s)
	}
	hang.Store(nil)
}

// hanging has the log store of one node hang while its id stands in hang.
func hanging(id string, hang *atomic.Pointer[string], release <-chan struct{}) func(raft.LogStore, raft.StableStore) (raft.LogStore, raft.StableStore) {
	return func(l raft.LogStore, s raft.StableStore) (raft.LogStore, raft.StableStore) {
		return &faultyLogs{l, func(next func() error) error {
			for p := hang.Load(); p != nil && *p == id; p = hang.Load() {
				select {
				case <-release:
					return next()
				case <-time.After(5 * time.Millisecond):
				}
			}
			return next()
		}}, s
	}
}

// TestTrapF6HangingDisk: the disk of the leader hangs. It would go on with its heartbeats; it stops, and another one leads.
func TestTrapF6HangingDisk(t *testing.T) {
	var hang atomic.Pointer[string]
	release := make(chan struct{})
	g := newGroupWith(t, 3, func(c *Config) { c.wrap = hanging(c.NodeID, &hang, release) })
	defer close(release)
	ill := g.leader()
	hang.Store(&ill.cfg.NodeID)
	began := time.Now()
	g.failedBecause(ill, "was not committed")
	if took := time.Since(began); took > 2*commitLimit {
		t.Fatalf("it took %v to notice", took)
	}
	if !ill.Expired(ill.Lease()) {
		t.Fatal("it has a lease")
	}
	delete(g.nodes, ill.cfg.NodeID)
	mustPropose(t, g.other(ill), leaseOne)
	if took := time.Since(began); took > 4*time.Second {
		t.Fatalf("the others wrote after %v", took)
	}
	hang.Store(nil)
}

// failedBecause waits until a node has stopped for a reason.
func (g *group) failedBecause(n *Node, why string) {
	g.t.Helper()
	select {
	case err := <-n.Failed():
		if !strings.Contains(err.Error(), why) {
			g.t.Fatalf("it stopped with %v", err)
		}
	case <-testContext(g.t).Done():
		g.t.Fatal("it goes on")
	}
}

// TestTrapF6NotForOthers: no leader is stopped for what is not its disk: a lost quorum, and a cluster of one.
func TestTrapF6NotForOthers(t *testing.T) {
	g := newGroup(t, 3)
	g.net.Isolate(g.leader().cfg.NodeID)
	for _, n := range g.nodes {
		g.net.Isolate(n.cfg.NodeID)
	}
	time.Sleep(2 * commitLimit)
	for _, n := range g.nodes {
		if err := n.ended(); err != nil {
			t.Fatal(err)
		}
	}
	var hang atomic.Pointer[string]
	one := newGroupWith(t, 1, func(c *Config) { c.wrap = hanging(c.NodeID, &hang, nil) }).leader()
	hang.Store(&one.cfg.NodeID)
	go func() { _, _ = one.Propose(t.Context(), leaseOne) }()
	eventually(t, "it is not healthy", func() bool { return !one.Status().Healthy })
	hang.Store(nil)
	eventually(t, "it is healthy again", func() bool { return one.Status().Healthy })
	if err := one.ended(); err != nil || one.Lease() != math.MaxInt64 {
		t.Fatal(err)
	}
}

// TestTrapF9TransferWithoutEnd: Raft refuses every entry of a leader because a transfer is said to be in progress.
func TestTrapF9TransferWithoutEnd(t *testing.T) {
	var leads atomic.Bool
	leads.Store(true)
	barked := 0
	w := newWatchdog(time.Second, leads.Load, func() { barked++ })
	at := func(ms int64) { w.refused(ms * int64(time.Millisecond)) }
	for ms := int64(10000); ms <= 11000; ms += 100 {
		at(ms)
	}
	if barked != 0 || w.tripped() {
		t.Fatal("it did not wait")
	}
	at(11100)
	if barked != 1 || !w.tripped() {
		t.Fatalf("it barked %d times", barked)
	}
	w.watch()(nil)
	if w.tripped() {
		t.Fatal("it stays tripped after an entry was committed")
	}
	for ms := int64(20000); ms <= 20900; ms += 100 { // another transfer
		at(ms)
	}
	w.watch()(errors.New("another error")) // which ends it
	for ms := int64(21000); ms <= 21900; ms += 100 {
		at(ms)
	}
	at(30000) // and a third, long after
	leads.Store(false)
	for ms := int64(30000); ms <= 32000; ms += 100 {
		at(ms)
	}
	if barked != 1 {
		t.Fatalf("it barked %d times", barked)
	}
	n := mustOpen(t, testConfig(t, t.TempDir()))
	n.watchdog.watch()(raft.ErrLeadershipTransferInProgress)
	if n.watchdog.transferring.Load() == 0 {
		t.Fatal("the watchdog is not told")
	}
}

// TestTrapF6PausedProcess: after a pause of the process its timers are over. That is no reason to stop.
func TestTrapF6PausedProcess(t *testing.T) {
	barked := make(chan struct{}, 1)
	w := newWatchdog(40*time.Millisecond, func() bool { return true }, func() { barked <- struct{}{} })
	stop := w.watch()
	time.Sleep(44 * time.Millisecond) // the first timer is over, the entry is committed right after
	stop(nil)
	select {
	case <-barked:
		t.Fatal("it barked for an entry that was committed")
	case <-time.After(60 * time.Millisecond):
	}
	w.watch()
	select {
	case <-barked:
	case <-testContext(t).Done():
		t.Fatal("it never barks")
	}
}

// TestTrapF10CloseUnderHeartbeats: a node is closed while heartbeats come. Raft panics when its handler meets a closed store.
func TestTrapF10CloseUnderHeartbeats(t *testing.T) {
	g := newGroup(t, 3)
	for range 3 {
		n := g.follower()
		mustClose(t, n)
		g.start(number(n), false)
		g.voters(3)
	}
	g.agree()
}

// TestTrapF2F8Wired: nodes with a network use the wrapper too, with one request in flight.
func TestTrapF2F8Wired(t *testing.T) {
	g := newGroup(t, 2)
	for _, n := range g.nodes {
		if _, err := n.trans.AppendEntriesPipeline("b", "b"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
			t.Fatal(err)
		}
		if n.trans.LocalAddr() != raft.ServerAddress(n.cfg.NodeID) {
			t.Fatal("the address for Raft is not the node's id")
		}
		for _, s := range n.servers() {
			if string(s.Address) != string(s.ID) {
				t.Fatalf("%+v", s)
			}
		}
	}
}
