package cluster

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// logStore is the log with an authentication code on each entry, kept in its Extensions field, and a high-water mark.
// What it returns is what Raft stored, or an error that names the damaged entry. Goroutines may share it, as Raft demands.
type logStore struct {
	store raft.LogStore
	key   *macKey
	mark  *mark
	// markErr is why the mark could not be raised, nil when it could. The entries themselves are durable then, so Raft
	// must not be told that they are not.
	markErr atomic.Pointer[error]
	// end is the index of the newest entry, 0 before it is known.
	end   atomic.Uint64
	times slowest
}

// FirstIndex returns the index of the oldest entry, 0 when there is none.
func (s *logStore) FirstIndex() (_ uint64, err error) {
	defer guard("the log", &err)
	return s.store.FirstIndex()
}

// LastIndex returns the index of the newest entry, 0 when there is none.
func (s *logStore) LastIndex() (_ uint64, err error) {
	defer guard("the log", &err)
	return s.store.LastIndex()
}

// GetLog reads an entry and verifies its code.
func (s *logStore) GetLog(index uint64, l *raft.Log) (err error) {
	what := fmt.Sprintf("log entry %d", index)
	defer guard(what, &err)
	var got raft.Log
	if err := s.store.GetLog(index, &got); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) {
			return err
		}
		return damaged(what, err.Error())
	}
	code, err := s.key.entry(&got)
	if err != nil || got.Index != index || !hmac.Equal(code, got.Extensions) {
		return damaged(what, "its authentication code does not fit")
	}
	got.Extensions = nil
	*l = got
	return nil
}

// StoreLog stores one entry.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs stores entries durably, in one transaction. The caller's entries are left as they are. Entries that do not follow the
// newest one come after a snapshot that the leader sent in place of what is between: the older ones go then.
func (s *logStore) StoreLogs(logs []*raft.Log) (err error) {
	defer guard("the log", &err)
	if len(logs) == 0 {
		return nil
	}
	began := time.Now()
	defer func() { s.times.add(began, time.Since(began)) }()
	if err := s.closeGap(logs[0].Index); err != nil {
		return err
	}
	coded := make([]*raft.Log, len(logs))
	for i, l := range logs {
		c := *l
		c.AppendedAt = c.AppendedAt.Round(0).UTC() // what survives being stored, since the code covers it
		if c.AppendedAt.IsZero() {
			// Of the first entry. A zero field can be lost unseen: the decoder skips names that it does not know.
			c.AppendedAt = time.Unix(0, 0).UTC()
		}
		if c.Extensions, err = s.key.entry(&c); err != nil {
			return err
		}
		coded[i] = &c
	}
	if err := s.store.StoreLogs(coded); err != nil {
		return fmt.Errorf("store %d log entries from %d: %w", len(logs), logs[0].Index, err)
	}
	s.end.Store(logs[len(logs)-1].Index)
	if err := s.mark.set(logs[len(logs)-1].Index); err != nil {
		s.markErr.Store(&err)
		return nil
	}
	if s.markErr.Load() != nil {
		s.markErr.Store(nil)
	}
	return nil
}

// closeGap drops all entries when the next one does not follow them.
func (s *logStore) closeGap(next uint64) error {
	if s.end.Load()+1 == next {
		return nil
	}
	first, err := s.store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.store.LastIndex()
	if err != nil {
		return err
	}
	if last == 0 || next <= last+1 {
		return nil
	}
	return s.DeleteRange(first, last)
}

// DeleteRange drops the entries from lowest to highest. When these are the newest ones the mark goes down first.
func (s *logStore) DeleteRange(lowest, highest uint64) (err error) {
	defer guard("the log", &err)
	last, err := s.store.LastIndex()
	if err != nil {
		return err
	}
	if highest >= last && lowest > 0 {
		if err := s.mark.lower(lowest - 1); err != nil {
			return err
		}
		s.end.Store(0)
	}
	return s.store.DeleteRange(lowest, highest)
}

// verify reads the whole log and returns how many entries it holds. The entries must follow each other without a gap and
// reach the mark at least.
func (s *logStore) verify(reach uint64) (n int, err error) {
	first, err := s.FirstIndex()
	if err != nil {
		return 0, err
	}
	last, err := s.LastIndex()
	if err != nil {
		return 0, err
	}
	if first == 0 && last != 0 {
		return 0, damaged("log entry 0", "there is no such entry: the index of another was changed")
	}
	var l raft.Log
	for i := first; i <= last && first != 0; i++ {
		if err := s.GetLog(i, &l); err != nil {
			if errors.Is(err, raft.ErrLogNotFound) {
				err = damaged(fmt.Sprintf("log entry %d", i), "it is missing, although later ones exist")
			}
			return n, err
		}
		n++
	}
	if last < reach {
		return n, damaged(fmt.Sprintf("log entry %d", reach), fmt.Sprintf("it is missing: the log ends at %d", last))
	}
	return n, nil
}

// slowest keeps the longest of the recent times: of this span and of the one before.
type slowest struct {
	mu           sync.Mutex
	began        time.Time
	now, earlier time.Duration
}

// slowSpan is how long a span is.
const slowSpan = 10 * time.Second

func (s *slowest) add(at time.Time, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(at)
	s.now = max(s.now, took)
}

func (s *slowest) turn(at time.Time) {
	switch passed := at.Sub(s.began); {
	case passed >= 2*slowSpan:
		s.began, s.now, s.earlier = at, 0, 0
	case passed >= slowSpan:
		s.began, s.now, s.earlier = at, 0, s.now
	}
}

// longest returns the longest time of the last ten to twenty seconds.
func (s *slowest) longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(time.Now())
	return max(s.now, s.earlier)
}
