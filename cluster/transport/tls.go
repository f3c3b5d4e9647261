package transport

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"time"
)

// The ALPN protocols. A change of what goes over one of them needs a new number.
const (
	protoRaft = "cryptoserve-raft/1"
	protoNode = "cryptoserve-node/1"
	protoJoin = "cryptoserve-join/1"
)

// handshakeLimit is how long a handshake may take, at either end.
const handshakeLimit = 5 * time.Second

// connectLimit is how long the TCP part of a dial may take. TCP asks again after 1, 3 and 7 seconds, so that a dial that
// began in a partition would go on waiting long after it.
const connectLimit = time.Second

// serverTLS holds the settings of the port. None has session tickets, so that every connection is judged by a full
// handshake.
type serverTLS struct {
	choose, raft, node, join *tls.Config
}

func (t *Transport) newServerTLS() serverTLS {
	base := func(proto string) *tls.Config {
		return &tls.Config{
			MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13, NextProtos: []string{proto}, SessionTicketsDisabled: true,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return t.certificate() },
		}
	}
	members := func(proto string) *tls.Config {
		c := base(proto)
		// The chain is verified in VerifyConnection, together with all the rest.
		c.ClientAuth = tls.RequireAnyClientCert
		c.VerifyConnection = t.verifyPeer(x509.ExtKeyUsageClientAuth, "")
		return c
	}
	s := serverTLS{raft: members(protoRaft), node: members(protoNode), join: base(protoJoin)}
	s.choose = &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		GetConfigForClient: t.forClient,
	}
	return s
}

// forClient chooses the settings by the one protocol that a client offers. One that offers none or several gets no further:
// a choice would have to be made for it, and one of the protocols wants no certificate.
func (t *Transport) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) != 1 {
		return nil, errors.New("the client must offer exactly one ALPN protocol")
	}
	switch p := hello.SupportedProtos[0]; {
	case p == protoRaft && t.streams.Load() != nil:
		return t.tls.raft, nil
	case p == protoRaft:
		return nil, errors.New("this node does not run Raft now")
	case p == protoNode:
		return t.tls.node, nil
	case p == protoJoin && t.join != nil:
		return t.tls.join, nil
	}
	return nil, errors.New("the client offers an ALPN protocol that is not served here")
}

// clientTLS returns the settings of a dial to a node. The name in its certificate is a URI, which the verification of the
// standard library does not know, so that VerifyConnection does all of it.
func (t *Transport) clientTLS(proto, node string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13, NextProtos: []string{proto}, SessionTicketsDisabled: true,
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection verifies chain, name and key
		VerifyConnection:     t.verifyPeer(x509.ExtKeyUsageServerAuth, node),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.certificate() },
	}
}

// certificate returns this node's own, with a key that tells in the log when it cannot sign.
func (t *Transport) certificate() (*tls.Certificate, error) {
	c, err := t.cfg.Certificate()
	if err == nil && (c == nil || len(c.Certificate) == 0) {
		err = errors.New("there is no certificate yet")
	}
	if err != nil {
		t.notices.warn(noticeToken, slog.Any("error", err))
		return nil, err
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		err := errors.New("the key of the certificate cannot sign")
		t.notices.warn(noticeToken, slog.Any("error", err))
		return nil, err
	}
	watched := *c
	watched.PrivateKey = watchedKey{key, t.notices}
	return &watched, nil
}

// watchedKey logs the failures of a key.
type watchedKey struct {
	crypto.Signer
	notices *notices
}

// Sign signs a digest.
func (k watchedKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s, err := k.Signer.Sign(random, digest, opts)
	if err != nil {
		k.notices.warn(noticeToken, slog.Any("error", err))
	}
	return s, err
}
