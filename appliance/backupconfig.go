package appliance

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"

	"cryptoserve/engine"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/secret"
)

// BackupConfig is where backups go. All nodes of a cluster name the same targets.
type BackupConfig struct {
	Targets []BackupTargetConfig `yaml:"targets"`
}

// BackupTargetConfig is one place for backups: a directory or a bucket.
type BackupTargetConfig struct {
	Name string `yaml:"name"`
	// Directory is an absolute path. It must exist: a share that is not mounted is to be noticed.
	Directory string    `yaml:"directory,omitempty"`
	S3        *S3Config `yaml:"s3,omitempty"`
}

// S3Config is a bucket of a server that speaks the protocol of S3.
type S3Config struct {
	Endpoint string `yaml:"endpoint"` // https://host[:port]
	Region   string `yaml:"region,omitempty"`
	Bucket   string `yaml:"bucket"`
	Prefix   string `yaml:"prefix,omitempty"`
	// AccessKey is the id of the key; the file holds the key itself.
	AccessKey     string `yaml:"access_key"`
	SecretKeyFile string `yaml:"secret_key_file"`
	PathStyle     bool   `yaml:"path_style,omitempty"` // https://host/bucket
	CAFile        string `yaml:"ca_file,omitempty"`    // PEM; empty is the system's
}

var targetName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (c *BackupConfig) problems() []error {
	var problems []error
	seen := map[string]bool{}
	for i := range c.Targets {
		t := &c.Targets[i]
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("backup.targets[%d]%s", i, fmt.Sprintf(format, args...)))
		}
		if !targetName.MatchString(t.Name) {
			bad(".name: %q is not 1 to 63 of a-z, 0-9 and -", t.Name)
		}
		if seen[t.Name] {
			bad(".name: %q is there twice", t.Name)
		}
		seen[t.Name] = true
		switch {
		case (t.Directory == "") == (t.S3 == nil):
			bad(": must have either directory or s3")
		case t.Directory != "" && !filepath.IsAbs(t.Directory):
			bad(".directory: %q is not an absolute path", t.Directory)
		case t.S3 != nil:
			if _, err := backup.NewS3(t.S3.config(secret.New([]byte("to be read")), nil)); err != nil {
				bad(".s3: %v", err)
			}
			if !filepath.IsAbs(t.S3.SecretKeyFile) {
				bad(".s3.secret_key_file: %q is not an absolute path", t.S3.SecretKeyFile)
			}
			if t.S3.CAFile != "" && !filepath.IsAbs(t.S3.CAFile) {
				bad(".s3.ca_file: %q is not an absolute path", t.S3.CAFile)
			}
		}
	}
	return problems
}

// fileProblems reports what is not there or cannot be used.
func (c *BackupConfig) fileProblems() []error {
	var problems []error
	for i := range c.Targets {
		if _, err := c.Targets[i].open(); err != nil {
			problems = append(problems, fmt.Errorf("backup.targets[%d]: %w", i, err))
		}
	}
	return problems
}

func (c *S3Config) config(key secret.Bytes, roots *x509.CertPool) backup.S3Config {
	return backup.S3Config{
		Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket, Prefix: c.Prefix, AccessKey: c.AccessKey, SecretKey: key,
		PathStyle: c.PathStyle, Roots: roots,
	}
}

// open returns the target. A directory must be there; a bucket is not asked yet.
func (t *BackupTargetConfig) open() (backup.Target, error) {
	if t.S3 == nil {
		return backup.NewDirectory(t.Directory)
	}
	key, err := readSecret(t.S3.SecretKeyFile, "secret key of the bucket")
	if err != nil {
		return nil, err
	}
	defer key.Destroy() // the target copies it
	var roots *x509.CertPool
	if t.S3.CAFile != "" {
		pem, err := os.ReadFile(t.S3.CAFile)
		if err != nil {
			return nil, err
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New(t.S3.CAFile + " holds no certificate in PEM")
		}
	}
	return backup.NewS3(t.S3.config(key, roots))
}

// open returns the targets as the engine takes them. A directory below the data directory is made. One that is not there now is no
// reason not to serve: backups to it fail and say so.
func (c *BackupConfig) open(dataDir string, log *slog.Logger) ([]engine.BackupTarget, error) {
	targets := make([]engine.BackupTarget, 0, len(c.Targets))
	for i := range c.Targets {
		t := &c.Targets[i]
		if below, err := filepath.Rel(dataDir, t.Directory); t.Directory != "" && err == nil && filepath.IsLocal(below) {
			if err := os.MkdirAll(t.Directory, 0o700); err != nil {
				return nil, fmt.Errorf("the place %q for backups: %w", t.Name, err)
			}
		}
		place, err := t.open()
		if errors.Is(err, backup.ErrNoTarget) {
			log.Error("a place for backups is not there; backups to it fail until it is", "target", t.Name, "error", err)
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("the place %q for backups: %w", t.Name, err)
		}
		targets = append(targets, engine.BackupTarget{Name: t.Name, Place: place})
	}
	return targets, nil
}

// devBackups is the place of a development node: a directory in its own.
func devBackups(dir string) BackupConfig {
	return BackupConfig{Targets: []BackupTargetConfig{{Name: "local", Directory: filepath.Join(dir, "backups")}}}
}
