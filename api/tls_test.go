package api_test

import (
	"crypto/tls"
	"testing"

	"cryptoserve/api"
)

func TestTLS(t *testing.T) {
	strict := newFixture(t)
	with12 := newFixture(t, func(c *api.Config) { c.TLS = api.TLSConfig(true, false, c.TLS.GetCertificate) })
	for name, c := range map[string]struct {
		server   *fixture
		versions [2]uint16
		suites   []uint16
		good     bool
	}{
		"1.3":                      {strict, [2]uint16{tls.VersionTLS13, tls.VersionTLS13}, nil, true},
		"1.2":                      {strict, [2]uint16{tls.VersionTLS10, tls.VersionTLS12}, nil, false},
		"1.2 allowed, AEAD":        {with12, [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, true},
		"1.2 allowed, ChaCha20":    {with12, [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, true},
		"1.2 allowed, CBC":         {with12, [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, false},
		"1.2 allowed, CBC SHA-256": {with12, [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}, false},
		"1.2 allowed, RSA key":     {with12, [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, false},
		"1.2 allowed, 1.1":         {with12, [2]uint16{tls.VersionTLS10, tls.VersionTLS11}, nil, false},
		"1.2 allowed, 1.3":         {with12, [2]uint16{tls.VersionTLS12, tls.VersionTLS13}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := tls.Dialer{Config: &tls.Config{
				RootCAs: c.server.roots, MinVersion: c.versions[0], MaxVersion: c.versions[1], CipherSuites: c.suites,
				NextProtos: []string{"h2"},
			}}
			conn, err := d.DialContext(t.Context(), "tcp", c.server.address)
			if err != nil {
				if c.good {
					t.Error(err)
				}
				return
			}
			defer conn.Close()
			state := conn.(*tls.Conn).ConnectionState()
			if !c.good {
				t.Errorf("connected with version %x, suite %s", state.Version, tls.CipherSuiteName(state.CipherSuite))
			}
			if state.NegotiatedProtocol != "h2" {
				t.Errorf("the protocol is %q", state.NegotiatedProtocol)
			}
		})
	}
}
