package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
)

// snapshotsKept is how many snapshots stay on disk: the newest, and one that an operator can look at.
const snapshotsKept = 2

// snapshotVersion is what Raft calls the version of a snapshot's metadata under protocol version 3.
const snapshotVersion raft.SnapshotVersion = 1

// snapshotStore is raft.FileSnapshotStore without its forgiving sides. That one leaves out a snapshot whose meta.json it
// cannot read, and Raft goes on with an older snapshot when the newest does not load; either way acknowledged state would
// be gone without a word. Here the newest snapshot is the only one, and a damaged one is an error that names it.
type snapshotStore struct {
	files *raft.FileSnapshotStore
	dir   string
	key   frameKey

	mu  sync.Mutex
	err error // why a snapshot did not open: Raft drops the reason
}

// snapshotSink tells who writes the snapshot what Raft's metadata are, so that they can be sealed into it.
//
// What a leader sends goes through it too, and is read before it becomes a snapshot: the newest one is the only one, so that one
// which does not open would keep the node from starting again.
type snapshotSink struct {
	raft.SnapshotSink
	meta  raft.SnapshotMeta
	key   frameKey
	own   bool // this node writes it
	ended bool
	check *streamCheck
}

// Write writes a part, and has it checked when a leader sent it.
func (s *snapshotSink) Write(b []byte) (int, error) {
	if s.sent() {
		if err := s.check.write(b); err != nil {
			return 0, unusable(err)
		}
	}
	return s.SnapshotSink.Write(b)
}

// sent reports whether a leader sends what is written, and begins the check of it.
func (s *snapshotSink) sent() bool {
	if s.own || s.ended {
		return false
	}
	if s.check == nil {
		s.check = newStreamCheck(s.key, &s.meta)
	}
	return true
}

func unusable(err error) error {
	return fmt.Errorf("the snapshot that the leader sent is not used: %w", err)
}

// Close makes what was written a snapshot, unless a leader sent it and it is not whole.
func (s *snapshotSink) Close() error {
	if s.sent() {
		s.ended = true
		if err := s.check.end(); err != nil {
			return errors.Join(unusable(err), s.SnapshotSink.Cancel())
		}
	}
	return s.SnapshotSink.Close()
}

// Cancel drops what was written.
func (s *snapshotSink) Cancel() error {
	if s.check != nil && !s.ended {
		s.ended = true
		_ = s.check.end() // it is dropped in any case
	}
	return s.SnapshotSink.Cancel()
}

// streamCheck reads a sealed stream while it is being written.
type streamCheck struct {
	pipe   *io.PipeWriter
	result chan error
}

func newStreamCheck(key frameKey, meta *raft.SnapshotMeta) *streamCheck {
	r, w := io.Pipe()
	c := &streamCheck{w, make(chan error, 1)}
	go func() {
		err := checkStream(r, key, meta)
		r.CloseWithError(err) // ends writes too
		c.result <- err
	}()
	return c
}

func (c *streamCheck) write(b []byte) error {
	_, err := c.pipe.Write(b)
	return err
}

// end tells that there is no more, and returns what is wrong with the stream.
func (c *streamCheck) end() error {
	_ = c.pipe.Close() // returns no error
	return <-c.result
}

// checkStream verifies that a stream is a whole snapshot of this cluster with this metadata.
func checkStream(r io.Reader, key frameKey, meta *raft.SnapshotMeta) error {
	f, err := newFrameReader(r, key)
	if err != nil {
		return err
	}
	header, err := readHeader(f)
	if err != nil {
		return err
	}
	if header != headerOf(key.cluster, header.Applied, meta) {
		return errors.New("it is of another cluster, or of another place in the log")
	}
	digest := sha256.New()
	for {
		b, last, err := f.Next()
		if err != nil {
			return err
		}
		if !last {
			digest.Write(b)
			continue
		}
		var t snapshotTrailer
		if err := command.Unmarshal(b, &t); err != nil {
			return fmt.Errorf("its last frame: %w", err)
		}
		if !bytes.Equal(t.Digest[:], digest.Sum(nil)) {
			return errors.New("its records are not those that were written")
		}
		return nil
	}
}

