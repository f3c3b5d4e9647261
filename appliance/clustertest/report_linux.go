package clustertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/anishathalye/porcupine"
)

// Report is what a run found.
type Report struct {
	Seed     uint64
	Duration time.Duration
	Nodes    int
	Injected []Injected
	Exits    int // of nodes, by themselves
	Counts   map[Kind]*Count
	// Checked is how many ciphertexts and rights were looked for on every node.
	Checked int
	Lost    []string
	Stale   []Stale
	// Fence, Versions and Rights are the verdicts of porcupine; Unknown when it found no answer in its time. NotLinearisable is that of
	// the scan, which always finds one.
	Fence, Versions, Rights porcupine.CheckResult
	NotLinearisable         error
	// Failures are broken promises of other kinds: states that differ, audit chains that do not verify, wrong plaintexts.
	Failures []error

	possible []Fault
}

// Count counts the operations of one kind by outcome, with how long those took that succeeded.
type Count struct {
	OK, Refused, Unknown int
	Median, Most         time.Duration
	// Why counts the answers that were not OK: status and problem code, or what became of the connection.
	Why map[string]int
}

// judge checks the promises of a cluster that has settled.
func (r *Report) judge(ctx context.Context, c Cluster, w *workload) {
	if err := converged(ctx, c); err != nil {
		r.Failures = append(r.Failures, err)
	}
	var err error
	if r.Lost, err = CheckLost(ctx, c, w.ciphertexts, w.created); err != nil {
		r.Failures = append(r.Failures, err)
	}
	r.Checked = len(w.ciphertexts) + len(w.created)
	if err := c.VerifyAudit(ctx); err != nil {
		r.Failures = append(r.Failures, err)
	}
	for _, text := range w.wrong {
		r.Failures = append(r.Failures, errors.New(text))
	}
	r.judgeHistory(w.history.Operations())
}

func (r *Report) judgeHistory(ops []Operation) {
	r.Counts = count(ops)
	r.Stale = CheckFence(ops)
	r.NotLinearisable = CheckVersions(ops)
	r.Fence = CheckFenceModel(ops, modelTimeout)
	r.Versions = CheckVersionModel(ops, modelTimeout)
	r.Rights = CheckRightModel(ops, modelTimeout)
}

func count(ops []Operation) map[Kind]*Count {
	counts, took := map[Kind]*Count{}, map[Kind][]time.Duration{}
	for _, op := range ops {
		c := counts[op.Kind]
		if c == nil {
			c = &Count{Why: map[string]int{}}
			counts[op.Kind] = c
		}
		if op.Outcome != OK {
			c.Why[op.Detail]++
		}
		switch op.Outcome {
		case OK:
			c.OK++
			took[op.Kind] = append(took[op.Kind], time.Duration(op.Return-op.Call))
		case Refused:
			c.Refused++
		default:
			c.Unknown++
		}
	}
	for kind, times := range took {
		slices.Sort(times)
		counts[kind].Median, counts[kind].Most = times[len(times)/2], times[len(times)-1]
	}
	return counts
}

// Linearisable tells whether the state that administrators change behaved like one copy.
func (r *Report) Linearisable() bool {
	return r.NotLinearisable == nil && r.Versions != porcupine.Illegal && r.Rights != porcupine.Illegal
}

// Err joins all broken promises, nil if every one was kept. It shows the first ones of each kind.
func (r *Report) Err() error {
	failed := slices.Clone(r.Failures)
	if n := len(r.Lost); n > 0 {
		failed = append(failed, fmt.Errorf("%d acknowledged things are lost: %s", n, strings.Join(r.Lost[:min(n, 5)], ", ")))
	}
	if n := len(r.Stale); n > 0 {
		failed = append(failed, fmt.Errorf("%d uses of rights that had been taken away, such as: %v", n, r.Stale[0]))
	}
	if r.Fence == porcupine.Illegal && len(r.Stale) == 0 {
		failed = append(failed, errors.New("the uses of rights contradict each other"))
	}
	if r.NotLinearisable != nil {
		failed = append(failed, fmt.Errorf("key versions are not linearisable: %w", r.NotLinearisable))
	}
	if r.Versions == porcupine.Illegal && r.NotLinearisable == nil {
		failed = append(failed, errors.New("key versions are not linearisable: the model finds it, the scan does not"))
	}
	if r.Rights == porcupine.Illegal {
		failed = append(failed, errors.New("rights are not linearisable"))
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("seed %d: %w", r.Seed, errors.Join(failed...))
}

// String is the table that a run ends with.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chaos: seed %d, %d nodes, %v of faults\n\n", r.Seed, r.Nodes, r.Duration)
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprint(t, "fault\tinjected\tlongest\n")
	for _, f := range r.possible {
		times, longest := 0, time.Duration(0)
		for _, one := range r.Injected {
			if one.Fault == f {
				times++
				longest = max(longest, one.To-one.From)
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%v\n", f, times, longest.Round(time.Millisecond))
	}
	fmt.Fprintf(t, "nodes that ended by themselves\t%d\t\n\n", r.Exits)
	fmt.Fprint(t, "operation\tok\trefused\tunknown\tmedian\tworst\n")
	for k := range kinds {
		if c := r.Counts[Kind(k)]; c != nil { // #nosec G115 -- a handful
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%v\t%v\n", Kind(k), c.OK, c.Refused, c.Unknown, // #nosec G115
				c.Median.Round(10*time.Microsecond), c.Most.Round(time.Millisecond))
		}
	}
	why := map[string]int{}
	for _, c := range r.Counts {
		for detail, n := range c.Why {
			why[detail] += n
		}
	}
	fmt.Fprint(t, "\nanswer\ttimes\n")
	for _, detail := range slices.Sorted(maps.Keys(why)) {
		fmt.Fprintf(t, "%s\t%d\n", detail, why[detail])
	}
	fmt.Fprintf(t, "\nlost\t%d\tof %d acknowledged, each on every node\n", len(r.Lost), r.Checked)
	fmt.Fprintf(t, "stale uses\t%d\tporcupine: %s\n", len(r.Stale), r.Fence)
	linearisable := "no"
	if r.Linearisable() {
		linearisable = "yes"
	}
	fmt.Fprintf(t, "linearisable\t%s\tporcupine: versions %s, rights %s\n", linearisable, r.Versions, r.Rights)
	fmt.Fprintf(t, "digests, audit, plaintexts\t%d wrong\t\n", len(r.Failures))
	if err := t.Flush(); err != nil {
		return err.Error()
	}
	return b.String()
}
