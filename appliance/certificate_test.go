package appliance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// breakable is a signer in software that can be told to fail.
type breakable struct {
	crypto.Signer
	broken atomic.Bool
	calls  atomic.Int64
}

func (s *breakable) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	s.calls.Add(1)
	if s.broken.Load() {
		return nil, errors.New("the token does not answer")
	}
	return s.Signer.Sign(r, digest, o)
}

func newSigner(t *testing.T) *breakable {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &breakable{Signer: key}
}

// certificateRig has issued its first certificates. In a bubble of synctest, run renews them.
type certificateRig struct {
	*certificates
	ca    *breakable
	roots *x509.CertPool
	down  atomic.Bool
	lines bytes.Buffer
}

func newCertificates(t *testing.T) *certificateRig {
	t.Helper()
	r := &certificateRig{ca: newSigner(t), roots: x509.NewCertPool()}
	der, err := newAuthority("cluster_1", r.ca, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	r.roots.AddCert(authority)
	r.certificates = &certificates{
		authority: authority, signer: r.ca, nodeKey: newSigner(t), nodeID: "node_1",
		names:     []string{"localhost", "keys.example.org", "192.0.2.7", "2001:db8::7"},
		log:       slog.New(slog.NewTextHandler(&r.lines, nil)),
		tokenDown: func() (time.Time, bool) { return time.Time{}, r.down.Load() },
	}
	if err := r.issue(time.Now()); err != nil {
		t.Fatal(err)
	}
	return r
}

// renew runs the renewal in the background until the test ends.
func (r *certificateRig) renew(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(ctx, time.Minute)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// pass lets time pass and everything that is due in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestCertificateNames(t *testing.T) {
	r := newCertificates(t)
	for what, c := range map[string]*x509.Certificate{"node": r.node.Load().Leaf, "standby": r.standby.Load().Leaf} {
		for _, name := range r.names {
			if _, err := c.Verify(x509.VerifyOptions{Roots: r.roots, DNSName: name}); err != nil {
				t.Errorf("%s certificate for %s: %v", what, name, err)
			}
		}
		if _, err := c.Verify(x509.VerifyOptions{Roots: r.roots, DNSName: "other.example.org"}); err == nil {
			t.Errorf("the %s certificate is good for any name", what)
		}
		if len(c.DNSNames) != 2 || len(c.IPAddresses) != 2 || c.IsCA {
			t.Errorf("%s certificate: names %v, addresses %v, CA %v", what, c.DNSNames, c.IPAddresses, c.IsCA)
		}
	}
	if a, b := r.node.Load().Leaf.NotAfter, r.standby.Load().Leaf.NotAfter; !a.After(b) {
		t.Errorf("the node certificate ends at %v, the standby at %v", a, b)
	}
}

func TestCertificateOfAHandshake(t *testing.T) {
	r := newCertificates(t)
	for _, down := range []bool{false, true, false} {
		r.down.Store(down)
		want := r.node.Load()
		if down {
			want = r.standby.Load()
		}
		if got, err := r.get(nil); err != nil || got != want {
			t.Errorf("token down %v: got the other certificate, %v", down, err)
		}
	}
}

func TestCertificatesAreRenewedAtHalfOfTheShorterLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCertificates(t)
		r.renew(t)
		node, standby := r.node.Load(), r.standby.Load()
		pass(standbyLife/2 - time.Minute)
		if r.node.Load() != node || r.standby.Load() != standby {
			t.Error("renewed before half of the life is over")
		}
		pass(2 * time.Minute)
		if r.node.Load() == node || r.standby.Load() == standby {
			t.Fatal("not renewed when half of the life is over")
		}
		if key := standby.PrivateKey.(*ecdsa.PrivateKey); key.Equal(r.standby.Load().PrivateKey) {
			t.Error("the standby keeps its key")
		}
		if left := time.Until(r.standby.Load().Leaf.NotAfter); left < standbyLife-3*time.Minute {
			t.Errorf("the new standby is good for %v", left)
		}
		renewed := r.standby.Load()
		pass(standbyLife/2 - 3*time.Minute)
		if r.standby.Load() != renewed {
			t.Error("renewed a second time too early")
		}
		pass(5 * time.Minute)
		if r.standby.Load() == renewed {
			t.Error("not renewed a second time")
		}
		if r.lines.Len() > 0 {
			t.Errorf("the log has:\n%s", &r.lines)
		}
	})
}

func TestCertificatesThatCannotBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCertificates(t)
		r.renew(t)
		node, standby := r.node.Load(), r.standby.Load()
		for streak := 1; streak <= 2; streak++ {
			r.ca.broken.Store(true)
			before := r.ca.calls.Load()
			pass(standbyLife/2 + 10*time.Minute)
			if r.node.Load() != node || r.standby.Load() != standby {
				t.Fatal("the old certificates were not kept")
			}
			if n := r.ca.calls.Load() - before; n < 10 {
				t.Errorf("tried %d times in ten minutes", n)
			}
			if n := strings.Count(r.lines.String(), "could not be renewed"); n != streak {
				t.Errorf("%d lines after %d rows of failures:\n%s", n, streak, &r.lines)
			}
			r.ca.broken.Store(false)
			pass(time.Minute)
			if r.node.Load() == node || r.standby.Load() == standby {
				t.Fatal("not renewed when the token was back")
			}
			if n := strings.Count(r.lines.String(), "renewed after all"); n != streak {
				t.Errorf("%d lines after %d recoveries:\n%s", n, streak, &r.lines)
			}
			node, standby = r.node.Load(), r.standby.Load()
		}
	})
}
