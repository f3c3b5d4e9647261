package appliance

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"cryptoserve/cluster"
	"cryptoserve/cluster/transport"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// reachTimeout bounds how long one other node is asked whether it is alive.
const reachTimeout = 2 * time.Second

// ForceNew makes a cluster of one out of the data of a stopped node whose cluster has lost its quorum for good. It wants the
// credential that was written when the cluster was made, and refuses while a majority of the members answers.
func ForceNew(ctx context.Context, config Config, credentialFile string, out io.Writer, log *slog.Logger) (err error) {
	if err := config.Validate(); err != nil {
		return err
	}
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	credential, err := readSecret(credentialFile, "credential")
	if err != nil {
		return err
	}
	defer credential.Destroy()
	n := &node{config: config, log: log}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.lock(); err != nil {
		return err
	}
	if n.identity, err = readIdentity(config.DataDir, identityFile); err != nil {
		return err
	}
	if err := n.openAudit(); err != nil {
		return err
	}
	if err := n.openToken(ctx); err != nil {
		return err
	}
	if err := n.token.Load(ctx); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if err := n.identity.checkToken(n.token.MasterKCV()); err != nil {
		return err
	}
	if err := n.openAuthority(); err != nil {
		return err
	}
	key, err := n.storageKey(ctx)
	if err != nil {
		return err
	}
	defer key.Destroy()
	made, err := n.recorded(func(begin func() error) (*cluster.Recovered, error) {
		return cluster.RecoverIf(cluster.Config{
			Dir: n.raftDir(), NodeID: n.identity.NodeID, ClusterID: n.identity.ClusterID, StorageKey: key, Log: log.With("part", "cluster"),
		}, func(view *cluster.View) error {
			if err := n.mayGoOnAlone(ctx, view, credential); err != nil {
				return err
			}
			return begin()
		})
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "this node goes on alone from entry %d of the log; removed: %s\n"+
		"Changes that only the others had are lost. Destroy the data directories of the other nodes before they start again.\n",
		made.Index, strings.Join(made.Removed, ", "))
	return err
}

// recorded writes the audit records of going on alone: one before anything changes, for which alone calls begin, and one of how it
// ended.
func (n *node) recorded(alone func(begin func() error) (*cluster.Recovered, error)) (*cluster.Recovered, error) {
	start := time.Now()
	record := func(result audit.Result, code string) error {
		_, err := n.audit.Append(&audit.Record{
			Action: string(policy.ForceNew), Resource: n.identity.NodeID, Kind: policy.KindAppliance.String(), Source: "local",
			Result: result, Code: code, Latency: time.Since(start), Administrative: true,
		})
		if err != nil {
			return fmt.Errorf("the audit record cannot be written, so the operation is refused: %w", err)
		}
		return nil
	}
	begun := false
	made, err := alone(func() error {
		err := record(audit.Started, "")
		begun = err == nil
		return err
	})
	switch {
	case err == nil:
		return made, record(audit.Success, "")
	case begun:
		return nil, errors.Join(err, record(audit.Failed, fault.Internal.Code()))
	default:
		return nil, errors.Join(err, record(audit.Denied, fault.Forbidden.Code()))
	}
}

// mayGoOnAlone refuses without the credential of the cluster, and while a majority of its members answers.
func (n *node) mayGoOnAlone(ctx context.Context, view *cluster.View, credential secret.Bytes) error {
	record := view.Cluster()
	sum := sha256.Sum256(credential.Reveal())
	if record == nil || len(record.Credential) == 0 || subtle.ConstantTimeCompare(sum[:], record.Credential) != 1 {
		return errors.New("this is not the credential of this cluster for going on alone")
	}
	if alive, members := n.reachable(ctx, view); alive >= members/2+1 {
		return fmt.Errorf("%d of %d nodes answer, or would when this one starts: the cluster has its quorum, so start this node as usual",
			alive, members)
	}
	return nil
}

// reachable counts the active members, and those of them that answer, this one too: it would when it is started.
func (n *node) reachable(ctx context.Context, view *cluster.View) (alive, members int) {
	n.members = &memberList{view: func() *cluster.View { return view }, known: map[string]memberEntry{}}
	n.peerCertificate = &peerCertificate{node: n, log: n.log}
	for _, m := range view.Members() {
		if m.Status != directory.MemberActive {
			continue
		}
		members++
		if m.ID == n.identity.NodeID || n.answers(ctx, m) == nil {
			alive++
		}
	}
	return alive, members
}

// answers asks whether a node is alive: its cluster port must show its certificate.
func (n *node) answers(ctx context.Context, m *directory.Member) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	port, err := transport.Listen(transport.Config{
		ClusterID: n.identity.ClusterID, NodeID: n.identity.NodeID, Listen: "127.0.0.1:0",
		Certificate: n.peerCertificate.get, Authority: n.authorityCertificate, Member: n.members.Member, Log: n.log,
	})
	if err != nil {
		return err
	}
	_, err = port.Call(ctx, transport.Peer{ID: m.ID, Address: m.Address}, methodMembers, nil)
	return errors.Join(err, port.Close())
}
