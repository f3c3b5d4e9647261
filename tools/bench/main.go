// Command bench measures what the appliance costs beside a bare Go server that does the same cryptography, on one
// machine, in one run.
//
// It starts three servers: (a) a bare TLS 1.3 server that decodes the same JSON, seals with AES-256-GCM and encodes the
// answer, without token and audit; (b) the daemon with relaxed audit; (c) the daemon with strict audit. Slices of load
// from 16 keep-alive connections are interleaved, a b c a b c, so that whatever else the machine does meets all of them
// alike. Ratios are taken within a round, then their median over the rounds.
//
// Further parts compare streams with those of the bare server and watch the daemon's memory meanwhile, batches with single
// calls, signatures with what their library takes in this process and what the token takes in the benchmarks of package
// hsm, and a frame of format 4 with plain AES-256-GCM in the benchmarks of engine/envelope. Each is interleaved in the same
// way. --only chooses parts.
//
// The load generator writes prepared bytes and reads no more of an answer than it must, so that the servers are measured
// and not the client. It shares the machine's cores with them: compare ratios, not operations per second, between
// machines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	daemon      string
	out         string
	dir         string
	sizes       []int
	connections int
	rounds      int
	slice       time.Duration
	settle      time.Duration
	bareOnly    bool
	only        map[string]bool
	streamBytes int64
	source      string
	goTool      string
}

// The parts of a run, in their order.
const (
	partSingle  = "single"
	partStream  = "stream"
	partBatch   = "batch"
	partSign    = "sign"
	partFormat4 = "format4"
)

var parts = []string{partSingle, partStream, partBatch, partSign, partFormat4}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == bareCommand {
		return serveBare(ctx, args[1], os.Stdout)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	report, err := measure(ctx, o, os.Stderr)
	if err != nil {
		return err
	}
	text := report.String()
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(text), 0o644); err != nil { //nolint:gosec // a report for everybody
			return err
		}
	}
	_, err = fmt.Print(text)
	return err
}

func parse(args []string) (options, error) {
	var o options
	sizes, only := "", ""
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.daemon, "daemon", "bin/cryptoserved", "the daemon's `program`")
	flags.StringVar(&o.out, "out", "", "write the report to this `file` too")
	flags.StringVar(&o.dir, "dir", "", "work in a new folder below this `folder`, which should be on the disk whose speed is of interest (default: the system's for temporary files)")
	flags.StringVar(&sizes, "sizes", "32", "plaintext sizes in `bytes`, with commas between, such as 32,1024,65536")
	flags.IntVar(&o.connections, "connections", 16, "keep-alive connections")
	flags.IntVar(&o.rounds, "rounds", 7, "slices of each kind")
	flags.DurationVar(&o.slice, "slice", 2*time.Second, "length of a slice")
	flags.DurationVar(&o.settle, "settle", 5*time.Second, "wait before the idle memory is read")
	flags.BoolVar(&o.bareOnly, "bare-only", false, "measure the bare server only: single calls and streams")
	flags.StringVar(&only, "only", strings.Join(parts, ","), "`parts` to measure")
	flags.Int64Var(&o.streamBytes, "stream-bytes", 1<<30, "plaintext of a stream in `bytes`")
	flags.StringVar(&o.source, "source", ".", "the module's `folder`, whose packages' benchmarks are run")
	flags.StringVar(&o.goTool, "go", "go", "the Go `program` to build them with")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	for field := range strings.SplitSeq(sizes, ",") {
		size, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || size < 1 || size > 8<<20 {
			return options{}, fmt.Errorf("--sizes: %q is not a number of bytes from 1 to 8388608", field)
		}
		o.sizes = append(o.sizes, size)
	}
	o.only = map[string]bool{}
	for part := range strings.SplitSeq(only, ",") {
		part = strings.TrimSpace(part)
		if !slices.Contains(parts, part) {
			return options{}, fmt.Errorf("--only: %q is none of %s", part, strings.Join(parts, ", "))
		}
		o.only[part] = !o.bareOnly || part == partSingle || part == partStream
	}
	if flags.NArg() > 0 || o.connections < 1 || o.rounds < 1 || o.slice <= 0 || o.settle < 0 || o.streamBytes < 1 {
		return options{}, errors.New("see --help: no arguments; connections, rounds, slice and stream-bytes must be more than 0")
	}
	return o, nil
}

// modes returns the audit modes in which daemons are needed.
func (o options) modes() []string {
	switch {
	case o.bareOnly:
		return nil
	case o.only[partSingle], o.only[partBatch]:
		return auditModes
	case o.only[partStream], o.only[partSign]:
		return []string{streamMode}
	}
	return nil
}
