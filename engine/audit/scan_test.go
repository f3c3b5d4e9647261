package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// built is a segment of node-1 made by hand, so that a test knows which records shared a sync.
type built struct {
	bytes  []byte
	starts []int // offset of each line, header first
	end    int   // of the last line
}

// build makes a first segment with groups of records: groupSizes[i] records share sync i.
func build(groupSizes ...int) built {
	groups := make([][]*Record, len(groupSizes))
	for i, n := range groupSizes {
		groups[i] = slices.Repeat([]*Record{sample()}, n)
	}
	return buildGroups(groups...)
}

// buildOf makes a first segment with records of which each had a sync of its own.
func buildOf(records ...*Record) built {
	return buildGroups(slices.Collect(slices.Chunk(records, 1))...)
}

func buildGroups(groups ...[]*Record) built {
	head := hexOf([HashBytes]byte{})
	b, _ := appendHash(appendHeaderStart(nil, "node-1", 1, &head), 0, &head)
	starts := []int{0}
	seq := uint64(0)
	for _, g := range groups {
		synced := seq
		for _, r := range g {
			seq++
			starts = append(starts, len(b))
			b = encodedAt(b, r, seq, synced, &head)
		}
	}
	end := len(b)
	return built{append(b, make([]byte, smallSegment-end%smallSegment)...), starts, end}
}

