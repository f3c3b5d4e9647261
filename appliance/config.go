package appliance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/softhsm"
)

// ConfigVersion is the version of the config file that this program reads.
const ConfigVersion = 1

// Config is the boot configuration of a node: what must be known before it can read replicated state. Everything else
// lives in replicated state, never in both.
type Config struct {
	Version int `yaml:"version"`
	// DataDir holds the Raft log, snapshots and the audit log. It belongs to one node.
	DataDir string `yaml:"data_dir"`
	// Listen is the address of the API, host:port.
	Listen string `yaml:"listen"`
	// Names are the DNS names and addresses that the API certificate is good for. Empty means localhost and the host part
	// of Listen.
	Names []string `yaml:"names"`
	// Cluster is how this node works with others; empty is a cluster of one that nobody can join.
	Cluster ClusterConfig `yaml:"cluster"`
	// Backup is where backups go; empty is nowhere.
	Backup BackupConfig `yaml:"backup"`
	TLS    TLSConfig    `yaml:"tls"`
	HSM    HSMConfig    `yaml:"hsm"`
	Audit  AuditConfig  `yaml:"audit"`
	Keys   KeysConfig   `yaml:"keys"`
	FIPS   FIPSConfig   `yaml:"fips"`
	Log    LogConfig    `yaml:"log"`
	// SignIn names the identity providers; none means that people sign in with passwords only.
	SignIn SignInConfig `yaml:"sign_in"`
	// ShutdownTimeout bounds how long a stop waits for running requests; 0 means 30 s.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
}

// TLSConfig limits the protocol of the API.
type TLSConfig struct {
	// Allow12 lets clients use TLS 1.2 with AEAD cipher suites; otherwise only TLS 1.3 is spoken.
	Allow12 bool `yaml:"allow_tls12"`
	// ClientCertificates is off (the default), or request: clients are asked for a certificate, and an application whose
	// record has its key needs no token then.
	ClientCertificates string `yaml:"client_certificates"`
}

// The values of ClientCertificates; empty is off.
const (
	offCertificates     = "off"
	requestCertificates = "request"
)

// HSMConfig names the token.
type HSMConfig struct {
	// Module is the path of the PKCS#11 library. Empty finds SoftHSM2.
	Module string `yaml:"module"`
	// TokenLabel is the label of the token; there must be exactly one with it.
	TokenLabel string `yaml:"token_label"`
	// PINFile holds the user PIN on one line. Only its owner may read it.
	PINFile string `yaml:"pin_file"`
	// SOPINFile holds the PIN of the security officer, in the same form. Only a node that lets other tokens have the keys of
	// the cluster needs it; it may be absent.
	SOPINFile string `yaml:"so_pin_file"`
	// SoftHSMDir is a directory of SoftHSM2 tokens made by this program; empty with any other module.
	SoftHSMDir string `yaml:"softhsm_dir"`
	// Sessions is the size of the session pool; 0 means 8.
	Sessions int `yaml:"sessions"`
	// Wait bounds how long an operation waits for a session; 0 means 2 s.
	Wait time.Duration `yaml:"wait"`
	// ProbeInterval is the time between two health checks of the token; 0 means 1 s.
	ProbeInterval time.Duration `yaml:"probe_interval"`
	// Grace is how long cached keys go on serving after the token stopped answering; absent means 60 s, 0 refuses at once.
	Grace *time.Duration `yaml:"grace"`
}

// AuditConfig says how audit records are kept. Only this file can say where.
type AuditConfig struct {
	// Dir is the folder of the segments; empty means audit below DataDir.
	Dir string `yaml:"dir"`
	// Durability is strict (a record is on disk before its operation answers) or relaxed (a power cut can lose 50 ms).
	Durability string `yaml:"durability"`
	// SegmentBytes is the size of a segment, which is written in advance; 0 means 64 MiB.
	SegmentBytes int64 `yaml:"segment_bytes"`
}

// KeysConfig bounds the data keys held in memory, and how soon keys can be destroyed.
type KeysConfig struct {
	Cached int           `yaml:"cached"` // 0 means 10,000
	Idle   time.Duration `yaml:"idle"`   // 0 means 15 min
	// DestroyMinimum is the least waiting period of the destruction of a key version; absent means seven days. Less than a day
	// is for development: it needs a directory of SoftHSM2 tokens.
	DestroyMinimum *time.Duration `yaml:"destroy_minimum"`
}

