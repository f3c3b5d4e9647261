package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// unfinished begins the names of files that are being written.
	unfinished = ".new-"
	// abandoned is the age at which an unfinished file belongs to nobody any more: its process died.
	abandoned = 24 * time.Hour
)

// Directory keeps backups as files of mode 0600 in one directory, on a disk or a share. It is a Target.
type Directory struct{ path string }

// NewDirectory returns a target over a directory that exists: it makes none, so that a share that is not mounted is noticed.
func NewDirectory(path string) (*Directory, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("backup: the directory %q must be given with its whole path", path)
	}
	d := &Directory{filepath.Clean(path)}
	return d, d.check()
}

// String returns the path.
func (d *Directory) String() string { return "directory " + d.path }

func (d *Directory) check() error {
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("backup: %w: make the directory %s, or mount what should be there", ErrNoTarget, d.path)
	case err != nil:
		return d.say("look at", err)
	case !info.IsDir():
		return fmt.Errorf("backup: %w: %s is no directory", ErrNoTarget, d.path)
	}
	return nil
}

// Put implements Target.
func (d *Directory) Put(ctx context.Context, name string, r io.Reader) (err error) {
	if err := checkName(name); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	final := filepath.Join(d.path, name)
	if _, err := os.Lstat(final); err == nil {
		return fmt.Errorf("backup: %w: %s", ErrExists, name)
	}
	d.sweep()
	f, err := os.CreateTemp(d.path, unfinished+"*") // mode 0600
	if err != nil {
		return d.say("write into", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(f.Name()))
		}
	}()
	_, err = io.Copy(f, &source{ctx: ctx, r: r})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return d.say("write into", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), final); err != nil {
		return d.say("write into", err)
	}
	if err := d.sync(); err != nil {
		return errors.Join(err, removeIfThere(final))
	}
	return nil
}

// sweep removes what processes left that died while they wrote. What cannot be removed stays until the next time.
func (d *Directory) sweep() {
	left, err := filepath.Glob(filepath.Join(d.path, unfinished+"*"))
	if err != nil {
		return
	}
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(path)
		}
	}
}

// Get implements Target.
func (d *Directory) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(d.check(), fmt.Errorf("backup: %w: %s", ErrNotFound, name))
	}
	if err != nil {
		return nil, d.say("read from", err)
	}
	return &closing{source{ctx: ctx, r: f}, f}, nil
}

// closing is a source that is closed.
type closing struct {
	source
	io.Closer
}

// List implements Target.
func (d *Directory) List(ctx context.Context) ([]Item, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, d.say("list", err)
	}
	items := []Item{}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if IDOf(e.Name()) == "" || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, d.say("list", err)
		}
		items = append(items, Item{Name: e.Name(), Bytes: info.Size(), Modified: info.ModTime().UTC()})
	}
	return sorted(items), nil
}

// Delete implements Target.
func (d *Directory) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(d.check(), fmt.Errorf("backup: %w: %s", ErrNotFound, name))
	}
	if err != nil {
		return d.say("delete from", err)
	}
	return d.sync()
}

// sync makes the names in the directory durable.
func (d *Directory) sync() error {
	f, err := os.Open(d.path)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return d.say("write into", err)
	}
	return nil
}

// say gives an error of the system its sentinel and a next step.
func (d *Directory) say(what string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("backup: %w: free space in %s or keep fewer backups: %w", ErrFull, d.path, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("backup: %w: give the daemon's user the right to %s %s: %w", ErrCredentials, what, d.path, err)
	}
	return fmt.Errorf("backup: %s %s: %w", what, d.path, err)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
