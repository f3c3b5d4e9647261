package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// storage is the file system as the log needs it. Tests put failing ones in its place.
type storage interface {
	// open opens an existing segment for reading and writing, and makes sure that what is read from it comes from the
	// disk and that writing to it needs no new space.
	open(path string) (segmentFile, error)
	// create makes a file of size zero bytes that are really on the disk. It leaves nothing behind when it fails.
	create(ctx context.Context, path string, size int64) (segmentFile, error)
	// rename renames a file and makes the new name durable.
	rename(from, to string) error
	// close lets go of what the storage holds beside its files.
	close() error
}

// segmentFile is one open segment.
type segmentFile interface {
	io.ReaderAt
	io.WriterAt
	// datasync returns when all that was written is on the disk. After an error nothing is known about it any more.
	datasync() error
	size() (int64, error)
	Close() error
}

// disk is the real storage. It keeps the log's folder open: a segment must be able to begin when the process has no
// descriptor left for anything else.
type disk struct {
	mu  sync.Mutex
	dir *os.File
}

// diskFile is a file of the real storage.
type diskFile struct{ *os.File }

func (f diskFile) datasync() error { return datasync(f.File) }

func (f diskFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (d *disk) open(path string) (segmentFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // #nosec G304 -- the path is made from the configured folder
	if err != nil {
		return nil, err
	}
	if err := errors.Join(settle(f), d.syncNames(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return diskFile{f}, nil
}

// settle gets a file of an earlier run ready for use.
func settle(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// A copy or a restored backup may be sparse: its zeros have no space yet.
	if err := allocate(f, info.Size()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return dropCache(f)
}

func (d *disk) create(ctx context.Context, path string, size int64) (segmentFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- as in open
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, f, size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	if err := d.syncNames(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return diskFile{f}, nil
}

// fill writes size zeros and syncs them. Real zeros, not a hole and not unwritten extents: a later sync then has no
// metadata to write.
func fill(ctx context.Context, f *os.File, size int64) error {
	// Asked first, so that a full disk says so before its last bytes are taken from others.
	if err := allocate(f, size); err != nil {
		return err
	}
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return f.Sync()
}

func (d *disk) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return d.syncNames(filepath.Dir(to))
}

// syncNames makes the names in the log's folder durable.
func (d *disk) syncNames(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == nil {
		f, err := os.Open(dir) // #nosec G304 -- the configured folder
		if err != nil {
			return err
		}
		d.dir = f
	}
	return d.dir.Sync()
}

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == nil {
		return nil
	}
	err := d.dir.Close()
	d.dir = nil
	return err
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the configured folder or its parent
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes the folder, and its name durable.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
