package api

import (
	"context"
	"encoding/hex"
	"net/http"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// ApplicationEngine makes applications and says what their tokens are worth.
type ApplicationEngine interface {
	Applications(ctx context.Context, call *engine.Call) ([]*directory.Application, error)
	ReadApplication(ctx context.Context, call *engine.Call, id string) (*directory.Application, error)
	CreateApplication(ctx context.Context, call *engine.Call, spec engine.ApplicationSpec) (*directory.Application, error)
	RegisterApplication(ctx context.Context, call *engine.Call, spec engine.RegisterSpec) (engine.Registration, error)
	ChangeApplication(ctx context.Context, call *engine.Call, id string, change engine.ApplicationChange) (*directory.Application, error)
	SetApplicationStatus(ctx context.Context, call *engine.Call, id string, status directory.Status) (*directory.Application, error)
	DeleteApplication(ctx context.Context, call *engine.Call, id string) error
	ApplicationTokens(ctx context.Context, call *engine.Call, id string) (engine.TokensInfo, error)
	RotateTokens(ctx context.Context, call *engine.Call, id string, key engine.ApplicationKey) (*directory.Application, error)
	RevokeTokens(ctx context.Context, call *engine.Call, id string) error
	VerifyToken(ctx context.Context, call *engine.Call, proved *policy.Subject) (*directory.Application, error)
}

const applicationsPath = "/api/v1/applications"

// applicationRoutes are its routes.
func applicationRoutes(l Limits) []route {
	one := applicationsPath + "/:application"
	register := secretly(changing(l, http.MethodPost, applicationsPath+"/sdk/register", policy.RegisterApplication, (*Server).register))
	register.exact = true
	revoke := changing(l, http.MethodPost, "/api/v1/auth/revoke", policy.RevokeToken, (*Server).revokeToken)
	revoke.access = anybody
	return []route{
		reading(l, applicationsPath, policy.ListApplications, (*Server).applications),
		secretly(changing(l, http.MethodPost, applicationsPath, policy.CreateApplication, (*Server).createApplication)),
		register,
		reading(l, one, policy.ReadApplication, (*Server).application),
		changing(l, http.MethodPut, one, policy.ChangeApplication, (*Server).changeApplication),
		changing(l, http.MethodPost, one+"/disable", policy.DisableApplication, (*Server).disableApplication),
		changing(l, http.MethodPost, one+"/enable", policy.EnableApplication, (*Server).enableApplication),
		changing(l, http.MethodDelete, one, policy.DeleteApplication, (*Server).deleteApplication),
		reading(l, one+"/tokens", policy.ReadTokens, (*Server).applicationTokens),
		secretly(changing(l, http.MethodPost, one+"/tokens/rotate", policy.RotateTokens, (*Server).rotateTokens)),
		changing(l, http.MethodPost, one+"/tokens/revoke", policy.RevokeTokens, (*Server).revokeTokens),
		changing(l, http.MethodPost, "/api/v1/auth/verify", policy.VerifyToken, (*Server).verifyToken),
		revoke,
	}
}

func (s *Server) applications(x *exchange) error {
	list, err := s.config.Engine.Applications(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.ApplicationsResponse{Applications: make([]wire.Application, 0, len(list))}
	for _, a := range list {
		answer.Applications = append(answer.Applications, wireApplication(a))
	}
	return x.answer(answer)
}

func (s *Server) application(x *exchange) error {
	app, err := s.config.Engine.ReadApplication(x.r.Context(), &x.call, x.params.ByName("application"))
	return x.answerApplication(app, err)
}

func (x *exchange) answerApplication(app *directory.Application, err error) error {
	if err != nil {
		return err
	}
	return x.answer(wireApplication(app))
}

func wireApplication(a *directory.Application) wire.Application {
	out := wire.Application{
		ID: a.ID, Name: a.Name, Team: a.Team, Environment: a.Environment, Description: a.Description, Status: a.Status.String(),
		Grants: make([]wire.Grant, 0, len(a.Grants)), KeyID: a.KeyID, PublicKey: a.PublicKey, KeptHere: len(a.SealedKey) > 0,
		CertificateKey: hex.EncodeToString(a.Certificate), CreatedBy: a.CreatedBy, CreatedAt: milliseconds(a.CreatedAt),
		TokensRevokedAt: orNever(a.NotBefore),
	}
	for _, g := range a.Grants {
		grant := wire.Grant{Context: g.Context, Encrypt: g.Encrypt, Decrypt: g.Decrypt, Compromised: g.Compromised}
		if b := g.Budget; b != nil {
			grant.Budget = &wire.GrantBudget{Records: b.Records, Bytes: b.Bytes, Seconds: b.Seconds}
		}
		out.Grants = append(out.Grants, grant)
	}
	return out
}

// grantsOf reads grants. What they may be is the engine's decision.
func grantsOf(list []wire.Grant) []directory.Grant {
	grants := make([]directory.Grant, 0, len(list))
	for _, g := range list {
		grant := directory.Grant{Context: g.Context, Encrypt: g.Encrypt, Decrypt: g.Decrypt, Compromised: g.Compromised}
		if b := g.Budget; b != nil {
			grant.Budget = &directory.Budget{Records: b.Records, Bytes: b.Bytes, Seconds: b.Seconds}
		}
		grants = append(grants, grant)
	}
	return grants
}

func (s *Server) createApplication(x *exchange) error {
	var in wire.CreateApplicationRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	key, err := applicationKey(&in.ApplicationKey)
	if err != nil {
		return err
	}
	app, err := s.config.Engine.CreateApplication(x.r.Context(), &x.call, engine.ApplicationSpec{
		Name: in.Name, Team: in.Team, Environment: in.Environment, Description: in.Description, Grants: grantsOf(in.Grants), Key: key,
	})
	if err != nil {
		return err
	}
	return x.answerIssued(app, http.StatusCreated)
}

// answerIssued answers with an application and its first tokens, if it gets any from here.
func (x *exchange) answerIssued(app *directory.Application, status int) error {
	answer := wire.IssuedApplication{Application: wireApplication(app)}
	if len(app.SealedKey) > 0 && app.Status == directory.Enabled {
		t, err := x.server.config.Tokens.Issue(x.r.Context(), &x.call, app)
		if err != nil {
			return err
		}
		answer.IssuedTokens = wire.IssuedTokens{
			AccessToken: t.Access, TokenType: "bearer", ExpiresAt: timestamp(t.AccessExpires), RefreshToken: t.Refresh,
			RefreshExpiresAt: timestamp(t.RefreshExpires),
		}
	}
	if status == http.StatusCreated {
		x.created(applicationsPath + "/" + app.ID)
	}
	return x.answer(answer)
}

func (s *Server) changeApplication(x *exchange) error {
	var in wire.ChangeApplicationRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	change := engine.ApplicationChange{Team: in.Team, Description: in.Description, Grants: grantsOf(in.Grants)}
	if in.PreviousGrants != nil {
		change.Before = grantsOf(*in.PreviousGrants)
	}
	app, err := s.config.Engine.ChangeApplication(x.r.Context(), &x.call, x.params.ByName("application"), change)
	return x.answerApplication(app, err)
}

func (s *Server) disableApplication(x *exchange) error {
	return x.setApplicationStatus(directory.Disabled)
}

func (s *Server) enableApplication(x *exchange) error {
	return x.setApplicationStatus(directory.Enabled)
}

func (x *exchange) setApplicationStatus(status directory.Status) error {
	if err := x.nothing(); err != nil {
		return err
	}
	app, err := x.server.config.Engine.SetApplicationStatus(x.r.Context(), &x.call, x.params.ByName("application"), status)
	return x.answerApplication(app, err)
}

func (s *Server) deleteApplication(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	return x.answerDone(s.config.Engine.DeleteApplication(x.r.Context(), &x.call, x.params.ByName("application")))
}

// answerDone answers an act that has nothing to show with an empty object.
func (x *exchange) answerDone(err error) error {
	if err != nil {
		return err
	}
	return x.answer(struct{}{})
}
