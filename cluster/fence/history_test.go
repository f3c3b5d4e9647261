package fence

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what clients saw, and nothing else. A mutation becomes two operations over the same time, requested and
// reported: between the two both answers are right, after the second only the new one.
type history struct {
	operations []porcupine.Operation
}

type action int

const (
	use action = iota + 1
	requestGrant
	requestRevoke
	reportGrant
	reportRevoke
)

type input struct {
	action action
	key    int
}

// mutation is the place of a mutation's two operations.
type mutation int

func (h *history) add(in input, out bool, call, end int64) {
	h.operations = append(h.operations, porcupine.Operation{ClientId: len(h.operations), Input: in, Call: call, Output: out, Return: end})
}

// requested notes a mutation whose outcome is not known, and may never be.
func (h *history) requested(key int, on bool, call int64) mutation {
	request, report := requestRevoke, reportRevoke
	if on {
		request, report = requestGrant, reportGrant
	}
	h.add(input{request, key}, true, call, math.MaxInt64)
	h.add(input{report, key}, true, call, math.MaxInt64)
	return mutation(len(h.operations) - 2)
}

func (h *history) returned(m mutation, end int64) {
	h.operations[m].Return = end
	h.operations[m+1].Return = end
}

func (h *history) used(key int, on bool, call, end int64) {
	h.add(input{use, key}, on, call, end)
}

// check asks porcupine whether there is an order of the operations that the model allows.
func (h *history) check() porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(revocable, h.operations, 10*time.Second)
}

// permission is the state of the model for one key.
type permission struct {
	on              bool
	grants, revokes int // requested and not reported
}

// revocable is the model: one permission per key.
var revocable = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[int]int{}
		var parts [][]porcupine.Operation
		for _, o := range all {
			key := o.Input.(input).key
			at, known := byKey[key]
			if !known {
				at = len(parts)
				byKey[key] = at
				parts = append(parts, nil)
			}
			parts[at] = append(parts[at], o)
		}
		return parts
	},
	Init: func() any { return permission{on: true} },
	Step: func(before, in, out any) (bool, any) {
		s := before.(permission)
		switch in.(input).action {
		case use:
			if out.(bool) {
				return s.on || s.grants > 0, s
			}
			return !s.on || s.revokes > 0, s
		case requestGrant:
			s.grants++
		case requestRevoke:
			s.revokes++
		case reportGrant:
			if s.grants == 0 {
				return false, s
			}
			s.grants--
			s.on = true
		case reportRevoke:
			if s.revokes == 0 {
				return false, s
			}
			s.revokes--
			s.on = false
		}
		return true, s
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprint(in, out) },
}
