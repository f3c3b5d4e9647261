package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
)

// manyTenants is a state whose snapshot has several frames.
func manyTenants(t testing.TB, n int) *fsm {
	t.Helper()
	f := testFSM(t)
	applyAll(t, f.db, seed()...)
	for i := range n {
		c := newTenant(fmt.Sprintf("many-%06d", i))
		c.Tenant.Name += strings.Repeat("x", 1000)
		applyAll(t, f.db, c)
	}
	f.publish(effects{applied: uint64(n)})
	return f
}

func snapshotOf(t testing.TB, f *fsm) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeSnapshot(&b, f.frames, f.view.Load(), &raft.SnapshotMeta{Index: 9, Term: 1}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// split cuts a sealed stream into its head and its frames.
func split(t testing.TB, stream []byte) (head []byte, frames [][]byte) {
	t.Helper()
	head, rest := stream[:len(streamMagic)+streamIDBytes], stream[len(streamMagic)+streamIDBytes:]
	for len(rest) > 0 {
		n := 4 + binary.BigEndian.Uint32(rest)
		frames = append(frames, rest[:n])
		rest = rest[n:]
	}
	return head, frames
}

func join(head []byte, frames ...[]byte) []byte {
	return append(bytes.Clone(head), bytes.Join(frames, nil)...)
}

func TestSnapshotOfManyFrames(t *testing.T) {
	f := manyTenants(t, 300)
	roundTrip(t, f)
	_, frames := split(t, snapshotOf(t, f))
	if len(frames) < 6 {
		t.Fatalf("%d frames", len(frames))
	}
	for i, frame := range frames {
		if len(frame) > frameBytes+2048 {
			t.Errorf("frame %d has %d bytes", i, len(frame))
		}
	}
}

func TestSnapshotRefuses(t *testing.T) {
	f := manyTenants(t, 200)
	head, fr := split(t, snapshotOf(t, f))
	otherHead, other := split(t, snapshotOf(t, manyTenants(t, 200)))
	last := len(fr) - 1
	another := f.frames
	another.cluster = "another"
	for name, c := range map[string]struct {
		stream []byte
		key    frameKey
		text   string
	}{
		"frames swapped":         {join(head, fr[0], fr[2], fr[1], fr[3], fr[last]), f.frames, "frame 1 "},
		"frame repeated":         {join(head, fr[0], fr[1], fr[1], fr[2]), f.frames, "frame 2 "},
		"frame left out":         {join(head, append([][]byte{fr[0]}, fr[2:]...)...), f.frames, "frame 1 "},
		"last frame cut off":     {join(head, fr[:last]...), f.frames, fmt.Sprintf("frame %d ", last-1)},
		"only the header":        {join(head, fr[0]), f.frames, "frame 0 "},
		"frame after the last":   {join(head, append(bytesClone(fr), fr[last])...), f.frames, fmt.Sprintf("frame %d ", last)},
		"frame of another one":   {join(head, append([][]byte{fr[0], other[1]}, fr[2:]...)...), f.frames, "frame 1 "},
		"head of another one":    {join(otherHead, fr...), f.frames, "frame 0 "},
		"another cluster":        {join(head, fr...), another, "frame 0 "},
		"nothing":                {nil, f.frames, "beginning"},
		"something else":         {bytes.Repeat([]byte("x"), 100), f.frames, "does not begin as a snapshot"},
		"a later version":        {append([]byte("cssnap\x00\x02"), head[8:]...), f.frames, "version 2"},
		"an impossible length":   {join(head, []byte{0xff, 0xff, 0xff, 0xff}), f.frames, "impossible length"},
		"a length without frame": {join(head, []byte{0, 0, 1, 0}), f.frames, "frame 0 "},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readSnapshot(bytes.NewReader(c.stream), c.key)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatal(err)
			}
		})
	}
}

func bytesClone(frames [][]byte) [][]byte { return append([][]byte(nil), frames...) }

// TestSnapshotContentRefuses seals streams whose content no program writes.
func TestSnapshotContentRefuses(t *testing.T) {
	f := testFSM(t)
	marshal := func(v any) []byte {
		b, err := command.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	header := marshal(headerOf("cls", 3, &raft.SnapshotMeta{}))
	record := marshal(item{Table: 2, Record: marshal(newTenant("ten-a").Tenant)})
	for name, c := range map[string]struct {
		frames [][]byte
		text   string
	}{
		"header alone":        {[][]byte{header}, "ends after its header"},
		"header of another":   {[][]byte{marshal(headerOf("other", 3, &raft.SnapshotMeta{})), marshal(snapshotTrailer{})}, "another cluster"},
		"rubbish as header":   {[][]byte{{1}, {1}}, "malformed"},
		"unknown table":       {[][]byte{header, marshal(item{Table: 99, Record: []byte{0xa0}}), {1}}, "newer program"},
		"unknown field":       {[][]byte{header, marshal(item{Table: 2, Record: marshal(map[int]any{9: 1})}), {1}}, "tenants"},
		"rubbish as record":   {[][]byte{header, {0xff}, {1}}, "frame 1"},
		"rubbish as trailer":  {[][]byte{header, record, {1}}, "last frame"},
		"wrong count":         {[][]byte{header, record, marshal(snapshotTrailer{Count: 2})}, "not the 2 that were written"},
		"wrong digest":        {[][]byte{header, record, marshal(snapshotTrailer{Count: 1})}, "not the 1 that were written"},
		"trailer, no records": {[][]byte{header, marshal(snapshotTrailer{Count: 1})}, "not the 1 that were written"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w, err := newFrameWriter(&b, f.frames)
			if err != nil {
				t.Fatal(err)
			}
			for i, frame := range c.frames {
				if err := w.Write(frame, i == len(c.frames)-1); err != nil {
					t.Fatal(err)
				}
			}
			before := f.view.Load()
			if err := f.Restore(nopCloser{&b}); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatal(err)
			}
			if f.view.Load() != before {
				t.Fatal("a snapshot that failed replaced the state")
			}
		})
	}
}

