package transport

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"time"
)

const (
	uriScheme = "cryptoserve"

	// CertificateLife is how long a node certificate is valid from its issue, CertificateBackdate how long before it,
	// for peers whose clocks are behind.
	CertificateLife     = 24 * time.Hour
	CertificateBackdate = 5 * time.Minute
)

// NodeURI is the name of a node in its certificate, the one URI among the subject alternative names.
func NodeURI(clusterID, nodeID string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: clusterID, Path: "/" + nodeID}
}

// KeyHash is the SHA-256 of a certificate's SubjectPublicKeyInfo (DER), by which a member is known.
func KeyHash(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// NodeCertificate issues the certificate of a node's key for the cluster port, DER: for both ends of TLS, valid from
// CertificateBackdate before now for CertificateLife after it, but never beyond the CA's own.
func NodeCertificate(ca *x509.Certificate, caKey crypto.Signer, clusterID, nodeID string, key crypto.PublicKey, now time.Time) (
	[]byte, error,
) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	until := now.Add(CertificateLife)
	if until.After(ca.NotAfter) {
		until = ca.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"CryptoServe"}, CommonName: nodeID},
		URIs:         []*url.URL{NodeURI(clusterID, nodeID)},
		NotBefore:    now.Add(-CertificateBackdate),
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	return x509.CreateCertificate(rand.Reader, t, ca, key, caKey)
}
