package cluster

import (
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// TestTrapF2NoHeartbeatFastPath sends a heartbeat over a real network transport: it must wait in the queue of Raft's main
// goroutine even after a handler was set.
func TestTrapF2NoHeartbeatFastPath(t *testing.T) {
	listen := func() *raft.NetworkTransport {
		trans, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 1, time.Second, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = trans.Close() })
		return trans
	}
	receiver, sender := listen(), newRaftTransport(listen(), "leader")
	fast := make(chan raft.RPC, 1)
	wrapped := newRaftTransport(receiver, "node")
	wrapped.SetHeartbeatHandler(func(rpc raft.RPC) { // what NewRaft does
		fast <- rpc
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	sent := make(chan error, 1)
	go func() {
		heartbeat := &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("leader"), Addr: []byte("leader")}, Term: 7,
		}
		sent <- sender.AppendEntries("node", receiver.LocalAddr(), heartbeat, &raft.AppendEntriesResponse{})
	}()
	select {
	case <-fast:
		t.Fatal("the heartbeat took the fast path")
	case rpc := <-wrapped.Consumer():
		rpc.Respond(&raft.AppendEntriesResponse{Term: 7}, nil)
	case <-testContext(t).Done():
		t.Fatal("the heartbeat never came")
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestTrapF2NodeUsesTheWrapper(t *testing.T) {
	n := mustOpen(t, testConfig(t, t.TempDir()))
	used := reflect.ValueOf(n.raft).Elem().FieldByName("trans").Elem().Type()
	if used != reflect.TypeFor[raftTransport]() {
		t.Fatalf("Raft has a %v", used)
	}
	if n.raft.ReloadableConfig().TrailingLogs != defaultTrailingLogs {
		t.Fatal("the configuration of Raft is not ours")
	}
	cfg := n.cfg.raftConfig()
	if cfg.HeartbeatTimeout != 300*time.Millisecond || cfg.ElectionTimeout != 300*time.Millisecond || cfg.PreVoteDisabled ||
		cfg.LeaderLeaseTimeout != 200*time.Millisecond || cfg.CommitTimeout != 20*time.Millisecond || cfg.ProtocolVersion != 3 {
		t.Fatalf("%+v", cfg)
	}
	if _, ok := any(n.trans).(raft.WithPreVote); !ok {
		t.Fatal("the wrapper hides pre-vote")
	}
}

// TestTrapF8NoPipeline: a network transport that would pipeline does not when it is wrapped.
func TestTrapF8NoPipeline(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, memory := raft.NewInmemTransport("a")
	if _, err := memory.AppendEntriesPipeline("b", "b"); errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Fatal("the transport below has no pipeline: the test proves nothing")
	}
	if _, err := newRaftTransport(memory, "a").AppendEntriesPipeline("b", "b"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Fatal(err)
	}
}

func openStable(t *testing.T, path string, closed <-chan struct{}) (*stableStore, *raftboltdb.BoltStore) {
	t.Helper()
	bolt, err := openBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newMACKey(testConfig(t, "").StorageKey, "cls")
	if err != nil {
		t.Fatal(err)
	}
	return &stableStore{store: bolt, key: key, closed: closed, retry: time.Millisecond}, bolt
}

