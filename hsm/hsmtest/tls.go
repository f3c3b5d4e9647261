package hsmtest

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"cryptoserve/hsm"
)

// servesTLS serves TLS 1.3 on the loopback interface with a certificate that the node's key signed for itself, and
// authenticates the client with the same key.
func servesTLS(t *testing.T, c hsm.Config) {
	token, _ := open(t, c)
	signer := token.NodeSigner()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "node"},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}},
		RootCAs:      roots,
		ClientCAs:    roots,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- echoOnce(listener) }()
	answer, state, err := ask(listener.Addr().String(), config)
	if cerr := listener.Close(); cerr != nil {
		t.Error(cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if answer != "hello" || state.Version != tls.VersionTLS13 {
		t.Errorf("answer %q, TLS version %x", answer, state.Version)
	}
}

const tlsTimeout = 30 * time.Second

func echoOnce(listener net.Listener) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(tlsTimeout)); err != nil {
		return err
	}
	if _, err := io.CopyN(conn, conn, 5); err != nil {
		return err
	}
	return conn.Close()
}

func ask(address string, config *tls.Config) (string, tls.ConnectionState, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: tlsTimeout}, "tcp", address, config)
	if err != nil {
		return "", tls.ConnectionState{}, err
	}
	if err := conn.SetDeadline(time.Now().Add(tlsTimeout)); err != nil {
		return "", tls.ConnectionState{}, err
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return "", tls.ConnectionState{}, err
	}
	b, err := io.ReadAll(conn)
	return string(b), conn.ConnectionState(), err
}
