package audit

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// faulty is the disk with faults on demand, on real files. It also keeps what would be left of each file after a power
// cut that loses all that was not synced.
type faulty struct {
	disk
	full       atomic.Bool           // create fails as on a full disk
	writeErr   atomic.Pointer[error] // what the next writes give
	syncErr    atomic.Pointer[error]
	renameErr  atomic.Pointer[error]
	writes     atomic.Int64
	syncs      atomic.Int64
	early      atomic.Int64 // files that were not synced when a new segment got its name
	beforeSync atomic.Pointer[func()]

	mu      sync.Mutex
	written map[*faultyFile][]byte
	durable map[*faultyFile][]byte
}

func newFaulty() *faulty {
	return &faulty{written: map[*faultyFile][]byte{}, durable: map[*faultyFile][]byte{}}
}

func (d *faulty) open(path string) (segmentFile, error) {
	f, err := d.disk.open(path)
	if err != nil {
		return nil, err
	}
	return d.watch(f.(diskFile))
}

func (d *faulty) create(ctx context.Context, path string, size int64) (segmentFile, error) {
	if d.full.Load() {
		return nil, &fs.PathError{Op: "fallocate", Path: path, Err: syscall.ENOSPC}
	}
	f, err := d.disk.create(ctx, path, size)
	if err != nil {
		return nil, err
	}
	return d.watch(f.(diskFile))
}

func (d *faulty) watch(f diskFile) (segmentFile, error) {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &faultyFile{diskFile: f, disk: d}
	d.written[w] = b
	d.durable[w] = append([]byte(nil), b...)
	return w, nil
}

func (d *faulty) rename(from, to string) error {
	if err := failure(&d.renameErr); err != nil {
		return err
	}
	d.mu.Lock()
	for f, b := range d.written {
		if !bytes.Equal(b, d.durable[f]) {
			d.early.Add(1)
		}
	}
	d.mu.Unlock()
	return d.disk.rename(from, to)
}

// surviving returns all bytes that a power cut would leave now.
func (d *faulty) surviving() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []byte
	for _, b := range d.durable {
		all = append(all, b...)
	}
	return all
}

type faultyFile struct {
	diskFile
	disk *faulty
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.writes.Add(1)
	if err := failure(&f.disk.writeErr); err != nil {
		// As on a real disk, part of it may be there, though none is reported.
		_, _ = f.diskFile.WriteAt(b[:len(b)/2], off)
		return 0, err
	}
	f.disk.mu.Lock()
	copy(f.disk.written[f][off:], b)
	f.disk.mu.Unlock()
	return f.diskFile.WriteAt(b, off)
}

func (f *faultyFile) datasync() error {
	f.disk.syncs.Add(1)
	if before := f.disk.beforeSync.Load(); before != nil {
		(*before)()
	}
	if err := failure(&f.disk.syncErr); err != nil {
		return err
	}
	f.disk.mu.Lock()
	copy(f.disk.durable[f], f.disk.written[f])
	f.disk.mu.Unlock()
	return f.diskFile.datasync()
}

func failure(p *atomic.Pointer[error]) error {
	if err := p.Load(); err != nil {
		return *err
	}
	return nil
}

func TestSegmentIsRealZerosAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := mustOpen(t, Config{Dir: dir, Node: "node-1", SegmentBytes: 1 << 20})
	awaitSpare(l)
	mustClose(t, l)
	for name, mode := range map[string]fs.FileMode{".": 0o700 | fs.ModeDir, segmentName(1): 0o600, spareName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !info.IsDir() && st.Blocks*512 < 1<<20 {
			t.Errorf("%s takes %d bytes on the disk, want %d", name, st.Blocks*512, 1<<20)
		}
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "f")
	if _, err := (&disk{}).create(ctx, path, 1<<20); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}
