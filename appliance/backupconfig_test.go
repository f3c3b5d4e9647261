package appliance

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackupConfig(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s3 := func(change func(*S3Config)) BackupTargetConfig {
		c := S3Config{Endpoint: "https://s3.example.com", Bucket: "backups", AccessKey: "AKID", SecretKeyFile: key}
		change(&c)
		return BackupTargetConfig{Name: "offsite", S3: &c}
	}
	local := BackupTargetConfig{Name: "local", Directory: filepath.Join(dir, "data", "backups")}
	good := BackupConfig{Targets: []BackupTargetConfig{local, s3(func(*S3Config) {})}}
	if problems := good.problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	if problems := good.fileProblems(); len(problems) != 1 || !strings.Contains(problems[0].Error(), "targets[0]") {
		t.Errorf("a directory that is not there: %v", problems)
	}
	targets, err := good.open(filepath.Join(dir, "data"), slog.New(slog.DiscardHandler))
	if err != nil || len(targets) != 2 || len(good.fileProblems()) > 0 {
		t.Fatalf("%v, %v", targets, err)
	}
	// A share that is not mounted does not keep the node from serving.
	away := BackupConfig{Targets: []BackupTargetConfig{{Name: "share", Directory: filepath.Join(dir, "away")}}}
	if targets, err := away.open(filepath.Join(dir, "data"), slog.New(slog.DiscardHandler)); err != nil || len(targets) != 1 {
		t.Errorf("%v, %v", targets, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "away")); err == nil {
		t.Error("a directory outside of the data directory was made")
	}
	for name, c := range map[string]struct {
		target BackupTargetConfig
		says   string
	}{
		"no place":       {BackupTargetConfig{Name: "x"}, "either directory or s3"},
		"two places":     {BackupTargetConfig{Name: "x", Directory: "/a", S3: &S3Config{}}, "either directory or s3"},
		"no name":        {BackupTargetConfig{Directory: "/a"}, ".name"},
		"twice":          {local, "there twice"},
		"relative":       {BackupTargetConfig{Name: "x", Directory: "a"}, "absolute"},
		"no TLS":         {s3(func(c *S3Config) { c.Endpoint = "http://s3.example.com" }), ".s3:"},
		"no bucket":      {s3(func(c *S3Config) { c.Bucket = "" }), ".s3:"},
		"no secret file": {s3(func(c *S3Config) { c.SecretKeyFile = "" }), "secret_key_file"},
		"relative CA":    {s3(func(c *S3Config) { c.CAFile = "ca.pem" }), "ca_file"},
	} {
		bad := BackupConfig{Targets: []BackupTargetConfig{local, c.target}}
		problems := bad.problems()
		if len(problems) == 0 || !strings.Contains(problems[0].Error(), c.says) {
			t.Errorf("%s: %v", name, problems)
		}
	}
	missing := BackupConfig{Targets: []BackupTargetConfig{s3(func(c *S3Config) { c.SecretKeyFile = filepath.Join(dir, "none") })}}
	if _, err := missing.open(dir, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a secret key that is not there")
	}
}