// fullSink is a disk that gets full while a snapshot is written.
type fullSink struct {
	raft.SnapshotSink
	left      int
	cancelled bool
}

func (s *fullSink) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		return 0, errors.New("no space")
	}
	return len(p), nil
}

func (s *fullSink) Cancel() error { s.cancelled = true; return nil }

func TestSnapshotOnAFullDisk(t *testing.T) {
	f := manyTenants(t, 200)
	for _, left := range []int{0, 10, 100, 70000} {
		snap, err := f.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink := &fullSink{left: left}
		if err := snap.Persist(&snapshotSink{SnapshotSink: sink}); err == nil || !sink.cancelled {
			t.Fatalf("after %d bytes: %v, cancelled %v", left, err, sink.cancelled)
		}
	}
}

// TestSnapshotOfEveryTable: each table travels.
func TestSnapshotOfEveryTable(t *testing.T) {
	f := testFSM(t)
	f.db = world(t)
	f.publish(effects{applied: 3})
	restored := roundTrip(t, f)
	before, after := map[string]int{}, map[string]int{}
	eachRecord(t, f.db, func(table string, _ any, _ []byte) { before[table]++ })
	eachRecord(t, restored.db, func(table string, _ any, _ []byte) { after[table]++ })
	for _, table := range tables {
		if before[table.name] == 0 || after[table.name] != before[table.name] {
			t.Errorf("%s: %d records became %d", table.name, before[table.name], after[table.name])
		}
	}
	// The indexes are made again: what is found by them, is found after a restart.
	v := restored.view.Load()
	if v.Invitation(codeHash(1, 3)) == nil || v.DeviceByUserCode("CODE-0001") == nil || v.TenantNamed("name of ten-a") == nil ||
		v.ApplicationByCertificate([32]byte(fill(32, 1))) == nil || v.Tenant("ten-a").UserIdentified(issuerOne, subjectOne) == nil {
		t.Error("an index is not restored")
	}
}

func FuzzSnapshot(f *testing.F) {
	fsm := testFSM(f)
	fsm.db = world(f)
	fsm.publish(effects{applied: 3})
	good := snapshotOf(f, fsm)
	for _, seed := range [][]byte{nil, good, good[:len(good)-1], good[:30], []byte(streamMagic)} {
		f.Add(seed)
	}
	want := fsm.view.Load().Digest()
	f.Fuzz(func(t *testing.T, data []byte) {
		db, applied, err := readSnapshot(bytes.NewReader(data), fsm.frames)
		if err == nil && (applied != 3 || newView(db, applied).Digest() != want) {
			t.Fatal("a snapshot opened that was never written")
		}
	})
}

// FuzzItems reads plain records, behind the seal, so that the parser is reached.
func FuzzItems(f *testing.F) {
	fsm := testFSM(f)
	fsm.db = world(f)
	seeds := 0
	err := encodeItems(fsm.db.Txn(false), func(encoded []byte) error {
		f.Add(encoded)
		seeds++
		return nil
	})
	if err != nil || seeds < 2*len(tables)-1 {
		f.Fatalf("%d seeds, %v", seeds, err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		txn := newState().Txn(true)
		defer txn.Abort()
		n, err := readItems(txn, data, discardHash{})
		if err != nil {
			return
		}
		var out []byte
		count := uint64(0)
		if err := encodeItems(txn, func(encoded []byte) error {
			count++
			out = append(out, encoded...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if count > n || count == n && len(out) != len(data) {
			t.Fatalf("%d records came out of %d", count, n)
		}
	})
}

type discardHash struct{}

func (discardHash) Write(p []byte) (int, error) { return len(p), nil }
func (discardHash) Sum(b []byte) []byte         { return b }
func (discardHash) Reset()                      {}
func (discardHash) Size() int                   { return 0 }
func (discardHash) BlockSize() int              { return 1 }

func FuzzPages(f *testing.F) {
	cfg := testConfig(f, f.TempDir())
	cfg.Log = nil
	n := mustOpen(f, cfg)
	mustPropose(f, n, newCluster())
	mustClose(f, n)
	data := databaseBytes(f, cfg.Dir)
	f.Add(uint32(0), uint64(1))
	f.Add(uint32(4096*2+10), uint64(0xffff))
	f.Add(uint32(4096*3+20), uint64(1<<40))
	f.Fuzz(func(t *testing.T, at uint32, with uint64) {
		b := bytes.Clone(data)
		i := int(at) % (len(b) - 8)
		binary.NativeEndian.PutUint64(b[i:], binary.NativeEndian.Uint64(b[i:])^with)
		c := &pageCheck{file: bytes.NewReader(b), size: int64(len(b)), seen: map[uint64]bool{}}
		root, err := c.meta()
		if err == nil {
			err = c.buckets(root)
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}
