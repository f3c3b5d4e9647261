package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/api/wire"
)

const (
	cannedUser    = `{"id":"user_1","name":"alice","email":"a@example.org","display_name":"","roles":["developer","admin"],"status":"active","has_password":true,"issuer":"","created_at":"2026-01-01T00:00:00Z"}`
	cannedSession = `{"id":"0123456789abcdef","provider":"password","source":"192.0.2.1","created_at":"2026-01-01T00:00:00Z",` +
		`"last_seen_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-08T00:00:00Z","current":true}`
	cannedInvitation = `{"id":"invitation_1","email":"b@example.org","roles":["viewer"],"created_by":"user_1","created_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-08T00:00:00Z"`
	cannedSignIn     = `{"token":"` + goodToken + `","expires_at":"2026-01-08T00:00:00Z","user":` + cannedUser + `}`
	cannedDevice     = `{"user_code":"BCDF-GHJK","client":"laptop\u001b[31m","source":"192.0.2.9","state":"approved","created_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-01T00:10:00Z"}`
)

func init() { //nolint:gochecknoinits // each file adds its own answers
	cannedOf = append(cannedOf, map[string]string{
		"POST /api/v1/auth/login":                  cannedSignIn,
		"POST /api/v1/auth/logout":                 `{}`,
		"POST /api/v1/auth/invitations/accept":     cannedSignIn,
		"POST /api/v1/auth/device":                 `{"device_code":"cs_device_x","user_code":"BCDF-GHJK","verification_uri":"https://node/device","expires_in":600,"interval":0}`,
		"POST /api/v1/auth/device/token":           cannedSignIn,
		"POST /api/v1/auth/device/decide":          cannedDevice,
		"GET /api/v1/device-requests/BCDF-GHJK":    cannedDevice,
		"GET /api/v1/session":                      `{"user":` + cannedUser + `,"tenant":"default","tenant_id":"tenant_1","session":` + cannedSession + `,"actions":["user.create"]}`,
		"GET /api/v1/sessions":                     `{"sessions":[` + cannedSession + `]}`,
		"DELETE /api/v1/sessions/0123456789abcdef": `{}`,
		"GET /api/v1/roles":                        `{"roles":[{"role":"viewer","actions":["a","b"]}]}`,
		"GET /api/v1/users":                        `{"users":[` + cannedUser + `]}`,
		"POST /api/v1/users":                       cannedUser,
		"PUT /api/v1/users/user_1/roles":           cannedUser,
		"POST /api/v1/users/user_1/disable":        cannedUser,
		"POST /api/v1/users/user_1/enable":         cannedUser,
		"POST /api/v1/users/user_1/password":       `{}`,
		"DELETE /api/v1/users/user_1":              `{}`,
		"GET /api/v1/invitations":                  `{"invitations":[` + cannedInvitation + `}]}`,
		"POST /api/v1/invitations":                 cannedInvitation + `,"code":"cs_invite_x"}`,
		"DELETE /api/v1/invitations/invitation_1":  `{}`,
	})
}

// signsIn reports whether a request is one that must come without a token.
func signsIn(r *http.Request) bool {
	switch r.URL.Path {
	case "/api/v1/auth/login", "/api/v1/auth/invitations/accept", "/api/v1/auth/device", "/api/v1/auth/device/token":
		return true
	default:
		return false
	}
}

// TestDeviceLoginWaits for a decision, and keeps nothing of a sign-in that was denied.
func TestDeviceLoginWaits(t *testing.T) {
	refusals := []string{"authorization-pending", "authorization-pending"}
	last := ""
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a token was sent")
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/api/v1/auth/device":
			_, _ = w.Write([]byte(`{"device_code":"cs_device_x","user_code":"BCDF-GHJK","verification_uri":"https://n/device","expires_in":600,"interval":0}`))
		case len(refusals) > 0:
			code := refusals[0]
			refusals = refusals[1:]
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"type":"t","title":"t","status":400,"code":"` + code + `","request_id":"r","state":"operational","retryable":false}`))
		default:
			last = r.URL.Path
			_, _ = w.Write([]byte(cannedSignIn))
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	login := func() (int, string) {
		env := map[string]string{"CRYPTOSERVE_SERVER": server.URL, "CRYPTOSERVE_CA": ca, "CRYPTOSERVE_HOME": home}
		var out bytes.Buffer
		code := run(t.Context(), []string{"login"}, func(name string) string { return env[name] }, strings.NewReader(""), &out, &out)
		return code, out.String()
	}
	code, out := login()
	if code != exitOK || len(refusals) != 0 || last != "/api/v1/auth/device/token" || !strings.Contains(out, "approve-login BCDF-GHJK") ||
		strings.Contains(out, "cs_device_") || strings.Contains(out, goodToken) {
		t.Fatalf("exit code %d: %s", code, out)
	}
	var kept credentials
	data, err := os.ReadFile(filepath.Join(home, "credentials.json"))
	if err != nil || json.Unmarshal(data, &kept) != nil || kept.Token != goodToken || kept.Server != server.URL || !strings.Contains(kept.CA, "CERTIFICATE") {
		t.Errorf("kept %d bytes, %v", len(data), err)
	}
	if err := os.Remove(filepath.Join(home, "credentials.json")); err != nil {
		t.Fatal(err)
	}
	refusals = []string{"authorization-pending", "access-denied"}
	if code, out := login(); code != exitError || !strings.Contains(out, "access-denied") {
		t.Errorf("denied: exit code %d: %s", code, out)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestTokenGoesToItsServerOnly: what a login kept is not sent to another server.
func TestTokenGoesToItsServerOnly(t *testing.T) {
	home := t.TempDir()
	env := map[string]string{"CRYPTOSERVE_HOME": home}
	a := &app{getenv: func(name string) string { return env[name] }}
	if err := a.keep("https://node-1:8443", "PEM", wire.SessionResponse{Token: goodToken}); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]bool{
		"": true, "https://node-1:8443": true, "https://NODE-1:8443/": true,
		"https://node-2:8443": false, "https://node-1": false, "https://node-1:8443.evil.example.org": false,
	} {
		a.server = server
		c, err := a.connection(true)
		if got := err == nil && c.saved && string(c.token) == goodToken && string(c.ca) == "PEM"; got != want {
			t.Errorf("%q: the token goes there: %v", server, got)
		}
	}
	a.server, env["CRYPTOSERVE_TOKEN"] = "https://node-1:8443", "another"
	if c, err := a.connection(true); err != nil || c.saved || c.token != "another" {
		t.Errorf("with a token of the environment: %v, %v", c.saved, err)
	}
	if err := os.Chmod(filepath.Join(home, "credentials.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	delete(env, "CRYPTOSERVE_TOKEN")
	if _, err := a.connection(true); err == nil || !strings.Contains(err.Error(), "open to others") {
		t.Errorf("credentials that others can read: %v", err)
	}
}
