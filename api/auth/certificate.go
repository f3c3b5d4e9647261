package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// Certificate returns the application that a client certificate proves, in a connection whose TLS handshake has proved that
// the peer has its private key. Errors are fault.Unauthenticated.
//
// Who issued the certificate does not matter: the SHA-256 of its SubjectPublicKeyInfo must be in the application's record. It
// must be valid now and, if it says what it is for, for authenticating clients (RFC 5280 section 4.2.1.12).
func (v *Verifier) Certificate(certificate *x509.Certificate) (*policy.Subject, error) {
	now := v.now()
	switch {
	case now.Before(certificate.NotBefore):
		return nil, refused(errNotYet)
	case now.After(certificate.NotAfter):
		return nil, refused(errExpired)
	case !forClients(certificate):
		return nil, refused(errUsage)
	}
	app := v.directory.ApplicationByCertificate(sha256.Sum256(certificate.RawSubjectPublicKeyInfo))
	if app == nil || app.Status != directory.Enabled {
		return nil, refused(errUnknown)
	}
	// The engine remembers what it decided by the subject, which is why each request gets the same one.
	hash := sha256.Sum256(certificate.Raw)
	if s, ok := v.certified.GetIfPresent(hash); ok && s.ID == app.ID && s.Tenant == app.Tenant && s.Credential == app.KeyID {
		return s, nil
	}
	s := &policy.Subject{
		Kind: policy.KindApplication, ID: app.ID, Tenant: app.Tenant, Credential: app.KeyID, Certified: true,
		Expires: certificate.NotAfter,
	}
	v.certified.Set(hash, s)
	return s, nil
}

// forClients reports whether a certificate is for authenticating clients, or does not say.
func forClients(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}
