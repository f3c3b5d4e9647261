package limit

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"cryptoserve/engine/fault"
)

// Never is the wait of a call that will not pass however long it waits: it asks for more than the whole limit, for less than
// nothing, or the limit is not valid.
const Never = time.Duration(math.MaxInt64)

// Rate is the size of a token bucket: it holds Burst tokens when full and gains PerSecond of them a second. In any time of d
// seconds at most Burst + d*PerSecond tokens are taken, d rounded up to a nanosecond. The zero Rate is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Validate returns fault.Malformed unless the rate is zero or both numbers are above zero and finite.
func (r Rate) Validate() error {
	if r == (Rate{}) || r.valid() {
		return nil
	}
	return fault.New(fault.Malformed, "limit.rate", "a rate needs a number per second and a burst, both above zero, or neither")
}

// valid is false for NaN too.
func (r Rate) valid() bool {
	return r.PerSecond > 0 && r.PerSecond <= math.MaxFloat64/2 && r.Burst > 0
}

// Buckets are token buckets by key. Make them with NewBuckets. Goroutines may share them.
type Buckets[K comparable] struct {
	table table[K, bucket, *bucket]
}

// NewBuckets returns buckets that remember at most maxKeys keys, at least one.
func NewBuckets[K comparable](maxKeys int) *Buckets[K] {
	return &Buckets[K]{table: newTable[K, bucket](maxKeys)}
}

// Allow takes n tokens from the bucket of a key, or none. If it returns false, retry is when there will be n. A bucket begins
// full. When the rate changes, the bucket keeps its tokens, as far as they fit, and gains at the new rate from now on: a larger
// burst is filled, not given. A call without a limit, or for no tokens, passes and leaves no trace. A rate that Validate
// refuses and a negative n are refused with Never.
func (b *Buckets[K]) Allow(key K, r Rate, n int, now time.Time) (retry time.Duration, ok bool) {
	if n < 0 {
		return Never, false
	}
	if r == (Rate{}) || n == 0 {
		return 0, true
	}
	if !r.valid() || n > r.Burst {
		return Never, false
	}
	s := b.table.lock(key)
	defer s.mu.Unlock()
	t, behind := s.clock.at(now)
	wait, ok := s.place(key, t).take(r, n, t)
	if ok {
		return 0, true
	}
	return later(wait, behind), false
}

// bucket is a limiter and the rate that it was last set to.
type bucket struct {
	limiter *rate.Limiter
	rate    Rate
}

// instant is a time of the shard's clock as the limiter takes it.
func instant(t int64) time.Time { return time.Unix(0, t) }

func (b *bucket) take(r Rate, n int, t int64) (time.Duration, bool) {
	now := instant(t)
	switch {
	case b.limiter == nil:
		b.limiter = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
	case b.rate != r:
		b.limiter.SetLimitAt(now, rate.Limit(r.PerSecond))
		b.limiter.SetBurstAt(now, r.Burst)
	}
	b.rate = r
	if b.limiter.AllowN(now, n) {
		return 0, true
	}
	return b.until(n, now), false
}

// until returns how long it takes until there are n tokens, rounded up.
func (b *bucket) until(n int, now time.Time) time.Duration {
	missing := float64(n) - b.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	wait := math.Ceil(missing / b.rate.PerSecond * float64(time.Second))
	if wait >= math.MaxInt64 {
		return Never
	}
	return time.Duration(wait)
}

func (b *bucket) due(t int64) int64 {
	if b.limiter == nil {
		return t
	}
	return add(t, int64(b.until(b.rate.Burst, instant(t))))
}

func (b *bucket) inherit(from *bucket, t int64) {
	if from.limiter == nil {
		return
	}
	now := instant(t)
	b.rate = from.rate
	b.limiter = rate.NewLimiter(rate.Limit(b.rate.PerSecond), b.rate.Burst)
	// Down to whole tokens: a limiter takes nothing else.
	left := min(max(int(math.Floor(from.limiter.TokensAt(now))), 0), b.rate.Burst)
	b.limiter.AllowN(now, b.rate.Burst-left)
}
