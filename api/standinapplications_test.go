package api_test

import (
	"context"
	"crypto/sha256"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

func aTenant() *directory.Tenant {
	return &directory.Tenant{ID: "tenant_0123456789abcdef", Name: "acme", Status: directory.Enabled, CreatedAt: newYear}
}

func (s *standIn) Tenants(_ context.Context, c *engine.Call) ([]*directory.Tenant, error) {
	leaving := aTenant()
	leaving.Status, leaving.DeleteAt = directory.Disabled, newYear+1000
	return with(s, c, nil, []*directory.Tenant{aTenant(), leaving})
}

// The hash of the code is left out of what was asked for: it is random.
func (s *standIn) FoundTenant(
	_ context.Context, c *engine.Call, name string, in engine.OwnerInvitation,
) (*directory.Tenant, *directory.Invitation, error) {
	return s.invite(c, []any{name, in.Email}, in.Hash)
}

func (s *standIn) InviteOwner(
	_ context.Context, c *engine.Call, ref string, in engine.OwnerInvitation,
) (*directory.Tenant, *directory.Invitation, error) {
	return s.invite(c, []any{ref, in.Email}, in.Hash)
}

func (s *standIn) invite(c *engine.Call, in any, hash [32]byte) (*directory.Tenant, *directory.Invitation, error) {
	s.invited = hash
	if err := s.note(c, in); err != nil {
		return nil, nil, err
	}
	return aTenant(), &directory.Invitation{ID: "invitation_0123456789abcdef", ExpiresAt: newYear}, nil
}

func (s *standIn) SetTenantStatus(_ context.Context, c *engine.Call, ref string, status directory.Status) (*directory.Tenant, error) {
	t := aTenant()
	t.Status = status
	return with(s, c, []any{ref, status}, t)
}

func (s *standIn) DeleteTenant(
	_ context.Context, c *engine.Call, ref string, in engine.TenantDeletion,
) (*directory.Tenant, *directory.Approval, error) {
	days := uint32(999)
	if in.WaitDays != nil {
		days = *in.WaitDays
	}
	if err := s.note(c, []any{ref, in.Reason, days}); err != nil {
		return nil, nil, err
	}
	if s.approval {
		return nil, &directory.Approval{
			ID: "approval_0123456789abcdef", Act: directory.ActDeleteTenant, Resource: "tenant_0123456789abcdef", Required: 2,
			State: directory.ApprovalPending, Requester: "user_1", Reason: "gone", CreatedAt: newYear, ExpiresAt: newYear,
		}, nil
	}
	t := aTenant()
	t.Status, t.DeleteAt = directory.Disabled, newYear
	return t, nil, nil
}

func (s *standIn) RestoreTenant(_ context.Context, c *engine.Call, ref string) (*directory.Tenant, error) {
	return with(s, c, ref, aTenant())
}

// ownApplication keeps its key itself, so that answers with it are always the same.
func ownApplication() *directory.Application {
	hash := sha256.Sum256([]byte("key"))
	return &directory.Application{
		ID: appID, Tenant: "tenant-1", Name: "shop", Team: "t", Environment: "e", Description: "d", Status: directory.Enabled,
		KeyID: "appkey_1", PublicKey: []byte("public"), Certificate: hash[:], CreatedBy: "user_1", CreatedAt: newYear, NotBefore: newYear,
		Grants: []directory.Grant{
			{Context: "user-pii", Encrypt: true, Decrypt: true, Compromised: true, Budget: &directory.Budget{Records: 1, Bytes: 1 << 40, Seconds: 3}},
			{Context: "general", Encrypt: true},
		},
	}
}

func (s *standIn) Applications(_ context.Context, c *engine.Call) ([]*directory.Application, error) {
	return with(s, c, nil, []*directory.Application{ownApplication()})
}

func (s *standIn) ReadApplication(_ context.Context, c *engine.Call, id string) (*directory.Application, error) {
	return with(s, c, id, ownApplication())
}

func (s *standIn) CreateApplication(_ context.Context, c *engine.Call, in engine.ApplicationSpec) (*directory.Application, error) {
	app := ownApplication()
	if s.keepsKeys {
		app = s.app
	}
	return with(s, c, in, app)
}

func (s *standIn) RegisterApplication(_ context.Context, c *engine.Call, in engine.RegisterSpec) (engine.Registration, error) {
	return with(s, c, in, engine.Registration{Application: s.app, New: s.missing == nil, Missing: s.missing})
}

func (s *standIn) ChangeApplication(
	_ context.Context, c *engine.Call, id string, in engine.ApplicationChange,
) (*directory.Application, error) {
	return with(s, c, []any{id, in}, ownApplication())
}

func (s *standIn) SetApplicationStatus(
	_ context.Context, c *engine.Call, id string, status directory.Status,
) (*directory.Application, error) {
	app := ownApplication()
	app.Status = status
	return with(s, c, []any{id, status}, app)
}

func (s *standIn) DeleteApplication(_ context.Context, c *engine.Call, id string) error {
	return s.note(c, id)
}

func (s *standIn) ApplicationTokens(_ context.Context, c *engine.Call, id string) (engine.TokensInfo, error) {
	return with(s, c, id, engine.TokensInfo{
		Application: ownApplication(), Families: []*directory.RefreshFamily{{CreatedAt: newYear, ExpiresAt: newYear, Generation: 7}},
	})
}

func (s *standIn) RotateTokens(_ context.Context, c *engine.Call, id string, key engine.ApplicationKey) (*directory.Application, error) {
	app := ownApplication()
	switch {
	case s.keepsKeys:
		app = s.app
	case s.rotated != nil:
		app = s.rotated
	}
	return with(s, c, []any{id, key}, app)
}

func (s *standIn) RevokeTokens(_ context.Context, c *engine.Call, id string) error {
	return s.note(c, id)
}

func (s *standIn) VerifyToken(_ context.Context, c *engine.Call, proved *policy.Subject) (*directory.Application, error) {
	if proved == nil {
		return with[*directory.Application](s, c, nil, nil)
	}
	return with(s, c, proved.ID, s.app)
}

func (s *standIn) RevokeToken(_ context.Context, c *engine.Call, what engine.Revocation) error {
	return s.note(c, what)
}

func (s *standIn) ApplicationByCertificate(hash [32]byte) *directory.Application {
	if string(s.app.Certificate) != string(hash[:]) {
		return nil
	}
	return s.app
}
