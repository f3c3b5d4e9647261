package api

import (
	"context"
	"net/http"
	"time"

	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// TenantEngine makes, disables and deletes tenants. A tenant is named by its id or its name.
type TenantEngine interface {
	Tenants(ctx context.Context, call *engine.Call) ([]*directory.Tenant, error)
	FoundTenant(ctx context.Context, call *engine.Call, name string, invite engine.OwnerInvitation) (*directory.Tenant, *directory.Invitation, error)
	InviteOwner(ctx context.Context, call *engine.Call, ref string, invite engine.OwnerInvitation) (*directory.Tenant, *directory.Invitation, error)
	SetTenantStatus(ctx context.Context, call *engine.Call, ref string, status directory.Status) (*directory.Tenant, error)
	DeleteTenant(ctx context.Context, call *engine.Call, ref string, in engine.TenantDeletion) (*directory.Tenant, *directory.Approval, error)
	RestoreTenant(ctx context.Context, call *engine.Call, ref string) (*directory.Tenant, error)
}

const tenantsPath = "/api/v1/tenants"

// tenantRoutes are its routes.
func tenantRoutes(l Limits) []route {
	one := tenantsPath + "/:tenant"
	return []route{
		reading(l, tenantsPath, policy.ListTenants, (*Server).tenants),
		secretly(changing(l, http.MethodPost, tenantsPath, policy.CreateTenant, (*Server).createTenant)),
		secretly(changing(l, http.MethodPost, one+"/invite", policy.CreateTenant, (*Server).inviteOwner)),
		changing(l, http.MethodPost, one+"/disable", policy.DisableTenant, (*Server).disableTenant),
		changing(l, http.MethodPost, one+"/enable", policy.EnableTenant, (*Server).enableTenant),
		changing(l, http.MethodDelete, one, policy.DeleteTenant, (*Server).deleteTenant),
		changing(l, http.MethodPost, one+"/restore", policy.RestoreTenant, (*Server).restoreTenant),
	}
}

// reading returns a row that lists or shows records.
func reading(l Limits, path string, action policy.Action, handle func(*Server, *exchange) error) route {
	return route{method: http.MethodGet, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
}

// changing returns a row that changes records.
func changing(l Limits, method, path string, action policy.Action, handle func(*Server, *exchange) error) route {
	return route{
		method: method, path: path, action: action, access: subjects, bodyBytes: l.BodyBytes, timeout: l.ChangeTimeout, handle: handle,
	}
}

func (s *Server) tenants(x *exchange) error {
	list, err := s.config.Engine.Tenants(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.TenantsResponse{Tenants: make([]wire.Tenant, 0, len(list))}
	for _, t := range list {
		answer.Tenants = append(answer.Tenants, wireTenant(t))
	}
	return x.answer(answer)
}

func wireTenant(t *directory.Tenant) wire.Tenant {
	return wire.Tenant{
		ID: t.ID, Name: t.Name, Status: t.Status.String(), CreatedAt: milliseconds(t.CreatedAt), DeleteAt: orNever(t.DeleteAt),
	}
}

// orNever is how the API writes a time that may be absent.
func orNever(unix int64) string {
	if unix == 0 {
		return ""
	}
	return milliseconds(unix)
}

func (s *Server) createTenant(x *exchange) error {
	var in wire.CreateTenantRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	code, hash := auth.NewInviteCode()
	tenant, invitation, err := s.config.Engine.FoundTenant(x.r.Context(), &x.call, in.Name, engine.OwnerInvitation{
		Email: in.OwnerEmail, Hash: hash,
	})
	if err != nil {
		return err
	}
	x.created(tenantsPath + "/" + tenant.ID)
	return x.answer(invited(tenant, invitation, code))
}

func (s *Server) inviteOwner(x *exchange) error {
	var in wire.InviteOwnerRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	code, hash := auth.NewInviteCode()
	tenant, invitation, err := s.config.Engine.InviteOwner(x.r.Context(), &x.call, x.params.ByName("tenant"), engine.OwnerInvitation{
		Email: in.OwnerEmail, Hash: hash,
	})
	if err != nil {
		return err
	}
	return x.answer(invited(tenant, invitation, code))
}

func invited(t *directory.Tenant, i *directory.Invitation, code string) wire.InvitedTenant {
	return wire.InvitedTenant{
		Tenant: wireTenant(t), InvitationID: i.ID, InvitationCode: code, InvitationExpiresAt: milliseconds(i.ExpiresAt),
	}
}

func (s *Server) disableTenant(x *exchange) error { return x.setTenantStatus(directory.Disabled) }

func (s *Server) enableTenant(x *exchange) error { return x.setTenantStatus(directory.Enabled) }

func (x *exchange) setTenantStatus(status directory.Status) error {
	if err := x.nothing(); err != nil {
		return err
	}
	tenant, err := x.server.config.Engine.SetTenantStatus(x.r.Context(), &x.call, x.params.ByName("tenant"), status)
	return x.answerTenant(tenant, err)
}

func (x *exchange) answerTenant(t *directory.Tenant, err error) error {
	if err != nil {
		return err
	}
	return x.answer(wireTenant(t))
}

// deleteTenant answers with the tenant and the time of its deletion, or with the request for approval.
func (s *Server) deleteTenant(x *exchange) error {
	var in wire.DeleteTenantRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	tenant, waiting, err := s.config.Engine.DeleteTenant(x.r.Context(), &x.call, x.params.ByName("tenant"), engine.TenantDeletion{
		Reason: in.Reason, WaitDays: in.WaitDays,
	})
	if err == nil && waiting != nil {
		return x.waits(waiting)
	}
	return x.answerTenant(tenant, err)
}

func (s *Server) restoreTenant(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	tenant, err := s.config.Engine.RestoreTenant(x.r.Context(), &x.call, x.params.ByName("tenant"))
	return x.answerTenant(tenant, err)
}

// lifetime is how the API writes how long something lasts.
func lifetime(d time.Duration) int { return int(d / time.Second) }
