package audit

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSegmentBeginsWithoutADescriptorToSpare takes every descriptor of the process away, as a flood of connections would, and
// fills segments. The log may run out of segments then, but it must not latch.
func TestSegmentBeginsWithoutADescriptorToSpare(t *testing.T) {
	cfg := smallConfig(t)
	l := mustOpen(t, cfg)
	defer mustClose(t, l)
	mustAppend(t, l, 1)
	awaitSpare(l)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 0 // open descriptors go on working, new ones are refused
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, openErr := os.Open(cfg.Dir)
	var failure error
	for range 10_000 {
		if _, failure = l.Append(sample()); failure != nil {
			break
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if openErr == nil {
		t.Fatal("the descriptors were not taken away")
	}
	if failure == nil {
		t.Fatal("segments were made without descriptors")
	}
	if s := l.Status(); s.Latched {
		t.Fatalf("the log latched: %+v", s)
	}
	awaitSpare(l)
	mustAppend(t, l, 1)
}
