package appliance

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"cryptoserve/cluster"
	"cryptoserve/cluster/transport"
)

// methodMembers is the node call that asks a member whom it knows. What it answers is a list of memberEntry as JSON.
const methodMembers = "members"

// askTimeout bounds one question to another node about the members.
const askTimeout = 2 * time.Second

// authority is the cluster CA as this node uses it: its certificate, and its key in the token.
type authority struct {
	certificate *x509.Certificate
	signer      crypto.Signer
}

// openAuthority takes the cluster CA from the node's identity.
func (n *node) openAuthority() error {
	if len(n.identity.CACertificate) == 0 {
		if n.config.Cluster.Listen == "" {
			return nil // an older node: the state has it
		}
		return errors.New("this node was made by an older program: start it once without cluster.listen, then with it")
	}
	return n.useAuthority(n.identity.CACertificate, n.identity.CAKey)
}

func (n *node) useAuthority(certificate, wrapped []byte) error {
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return fmt.Errorf("certificate of the cluster CA: %w", err)
	}
	signer, err := n.authoritySigner(parsed.PublicKey, wrapped)
	if err != nil {
		return err
	}
	n.authority = &authority{parsed, signer}
	return nil
}

// openNetwork opens the cluster port. Until the engine is there it refuses those who want to join.
func (n *node) openNetwork() (err error) {
	n.members, err = openMemberList(n.config.DataDir, n.viewOrNil)
	if err != nil || n.config.Cluster.Listen == "" {
		return err
	}
	n.members.current = func() bool {
		c := n.opened.Load()
		return c != nil && c.Current()
	}
	log := n.log.With("part", "network")
	n.peerCertificate = &peerCertificate{node: n, log: log}
	n.network, err = transport.Listen(transport.Config{
		ClusterID: n.identity.ClusterID, NodeID: n.identity.NodeID,
		Listen: n.config.Cluster.Listen, Advertise: n.config.Cluster.Advertise,
		Certificate: n.peerCertificate.get, Authority: n.authorityCertificate,
		Member: n.members.Member, Unknown: n.askMembers, Join: &n.joins, Log: log,
	})
	if err != nil {
		return fmt.Errorf("the cluster port: %w", err)
	}
	n.onClose(n.network)
	return nil
}

func (n *node) viewOrNil() *cluster.View {
	if c := n.opened.Load(); c != nil {
		return c.View()
	}
	return nil
}

func (n *node) authorityCertificate() *x509.Certificate { return n.authority.certificate }

// askMembers asks the members that are known for the members that they know, because one turned up that this node does not. It
// runs one at a time.
func (n *node) askMembers(ctx context.Context, stranger string) {
	for _, m := range n.members.all() {
		if m.Removed || m.ID == n.identity.NodeID || m.ID == stranger {
			continue
		}
		answer, err := n.call(ctx, m, methodMembers)
		if err != nil {
			continue
		}
		var entries []memberEntry
		if err := json.Unmarshal(answer, &entries); err != nil {
			n.log.Warn("a member answered with a list of members that cannot be read", "member", m.ID, "error", err)
			continue
		}
		n.members.learn(entries)
		if _, known := n.members.Member(stranger); known {
			return
		}
	}
}

func (n *node) call(ctx context.Context, m memberEntry, method string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return n.network.Call(ctx, transport.Peer{ID: m.ID, Address: m.Address}, method, nil)
}

// ownCalls is the cluster port as the cluster uses it, with the call that the appliance answers itself.
type ownCalls struct {
	cluster.Network
	members *memberList
}

// Handle sets who answers the other calls of other nodes.
func (o ownCalls) Handle(handle func(ctx context.Context, from, method string, request []byte) ([]byte, error)) {
	if handle == nil {
		o.Network.Handle(nil)
		return
	}
	o.Network.Handle(func(ctx context.Context, from, method string, request []byte) ([]byte, error) {
		if method == methodMembers {
			return json.Marshal(o.members.all())
		}
		return handle(ctx, from, method, request)
	})
}

// peerCertificate is what the node shows on the cluster port. It is issued anew when half of its life is over.
type peerCertificate struct {
	node *node
	log  *slog.Logger

	renewing sync.Mutex
	current  atomic.Pointer[tls.Certificate]
}

func (c *peerCertificate) get() (*tls.Certificate, error) {
	if cert := c.current.Load(); cert != nil && !due(cert.Leaf, time.Now()) {
		return cert, nil
	}
	c.renewing.Lock()
	defer c.renewing.Unlock()
	now := time.Now()
	before := c.current.Load()
	if before != nil && !due(before.Leaf, now) {
		return before, nil
	}
	n := c.node
	cert, err := n.newPeerCertificate(now)
	if err == nil {
		c.current.Store(cert)
		return cert, nil
	}
	if before != nil && now.Before(before.Leaf.NotAfter) {
		c.log.Warn("the node's certificate could not be renewed; it is tried again", "error", err, "until", before.Leaf.NotAfter)
		return before, nil
	}
	return nil, fmt.Errorf("certificate of the node: %w", err)
}

func (n *node) newPeerCertificate(now time.Time) (*tls.Certificate, error) {
	key := n.token.NodeSigner()
	der, err := transport.NodeCertificate(n.authority.certificate, n.authority.signer, n.identity.ClusterID, n.identity.NodeID, key.Public(), now)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, n.authority.certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// due reports whether half of a certificate's life is over, or has not begun: a clock that was set right makes it one of the
// future.
func due(leaf *x509.Certificate, now time.Time) bool {
	return now.Before(leaf.NotBefore) || now.After(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore)/2))
}

// joinDoor answers those who want to join once the engine is there.
type joinDoor struct{ handler atomic.Pointer[http.Handler] }

func (d *joinDoor) open(h http.Handler) { d.handler.Store(&h) }

// ServeHTTP hands the request on, or says that it is too early.
func (d *joinDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := d.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "this node is starting; try again", http.StatusServiceUnavailable)
}
