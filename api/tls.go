package api

import "crypto/tls"

// TLSConfig returns the TLS settings of the API: TLS 1.3, HTTP/2 and HTTP/1.1, and the certificate that getCertificate
// gives for each handshake. With allow12 it also takes TLS 1.2 with forward secrecy and an AEAD (RFC 9325 section 4.2).
//
// With clientCertificates it asks each client for a certificate, of which the handshake proves no more than that the client
// has its private key: what it is worth is decided for each request (auth.Verifier.Certificate). A client without one is
// served all the same.
func TLSConfig(allow12, clientCertificates bool, getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: getCertificate,
		NextProtos:     []string{"h2", "http/1.1"},
	}
	if clientCertificates {
		c.ClientAuth = tls.RequestClientCert
	}
	if allow12 {
		c.MinVersion = tls.VersionTLS12
		// The suites of TLS 1.3 are not configurable and all have an AEAD.
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	return c
}
