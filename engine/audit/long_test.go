package audit

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cryptoserve/engine/fault"
)

// countingReader counts what is read from it.
type countingReader struct {
	io.ReaderAt
	read int64
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	r.read += int64(len(b))
	return r.ReaderAt.ReadAt(b, off)
}

// Lines of all lengths are read across the ends of windows. That a line may be long costs a log of short ones nothing.
func TestLinesAcrossWindows(t *testing.T) {
	tests := []struct {
		name    string
		records []*Record
		most    float64 // bytes read for each byte of lines
		window  int
	}{
		{"short", slices.Repeat([]*Record{sample()}, 4000), 1.1, windowBytes},
		{"batches", slices.Repeat([]*Record{manyOf(100)}, 1000), 1.1, windowBytes},
		{"large batches", slices.Repeat([]*Record{manyOf(1000)}, 300), 1.2, maxLine},
		{"longest", slices.Repeat([]*Record{longest()}, 8), 3, maxLine},
		{"mixed", mixed(200), 3, maxLine},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seg := buildOf(tt.records...)
			items := 0
			for _, r := range tt.records {
				items += len(r.Items)
			}
			file := &countingReader{ReaderAt: bytes.NewReader(seg.bytes)}
			s := &scan{
				file: file, size: int64(len(seg.bytes)), ref: segmentRef{segmentName(1), 1}, at: place{next: 1}, newest: true,
				report: func(f Finding) { t.Error(f) },
			}
			check(t, s.run())
			if s.records != uint64(len(tt.records)) || s.items != uint64(items) || s.end != int64(seg.end) || s.torn != 0 {
				t.Errorf("%d records, %d items, end %d, torn %d, want %d, %d, %d", s.records, s.items, s.end, s.torn,
					len(tt.records), items, seg.end)
			}
			if read := float64(file.read) / float64(seg.end); read > tt.most {
				t.Errorf("%d bytes of lines were read %.2f times", seg.end, read)
			}
			if cap(s.window) > tt.window {
				t.Errorf("a window of %d bytes", cap(s.window))
			}
		})
	}
}

// switchingReader shows other bytes from some read on, as a file does that is being written.
type switchingReader struct {
	now, then []byte
	reads, at int
}

func (r *switchingReader) ReadAt(b []byte, off int64) (int, error) {
	if r.reads++; r.reads > r.at {
		r.now = r.then
	}
	return bytes.NewReader(r.now).ReadAt(b, off)
}

// A line that was being written while it was read, its end before its middle, is read again and is no finding.
func TestLineThatIsBeingWritten(t *testing.T) {
	seg := buildOf(append(slices.Repeat([]*Record{sample()}, 200), longest(), sample())...)
	walk := func(now []byte, at int) (*scan, []Finding) {
		var found []Finding
		s := &scan{
			file: &switchingReader{now: now, then: seg.bytes, at: at}, size: int64(len(seg.bytes)),
			ref: segmentRef{segmentName(1), 1}, at: place{next: 1}, newest: true, live: true,
			report: func(f Finding) { found = append(found, f) },
		}
		check(t, s.run())
		return s, found
	}
	ends := append(seg.starts[1:], seg.end)
	for _, line := range []int{1, 200, 201, 202} {
		for _, share := range []int{1, 2, 3, 50} { // of the line, in sixtieths
			now := bytes.Clone(seg.bytes)
			from := seg.starts[line] + (ends[line]-seg.starts[line])*share/60
			clear(now[from : from+7]) // no sector of a disk, so it would be damage
			if _, found := walk(now, math.MaxInt); len(found) == 0 {
				t.Errorf("line %d, hole at %d: no finding though it stays", line, from)
			}
			for at := 1; at <= 3; at++ {
				if s, found := walk(now, at); len(found) > 0 || s.records != 202 || s.end != int64(seg.end) {
					t.Errorf("line %d, hole at %d, written after %d reads: %d records, end %d, %v", line, from, at, s.records, s.end, found)
				}
			}
		}
	}
}

func TestEachFlippedBitOfABatchIsFound(t *testing.T) {
	seg := buildOf(sample(), &Record{KeyID: "k", Result: Denied, Items: append(hostileItems, Item{In: 1, Out: 2, KeyID: "l"})}, sample())
	for i := seg.starts[2]; i < seg.starts[3]; i++ {
		for bit := range 8 {
			seg.bytes[i] ^= 1 << bit
			if _, found := scanned(t, seg.bytes); len(found) == 0 {
				t.Errorf("bit %d of byte %d is not found", bit, i)
			}
			seg.bytes[i] ^= 1 << bit
		}
	}
}

