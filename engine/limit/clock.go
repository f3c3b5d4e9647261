package limit

import "time"

const (
	// leeway is how far behind a call may be and still be taken for one that raced with another.
	leeway = time.Second
	// longest is what one step forward counts at most, so that a clock that is set to some far year does not use up the
	// 292 years that fit into nanoseconds.
	longest = 365 * 24 * time.Hour
)

// clock turns the callers' times into nanoseconds that never go back. The zero clock begins at its first call.
type clock struct {
	seen  time.Time
	t     int64
	begun bool
}

// at returns the time of a call, and how far behind the clock the call is: at most leeway.
func (c *clock) at(now time.Time) (t int64, behind time.Duration) {
	if !c.begun {
		c.begun, c.seen = true, now
	}
	step := now.Sub(c.seen) // saturates
	switch {
	case step >= 0:
		c.t += int64(min(step, longest))
		c.seen = now
	case step >= -leeway:
		return c.t, -step
	default:
		c.seen = now
	}
	return c.t, 0
}
