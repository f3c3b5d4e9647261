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
		"unknown key":     {"version: 1\nhsm:\n  pin_file: /p\n  pni: 1\n", "4"},
		"duplicate key":   {"version: 1\nversion: 1\nhsm: {pin_file: /p}\n", "2"},
		"wrong type":      {"version: 1\nhsm: {pin_file: /p, sessions: many}\n", "2"},
		"another version": {"version: 2\nhsm: {pin_file: /p}\n", "version"},
		"no version":      {"hsm: {pin_file: /p}\nversion: 0\n", "version"},
		"no PIN file":     {"version: 1\n", "hsm.pin_file"},
		"relative path":   {"version: 1\ndata_dir: d\nhsm: {pin_file: /p}\n", "data_dir"},
		"listen":          {"version: 1\nlisten: here\nhsm: {pin_file: /p}\n", "listen"},
		"durability":      {"version: 1\naudit: {durability: none}\nhsm: {pin_file: /p}\n", "audit.durability"},
		"negative time":   {"version: 1\nhsm: {pin_file: /p, wait: -1s}\n", "hsm.wait"},
		"small segment":   {"version: 1\naudit: {segment_bytes: 1}\nhsm: {pin_file: /p}\n", "audit.segment_bytes"},
		"level":           {"version: 1\nlog: {level: loud}\nhsm: {pin_file: /p}\n", "log.level"},
		"second document": {"version: 1\nhsm: {pin_file: /p}\n---\nversion: 1\n", "document"},
		"not a YAML file": {"{", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want something about %q", err, c.want)
			}
		})
	}
}

