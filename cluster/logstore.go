package cluster

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
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

// StoreLogs stores entries durably, in one transaction. The caller's entries are left as they are.
func (s *logStore) StoreLogs(logs []*raft.Log) (err error) {
	defer guard("the log", &err)
	if len(logs) == 0 {
		return nil
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
	if err := s.mark.set(logs[len(logs)-1].Index); err != nil {
		s.markErr.Store(&err)
		return nil
	}
	if s.markErr.Load() != nil {
		s.markErr.Store(nil)
	}
	return nil
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
