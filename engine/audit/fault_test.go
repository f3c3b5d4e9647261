package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cryptoserve/engine/fault"
)

// A failed write or sync refuses everything until the log is opened again, and no file is touched any more.
func TestDiskErrorLatches(t *testing.T) {
	broken := error(syscall.EIO)
	tests := []struct {
		name  string
		cause func(*faulty, *error)
		want  string
	}{
		{"write", func(d *faulty, e *error) { d.writeErr.Store(e) }, "write: input/output error"},
		{"sync", func(d *faulty, e *error) { d.syncErr.Store(e) }, "sync: input/output error"},
	}
	for _, tt := range tests {
		for _, durability := range []Durability{Strict, Relaxed} {
			t.Run(tt.name+map[Durability]string{Strict: " strict", Relaxed: " relaxed"}[durability], func(t *testing.T) {
				var out bytes.Buffer
				d := newFaulty()
				cfg := smallConfig(t)
				cfg.storage, cfg.Durability, cfg.Log = d, durability, logTo(&out)
				l := mustOpen(t, cfg)
				last := mustAppend(t, l, 5)
				awaitDurable(l, last.Sequence)
				awaitSpare(l)
				tt.cause(d, &broken)
				_, err := l.Append(sample())
				if durability == Strict && (fault.Of(err) != fault.AuditUnavailable || !strings.Contains(err.Error(), tt.want)) {
					t.Fatalf("Append: %v", err)
				}
				awaitFailure(l)
				// The disk works again: that must not matter.
				tt.cause(d, nil)
				writes, syncs := d.writes.Load(), d.syncs.Load()
				for _, admin := range []bool{false, true} {
					r := sample()
					r.Administrative = admin
					if _, err := l.Append(r); fault.Of(err) != fault.AuditUnavailable {
						t.Fatalf("Append after the failure: %v", err)
					}
				}
				if s := l.Status(); !s.Latched || !strings.Contains(s.Reason, tt.want) || s.Durable != last.Sequence {
					t.Errorf("status %+v", s)
				}
				if err := l.Close(); !errors.Is(err, syscall.EIO) {
					t.Errorf("Close: %v", err)
				}
				if d.writes.Load() != writes || d.syncs.Load() != syncs {
					t.Error("the disk was used after it had failed")
				}
				if strings.Count(out.String(), "audit log failed") != 1 {
					t.Errorf("logged: %s", &out)
				}

				cfg.storage = nil
				l = mustOpen(t, cfg)
				if got := mustAppend(t, l, 1).Sequence; got <= last.Sequence || got > last.Sequence+2 {
					t.Errorf("went on with sequence %d after %d", got, last.Sequence)
				}
				mustClose(t, l)
				if r, err := Verify(cfg.Dir); err != nil || !r.OK() {
					t.Errorf("%v\n%s", err, r)
				}
			})
		}
	}
}

func TestNewSegmentThatCannotBeNamedLatches(t *testing.T) {
	broken := error(syscall.EROFS)
	d := newFaulty()
	cfg := smallConfig(t)
	cfg.storage = d
	l := mustOpen(t, cfg)
	d.renameErr.Store(&broken)
	n, err := appendUntilRefused(l, false)
	if !errors.Is(err, syscall.EROFS) || !l.Status().Latched {
		t.Fatalf("after %d records: %v", n, err)
	}
	_ = l.Close()
	mustVerify(t, cfg.Dir, n, n)
}

func appendUntilRefused(l *Log, administrative bool) (n uint64, err error) {
	for ; ; n++ {
		r := sample()
		r.Administrative = administrative
		if _, err := l.Append(r); err != nil {
			return n, err
		}
	}
}

func awaitDurable(l *Log, seq uint64) { await(l, func() bool { return l.durable >= seq }) }

func awaitFailure(l *Log) { await(l, func() bool { return l.failure != nil }) }

func await(l *Log, done func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !done() {
		l.changed.Wait()
	}
}

// The whole life of a full disk, on a real small file system where the test may mount one, and with a disk that says it
// is full everywhere.
func TestFullDisk(t *testing.T) {
	t.Run("injected", func(t *testing.T) {
		d := newFaulty()
		cfg := smallConfig(t)
		cfg.storage = d
		fullDisk(t, cfg, func() { d.full.Store(true) }, func() { d.full.Store(false) })
	})
	t.Run("small file system", func(t *testing.T) {
		cfg := smallConfig(t)
		if err := mountSmall(t, cfg.Dir); err != nil {
			t.Logf("cannot mount (%v): only the injected full disk was tested", err)
			return
		}
		junk := filepath.Join(cfg.Dir, "junk")
		fullDisk(t, cfg, func() {
			err := os.WriteFile(junk, make([]byte, 1<<20), 0o600)
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the file system did not fill up: %v", err)
			}
		}, func() { check(t, os.Remove(junk)) })
	})
}