// TestValidateReportsInOneOrder has many wrong values, and wants all of them in the order of the fields, every time.
func TestValidateReportsInOneOrder(t *testing.T) {
	text := "version: 3\nlisten: x\nhsm: {sessions: -1, wait: -1s, probe_interval: -1s, grace: -1s}\n" +
		"audit: {durability: none}\nkeys: {cached: -1, idle: -1s}\nlog: {level: loud}\nshutdown_timeout: -1s\n"
	want := []string{"version", "listen", "hsm.pin_file", "hsm.sessions", "hsm.wait", "hsm.probe_interval", "hsm.grace", "audit.durability",
		"keys.cached", "keys.idle", "log.level", "shutdown_timeout"}
	for range 20 {
		_, err := load(t, text)
		if err == nil {
			t.Fatal("loaded")
		}
		_, problems, _ := strings.Cut(err.Error(), "config.yaml: ")
		lines := strings.Split(problems, "\n")
		if len(lines) != len(want) {
			t.Fatalf("%d problems, want %d:\n%v", len(lines), len(want), err)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, want[i]+": ") {
				t.Fatalf("problem %d is %q, want one of %s", i, line, want[i])
			}
		}
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	module, pin := file("module.so", "x", 0o600), file("pin", "1234\n", 0o600)
	open, empty := file("open", "1234\n", 0o644), file("empty", "\n", 0o600)
	cases := []struct {
		name  string
		hsm   string
		wants []string // none: the config is good
	}{
		{"good", "module: " + module + ", pin_file: " + pin, nil},
		{"good, with a directory of tokens", "module: " + module + ", pin_file: " + pin + ", softhsm_dir: " + dir, nil},
		{"no module", "module: /nowhere.so, pin_file: " + pin, []string{"hsm.module", "/nowhere.so"}},
		{"module is a directory", "module: " + dir + ", pin_file: " + pin, []string{"hsm.module", "not a file"}},
		{"no directory of tokens", "module: " + module + ", pin_file: " + pin + ", softhsm_dir: /nowhere", []string{"hsm.softhsm_dir", "/nowhere"}},
		{"directory of tokens is a file", "module: " + module + ", pin_file: " + pin + ", softhsm_dir: " + pin, []string{"hsm.softhsm_dir", "not a directory"}},
		{"no PIN file", "module: " + module + ", pin_file: /nowhere", []string{"hsm.pin_file", "/nowhere"}},
		{"PIN open to others", "module: " + module + ", pin_file: " + open, []string{"hsm.pin_file", "chmod 600"}},
		{"empty PIN", "module: " + module + ", pin_file: " + empty, []string{"hsm.pin_file", "is empty"}},
		{"a PIN of the security officer", "module: " + module + ", pin_file: " + pin + ", so_pin_file: " + pin, nil},
		{"no PIN of the security officer", "module: " + module + ", pin_file: " + pin + ", so_pin_file: /nowhere", []string{"hsm.so_pin_file", "/nowhere"}},
		{"PIN of the security officer open to others", "module: " + module + ", pin_file: " + pin + ", so_pin_file: " + open,
			[]string{"hsm.so_pin_file", "chmod 600"}},
		{"values and files", "module: /nowhere.so, pin_file: /nowhere, sessions: -1", []string{"hsm.sessions", "hsm.module", "hsm.pin_file"}},
		{"form", "modul: x", []string{"modul", "2"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := Check(file("config.yaml", "version: 1\nhsm: {"+c.hsm+"}\n", 0o600))
			if (err == nil) != (len(c.wants) == 0) {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
		})
	}
}

func TestReadPIN(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin")
	for text, want := range map[string]string{"12 34": "12 34", "1234\n": "1234", "1234\r\n": "1234", " 1234\n\n": " 1234"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		pin, err := readPIN(path)
		if err != nil || string(pin.Reveal()) != want {
			t.Errorf("a file with %q gives a PIN of %d bytes, %v", text, pin.Len(), err)
		}
	}
}

// TestDevConfigOfALaterStart wants the file of the first run to count, but for what the command line says.
func TestDevConfigOfALaterStart(t *testing.T) {
	dir := t.TempDir()
	first, err := DevConfig{Dir: dir, Listen: "127.0.0.1:1"}.config()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, configFile)
	first.HSM.Sessions = 3
	first.Audit.Durability = "relaxed"
	if err := first.write(path); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	later := func(d DevConfig) (Config, error) {
		t.Helper()
		fresh, err := d.config()
		if err != nil {
			t.Fatal(err)
		}
		return d.load(fresh)
	}
	c, err := later(DevConfig{Dir: dir, Listen: "127.0.0.1:2"})
	if err != nil || c.HSM.Sessions != 3 || c.Listen != "127.0.0.1:2" || c.Audit.Durability != "relaxed" {
		t.Errorf("loaded %+v, %v", c, err)
	}
	c, err = later(DevConfig{Dir: dir, Listen: "127.0.0.1:2", Audit: "strict"})
	if err != nil || c.Audit.Durability != "strict" {
		t.Errorf("with a durability: loaded %+v, %v", c, err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(written) {
		t.Errorf("the file became %q, %v", now, err)
	}

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := later(DevConfig{Dir: link, Listen: "127.0.0.1:2"}); err != nil {
		t.Errorf("the same directory by another name: %v", err)
	}

	other := t.TempDir()
	if err := first.write(filepath.Join(other, configFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := later(DevConfig{Dir: other, Listen: "127.0.0.1:2"}); err == nil || !strings.Contains(err.Error(), "another directory") || !strings.Contains(err.Error(), dir) {
		t.Errorf("the config of another directory: %v", err)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if c, err = later(DevConfig{Dir: dir, Listen: "127.0.0.1:2"}); err != nil || c.HSM.Sessions != 0 {
		t.Errorf("without the file: loaded %+v, %v", c, err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("the file was not written anew: %v", err)
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

// TestAccessConfig: who may come with a certificate, and how long what destroys keys waits at least.
func TestAccessConfig(t *testing.T) {
	for _, value := range []string{"", "off", "request"} {
		c := Default()
		c.HSM.PINFile = "/pin"
		c.TLS.ClientCertificates = value
		if err := c.Validate(); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
	c := Default()
	c.HSM.PINFile = "/pin"
	c.TLS.ClientCertificates = "require"
	negative := -time.Second
	c.Keys.DestroyMinimum = &negative
	err := c.Validate()
	if err == nil || !strings.Contains(err.Error(), "tls.client_certificates") || !strings.Contains(err.Error(), "keys.destroy_minimum") {
		t.Errorf("got %v", err)
	}
}
