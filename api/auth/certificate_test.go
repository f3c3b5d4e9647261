package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"testing"
	"time"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certify returns a certificate of a key, good for an hour around start unless edited.
func certify(t testing.TB, key crypto.Signer, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"},
		NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pin lets an application authenticate with the key of a certificate.
func (f *fixture) pin(id string, c *x509.Certificate) {
	hash := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	f.change(id, func(a *directory.Application) { a.Certificate = hash[:] })
}

func TestCertificate(t *testing.T) {
	f := newFixture(t)
	key := newKey(t)
	certificate := certify(t, key, nil)
	f.pin(shop, certificate)
	s, err := f.verifier.Certificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Subject{
		Kind: policy.KindApplication, ID: shop, Tenant: "tenant-1", Credential: "key-1", Certified: true, Expires: certificate.NotAfter,
	}
	if s.Narrowed != nil || s.Kind != want.Kind || s.ID != want.ID || s.Tenant != want.Tenant || s.Credential != want.Credential ||
		!s.Certified || !s.Expires.Equal(want.Expires) {
		t.Errorf("the subject is %+v, want %+v", s, want)
	}
	if again, err := f.verifier.Certificate(certificate); err != nil || again != s {
		t.Errorf("the second request has another subject: %v, %v", again, err)
	}
	renewed := certify(t, key, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) })
	if s, err := f.verifier.Certificate(renewed); err != nil || s.ID != shop {
		t.Errorf("a new certificate of the same key gave %v, %v", s, err)
	}
}

func TestCertificateAttacks(t *testing.T) {
	key := newKey(t)
	for name, c := range map[string]struct {
		edit func(*x509.Certificate)
		want error // nil is none
	}{
		"as it should be":     {nil, nil},
		"expired":             {func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Second) }, errExpired},
		"not valid yet":       {func(c *x509.Certificate) { c.NotBefore = start.Add(time.Second) }, errNotYet},
		"for servers":         {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, errUsage},
		"without a purpose":   {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, nil},
		"for anything":        {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, nil},
		"for something else":  {func(c *x509.Certificate) { c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, unknownUsage }, errUsage},
		"for both":            {func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }, nil},
		"of an authority too": {func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			certificate := certify(t, key, c.edit)
			f.pin(shop, certificate)
			s, err := f.verifier.Certificate(certificate)
			if c.want != nil {
				wantRefused(t, err, c.want)
			} else if err != nil || s.ID != shop {
				t.Errorf("got %v, %v", s, err)
			}
		})
	}
	t.Run("not pinned", func(t *testing.T) {
		f := newFixture(t)
		f.pin(shop, certify(t, key, nil))
		_, err := f.verifier.Certificate(certify(t, newKey(t), nil)) // with the same name and purpose
		wantRefused(t, err, errUnknown)
	})
	t.Run("expires between two requests", func(t *testing.T) {
		f := newFixture(t)
		certificate := certify(t, key, nil)
		f.pin(shop, certificate)
		if _, err := f.verifier.Certificate(certificate); err != nil {
			t.Fatal(err)
		}
		f.clock.at = start.Add(time.Hour + time.Second)
		_, err := f.verifier.Certificate(certificate)
		wantRefused(t, err, errExpired)
	})
	t.Run("disabled", func(t *testing.T) {
		f := newFixture(t)
		certificate := certify(t, key, nil)
		f.pin(shop, certificate)
		f.change(shop, func(a *directory.Application) { a.Status = directory.Disabled })
		_, err := f.verifier.Certificate(certificate)
		wantRefused(t, err, errUnknown)
	})
	t.Run("given to another application", func(t *testing.T) {
		f := newFixture(t)
		certificate := certify(t, key, nil)
		f.pin(shop, certificate)
		if _, err := f.verifier.Certificate(certificate); err != nil {
			t.Fatal(err)
		}
		f.change(shop, func(a *directory.Application) { a.Certificate = nil })
		_, err := f.verifier.Certificate(certificate)
		wantRefused(t, err, errUnknown)
		f.pin(blog, certificate)
		if s, err := f.verifier.Certificate(certificate); err != nil || s.ID != blog || s.Tenant != "tenant-2" {
			t.Errorf("got %v, %v", s, err)
		}
	})
	t.Run("key rotated", func(t *testing.T) {
		f := newFixture(t)
		certificate := certify(t, key, nil)
		f.pin(shop, certificate)
		first, err := f.verifier.Certificate(certificate)
		if err != nil {
			t.Fatal(err)
		}
		f.change(shop, func(a *directory.Application) { a.KeyID = "key-9" })
		if s, err := f.verifier.Certificate(certificate); err != nil || s == first || s.Credential != "key-9" {
			t.Errorf("got %v, %v", s, err)
		}
	})
}

// unknownUsage is a purpose that no standard names.
var unknownUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 99999, 1}}

// TestStolenCertificate shows a certificate without its private key: the handshake does not come to an end.
func TestStolenCertificate(t *testing.T) {
	serverKey := newKey(t)
	now := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	server := tls.Certificate{Certificate: [][]byte{certify(t, serverKey, now).Raw}, PrivateKey: serverKey}
	key := newKey(t)
	certificate := certify(t, key, now)
	for name, private := range map[string]*ecdsa.PrivateKey{"with its key": key, "stolen": newKey(t)} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			defer func() { _ = a.Close() }()
			end := tls.Server(a, &tls.Config{
				Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13,
			})
			go func() {
				client := tls.Client(b, &tls.Config{
					InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
						return &tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: private}, nil
					},
				})
				_ = client.Handshake() // the server's word counts
				_, _ = client.Read(make([]byte, 1))
				_ = b.Close()
			}()
			err := end.Handshake()
			if (err == nil) != (private == key) {
				t.Errorf("the handshake ended with %v", err)
			}
			if err == nil && len(end.ConnectionState().PeerCertificates) != 1 {
				t.Error("the server sees no certificate")
			}
		})
	}
}
