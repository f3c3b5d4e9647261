package audit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cryptoserve/engine/fault"
)

// smallSegment is the size of segments in tests whose lines are short.
const smallSegment = 16 << 10

// smallConfig gives segments of 16 KiB with a reserve of 4 KiB.
func smallConfig(t *testing.T) Config {
	return Config{Dir: t.TempDir(), Node: "node-1", SegmentBytes: smallSegment, minSegment: smallSegment}
}

// longConfig gives the smallest segments that take any line, with a reserve of a quarter.
func longConfig(t *testing.T) Config {
	return Config{Dir: t.TempDir(), Node: "node-1", SegmentBytes: minSegmentBytes}
}

func mustOpen(t *testing.T, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func mustClose(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t *testing.T, l *Log, n int) (last Receipt) {
	t.Helper()
	for range n {
		var err error
		if last, err = l.Append(sample()); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func mustVerify(t *testing.T, dir string, records, last uint64) Report {
	t.Helper()
	r, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Records != records || r.Last != last {
		t.Fatalf("want %d records up to %d and no finding, got\n%s", records, last, r)
	}
	return r
}

// sample is a record as an encrypt call makes it: about 500 bytes in the log.
func sample() *Record {
	return &Record{
		Time: time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC), RequestID: "0123456789abcdef0123456789abcdef",
		Tenant: "ten_0123456789abcdef", Subject: "app_0123456789abcdef", Kind: "application", Source: "192.0.2.7:50000",
		Action: "crypto.encrypt", Context: "user-pii", KeyID: "key_user-pii_0123456789abcdef", Algorithm: "AES-256-GCM",
		Format: 4, In: 32, Out: 310, Result: Success, Latency: 85 * time.Microsecond,
	}
}

// awaitSpare waits until the spare is made.
func awaitSpare(l *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.spare == nil {
		l.changed.Wait()
	}
}

func TestRestartContinuesTheChain(t *testing.T) {
	cfg := smallConfig(t)
	var last Receipt
	for i := range 5 {
		l := mustOpen(t, cfg)
		last = mustAppend(t, l, 40)
		if want := uint64(40 * (i + 1)); last.Sequence != want || l.Status().Durable != want {
			t.Fatalf("run %d: receipt %v, status %+v", i, last, l.Status())
		}
		mustClose(t, l)
	}
	r := mustVerify(t, cfg.Dir, 200, 200)
	if r.LastHash != last.Hash || r.Node != "node-1" || r.First != 1 || r.Segments < 5 {
		t.Errorf("report %+v does not fit the receipt %v", r, last)
	}
}

func TestRestartWithoutClose(t *testing.T) {
	cfg := smallConfig(t)
	l := mustOpen(t, cfg)
	mustAppend(t, l, 50)
	// What a killed process leaves is what the files hold now.
	copied := smallConfig(t)
	if err := os.CopyFS(copied.Dir, os.DirFS(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, mustOpen(t, copied), 1)
	mustVerify(t, copied.Dir, 51, 51)
}

func TestConcurrentAppendersKeepTheChain(t *testing.T) {
	for _, d := range []Durability{Strict, Relaxed} {
		t.Run(fmt.Sprintf("durability %d", d), func(t *testing.T) {
			cfg := smallConfig(t)
			cfg.Durability = d
			l := mustOpen(t, cfg)
			const appenders, each = 16, 100
			seen := make([]map[uint64]string, appenders)
			var wg sync.WaitGroup
			for i := range appenders {
				seen[i] = map[uint64]string{}
				wg.Go(func() {
					for range each {
						r, err := l.Append(sample())
						if err != nil {
							t.Error(err)
							return
						}
						seen[i][r.Sequence] = hex.EncodeToString(r.Hash[:])
					}
				})
			}
			wg.Wait()
			mustClose(t, l)
			mustVerify(t, cfg.Dir, appenders*each, appenders*each)
			all := map[uint64]string{}
			for _, m := range seen {
				for seq, hash := range m {
					all[seq] = hash
				}
			}
			if len(all) != appenders*each {
				t.Fatalf("%d different sequence numbers were given out, want %d", len(all), appenders*each)
			}
			content := string(readAll(t, cfg.Dir))
			for seq, hash := range all {
				if !strings.Contains(content, `"hash":"`+hash+`"`) {
					t.Errorf("record %d is not in the log with the hash of its receipt", seq)
				}
			}
		})
	}
}

func readAll(t *testing.T, dir string) (all []byte) {
	t.Helper()
	refs, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range refs {
		b, err := os.ReadFile(ref.path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// Invariant 3: a record that was answered for outlives a power cut.
func TestStrictAnswersOnlyAfterTheSync(t *testing.T) {
	d := newFaulty()
	cfg := smallConfig(t)
	cfg.storage = d
	l := mustOpen(t, cfg)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				r, err := l.Append(sample())
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Contains(d.surviving(), []byte(`"hash":"`+hex.EncodeToString(r.Hash[:])+"\"}\n")) {
					t.Errorf("record %d was answered for and is not durable", r.Sequence)
				}
			}
		})
	}
	wg.Wait()
}

func TestRelaxedSyncsWithin50ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty()
		cfg := smallConfig(t)
		cfg.storage, cfg.Durability, cfg.SegmentBytes = d, Relaxed, 1<<20
		l := mustOpen(t, cfg)
		defer mustClose(t, l)
		for i := range 20 {
			before := d.syncs.Load()
			start := time.Now()
			r := mustAppend(t, l, 3)
			if waited := time.Since(start); waited != 0 {
				t.Fatalf("Append waited for %v", waited)
			}
			synced := make(chan time.Duration, 1)
			hook := func() {
				select {
				case synced <- time.Since(start):
				default:
				}
			}
			d.beforeSync.Store(&hook)
			if after := <-synced; after > 50*time.Millisecond {
				t.Fatalf("synced after %v", after)
			}
			synctest.Wait()
			if s := l.Status(); s.Durable != r.Sequence || d.syncs.Load() != before+1 {
				t.Fatalf("round %d: %d syncs for one group, status %+v", i, d.syncs.Load()-before, s)
			}
		}
	})
}