// Create begins a new snapshot.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport,
) (raft.SnapshotSink, error) {
	sink, err := s.files.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	return &snapshotSink{SnapshotSink: sink, key: s.key, meta: raft.SnapshotMeta{
		Index: index, Term: term, Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

// List returns the newest snapshot, if there is one. A directory that is no readable snapshot is an error.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			continue // a snapshot that was never finished: the log still has what it would have held
		}
		if err := s.checkMeta(e.Name()); err != nil {
			return nil, err
		}
	}
	metas, err := s.files.List()
	if err != nil || len(metas) == 0 {
		return nil, err
	}
	return metas[:1], nil
}

// old reports whether there are snapshots besides the newest one.
func (s *snapshotStore) old() bool {
	metas, err := s.files.List()
	return err == nil && len(metas) > 1
}

// dropOld removes all snapshots but the newest one. Whoever reads from one goes on: a file lives until it is closed.
func (s *snapshotStore) dropOld() error {
	metas, err := s.files.List()
	if err != nil || len(metas) < 2 {
		return err
	}
	for _, m := range metas[1:] {
		if err := os.RemoveAll(filepath.Join(s.dir, m.ID)); err != nil {
			return err
		}
	}
	return syncDir(s.dir)
}

// dropUnfinished removes what a crash left of snapshots that were being written. Raft must not run yet.
func (s *snapshotStore) dropUnfinished() error {
	left, err := filepath.Glob(filepath.Join(s.dir, "*.tmp"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// checkMeta verifies that the meta.json of a snapshot can be read strictly and fits the name of its directory, which is
// term, index and time. The order of snapshots depends on nothing else.
func (s *snapshotStore) checkMeta(name string) error {
	b, err := os.ReadFile(filepath.Join(s.dir, name, "meta.json"))
	if err != nil {
		return damagedSnapshot(name, err.Error())
	}
	var m struct {
		raft.SnapshotMeta
		CRC []byte
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return damagedSnapshot(name, "its meta.json cannot be read: "+err.Error())
	}
	state, err := os.Stat(filepath.Join(s.dir, name, "state.bin"))
	if err != nil {
		return damagedSnapshot(name, err.Error())
	}
	place := strconv.FormatUint(m.Term, 10) + "-" + strconv.FormatUint(m.Index, 10) + "-"
	if m.ID != name || !strings.HasPrefix(name, place) || m.Version != snapshotVersion || m.Size != state.Size() {
		return damagedSnapshot(name, "its meta.json does not fit its name or its content")
	}
	return nil
}

// Open returns a snapshot after its header was found to agree with its meta.json.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, r, err := s.open(id)
	if err != nil {
		s.fail(id, err)
		return nil, nil, err
	}
	return meta, r, nil
}

func (s *snapshotStore) open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, file, err := s.files.Open(id)
	if err != nil {
		return nil, nil, err
	}
	var read bytes.Buffer
	header, err := peekHeader(io.TeeReader(file, &read), s.key)
	if err == nil && header != headerOf(s.key.cluster, header.Applied, meta) {
		err = errors.New("its meta.json does not agree with its sealed header")
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return meta, struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&read, file), file}, nil
}

func peekHeader(r io.Reader, key frameKey) (snapshotHeader, error) {
	f, err := newFrameReader(r, key)
	if err != nil {
		return snapshotHeader{}, err
	}
	return readHeader(f)
}

// fail notes why a snapshot could not be used.
func (s *snapshotStore) fail(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = damagedSnapshot(id, err.Error())
}

func (s *snapshotStore) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func damagedSnapshot(name, how string) error {
	return damaged(fmt.Sprintf("snapshot %s", name), how)
}
