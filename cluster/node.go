package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/fence"
	"cryptoserve/engine/directory"
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
	// handOverLimit bounds how long a leader that is closed tries to hand the leadership over.
	handOverLimit = 2 * time.Second

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

	// Network is the way to the other nodes. Nil makes a cluster of one that stays so.
	Network Network
	// Join has a node with an empty directory wait until a leader sends it configuration and log, in place of making a new cluster.
	// Seeds are the members that the node knew before it started, or was told of when it joined. They count where its state, which
	// is old until there is a leader, has no record.
	Join  bool
	Seeds []directory.Member
	// Clock is what leases are counted on: fence.BootClock if nil.
	Clock fence.Clock
	// Program is the version of the program, for people.
	Program string

	voteAfter time.Duration                                                           // for tests: in place of caughtUpFor
	wrap      func(raft.LogStore, raft.StableStore) (raft.LogStore, raft.StableStore) // for tests: faults below the stores
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

// memoryTransport is that of a cluster of one voter: it reaches nobody.
func memoryTransport(node string) raftTransport {
	_, t := raft.NewInmemTransport(raft.ServerAddress(node))
	return newRaftTransport(t, node)
}

// Of the connections for Raft.
const (
	transportTimeout = 2 * time.Second
	transportPool    = 3 // to each node
)

func (n *Node) newTransport() raftTransport {
	if n.net == nil {
		return memoryTransport(n.cfg.NodeID)
	}
	return newRaftTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  resolver{n.net.Streams(), n.cfg.NodeID, n.Address},
		MaxPool: transportPool, MaxRPCsInFlight: 1, Timeout: transportTimeout, Logger: n.cfg.raftLog(),
	}), n.cfg.NodeID)
}

// Node is a member of the cluster: it proposes commands and holds the state that they made. Goroutines may share it.
type Node struct {
	cfg      Config
	net      Network // nil for a cluster of one that stays so
	storage  *storage
	trans    raftTransport
	raft     *raft.Raft
	fsm      *fsm
	fence    *fence.Fence
	watchdog *watchdog

	// solo is set while this node is the only one in Raft's configuration: it needs no ticks then.
	solo       atomic.Bool
	refreshes  fence.Collector // of all nodes, on the leader
	nudges     chan struct{}
	rounds     rounds
	caughtUpIn uint64 // the term in which this node has led and applied everything before; of reconcileLoop

	compacting sync.Mutex // held while Compact runs
	// entering is held by each entry of this leader until it is applied, and by Restore against them all.
	entering sync.RWMutex
	soloing  sync.Mutex // of keepSolo and endSolo

	ctx       context.Context // of the loops
	stop      context.CancelFunc
	loops     sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
	closed    chan struct{}
}

// Open starts the node. It makes a new log when the directory is empty. Without a Network it returns when this node leads and
// has applied everything that was committed before, or when ctx ends; with one it returns when Raft runs, and Ready tells when the
// node can serve.
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
	n, keys, err := newNode(cfg)
	if err != nil {
		return nil, err
	}
	if n.storage, err = openStorage(cfg, keys.mac, keys.frames, n.closed); err != nil {
		return nil, err
	}
	n.trans = n.newTransport()
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
	if n.net == nil {
		return n, n.startAlone(ctx)
	}
	n.net.Handle(n.serve)
	n.loops.Go(n.refreshLoop)
	n.loops.Go(n.tickLoop)
	n.loops.Go(n.nudgeLoop)
	n.loops.Go(n.reconcileLoop)
	return n, nil
}

// nodeKeys is what comes from the storage key.
type nodeKeys struct {
	mac    *macKey
	frames frameKey
}

