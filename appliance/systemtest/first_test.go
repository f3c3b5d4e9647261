package systemtest

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/api/wire"
)

// TestDev is the first quarter of an hour with the product: start, encrypt, decrypt, refresh, rotate, restart.
func TestDev(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	for _, name := range []string{"ca.pem", "app.token", "app.refresh", "owner.token"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%s when the daemon is ready: %v, %v", name, info, err)
		}
	}
	app, owner := d.as("app.token"), d.as("owner.token")
	first := app.encrypt("user-pii", "hello")
	if first.Algorithm != "AES-256-GCM" || first.Format != 4 || !strings.HasPrefix(first.KeyID, "key_user-pii_") {
		t.Errorf("got %+v", first)
	}
	app.opens("user-pii", first.Ciphertext, "hello")
	app.opens("user-pii", app.encrypt("user-pii", "").Ciphertext, "")

	list := ask[wire.ContextsResponse](app, http.MethodGet, "/api/v1/contexts", nil)
	var names []string
	for _, c := range list.Contexts {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "api-secrets backup-data business-documents default general health-records internal-logs payment-data quantum-ready session-tokens user-pii" {
		t.Errorf("contexts: %s", got)
	}

	app.fails(http.StatusForbidden, "forbidden", http.MethodPost, "/api/v1/contexts/user-pii/rotate", nil)
	rotated := ask[wire.RotateResponse](owner, http.MethodPost, "/api/v1/contexts/user-pii/rotate", nil)
	if rotated.Previous != first.KeyID || rotated.KeyID == first.KeyID || rotated.Version != 2 {
		t.Errorf("rotated %+v", rotated)
	}
	old := ask[wire.DecryptResponse](app, http.MethodPost, decryptPath, wire.DecryptRequest{Context: "user-pii", Ciphertext: first.Ciphertext})
	if !old.Rewrap || string(old.Plaintext) != "hello" {
		t.Errorf("after the rotation: %+v", old)
	}
	if now := app.encrypt("user-pii", "x"); now.KeyID != rotated.KeyID {
		t.Errorf("encrypts with %s after the rotation to %s", now.KeyID, rotated.KeyID)
	}
	if s := ask[wire.State](d.as(""), http.MethodGet, "/health/state", nil); s.State != "operational" {
		t.Errorf("state: %+v", s)
	}
	d.stop()
	verifyAudit(t, dir)

	d = dev(t, dir)
	d.as("app.token").opens("user-pii", first.Ciphertext, "hello")
	d.stop()
	token, err := os.ReadFile(filepath.Join(dir, "app.token"))
	if err != nil {
		t.Fatal(err)
	}
	d = serve(t, dir)
	again, err := os.ReadFile(filepath.Join(dir, "app.token"))
	if err != nil || string(again) != string(token) {
		t.Error("serve wrote app.token")
	}
	d.as("app.token").opens("user-pii", first.Ciphertext, "hello")
	d.stop()
	verifyAudit(t, dir)
}

// TestDevKeepsTheConfig changes the config that the first run wrote. Later starts go on with it and leave it alone.
func TestDevKeepsTheConfig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	dev(t, dir).stop()
	path := filepath.Join(dir, "config.yaml")
	edit(t, path, "grace: 1m0s", "grace: 0s # no key without its token")
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := dev(t, dir, "--audit", "relaxed")
	token := filepath.Join(dir, "token")
	rename(t, token, token+".away")
	waitFor(t, "the node to fail, as it does without a grace", func() bool { return stateOf(d).State == "failed" })
	rename(t, token+".away", token)
	waitFor(t, "the node to recover", func() bool { return stateOf(d).State == "operational" })
	d.stop()
	if now, err := os.ReadFile(path); err != nil || string(now) != string(written) {
		t.Errorf("the config became, %v:\n%s", err, now)
	}
	start(t, dir, "serve", "--config", path).stop()

	moved := filepath.Join(t.TempDir(), "moved")
	rename(t, dir, moved)
	refuses(t, []string{"dev", "--dir", moved, "--listen", "127.0.0.1:0"}, "another directory", dir, "correct the paths")
	edit(t, filepath.Join(moved, "config.yaml"), dir, moved)
	dev(t, moved).stop()

	// Without the identity the config may be all that tells what was here.
	lost := t.TempDir()
	if err := os.WriteFile(filepath.Join(lost, "config.yaml"), written, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, []string{"dev", "--dir", lost, "--listen", "127.0.0.1:0"}, "config.yaml is there but", "node.json")
}

func TestRefreshRotatesAndNoticesReuse(t *testing.T) {
	d := dev(t, filepath.Join(t.TempDir(), "D"))
	anyone := d.as("")
	first := d.file("app.refresh")
	next := ask[wire.RefreshResponse](anyone, http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: first})
	frame := d.with(next.AccessToken).encrypt("default", "x")
	third := ask[wire.RefreshResponse](anyone, http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: next.RefreshToken})
	anyone.fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: first})
	// The family is in two hands, so the newest token of it is worth nothing either.
	anyone.fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: third.RefreshToken})
	d.with(third.AccessToken).opens("default", frame.Ciphertext, "x")
	d.stop()
	if records := auditText(t, d.dir); !strings.Contains(records, `"cause":"refresh-reuse"`) || !strings.Contains(records, `"cause":"refresh-revoked"`) {
		t.Error("the audit log does not tell the reuse of a refresh token")
	}
}

// TestFirstRunCutOff ends the first run at whatever moment it has reached and wants the next start to finish it.
func TestFirstRunCutOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d, _ := launch(t, "dev", "--dir", dir, "--listen", "127.0.0.1:0")
	waitFor(t, "the first run to begin", func() bool {
		_, err := os.Stat(filepath.Join(dir, "raft"))
		return err == nil
	})
	d.kill()
	d = dev(t, dir)
	d.as("app.token").encrypt("default", "x")
	d.stop()
	verifyAudit(t, dir)
}
