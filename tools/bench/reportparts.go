package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

const mebibyte = 1 << 20

func newTable(b *strings.Builder) *tabwriter.Writer {
	return tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func (s *streamResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\nStreams of %.0f MiB, one at a time, audit %s\n", float64(s.size)/mebibyte, streamMode)
	table := newTable(b)
	fmt.Fprint(table, "direction\tbare MiB/s\tours MiB/s\tof bare\tgoal\tbare CPU s/GiB\tours CPU s/GiB\tload CPU s/GiB\t\n")
	for _, row := range s.rows {
		ours, ratio, goal, cpu, load := "", "", "", "", cpuPerGiB(row.bare, moved.loadCPU)
		if len(row.ours) > 0 {
			value := median(speedRatios(row.ours, row.bare))
			ours, ratio = fmt.Sprintf("%.0f", speed(row.ours)), fmt.Sprintf("%.2f", value)
			if row.goal > 0 {
				goal = verdict(fmt.Sprintf("%.2f", row.goal), value >= row.goal)
			}
			cpu, load = fmt.Sprintf("%.2f", cpuPerGiB(row.ours, moved.serverCPU)), cpuPerGiB(row.ours, moved.loadCPU)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%s\t%s\t%s\t%.2f\t%s\t%.2f\t\n", row.label, speed(row.bare), ours, ratio, goal,
			cpuPerGiB(row.bare, moved.serverCPU), cpu, load)
	}
	_ = table.Flush() // into memory

	fmt.Fprintf(b, "\nResident memory around streams of %.0f MiB (encrypt), MiB", float64(s.size)/mebibyte)
	if s.sinceStart {
		b.WriteString("; without the right to reset it, the peak counts from the start of the process")
	}
	b.WriteString("\n")
	table = newTable(b)
	fmt.Fprint(table, "server\tbefore\tpeak\tafter\tgrowth\tgoal\t\n")
	for _, m := range s.memory {
		goal := ""
		if m.goal > 0 {
			goal = verdict(fmt.Sprintf("%.0f", float64(m.goal)/mebibyte), m.growth() < m.goal)
		}
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%s\t\n", m.label, float64(m.before)/mebibyte, float64(m.peak)/mebibyte,
			float64(m.after)/mebibyte, float64(m.growth())/mebibyte, goal)
	}
	_ = table.Flush() // into memory
}

func (m moved) serverCPU() time.Duration { return m.cpu }
func (m moved) loadCPU() time.Duration   { return m.load }

// speed returns the median speed in MiB/s.
func speed(all []moved) float64 {
	each := make([]float64, len(all))
	for i, m := range all {
		each[i] = m.perSecond() / mebibyte
	}
	return median(each)
}

// speedRatios compares two rows round by round.
func speedRatios(row, base []moved) []float64 {
	each := make([]float64, min(len(row), len(base)))
	for i := range each {
		each[i] = row[i].perSecond() / base[i].perSecond()
	}
	return each
}

// cpuPerGiB returns seconds of processor time for each GiB of plaintext.
func cpuPerGiB(all []moved, of func(moved) time.Duration) float64 {
	var cpu time.Duration
	var bytes int64
	for _, m := range all {
		cpu += of(m)
		bytes += m.bytes
	}
	if bytes == 0 {
		return 0
	}
	return cpu.Seconds() * (1 << 30) / float64(bytes)
}

func (r *batchResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\nBatches of %d plaintexts of %d bytes, encrypt\n", batchItems, goalSize)
	table := newTable(b)
	fmt.Fprint(table, "audit\tsingle calls/s\tbatches/s\tbatched operations/s\tof single\tgoal\tsingle CPU us/operation\tbatched CPU us/operation\t\n")
	for _, p := range r.pairs {
		batches := median(rates(p.batch.slices))
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.0f\t%.1f\t%s\t%.1f\t%.2f\t\n", p.mode, median(rates(p.single.slices)), batches,
			batches*batchItems, p.ratio(), verdict(fmt.Sprintf("%d", goalBatch), p.ratio() >= goalBatch),
			cpuPerOperation(p.single.slices), cpuPerOperation(p.batch.slices)/batchItems)
	}
	_ = table.Flush() // into memory
}

func (s *signResult) write(b *strings.Builder, connections int) {
	fmt.Fprintf(b, "\nSignatures of %d bytes, audit %s, key in the daemon's memory: us for each while %d are under way,\n"+
		"with the library alone in as many goroutines of this process and a request that only hashes\n", messageBytes, signMode, connections)
	each := func(all []slice) float64 { // as long as one takes: there are as many under way as there are connections
		rate := median(rates(all))
		if rate == 0 {
			return 0
		}
		return float64(connections) * 1e6 / rate
	}
	table := newTable(b)
	fmt.Fprint(table, "algorithm\trequests/s\trequest us\tlibrary us\thash request us\tof their sum\tgoal\tCPU us/operation\t\n")
	hash := each(s.hash.slices)
	for _, key := range s.keys {
		value := key.ratio(s.hash)
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%.1f\t\n", key.algorithm, median(rates(key.request.slices)),
			each(key.request.slices), each(key.library), hash, value, verdict(fmt.Sprintf("at most %.2f", goalSign), value <= goalSign),
			cpuPerOperation(key.request.slices))
	}
	_ = table.Flush() // into memory
	fmt.Fprintf(b, "The request that only hashes: %.0f/s, CPU %.1f us each.\n", median(rates(s.hash.slices)), cpuPerOperation(s.hash.slices))

	t := s.token
	fmt.Fprintf(b, "\nSignatures with %s, key in the token\n", tokenAlgorithm)
	table = newTable(b)
	fmt.Fprint(table, "what\tsignatures/s\tof C_Sign alone\tgoal\tof C_Sign and check\t\n")
	fmt.Fprintf(table, "requests, %d at a time\t%.0f\t%.2f\t%s\t%.2f\t\n", connections, median(rates(t.request.slices)), t.ratio(rawSign),
		verdict(fmt.Sprintf("%.2f", goalToken), t.ratio(rawSign) >= goalToken), t.ratio(checkedSign))
	for _, line := range []struct{ label, name string }{
		{"C_Sign alone, one session, key loaded for good", rawSign},
		{"the same and a check of each signature", checkedSign},
		{"package hsm, one at a time", keyringSign},
		{"package hsm, all processors", keyringParallel},
	} {
		rate := t.perSecond(line.name)
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t\t%.2f\t\n", line.label, rate, rate/t.perSecond(rawSign), rate/t.perSecond(checkedSign))
	}
	_ = table.Flush() // into memory
	fmt.Fprintf(b, "A request takes %.1f us of the daemon's processor time.\n", cpuPerOperation(t.request.slices))
}

// perSecond returns the rate of a benchmark.
func (t *tokenResult) perSecond(name string) float64 {
	if nanoseconds := median(t.raw[name]); nanoseconds > 0 {
		return 1e9 / nanoseconds
	}
	return 0
}

func (f *format4Result) write(b *strings.Builder) {
	fmt.Fprintf(b, "\nA frame of format 4 around 32 bytes, without a server, the best of %d rounds\n", len(f.plain))
	plain, framed := f.best()
	table := newTable(b)
	fmt.Fprint(table, "plain AES-256-GCM us\tformat 4 us\tdifference us\tgoal\t\n")
	fmt.Fprintf(table, "%.2f\t%.2f\t%.2f\t%s\t\n", plain, framed, framed-plain,
		verdict(fmt.Sprintf("at most %.2f", float64(goalFormat4)), framed-plain <= goalFormat4))
	_ = table.Flush() // into memory
}
