package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
)

// The timers of Raft: writes go on 0.7 s after the leader died, and no election starts under full load. A log write
// must take less than half of leaderLease.
const (
	electionTimeout = 300 * time.Millisecond // and heartbeat timeout
	leaderLease     = 200 * time.Millisecond
	commitTimeout   = 20 * time.Millisecond

	// commitLimit is how long an entry of a leader may wait for its commit before the node counts as unhealthy.
	commitLimit = time.Second
	// closeLimit bounds the wait for Raft when the node is closed, for a disk that does not answer.
	closeLimit = 10 * time.Second

	defaultSnapshotThreshold = 8192
	defaultTrailingLogs      = 10240
)

// Config is what Open needs.
type Config struct {
	Dir       string       // of this node alone; made when it does not exist
	NodeID    string       // unique in the cluster, the same at every start
	ClusterID string       // as in the record of the cluster, the same at every start
	Log       *slog.Logger // nil discards
	// StorageKey is 32 uniformly random bytes, the same at every start. Everything in Dir is sealed or authenticated
	// under keys derived from it. The node keeps a reference: destroy it after Close.
	StorageKey secret.Bytes
	// SnapshotThreshold is after how many entries Raft takes a snapshot, TrailingLogs how many entries stay in the log
	// behind one. Zero means 8192 and 10240.
	SnapshotThreshold uint64
	TrailingLogs      uint64
	// ElectionTimeout is after how long without a leader an election begins, which a node of one voter waits for at each start.
	// Zero means 300 ms. Less is for tests.
	ElectionTimeout time.Duration

	wrap func(raft.LogStore, raft.StableStore) (raft.LogStore, raft.StableStore) // for tests: faults below the stores
}

func (c Config) validate() error {
	switch {
	case c.Dir == "" || c.NodeID == "" || c.ClusterID == "":
		return errors.New("cluster: directory, node id and cluster id must be given")
	case c.StorageKey.Len() != seal.KeyBytes:
		return fmt.Errorf("cluster: the storage key has %d bytes, not %d", c.StorageKey.Len(), seal.KeyBytes)
	}
	return nil
}

func (c Config) raftLog() *raftLog {
	if c.Log == nil {
		return &raftLog{log: slog.New(slog.DiscardHandler), name: "raft"}
	}
	return &raftLog{log: c.Log, name: "raft"}
}

func (c Config) wrapStores(logs raft.LogStore, stable raft.StableStore) (raft.LogStore, raft.StableStore) {
	if c.wrap == nil {
		return logs, stable
	}
	return c.wrap(logs, stable)
}

func (c Config) raftConfig() *raft.Config {
	r := raft.DefaultConfig()
	r.ProtocolVersion = 3
	r.LocalID = raft.ServerID(c.NodeID)
	r.HeartbeatTimeout, r.ElectionTimeout = electionTimeout, electionTimeout
	r.LeaderLeaseTimeout, r.CommitTimeout = leaderLease, commitTimeout
	if c.ElectionTimeout != 0 {
		r.HeartbeatTimeout, r.ElectionTimeout, r.LeaderLeaseTimeout = c.ElectionTimeout, c.ElectionTimeout, c.ElectionTimeout
	}
	r.BatchApplyCh = true
	r.NoLegacyTelemetry = true
	r.SnapshotThreshold, r.TrailingLogs = defaultSnapshotThreshold, defaultTrailingLogs
	if c.SnapshotThreshold != 0 {
		r.SnapshotThreshold = c.SnapshotThreshold
	}
	if c.TrailingLogs != 0 {
		r.TrailingLogs = c.TrailingLogs
	}
	r.Logger = c.raftLog()
	return r
}

// newTransport returns the transport of a cluster of one voter: it reaches nobody.
func newTransport(c Config) transport {
	_, t := raft.NewInmemTransport(raft.ServerAddress(c.NodeID))
	return transport{t}
}

// Node is a member of the cluster: it proposes commands and holds the state that they made. Goroutines may share it.
type Node struct {
	cfg      Config
	storage  *storage
	trans    transport
	raft     *raft.Raft
	fsm      *fsm
	watchdog *watchdog

	compacting sync.Mutex // held while Compact runs

	closeOnce sync.Once
	closeErr  error
	closed    chan struct{}
}

// Open starts the node. It makes a new log when the directory is empty, and returns when this node leads and has applied
// everything that was committed before, or when ctx ends.
//
// Errors: ErrInUse, ErrWrongKey, ErrDamaged, each with what an operator can do next. Damage is named (the index of the
// log entry, the page of the database, the name of the snapshot); nothing is repaired and nothing dropped.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	n, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster: open %s: %w", cfg.Dir, err)
	}
	return n, nil
}

