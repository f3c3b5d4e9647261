package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"cryptoserve/api"
	"cryptoserve/api/auth"
	"cryptoserve/api/join"
	"cryptoserve/api/signin"
	"cryptoserve/cluster"
	"cryptoserve/cluster/transport"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm"
)

// openTimeout bounds the whole opening of a node or its first run, and how long closing waits for the token.
const openTimeout = 30 * time.Second

// leasePoll is how often a starting node looks whether it may serve, and leaseNotice after how many looks it says that it waits.
const (
	leasePoll   = 10 * time.Millisecond
	leaseNotice = 500
)

// stopTimeout bounds how long a stop waits for the background tasks once requests have been answered.
const stopTimeout = 10 * time.Second

// node is an open node: its parts in the order in which they were opened.
type node struct {
	config   Config
	identity *identity
	log      *slog.Logger
	adopt    bool // a first run takes the token that is there

	audit    *audit.Log
	token    *hsm.Token
	cluster  *cluster.Node
	opened   atomic.Pointer[cluster.Node] // cluster, for those who may ask before it is open
	engine   *engine.Engine
	issuer   *auth.Issuer
	verifier *auth.Verifier
	certs    *certificates
	signIn   *signin.SignIn // nil without providers

	authority       *authority // of the cluster CA
	members         *memberList
	network         *transport.Transport // nil without a cluster port
	peerCertificate *peerCertificate
	joins           joinDoor

	closers []io.Closer
}

type closer func() error

func (c closer) Close() error { return c() }

func (n *node) onClose(c io.Closer) { n.closers = append(n.closers, c) }

// Close closes the parts in the opposite order and reports everything that went wrong.
func (n *node) Close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i].Close())
	}
	n.closers = nil
	return errors.Join(errs...)
}

// lock creates the data directory if need be and takes it for this process.
func (n *node) lock() error {
	if err := os.MkdirAll(n.config.DataDir, 0o700); err != nil {
		return fmt.Errorf("the data directory cannot be made: %w", err)
	}
	f, err := lockDir(n.config.DataDir)
	if err != nil {
		return err
	}
	n.onClose(f)
	return nil
}

func (n *node) openAudit() error {
	durability, err := n.config.Audit.durability()
	if err != nil {
		return err
	}
	n.audit, err = audit.Open(audit.Config{
		Dir: n.config.auditDir(), Node: n.identity.NodeID, SegmentBytes: n.config.Audit.SegmentBytes,
		Durability: durability, Log: n.log.With("part", "audit"),
	})
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	n.onClose(n.audit)
	return nil
}

// openToken opens the token and logs in, once: a wrong PIN is never tried again.
func (n *node) openToken(ctx context.Context) error {
	c := n.config.HSM
	module, store, err := c.module()
	if err != nil {
		return err
	}
	pin, err := readPIN(c.PINFile)
	if err != nil {
		return err
	}
	defer pin.Destroy() // the token keeps a copy of its own
	n.token, err = hsm.Open(ctx, hsm.Config{
		Module: module, TokenLabel: c.TokenLabel, PIN: pin, Sessions: c.Sessions, Wait: c.Wait, ProbeInterval: c.ProbeInterval,
		Log: n.log.With("part", "hsm"), AfterLogin: n.keepToken(store),
	})
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	n.onClose(closer(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		return n.token.Close(ctx)
	}))
	return nil
}

// module returns the PKCS#11 library and, for a directory of SoftHSM2 tokens, points the library to it and returns it.
func (c *HSMConfig) module() (library string, store *softhsm.Store, err error) {
	if c.SoftHSMDir != "" {
		store, err = softhsm.Open(c.SoftHSMDir)
		if err != nil {
			return "", nil, fmt.Errorf("the SoftHSM2 token directory %s cannot be used: %w; without its token this node cannot start", c.SoftHSMDir, err)
		}
		if err := store.Use(); err != nil {
			return "", nil, err
		}
	}
	if c.Module != "" {
		return c.Module, store, nil
	}
	library, err = softhsm.Library()
	return library, store, err
}

