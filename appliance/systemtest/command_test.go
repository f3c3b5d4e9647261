package systemtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run runs the daemon's program to its end and returns its output and exit code.
func run(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	out, err := exec.Command(binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(out), code
}

func TestCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	dev(t, dir).stop()
	config := filepath.Join(dir, "config.yaml")
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 1\nhsm:\n  pin_flie: /x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	unprovisioned := filepath.Join(t.TempDir(), "config.yaml")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unprovisioned, []byte(strings.Replace(string(raw), "data_dir: "+dir, "data_dir: "+empty, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(t.TempDir(), "gone.yaml")
	if err := os.WriteFile(gone, []byte(strings.ReplaceAll(string(raw), dir, "/nowhere")), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name  string
		args  []string
		code  int
		wants []string
	}{
		{"version", []string{"version"}, 0, []string{"cryptoserved "}},
		{"help", []string{"--help"}, 0, []string{"serve", "dev", "config", "hsm", "audit"}},
		{"unknown command", []string{"sreve"}, 2, []string{"sreve"}},
		{"unknown command of a group", []string{"config", "cehck"}, 2, []string{"cehck"}},
		{"a group alone", []string{"config"}, 0, []string{"check"}},
		{"unknown flag", []string{"serve", "--conf", "x"}, 2, []string{"--conf", "--help"}},
		{"serve without a config", []string{"serve"}, 2, []string{"--config"}},
		{"serve with a config that is not there", []string{"serve", "--config", "/nowhere.yaml"}, 1, []string{"/nowhere.yaml"}},
		{"serve an empty directory", []string{"serve", "--config", unprovisioned}, 1, []string{"holds no node yet", "cryptoserved dev"}},
		{"dev without a directory", []string{"dev"}, 2, []string{"--dir"}},
		{"dev with a bad address", []string{"dev", "--dir", empty, "--listen", "nowhere"}, 1, []string{"host:port"}},
		{"check a good config", []string{"config", "check", config}, 0, []string{"ok"}},
		{"check a bad config", []string{"config", "check", bad}, 1, []string{"pin_flie", "3"}},
		{"check a config whose files are gone", []string{"config", "check", gone}, 1, []string{"hsm.pin_file", "hsm.softhsm_dir"}},
		{"check nothing", []string{"config", "check"}, 2, []string{"FILE"}},
		{"probe the token", []string{"hsm", "probe", "--config", config}, 0, []string{"SHA256_HMAC", "cs-master-1", "cs-wrap-private-1", "cs-wrap-secret-1", "cs-node"}},
		{"verify", []string{"audit", "verify", filepath.Join(dir, "audit")}, 0, nil},
		{"verify nothing", []string{"audit", "verify", empty}, 1, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, code := run(t, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, out)
			}
			for _, want := range c.wants {
				if !strings.Contains(out, want) {
					t.Errorf("the output lacks %q:\n%s", want, out)
				}
			}
		})
	}
}

// TestAuditVerifyFindsAChangedByte changes one byte of a record in the middle of a node's log.
func TestAuditVerifyFindsAChangedByte(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	for range 3 {
		d.as("app.token").encrypt("default", "x")
	}
	d.stop()
	segments, err := filepath.Glob(filepath.Join(dir, "audit", "audit-*.log"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	raw, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(raw), `"action":"crypto.encrypt"`) + len(`"action":"crypto.`)
	raw[at] = 'E'
	if err := os.WriteFile(segments[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := run(t, "audit", "verify", filepath.Join(dir, "audit"))
	if code != 1 || !strings.Contains(out, filepath.Base(segments[0])) {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	refuses(t, []string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, "audit verify")
}