func open(ctx context.Context, cfg Config) (_ *Node, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	sealKey, err := seal.New(cfg.StorageKey)
	if err != nil {
		return nil, err
	}
	mac, err := newMACKey(cfg.StorageKey, cfg.ClusterID)
	if err != nil {
		return nil, err
	}
	frames := frameKey{sealKey, cfg.ClusterID}
	n := &Node{cfg: cfg, trans: newTransport(cfg), closed: make(chan struct{})}
	n.fsm = newFSM(newEntryKey(sealKey, cfg.ClusterID), frames)
	n.watchdog = newWatchdog(commitLimit, n.leads)
	if n.storage, err = openStorage(cfg, mac, frames, n.closed); err != nil {
		return nil, errors.Join(err, n.trans.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.storage.leftovers {
		n.fsm.removed.Add(1)
	}
	if err := n.start(); err != nil {
		return nil, err
	}
	return n, n.ready(ctx)
}

// start loads the snapshot and starts Raft.
func (n *Node) start() (err error) {
	defer guard("the Raft log", &err)
	s := n.storage
	n.raft, err = raft.NewRaft(n.cfg.raftConfig(), n.fsm, s.logs, s.stable, s.snaps, n.trans)
	if err == nil {
		return nil
	}
	if failure := s.snaps.failure(); failure != nil {
		return failure
	}
	if failure := n.fsm.restoreErr.Load(); failure != nil && s.newest != nil {
		return damagedSnapshot(s.newest.ID, (*failure).Error())
	}
	return fmt.Errorf("start Raft: %w", err)
}

// ready waits until this node leads and has applied all that was committed before.
func (n *Node) ready(ctx context.Context) error {
	configuration := n.raft.GetConfiguration()
	if err := configuration.Error(); err != nil {
		return fmt.Errorf("read the membership: %w", err)
	}
	member := false
	for _, s := range configuration.Configuration().Servers {
		member = member || s.ID == raft.ServerID(n.cfg.NodeID)
	}
	if !member {
		return fmt.Errorf("the node %q is not a member of the cluster in this directory; start it with the node id that the "+
			"directory was made with", n.cfg.NodeID)
	}
	for {
		select {
		case leads := <-n.raft.LeaderCh():
			if !leads {
				continue
			}
		case err := <-n.fsm.failures:
			return err
		case <-ctx.Done():
			return fmt.Errorf("wait until this node leads: %w", context.Cause(ctx))
		}
		applied := make(chan error, 1)
		go func() { applied <- n.raft.Barrier(0).Error() }()
		select {
		case err := <-applied:
			if failure := n.fsm.failure(); failure != nil {
				return failure
			}
			if err == nil {
				return nil
			}
			// Leadership was lost: the next one comes through LeaderCh.
		case <-ctx.Done():
			return fmt.Errorf("wait until the log is applied: %w", context.Cause(ctx))
		}
	}
}

func (n *Node) leads() bool { return n.raft.State() == raft.Leader }

// Leads reports whether this node leads the cluster, as far as it knows.
func (n *Node) Leads() bool { return n.leads() }

// View returns the newest applied state. It is one atomic load.
func (n *Node) View() *View { return n.fsm.view.Load() }

// Epoch changes whenever an applied command may have changed a right, a context or a key version's state, after View
// shows that change. It is one atomic load.
func (n *Node) Epoch() uint64 { return n.fsm.epoch.Load() }

// Digest returns the digest of the newest applied state and the index of the last entry in it.
func (n *Node) Digest() (index uint64, digest [32]byte) {
	v := n.View()
	return v.applied, v.Digest()
}

// Snapshot writes a snapshot now and shortens the log. It does nothing when there is nothing new.
func (n *Node) Snapshot() error {
	if err := n.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("cluster: take a snapshot: %w", err)
	}
	return nil
}

// Failed gives at most one error: why the state machine has stopped. It met a command that it does not know, or an entry
// that does not open. The node then refuses proposals and must be closed; its views stay at the entry before.
func (n *Node) Failed() <-chan error { return n.fsm.failures }

// Status is what an operator asks a node.
type Status struct {
	Leader    bool
	Applied   uint64 // index of the last entry in the state
	LastIndex uint64 // index of the last entry in the log
	Healthy   bool   // proposals can succeed
	Reason    string // why not, when not healthy
}

// Status returns how the node is now.
func (n *Node) Status() Status {
	s := Status{Leader: n.leads(), Applied: n.View().applied, LastIndex: n.raft.LastIndex()}
	s.Reason = n.trouble(s.Leader)
	s.Healthy = s.Reason == ""
	return s
}

func (n *Node) trouble(leads bool) string {
	select {
	case <-n.closed:
		return ErrClosed.Error()
	default:
	}
	if err := n.fsm.failure(); err != nil {
		return "the state machine has stopped: " + err.Error()
	}
	if err := n.storage.stable.stuck.Load(); err != nil {
		return "Raft cannot save its term: " + (*err).Error()
	}
	if n.watchdog.tripped() {
		return fmt.Sprintf("an entry was not committed within %v: the disk of the Raft log hangs or is very slow", commitLimit)
	}
	if err := n.storage.logs.markErr.Load(); err != nil {
		return (*err).Error()
	}
	if !leads {
		return "there is no leader"
	}
	return ""
}

// Close stops the node. What was acknowledged stays. It is safe to call it more than once.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

// close ends Raft before its transport, and the transport before the stores: Raft panics when it meets a closed store.
func (n *Node) close() error {
	close(n.closed)
	if n.raft != nil {
		stopped := make(chan error, 1)
		go func() { stopped <- n.raft.Shutdown().Error() }()
		select {
		case err := <-stopped:
			if err != nil {
				return fmt.Errorf("cluster: stop Raft: %w", err)
			}
		case <-time.After(closeLimit):
			return fmt.Errorf("cluster: Raft did not stop within %v: its disk does not answer", closeLimit)
		}
	}
	return errors.Join(n.trans.Close(), n.storage.close())
}
