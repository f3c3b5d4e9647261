package api_test

import (
	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// What the use cases of users and sign-ins can fail with, by status.
var (
	signingIn = map[int]fault.Kind{
		401: fault.Unauthenticated, 403: fault.Forbidden, 429: fault.RateLimited, 500: fault.Internal, 503: fault.LedgerUnavailable,
	}
	joining = map[int]fault.Kind{
		401: fault.Unauthenticated, 403: fault.Forbidden, 409: fault.Conflict, 429: fault.RateLimited, 500: fault.Internal,
		503: fault.LedgerUnavailable,
	}
	visiting  = map[int]fault.Kind{429: fault.RateLimited, 500: fault.Internal, 503: fault.Unavailable}
	beginning = map[int]fault.Kind{404: fault.NotFound, 429: fault.RateLimited, 500: fault.Internal, 503: fault.Unavailable}
	deciding  = map[int]fault.Kind{
		403: fault.Forbidden, 404: fault.NotFound, 429: fault.RateLimited, 500: fault.Internal, 503: fault.LedgerUnavailable,
	}
	ending       = map[int]fault.Kind{403: fault.Forbidden, 500: fault.Internal, 503: fault.LedgerUnavailable}
	changingSelf = map[int]fault.Kind{
		403: fault.Forbidden, 409: fault.Conflict, 429: fault.RateLimited, 500: fault.Internal, 503: fault.NotLeader,
	}
)

// accountCases are the use cases of accounts.go, and what they can fail with.
func accountCases(*fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	user := wire.User{
		ID: "user_1", Name: "alice", Email: "alice@example.org", DisplayName: "Alice", Roles: []string{"admin", "auditor"}, Status: "active",
		HasPassword: true, CreatedAt: newYearText("00"),
	}
	session := wire.Session{
		ID: "abcd000000000000", Provider: "password", Source: "192.0.2.1", CreatedAt: newYearText("00"), LastSeenAt: newYearText("01"),
		ExpiresAt: newYearText("07"),
	}
	current := session
	current.Current = true
	invitation := wire.Invitation{
		ID: "invitation_1", Email: "bob@example.org", Roles: []string{"viewer"}, CreatedBy: "user_1", CreatedAt: newYearText("00"),
		ExpiresAt: newYearText("07"),
	}
	device := wire.Device{
		UserCode: "BCDF-GHJK", Client: "cryptoserve", Source: "192.0.2.1", State: "pending", CreatedAt: newYearText("00"),
		ExpiresAt: newYearText("07"),
	}
	approved := device
	approved.State = "approved"
	const u, pass = "/api/v1/users/user_1", "pässword of mine"
	roles := []directory.Role{directory.Viewer, directory.Developer}
	cases = map[string]useCase{
		"logout":       {"POST", "/api/v1/auth/logout", struct{}{}, "logout", 200, "", struct{}{}},
		"whoAmI":       {"GET", "/api/v1/session", nil, nil, 200, "", wire.WhoAmIResponse{User: user, Tenant: "default", TenantID: "tenant-1", Session: current, Actions: []string{"user.create", "session.read"}}},
		"listSessions": {"GET", "/api/v1/sessions", nil, nil, 200, "", wire.SessionsResponse{Sessions: []wire.Session{session}}},
		"endSession":   {"DELETE", "/api/v1/sessions/abcd000000000000", nil, "abcd000000000000", 200, "", struct{}{}},
		"changePassword": {
			"PUT", "/api/v1/account/password", wire.ChangePasswordRequest{Current: "c", New: pass}, []any{"c", pass}, 200, "", struct{}{},
		},
		"listRoles": {"GET", "/api/v1/roles", nil, nil, 200, "", wire.RolesResponse{Roles: []wire.Role{{Role: "backup", Actions: []string{"session.read"}}}}},
		"listUsers": {"GET", "/api/v1/users", nil, nil, 200, "", wire.UsersResponse{Users: []wire.User{user}}},
		"createUser": {
			"POST", "/api/v1/users",
			wire.CreateUserRequest{Name: "bob", Email: "bob@example.org", Roles: []string{"viewer", "developer"}, Password: pass},
			engine.UserSpec{Name: "bob", Email: "bob@example.org", Roles: roles, Password: []byte(pass)}, 201, u, user,
		},
		"readUser":        {"GET", u, nil, "user_1", 200, "", user},
		"deleteUser":      {"DELETE", u, nil, "user_1", 200, "", struct{}{}},
		"setUserRoles":    {"PUT", u + "/roles", wire.RolesRequest{Roles: []string{"viewer", "developer"}}, []any{"user_1", roles}, 200, "", user},
		"disableUser":     {"POST", u + "/disable", struct{}{}, []any{"user_1", true}, 200, "", user},
		"enableUser":      {"POST", u + "/enable", struct{}{}, []any{"user_1", false}, 200, "", user},
		"resetPassword":   {"POST", u + "/password", wire.PasswordRequest{Password: pass}, []any{"user_1", pass}, 200, "", struct{}{}},
		"endUserSessions": {"POST", u + "/end-sessions", struct{}{}, "user_1", 200, "", struct{}{}},
		"listInvitations": {"GET", "/api/v1/invitations", nil, nil, 200, "", wire.InvitationsResponse{Invitations: []wire.Invitation{invitation}}},
		"dropInvitation":  {"DELETE", "/api/v1/invitations/invitation_1", nil, "invitation_1", 200, "", struct{}{}},
		"decideDevice": {
			"POST", "/api/v1/auth/device/decide", wire.DecideDeviceRequest{UserCode: "bcdfghjk", Approve: true}, []any{"bcdfghjk", true},
			200, "", approved,
		},
		"readDevice": {"GET", "/api/v1/device-requests/BCDF-GHJK", nil, "BCDF-GHJK", 200, "", device},
		"providers": {"GET", "/api/v1/auth/providers", nil, []any{policy.ListProviders, ""}, 200, "", wire.ProvidersResponse{Providers: []wire.Provider{
			{Name: "corp", Preset: "oidc", DisplayName: "Corp", LoginPath: "/auth/login/corp"},
		}}},
	}
	fail = map[string]map[int]fault.Kind{
		"login": signingIn, "logout": ending, "acceptInvitation": joining, "providers": visiting, "beginSignIn": beginning,
		"finishSignIn": joining, "createDevice": visiting, "redeemDevice": signingIn, "decideDevice": deciding, "readDevice": deciding,
		"whoAmI": reading, "listSessions": reading, "endSession": finding, "changePassword": changingSelf, "listRoles": reading,
		"listUsers": reading, "createUser": changing, "readUser": finding, "deleteUser": changingOne, "setUserRoles": changingOne,
		"disableUser": changingOne, "enableUser": changingOne, "resetPassword": changingOne, "endUserSessions": finding,
		"listInvitations": reading, "createInvitation": changing, "dropInvitation": finding,
	}
	return cases, fail
}

// accountOperations are those whose answers hold something random: accountsuse_test.go looks at these.
func accountOperations() map[string]operation {
	code, _ := auth.NewInviteCode()
	device, _ := auth.NewDeviceCode()
	const v1 = "/api/v1/auth/"
	return map[string]operation{
		"login":            {method: "POST", path: v1 + "login", body: `{"tenant":"t","username":"alice","password":"p"}`},
		"acceptInvitation": {method: "POST", path: v1 + "invitations/accept", body: `{"code":"` + code + `","name":"bob","password":"p"}`},
		"createInvitation": {method: "POST", path: "/api/v1/invitations", body: `{"email":"bob@example.org","roles":["viewer"]}`, success: 201},
		"createDevice":     {method: "POST", path: v1 + "device", body: `{"client":"c"}`},
		"redeemDevice":     {method: "POST", path: v1 + "device/token", body: `{"device_code":"` + device + `"}`},
		"beginSignIn":      {method: "GET", path: "/auth/login/corp?redirect=/here", success: 302},
		"finishSignIn":     {method: "GET", path: "/auth/callback/corp?code=c&state=s", success: 303},
	}
}