// A long line that was cut off anywhere is a torn tail.
func TestEachCutPointOfALongLineIsATornTail(t *testing.T) {
	for name, r := range map[string]*Record{"small batch": manyOf(20), "hostile": {Result: Denied, Items: hostileItems}, "longest": longest()} {
		seg := buildOf(sample(), r)
		start := seg.starts[2]
		step := 1
		if seg.end-start > shortLine {
			step = (seg.end - start) / 61
		}
		for cut := start + 1; cut < seg.end; cut += step {
			b := bytes.Clone(seg.bytes)
			clear(b[cut:])
			if s, found := scanned(t, b); len(found) > 0 || s.end != int64(start) || s.torn != int64(cut-start) {
				t.Fatalf("%s: cut at %d: end %d, torn %d, want %d and %d; %v", name, cut, s.end, s.torn, start, cut-start, found)
			}
		}
		b := bytes.Clone(seg.bytes)
		clear(b[seg.end-1:])
		if s, found := scanned(t, b); len(found) > 0 || s.end != int64(start) {
			t.Errorf("%s: without its newline: end %d, want %d; %v", name, s.end, start, found)
		}
	}
}

// Sectors of a long line that did not reach the disk are a torn tail if its write was the last, and damage if not.
func TestLostSectorsOfALongLine(t *testing.T) {
	seg := buildGroups([]*Record{sample(), sample()}, []*Record{sample(), longestOf(60), manyOf(300), sample()}, []*Record{sample()})
	last := buildGroups([]*Record{sample(), sample()}, []*Record{sample(), longestOf(60), manyOf(300), sample()})
	first := (seg.starts[4] + sectorBytes - 1) / sectorBytes * sectorBytes
	cases := 0
	for from := first; from < seg.starts[6]; from += sectorBytes {
		for _, sectors := range []int{1, 5} {
			to := from + sectors*sectorBytes
			if to > last.end {
				continue
			}
			cases++
			b := bytes.Clone(last.bytes)
			clear(b[from:to])
			clear(b[first+sectorBytes : first+2*sectorBytes]) // and a second hole in the same line
			if s, found := scanned(t, b); len(found) > 0 || s.torn == 0 || s.end < int64(last.starts[4]) {
				t.Errorf("%d sectors at %d lost from the last write: end %d, torn %d, %v", sectors, from, s.end, s.torn, found)
			}
			b = bytes.Clone(seg.bytes)
			clear(b[from:to])
			if _, found := scanned(t, b); len(found) == 0 {
				t.Errorf("%d sectors at %d lost from what was durable: not found", sectors, from)
			}
		}
	}
	if cases < 50 {
		t.Fatalf("only %d cases", cases)
	}
}

func TestOpenCutsATornLongLine(t *testing.T) {
	seg := buildOf(sample(), longest())
	for _, share := range []float64{0.01, 0.5, 0.99} {
		cfg := longConfig(t)
		var out bytes.Buffer
		cfg.Log = logTo(&out)
		b := make([]byte, minSegmentBytes)
		cut := seg.starts[2] + int(share*float64(seg.end-seg.starts[2]))
		copy(b, seg.bytes[:cut])
		path := filepath.Join(cfg.Dir, segmentName(1))
		check(t, os.WriteFile(path, b, 0o600))
		r, err := Verify(cfg.Dir)
		if err != nil || !r.OK() || r.Unfinished != int64(cut-seg.starts[2]) || r.Records != 1 {
			t.Errorf("%v\n%s", err, r)
		}
		l := mustOpen(t, cfg)
		if !strings.Contains(out.String(), "was missing, its rest was cut") {
			t.Errorf("logged %q", &out)
		}
		if got := mustAppend(t, l, 1).Sequence; got != 2 {
			t.Errorf("went on with sequence %d", got)
		}
		mustClose(t, l)
		mustVerify(t, cfg.Dir, 2, 2)
		after, err := os.ReadFile(path)
		check(t, err)
		if rest := bytes.Trim(after[l.off:], "\x00"); len(rest) > 0 {
			t.Errorf("%d bytes were left behind the end", len(rest))
		}
	}
}

// The chain goes on from short lines to long ones and from segment to segment, and no line passes its segment's end.
func TestMixedLines(t *testing.T) {
	for _, d := range []Durability{Strict, Relaxed} {
		cfg := longConfig(t)
		cfg.Durability = d
		records := mixed(60)
		var last Receipt
		items := 0
		for part := range slices.Chunk(records, 20) {
			l := mustOpen(t, cfg)
			for _, r := range part {
				var err error
				if last, err = l.Append(r); err != nil {
					t.Fatal(err)
				}
				items += len(r.Items)
			}
			mustClose(t, l)
		}
		report := mustVerify(t, cfg.Dir, 60, 60)
		if report.LastHash != last.Hash || report.Items != uint64(items) || report.Segments < 4 ||
			!strings.Contains(report.String(), "items:    ") {
			t.Errorf("want %d items, got\n%s", items, report)
		}
		refs, err := listSegments(cfg.Dir)
		check(t, err)
		for _, ref := range refs {
			info, err := os.Stat(ref.path)
			check(t, err)
			if info.Size() != minSegmentBytes {
				t.Errorf("%s has %d bytes", ref.name(), info.Size())
			}
		}
		// What happened to one item of a batch cannot be changed unseen.
		for _, change := range [][2]string{{"[32,262],[32,262]", "[32,262],[33,262]"}, {"[32,262],[32,262]", "[32,262]"}} {
			changed := false
			rewrite(t, refs[1], func(lines [][]byte) [][]byte {
				for i, line := range lines {
					if !changed && bytes.Contains(line, []byte(change[0])) {
						lines[i], changed = restamp(bytes.Replace(line, []byte(change[0]), []byte(change[1]), 1)), true
					}
				}
				return lines
			})
			r, err := Verify(cfg.Dir)
			check(t, err)
			if !changed || r.OK() {
				t.Errorf("an item was changed (%v), the report says\n%s", changed, r)
			}
		}
	}
}

