package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Node is one node of a cluster with what can be broken about it. What is nil or empty cannot be broken.
type Node struct {
	Name     string
	Process  *Process
	Network  *Network
	Host     *Host
	Disk     *Disk      // that its files are made durable on
	Small    *SmallDisk // that its files are on
	TokenDir string     // of its SoftHSM2 token
}

// URL is where the node's API answers, empty while it does not.
func (n *Node) URL() string { return n.Process.URL() }

// Digest is the state of a node at an index of the log.
type Digest struct {
	Node  string
	Index uint64
	Sum   string
}

// Cluster is what the chaos driver needs to know about one.
type Cluster interface {
	Service
	// Nodes are those that are broken and used, always in the same order.
	Nodes() []*Node
	// Leader finds the one that most nodes follow.
	Leader(ctx context.Context) (*Node, error)
	// Settle waits until every node is ready.
	Settle(ctx context.Context) error
	// Digests asks each node for the digest of its state and the index that it belongs to.
	Digests(ctx context.Context) ([]Digest, error)
	// VerifyAudit verifies the audit logs of all nodes, which may be stopped for it.
	VerifyAudit(ctx context.Context) error
}

// Service is what clients do with a cluster, each through one node. Calls may overlap. The right and key names are the service's own:
// a right is whatever can be taken away and given back, such as an application's.
type Service interface {
	// NewKey makes a key that only Rotate rotates. It has version 1.
	NewKey(ctx context.Context, n *Node) (string, error)
	// Create makes a right of a name, given.
	Create(ctx context.Context, n *Node, name string) Answer
	// Missing returns which of the rights a node does not know.
	Missing(ctx context.Context, n *Node, names []string) ([]string, error)
	// Encrypt and Decrypt use a right. Decrypt answers WrongPlaintext when it brings something else than went in.
	Encrypt(ctx context.Context, n *Node, right string) (Ciphertext, Answer)
	Decrypt(ctx context.Context, n *Node, right string, c Ciphertext) Answer
	// Unreadable returns which of the ciphertexts do not decrypt to what went in, whatever became of the rights that made them.
	Unreadable(ctx context.Context, n *Node, list []Ciphertext) ([]Ciphertext, error)
	Revoke(ctx context.Context, n *Node, right string) Answer
	Grant(ctx context.Context, n *Node, right string) Answer
	// Rotate brings the number of the new version.
	Rotate(ctx context.Context, n *Node, key string) Answer
	// ReadRight and ReadVersion are strict: they bring what holds at some moment of the call. A service that cannot answers Refused.
	ReadRight(ctx context.Context, n *Node, right string) Answer
	ReadVersion(ctx context.Context, n *Node, key string) Answer
}

// Ciphertext is one that was acknowledged.
type Ciphertext struct {
	Right     string
	Plaintext []byte
	Frame     []byte
}

// WrongPlaintext is the Detail of a decryption that succeeded with something else than went in.
const WrongPlaintext = "wrong plaintext"

// restore undoes everything that can be done to nodes, and starts those that are down.
func restore(ctx context.Context, nodes []*Node) error {
	var failed []error
	for _, n := range nodes {
		if n.Network != nil {
			failed = append(failed, n.Network.Heal())
		}
		if n.Disk != nil {
			n.Disk.Heal()
		}
		if n.Small != nil {
			failed = append(failed, n.Small.Free())
		}
		if n.TokenDir != "" {
			failed = append(failed, giveBack(n.TokenDir))
		}
		failed = append(failed, n.Process.Resume(), n.Process.Launch())
	}
	for _, n := range nodes {
		failed = append(failed, n.Process.WaitReady(ctx))
	}
	return errors.Join(failed...)
}

// converged waits until all nodes are at one index with one digest. Different digests at one index end it at once: no time makes
// them equal.
func converged(ctx context.Context, c Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	seen := map[uint64]Digest{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		digests, err := c.Digests(ctx)
		for _, d := range digests {
			if other, known := seen[d.Index]; known && other.Sum != d.Sum {
				return fmt.Errorf("the states of %s and %s differ at index %d: %s and %s", other.Node, d.Node, d.Index, other.Sum, d.Sum)
			}
			seen[d.Index] = d
		}
		if err == nil && len(digests) == len(c.Nodes()) &&
			!slices.ContainsFunc(digests, func(d Digest) bool { return d.Index != digests[0].Index }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the nodes do not come to one state: %v: %w", digests, errors.Join(err, ctx.Err()))
		}
	}
}

// CheckLost asks each node for every acknowledged ciphertext and every acknowledged right, and returns what is lost.
func CheckLost(ctx context.Context, c Cluster, ciphertexts []Ciphertext, rights []string) ([]string, error) {
	var lost []string
	for _, n := range c.Nodes() {
		for batch := range slices.Chunk(ciphertexts, 500) {
			unreadable, err := c.Unreadable(ctx, n, batch)
			if err != nil {
				return lost, fmt.Errorf("decrypt at %s: %w", n.Name, err)
			}
			for _, u := range unreadable {
				lost = append(lost, fmt.Sprintf("a ciphertext of %s at %s", u.Right, n.Name))
			}
		}
		missing, err := c.Missing(ctx, n, rights)
		if err != nil {
			return lost, fmt.Errorf("look for rights at %s: %w", n.Name, err)
		}
		for _, name := range missing {
			lost = append(lost, fmt.Sprintf("%s at %s", name, n.Name))
		}
	}
	return lost, nil
}

// names returns the names of nodes for people.
func names(nodes []*Node) string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Name)
	}
	return strings.Join(list, " ")
}
