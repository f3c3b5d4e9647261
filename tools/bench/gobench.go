package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// benchLimit bounds one run of a package's benchmarks, and their build.
const benchLimit = 3 * time.Minute

// packageBench is the compiled tests of one of our packages, whose benchmarks measure what this program must not import.
type packageBench struct {
	program string
	dir     string // of the package
	temp    string
}

// compile builds the tests of a package with the cryptographic module that the daemon was built with.
func (b *bench) compile(ctx context.Context, path string) (*packageBench, error) {
	module, err := filepath.Abs(b.source)
	if err != nil {
		return nil, err
	}
	p := &packageBench{
		program: filepath.Join(b.dir, filepath.Base(path)+".test"), dir: filepath.Join(module, filepath.FromSlash(path)), temp: b.dir,
	}
	b.say("compile the benchmarks of %s", path)
	var env []string
	if b.fips != unknownModule {
		env = []string{"GOFIPS140=" + b.fips}
	}
	_, err = p.command(ctx, module, env, b.goTool, "test", "-c", "-o", p.program, "./"+path)
	return p, err
}

// run returns the times of the benchmarks that match, in nanoseconds an operation, by name without "Benchmark".
func (p *packageBench) run(ctx context.Context, pattern string, length time.Duration) (map[string]float64, error) {
	out, err := p.command(ctx, p.dir, nil, p.program, "-test.run=^$", "-test.bench="+pattern, "-test.benchtime="+length.String())
	if err != nil {
		return nil, err
	}
	return parseBench(out)
}

func (p *packageBench) command(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, benchLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the Go tool or what it built
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "TMPDIR="+p.temp), env...)
	cmd.WaitDelay = time.Second
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s in %s: %w\n%.2000s%.2000s", filepath.Base(name), dir, err, out.Bytes(), failure.Bytes())
	}
	return out.Bytes(), nil
}

// processors is what the testing package adds to a benchmark's name when there is more than one.
var processors = regexp.MustCompile(`-\d+$`)

// parseBench reads lines such as "BenchmarkSeal/v4-32B-2  12345  987.6 ns/op  0 B/op". Everything else is passed over.
func parseBench(out []byte) (map[string]float64, error) {
	times := map[string]float64{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, found := strings.CutPrefix(line, "Benchmark")
		if !found || len(fields) < 4 || fields[3] != "ns/op" {
			continue
		}
		name, _, _ = strings.Cut(strings.ReplaceAll(name, "\t", " "), " ")
		t, err := strconv.ParseFloat(fields[2], 64)
		if err != nil || t <= 0 {
			return nil, fmt.Errorf("a benchmark's line is not as expected: %.100q", line)
		}
		times[processors.ReplaceAllString(name, "")] = t
	}
	if len(times) == 0 {
		return nil, errors.New("no benchmark ran")
	}
	return times, nil
}

// unknownModule stands for the cryptographic module of a program that does not tell.
const unknownModule = "unknown"

// moduleOf returns with which frozen cryptographic module a program was built, "off" if with none:
// https://go.dev/doc/security/fips140.
func moduleOf(program string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return unknownModule // a script that starts the daemon, perhaps
	}
	return moduleIn(info.Settings)
}

func moduleIn(settings []debug.BuildSetting) string {
	for _, setting := range settings {
		if setting.Key == "GOFIPS140" {
			return setting.Value
		}
	}
	return "off"
}

// format4Result is the part of the report about one frame, in nanoseconds: a value for each round.
type format4Result struct{ plain, framed []float64 }

// best returns the least time of each, in microseconds: what else the machine does can only add to it.
func (f *format4Result) best() (plain, framed float64) {
	return slices.Min(f.plain) / 1000, slices.Min(f.framed) / 1000
}

// The benchmarks of engine/envelope that are compared.
const (
	plainSeal  = "Seal/plain-AES-256-GCM-32B"
	framedSeal = "Seal/v4-32B"
	// format4Rounds is how often each is measured, in turns.
	format4Rounds = 10
)

func (b *bench) measureFormat4(ctx context.Context, r *report) error {
	p, err := b.compile(ctx, "engine/envelope")
	if err != nil {
		return err
	}
	result := &format4Result{}
	for round := range format4Rounds {
		b.say("format 4: round %d of %d", round+1, format4Rounds)
		times, err := p.run(ctx, "^BenchmarkSeal$/^(plain-AES-256-GCM|v4)-32B$", b.slice/8)
		if err != nil {
			return err
		}
		plain, framed := times[plainSeal], times[framedSeal]
		if plain == 0 || framed == 0 {
			return fmt.Errorf("engine/envelope has no benchmarks %s and %s", plainSeal, framedSeal)
		}
		result.plain, result.framed = append(result.plain, plain), append(result.framed, framed)
	}
	r.format4 = result
	return nil
}
