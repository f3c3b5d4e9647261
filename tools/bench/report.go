package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// goals are the least ratios to the bare server, by audit mode, for encrypt with goalSize bytes of plaintext.
var goals = map[string]float64{"relaxed": 0.75, "strict": 0.6}

const (
	goalSize   = 32
	goalStart  = 2 * time.Second
	goalMemory = 60 * 1000 * 1000 // bytes
	// Of the bare server's speed, and what one stream may add to the memory.
	goalStream = 0.7
	goalGrowth = 32 << 20
	// Times the operations a second of single calls.
	goalBatch = 20
	// At most: times the sum of the library's time and that of a request that does not sign.
	goalSign = 1.3
	// Of what the token signs when nothing else is done.
	goalToken = 0.8
	// At most: microseconds for a frame of format 4 more than for plain AES-256-GCM.
	goalFormat4 = 2
)

// report is everything that one run has measured.
type report struct {
	options
	when    time.Time
	fips    string // the cryptographic module of the daemon and of the packages' benchmarks
	starts  []startup
	sizes   []sizeResult
	stream  *streamResult // this and what follows is nil if the part was left out
	batch   *batchResult
	sign    *signResult
	format4 *format4Result
}

// startup is how the daemon starts and what it holds when it has nothing to do.
type startup struct {
	mode          string
	first, second time.Duration
	idle          int64 // resident bytes
}

type sizeResult struct {
	size int
	rows []*row // the first one is the bare server's
}

// row is one line of the table: a kind of load and its slices, one a round.
type row struct {
	label  string
	goal   float64 // 0: none
	load   *load
	slices []slice
}

func newReport(o options) *report { return &report{options: o, when: time.Now()} }

func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CryptoServe bench, %s\n", r.when.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "%s, %d cores for load and servers, %s, TLS 1.3, %d keep-alive connections, %d rounds of %v\n",
		processor(), runtime.NumCPU(), runtime.Version(), r.connections, r.rounds, r.slice)
	if r.fips != "" {
		fmt.Fprintf(&b, "Go Cryptographic Module: %s in the daemon and the packages' benchmarks, %s in the bare server and the load\n", r.fips, ownModule())
	}
	for _, result := range r.sizes {
		fmt.Fprintf(&b, "\nPlaintext of %d bytes\n", result.size)
		result.write(&b)
	}
	if r.stream != nil {
		r.stream.write(&b)
	}
	if r.batch != nil {
		r.batch.write(&b)
	}
	if r.sign != nil {
		r.sign.write(&b, r.connections)
	}
	if r.format4 != nil {
		r.format4.write(&b)
	}
	if len(r.starts) > 0 {
		b.WriteString("\nStart and rest\n")
		r.writeStarts(&b)
	}
	return b.String()
}

func (s sizeResult) write(b *strings.Builder) {
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%-26s\toperations/s\tof a\tgoal\tp50 ms\tp99 ms\tCPU us/operation\t\n", "load")
	base := s.rows[0]
	for i, row := range s.rows {
		ratio, goal := "", ""
		if i > 0 {
			value := median(ratios(row.slices, base.slices))
			ratio = fmt.Sprintf("%.2f", value)
			if row.goal > 0 && s.size == goalSize {
				goal = verdict(fmt.Sprintf("%.2f", row.goal), value >= row.goal)
			}
		}
		latencies := allLatencies(row.slices)
		fmt.Fprintf(table, "%-26s\t%.0f\t%s\t%s\t%.2f\t%.2f\t%.1f\t\n", row.label, median(rates(row.slices)), ratio, goal,
			milliseconds(quantile(latencies, 0.50)), milliseconds(quantile(latencies, 0.99)), cpuPerOperation(row.slices))
	}
	_ = table.Flush() // into memory
}

func (r *report) writeStarts(b *strings.Builder) {
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "audit\tfirst start s\tsecond start s\tgoal\tidle memory MB\tgoal\t\n")
	for _, s := range r.starts {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%s\t%.1f\t%s\t\n", s.mode, s.first.Seconds(), s.second.Seconds(),
			verdict("2.00", s.second <= goalStart), float64(s.idle)/1e6, verdict("60", s.idle < goalMemory))
	}
	_ = table.Flush() // into memory
}

func verdict(goal string, reached bool) string {
	if reached {
		return goal + " reached"
	}
	return goal + " MISSED"
}

func rates(slices []slice) []float64 {
	out := make([]float64, len(slices))
	for i, s := range slices {
		out[i] = s.perSecond()
	}
	return out
}

// ratios compares two rows round by round, so that what slowed a whole round down drops out.
func ratios(row, base []slice) []float64 {
	out := make([]float64, min(len(row), len(base)))
	for i := range out {
		out[i] = row[i].perSecond() / base[i].perSecond()
	}
	return out
}

// median returns the middle value, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// allLatencies returns the latencies of all slices in order.
func allLatencies(all []slice) []time.Duration {
	var out []time.Duration
	for _, s := range all {
		out = append(out, s.latencies...)
	}
	slices.Sort(out)
	return out
}

// quantile returns the value that the share q of the sorted values does not exceed (nearest rank); 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// cpuPerOperation returns the server's processor time for one operation in microseconds.
func cpuPerOperation(all []slice) float64 {
	var cpu time.Duration
	operations := 0
	for _, s := range all {
		cpu += s.cpu
		operations += len(s.latencies)
	}
	if operations == 0 {
		return 0
	}
	return cpu.Seconds() * 1e6 / float64(operations)
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// ownModule returns with which frozen cryptographic module this program was built, "off" if with none.
func ownModule() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknownModule
	}
	return moduleIn(info.Settings)
}

// processor returns the name of the machine's processor, or its architecture when there is none to read.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