// keepToken returns what makes a SoftHSM2 token durable after each login, or nil for any other token. When it fails the login
// is good all the same: what a full disk cannot keep a second time is still there once.
func (n *node) keepToken(store *softhsm.Store) func() error {
	if store == nil {
		return nil
	}
	for _, path := range store.Mended() {
		n.log.Warn("a power cut had left a file of the token empty; its copy was put back", "file", path)
	}
	return func() error {
		if err := store.Sync(); err != nil {
			n.log.Error("the token's files could not be made durable", "error", err)
		}
		return nil
	}
}

func (n *node) storageKey(ctx context.Context) (secret.Bytes, error) {
	return n.token.Expand(ctx, engine.PurposeInfo(engine.PurposeStorage, n.identity.ClusterID), 32)
}

func (n *node) openCluster(ctx context.Context) error {
	if n.identity.LogMade {
		if there, err := exists(n.raftDir()); err != nil || !there {
			return errors.Join(err, fmt.Errorf("%s is missing: this node joined a cluster, which must not meet it with an empty log: remove "+
				"this node from the cluster and join again as a new one", n.raftDir()))
		}
	}
	key, err := n.storageKey(ctx)
	if err != nil {
		return err
	}
	config := cluster.Config{
		Dir: n.raftDir(), NodeID: n.identity.NodeID, ClusterID: n.identity.ClusterID, StorageKey: key, Log: n.log.With("part", "cluster"),
		Program: Version,
	}
	if n.network != nil {
		config.Network, config.Seeds = ownCalls{cluster.Over(n.network), n.members}, n.members.seeds()
		config.Join = n.identity.Joined && !n.identity.LogMade
	}
	n.cluster, err = cluster.Open(ctx, config)
	if err != nil {
		key.Destroy()
		return fmt.Errorf("replicated state: %w", err)
	}
	if config.Join {
		n.identity.LogMade = true
		if err := n.identity.write(n.config.DataDir, identityFile); err != nil {
			return errors.Join(err, n.cluster.Close())
		}
	}
	n.opened.Store(n.cluster)
	n.onClose(closer(func() error {
		// When Raft did not stop, what it still seals must not be sealed under zeros.
		if err := n.cluster.Close(); err != nil {
			return err
		}
		key.Destroy()
		return nil
	}))
	return nil
}

func (n *node) raftDir() string { return filepath.Join(n.config.DataDir, "raft") }

func (n *node) openEngine() error {
	mode, err := n.config.FIPS.mode()
	if err != nil {
		return err
	}
	targets, err := n.config.Backup.open(n.config.DataDir, n.log)
	if err != nil {
		return err
	}
	n.engine, err = engine.New(engine.Config{
		Archive: archive{n.cluster}, Targets: targets, Program: Version,
		FIPS:  mode,
		Vault: n.token, Ledger: ledger{n.cluster}, Audit: n.audit, Log: n.log.With("part", "engine"), Grace: n.config.HSM.grace(),
		NodeID: n.identity.NodeID, Fleet: n.cluster, Keys: keyGiver{n},
		CachedKeys: n.config.Keys.Cached, CacheIdle: n.config.Keys.Idle, DestroyMinimum: leastWait(n.config.Keys.destroyMinimum()),
	})
	if err != nil {
		return err
	}
	n.onClose(closer(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		n.flushUsage(ctx)
		n.engine.Close()
		return nil
	}))
	n.issuer, err = auth.NewIssuer(n.engine, nil)
	if err != nil {
		return err
	}
	n.verifier, err = auth.NewVerifier(auth.VerifierConfig{Directory: n.engine})
	if err != nil {
		return err
	}
	n.joins.open(join.Handler(n.engine, n.log.With("part", "join")))
	return nil
}

// openCertificates makes the API certificates from the cluster's CA.
func (n *node) openCertificates() error {
	if n.authority == nil {
		record := n.cluster.View().Cluster()
		if record == nil {
			return errors.New("the replicated state holds no cluster: its first run did not finish; put the data directory back from a backup")
		}
		if err := n.useAuthority(record.CACertificate, record.CAKey); err != nil {
			return err
		}
		// From now on the node knows them without its state.
		n.identity.CACertificate, n.identity.CAKey = record.CACertificate, record.CAKey
		if err := n.identity.write(n.config.DataDir, identityFile); err != nil {
			return err
		}
	}
	n.certs = &certificates{
		authority: n.authority.certificate, signer: n.authority.signer, nodeKey: n.token.NodeSigner(), nodeID: n.identity.NodeID, names: n.config.names(),
		tokenDown: n.token.DownSince, log: n.log.With("part", "certificates"),
	}
	return n.certs.issue(time.Now())
}

