package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// resume finds where the log ends and gets its newest segment ready to be written, or makes the first one.
func (l *Log) resume() error {
	refs, err := listSegments(l.cfg.Dir)
	if err != nil {
		return err
	}
	n := len(refs)
	if n == 0 {
		return l.create()
	}
	at := place{next: 1}
	if n > 1 || refs[0].first > 1 {
		at = place{unknown: true} // the segments before are not looked at here, or are kept elsewhere
	}
	if n > 1 {
		// The one before tells what the newest has to continue, even if that has no header yet.
		before, file, err := l.walk(refs[n-2], at, false)
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
		at = before.at
	}
	s, file, err := l.walk(refs[n-1], at, true)
	if err != nil {
		return err
	}
	if err := l.continueAt(s, file); err != nil {
		return errors.Join(err, file.Close())
	}
	return nil
}

// walk reads a whole segment. It stays open.
func (l *Log) walk(ref segmentRef, at place, newest bool) (*scan, segmentFile, error) {
	file, err := l.cfg.storage.open(ref.path)
	if err != nil {
		return nil, nil, err
	}
	var found []Finding
	s := &scan{
		file: file, ref: ref, node: l.cfg.Node, at: at, newest: newest, report: func(f Finding) { found = append(found, f) },
	}
	s.size, err = file.size()
	if err == nil {
		err = s.run()
	}
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %w", ref.path, err)
	case s.holder != "" && s.holder != l.cfg.Node:
		err = fmt.Errorf("the log in %s belongs to node %s, this is node %s: give each node a folder of its own",
			l.cfg.Dir, s.holder, l.cfg.Node)
	case len(found) > 0:
		err = &CorruptError{Dir: l.cfg.Dir, Finding: found[0]}
	case s.end == 0 && (!newest || s.at.unknown):
		err = &CorruptError{Dir: l.cfg.Dir, Finding: Finding{File: ref.name(), Sequence: ref.first,
			Problem: "the segment has no header, and none before it tells what it continues"}}
	case s.end == 0 && s.at.next != ref.first:
		err = &CorruptError{Dir: l.cfg.Dir, Finding: Finding{File: ref.name(), Sequence: s.at.next,
			Problem: fmt.Sprintf("the segment is named for sequence %d, %d was due: the records between are missing",
				ref.first, s.at.next)}}
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return s, file, nil
}

// continueAt makes the place where the newest segment ends the one where the log goes on.
func (l *Log) continueAt(s *scan, file segmentFile) error {
	if s.torn > 0 {
		if _, err := file.WriteAt(make([]byte, s.torn), s.end); err != nil {
			return fmt.Errorf("%s: cut the unfinished end: %w", s.ref.path, err)
		}
		if err := file.datasync(); err != nil {
			return fmt.Errorf("%s: cut the unfinished end: %w", s.ref.path, err)
		}
		l.cfg.Log.Warn("audit log: the end of the last write was missing, its rest was cut; no operation in it had been answered",
			"file", s.ref.path, "offset", s.end, "bytes", s.torn, "sequence", s.at.next)
	}
	l.seg = &segment{file: file, size: s.size}
	l.writing, l.off = l.seg, s.end
	l.seq, l.durable, l.head = s.at.next-1, s.at.next-1, hexOf(s.at.prev)
	if s.end == 0 {
		return l.writeHeader()
	}
	return nil
}

// create makes the first segment of a new log. It gets its name when it is whole.
func (l *Log) create() error {
	spare := filepath.Join(l.cfg.Dir, spareName)
	if err := os.Remove(spare); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := l.cfg.storage.create(context.Background(), spare, l.cfg.SegmentBytes)
	if err != nil {
		return fmt.Errorf("the first segment of %d bytes cannot be made, free space under %s: %w", l.cfg.SegmentBytes, l.cfg.Dir, err)
	}
	l.seg = &segment{file: file, size: l.cfg.SegmentBytes}
	l.writing, l.head = l.seg, hexOf([HashBytes]byte{})
	if err := l.cfg.storage.rename(spare, filepath.Join(l.cfg.Dir, segmentName(1))); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := l.writeHeader(); err != nil {
		return errors.Join(err, file.Close())
	}
	return nil
}

// writeHeader writes the header of the empty current segment. No worker runs yet.
func (l *Log) writeHeader() error {
	b := appendHeaderStart(nil, l.cfg.Node, l.seq+1, &l.head)
	b, _ = appendHash(b, 0, &l.head)
	if _, err := l.seg.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write a segment's header: %w", err)
	}
	if err := l.seg.file.datasync(); err != nil {
		return fmt.Errorf("write a segment's header: %w", err)
	}
	l.off = int64(len(b))
	return nil
}
