package clustertest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// CheckVersions tells why the rotations and reads of keys are not linearisable, nil if they are. A key begins with version 1; each
// rotation that took effect made the next version, exactly once. It is exact, and takes time in proportion to the history however
// many outcomes are unknown: every version has one maker, so the order of all operations is known but for those outcomes.
func CheckVersions(ops []Operation) error {
	keys := byObject(ops, func(o Operation) bool { return (o.Kind == Rotate || o.Kind == ReadVersion) && o.Outcome != Refused })
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := checkVersions(keys[key]); err != nil {
			return fmt.Errorf("key %s: %w", key, err)
		}
	}
	return nil
}

func checkVersions(ops []Operation) error {
	made, read := map[uint64]Operation{}, map[uint64][]Operation{}
	var unknown []Operation
	last := uint64(1)
	for _, op := range ops {
		switch {
		case op.Kind == Rotate && op.Outcome == Unknown:
			unknown = append(unknown, op)
			continue
		case op.Outcome == Unknown:
			continue
		case op.Kind == ReadVersion:
			read[op.Value] = append(read[op.Value], op)
		default:
			if other, twice := made[op.Value]; twice {
				return fmt.Errorf("two rotations made version %d: %v; %v", op.Value, other, op)
			}
			made[op.Value] = op
		}
		if op.Value == 0 || op.Kind == Rotate && op.Value == 1 {
			return fmt.Errorf("a version that cannot be: %v", op)
		}
		last = max(last, op.Value)
	}
	// A version that nobody got was made by a rotation of unknown outcome. None of those has an end, so the one that began first is
	// as good as any.
	slices.SortFunc(unknown, func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	now := int64(0) // the earliest time at which all before can have happened
	var latest Operation
	for v := uint64(1); v <= last; v++ {
		maker, got := made[v]
		if v > 1 && !got {
			if len(unknown) == 0 {
				return fmt.Errorf("nobody made version %d of %d: a rotation took effect twice", v, last)
			}
			maker, unknown = unknown[0], unknown[1:]
		}
		if v > 1 {
			if maker.returned() < now {
				return fmt.Errorf("version %d was made too early: %v; after it was already newer than: %v", v, maker, latest)
			}
			if maker.Call > now {
				now, latest = maker.Call, maker
			}
		}
		from := now
		for _, r := range read[v] {
			if r.Return < from {
				return fmt.Errorf("version %d was read before it was made: %v; but: %v", v, r, latest)
			}
			if r.Call > now {
				now, latest = r.Call, r
			}
		}
	}
	return nil
}

// VersionModel is the model of key versions for porcupine: a counter with increment-and-get.
var VersionModel = porcupine.Model{
	Partition: partition,
	Init:      func() any { return uint64(1) },
	Step: func(state, input, output any) (bool, any) {
		version, op := state.(uint64), output.(Operation)
		if input.(Kind) == Rotate {
			version++
		}
		return op.Outcome == Unknown || op.Value == version, version
	},
	DescribeOperation: func(_, output any) string { return output.(Operation).String() },
}

// CheckVersionModel checks the same as CheckVersions by the model: Ok, Illegal, or Unknown when the time was too short, as happens with
// many unknown outcomes.
func CheckVersionModel(ops []Operation, timeout time.Duration) porcupine.CheckResult {
	return check(VersionModel, ops, timeout, Rotate, ReadVersion)
}

// RightModel is the model of rights as the replicated state knows them, for porcupine: a register that Grant and Revoke write. What
// a use of the right meets on a node is another thing: see FenceModel.
var RightModel = porcupine.Model{
	Partition: partition,
	Init:      func() any { return true },
	Step: func(state, input, output any) (bool, any) {
		switch op := output.(Operation); input.(Kind) {
		case Grant:
			return true, true
		case Revoke:
			return true, false
		default:
			return (op.Value == 1) == state.(bool), state
		}
	},
	DescribeOperation: func(_, output any) string { return output.(Operation).String() },
}

// CheckRightModel checks that the rights are linearisable as strict reads find them.
func CheckRightModel(ops []Operation, timeout time.Duration) porcupine.CheckResult {
	return check(RightModel, ops, timeout, Grant, Revoke, ReadRight)
}

// check gives the operations of some kinds to porcupine. Those that were refused changed and told nothing, nor do reads that failed.
func check(model porcupine.Model, ops []Operation, timeout time.Duration, of ...Kind) porcupine.CheckResult {
	var history []porcupine.Operation
	for _, op := range ops {
		read := op.Kind == ReadRight || op.Kind == ReadVersion
		if !slices.Contains(of, op.Kind) || op.Outcome == Refused || read && op.Outcome == Unknown {
			continue
		}
		history = append(history, porcupine.Operation{
			ClientId: op.Client, Input: op.Kind, Output: op, Call: op.Call, Return: op.returned(), Metadata: op.Object,
		})
	}
	return porcupine.CheckOperationsTimeout(model, history, timeout)
}
