package hsm

import (
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/p11"
)

// Config says which token to use and how.
type Config struct {
	// Module is the path of the PKCS#11 library.
	Module string
	// TokenLabel is the label of the token, at most 32 bytes. Slot numbers change, so there is no way to give one.
	TokenLabel string
	// NodeLabel is the label of the node key. Empty means cs-node. Nodes that share a token need cs-node-<suffix> with a suffix
	// of their own: lower-case letters, digits and hyphens, at most 64 bytes in all.
	NodeLabel string
	// PIN is the user PIN. The Token keeps a copy of its own.
	PIN secret.Bytes
	// Sessions is how many calls to the token may run at once. Zero means 8; the most is 1024.
	Sessions int
	// UnwrappedKeys is how many keys stay unwrapped in the token for their next use. Zero means 256; the most is 65536.
	UnwrappedKeys int
	// Wait bounds how long an operation waits for a session, and how long a health check may take. Zero means 2 s.
	Wait time.Duration
	// ProbeInterval is the time between two health checks of Run. Zero means 1 s.
	ProbeInterval time.Duration
	// AfterLogin, if set, runs after each login, the ones of recovery too, and after ImportLegacy has made an object. Some
	// tokens are files of this host that a login or a new object rewrites: this is where they are made durable. Its error
	// fails the login or the import.
	AfterLogin func() error
	// Log receives one record for each change of the token's health. If nil, slog.Default() is used.
	Log *slog.Logger

	// wrapModule lets tests put a fault injector between the Token and its module.
	wrapModule func(p11.Module) p11.Module
}

const (
	maxLabel     = 32 // CK_TOKEN_INFO.label, PKCS#11 v2.40 section 3.2
	maxNodeLabel = 64
	maxSessions  = 1024
	maxKeys      = 65536
)

var nodeLabels = regexp.MustCompile(`^` + LabelNode + `(-[a-z0-9-]+)?$`)

// specs returns the table of keys with the label of this node's key in it.
func (c *Config) specs() []spec {
	own := slices.Clone(specs)
	for i := range own {
		if own[i].label == LabelNode {
			own[i].label = c.NodeLabel
		}
	}
	return own
}

// withDefaults returns the configuration with every default filled in, or every problem in it.
func (c Config) withDefaults() (Config, error) {
	if c.NodeLabel == "" {
		c.NodeLabel = LabelNode
	}
	if c.Sessions == 0 {
		c.Sessions = 8
	}
	if c.UnwrappedKeys == 0 {
		c.UnwrappedKeys = 256
	}
	if c.Wait == 0 {
		c.Wait = 2 * time.Second
	}
	if c.ProbeInterval == 0 {
		c.ProbeInterval = time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	var problems []error
	if c.Module == "" {
		problems = append(problems, errors.New("the path of the PKCS#11 module is missing"))
	}
	if err := checkLabel(c.TokenLabel); err != nil {
		problems = append(problems, err)
	}
	if !nodeLabels.MatchString(c.NodeLabel) || len(c.NodeLabel) > maxNodeLabel {
		problems = append(problems, errors.New("the label of the node key is neither cs-node nor cs-node- with a suffix of lower-case "+
			"letters, digits and hyphens, 64 bytes in all"))
	}
	if c.Sessions < 1 || c.Sessions > maxSessions {
		problems = append(problems, errors.New("the number of sessions is not between 1 and 1024"))
	}
	if c.UnwrappedKeys < 1 || c.UnwrappedKeys > maxKeys {
		problems = append(problems, errors.New("the number of unwrapped keys is not between 1 and 65536"))
	}
	if c.Wait < 0 || c.ProbeInterval < 0 {
		problems = append(problems, errors.New("a duration is negative"))
	}
	if len(problems) > 0 {
		return c, fault.Wrap(fault.Malformed, "hsm.Config", "the token's configuration is wrong", errors.Join(problems...))
	}
	return c, nil
}

func checkLabel(label string) error {
	if label == "" || len(label) > maxLabel || strings.TrimSpace(label) != label || strings.ContainsRune(label, 0) {
		return errors.New("the token's label must have 1 to 32 bytes and no space at either end")
	}
	return nil
}

// module loads the PKCS#11 library, behind the fault injector of a test if there is one.
func (c Config) module() (p11.Module, error) {
	library, err := p11.Load(c.Module)
	if err != nil {
		return nil, fault.Wrap(fault.HSMUnavailable, "hsm.Config", "the PKCS#11 module cannot be loaded; check its path", err)
	}
	if c.wrapModule != nil {
		return c.wrapModule(library), nil
	}
	return library, nil
}
