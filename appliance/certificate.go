package appliance

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync/atomic"
	"time"
)

const (
	caLife      = 10 * 365 * 24 * time.Hour
	nodeLife    = 30 * 24 * time.Hour
	standbyLife = 48 * time.Hour
	backdate    = 5 * time.Minute // for clients whose clocks are behind
)

// newAuthority returns the self-signed certificate of a cluster's CA.
func newAuthority(clusterID string, key crypto.Signer, now time.Time) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"CryptoServe"}, CommonName: "CA of " + clusterID},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

// authoritySigner returns the signer of the cluster CA, whose wrapped key only the token can unwrap.
func (n *node) authoritySigner(public any, wrapped []byte) (crypto.Signer, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the cluster CA has no ECDSA key")
	}
	return n.token.WrappedSigner(key, wrapped), nil
}

// certificates holds what the API listener shows. The node certificate's key is cs-node, in the token; the standby's key
// is in process memory and lives two days. The standby answers handshakes while the token does not, so that callers get
// their problem document over TLS instead of a broken connection.
type certificates struct {
	authority *x509.Certificate
	signer    crypto.Signer // of the CA
	nodeKey   crypto.Signer
	nodeID    string
	names     []string
	tokenDown func() (time.Time, bool)
	log       *slog.Logger

	node    atomic.Pointer[tls.Certificate]
	standby atomic.Pointer[tls.Certificate]
}

// issue makes both certificates anew.
func (c *certificates) issue(now time.Time) error {
	node, err := c.leaf(c.nodeKey, now, nodeLife)
	if err != nil {
		return fmt.Errorf("certificate of the node: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	standby, err := c.leaf(key, now, standbyLife)
	if err != nil {
		return fmt.Errorf("standby certificate: %w", err)
	}
	c.node.Store(node)
	c.standby.Store(standby)
	return nil
}

func (c *certificates) leaf(key crypto.Signer, now time.Time, life time.Duration) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"CryptoServe"}, CommonName: c.nodeID},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range c.names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.authority, key.Public(), c.signer)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// get chooses the certificate of a handshake.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if _, down := c.tokenDown(); down {
		return c.standby.Load(), nil
	}
	return c.node.Load(), nil
}

// run issues new certificates when half of the shorter life is over, and tries again each interval while that fails. The
// log has one line for a row of failures.
func (c *certificates) run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		leaf := c.standby.Load().Leaf
		now, until := time.Now(), leaf.NotAfter
		// A clock that was ahead at the start and has been set right made certificates of the future.
		if now.Before(until.Add(-standbyLife/2)) && !now.Before(leaf.NotBefore) {
			continue
		}
		err := c.issue(now)
		switch {
		case err != nil && !failed:
			c.log.Error("certificates could not be renewed; it is tried again and again", "error", err, "until", until, "interval", interval)
		case err == nil && failed:
			c.log.Info("certificates were renewed after all")
		}
		failed = err != nil
	}
}

func (c *certificates) caPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.authority.Raw})
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
