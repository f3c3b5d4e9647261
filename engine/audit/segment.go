package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	segmentPrefix = "audit-"
	segmentSuffix = ".log"
	segmentDigits = 20
	// spareName is the zero-filled file that becomes the next segment.
	spareName = "audit-spare"
)

// segmentName returns the file name of the segment whose first record is first.
func segmentName(first uint64) string {
	return fmt.Sprintf("%s%0*d%s", segmentPrefix, segmentDigits, first, segmentSuffix)
}

// firstOf returns the sequence number in a segment's file name.
func firstOf(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, segmentPrefix)
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, segmentSuffix)
	if !ok || len(digits) != segmentDigits {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0
}

// segmentRef is a segment on the disk.
type segmentRef struct {
	path  string
	first uint64 // as the file name says
}

func (s segmentRef) name() string { return filepath.Base(s.path) }

// listSegments returns the segments of a folder in order. Files with other names are not its business.
func listSegments(dir string) ([]segmentRef, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var refs []segmentRef
	for _, e := range entries {
		if first, ok := firstOf(e.Name()); ok {
			refs = append(refs, segmentRef{filepath.Join(dir, e.Name()), first})
		}
	}
	slices.SortFunc(refs, func(a, b segmentRef) int { return strings.Compare(a.path, b.path) })
	return refs, nil
}

// segment is an open segment that is being written, or the spare.
type segment struct {
	file segmentFile
	size int64
	// first names the file. It is 0 for a file that has its name already.
	first uint64
}
