package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxRetry bounds the wait between two tries to make a spare.
const maxRetry = 30 * time.Second

// keepSpare makes the next segment ahead of time, so that no append waits for 64 MiB of zeros. When that fails it says
// so in the status and tries again until it works.
func (l *Log) keepSpare(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wantSpare:
		}
		for delay := l.cfg.retry; ; delay = min(2*delay, maxRetry) {
			seg, err := l.makeSpare(ctx)
			if ctx.Err() == nil {
				l.spareIs(seg, err)
			} else if seg != nil {
				_ = seg.file.Close() // nothing was written to it; the next start finds it by its name
			}
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(delay):
			}
		}
	}
}

// spareIs publishes what a try to make the spare gave.
func (l *Log) spareIs(seg *segment, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.spareMissing
	l.spare, l.spareMissing, l.spareReason = seg, err != nil, ""
	switch {
	case err != nil:
		l.spareReason = fmt.Sprintf("the next audit segment of %d bytes cannot be made (%v): free space under %s",
			l.cfg.SegmentBytes, err, l.cfg.Dir)
		if !was {
			l.cfg.Log.Error("no spare audit segment: operations are refused once the last segment is full",
				"dir", l.cfg.Dir, "error", err)
		}
	case was:
		l.cfg.Log.Info("spare audit segment made again", "dir", l.cfg.Dir)
	}
	l.changed.Broadcast()
}

// makeSpare returns the spare of an earlier run if it is whole, else a new one.
func (l *Log) makeSpare(ctx context.Context) (*segment, error) {
	path := filepath.Join(l.cfg.Dir, spareName)
	seg, err := l.adopt(path)
	switch {
	case err == nil && seg != nil:
		return seg, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	file, err := l.cfg.storage.create(ctx, path, l.cfg.SegmentBytes)
	if err != nil {
		return nil, err
	}
	return &segment{file: file, size: l.cfg.SegmentBytes}, nil
}

// adopt opens an existing spare. One of another size, or one that is not all zeros, is removed.
func (l *Log) adopt(path string) (*segment, error) {
	file, err := l.cfg.storage.open(path)
	if err != nil {
		return nil, err
	}
	size, err := file.size()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := scan{file: file, size: size}
	if size == l.cfg.SegmentBytes {
		end, err := s.lastByte(0)
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if end == 0 {
			return &segment{file: file, size: size}, nil
		}
	}
	return nil, errors.Join(file.Close(), os.Remove(path))
}
