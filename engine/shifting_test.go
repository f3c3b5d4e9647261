package engine_test

import (
	"sync/atomic"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
)

// shiftingLedger is the real ledger until its epoch has been read disableAfter times; from then on the application is
// disabled and the epoch is another.
type shiftingLedger struct {
	*ledger
	app          string
	epoch        atomic.Uint64
	looks        atomic.Int64
	disableAfter atomic.Int64 // 0 never disables
}

func (l *shiftingLedger) disabled() bool {
	after := l.disableAfter.Load()
	return after > 0 && l.looks.Load() > after
}

func (l *shiftingLedger) Epoch() uint64 {
	if l.disableAfter.Load() > 0 {
		l.looks.Add(1)
	}
	epoch := l.epoch.Load()
	if l.disabled() {
		epoch += 1 << 20
	}
	return epoch
}

func (l *shiftingLedger) View() engine.View { return shiftingView{l.ledger.View(), l} }

type shiftingView struct {
	engine.View
	l *shiftingLedger
}

func (v shiftingView) Application(id string) *directory.Application {
	app := v.View.Application(id)
	if app != nil && id == v.l.app && v.l.disabled() {
		copied := *app
		copied.Status = directory.Disabled
		return &copied
	}
	return app
}
