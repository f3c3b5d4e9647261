package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Keys of the stable store. Raft's own keys are LastVoteTerm and LastVoteCand; both live in keyVote.
var (
	keyTerm     = []byte("CurrentTerm")
	keyVoteTerm = []byte("LastVoteTerm")
	keyVoteCand = []byte("LastVoteCand")
	keyVote     = []byte("Vote")
)

// stableStore keeps Raft's term and vote, each with an authentication code.
//
// Raft writes the term of a vote and its candidate one after the other. A crash between the two would leave the new term
// with the old candidate, and this node could vote a second time in that term. So the term is only noted here and written
// together with the candidate, in one transaction (hashicorp/raft#661).
//
// Raft ends the process when a term cannot be saved, which a full disk is enough for. So a write that fails is tried again
// until it succeeds, and Raft waits: a node that cannot write its term must not take part in an election anyway. When the
// node is closed meanwhile, the goroutine of Raft that waits ends.
type stableStore struct {
	store  raft.StableStore
	key    *macKey
	closed <-chan struct{}
	retry  time.Duration         // between tries; 0 gives up after the first, before Raft runs
	stuck  atomic.Pointer[error] // why the last write failed, nil when it did not

	// voteTerm is the term of the vote that is being written. Only Raft's main goroutine votes.
	voteTerm uint64
}

// errKeyNotFound has the text by which Raft tells a missing key from a failure.
var errKeyNotFound = errors.New("not found")

// Set stores a value durably.
func (s *stableStore) Set(key, value []byte) error {
	if bytes.Equal(key, keyVoteCand) {
		return s.put(keyVote, append(encodeUint64(s.voteTerm), value...))
	}
	return s.put(key, value)
}

// SetUint64 stores a number durably, except the term of a vote, which waits for its candidate.
func (s *stableStore) SetUint64(key []byte, n uint64) error {
	if bytes.Equal(key, keyVoteTerm) {
		s.voteTerm = n
		return nil
	}
	return s.put(key, encodeUint64(n))
}

// Get returns a value.
func (s *stableStore) Get(key []byte) ([]byte, error) {
	if bytes.Equal(key, keyVoteCand) {
		vote, err := s.get(keyVote)
		if err != nil {
			return nil, err
		}
		return vote[8:], nil
	}
	return s.get(key)
}

// GetUint64 returns a number.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	if bytes.Equal(key, keyVoteTerm) {
		key = keyVote
	}
	b, err := s.get(key)
	if err != nil {
		return 0, err
	}
	return decodeUint64(b[:8]), nil
}

func (s *stableStore) get(key []byte) (_ []byte, err error) {
	what := fmt.Sprintf("the record %s of the Raft log", key)
	defer guard(what, &err)
	b, err := s.store.Get(key)
	if err != nil {
		if err.Error() == errKeyNotFound.Error() {
			return nil, errKeyNotFound
		}
		return nil, damaged(what, err.Error())
	}
	value, ok := s.key.open("stable/"+string(key), b)
	if !ok || len(value) < 8 {
		return nil, damaged(what, "its authentication code does not fit")
	}
	return value, nil
}

// verify reports whether term and vote are there, as they are from the creation of the log on.
func (s *stableStore) verify() error {
	for _, key := range [][]byte{keyTerm, keyVote} {
		if _, err := s.get(key); errors.Is(err, errKeyNotFound) {
			return damaged(fmt.Sprintf("the record %s of the Raft log", key), "it is missing")
		} else if err != nil {
			return err
		}
	}
	return nil
}

// put stores value || code and does not return before that is durable.
func (s *stableStore) put(key, value []byte) error {
	coded := s.key.append("stable/"+string(key), value)
	for {
		err := s.try(key, coded)
		if err == nil {
			if s.stuck.Load() != nil {
				s.stuck.Store(nil)
			}
			return nil
		}
		if s.retry == 0 {
			return err
		}
		s.stuck.Store(&err)
		select {
		case <-time.After(s.retry):
		case <-s.closed:
			// Neither may Raft go on with a term that is not durable, nor may it end the process.
			runtime.Goexit()
		}
	}
}

func (s *stableStore) try(key, coded []byte) (err error) {
	defer guard("the Raft log", &err)
	return s.store.Set(key, coded)
}

func encodeUint64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decodeUint64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
