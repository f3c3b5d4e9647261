package softhsm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ConfEnv names the environment variable by which SoftHSM2 finds its configuration.
const ConfEnv = "SOFTHSM2_CONF"

const (
	confName   = "softhsm2.conf"
	tokensName = "tokens"
)

// Store is a directory that holds SoftHSM2 tokens and nothing else's: DIR/softhsm2.conf and DIR/tokens/, both for the
// owner only. Whoever has this directory and the PIN has the keys. Goroutines may share a Store.
type Store struct {
	dir    string // absolute
	mended []string
}

// Create makes a new, empty store at dir, which may exist but must not hold a store.
func Create(dir string) (*Store, error) {
	s, err := at(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create SoftHSM2 store: %w", err)
	}
	if err := os.Mkdir(s.Tokens(), 0o700); err != nil {
		return nil, fmt.Errorf("create SoftHSM2 store: %w", err)
	}
	conf := "directories.tokendir = " + s.Tokens() + "\n" +
		"objectstore.backend = file\n" +
		"log.level = ERROR\n" +
		"slots.removable = false\n"
	f, err := os.OpenFile(s.Conf(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create SoftHSM2 store: %w", err)
	}
	_, werr := f.WriteString(conf)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("create SoftHSM2 store: %w", err)
	}
	return s, nil
}

// Open returns the store at dir. Its configuration is written anew when the directory was moved, because SoftHSM2 wants
// an absolute path in it, and files that a power cut left empty are put back from their copies (see Sync). An error when
// there is none; fs.ErrNotExist is in its chain.
func Open(dir string) (*Store, error) {
	s, err := at(dir)
	if err != nil {
		return nil, err
	}
	conf, err := os.ReadFile(s.Conf())
	if err != nil {
		return nil, fmt.Errorf("open SoftHSM2 store: %w", err)
	}
	if info, err := os.Stat(s.Tokens()); err != nil {
		return nil, fmt.Errorf("open SoftHSM2 store: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open SoftHSM2 store: %s: %w", s.Tokens(), fs.ErrNotExist)
	}
	if moved, ok := repoint(string(conf), s.Tokens()); ok {
		if err := os.WriteFile(s.Conf()+".new", []byte(moved), 0o600); err != nil {
			return nil, fmt.Errorf("open SoftHSM2 store: %w", err)
		}
		if err := os.Rename(s.Conf()+".new", s.Conf()); err != nil {
			return nil, fmt.Errorf("open SoftHSM2 store: %w", err)
		}
	}
	if s.mended, err = s.heal(); err != nil {
		return nil, fmt.Errorf("open SoftHSM2 store: %w", err)
	}
	return s, nil
}

// Mended returns the files that Open put back from their copies.
func (s *Store) Mended() []string { return s.mended }

// repoint returns the configuration with the given token directory, and whether that changed it.
func repoint(conf, tokens string) (string, bool) {
	lines := strings.Split(conf, "\n")
	for i, line := range lines {
		if key, _, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "directories.tokendir" {
			lines[i] = "directories.tokendir = " + tokens
		}
	}
	out := strings.Join(lines, "\n")
	return out, out != conf
}

func at(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("SoftHSM2 store: %w", err)
	}
	if strings.ContainsAny(abs, "\n\r#") {
		// SoftHSM2 reads its configuration by lines and takes # as a comment, without any quoting.
		return nil, fmt.Errorf("SoftHSM2 store: the path %q has a character that its configuration cannot hold", abs)
	}
	return &Store{dir: abs}, nil
}

// Dir returns the store's directory as an absolute path.
func (s *Store) Dir() string { return s.dir }

// Conf returns the path of the configuration.
func (s *Store) Conf() string { return filepath.Join(s.dir, confName) }

// Tokens returns the directory with one sub-directory a token.
func (s *Store) Tokens() string { return filepath.Join(s.dir, tokensName) }

// Use makes this the store of the whole process, from the next time the module is initialised.
func (s *Store) Use() error {
	if err := os.Setenv(ConfEnv, s.Conf()); err != nil {
		return fmt.Errorf("use SoftHSM2 store: %w", err)
	}
	return nil
}
