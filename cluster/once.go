package cluster

import (
	"fmt"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// answered is the outcome of a command that takes effect once, kept for when it comes again.
type answered struct {
	ID       [16]byte                `cbor:"1,keyasint"`
	Index    uint64                  `cbor:"2,keyasint"` // of the entry that brought it first
	Refused  fault.Kind              `cbor:"3,keyasint,omitempty"`
	Detail   string                  `cbor:"4,keyasint,omitempty"`
	Cause    fault.Cause             `cbor:"5,keyasint,omitempty"`
	Granted  uint64                  `cbor:"6,keyasint,omitempty"`
	Total    uint64                  `cbor:"7,keyasint,omitempty"`
	Approval directory.ApprovalState `cbor:"8,keyasint,omitempty"`
}

func (a *answered) outcome() command.Outcome {
	return command.Outcome{
		Refused: a.Refused, Detail: a.Detail, Cause: a.Cause, Granted: a.Granted, Total: a.Total, Approval: a.Approval,
	}
}

func answer(id [16]byte, index uint64, out command.Outcome) *answered {
	return &answered{
		ID: id, Index: index, Refused: out.Refused, Detail: out.Detail, Cause: out.Cause, Granted: out.Granted, Total: out.Total,
		Approval: out.Approval,
	}
}

// place is an index of the log as a part of a key: twenty digits, so that the order of keys is that of numbers.
func place(index uint64) string { return fmt.Sprintf("%020d", index) }

// applyOnce applies the command in the entry at index, unless an entry brought it before. The proposer had applied After when it
// made the command, so the first entry that brings it is behind After; while After is not more than OnceSpan behind index, neither
// is that one, and its outcome is still there.
func applyOnce(txn *memdb.Txn, index uint64, c command.Once) command.Outcome {
	if before := first[answered](txn, tableAnswered, indexID, string(c.ID[:])); before != nil {
		return before.outcome()
	}
	if index > command.OnceSpan && c.After < index-command.OnceSpan {
		return refused(fault.LedgerUnavailable, "the change came so late that it is not known whether it was made before; look, and repeat it if it was not")
	}
	inside, err := c.Inner()
	if err != nil {
		return refused(fault.Malformed, "there is no command in it") // Decode has read it: this does not happen
	}
	out := apply(txn, inside)
	if first[directory.Cluster](txn, tableCluster, indexID, "") == nil {
		return out // it was refused for that
	}
	forget(txn, index)
	put(txn, tableAnswered, answer(c.ID, index, out))
	return out
}

// forget drops the outcomes that are OnceSpan entries old.
func forget(txn *memdb.Txn, index uint64) {
	for index >= command.OnceSpan {
		oldest := first[answered](txn, tableAnswered, indexPlace+"_prefix")
		if oldest == nil || oldest.Index > index-command.OnceSpan {
			return
		}
		drop(txn, tableAnswered, oldest)
	}
}