func TestCloseKeepsWhatWasHandedOver(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Durability = Relaxed
	l := mustOpen(t, cfg)
	mustAppend(t, l, 300)
	mustClose(t, l)
	mustVerify(t, cfg.Dir, 300, 300)
	if _, err := l.Append(sample()); fault.Of(err) != fault.AuditUnavailable {
		t.Errorf("Append after Close: %v", err)
	}
	mustClose(t, l)
}

func TestRefusedRecords(t *testing.T) {
	l := mustOpen(t, smallConfig(t))
	for name, r := range map[string]*Record{
		"no result":      {Action: "a"},
		"unknown result": {Action: "a", Result: Started + 1},
		"year 10000":     {Result: Success, Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"year -1":        {Result: Success, Time: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := l.Append(r); fault.Of(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, err := l.Append(&Record{Result: Success}); err != nil || r.Sequence != 1 {
		t.Errorf("a record without a time: %v, %v", r, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"no folder":         {Node: "n"},
		"no node":           {Dir: t.TempDir()},
		"node with a quote": {Dir: t.TempDir(), Node: `n"`},
		"long node":         {Dir: t.TempDir(), Node: strings.Repeat("n", 65)},
		"small segments":    {Dir: t.TempDir(), Node: "n", SegmentBytes: minSegmentBytes - 1},
		"large reserve":     {Dir: t.TempDir(), Node: "n", SegmentBytes: 1 << 20, ReserveBytes: 1<<19 + 1},
		"negative reserve":  {Dir: t.TempDir(), Node: "n", ReserveBytes: -1},
		"durability":        {Dir: t.TempDir(), Node: "n", Durability: 9},
	} {
		if l, err := Open(c); fault.Of(err) != fault.AuditUnavailable || l != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := Config{Dir: "d", Node: "n"}
	if err := c.validate(); err != nil || c.SegmentBytes != 64<<20 || c.ReserveBytes != 1<<20 || c.Durability != Strict {
		t.Errorf("defaults: %+v, %v", c, err)
	}
}

func TestFolderOfAnotherNode(t *testing.T) {
	cfg := smallConfig(t)
	mustClose(t, mustOpen(t, cfg))
	cfg.Node = "node-2"
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "belongs to node node-1, this is node node-2") {
		t.Errorf("got %v", err)
	}
}

func TestSpareOfAnEarlierRun(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, path string)
	}{
		{"kept", func(*testing.T, string) {}},
		{"other size", func(t *testing.T, path string) { check(t, os.Truncate(path, 100)) }},
		{"not zeros", func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			check(t, err)
			b[len(b)-1] = 'x'
			check(t, os.WriteFile(path, b, 0o600))
		}},
		{"gone", func(t *testing.T, path string) { check(t, os.Remove(path)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := smallConfig(t)
			l := mustOpen(t, cfg)
			awaitSpare(l)
			mustClose(t, l)
			tt.change(t, filepath.Join(cfg.Dir, spareName))
			l = mustOpen(t, cfg)
			awaitSpare(l)
			l.mu.Lock()
			if l.spare.size != smallSegment {
				t.Errorf("the spare has %d bytes", l.spare.size)
			}
			l.mu.Unlock()
			mustAppend(t, l, 100)
			mustClose(t, l)
			mustVerify(t, cfg.Dir, 100, 100)
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logTo returns a logger that writes to the buffer.
func logTo(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
