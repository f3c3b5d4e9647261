package limit

import (
	"container/heap"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"time"
)

const (
	maxShards = 256
	minPlaces = 128 // of a shard, when there is more than one
)

// record is what is kept for a key. The zero record is that of a key never seen.
type record[V any] interface {
	*V
	// due returns the time from which the record says what a zero one would, if it is not used again. Not before t.
	due(t int64) int64
	// inherit makes a zero record hold at t what another holds.
	inherit(from *V, t int64)
}

// table holds records by key, at most so many. Goroutines may share it.
type table[K comparable, V any, P record[V]] struct {
	seed   maphash.Seed
	shards []shard[K, V, P]
}

// shard is a part of the table with its own lock, which its users hold.
type shard[K comparable, V any, P record[V]] struct {
	mu      sync.Mutex
	clock   clock
	places  int
	entries map[K]*entry[K, V]
	queue   queue[K, V] // a heap: the entry that is due first comes first
	// shared is the record of all keys that found no place. It is zero when it is as good as new.
	shared  V
	sharing bool
	_       [64]byte // keeps the locks of neighbours off one cache line
}

// entry is a key with its record. Its due is no later than the record's: use of a record moves the true time on, and the
// entry learns of it when it comes to the head of the queue. So the queue costs nothing as long as there are places.
type entry[K comparable, V any] struct {
	key   K
	due   int64
	index int
	value V
}

// newTable returns a table of maxKeys places, one if maxKeys is below 1.
func newTable[K comparable, V any, P record[V]](maxKeys int) table[K, V, P] {
	maxKeys = max(maxKeys, 1)
	n := 1 << (bits.Len(uint(min(max(maxKeys/minPlaces, 1), maxShards))) - 1) // a power of two
	t := table[K, V, P]{seed: maphash.MakeSeed(), shards: make([]shard[K, V, P], n)}
	for i := range t.shards {
		t.shards[i].places = maxKeys / n
		t.shards[i].entries = make(map[K]*entry[K, V])
	}
	return t
}

// lock returns the shard of a key, locked.
func (t *table[K, V, P]) lock(key K) *shard[K, V, P] {
	s := &t.shards[0]
	if n := uint64(len(t.shards)); n > 1 {
		s = &t.shards[maphash.Comparable(t.seed, key)&(n-1)]
	}
	s.mu.Lock()
	return s
}

// len returns how many keys have a place.
func (t *table[K, V, P]) len() int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

// find returns the record that counts for a key without giving it a place: its own, the shared one, or nil.
func (s *shard[K, V, P]) find(key K) *V {
	if e, ok := s.entries[key]; ok {
		return &e.value
	}
	if s.sharing {
		return &s.shared
	}
	return nil
}

// place returns the record of a key: its own, or the shared one when there is no place for it.
func (s *shard[K, V, P]) place(key K, t int64) *V {
	if e, ok := s.entries[key]; ok {
		return &e.value
	}
	if len(s.entries) >= s.places && !s.drop(t) {
		s.sharing = true
		return &s.shared
	}
	e := &entry[K, V]{key: key, due: t}
	if s.sharing {
		if P(&s.shared).due(t) <= t {
			s.sharing, s.shared = false, *new(V)
		} else {
			P(&e.value).inherit(&s.shared, t)
		}
	}
	s.entries[key] = e
	heap.Push(&s.queue, e)
	return &e.value
}

// drop takes the place of a key that is as good as new. It returns false if there is none.
func (s *shard[K, V, P]) drop(t int64) bool {
	for {
		first := s.queue[0]
		if first.due > t {
			return false
		}
		if first.due = P(&first.value).due(t); first.due <= t {
			heap.Pop(&s.queue)
			delete(s.entries, first.key)
			return true
		}
		heap.Fix(&s.queue, 0)
	}
}

// sooner tells the queue that an entry's record became due sooner, which it would not notice.
func (s *shard[K, V, P]) sooner(e *entry[K, V], t int64) {
	e.due = P(&e.value).due(t)
	heap.Fix(&s.queue, e.index)
}

// queue is a heap.Interface.
type queue[K comparable, V any] []*entry[K, V]

func (q queue[K, V]) Len() int           { return len(q) }
func (q queue[K, V]) Less(i, j int) bool { return q[i].due < q[j].due }

func (q queue[K, V]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue[K, V]) Push(x any) {
	e := x.(*entry[K, V])
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *queue[K, V]) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}

// add returns a + b, both not negative, or the largest number if that is too large.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// later returns the wait of a caller who is behind the clock.
func later(wait, behind time.Duration) time.Duration {
	return time.Duration(add(int64(wait), int64(behind)))
}
