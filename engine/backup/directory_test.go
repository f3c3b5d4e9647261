package backup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var _ Target = (*Directory)(nil)

func directory(t testing.TB) (*Directory, string) {
	t.Helper()
	path := t.TempDir()
	d, err := NewDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func entries(t testing.TB, path string) (found []string) {
	t.Helper()
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		found = append(found, e.Name())
	}
	return found
}

func TestDirectory(t *testing.T) {
	d, path := directory(t)
	conformance(t, d)
	for _, name := range entries(t, path) {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil || info.Mode().Perm() != 0o600 || IDOf(name) == "" {
			t.Errorf("%s has mode %v: %v", name, info.Mode(), err)
		}
	}
}

func TestDirectoryMustBeThere(t *testing.T) {
	path := t.TempDir()
	file := filepath.Join(path, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{filepath.Join(path, "missing"), file} {
		if _, err := NewDirectory(p); !errors.Is(err, ErrNoTarget) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := NewDirectory("here"); err == nil {
		t.Error("a path that depends on where the daemon was started was accepted")
	}
	// A share that was unmounted later.
	later := filepath.Join(path, "later")
	if err := os.Mkdir(later, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := NewDirectory(later)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(later); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"put": d.Put(t.Context(), fileName(1), strings.NewReader("x")), "list": second(d.List(t.Context())),
		"get": second(d.Get(t.Context(), fileName(1))), "delete": d.Delete(t.Context(), fileName(1)),
	} {
		if !errors.Is(err, ErrNoTarget) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(later); err == nil {
		t.Error("the directory was made, where a share should have been")
	}
}

func TestDirectoryIgnoresOthers(t *testing.T) {
	d, path := directory(t)
	mustPut(t, d, fileName(1), []byte("x"))
	if err := os.Mkdir(filepath.Join(path, fileName(2)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fileName(1), filepath.Join(path, fileName(3))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d); !slices.Equal(got, []string{fileName(1)}) {
		t.Error(got)
	}
	if err := d.Put(t.Context(), fileName(2), strings.NewReader("x")); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
}

// TestDirectorySweeps removes what a process left that died long ago, and leaves what another node may be writing.
func TestDirectorySweeps(t *testing.T) {
	d, path := directory(t)
	old, young := filepath.Join(path, unfinished+"1"), filepath.Join(path, unfinished+"2")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-abandoned - time.Minute)
	if err := os.Chtimes(old, then, then); err != nil {
		t.Fatal(err)
	}
	mustPut(t, d, fileName(1), []byte("x"))
	if got := entries(t, path); !slices.Equal(got, []string{unfinished + "2", fileName(1)}) {
		t.Error(got)
	}
	if got := names(t, d); len(got) != 1 {
		t.Error(got)
	}
}

// TestDirectoryFull stores into a file system of 1 MiB. Without the right to mount one it meets a limit on the size of files.
func TestDirectoryFull(t *testing.T) {
	d, path := directory(t)
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("cannot mount a tmpfs (%v): a limit on the size of files is the test", err)
		limitFiles(t, 1<<20)
	} else {
		t.Cleanup(func() {
			if err := syscall.Unmount(path, 0); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
	}
	mustPut(t, d, fileName(1), content(100<<10))
	err := d.Put(t.Context(), fileName(2), bytes.NewReader(content(2<<20)))
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
	if got := entries(t, path); !slices.Equal(got, []string{fileName(1)}) {
		t.Fatalf("left: %v", got)
	}
	mustPut(t, d, fileName(2), content(100<<10))
	if got := mustGet(t, d, fileName(1)); len(got) != 100<<10 {
		t.Error("the first backup suffered")
	}
}

func limitFiles(t *testing.T, bytes uint64) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
	})
}