// newNode returns a node that has opened nothing yet.
func newNode(cfg Config) (*Node, nodeKeys, error) {
	if err := cfg.validate(); err != nil {
		return nil, nodeKeys{}, err
	}
	sealKey, err := seal.New(cfg.StorageKey)
	if err != nil {
		return nil, nodeKeys{}, err
	}
	mac, err := newMACKey(cfg.StorageKey, cfg.ClusterID)
	if err != nil {
		return nil, nodeKeys{}, err
	}
	keys := nodeKeys{mac, frameKey{sealKey, cfg.ClusterID}}
	n := &Node{cfg: cfg, net: cfg.Network, closed: make(chan struct{}), nudges: make(chan struct{}, 1)}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.fsm = newFSM(cfg.NodeID, cfg.Clock, newEntryKey(sealKey, cfg.ClusterID), keys.frames)
	n.fence = n.fsm.fence
	n.watchdog = newWatchdog(commitLimit, n.leads, n.stuck)
	return n, keys, nil
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

// startAlone waits until this node, which is the only one, leads and has applied all that was committed before.
func (n *Node) startAlone(ctx context.Context) error {
	configuration := n.raft.GetConfiguration()
	if err := configuration.Error(); err != nil {
		return fmt.Errorf("read the membership: %w", err)
	}
	servers := configuration.Configuration().Servers
	if !slices.ContainsFunc(servers, func(s raft.Server) bool { return s.ID == raft.ServerID(n.cfg.NodeID) }) {
		return fmt.Errorf("the node %q is not a member of the cluster in this directory; start it with the node id that the "+
			"directory was made with", n.cfg.NodeID)
	}
	if len(servers) > 1 {
		return fmt.Errorf("the cluster in this directory has %d nodes: start this one with a cluster port", len(servers))
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
		err := await(ctx, n.raft.Barrier(0))
		if failure := n.fsm.failure(); failure != nil {
			return failure
		}
		if err == nil {
			n.solo.Store(true)
			n.fence.SetAlone(true)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait until the log is applied: %w", context.Cause(ctx))
		}
		// Leadership was lost: the next one comes through LeaderCh.
	}
}

// Ready returns when this node has applied all that was committed before the call, and holds a lease.
func (n *Node) Ready(ctx context.Context) error {
	if _, err := n.reach(ctx, n.shared); err != nil {
		return err
	}
	for n.Expired(n.Lease()) {
		if !n.sleep(ctx, lookAgain) {
			return fmt.Errorf("cluster: this node is given no lease: %w", errors.Join(context.Cause(ctx), n.ended()))
		}
	}
	return nil
}

// fail stops the node for good: it takes and applies nothing any more, has no lease, and says nothing to others.
func (n *Node) fail(err error) {
	first := n.fsm.halt(err)
	n.endSolo()
	n.fence.Restored()
	n.trans.mute()
	if first { // told last: whoever hears of it finds it so
		n.fsm.failures <- err
	}
}

// stuck is called when an entry of this leader does not commit. Another node may be able to, once this one is silent.
func (n *Node) stuck() {
	if voters(n.servers()) > 1 {
		n.fail(fmt.Errorf("an entry of this node, which led, was not committed within %v: the disk of its Raft log hangs or is very slow, "+
			"or its leadership was handed over only half; check the disk and start the node again", commitLimit))
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

// Failed gives at most one error: why the node has stopped. It met a command that it does not know, or an entry that does not
// open, was removed from the cluster, or led and could not commit. It then refuses proposals, has no lease and must be closed; its
// views stay at the entry before.
func (n *Node) Failed() <-chan error { return n.fsm.failures }

// Status is what an operator asks a node.
type Status struct {
	Leader    bool
	Voter     bool
	Term      uint64
	Applied   uint64 // index of the last entry in the state
	LastIndex uint64 // index of the last entry in the log
	Healthy   bool   // proposals can succeed
	Reason    string // why not, when not healthy
	// LogWrite is the slowest recent write to the Raft log. From a quarter of the leader lease on (50 ms) an operator should look
	// at the disk; from half of it on leaders change.
	LogWrite time.Duration
}

// Status returns how the node is now.
func (n *Node) Status() Status {
	s := Status{
		Leader: n.leads(), Voter: n.votes(n.cfg.NodeID), Term: n.raft.CurrentTerm(), Applied: n.View().applied,
		LastIndex: n.raft.LastIndex(), LogWrite: n.storage.logs.times.longest(),
	}
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
		return "the node has stopped: " + err.Error()
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
	if !leads && n.leader() == "" {
		return "there is no leader"
	}
	if n.Expired(n.Lease()) {
		return "this node has no lease: it does not keep up with the leader, or cannot reach it"
	}
	return ""
}

// Close stops the node. What was acknowledged stays. It is safe to call it more than once.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

// close hands the leadership over, then ends Raft before its transport, and the transport before the stores: Raft panics when it
// meets a closed store.
func (n *Node) close() error {
	if n.raft != nil && n.ended() == nil && n.leads() && voters(n.servers()) > 1 {
		ctx, cancel := context.WithTimeout(context.Background(), handOverLimit)
		_ = n.transfer(ctx, "") // without, the others elect one
		cancel()
	}
	close(n.closed)
	n.stop()
	n.fence.SetAlone(false)
	n.fence.Restored()
	if n.net != nil {
		n.net.Handle(nil)
	}
	if n.raft != nil {
		if err := n.stopRaft(); err != nil {
			return err
		}
	}
	n.loops.Wait()
	return errors.Join(n.trans.Close(), n.storage.close())
}

func (n *Node) stopRaft() error {
	stopped := make(chan error, 1)
	go func() { stopped <- n.raft.Shutdown().Error() }()
	select {
	case err := <-stopped:
		if err != nil {
			return fmt.Errorf("cluster: stop Raft: %w", err)
		}
		return nil
	case <-time.After(closeLimit):
		return fmt.Errorf("cluster: Raft did not stop within %v: its disk does not answer", closeLimit)
	}
}
