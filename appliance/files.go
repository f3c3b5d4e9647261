package appliance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cryptoserve/engine/secret"
)

// writeFile replaces a file as a whole: after a power cut it holds the old bytes or the new ones. Only its owner may read it.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// readPIN reads a PIN from a file that nobody but its owner may read.
func readPIN(path string) (secret.Bytes, error) { return readSecret(path, "PIN") }

// readSecret reads a line from a file that nobody but its owner may read. What names it in errors.
func readSecret(path, what string) (secret.Bytes, error) {
	info, err := os.Stat(path)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("the %s file cannot be read: %w", what, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return secret.Bytes{}, fmt.Errorf("the %s file %s is open to others (mode %04o): run chmod 600 on it", what, path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("the %s file cannot be read: %w", what, err)
	}
	line := bytes.TrimRight(raw, "\r\n")
	if len(line) == 0 {
		return secret.Bytes{}, fmt.Errorf("the %s file %s is empty", what, path)
	}
	return secret.New(line), nil
}

// lockDir makes this process the only one that works in a data directory, until the file is closed.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory cannot be locked: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another cryptoserved works in %s: stop it first, or give this one a data directory of its own", dir)
		}
		return nil, fmt.Errorf("the data directory cannot be locked: %w", err)
	}
	return f, nil
}