func scanned(t testing.TB, b []byte) (*scan, []Finding) {
	var found []Finding
	s := &scan{
		file: bytes.NewReader(b), size: int64(len(b)), ref: segmentRef{segmentName(1), 1}, at: place{next: 1}, newest: true,
		report: func(f Finding) { found = append(found, f) },
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	return s, found
}

// Every bit of a closed log counts, in its last line and in the zeros behind it too.
func TestEachFlippedBitIsFound(t *testing.T) {
	seg := build(1, 1, 2, 1)
	if s, found := scanned(t, seg.bytes); len(found) > 0 || s.records != 5 || s.end != int64(seg.end) || s.torn != 0 {
		t.Fatalf("as built: %d records, end %d, torn %d, %v", s.records, s.end, s.torn, found)
	}
	for i := range seg.bytes {
		for bit := range 8 {
			if i > seg.end+2*sectorBytes && bit != i%8 {
				continue // far in the zeros one bit a byte is enough
			}
			seg.bytes[i] ^= 1 << bit
			if _, found := scanned(t, seg.bytes); len(found) == 0 {
				t.Errorf("bit %d of byte %d (end of the lines: %d) is not found", bit, i, seg.end)
			}
			seg.bytes[i] ^= 1 << bit
		}
	}
}

// A write that was cut off anywhere is told from damage, and the log goes on.
func TestEachCutPointIsATornTail(t *testing.T) {
	seg := build(1, 1, 3)
	for cut := seg.starts[0]; cut <= seg.end; cut++ {
		b := bytes.Clone(seg.bytes)
		clear(b[cut:])
		start := 0
		for _, s := range append(seg.starts, seg.end) {
			if s <= cut {
				start = s
			}
		}
		s, found := scanned(t, b)
		if len(found) > 0 || s.end != int64(start) || s.torn != int64(cut-start) {
			t.Fatalf("cut at %d: end %d, torn %d, want %d and %d; %v", cut, s.end, s.torn, start, cut-start, found)
		}
	}
}

func TestOpenCutsATornTail(t *testing.T) {
	seg := build(1, 1, 3)
	lastTwo := seg.starts[len(seg.starts)-2]
	for cut := lastTwo; cut < seg.end; cut += 29 {
		cfg := smallConfig(t)
		var out bytes.Buffer
		cfg.Log = logTo(&out)
		b := bytes.Clone(seg.bytes)
		clear(b[cut:])
		path := filepath.Join(cfg.Dir, segmentName(1))
		check(t, os.WriteFile(path, b, 0o600))
		l := mustOpen(t, cfg)
		at := l.Status().Sequence
		mustClose(t, l)
		cutFile, err := os.ReadFile(path)
		check(t, err)
		if rest := bytes.Trim(cutFile[l.off:], "\x00"); len(rest) > 0 {
			t.Fatalf("cut at %d: %q was left behind the end", cut, rest)
		}
		whole := cut == lastTwo || cut == seg.starts[len(seg.starts)-1]
		if warned := strings.Contains(out.String(), "was missing, its rest was cut"); warned == whole {
			t.Errorf("cut at %d: logged %q", cut, &out)
		}
		l = mustOpen(t, cfg)
		mustAppend(t, l, 1)
		mustClose(t, l)
		mustVerify(t, cfg.Dir, at+1, at+1)
	}
}

// Sectors of the last write that did not reach the disk are a torn tail; the same hole in what was durable is not.
func TestLostSectors(t *testing.T) {
	seg := build(6, 12)
	firstOfLast := seg.starts[7]
	torn, refused := 0, 0
	for from := 0; from < seg.end; from += sectorBytes {
		for _, sectors := range []int{1, 3} {
			b := bytes.Clone(seg.bytes)
			clear(b[from:min(from+sectors*sectorBytes, len(b))])
			s, found := scanned(t, b)
			if from >= firstOfLast {
				torn++
				if len(found) > 0 || s.torn == 0 && s.end == int64(seg.end) {
					t.Errorf("%d sectors at %d lost from the last write: torn %d, %v", sectors, from, s.torn, found)
				}
			} else {
				refused++
				if len(found) == 0 {
					t.Errorf("%d sectors at %d lost from what was durable: not found", sectors, from)
				}
			}
		}
	}
	if torn < 10 || refused < 10 {
		t.Fatalf("only %d and %d cases", torn, refused)
	}
	for _, hole := range [][2]int{{firstOfLast + 10, firstOfLast + 20}, {firstOfLast, firstOfLast + 100}, {seg.end - 30, seg.end - 1}} {
		b := bytes.Clone(seg.bytes)
		clear(b[hole[0]:hole[1]])
		if _, found := scanned(t, b); len(found) == 0 {
			t.Errorf("zeros from %d to %d are no sectors: not found", hole[0], hole[1])
		}
	}
}

// A line of the last write that is whole but wrong was changed: no cut-off write leaves that.
func TestOpenRefusesWhatWasChanged(t *testing.T) {
	seg := build(1, 1, 1)
	for i, start := range seg.starts {
		t.Run(fmt.Sprintf("line %d", i), func(t *testing.T) {
			cfg := smallConfig(t)
			b := bytes.Clone(seg.bytes)
			b[start+100] ^= 1
			path := filepath.Join(cfg.Dir, segmentName(1))
			check(t, os.WriteFile(path, b, 0o600))
			_, err := Open(cfg)
			if err == nil {
				t.Fatal("opened")
			}
			want := fmt.Sprintf("%s: offset %d (sequence %d)", path, start, max(i, 1))
			if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "cryptoserved audit verify "+cfg.Dir) {
				t.Errorf("got %q, want %q in it", err, want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// A crash between the naming of a segment and its first write leaves it empty.
func TestOpenWithAnEmptyNewestSegment(t *testing.T) {
	newLog := func(t *testing.T) (Config, uint64) {
		cfg := smallConfig(t)
		l := mustOpen(t, cfg)
		last := mustAppend(t, l, 40).Sequence
		mustClose(t, l)
		return cfg, last
	}
	empty := make([]byte, smallSegment)
	t.Run("continues", func(t *testing.T) {
		for _, begun := range []int{0, 1, 50, 200} {
			cfg, last := newLog(t)
			b := bytes.Clone(empty)
			s := build()
			copy(b, s.bytes[:begun])
			if begun > len(`{"v":1,"segment":"cryptoserve-audit","node":"node-1","first":`) {
				continue // its first number is another one: see below
			}
			check(t, os.WriteFile(filepath.Join(cfg.Dir, segmentName(last+1)), b, 0o600))
			mustAppend(t, mustOpen(t, cfg), 3)
			mustVerify(t, cfg.Dir, last+3, last+3)
		}
	})
	t.Run("header of another place", func(t *testing.T) {
		cfg, last := newLog(t)
		check(t, os.WriteFile(filepath.Join(cfg.Dir, segmentName(last+1)), append(build().bytes[:120:120], empty[120:]...), 0o600))
		if _, err := Open(cfg); err == nil {
			t.Error("opened")
		}
	})
	t.Run("gap", func(t *testing.T) {
		cfg, last := newLog(t)
		check(t, os.WriteFile(filepath.Join(cfg.Dir, segmentName(last+2)), empty, 0o600))
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "the records between are missing") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nothing before it", func(t *testing.T) {
		cfg := smallConfig(t)
		check(t, os.WriteFile(filepath.Join(cfg.Dir, segmentName(7)), empty, 0o600))
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "no header") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the first of all", func(t *testing.T) {
		cfg := smallConfig(t)
		check(t, os.WriteFile(filepath.Join(cfg.Dir, segmentName(1)), empty, 0o600))
		mustAppend(t, mustOpen(t, cfg), 1)
		mustVerify(t, cfg.Dir, 1, 1)
	})
}

// FuzzScan: whatever a segment holds, walking it ends, and what is accepted without a finding is lines in order, then a
// tail that is reported.
func FuzzScan(f *testing.F) {
	seg := build(2, 1)
	torn := bytes.Clone(seg.bytes)
	clear(torn[seg.end-40:])
	holed := bytes.Clone(build(1, 12).bytes)
	clear(holed[1024:1536])
	long := buildGroups([]*Record{sample()}, []*Record{manyOf(300), {Result: Denied, Items: hostileItems}, sample()})
	tornLong := bytes.Clone(long.bytes[:long.starts[3]+1000])
	clear(tornLong[long.starts[2]+2000:])
	holedLong := bytes.Clone(long.bytes[:long.end])
	clear(holedLong[1536:2560])
	seeds := [][]byte{
		seg.bytes[:seg.end], seg.bytes[:seg.end+600], torn[:seg.end], holed[:6000], make([]byte, 600), []byte("\n\n\x00\n"), nil,
		long.bytes[:long.end], tornLong, holedLong,
	}
	for _, b := range seeds[len(seeds)-3:] {
		if _, found := scanned(f, b); len(found) > 0 {
			f.Fatal(found)
		}
	}
	if len(seeds) != 10 {
		f.Fatalf("%d seeds", len(seeds))
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, found := scanned(t, b)
		if len(found) > 0 {
			return
		}
		if s.end+s.torn > int64(len(b)) || len(bytes.Trim(b[s.end+s.torn:], "\x00")) > 0 {
			t.Fatalf("end %d, torn %d of %d bytes: something behind it was not reported", s.end, s.torn, len(b))
		}
		if lines := bytes.Count(b[:s.end], []byte("\n")); s.end > 0 && uint64(lines) != s.records+1 {
			t.Fatalf("%d lines, %d records", lines, s.records)
		}
	})
}
