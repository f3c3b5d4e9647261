package cluster

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"

	"github.com/hashicorp/raft"
)

// scrubPages is how many pages are overwritten while Raft waits: a megabyte of the usual ones.
const scrubPages = 256

// scrubber overwrites the pages of raft.db that no tree refers to: bbolt leaves in them what they held, until it needs them.
//
// All use of the database goes through its lock, so that there is no transaction while pages are looked for and overwritten.
// Then the newest meta page tells which pages are in use, and nobody reads any other: the older meta page is only of use while
// the newer one is being written. A crash in between leaves some pages overwritten, which is as good as free.
type scrubber struct {
	path string
	mu   sync.RWMutex
}

// scrub overwrites what is free, a part of the file at a time.
func (s *scrubber) scrub(ctx context.Context) (err error) {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for from, size := int64(0), int64(1); from < size; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if from, size, err = s.part(f, from); err != nil {
			return err
		}
	}
	return f.Sync()
}

// part overwrites the free ones of the pages that begin at an offset, and returns the offset of the next and the size of the
// file.
func (s *scrubber) part(f *os.File, from int64) (next, size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	c := &pageCheck{file: f, size: info.Size(), seen: map[uint64]bool{0: true, 1: true}} // the meta pages
	root, err := c.meta()
	if err != nil {
		return 0, 0, err
	}
	if err := c.buckets(root); err != nil {
		return 0, 0, err
	}
	page, zero := make([]byte, c.pageSize), make([]byte, c.pageSize)
	next = from
	for range scrubPages {
		if next+c.pageSize > c.size {
			return c.size, c.size, nil
		}
		if !c.seen[uint64(next/c.pageSize)] { //nolint:gosec // an offset is not negative
			if _, err := f.ReadAt(page, next); err != nil {
				return 0, 0, err
			}
			if !bytes.Equal(page, zero) {
				if _, err := f.WriteAt(zero, next); err != nil {
					return 0, 0, err
				}
			}
		}
		next += c.pageSize
	}
	return next, c.size, nil
}

// log returns a log store whose every use waits for the scrubber.
func (s *scrubber) log(store raft.LogStore) raft.LogStore { return &waitingLog{store, &s.mu} }

// stable does the same for a stable store.
func (s *scrubber) stable(store raft.StableStore) raft.StableStore {
	return &waitingStable{store, &s.mu}
}

type waitingLog struct {
	store raft.LogStore
	mu    *sync.RWMutex
}

func (w *waitingLog) FirstIndex() (uint64, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.FirstIndex()
}

func (w *waitingLog) LastIndex() (uint64, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.LastIndex()
}

func (w *waitingLog) GetLog(index uint64, l *raft.Log) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.GetLog(index, l)
}

func (w *waitingLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

func (w *waitingLog) StoreLogs(logs []*raft.Log) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.StoreLogs(logs)
}

func (w *waitingLog) DeleteRange(lowest, highest uint64) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.DeleteRange(lowest, highest)
}

type waitingStable struct {
	store raft.StableStore
	mu    *sync.RWMutex
}

func (w *waitingStable) Set(key, value []byte) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.Set(key, value)
}

func (w *waitingStable) Get(key []byte) ([]byte, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.Get(key)
}

func (w *waitingStable) SetUint64(key []byte, n uint64) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.SetUint64(key, n)
}

func (w *waitingStable) GetUint64(key []byte) (uint64, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.store.GetUint64(key)
}
