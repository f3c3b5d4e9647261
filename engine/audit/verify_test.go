package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A tamper is one way to change a log of four segments.
type tamper struct {
	name string
	do   func(t *testing.T, dir string, refs []segmentRef)
	want string // in the problem of a finding
	file int    // index of the segment it is found in
}

// rewrite replaces the lines of a segment; the file keeps its size.
func rewrite(t *testing.T, ref segmentRef, change func(lines [][]byte) [][]byte) {
	t.Helper()
	b, err := os.ReadFile(ref.path)
	check(t, err)
	size := len(b)
	b = bytes.TrimRight(b, "\x00")
	lines := slices.Collect(bytes.Lines(b))
	b = bytes.Join(change(lines), nil)
	if len(b) < size {
		b = append(b, make([]byte, size-len(b))...)
	}
	check(t, os.WriteFile(ref.path, b, 0o600))
}

// restamp gives a changed line the hash that fits it.
func restamp(line []byte) []byte {
	var head [hashHex]byte
	b, _ := appendHash(bytes.Clone(line[:bytes.LastIndex(line, []byte(lineHash))]), 0, &head)
	return b
}

var tampers = []tamper{
	{"byte changed", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { l[5] = bytes.Replace(l[5], []byte("app_0"), []byte("app_1"), 1); return l })
	}, "not the line that was written", 1},
	{"byte changed and hash made to fit", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte {
			l[5] = restamp(bytes.Replace(l[5], []byte("app_0"), []byte("app_1"), 1))
			return l
		})
	}, "does not continue the line before", 1},
	{"byte removed", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { l[5] = l[5][1:]; return l })
	}, "not the line that was written", 1},
	{"byte added", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { l[5] = append([]byte(" "), l[5]...); return l })
	}, "not the line that was written", 1},
	{"line removed", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { return slices.Delete(l, 5, 6) })
	}, "the records between are missing", 1},
	{"lines swapped", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { l[5], l[6] = l[6], l[5]; return l })
	}, "the records between are missing", 1},
	{"line repeated", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { return slices.Insert(l, 6, l[5]) })
	}, "copied, moved or brought in", 1},
	{"line made up and put in", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte {
			return slices.Insert(l, 6, restamp(bytes.Replace(l[6], []byte("app_0"), []byte("app_1"), 1)))
		})
	}, "copied, moved or brought in", 1},
	{"text put in", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { return slices.Insert(l, 6, []byte("hello\n")) })
	}, "not a line of this log", 1},
	{"zeros over a line", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { l[5] = make([]byte, len(l[5])); return l })
	}, "not a line of this log", 1},
	{"zeros over whole sectors", func(t *testing.T, _ string, refs []segmentRef) {
		b, err := os.ReadFile(refs[3].path)
		check(t, err)
		clear(b[1024:2048])
		check(t, os.WriteFile(refs[3].path, b, 0o600))
	}, "not a line of this log", 3},
	{"end of a middle segment cut off", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { return l[:len(l)-1] })
	}, "the records between are missing", 2},
	{"middle segment cut inside a line", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { n := len(l) - 1; l[n] = l[n][:100]; return l })
	}, "unfinished, in a segment that is not the newest", 1},
	{"middle segment emptied", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func([][]byte) [][]byte { return nil })
	}, "the segment is empty", 1},
	{"middle segment removed", func(t *testing.T, _ string, refs []segmentRef) {
		check(t, os.Remove(refs[1].path))
	}, "the records between are missing", 2},
	{"first segment removed", func(t *testing.T, _ string, refs []segmentRef) {
		check(t, os.Remove(refs[0].path))
	}, "the records between are missing", 1},
	{"segments swapped", func(t *testing.T, dir string, refs []segmentRef) {
		tmp := filepath.Join(dir, "x")
		check(t, os.Rename(refs[1].path, tmp))
		check(t, os.Rename(refs[2].path, refs[1].path))
		check(t, os.Rename(tmp, refs[2].path))
	}, "its file name says", 1},
	{"segment renamed", func(t *testing.T, dir string, refs []segmentRef) {
		check(t, os.Rename(refs[1].path, filepath.Join(dir, segmentName(refs[1].first+1))))
	}, "its file name says", 1},
	{"segment of another node", func(t *testing.T, _ string, refs []segmentRef) {
		other := smallConfig(t)
		other.Node = "node-2"
		l := mustOpen(t, other)
		mustAppend(t, l, 100)
		mustClose(t, l)
		b, err := os.ReadFile(filepath.Join(other.Dir, refs[1].name()))
		check(t, err)
		check(t, os.WriteFile(refs[1].path, b, 0o600))
	}, "the line belongs to node node-2", 1},
	{"header removed", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { return l[1:] })
	}, "does not begin with its header", 1},
	{"header in the middle", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[1], func(l [][]byte) [][]byte { return slices.Insert(l, 5, l[0]) })
	}, "a segment header inside a segment", 1},
	{"text behind the end", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[3], func(l [][]byte) [][]byte { return append(l, []byte("hello")) })
	}, "not a line of this log", 3},
	{"last line changed", func(t *testing.T, _ string, refs []segmentRef) {
		rewrite(t, refs[3], func(l [][]byte) [][]byte {
			n := len(l) - 1
			l[n] = bytes.Replace(l[n], []byte("app_0"), []byte("app_1"), 1)
			return l
		})
	}, "not the line that was written", 3},
	{"everything overwritten", func(t *testing.T, _ string, refs []segmentRef) {
		check(t, os.WriteFile(refs[1].path, bytes.Repeat([]byte("x\n\x00"), 5000), 0o600))
	}, "not a line of this log", 1},
}