// TestTrapF7VoteIsOneWrite stops between the two writes that Raft makes for a vote: what is on disk then is the vote
// before, term and candidate, and not the new term with the old candidate.
func TestTrapF7VoteIsOneWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stable.db")
	vote := func(s *stableStore) (uint64, string) {
		term, err := s.GetUint64([]byte("LastVoteTerm"))
		if err != nil {
			t.Fatal(err)
		}
		candidate, err := s.Get([]byte("LastVoteCand"))
		if err != nil {
			t.Fatal(err)
		}
		return term, string(candidate)
	}
	s, bolt := openStable(t, path, nil)
	if err := errors.Join(s.SetUint64([]byte("LastVoteTerm"), 4), s.Set([]byte("LastVoteCand"), []byte("node-a"))); err != nil {
		t.Fatal(err)
	}
	if term, candidate := vote(s); term != 4 || candidate != "node-a" {
		t.Fatalf("%d, %s", term, candidate)
	}
	if err := errors.Join(s.SetUint64([]byte("LastVoteTerm"), 5), bolt.Close()); err != nil { // and here the process ends
		t.Fatal(err)
	}
	s, bolt = openStable(t, path, nil)
	if term, candidate := vote(s); term != 4 || candidate != "node-a" {
		t.Fatalf("after a crash between the writes: term %d, candidate %s", term, candidate)
	}
	if err := errors.Join(s.SetUint64([]byte("LastVoteTerm"), 5), s.Set([]byte("LastVoteCand"), []byte("node-b"))); err != nil {
		t.Fatal(err)
	}
	if term, candidate := vote(s); term != 5 || candidate != "node-b" {
		t.Fatalf("%d, %s", term, candidate)
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStableStoreRefusesWhatItDidNotWrite(t *testing.T) {
	s, bolt := openStable(t, filepath.Join(t.TempDir(), "stable.db"), nil)
	defer bolt.Close()
	if _, err := s.Get(keyTerm); err == nil || err.Error() != "not found" {
		t.Fatalf("a missing key: %v", err)
	}
	if err := s.verify(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "CurrentTerm") {
		t.Fatal(err)
	}
	if err := s.SetUint64(keyTerm, 5); err != nil {
		t.Fatal(err)
	}
	stored, err := bolt.Get(keyTerm)
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Set(keyVote, stored); err != nil { // a whole value in another place
		t.Fatal(err)
	}
	if _, err := s.GetUint64(keyVoteTerm); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	for i := range stored {
		stored[i] ^= 1
		if err := bolt.Set(keyTerm, stored); err != nil {
			t.Fatal(err)
		}
		if _, err := s.GetUint64(keyTerm); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", i, err)
		}
		stored[i] ^= 1
	}
}

// failingStable fails its writes while it is told to.
type failingStable struct {
	raft.StableStore
	fail func() error
}

func (f *failingStable) Set(key, value []byte) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.StableStore.Set(key, value)
}

// TestStableWriteIsTriedAgain: Raft would end the process on the first error.
func TestStableWriteIsTriedAgain(t *testing.T) {
	s, bolt := openStable(t, filepath.Join(t.TempDir(), "stable.db"), nil)
	defer bolt.Close()
	tries := 0
	s.store = &failingStable{bolt, func() error {
		if tries++; tries < 4 {
			return errors.New("no space")
		}
		return nil
	}}
	if err := s.SetUint64(keyTerm, 9); err != nil || tries != 4 || s.stuck.Load() != nil {
		t.Fatalf("%d tries, %v", tries, err)
	}
	if term, err := s.GetUint64(keyTerm); err != nil || term != 9 {
		t.Fatalf("%d, %v", term, err)
	}
}

// TestCloseWhileATermCannotBeSaved: the goroutine that waits ends, without a panic and without a term that is not saved.
func TestCloseWhileATermCannotBeSaved(t *testing.T) {
	closed := make(chan struct{})
	s, bolt := openStable(t, filepath.Join(t.TempDir(), "stable.db"), closed)
	defer bolt.Close()
	failing := make(chan struct{}, 1)
	s.store = &failingStable{bolt, func() error {
		select {
		case failing <- struct{}{}:
		default:
		}
		return errors.New("no space")
	}}
	returned, ended := false, make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.SetUint64(keyTerm, 9)
		returned = true
		runtime.KeepAlive(returned)
	}()
	<-failing
	close(closed)
	<-ended
	if returned {
		t.Fatal("Raft would have gone on")
	}
}

func TestRaftLogGoesToSlog(t *testing.T) {
	var b strings.Builder
	l := &raftLog{log: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo})), name: "raft"}
	l.Info("an election")
	l.Debug("a detail")
	l.With("peer", "a").Named("snapshot").Warn("slow", "took", 3)
	l.Error("failed", "entries", hclog.Fmt("%d of %d", 1, 2))
	l.StandardLogger(nil).Print("from a library")
	got := b.String()
	for _, want := range []string{`level=INFO msg=slow peer=a took=3`, `level=ERROR msg=failed entries="1 of 2"`, `level=ERROR msg="from a library"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if strings.Count(got, "\n") != 3 || l.IsInfo() || !l.IsWarn() || l.GetLevel() != hclog.Warn ||
		l.Named("snapshot").Name() != "raft.snapshot" || len(l.With("a", 1).ImpliedArgs()) != 2 {
		t.Errorf("levels or names are wrong: %s", got)
	}
}
