package engine_test

import (
	"sync/atomic"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// edits says how the records that the engine sees differ from the ledger's. What is nil stays as it is.
type edits struct {
	tenant      func(*directory.Tenant)
	context     func(*directory.Context)
	application func(*directory.Application)
	user        func(*directory.User)
	session     func(*directory.Session)
	family      func(*directory.RefreshFamily)
	version     func(*keys.Version)
	object      func(*keys.Object)
	policies    func([]*directory.Policy) []*directory.Policy
	joins       func([]*directory.Join) []*directory.Join
}

// moment is when the edits come into force.
type moment string

const (
	early moment = "early" // before an operation looks at any record
	late  moment = "late"  // after its early look and before the one that follows the work
)

// shiftingLedger is the real ledger, but for edits that come into force at a moment, with another epoch. View is the only
// place where the engine has rights and key states from.
type shiftingLedger struct {
	engine.Ledger
	edits  atomic.Pointer[edits]
	unseen atomic.Int64 // the edits are in force when it is negative; each look at the epoch takes one
	moved  atomic.Uint64
}

// newShiftingWorld returns a world whose engine sees a shiftingLedger, without edits so far.
func newShiftingWorld(t *testing.T) (*world, *shiftingLedger) {
	t.Helper()
	l := &shiftingLedger{}
	w := newWorld(t, func(c *engine.Config) {
		l.Ledger = c.Ledger
		c.Ledger = l
	})
	return w, l
}

// shift lets the edits come into force at a moment of the next operation.
func (l *shiftingLedger) shift(e *edits, when moment) {
	if when == early {
		l.unseen.Store(-1)
		l.moved.Add(1)
	} else {
		l.unseen.Store(1)
	}
	l.edits.Store(e)
}

// restore takes the edits back.
func (l *shiftingLedger) restore() {
	l.edits.Store(nil)
	l.moved.Add(1)
}

func (l *shiftingLedger) Epoch() uint64 {
	if l.edits.Load() != nil && l.unseen.Add(-1) == -1 {
		l.moved.Add(1)
	}
	return l.Ledger.Epoch() + l.moved.Load()<<32
}

func (l *shiftingLedger) View() engine.View {
	if e := l.edits.Load(); e != nil && l.unseen.Load() < 0 {
		return shiftingView{l.Ledger.View(), e}
	}
	return l.Ledger.View()
}

type shiftingView struct {
	engine.View
	edits *edits
}

func (v shiftingView) Application(id string) *directory.Application {
	return edited(v.View.Application(id), v.edits.application)
}

func (v shiftingView) RefreshFamily(id string) *directory.RefreshFamily {
	return edited(v.View.RefreshFamily(id), v.edits.family)
}

func (v shiftingView) Session(hash [32]byte) *directory.Session {
	return edited(v.View.Session(hash), v.edits.session)
}

func (v shiftingView) Joins() []*directory.Join {
	if v.edits.joins == nil {
		return v.View.Joins()
	}
	return v.edits.joins(v.View.Joins())
}

func (v shiftingView) Tenant(id string) engine.TenantView {
	return shiftingTenant{v.View.Tenant(id), v.edits}
}

type shiftingTenant struct {
	engine.TenantView
	edits *edits
}

func (v shiftingTenant) Record() *directory.Tenant {
	return edited(v.TenantView.Record(), v.edits.tenant)
}

func (v shiftingTenant) Context(name string) *directory.Context {
	return edited(v.TenantView.Context(name), v.edits.context)
}

func (v shiftingTenant) User(id string) *directory.User {
	return edited(v.TenantView.User(id), v.edits.user)
}

func (v shiftingTenant) Version(id string) *keys.Version {
	return edited(v.TenantView.Version(id), v.edits.version)
}

func (v shiftingTenant) Object(name string) *keys.Object {
	return edited(v.TenantView.Object(name), v.edits.object)
}

func (v shiftingTenant) ObjectVersions(name string) []*keys.Version {
	list := v.TenantView.ObjectVersions(name)
	for i := range list {
		list[i] = edited(list[i], v.edits.version)
	}
	return list
}

func (v shiftingTenant) Policies() []*directory.Policy {
	list := v.TenantView.Policies()
	if v.edits.policies != nil {
		list = v.edits.policies(list)
	}
	return list
}

// edited returns an edited copy of a record, or the record when there is nothing to edit.
func edited[R any](record *R, edit func(*R)) *R {
	if record == nil || edit == nil {
		return record
	}
	c := *record
	edit(&c)
	return &c
}