func fullDisk(t *testing.T, cfg Config, occupy, release func()) {
	var out bytes.Buffer
	cfg.Log, cfg.retry = logTo(&out), time.Millisecond
	l := mustOpen(t, cfg)
	defer func() { _ = l.Close() }()
	awaitSpare(l)
	occupy()
	ordinary, err := appendUntilRefused(l, false)
	if fault.Of(err) != fault.AuditUnavailable || !errors.As(err, new(*fault.Error)) {
		t.Fatalf("an ordinary record: %v", err)
	}
	if ordinary < 40 {
		t.Errorf("only %d records went into two segments", ordinary)
	}
	s := l.Status()
	if !s.SpareMissing || s.Latched || s.BytesLeft > 1<<10 || !strings.Contains(s.Reason, "free space under "+cfg.Dir) {
		t.Errorf("status %+v", s)
	}
	admin, err := appendUntilRefused(l, true)
	if fault.Of(err) != fault.AuditUnavailable || admin < 5 {
		t.Fatalf("%d administrative records went into the reserve, then: %v", admin, err)
	}
	release()
	awaitSpare(l)
	mustAppend(t, l, 10)
	if s := l.Status(); s.SpareMissing || s.Reason != "" {
		t.Errorf("status with space again %+v", s)
	}
	mustClose(t, l)
	mustVerify(t, cfg.Dir, ordinary+admin+10, ordinary+admin+10)
	if !strings.Contains(out.String(), "no spare audit segment") || !strings.Contains(out.String(), "made again") {
		t.Errorf("logged: %s", &out)
	}
}

func TestSpareIsTriedWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty()
		cfg := smallConfig(t)
		cfg.storage = d
		l := mustOpen(t, cfg)
		defer mustClose(t, l)
		awaitSpare(l)
		d.full.Store(true)
		if _, err := appendUntilRefused(l, false); fault.Of(err) != fault.AuditUnavailable {
			t.Fatal(err)
		}
		start := time.Now()
		<-time.After(10 * time.Minute)
		d.full.Store(false)
		awaitSpare(l)
		if waited := time.Since(start) - 10*time.Minute; waited > maxRetry {
			t.Errorf("service came back %v after the space did", waited)
		}
		mustAppend(t, l, 1)
	})
}

func TestNoSpaceForTheFirstSegment(t *testing.T) {
	d := newFaulty()
	d.full.Store(true)
	cfg := smallConfig(t)
	cfg.storage = d
	if _, err := Open(cfg); fault.Of(err) != fault.AuditUnavailable || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	d.full.Store(false)
	mustAppend(t, mustOpen(t, cfg), 1)
}

// When the disk is slower than the callers the queue stays bounded: Append blocks, and goes on afterwards.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty()
		cfg := smallConfig(t)
		cfg.SegmentBytes, cfg.storage, cfg.Durability = 16<<20, d, Relaxed
		l := mustOpen(t, cfg)
		awaitSpare(l)
		slow := make(chan struct{})
		hook := func() { <-slow }
		d.beforeSync.Store(&hook)
		const records = 12000
		var wg sync.WaitGroup
		var done int
		wg.Go(func() {
			for done = range records {
				if _, err := l.Append(sample()); err != nil {
					t.Error(err)
					return
				}
				if done == 0 {
					<-time.After(time.Second) // the writer now waits for the disk
				}
			}
		})
		<-time.After(time.Minute)
		synctest.Wait()
		if s := l.Status(); s.BytesQueued < maxQueued || s.BytesQueued > maxQueued+maxLine || s.Sequence == records {
			t.Errorf("with the disk stuck: %+v", s)
		}
		close(slow)
		wg.Wait()
		mustClose(t, l)
		mustVerify(t, cfg.Dir, records, records)
	})
}

// What waits behind a failed sync is refused without touching the disk.
func TestQueueBehindAFailureIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty()
		cfg := smallConfig(t)
		cfg.storage = d
		l := mustOpen(t, cfg)
		awaitSpare(l)
		reached, proceed := make(chan struct{}), make(chan struct{})
		hook := func() { reached <- struct{}{}; <-proceed }
		d.beforeSync.Store(&hook)
		var wg sync.WaitGroup
		appendOne := func() {
			if _, err := l.Append(sample()); !errors.Is(err, syscall.EIO) {
				t.Errorf("Append: %v", err)
			}
		}
		wg.Go(appendOne)
		<-reached
		for range 5 {
			wg.Go(appendOne)
		}
		synctest.Wait()
		writes := d.writes.Load()
		broken := error(syscall.EIO)
		d.syncErr.Store(&broken)
		d.beforeSync.Store(nil)
		close(proceed)
		wg.Wait()
		if d.writes.Load() != writes {
			t.Error("written after a failed sync")
		}
		_ = l.Close()
	})
}

// A new segment gets its name only when all before it is durable: else a power cut could tear a segment in the middle.
func TestSegmentsBeginInOrder(t *testing.T) {
	for _, durability := range []Durability{Strict, Relaxed} {
		d := newFaulty()
		cfg := smallConfig(t)
		cfg.storage, cfg.Durability = d, durability
		l := mustOpen(t, cfg)
		mustAppend(t, l, 200)
		mustClose(t, l)
		if n := d.early.Load(); n > 0 {
			t.Errorf("durability %d: %d times a segment was begun before the one before was durable", durability, n)
		}
	}
}
