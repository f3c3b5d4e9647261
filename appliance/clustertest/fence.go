package clustertest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Stale is a successful use of a right that began after a call had returned that took it away, when no call that gives it back had
// begun before the use ended.
type Stale struct {
	Use, Revoke Operation
}

func (s Stale) String() string {
	return fmt.Sprintf("%v; it began %v after the return of: %v", s.Use, time.Duration(s.Use.Call-s.Revoke.Return), s.Revoke)
}

// CheckFence returns all stale uses of a history, in order of their call. Each right is given at the beginning. It agrees with FenceModel
// about every history, however long.
func CheckFence(ops []Operation) []Stale {
	var found []Stale
	for _, of := range byObject(ops, func(o Operation) bool {
		return o.Kind == Revoke || o.Kind == Grant || o.Kind.use() && o.Outcome == OK
	}) {
		var uses, revokes, grants []Operation
		for _, op := range of {
			switch {
			case op.Kind == Revoke && op.Outcome == OK:
				revokes = append(revokes, op)
			case op.Kind == Grant && op.Outcome != Refused:
				grants = append(grants, op)
			case op.Kind.use():
				uses = append(uses, op)
			}
		}
		found = append(found, staleUses(uses, revokes, grants)...)
	}
	slices.SortFunc(found, func(a, b Stale) int { return cmp.Compare(a.Use.Call, b.Use.Call) })
	return found
}

func staleUses(uses, revokes, grants []Operation) []Stale {
	var found []Stale
	// Both go forward with the uses: the newest revoke, by its call, of those that returned before the use began, and the newest
	// return of the re-grants that began before the use ended.
	slices.SortFunc(uses, func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(revokes, func(a, b Operation) int { return cmp.Compare(a.Return, b.Return) })
	newest, next := -1, 0
	for _, use := range uses {
		for ; next < len(revokes) && revokes[next].Return < use.Call; next++ {
			if newest < 0 || revokes[next].Call > revokes[newest].Call {
				newest = next
			}
		}
		if newest < 0 {
			continue
		}
		revoke := revokes[newest]
		if !slices.ContainsFunc(grants, func(g Operation) bool { return g.Call <= use.Return && g.returned() >= revoke.Call }) {
			found = append(found, Stale{Use: use, Revoke: revoke})
		}
	}
	return found
}

// A mutation of a right is two operations with the same interval: from "requested" on both answers are legal, from "reported" on only
// the new one. A register would be too strict: while a revoke waits for its fence, two nodes may answer differently.
type rightStep struct {
	kind     Kind
	reported bool
}

// rightState is a right with the mutations that were requested and are not reported yet.
type rightState struct {
	given           bool
	revokes, grants int
}

// FenceModel is the model of rights for porcupine. Refused uses are always legal: a node that does not serve breaks no promise.
var FenceModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation { return partition(history) },
	Init:      func() any { return rightState{given: true} },
	Step: func(state, input, _ any) (bool, any) {
		s, step := state.(rightState), input.(rightStep)
		switch {
		case step.kind.use():
			return s.given || s.grants > 0, s
		case step.kind == Revoke && !step.reported:
			s.revokes++
		case step.kind == Revoke:
			if s.revokes == 0 {
				return false, s
			}
			s.revokes--
			s.given = false
		case step.kind == Grant && !step.reported:
			s.grants++
		case step.kind == Grant:
			if s.grants == 0 {
				return false, s
			}
			s.grants--
			s.given = true
		}
		return true, s
	},
	DescribeOperation: func(input, _ any) string {
		step := input.(rightStep)
		if step.reported {
			return step.kind.String() + " reported"
		}
		return step.kind.String()
	},
}

// partition splits by the object, which is in the metadata: each right and each key is linearisable alone or not at all.
func partition(history []porcupine.Operation) [][]porcupine.Operation {
	split := map[any][]porcupine.Operation{}
	for _, op := range history {
		split[op.Metadata] = append(split[op.Metadata], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range split {
		parts = append(parts, part)
	}
	return parts
}

// CheckFenceModel checks the same as CheckFence by the model: Ok, Illegal, or Unknown when the time was too short. Of uses it takes those
// that succeeded.
func CheckFenceModel(ops []Operation, timeout time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(FenceModel, fenceOperations(ops), timeout)
}

func fenceOperations(ops []Operation) []porcupine.Operation {
	var history []porcupine.Operation
	add := func(op Operation, step rightStep) {
		history = append(history, porcupine.Operation{
			ClientId: op.Client, Input: step, Call: op.Call, Return: op.returned(), Metadata: op.Object,
		})
	}
	for _, op := range ops {
		switch {
		case op.Kind.use() && op.Outcome == OK:
			add(op, rightStep{kind: op.Kind})
		case op.Kind == Grant && op.Outcome == Unknown:
			// It may be given from now on, and need never be reported.
			add(op, rightStep{kind: op.Kind})
		case op.Kind == Grant && op.Outcome == OK, op.Kind == Revoke && op.Outcome == OK:
			add(op, rightStep{kind: op.Kind})
			add(op, rightStep{kind: op.Kind, reported: true})
		}
		// A revoke of unknown outcome forbids nothing: it may take effect never.
	}
	return history
}
