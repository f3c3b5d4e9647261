package audit

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

const (
	// sectorBytes is the smallest unit in which a disk keeps or loses a write.
	sectorBytes = 512
	// windowBytes is how much of a segment is read at a time.
	windowBytes = 256 << 10
	// maxFindings bounds the findings of one segment; what follows in it is not walked.
	maxFindings = 100
)

// zeros is what bytes are compared with; comparing is many times faster than looking at each.
var zeros [windowBytes / 4]byte

// place is where the chain stands: what the next line has to say.
type place struct {
	next    uint64          // sequence number of the next record
	prev    [HashBytes]byte // hash of the line before
	unknown bool            // nothing is known: the next line says where it goes on
}

// scan walks the lines of one segment. Open and Verify share it, so that both judge alike.
type scan struct {
	file io.ReaderAt
	size int64
	ref  segmentRef
	node string // whose log it is; empty until the first header is read
	at   place
	// newest allows an unfinished end. live says that somebody may be writing to the segment meanwhile.
	newest, live bool
	report       func(Finding)

	holder   string // the node that the header names
	records  uint64
	items    uint64 // of all records
	end      int64  // where the next line goes
	torn     int64  // bytes after end that a write left unfinished
	damaged  bool   // the bytes before the current line were not a line
	findings int

	window []byte // bytes of the file from base on
	base   int64
}

// run walks the segment. Its error is one of reading; what is wrong with the lines goes to report.
func (s *scan) run() error {
	for off := int64(0); off < s.size; {
		b, n, err := s.line(off)
		if err != nil {
			return err
		}
		if n > 0 {
			if l, v := parseLine(b[:n]); v == lineWhole {
				s.link(off, &l)
				off += int64(n)
				s.end = off
				continue
			}
		}
		end, torn, err := s.judge(off)
		if err != nil {
			return err
		}
		switch {
		case end == off:
			s.end = off
			return nil
		case torn && s.newest:
			s.end, s.torn = off, end-off
			return nil
		}
		if changed, err := s.changed(off, b[:min(len(b), maxLine)]); err != nil {
			return err
		} else if changed {
			continue
		}
		if torn {
			s.found(off, "the line is unfinished, in a segment that is not the newest")
		} else if !s.damaged {
			s.found(off, "not a line of this log, or not the line that was written")
		}
		s.damaged = true
		if s.findings >= maxFindings {
			s.found(off, "too much is wrong with this segment: the rest of it was not looked at")
			s.at.unknown = true
			return nil
		}
		if off, err = s.skip(off); err != nil {
			return err
		}
		s.end = off
	}
	return nil
}

// link checks that a whole line belongs where it stands, and takes the chain on.
func (s *scan) link(off int64, l *line) {
	switch {
	case l.header != (off == 0):
		if l.header {
			s.found(off, "a segment header inside a segment")
		} else {
			s.found(off, "the segment does not begin with its header")
		}
	case l.header && l.seq != s.ref.first:
		s.found(off, fmt.Sprintf("the header says that the segment begins at sequence %d, its file name says %d", l.seq, s.ref.first))
	}
	if l.header && off == 0 {
		s.holder = string(l.node)
	}
	if s.node == "" {
		s.node = string(l.node)
	}
	switch {
	case string(l.node) != s.node:
		s.found(off, fmt.Sprintf("the line belongs to node %s, the log to node %s", l.node, s.node))
		return
	case s.at.unknown:
	case l.seq < s.at.next:
		s.found(off, fmt.Sprintf("sequence %d stands here, %d was due: the line was copied, moved or brought in", l.seq, s.at.next))
		return
	case l.seq > s.at.next && s.damaged && off > 0:
		// Already reported, as what stands where the lines between were.
	case l.seq > s.at.next:
		s.found(off, fmt.Sprintf("sequence %d stands here, %d was due: the records between are missing", l.seq, s.at.next))
	case l.prev != s.at.prev:
		s.found(off, "the line does not continue the line before it")
	}
	s.damaged = false
	s.at = place{next: l.seq, prev: l.hash}
	if !l.header {
		s.at.next++
		s.records++
		s.items += uint64(l.items) // #nosec G115 -- counted up from 0
	}
}

func (s *scan) found(off int64, problem string) {
	s.findings++
	s.report(Finding{File: s.ref.name(), Offset: off, Sequence: s.at.next, Problem: problem})
}

// judge looks at what follows off, where no whole line begins. The end is that of the last byte that is not zero: off
// itself when nothing follows. Torn tells whether a write that was cut off can have left these bytes, none of which was
// known to be durable.
func (s *scan) judge(off int64) (end int64, torn bool, err error) {
	if end, err = s.lastByte(off); err != nil || end == off {
		return end, false, err
	}
	region := make([]byte, end-off)
	if err := readFull(s.file, region, off); err != nil {
		return 0, false, err
	}
	if bytes.IndexByte(region, 0) < 0 {
		return end, s.unfinished(off, region), nil
	}
	return end, s.holed(off, region), nil
}