// defaultDestroyMinimum is the waiting period of the specification.
const defaultDestroyMinimum = 7 * 24 * time.Hour

func (c *KeysConfig) destroyMinimum() time.Duration {
	if c.DestroyMinimum == nil {
		return defaultDestroyMinimum
	}
	return *c.DestroyMinimum
}

// FIPSConfig says how algorithms are treated that are not FIPS-approved.
type FIPSConfig struct {
	// Mode is disabled (the default), preferred (approved algorithms are chosen where the appliance may choose, and it
	// warns of others) or enabled (others are refused, and the node starts only with a frozen Go Cryptographic Module in
	// its FIPS mode). The environment variable FIPS_MODE stands for an absent value, and may not contradict a present one.
	Mode string `yaml:"mode"`
}

// fipsVariable is the environment variable that the specification names (section 10.1).
const fipsVariable = "FIPS_MODE"

// mode returns the FIPS mode.
func (c *FIPSConfig) mode() (algs.Mode, error) {
	file, err := algs.ParseMode(c.Mode)
	if err != nil {
		return algs.Enabled, err
	}
	variable := os.Getenv(fipsVariable)
	if variable == "" {
		return file, nil
	}
	mode, err := algs.ParseMode(variable)
	if err != nil {
		return algs.Enabled, fmt.Errorf("environment variable %s: %w", fipsVariable, err)
	}
	if c.Mode != "" && mode != file {
		return algs.Enabled, fmt.Errorf("is %s, and the environment variable %s says %s: make them agree, or remove one", file, fipsVariable, mode)
	}
	return mode, nil
}

// LogConfig says what the node's own log shows. It goes to standard error as JSON lines.
type LogConfig struct {
	Level string `yaml:"level"` // debug, info, warn or error; empty means info
}

const (
	defaultGrace    = 60 * time.Second
	defaultShutdown = 30 * time.Second
	tokenLabel      = "cryptoserve"
)

// Default returns a Config with everything set that has a default.
func Default() Config {
	grace := defaultGrace
	return Config{
		Version: ConfigVersion,
		DataDir: "/var/lib/cryptoserve",
		Listen:  "127.0.0.1:8443",
		HSM:     HSMConfig{TokenLabel: tokenLabel, Grace: &grace},
		Audit:   AuditConfig{Durability: "strict"},
		Log:     LogConfig{Level: "info"},

		ShutdownTimeout: defaultShutdown,
	}
}

// Load reads a config file over the defaults and validates it. What is wrong with its form (an unknown key, a key twice, a
// wrong type, a second document) is an error with its line, the first one only; wrong values are reported all at once.
func Load(path string) (Config, error) {
	c, err := parse(path)
	if err != nil {
		return c, err
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// Check does what Load does and also looks whether the files that the config names are there and can be used. It does not
// log in to the token, and changes nothing.
func Check(path string) error {
	c, err := parse(path)
	if err != nil {
		return err
	}
	if err := errors.Join(c.Validate(), c.checkFiles()); err != nil {
		return fmt.Errorf("config %s: %w", path, err)
	}
	return nil
}

// parse reads a config file over the defaults.
func parse(path string) (Config, error) {
	c := Default()
	raw, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict(), yaml.DisallowUnknownField())
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("config %s: %s", path, yaml.FormatError(err, false, true))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("config %s: a second document begins where the file should end", path)
	}
	return c, nil
}

