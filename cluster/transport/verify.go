package transport

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"
)

// maxNodeIDBytes bounds what a certificate may call a node.
const maxNodeIDBytes = 128

// validID reports whether an id of a cluster or a node can stand in a URI and in an address as it is.
func validID(id string) bool {
	if id == "" || len(id) > maxNodeIDBytes {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// issued checks that the CA issued leaf for this use of it, that it is valid now, and returns the node that it names in the
// cluster; an empty clusterID accepts any. It does not tell whether that node is a member.
func issued(leaf, ca *x509.Certificate, usage x509.ExtKeyUsage, clusterID string, now time.Time) (nodeID string, err error) {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if leaf.IsCA {
		return "", refuse("", "the certificate is one of a CA, not of a node")
	}
	// Without intermediates: the CA itself must have signed it.
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	switch {
	case err == nil:
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return "", refuse("", "the certificate is valid from %s to %s, and the clock of this node says %s: compare the clocks of both nodes",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	default:
		return "", refuse("", "the certificate was not issued by this cluster's CA: %v", err)
	}
	if len(leaf.URIs) != 1 {
		return "", refuse("", "the certificate has %d URIs, not the one of a node", len(leaf.URIs))
	}
	u := leaf.URIs[0]
	nodeID = nodeOf(leaf)
	if clusterID == "" {
		clusterID = u.Host
	}
	// Built again and compared, so that nothing else of a URI (user, query, escapes) can be in it.
	if !validID(nodeID) || !validID(clusterID) || u.String() != NodeURI(clusterID, nodeID).String() {
		return "", refuse("", "the certificate names %q, which is no node of cluster %s", u.String(), clusterID)
	}
	return nodeID, nil
}

// nodeOf returns the node that a certificate names. It says nothing before issued has said yes.
func nodeOf(leaf *x509.Certificate) string {
	if len(leaf.URIs) != 1 {
		return ""
	}
	return strings.TrimPrefix(leaf.URIs[0].Path, "/")
}

// member checks that a certificate is the one of a member now, and returns its id. It is the one decision about peers: at
// every handshake in both directions and at each Recheck; still is its short form in between.
func (t *Transport) member(leaf *x509.Certificate, usage x509.ExtKeyUsage) (nodeID string, err error) {
	ca := t.cfg.Authority()
	if ca == nil {
		return "", refuse("", "this node does not know the cluster's CA yet")
	}
	nodeID, err = issued(leaf, ca, usage, t.cfg.ClusterID, t.cfg.now())
	if err != nil {
		return "", err
	}
	if nodeID == t.cfg.NodeID {
		return "", refuse(nodeID, "the certificate names this node itself")
	}
	key, ok := t.cfg.Member(nodeID)
	if !ok {
		t.unknown(nodeID)
		return "", refuse(nodeID, "node %s is not a member", nodeID)
	}
	if KeyHash(leaf) != key {
		return "", refuse(nodeID, "the certificate of node %s has another key than the member", nodeID)
	}
	return nodeID, nil
}

// verifyPeer returns the check of a handshake. expected is the node that was dialled, empty where this node accepts.
func (t *Transport) verifyPeer(usage x509.ExtKeyUsage, expected string) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return refuse("", "the peer showed no certificate")
		}
		nodeID, err := t.member(cs.PeerCertificates[0], usage)
		if err != nil {
			return err
		}
		if expected != "" && nodeID != expected {
			return refuse(nodeID, "node %s answers at the address of node %s", nodeID, expected)
		}
		return nil
	}
}

// still tells whether the node of an open connection is a member at this moment, with the key that it proved, and its
// certificate has not run out: what can change from one call to the next, without a signature to verify.
func (t *Transport) still(c *memberConn) error {
	key, ok := t.cfg.Member(c.node)
	switch {
	case !ok:
		return refuse(c.node, "node %s is not a member any more", c.node)
	case key != c.key:
		return refuse(c.node, "the certificate of node %s has another key than the member", c.node)
	case t.cfg.now().After(c.leaf.NotAfter):
		return refuse(c.node, "the certificate of node %s ran out at %s", c.node, c.leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
