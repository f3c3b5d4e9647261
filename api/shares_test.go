package api

import (
	"sync"
	"testing"
)

func TestShares(t *testing.T) {
	s := newShares(10)
	if !s.take("a", 0, 6) || s.take("a", 0, 5) || !s.take("a", 0, 4) || s.take("a", 0, 1) {
		t.Error("a subject gets its share and no more")
	}
	if !s.take("b", 0, 10) {
		t.Error("another subject has its own share")
	}
	if !s.take("c", 0, 99) || s.take("c", 0, 1) {
		t.Error("a single request may be larger than the share, and is then alone")
	}
	if s.take("c", 98, 1) || !s.take("c", 99, 1) {
		t.Error("one that grows may, when nothing else is held")
	}
	s.put("c", 1)
	s.put("a", 6)
	if !s.take("a", 0, 6) {
		t.Error("what was given back can be taken again")
	}
	s.put("a", 10)
	s.put("b", 10)
	s.put("c", 99)
	if len(s.held) != 0 {
		t.Errorf("%d subjects are remembered when nobody holds anything", len(s.held))
	}
	var all sync.WaitGroup
	var most sync.Mutex
	now, high := 0, 0
	for range 100 {
		all.Go(func() {
			if s.take("d", 0, 1) {
				most.Lock()
				now++
				high = max(high, now)
				now--
				most.Unlock()
				s.put("d", 1)
			}
		})
	}
	all.Wait()
	if high > 10 || len(s.held) != 0 {
		t.Errorf("%d held at once, %d subjects left", high, len(s.held))
	}
}
