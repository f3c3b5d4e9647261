package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

var _ raft.StreamLayer = (*StreamLayer[raft.ServerAddress])(nil)

func TestStreams(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("node_a"), w.node("node_b")
	sa, sb := Streams[raft.ServerAddress](a.Transport), Streams[raft.ServerAddress](b.Transport)
	if got, want := sa.Addr().String(), a.peer.String(); got != want || sa.Addr().Network() != "tcp" {
		t.Errorf("address %q, want %q", got, want)
	}
	go func() {
		conn, err := sb.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
		}
	}()
	conn, err := sa.Dial(raft.ServerAddress(b.peer.String()), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("entry"), 100_000)
	go func() { _, _ = conn.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("echo: %v", err)
	}

	// Raft ends on b and begins again; calls go on all the time.
	if err := sb.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a stream outlived Raft")
	}
	if _, err := sb.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v", err)
	}
	if _, err := sb.Dial(raft.ServerAddress(a.peer.String()), time.Second); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial after Close = %v", err)
	}
	if _, err := sa.Dial(raft.ServerAddress(b.peer.String()), time.Second); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Dial of a node without Raft = %v", err)
	}
	if _, err := a.Call(within(t, 5*time.Second), b.peer, "m", nil); err != nil {
		t.Error(err)
	}
	again := Streams[raft.ServerAddress](b.Transport)
	go func() { _, _ = again.Accept() }()
	if _, err := sa.Dial(raft.ServerAddress(b.peer.String()), time.Second); err != nil {
		t.Errorf("Dial after Raft began again = %v", err)
	}
	if err := sb.Close(); err != nil { // of the old one, again
		t.Fatal(err)
	}
	go func() { _, _ = again.Accept() }()
	if _, err := sa.Dial(raft.ServerAddress(b.peer.String()), time.Second); err != nil {
		t.Errorf("Dial after the old streams were closed twice = %v", err)
	}
}

// TestDialTimeout does not wait longer for a peer than Raft asked for.
func TestDialTimeout(t *testing.T) {
	w := newWorld(t)
	a := w.node("node_a")
	sa := Streams[raft.ServerAddress](a.Transport)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.add("node_b", a.cert.Leaf)
	began := time.Now()
	_, err = sa.Dial(raft.ServerAddress("node_b@"+silent.Addr().String()), 100*time.Millisecond)
	if took := time.Since(began); !errors.Is(err, ErrUnreachable) || took > 2*time.Second {
		t.Errorf("Dial = %v after %v", err, took)
	}
}

// kept is a state machine that keeps what was committed.
type kept struct {
	mu   sync.Mutex
	data []string
}

func (k *kept) Apply(l *raft.Log) any {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.data = append(k.data, string(l.Data))
	return nil
}

func (k *kept) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.ErrUnsupported }

func (k *kept) Restore(io.ReadCloser) error { return errors.ErrUnsupported }

func (k *kept) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.data)
}

func (k *kept) list() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(k.data)
}

// TestRaft runs three nodes of Raft over the port: they elect a leader, commit, and elect another one when it was removed.
func TestRaft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type member struct {
		*node
		raft *raft.Raft
		kept *kept
	}
	var members []*member
	var servers []raft.Server
	for i := range 3 {
		n := w.node(fmt.Sprintf("node_%d", i))
		members = append(members, &member{node: n, kept: &kept{}})
		servers = append(servers, raft.Server{ID: raft.ServerID(n.peer.ID), Address: raft.ServerAddress(n.peer.String())})
	}
	for i, m := range members {
		streams := Streams[raft.ServerAddress](m.Transport)
		network := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: streams, MaxPool: 3, MaxRPCsInFlight: 1, Timeout: 2 * time.Second,
			Logger: hclog.New(&hclog.LoggerOptions{Output: m.log}),
		})
		c := raft.DefaultConfig()
		c.LocalID = servers[i].ID
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout, c.CommitTimeout = 300*time.Millisecond, 300*time.Millisecond,
			200*time.Millisecond, 20*time.Millisecond
		c.LogOutput = m.log
		store := raft.NewInmemStore()
		snapshots := raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, store, store, snapshots, network, raft.Configuration{Servers: servers}); err != nil {
			t.Fatal(err)
		}
		r, err := raft.NewRaft(c, m.kept, store, store, snapshots, network)
		if err != nil {
			t.Fatal(err)
		}
		m.raft = r
		t.Cleanup(func() {
			if err := r.Shutdown().Error(); err != nil {
				t.Error(err)
			}
			if err := network.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	leader := func(of []*member) *member {
		var found *member
		eventually(t, "a leader", func() bool {
			for _, m := range of {
				if m.raft.State() == raft.Leader && m.raft.VerifyLeader().Error() == nil {
					found = m
					return true
				}
			}
			return false
		})
		return found
	}
	first := leader(members)
	if address, id := first.raft.LeaderWithID(); string(address) != first.peer.String() || string(id) != first.peer.ID {
		t.Errorf("the leader says it is %s at %s", id, address)
	}
	for i := range 50 {
		if err := first.raft.Apply(fmt.Appendf(nil, "%d", i), 5*time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members {
		eventually(t, m.peer.ID+" has all", func() bool { return m.kept.list() == first.kept.list() && m.kept.count() == 50 })
	}
	var rest []*member
	for _, m := range members {
		if m != first {
			rest = append(rest, m)
		}
	}
	w.remove(first.peer.ID)
	for _, m := range rest {
		m.Drop(first.peer.ID)
	}
	second := leader(rest)
	if err := second.raft.Apply([]byte("after"), 5*time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	for _, m := range rest {
		eventually(t, m.peer.ID+" has the last", func() bool { return m.kept.count() == 51 && m.kept.list() == second.kept.list() })
	}
	if first.kept.count() > 50 {
		t.Error("the removed leader has what was committed after")
	}
}
