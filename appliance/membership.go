package appliance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"path/filepath"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

const (
	// announceRetry is the time between two tries of a node to say where it is.
	announceRetry = time.Second
	// forceNewFile holds the credential with which a node may go on alone. Keep it off the node.
	forceNewFile = "force-new.credential"
)

// self is this node's record.
func (n *node) self() directory.Member {
	m := directory.Member{
		ID: n.identity.NodeID, Name: n.nodeName(), API: n.config.Listen, CommandVersion: command.Newest(), Program: Version,
	}
	if n.network != nil {
		m.Address = n.config.Cluster.advertised(n.network.Addr())
	}
	if der, err := x509.MarshalPKIXPublicKey(n.token.NodeSigner().Public()); err == nil {
		m.Key = sha256.Sum256(der)
	}
	return m
}

// announce brings this node's record up to date, and tries until that succeeds.
func (n *node) announce(ctx context.Context) {
	if n.network == nil {
		return
	}
	n.awaitLease(ctx)
	for ctx.Err() == nil {
		err := n.engine.AnnounceMember(ctx, n.engine.ApplianceCall("start", ""), n.self())
		if err == nil || fault.Of(err) == fault.Forbidden {
			if err != nil {
				n.log.Error("the cluster does not know this node", "error", err)
			}
			return
		}
		n.log.Warn("this node's address could not be told to the cluster; it is tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(announceRetry):
		}
	}
}

// keepMembers writes down who the members are, for the next start.
func (n *node) keepMembers() {
	if n.network == nil {
		return
	}
	if err := n.members.save(); err != nil {
		n.log.Warn("the list of members could not be written; the next start uses the one before", "error", err)
	}
}

// makeForceNew makes the credential for going on alone, writes it to a file for the operator and returns its SHA-256.
func (n *node) makeForceNew() ([]byte, error) {
	var secret [32]byte
	rand.Read(secret[:])
	text := hex.EncodeToString(secret[:])
	sum := sha256.Sum256([]byte(text))
	return sum[:], writeFile(filepath.Join(n.config.DataDir, forceNewFile), []byte(text+"\n"))
}