// Validate reports every wrong value at once, in the order of the fields.
func (c *Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Version != ConfigVersion {
		bad("version: is %d, this program reads version %d", c.Version, ConfigVersion)
	}
	if !filepath.IsAbs(c.DataDir) {
		bad("data_dir: %q is not an absolute path", c.DataDir)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen: %q is not host:port", c.Listen)
	}
	switch c.TLS.ClientCertificates {
	case "", offCertificates, requestCertificates:
	default:
		bad("tls.client_certificates: %q is neither off nor request", c.TLS.ClientCertificates)
	}
	if c.HSM.TokenLabel == "" || len(c.HSM.TokenLabel) > 32 {
		bad("hsm.token_label: must have 1 to 32 characters")
	}
	if c.HSM.PINFile == "" {
		bad("hsm.pin_file: must name the file that holds the PIN")
	}
	if c.HSM.Sessions < 0 || c.HSM.Sessions > 1024 {
		bad("hsm.sessions: must be 0 to 1024")
	}
	notNegative := func(name string, d time.Duration) {
		if d < 0 {
			bad("%s: must not be negative", name)
		}
	}
	notNegative("hsm.wait", c.HSM.Wait)
	notNegative("hsm.probe_interval", c.HSM.ProbeInterval)
	notNegative("hsm.grace", c.HSM.grace())
	if _, err := c.Audit.durability(); err != nil {
		bad("audit.durability: %w", err)
	}
	if c.Audit.Dir != "" && !filepath.IsAbs(c.Audit.Dir) {
		bad("audit.dir: %q is not an absolute path", c.Audit.Dir)
	}
	if c.Audit.SegmentBytes != 0 && c.Audit.SegmentBytes < 4<<20 {
		bad("audit.segment_bytes: must be at least 4194304")
	}
	if c.Keys.Cached < 0 {
		bad("keys.cached: must not be negative")
	}
	notNegative("keys.idle", c.Keys.Idle)
	notNegative("keys.destroy_minimum", c.Keys.destroyMinimum())
	if c.Keys.destroyMinimum() < 24*time.Hour && c.HSM.SoftHSMDir == "" {
		bad("keys.destroy_minimum: must be at least 24h: less is for development, with hsm.softhsm_dir")
	}
	problems = append(problems, c.Cluster.problems()...)
	problems = append(problems, c.Backup.problems()...)
	if _, err := c.FIPS.mode(); err != nil {
		bad("fips.mode: %w", err)
	}
	if _, err := logLevel(c.Log.Level); err != nil {
		bad("log.level: %w", err)
	}
	problems = append(problems, c.SignIn.problems()...)
	notNegative("shutdown_timeout", c.ShutdownTimeout)
	return errors.Join(problems...)
}

// checkFiles reports every file that is not there or cannot be used. Validate has the fields that are empty.
func (c *Config) checkFiles() error {
	var problems []error
	bad := func(field string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", field, err))
		}
	}
	if c.HSM.Module != "" {
		info, err := os.Stat(c.HSM.Module)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a file", c.HSM.Module)
		}
		bad("hsm.module", err)
	} else {
		_, err := softhsm.Library()
		bad("hsm.module", err)
	}
	if c.HSM.PINFile != "" {
		pin, err := readPIN(c.HSM.PINFile)
		pin.Destroy()
		bad("hsm.pin_file", err)
	}
	if c.HSM.SOPINFile != "" {
		pin, err := readSecret(c.HSM.SOPINFile, "security officer's PIN")
		pin.Destroy()
		bad("hsm.so_pin_file", err)
	}
	if c.HSM.SoftHSMDir != "" {
		info, err := os.Stat(c.HSM.SoftHSMDir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", c.HSM.SoftHSMDir)
		}
		bad("hsm.softhsm_dir", err)
	}
	problems = append(problems, c.Backup.fileProblems()...)
	problems = append(problems, c.SignIn.fileProblems()...)
	return errors.Join(problems...)
}

func (c *HSMConfig) grace() time.Duration {
	if c.Grace == nil {
		return defaultGrace
	}
	return *c.Grace
}

func (c *AuditConfig) durability() (audit.Durability, error) {
	switch c.Durability {
	case "", "strict":
		return audit.Strict, nil
	case "relaxed":
		return audit.Relaxed, nil
	default:
		return 0, fmt.Errorf("%q is neither strict nor relaxed", c.Durability)
	}
}

func (c *Config) auditDir() string {
	if c.Audit.Dir != "" {
		return c.Audit.Dir
	}
	return filepath.Join(c.DataDir, "audit")
}

// names returns what the API certificate is good for.
func (c *Config) names() []string {
	if len(c.Names) > 0 {
		return c.Names
	}
	names := []string{"localhost"}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && host != "" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			names = append(names, host)
		}
	}
	return names
}

// write stores the config as a file that Load reads, in place of what is there.
func (c *Config) write(path string) error {
	raw, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return writeFile(path, raw)
}
