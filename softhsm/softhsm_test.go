package softhsm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLibrary(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x86_64-linux-gnu", "libsofthsm2.so")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pattern := filepath.Join(dir, "*-linux-*", "libsofthsm2.so")
	none := filepath.Join(dir, "none", "libsofthsm2.so")
	cases := []struct {
		name, env string
		patterns  []string
		want      string
		errHas    string
	}{
		{"by pattern", "", []string{none, pattern}, file, ""},
		{"variable goes first", file, []string{none}, file, ""},
		{"variable names nothing", none, []string{pattern}, "", LibraryEnv},
		{"nowhere", "", []string{none}, "", "make deps"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := library(c.env, c.patterns)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if (err != nil) != (c.errHas != "") || (err != nil && !strings.Contains(err.Error(), c.errHas)) {
				t.Errorf("error %v, want one with %q", err, c.errHas)
			}
		})
	}
}

func TestInstall(t *testing.T) {
	has := func(names ...string) func(string) (string, error) {
		return func(name string) (string, error) {
			if slices.Contains(names, name) {
				return "/usr/bin/" + name, nil
			}
			return "", fs.ErrNotExist
		}
	}
	cases := []struct {
		name      string
		installed bool
		look      func(string) (string, error)
		uid       int
		runErr    error
		want      []string // the last command, nil when none may run
		errHas    string
	}{
		{"already there", true, has("apt-get"), 0, nil, nil, ""},
		{"apt as root", false, has("apt-get", "brew"), 0, nil,
			[]string{"apt-get", "-q", "install", "-y", "--no-install-recommends", "softhsm2"}, ""},
		{"dnf as user", false, has("dnf"), 1000, nil, []string{"sudo", "-n", "dnf", "-q", "-y", "install", "softhsm"}, ""},
		{"brew needs no root", false, has("brew"), 1000, nil, []string{"brew", "install", "softhsm"}, ""},
		{"no package manager", false, has(), 0, nil, nil, "by hand"},
		{"sudo refuses", false, has("dnf"), 1000, errors.New("exit status 1"),
			[]string{"sudo", "-n", "dnf", "-q", "-y", "install", "softhsm"}, "as root"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			installed := c.installed
			find := func() (string, error) {
				if installed {
					return "/lib/found.so", nil
				}
				return "", ErrNotFound
			}
			var last []string
			run := func(_ context.Context, _ io.Writer, command []string) error {
				last = command
				installed = c.runErr == nil
				return c.runErr
			}
			var out bytes.Buffer
			err := install(t.Context(), &out, find, c.look, c.uid, run)
			if (err != nil) != (c.errHas != "") || (err != nil && !strings.Contains(err.Error(), c.errHas)) {
				t.Fatalf("error %v, want one with %q", err, c.errHas)
			}
			if !slices.Equal(last, c.want) {
				t.Errorf("ran %q, want %q", last, c.want)
			}
			if err == nil && !strings.Contains(out.String(), "/lib/found.so") {
				t.Errorf("output %q does not name the module", out.String())
			}
		})
	}
}

func TestStoreCreateOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hsm")
	if _, err := Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open of nothing: %v", err)
	}
	if _, err := Create(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second create: %v", err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{s.Dir(): 0o700, s.Tokens(): 0o700, s.Conf(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
}

func TestStoreOpenAfterMove(t *testing.T) {
	parent := t.TempDir()
	if _, err := Create(filepath.Join(parent, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(parent, "old"), filepath.Join(parent, "new")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(parent)
	s, err := Open("new")
	if err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(s.Conf())
	if err != nil {
		t.Fatal(err)
	}
	if want := "directories.tokendir = " + filepath.Join(parent, "new", "tokens") + "\n"; !strings.HasPrefix(string(conf), want) {
		t.Errorf("configuration does not name the new directory:\n%s", conf)
	}
	t.Setenv(ConfEnv, "")
	if err := s.Use(); err != nil {
		t.Fatal(err)
	}
	if got := os.Getenv(ConfEnv); got != s.Conf() {
		t.Errorf("%s=%q, want %q", ConfEnv, got, s.Conf())
	}
}

func TestStoreRefusesUnquotablePath(t *testing.T) {
	if _, err := Create(filepath.Join(t.TempDir(), "a#b")); err == nil {
		t.Fatal("a path with # was accepted")
	}
}
