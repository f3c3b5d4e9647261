package limit

import "time"

// How Failures counts.
const (
	// TryEvery is the least time between two tries of a key.
	TryEvery = time.Second
	// FreeFailures is how many failures in a row change nothing. The wait after the next one, and after each that follows,
	// is twice the one before: 2 s after failure 5, 4 s after 6, and so on to MaxWait after 13 and more.
	FreeFailures = 4
	// MaxWait is the longest wait. It keeps a stranger who fails on purpose from shutting somebody out for longer.
	MaxWait = 5 * time.Minute
	// Forget is how long after a key's last try its failures are forgotten. It must be longer than MaxWait: otherwise waiting
	// would be the way round.
	Forget = 15 * time.Minute
)

// Failures delays those who fail, such as to sign in. Make them with NewFailures. Goroutines may share them.
//
// Somebody who always fails gets 14 tries in the first 14 minutes and 12 an hour from then on; the most he can get in the long
// run, by stopping before the waits grow and waiting to be forgotten, is about 42 an hour. Waits hit everybody who uses the
// same key, so a key should hold the address too and not the user's name alone.
type Failures[K comparable] struct {
	table table[K, tries, *tries]
}

// NewFailures returns a Failures that remembers at most maxKeys keys, at least one.
func NewFailures[K comparable](maxKeys int) *Failures[K] {
	return &Failures[K]{table: newTable[K, tries](maxKeys)}
}

// Check reports whether a key may try now, and if so reserves the try: of any number of calls at once one passes, and the next
// passes after the wait. If it returns false, retry is how long that is. The caller tells how the try ended with Failed or
// Succeeded; a try that ends in neither way, because something else broke, has cost its reservation and no more. A refused call
// does not lengthen the wait.
func (f *Failures[K]) Check(key K, now time.Time) (retry time.Duration, ok bool) {
	s := f.table.lock(key)
	defer s.mu.Unlock()
	t, behind := s.clock.at(now)
	r := s.place(key, t)
	r.forget(t)
	if wait := r.next() - t; wait > 0 {
		return later(time.Duration(wait), behind), false
	}
	r.begun, r.last = true, t
	return 0, true
}

// Failed counts a failure. The wait begins anew, since the try may have taken long.
func (f *Failures[K]) Failed(key K, now time.Time) {
	s := f.table.lock(key)
	defer s.mu.Unlock()
	t, _ := s.clock.at(now)
	r := s.place(key, t)
	r.forget(t)
	r.begun, r.last = true, t
	r.failures = min(r.failures+1, maxFailures)
}

// Succeeded forgets the failures of a key; TryEvery holds on. Keys that share a record for want of a place do not share success:
// somebody who can sign in would clear the failures of all the others.
func (f *Failures[K]) Succeeded(key K) {
	s := f.table.lock(key)
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; ok {
		e.value.failures = 0
		s.sooner(e, s.clock.t)
	}
}

// maxFailures is as far as is counted: by then the wait is MaxWait.
const maxFailures = FreeFailures + 9

// tries is what is known of a key: failures in a row, and when it last tried or failed.
type tries struct {
	failures int
	last     int64
	begun    bool
}

// next returns the time of the next try.
func (r *tries) next() int64 {
	if !r.begun {
		return r.last
	}
	return add(r.last, int64(waitAfter(r.failures)))
}

// waitAfter returns the wait after so many failures in a row.
func waitAfter(failures int) time.Duration {
	return min(TryEvery<<min(max(failures-FreeFailures, 0), 9), MaxWait)
}

func (r *tries) forget(t int64) {
	if t-r.last >= int64(Forget) {
		r.failures = 0
	}
}

func (r *tries) due(t int64) int64 {
	switch {
	case !r.begun:
		return t
	case r.failures > 0:
		return max(t, add(r.last, int64(Forget)))
	default:
		return max(t, r.next())
	}
}

func (r *tries) inherit(from *tries, _ int64) { *r = *from }
