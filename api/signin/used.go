package signin

import (
	"sync"
	"time"

	"cryptoserve/engine/fault"
)

// usedStates remembers the states that were used, until they would have expired anyway. Goroutines share it.
type usedStates struct {
	limit int

	mu    sync.Mutex
	seen  map[string]struct{}
	order []usedState // oldest first
}

type usedState struct {
	state string
	until time.Time
}

// use takes a state that was not used before. When the memory is full of younger ones it refuses: to forget one of them
// would make it good again.
func (u *usedStates) use(state string, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.order) > 0 && !now.Before(u.order[0].until) {
		delete(u.seen, u.order[0].state)
		u.order = u.order[1:]
	}
	if _, again := u.seen[state]; again {
		return refused(CauseReplay)
	}
	if len(u.order) >= u.limit {
		return fault.Wrap(fault.RateLimited, op, "too many sign-ins; try again in some minutes", CauseFull)
	}
	u.seen[state] = struct{}{}
	// A clock of another node may be ahead by MaxSkew.
	u.order = append(u.order, usedState{state: state, until: now.Add(StateLifetime + MaxSkew)})
	return nil
}