// serve answers requests on a listener until ctx ends or something fails, then drains. ready is called once the node can
// answer. When it returns, nothing that it started uses the parts any more.
func (n *node) serve(ctx context.Context, ready func(net.Addr) error) error {
	config := api.Config{
		Engine: n.engine, Auth: n.verifier, Tokens: n.issuer, State: n.state, Ready: n.ready, Log: n.log.With("part", "api"),
		TLS:   api.TLSConfig(n.config.TLS.Allow12, n.config.TLS.ClientCertificates == requestCertificates, n.certs.get),
		Rules: n.config.SignIn.rules(), BaseURL: n.config.SignIn.BaseURL,
	}
	if n.signIn != nil {
		config.SignIn = n.signIn
	}
	server, err := api.New(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", n.config.Listen)
	if err != nil {
		return fmt.Errorf("the API cannot listen: %w", err)
	}

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var loops sync.WaitGroup
	loops.Go(func() { _ = n.token.Run(background) }) // it returns nil
	loops.Go(func() { n.certs.run(background, time.Minute) })
	loops.Go(func() { n.tend(background) })
	duties := time.NewTicker(dutyInterval)
	defer duties.Stop()
	loops.Go(func() { n.duties(background, duties.C) })
	loops.Go(func() { n.announce(background) })
	served := make(chan error, 1)
	go func() {
		defer close(served)
		served <- server.Serve(listener)
	}()

	failure := n.await(ctx, served, func() error { return ready(listener.Addr()) })

	timeout := n.config.ShutdownTimeout
	if timeout == 0 {
		timeout = defaultShutdown
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err = server.Shutdown(drain)
	if late := <-served; !errors.Is(late, http.ErrServerClosed) {
		err = errors.Join(err, late)
	}
	stop()
	return errors.Join(failure, err, waitFor(&loops, stopTimeout))
}

// await calls ready, then waits for a reason to stop: an error, or nil when ctx has ended.
func (n *node) await(ctx context.Context, served <-chan error, ready func() error) error {
	leased := make(chan struct{})
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(leased)
		n.awaitLease(waiting)
	}()
	for {
		select {
		case <-ctx.Done():
			n.log.Info("stopping: requests that run are answered first")
			return nil
		case err := <-n.cluster.Failed():
			n.log.Error("replicated state failed, so this node stops", "error", err)
			return err
		case err := <-served:
			return fmt.Errorf("API listener: %w", err)
		case <-leased:
			if ctx.Err() != nil {
				continue
			}
			if err := ready(); err != nil {
				return err
			}
			leased = nil
		}
	}
}

// awaitLease waits until this node may answer from its state: at once in a cluster of one, else as soon as a leader has heard of
// it.
func (n *node) awaitLease(ctx context.Context) {
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for waited := 0; n.cluster.Expired(n.cluster.Lease()); waited++ {
		if waited == leaseNotice {
			n.log.Info("waiting for the other nodes: this one serves when it has contact with a majority of the cluster")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// waitFor waits for goroutines, but not forever: one that calls a token which never answers must not keep the node from
// stopping.
func waitFor(goroutines *sync.WaitGroup, timeout time.Duration) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		goroutines.Wait()
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
		return errors.New("a background task still waits for the token or the disk")
	}
}

// tend drops cached keys that have outlived the token's grace, on a node that nobody calls too, and logs each change of the
// node's state with the causes that /health/state does not show to everybody.
func (n *node) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := stateOperational
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.engine.Tend()
			n.keepMembers()
			if s := n.state(); s.State != last {
				n.log.Warn("the node's state changed", "from", last, "to", s.State, "reasons", s.Reasons,
					"audit", n.audit.Status().Reason, "ledger", n.cluster.Status().Reason)
				last = s.State
			}
		}
	}
}
