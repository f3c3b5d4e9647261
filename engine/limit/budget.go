package limit

import (
	"time"

	"cryptoserve/engine/fault"
)

const (
	// parts is how finely a window is told: what was spent within a part of it becomes free together.
	parts = 16
	// maxSpends is how many groups of spends are kept. It takes windows that grew to reach it.
	maxSpends = 2 * parts
)

// Allowance is how much may be spent in a window. Zero Records or Bytes means that one is not bounded; the zero Allowance is
// no limit.
type Allowance struct {
	Records int64
	Bytes   int64
	Window  time.Duration
}

// Validate returns fault.Malformed for a negative number and for a bound without a window.
func (a Allowance) Validate() error {
	if a.valid() {
		return nil
	}
	return fault.New(fault.Malformed, "limit.allowance",
		"records and bytes must not be negative, and a bound needs a window above zero")
}

func (a Allowance) valid() bool {
	return a.Records >= 0 && a.Bytes >= 0 && a.Window >= 0 && (a.Window > 0 || !a.bounds())
}

func (a Allowance) bounds() bool { return a.Records > 0 || a.Bytes > 0 }

// Budget bounds records and bytes by key in a sliding window. Make it with NewBudget. Goroutines may share it.
//
// In any time as long as the window no more passes than the allowance, wherever that time begins: there is no edge. What was
// spent becomes free a window later, or up to a sixteenth of a window after that, because spends within a sixteenth are kept as
// one, with the time of the last.
type Budget[K comparable] struct {
	table table[K, spending, *spending]
}

// NewBudget returns a budget that remembers at most maxKeys keys, at least one; each takes up to about 1 KiB.
func NewBudget[K comparable](maxKeys int) *Budget[K] {
	return &Budget[K]{table: newTable[K, spending](maxKeys)}
}

// Spend takes records and bytes from the allowance of a key: both or, when one of them does not fit, neither. If it returns
// false, retry is when both will fit: at most a window, or Never if they exceed the allowance by themselves.
//
// A changed allowance applies to what was spent before it, too. A longer window cannot count what a shorter one has already
// let go, and nothing is counted while there is no limit. What is not bounded is counted along with what is. An allowance
// that Validate refuses and negative amounts are refused with Never. Spending nothing passes and leaves no trace.
func (b *Budget[K]) Spend(key K, a Allowance, records, bytes int64, now time.Time) (retry time.Duration, ok bool) {
	if !a.valid() || records < 0 || bytes < 0 {
		return Never, false
	}
	if !a.bounds() || records == 0 && bytes == 0 {
		return 0, true
	}
	if !fits(a.Records, 0, records) || !fits(a.Bytes, 0, bytes) {
		return Never, false
	}
	s := b.table.lock(key)
	defer s.mu.Unlock()
	t, behind := s.clock.at(now)
	r := s.place(key, t)
	r.slide(a.Window, t)
	if wait := r.wait(a, records, bytes, t); wait > 0 {
		return min(later(wait, behind), a.Window), false
	}
	r.add(records, bytes, t)
	return 0, true
}

// Used returns what counts against a key in a window that ends now, for showing it. It is zero for a key that is not known. A
// key without a place of its own is shown what all of those have spent together, which is what it is held against.
func (b *Budget[K]) Used(key K, window time.Duration, now time.Time) (records, bytes int64) {
	s := b.table.lock(key)
	defer s.mu.Unlock()
	t, _ := s.clock.at(now)
	r := s.find(key)
	if r == nil {
		return 0, 0
	}
	for _, p := range r.spends {
		if t-p.last < int64(window) {
			records, bytes = add(records, p.records), add(bytes, p.bytes)
		}
	}
	return records, bytes
}

// fits reports whether an amount fits into a bound beside what is used. A bound of zero is none.
func fits(bound, used, amount int64) bool { return bound == 0 || amount <= bound-used }

// spending is what a key has spent, oldest first, and the window it was last held against.
type spending struct {
	spends []spend
	begun  int64 // when the last of spends began
	window time.Duration
}

// spend is what was spent within a part of a window; last is the time of the last of it.
type spend struct {
	last, records, bytes int64
}

// slide forgets what the window has left behind.
func (r *spending) slide(window time.Duration, t int64) {
	r.window = window
	gone := 0
	for gone < len(r.spends) && t-r.spends[gone].last >= int64(window) {
		gone++
	}
	if gone > 0 {
		r.spends = append(r.spends[:0], r.spends[gone:]...)
	}
}

// wait returns how long it takes until the amounts fit, each of which fits into an empty window. Zero if they do now.
func (r *spending) wait(a Allowance, records, bytes, t int64) time.Duration {
	var usedRecords, usedBytes int64
	// From the newest back: the first that does not fit beside those after it must have gone.
	for i := len(r.spends) - 1; i >= 0; i-- {
		p := &r.spends[i]
		usedRecords, usedBytes = add(usedRecords, p.records), add(usedBytes, p.bytes)
		if !fits(a.Records, usedRecords, records) || !fits(a.Bytes, usedBytes, bytes) {
			return a.Window - time.Duration(t-p.last)
		}
	}
	return 0
}

func (r *spending) add(records, bytes, t int64) {
	if n := len(r.spends); n > 0 && t-r.begun < int64(r.window/parts) {
		p := &r.spends[n-1]
		p.last, p.records, p.bytes = t, add(p.records, records), add(p.bytes, bytes)
		return
	}
	if len(r.spends) == maxSpends {
		// The two oldest become one that goes when the later of them would have gone.
		p := &r.spends[1]
		p.records, p.bytes = add(p.records, r.spends[0].records), add(p.bytes, r.spends[0].bytes)
		r.spends = append(r.spends[:0], r.spends[1:]...)
	}
	r.spends = append(r.spends, spend{last: t, records: records, bytes: bytes})
	r.begun = t
}

func (r *spending) due(t int64) int64 {
	if len(r.spends) == 0 {
		return t
	}
	return max(t, add(r.spends[len(r.spends)-1].last, int64(r.window)))
}

func (r *spending) inherit(from *spending, _ int64) {
	*r = *from
	r.spends = append([]spend(nil), from.spends...)
}
