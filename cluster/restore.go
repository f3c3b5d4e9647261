package cluster

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// treatment is what a restore does with a table.
type treatment uint8

const (
	// taken: the records of the backup replace those that are there.
	taken treatment = iota + 1
	// local: the records that are there stay. They are who the cluster and its nodes are.
	local
	// emptied: nothing is left. The records let somebody in who may have been shut out since the backup was made.
	emptied
)

// treatments has every table; a test sees to that.
var treatments = map[string]treatment{
	tableCluster:      local,
	tableTenants:      taken,
	tableContexts:     taken,
	tableVersions:     taken,
	tableApplications: taken,
	tableUsers:        taken,
	tableSessions:     emptied,
	tableRefresh:      emptied,
	tableObjects:      taken,
	tableImports:      emptied,
	tableMasters:      taken,
	tableLegacy:       taken,
	tableInvitations:  emptied,
	tableDevices:      emptied,
	tablePolicies:     taken,
	tableUsage:        taken,
	tableApprovals:    taken, // but those that wait
	tableMembers:      local,
	tableJoinCodes:    local,
	tableJoins:        local,
	tableBackupRuns:   local,
	tableAnswered:     local, // what was answered once in this log stays answered
}

// Onto returns the state that a cluster has whose state was current and that restores this backup at a time, in Unix
// milliseconds. It changes neither. It is a pure function of its arguments.
//
// Whatever the backup does not know is gone from it, and whatever was taken away since is there again. Who restores over a state
// that holds something must know that. What is not taken over as it stands:
//
//   - a key version that is destroyed in the current state stays so, and the backup's salt or key of it is left out
//   - access tokens that were issued before the restore are refused: some may have been revoked since the backup
//   - requests for approval that wait are left out: they may have been decided since
//   - the message budgets of keys that count (format 3) are used up but for leftBudget, because nobody knows what was drawn
//     from them since: the contexts rotate with the first message
func (s *BackupState) Onto(current *View, at int64) *View {
	db := newState()
	txn := db.Txn(true)
	for _, t := range tables {
		switch treatments[t.name] {
		case local:
			for record := range each(current.txn, t.name) {
				put(txn, t.name, record)
			}
		case taken:
			for record := range each(s.view.txn, t.name) {
				if changed := s.restored(current, record, at); changed != nil {
					put(txn, t.name, changed)
				}
			}
		case emptied:
		default:
			panic("cluster: no treatment of table " + t.name) // a test walks all tables
		}
	}
	txn.Commit()
	return newView(db, current.applied)
}

// Losses counts the records of a state that a restore of this backup would change or drop, but for counts of use.
func (s *BackupState) Losses(current *View) (count int) {
	for _, t := range tables {
		if treatments[t.name] != taken || t.name == tableUsage {
			continue
		}
		for record := range each(current.txn, t.name) {
			a, err := command.Marshal(record)
			if err != nil {
				panic(fmt.Sprintf("cluster: encode a record of %s: %v", t.name, err)) // it was decoded before
			}
			before, err := s.view.txn.First(t.name, indexID, idOf(t, record)...)
			if err != nil {
				panic(fmt.Sprintf("cluster: look up in %s: %v", t.name, err)) // the schema is fixed
			}
			if before == nil {
				count++
			} else if b, err := command.Marshal(before); err != nil || !bytes.Equal(a, b) {
				count++
			}
		}
	}
	return count
}

// idOf returns the parts of a record's primary key.
func idOf(t table, record any) []any {
	parts := t.id(record)
	args := make([]any, len(parts))
	for i, p := range parts {
		args[i] = p
	}
	return args
}

// restored returns the record that a restore puts, nil for none.
func (s *BackupState) restored(current *View, record any, at int64) any {
	switch r := record.(type) {
	case *directory.Application:
		changed := *r
		changed.NotBefore = max(changed.NotBefore, at)
		return &changed
	case *directory.Approval:
		if r.State == directory.ApprovalPending {
			return nil
		}
	case *keys.Version:
		if now := first[keys.Version](current.txn, tableVersions, indexID, r.ID); now != nil && now.State == keys.Destroyed {
			return now
		}
		c := s.view.Tenant(r.Tenant).Context(r.Context)
		if r.State == keys.Destroyed || r.Object != "" || r.Leased == 0 && (c == nil || c.Format != countedFormat) {
			return r
		}
		changed := *r
		changed.Leased = max(r.Leased, keys.GCMRandomNonceLimit-leftBudget)
		return &changed
	}
	return record
}

const (
	// countedFormat is the ciphertext format whose keys have a budget of messages.
	countedFormat = 3
	// leftBudget lets a node draw what it needs to go on while the context rotates. Should the whole budget have been drawn
	// since the backup, a key encrypts 2^32 + 2^20 messages: 0.02 % above the limit of SP 800-38D section 8.3.
	leftBudget uint64 = 1 << 20
)

// each returns the records of a table in order.
func each(txn *memdb.Txn, table string) iter.Seq[any] {
	return func(yield func(any) bool) {
		it, err := txn.Get(table, indexID)
		if err != nil {
			panic(fmt.Sprintf("cluster: list %s: %v", table, err)) // the schema is fixed
		}
		for r := it.Next(); r != nil; r = it.Next() {
			if !yield(r) {
				return
			}
		}
	}
}
