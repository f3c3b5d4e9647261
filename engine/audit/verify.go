package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Finding is one place where a log is not what was written.
type Finding struct {
	File     string // name of the segment
	Offset   int64  // in bytes
	Sequence uint64 // of the record that is due at this place
	Problem  string // in words
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: offset %d (sequence %d): %s", f.File, f.Offset, f.Sequence, f.Problem)
}

// Report is what Verify found in a folder.
type Report struct {
	Dir      string
	Node     string // empty when no header could be read
	Segments int
	Records  uint64
	Items    uint64 // of all records that stand for a batch
	// First and Last are sequence numbers, 0 when there is no record. LastHash is the hash of the last line: whoever kept
	// a receipt or a checkpoint compares it.
	First, Last uint64
	LastHash    [HashBytes]byte
	// Unfinished is the length in bytes of an unfinished write at the end, which is no finding: a node that writes now, or
	// was cut off while it wrote, leaves one. Nothing in it was answered for. It begins at UnfinishedAt in UnfinishedFile.
	Unfinished     int64
	UnfinishedFile string
	UnfinishedAt   int64
	Findings       []Finding
}

// OK reports whether nothing was found.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// Limits says what a hash chain cannot show. It belongs beside each report.
const Limits = "A chain alone cannot show records that were cut off at the end, nor a log that was written anew from some " +
	"record on by somebody who can write its files: compare the last sequence and hash with receipts kept elsewhere."

// String returns the report as text for an operator, some lines long.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "audit log of node %s in %s\n", r.Node, r.Dir)
	fmt.Fprintf(&b, "segments: %d\nrecords:  %d\n", r.Segments, r.Records)
	if r.Items > 0 {
		fmt.Fprintf(&b, "items:    %d, of batches\n", r.Items)
	}
	if r.Records > 0 {
		fmt.Fprintf(&b, "first:    %d\nlast:     %d\nhash:     %s\n", r.First, r.Last, hex.EncodeToString(r.LastHash[:]))
	}
	if r.Unfinished > 0 {
		fmt.Fprintf(&b, "unfinished: the last %d bytes, from offset %d of %s, are a write that has not ended; nothing in it was answered for\n",
			r.Unfinished, r.UnfinishedAt, r.UnfinishedFile)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "FOUND %s\n", f)
	}
	if r.OK() {
		b.WriteString("result:   no line in it was changed, removed, moved or added\n")
	} else {
		fmt.Fprintf(&b, "result:   NOT as written, %d findings; keep a copy of the folder as it is\n", len(r.Findings))
	}
	return b.String() + Limits + "\n"
}

// Verify walks all segments of one node's log in order. It may run while the node writes. Its error says that the log
// could not be read; what is wrong with a log that could be read is in the report.
func Verify(dir string) (Report, error) {
	r := Report{Dir: dir}
	refs, err := listSegments(dir)
	if err != nil {
		return r, fmt.Errorf("audit: verify: %w", err)
	}
	if len(refs) == 0 {
		return r, fmt.Errorf("audit: verify: no segment %s*%s in %s", segmentPrefix, segmentSuffix, dir)
	}
	at := place{next: 1}
	for i, ref := range refs {
		if at, err = r.segment(ref, at, i == len(refs)-1); err != nil {
			return r, fmt.Errorf("audit: verify: %s: %w", ref.name(), err)
		}
	}
	return r, nil
}

// segment walks one segment from a place of the chain and returns the place after it.
func (r *Report) segment(ref segmentRef, at place, newest bool) (_ place, err error) {
	f, err := os.Open(ref.path)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return at, err
	}
	s := scan{
		file: f, size: info.Size(), ref: ref, node: r.Node, at: at, newest: newest, live: newest,
		report: func(f Finding) { r.Findings = append(r.Findings, f) },
	}
	if err := s.run(); err != nil {
		return at, err
	}
	if s.end == 0 && s.torn == 0 && !newest {
		s.found(0, "the segment is empty")
	}
	r.Segments++
	r.Node = s.node
	r.Records += s.records
	r.Items += s.items
	if s.records > 0 {
		if r.First == 0 {
			r.First = ref.first
		}
		r.Last, r.LastHash = s.at.next-1, s.at.prev
	}
	if s.torn > 0 {
		r.Unfinished, r.UnfinishedFile, r.UnfinishedAt = s.torn, ref.name(), s.end
	}
	return s.at, nil
}

// CorruptError says that a log is not what was written and that its node therefore does not go on with it.
type CorruptError struct {
	Dir string
	Finding
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: %s; the log was changed, or the disk lost what it had confirmed; nothing was written. "+
		`Run "cryptoserved audit verify %s" to see all of it, keep a copy of the folder as evidence, then bring back an `+
		"undamaged copy or give the node an empty audit folder", filepath.Join(e.Dir, e.File), e.where(), e.Dir)
}

func (e *CorruptError) where() string {
	return fmt.Sprintf("offset %d (sequence %d): %s", e.Offset, e.Sequence, e.Problem)
}
