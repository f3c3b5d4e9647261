package api_test

import (
	"encoding/json"
	"testing"

	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

const tenantPath = "/api/v1/tenants/acme"

// tenantCases are the use cases of tenants.go, and what they can fail with.
func tenantCases(*fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	tenant := wire.Tenant{ID: "tenant_0123456789abcdef", Name: "acme", Status: "active", CreatedAt: newYearText("00")}
	disabled, leaving := tenant, tenant
	disabled.Status = "disabled"
	leaving.Status, leaving.DeleteAt = "disabled", newYearText("00")
	later := leaving
	later.DeleteAt = newYearText("01")
	days := uint32(9)
	cases = map[string]useCase{
		"listTenants":   {"GET", "/api/v1/tenants", nil, nil, 200, "", wire.TenantsResponse{Tenants: []wire.Tenant{tenant, later}}},
		"disableTenant": {"POST", tenantPath + "/disable", struct{}{}, []any{"acme", directory.Disabled}, 200, "", disabled},
		"enableTenant":  {"POST", tenantPath + "/enable", struct{}{}, []any{"acme", directory.Enabled}, 200, "", tenant},
		"restoreTenant": {"POST", tenantPath + "/restore", struct{}{}, "acme", 200, "", tenant},
		"deleteTenant": {
			"DELETE", tenantPath, wire.DeleteTenantRequest{Reason: "gone", WaitDays: &days}, []any{"acme", "gone", days}, 200, "", leaving,
		},
	}
	fail = map[string]map[int]fault.Kind{"listTenants": reading, "createTenant": changing}
	for _, id := range []string{"inviteOwner", "disableTenant", "enableTenant", "deleteTenant", "restoreTenant"} {
		fail[id] = changingOne
	}
	return cases, fail
}

// inviting are the requests whose answers hold a code.
var inviting = map[string]useCase{
	"createTenant": {
		"POST", "/api/v1/tenants", wire.CreateTenantRequest{Name: "acme", OwnerEmail: "o@acme.example"}, []any{"acme", "o@acme.example"},
		201, "/api/v1/tenants/tenant_0123456789abcdef", nil,
	},
	"inviteOwner": {
		"POST", tenantPath + "/invite", wire.InviteOwnerRequest{OwnerEmail: "o@acme.example"}, []any{"acme", "o@acme.example"}, 200, "", nil,
	},
}

// TestInvitationsOfOwners: the engine gets the hash of the code that the operator gets, and never the code.
func TestInvitationsOfOwners(t *testing.T) {
	f := newFixture(t)
	for id, c := range inviting {
		a := f.do(t, c.method, c.path, c.text(t))
		var got wire.InvitedTenant
		if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != c.status || a.Header.Get("Location") != c.location {
			t.Fatalf("%s: %s: %v", id, a.Status, err)
		}
		hash, ok := auth.HashInvite(got.InvitationCode)
		if !ok || hash != f.engine.invited {
			t.Errorf("%s: the code is not what the engine has the hash of", id)
		}
		if got.Tenant.Name != "acme" || got.InvitationID != "invitation_0123456789abcdef" || got.InvitationExpiresAt != newYearText("00") {
			t.Errorf("%s: %+v", id, got.Tenant)
		}
	}
	if a := f.do(t, "POST", tenantPath+"/invite", ""); a.StatusCode != 200 {
		t.Errorf("without a body: %s", a.Status)
	}
}

// TestDeletionThatWaits for approval.
func TestDeletionThatWaits(t *testing.T) {
	f := newFixture(t)
	f.engine.approval = true
	a := f.do(t, "DELETE", tenantPath, "")
	want := `{"id":"approval_0123456789abcdef","act":"tenant.delete","resource":"tenant_0123456789abcdef","details":["what it would do cannot be read on this node"],"state":"expired","required":2,` +
		`"decisions":[],"requester":"user_1","reason":"gone","created_at":"` + newYearText("00") + `","expires_at":"` + newYearText("00") + `"}`
	if a.StatusCode != 202 || string(a.body) != want {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if got := f.engine.got.([]any); got[2] != uint32(999) {
		t.Errorf("an absent waiting period reached the engine as %v", got[2])
	}
}
