package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestLoad(t *testing.T) {
	c, err := load(t, "version: 1\ndata_dir: /d\nhsm:\n  pin_file: /p\n  grace: 0s\naudit:\n  durability: relaxed\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/d" || c.Listen != "127.0.0.1:8443" || c.HSM.grace() != 0 || c.HSM.TokenLabel != tokenLabel || c.auditDir() != "/d/audit" {
		t.Errorf("loaded %+v", c)
	}
	c, err = load(t, "version: 1\nhsm: {pin_file: /p}\n")
	if err != nil || c.HSM.grace() != time.Minute || c.ShutdownTimeout != 30*time.Second {
		t.Errorf("loaded %+v, %v", c, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"unknown key":      {"version: 1\nhsm:\n  pin_file: /p\n  pni: 1\n", "4"},
		"duplicate key":    {"version: 1\nversion: 1\nhsm: {pin_file: /p}\n", "2"},
		"wrong type":       {"version: 1\nhsm: {pin_file: /p, sessions: many}\n", "2"},
		"another version":  {"version: 2\nhsm: {pin_file: /p}\n", "version"},
		"no version":       {"hsm: {pin_file: /p}\nversion: 0\n", "version"},
		"no PIN file":      {"version: 1\n", "hsm.pin_file"},
		"relative path":    {"version: 1\ndata_dir: d\nhsm: {pin_file: /p}\n", "data_dir"},
		"listen":           {"version: 1\nlisten: here\nhsm: {pin_file: /p}\n", "listen"},
		"durability":       {"version: 1\naudit: {durability: none}\nhsm: {pin_file: /p}\n", "audit.durability"},
		"negative time":    {"version: 1\nhsm: {pin_file: /p, wait: -1s}\n", "hsm.wait"},
		"small segment":    {"version: 1\naudit: {segment_bytes: 1}\nhsm: {pin_file: /p}\n", "audit.segment_bytes"},
		"level":            {"version: 1\nlog: {level: loud}\nhsm: {pin_file: /p}\n", "log.level"},
		"second document":  {"version: 1\nhsm: {pin_file: /p}\n---\nversion: 1\n", "document"},
		"not a YAML file":  {"{", ""},
		"everything wrong": {"version: 3\nlisten: x\n", "hsm.pin_file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want something about %q", err, c.want)
			}
		})
	}
	_, err := load(t, "version: 3\nlisten: x\n")
	if strings.Count(err.Error(), "\n") < 2 {
		t.Errorf("not every problem is reported at once: %v", err)
	}
}

func TestWrittenConfigLoads(t *testing.T) {
	c, err := DevConfig{Dir: t.TempDir(), Listen: "127.0.0.1:1", Audit: "relaxed"}.config()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := c.write(path); err != nil {
		t.Fatal(err)
	}
	back, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if *back.HSM.Grace != *c.HSM.Grace {
		t.Errorf("grace %v became %v", *c.HSM.Grace, *back.HSM.Grace)
	}
	back.HSM.Grace = c.HSM.Grace
	back.Names = c.Names
	if a, b := back, c; a.DataDir != b.DataDir || a.HSM != b.HSM || a.Audit != b.Audit || a.ShutdownTimeout != b.ShutdownTimeout {
		t.Errorf("%+v became %+v", c, back)
	}
}

func TestNames(t *testing.T) {
	cases := map[string]string{
		"127.0.0.1:8443": "localhost 127.0.0.1", "0.0.0.0:8443": "localhost", "[::]:8443": "localhost", ":8443": "localhost",
		"keys.example.org:8443": "localhost keys.example.org",
	}
	for listen, want := range cases {
		c := Config{Listen: listen}
		if got := strings.Join(c.names(), " "); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