func fourSegments(t *testing.T) (string, []segmentRef) {
	t.Helper()
	cfg := smallConfig(t)
	l := mustOpen(t, cfg)
	n := uint64(0)
	for {
		refs, err := listSegments(cfg.Dir)
		check(t, err)
		if len(refs) == 4 {
			n += 10
			mustAppend(t, l, 10)
			mustClose(t, l)
			mustVerify(t, cfg.Dir, n, n)
			return cfg.Dir, refs
		}
		mustAppend(t, l, 1)
		n++
	}
}

func TestVerifyFindsEachTamper(t *testing.T) {
	for _, tt := range tampers {
		t.Run(tt.name, func(t *testing.T) {
			dir, refs := fourSegments(t)
			tt.do(t, dir, refs)
			after, err := listSegments(dir)
			check(t, err)
			r, err := Verify(dir)
			check(t, err)
			// The segment that replaces a removed or renamed one keeps the place in the list of its file name.
			file := refs[tt.file].name()
			if tt.name == "segment renamed" {
				file = after[tt.file].name()
			}
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.File == file && strings.Contains(f.Problem, tt.want) }) {
				t.Errorf("want %q in %s, got\n%s", tt.want, file, r)
			}
			if r.OK() || !strings.Contains(r.String(), "NOT as written") {
				t.Errorf("the report says\n%s", r)
			}
		})
	}
}

// One change makes few findings, and the rest of the log is still walked.
func TestVerifyGoesOnAfterAFinding(t *testing.T) {
	dir, refs := fourSegments(t)
	before, err := Verify(dir)
	check(t, err)
	rewrite(t, refs[1], func(l [][]byte) [][]byte { l[5] = bytes.Replace(l[5], []byte("app_0"), []byte("app_1"), 1); return l })
	r, err := Verify(dir)
	check(t, err)
	if len(r.Findings) != 1 || r.Records != before.Records-1 || r.Last != before.Last || r.LastHash != before.LastHash {
		t.Errorf("got\n%s", r)
	}
	if f := r.Findings[0]; f.Sequence != refs[1].first+4 || f.Offset == 0 {
		t.Errorf("found at %+v, want sequence %d", f, refs[1].first+4)
	}
}

// A segment with damage all over is not walked to its end, and the one after it still is.
func TestVerifyStopsAfterManyFindings(t *testing.T) {
	seg := build(300)
	for i := 2; i < 300; i += 2 {
		seg.bytes[seg.starts[i]+100] ^= 1
	}
	s, found := scanned(t, seg.bytes)
	if len(found) != maxFindings+1 || !strings.Contains(found[maxFindings].Problem, "too much is wrong") || !s.at.unknown {
		t.Errorf("%d findings, the last: %v", len(found), found[len(found)-1])
	}
}

// What a chain cannot show is said in each report.
func TestVerifyDoesNotSeeACutEnd(t *testing.T) {
	dir, refs := fourSegments(t)
	rewrite(t, refs[3], func(l [][]byte) [][]byte { return l[:len(l)-1] })
	r, err := Verify(dir)
	check(t, err)
	if !r.OK() || !strings.Contains(r.String(), "cannot show records that were cut off at the end") {
		t.Errorf("got\n%s", r)
	}
}

func TestVerifyReportsAnUnfinishedEnd(t *testing.T) {
	dir, refs := fourSegments(t)
	cut := 0
	rewrite(t, refs[3], func(l [][]byte) [][]byte {
		n := len(l) - 1
		cut = len(l[n]) / 2
		l[n] = l[n][:cut]
		return l
	})
	r, err := Verify(dir)
	check(t, err)
	if !r.OK() || r.Unfinished != int64(cut) || r.UnfinishedFile != refs[3].name() || !strings.Contains(r.String(), "has not ended") {
		t.Errorf("got\n%s", r)
	}
}

func TestVerifyOfWhatIsNoLog(t *testing.T) {
	if _, err := Verify(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that does not exist was verified")
	}
	if _, err := Verify(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no segment") {
		t.Errorf("an empty folder: %v", err)
	}
}

// A log that is being written verifies.
func TestVerifyWhileTheLogIsWritten(t *testing.T) {
	for _, d := range []Durability{Strict, Relaxed} {
		cfg := smallConfig(t)
		cfg.Durability, cfg.SegmentBytes, cfg.minSegment = d, 1<<20, 0
		l := mustOpen(t, cfg)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := i; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					r := sample()
					if n%32 == 0 {
						r = manyOf(MaxItems)
					}
					if _, err := l.Append(r); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for last := uint64(0); last < 2000; {
			r, err := Verify(cfg.Dir)
			if err != nil || !r.OK() || r.Last < last {
				t.Errorf("%v\n%s", err, r)
				break
			}
			last = r.Last
		}
		close(stop)
		wg.Wait()
		mustClose(t, l)
	}
}
