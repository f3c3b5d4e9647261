package api

import "sync"

// shares bounds how much of something scarce one subject holds at once, so that no application can take all of it from the
// others. Goroutines share it.
type shares struct {
	most int64 // of one subject

	mu   sync.Mutex
	held map[string]int64
}

func newShares(most int64) *shares { return &shares{most: max(1, most), held: map[string]int64{}} }

// take takes n for a request of a subject that holds mine already, and reports whether it may have as many. It does not wait. A
// single request always may: what it asks for is bounded elsewhere.
func (s *shares) take(subject string, mine, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.held[subject]
	if before > mine && before+n > s.most {
		return false
	}
	s.held[subject] = before + n
	return true
}

// put gives n back.
func (s *shares) put(subject string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.held[subject] - n; left > 0 {
		s.held[subject] = left
	} else {
		delete(s.held, subject)
	}
}
