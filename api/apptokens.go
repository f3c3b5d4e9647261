package api

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"time"

	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
)

// applicationKey reads what an application authenticates with that keeps its key itself.
func applicationKey(in *wire.ApplicationKey) (engine.ApplicationKey, error) {
	var key engine.ApplicationKey
	if in.PublicKey != "" {
		public, ok := ed25519Key(in.PublicKey)
		if !ok {
			return key, malformedField("public_key", "is neither an Ed25519 key in PEM (PUBLIC KEY) nor base64 of its 32 bytes")
		}
		key.PublicKey = public
	}
	if in.ClientCertificate != "" {
		certificate, problem := clientCertificate(in.ClientCertificate)
		if problem != "" {
			return key, malformedField("client_certificate", problem)
		}
		hash := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
		key.Certificate = hash[:]
	}
	return key, nil
}

// ed25519Key reads a public key: SubjectPublicKeyInfo in PEM (RFC 8410), or standard base64 of the 32 bytes (RFC 8032).
func ed25519Key(text string) (ed25519.PublicKey, bool) {
	if !strings.HasPrefix(text, "-----") {
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		return raw, err == nil && len(raw) == ed25519.PublicKeySize
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, false
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, false
	}
	public, ok := parsed.(ed25519.PublicKey)
	return public, ok
}

// clientCertificate reads a certificate in PEM, or says what is wrong with it.
func clientCertificate(text string) (certificate *x509.Certificate, problem string) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, "is not one PEM block CERTIFICATE"
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, "is not a certificate"
	}
	const leastRSA = 2048
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < leastRSA {
			return nil, "has an RSA key of less than 2048 bits"
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return nil, "has a key of an unknown kind"
	}
	if time.Now().After(certificate.NotAfter) {
		return nil, "has expired"
	}
	return certificate, ""
}

func (s *Server) applicationTokens(x *exchange) error {
	info, err := s.config.Engine.ApplicationTokens(x.r.Context(), &x.call, x.params.ByName("application"))
	if err != nil {
		return err
	}
	app := info.Application
	answer := wire.TokensResponse{
		KeyID: app.KeyID, KeptHere: len(app.SealedKey) > 0, AccessSeconds: lifetime(auth.AccessLifetime),
		RefreshSeconds: lifetime(auth.RefreshLifetime), RefreshFamilies: make([]wire.TokensFamily, 0, len(info.Families)),
		TokensRevokedAt: orNever(app.NotBefore),
	}
	if len(app.PublicKey) > 0 {
		answer.Algorithm = "EdDSA"
	}
	for _, f := range info.Families {
		answer.RefreshFamilies = append(answer.RefreshFamilies, wire.TokensFamily{
			CreatedAt: milliseconds(f.CreatedAt), ExpiresAt: milliseconds(f.ExpiresAt), Refreshed: int(f.Generation),
		})
	}
	return x.answer(answer)
}

// rotateTokens takes no body for an application whose key is kept here.
func (s *Server) rotateTokens(x *exchange) error {
	var in wire.ApplicationKey
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	key, err := applicationKey(&in)
	if err != nil {
		return err
	}
	app, err := s.config.Engine.RotateTokens(x.r.Context(), &x.call, x.params.ByName("application"), key)
	if err != nil {
		return err
	}
	return x.answerIssued(app, http.StatusOK)
}

func (s *Server) revokeTokens(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	return x.answerDone(s.config.Engine.RevokeTokens(x.r.Context(), &x.call, x.params.ByName("application")))
}

func (s *Server) register(x *exchange) error {
	var in wire.RegisterRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	found, err := s.config.Engine.RegisterApplication(x.r.Context(), &x.call, engine.RegisterSpec{
		Name: in.AppName, Team: in.Team, Environment: in.Environment, Contexts: in.Contexts, Description: in.Description,
	})
	if err != nil {
		return err
	}
	app := found.Application
	tokens, err := s.config.Tokens.Issue(x.r.Context(), &x.call, app)
	if err != nil {
		return err
	}
	answer := wire.RegisterResponse{
		AppID: app.ID, AppName: app.Name, Environment: app.Environment, AccessToken: tokens.Access, RefreshToken: tokens.Refresh,
		Contexts: contextsOf(app), IsNew: found.New, Message: "the application was registered",
	}
	if !found.New {
		answer.Message = "the application exists: it has new tokens, and those that it had go on working"
	}
	if len(found.Missing) > 0 {
		answer.Message += "; it may not use " + strings.Join(found.Missing, ", ") + ": ask an administrator to grant that"
	}
	return x.answer(answer)
}

// contextsOf returns the contexts that an application may use, in order of name.
func contextsOf(app *directory.Application) []string {
	names := make([]string, 0, len(app.Grants))
	for _, g := range app.Grants {
		names = append(names, g.Context)
	}
	slices.Sort(names)
	return names
}

// verifyToken tells about the access tokens of the caller's own tenant, and of all others that they are not good.
func (s *Server) verifyToken(x *exchange) error {
	var in wire.TokenVerifyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	proved, err := s.config.Auth.Verify(in.AccessToken)
	if err != nil {
		proved = nil // why is nobody's business
	}
	app, err := s.config.Engine.VerifyToken(x.r.Context(), &x.call, proved)
	if err != nil {
		return err
	}
	if app == nil || proved == nil {
		return x.answer(wire.TokenVerifyResponse{})
	}
	contexts := slices.DeleteFunc(contextsOf(app), func(name string) bool {
		return proved.Narrowed != nil && !slices.Contains(proved.Narrowed, name)
	})
	return x.answer(wire.TokenVerifyResponse{
		Valid: true, AppID: app.ID, AppName: app.Name, Team: app.Team, Environment: app.Environment, Contexts: contexts,
		ExpiresAt: timestamp(proved.Expires),
	})
}

// revokeToken ends the family of a refresh token, or a session, for whoever has the token (RFC 7009). Any other token is
// answered the same way.
func (s *Server) revokeToken(x *exchange) error {
	var in wire.TokenRevokeRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	return x.answerDone(s.config.Tokens.Revoke(x.r.Context(), &x.call, in.Token))
}