// A write that fails inside a long line latches; what is left of the line is cut when the log is opened again.
func TestDiskFullInALongLine(t *testing.T) {
	full := error(syscall.ENOSPC)
	for _, durability := range []Durability{Strict, Relaxed} {
		d := newFaulty()
		cfg := longConfig(t)
		cfg.storage, cfg.Durability = d, durability
		l := mustOpen(t, cfg)
		awaitDurable(l, mustAppend(t, l, 3).Sequence)
		d.writeErr.Store(&full)
		if _, err := l.Append(longest()); durability == Strict && (fault.Of(err) != fault.AuditUnavailable || !errors.Is(err, full)) {
			t.Fatalf("Append: %v", err)
		}
		awaitFailure(l)
		if s := l.Status(); !s.Latched || s.Durable != 3 {
			t.Errorf("status %+v", s)
		}
		if err := l.Close(); !errors.Is(err, full) {
			t.Errorf("Close: %v", err)
		}
		if r, err := Verify(cfg.Dir); err != nil || !r.OK() || r.Unfinished < int64(maxLine/3) {
			t.Errorf("%v\n%s", err, r)
		}
		cfg.storage = nil
		l = mustOpen(t, cfg)
		if r, err := l.Append(longest()); err != nil || r.Sequence != 4 {
			t.Errorf("went on with %v, %v", r, err)
		}
		mustClose(t, l)
		mustVerify(t, cfg.Dir, 4, 4)
	}
}

// On a full disk no ordinary line, however long, takes anything from the reserve; a short one still goes where a long one
// does not. An administrative one of any length fits into half a segment.
func TestReserveIsKeptFromLongLines(t *testing.T) {
	d := newFaulty()
	cfg := longConfig(t)
	cfg.storage, cfg.retry, cfg.ReserveBytes = d, time.Millisecond, minSegmentBytes/2
	l := mustOpen(t, cfg)
	awaitSpare(l)
	d.full.Store(true)
	left := func() int64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.spare != nil {
			return cfg.ReserveBytes // it is not the last segment yet
		}
		return l.seg.size - l.off
	}
	accepted, refused := uint64(0), map[int]int{}
	for i := 0; refused[0] < 3; i++ {
		items := []int{1000, 0, 10, 300, 0, 100}[i%6]
		r := sample()
		if items > 0 {
			r = longestOf(items)
			r.Policies = "" // lengths that leave room for a short line where a long one is refused
		}
		_, err := l.Append(r)
		switch {
		case err == nil:
			accepted++
			if refused[items] > 0 {
				t.Errorf("%d items: refused first and then accepted", items)
			}
		case fault.Of(err) != fault.AuditUnavailable:
			t.Fatal(err)
		default:
			refused[items]++
		}
		if n := left(); n < cfg.ReserveBytes {
			t.Fatalf("%d bytes of a reserve of %d are left", n, cfg.ReserveBytes)
		}
	}
	if accepted < 5 || refused[1000] <= refused[0] {
		t.Errorf("%d accepted, refused %v", accepted, refused)
	}
	if s := l.Status(); s.Latched || !s.SpareMissing || s.BytesLeft > shortLine+chainOverhead {
		t.Errorf("status %+v", s)
	}
	r := longest()
	r.Administrative = true
	if _, err := l.Append(r); err != nil {
		t.Fatalf("the longest administrative record: %v", err)
	}
	if _, err := l.Append(r); fault.Of(err) != fault.AuditUnavailable {
		t.Fatalf("a second one: %v", err)
	}
	d.full.Store(false)
	awaitSpare(l)
	for range 5 {
		if _, err := l.Append(longest()); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, l)
	mustVerify(t, cfg.Dir, accepted+6, accepted+6)
}

// Long lines wait in a bounded queue as short ones do.
func TestQueueOfLongLinesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty()
		cfg := longConfig(t)
		cfg.SegmentBytes, cfg.storage, cfg.Durability = 16<<20, d, Relaxed
		l := mustOpen(t, cfg)
		awaitSpare(l)
		slow := make(chan struct{})
		hook := func() { <-slow }
		d.beforeSync.Store(&hook)
		mustAppend(t, l, 1)
		<-time.After(time.Second) // the writer now waits for the disk
		const appenders, each = 10, 4
		var all sync.WaitGroup
		for range appenders {
			all.Go(func() {
				for range each {
					if _, err := l.Append(longest()); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		synctest.Wait()
		if s := l.Status(); s.BytesQueued < maxQueued || s.BytesQueued > maxQueued+maxLine {
			t.Errorf("with the disk stuck: %+v", s)
		}
		close(slow)
		all.Wait()
		mustClose(t, l)
		mustVerify(t, cfg.Dir, 1+appenders*each, 1+appenders*each)
	})
}