// unfinished reports whether the bytes are the beginning of the one line that is due at off.
func (s *scan) unfinished(off int64, b []byte) bool {
	if s.at.unknown {
		return false
	}
	l, v := parseLine(b)
	if v != lineShort {
		return false
	}
	var due []byte
	prev := hexOf(s.at.prev)
	switch {
	case off == 0 && s.node == "":
		due = []byte(lineStart + headerStart)
	case off == 0:
		due = appendHeaderStart(nil, s.node, s.at.next, &prev)
	default:
		due = appendRecordStart(nil, s.at.next, 0, &prev)
		due = due[:bytes.Index(due, []byte(lineSynced))]
		if l.prev != ([HashBytes]byte{}) && l.prev != s.at.prev {
			return false
		}
	}
	n := min(len(due), len(b))
	return bytes.Equal(due[:n], b[:n])
}

// holed reports whether the bytes from off on are what is left of a write of which some sectors did not reach the disk:
// the zeros fill whole sectors, all else is lines of the log or parts of them at the edge of a hole, and no line after
// says that what is missing here had been durable. Such lines were never answered for.
func (s *scan) holed(off int64, b []byte) bool {
	aligned := func(i int) bool { return (off+int64(i))%sectorBytes == 0 }
	for i := 0; i < len(b); {
		if b[i] == 0 {
			j := i
			for b[j] == 0 { // the last byte is not zero
				j++
			}
			if i > 0 && !aligned(i) || !aligned(j) {
				return false
			}
			i = j
			continue
		}
		j := bytes.IndexByte(b[i:], 0)
		if j < 0 {
			j = len(b)
			if b[j-1] != '\n' && !aligned(j) {
				return false
			}
		} else {
			j += i
		}
		if !s.island(b[i:j], i > 0) {
			return false
		}
		i = j
	}
	return true
}

// island checks a run of bytes between holes. After a hole it may begin inside a line.
func (s *scan) island(b []byte, afterHole bool) bool {
	for first := true; len(b) > 0; first = false {
		n := bytes.IndexByte(b, '\n') + 1
		fragment := first && afterHole
		if n == 0 {
			_, v := parseLine(b)
			return fragment || v == lineShort
		}
		l, v := parseLine(b[:n])
		switch {
		case v == lineWhole:
			if l.header || l.seq < s.at.next || l.synced >= s.at.next {
				return false
			}
		case !fragment:
			return false
		}
		b = b[n:]
	}
	return true
}

// changed reports whether the bytes at off are others than before, as when a line was being written while it was read.
func (s *scan) changed(off int64, before []byte) (bool, error) {
	if !s.live {
		return false, nil
	}
	before = slices.Clone(before) // it is part of the window
	s.window = s.window[:0]
	b, err := s.bytes(off, len(before))
	if err != nil {
		return false, err
	}
	return !bytes.HasPrefix(b, before), nil
}

// skip returns where to go on after damage at off: the next line, or the next edge of a hole.
func (s *scan) skip(off int64) (int64, error) {
	hole := false
	for start := off; off < s.size; {
		b, err := s.bytes(off, 1)
		if err != nil {
			return 0, err
		}
		if off == start {
			hole = b[0] == 0
		}
		stop := slices.IndexFunc(b, func(c byte) bool { return hole != (c == 0) || c == '\n' })
		switch {
		case stop < 0:
			off += int64(len(b))
		case b[stop] == '\n':
			return off + int64(stop) + 1, nil
		default:
			return off + int64(stop), nil
		}
	}
	return s.size, nil
}

// lastByte returns the end of the last byte at or after off that is not zero, or off.
func (s *scan) lastByte(off int64) (int64, error) {
	end := off
	chunk := make([]byte, min(int64(len(zeros)), s.size-off))
	for off < s.size {
		b := chunk[:min(int64(len(chunk)), s.size-off)]
		if err := readFull(s.file, b, off); err != nil {
			return 0, err
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			end = off + int64(len(bytes.TrimRight(b, "\x00")))
		}
		off += int64(len(b))
	}
	return end, nil
}

// line returns what stands at off, and the length of the line that it begins with: 0 when none ends within maxLine bytes
// and before a zero. The bytes are valid until the next call.
func (s *scan) line(off int64) ([]byte, int, error) {
	b, err := s.bytes(off, shortLine)
	if err != nil {
		return nil, 0, err
	}
	n, open := lineLength(b)
	if open && len(b) < maxLine {
		// Only a line with items is so long. Most have none: a window that always held a longest line ahead would read a
		// good part of the segment twice.
		if b, err = s.bytes(off, maxLine); err != nil {
			return nil, 0, err
		}
		n, _ = lineLength(b)
	}
	return b, n, nil
}

// bytes returns what stands at off: at least n bytes, or all up to the end of the file. They are valid until the next
// call.
func (s *scan) bytes(off int64, n int) ([]byte, error) {
	end := s.base + int64(len(s.window))
	if off < s.base || off >= end || end < s.size && end-off < int64(n) {
		want := min(int64(max(windowBytes, n, cap(s.window))), s.size-off)
		if int64(cap(s.window)) < want {
			s.window = make([]byte, 0, want)
		}
		s.base, s.window = off, s.window[:want]
		if err := readFull(s.file, s.window, off); err != nil {
			return nil, err
		}
	}
	return s.window[off-s.base:], nil
}

// lineLength returns the length of the line at the start of b with its newline, or 0 when none ends within maxLine bytes
// and before a zero. Open says that b ends before that is known.
func lineLength(b []byte) (n int, open bool) {
	b = b[:min(len(b), maxLine)]
	if n = bytes.IndexByte(b, '\n') + 1; n > 0 {
		b = b[:n]
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return 0, false
	}
	return n, n == 0
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
