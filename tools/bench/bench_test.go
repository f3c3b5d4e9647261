package main

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the bare server, which measure starts from its own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bareCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestBareRun measures the bare server for a moment and looks for what must not stay behind.
func TestBareRun(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	o, err := parse([]string{"--bare-only", "--rounds", "2", "--slice", "20ms", "--connections", "2", "--sizes", "32,3000",
		"--stream-bytes", "300001"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(t.Context(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.sizes) != 2 {
		t.Fatalf("%d sizes, want 2", len(r.sizes))
	}
	for _, size := range r.sizes {
		for _, row := range size.rows {
			if len(row.slices) != 2 || len(row.slices[0].latencies) == 0 {
				t.Errorf("%d bytes, %s: slices %v", size.size, row.label, row.slices)
			}
			pid := row.load.server.cmd.Process.Pid
			if err := syscall.Kill(pid, 0); err == nil {
				t.Errorf("process %d is still there", pid)
			}
		}
	}
	if r.stream == nil || len(r.stream.rows) != 2 || len(r.stream.memory) != 2 || r.batch != nil || r.sign != nil || r.format4 != nil {
		t.Fatalf("streams %+v; batches, signatures and frames must be left out", r.stream)
	}
	for _, row := range r.stream.rows {
		if len(row.bare) != 2 || row.bare[0].bytes != 300001 || row.bare[0].elapsed <= 0 || len(row.ours) != 0 {
			t.Errorf("%s: %+v", row.label, row)
		}
	}
	for _, m := range r.stream.memory {
		if m.before <= 0 || m.peak <= 0 || m.after <= 0 {
			t.Errorf("memory: %+v", m)
		}
	}
	text := r.String()
	for _, want := range []string{"Plaintext of 3000 bytes", "a  bare server, encrypt", "Streams of 0 MiB", "bare server, 4 at once"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the report:\n%s", want, text)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDaemonThatDoesNotStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	o, err := parse([]string{"--daemon", "/bin/false"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := measure(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("got %v", err)
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{"--sizes", "0"}, {"--sizes", "x"}, {"--sizes", ""}, {"--rounds", "0"}, {"--connections", "0"}, {"--slice", "0s"}, {"extra"},
		{"--stream-bytes", "0"}, {"--only", ""}, {"--only", "single,other"},
	} {
		if _, err := parse(append([]string{"--bare-only"}, args...)); err == nil {
			t.Errorf("%q: accepted", args)
		}
	}
	o, err := parse([]string{"--sizes", "32, 1024"})
	if err != nil || len(o.sizes) != 2 || o.sizes[1] != 1024 {
		t.Errorf("got %v, %v", o.sizes, err)
	}
}

// TestParts: what is started follows from what is measured.
func TestParts(t *testing.T) {
	for _, tt := range []struct{ args, parts, modes []string }{
		{nil, []string{"single", "stream", "batch", "sign", "format4"}, []string{"relaxed", "strict"}},
		{[]string{"--bare-only"}, []string{"single", "stream"}, nil},
		{[]string{"--bare-only", "--only", "batch,stream"}, []string{"stream"}, nil},
		{[]string{"--only", "batch"}, []string{"batch"}, []string{"relaxed", "strict"}},
		{[]string{"--only", "stream, format4"}, []string{"stream", "format4"}, []string{"strict"}},
		{[]string{"--only", "sign"}, []string{"sign"}, []string{"strict"}},
		{[]string{"--only", "format4"}, []string{"format4"}, nil},
	} {
		o, err := parse(tt.args)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		var chosen []string
		for _, part := range parts {
			if o.only[part] {
				chosen = append(chosen, part)
			}
		}
		if !slices.Equal(chosen, tt.parts) || !slices.Equal(o.modes(), tt.modes) {
			t.Errorf("%q: parts %q, modes %q", tt.args, chosen, o.modes())
		}
	}
}

// TestAnswers plays the server's side of a connection.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name, answer string
		want         string // the body
		wantErr      string
	}{
		{name: "good", answer: "HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length:  2\r\n\r\nhi", want: "hi"},
		{name: "empty", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "refused", answer: "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", wantErr: "status 503: busy"},
		{name: "created", answer: "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", wantErr: "status 201"},
		{name: "no length", answer: "HTTP/1.1 200 OK\r\n\r\n", wantErr: "no Content-Length"},
		{name: "bad length", answer: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", wantErr: "bad Content-Length"},
		{name: "negative length", answer: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", wantErr: "no Content-Length"},
		{name: "cut", answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", wantErr: "unexpected EOF"},
		{name: "other protocol", answer: "SSH-2.0-x\r\n", wantErr: "status line"},
		{name: "nothing", wantErr: "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				_, _ = far.Read(make([]byte, 100))
				_, _ = io.WriteString(far, tt.answer)
				_ = far.Close()
			}()
			got, err := newConn(near).do([]byte("x"))
			if tt.wantErr == "" && (err != nil || string(got) != tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
		})
	}
}

func TestProcFiles(t *testing.T) {
	got, err := parseStat([]byte("42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 9 9 20 0 5 0 100 1000 200"))
	if err != nil || got != 2*time.Second {
		t.Errorf("stat: got %v, %v, want 2s", got, err)
	}
	for _, bad := range []string{"", "42 (a) S 1", "42 (a) S 1 42 42 0 -1 4194304 100 0 0 0 x 50 9"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("stat: %q accepted", bad)
		}
	}
	status := []byte("Name:\tx\nVmHWM:\t   61440 kB\nVmRSS:\t   51200 kB\nThreads:\t5\n")
	for field, want := range map[string]int64{"VmRSS": 50 << 20, "VmHWM": 60 << 20} {
		if got, err := parseStatus(status, field); err != nil || got != want {
			t.Errorf("status: %s is %d, %v, want %d", field, got, err, want)
		}
	}
	for field, bad := range map[string]string{"VmRSS": "Name:\tx\n", "VmHWM": "VmHWM:\tx kB\n"} {
		if _, err := parseStatus([]byte(bad), field); err == nil {
			t.Errorf("status: %s of %q accepted", field, bad)
		}
	}
}

func TestStatistics(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median of three: %v", got)
	}
	if got := median([]float64{4, 1, 9, 2}); got != 3 {
		t.Errorf("median of four: %v", got)
	}
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := quantile(hundred, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	of := func(operations int) slice {
		return slice{elapsed: time.Second, cpu: 10 * time.Millisecond, latencies: make([]time.Duration, operations)}
	}
	// A machine that halves its speed in the second round changes the rates but not the ratio.
	if got := median(ratios([]slice{of(80), of(40)}, []slice{of(100), of(50)})); got != 0.8 {
		t.Errorf("ratio: %v, want 0.8", got)
	}
	if got := cpuPerOperation([]slice{of(50), of(150)}); got != 100 {
		t.Errorf("CPU: %v us, want 100", got)
	}
}

// TestReport checks the verdicts on the goals, which readers of the table rely on.
func TestReport(t *testing.T) {
	of := func(operations int) []slice {
		return []slice{{elapsed: time.Second, latencies: make([]time.Duration, operations)}}
	}
	r := newReport(options{connections: 16, rounds: 1})
	r.sizes = []sizeResult{{size: goalSize, rows: []*row{
		{label: "a", slices: of(100)},
		{label: "b", goal: goals["relaxed"], slices: of(75)},
		{label: "c", goal: goals["strict"], slices: of(59)},
	}}}
	r.starts = []startup{
		{mode: "relaxed", second: goalStart, idle: goalMemory},
		{mode: "strict", second: goalStart + 1, idle: goalMemory - 1},
	}
	text := r.String()
	for _, want := range []string{"0.75 reached", "0.60 MISSED", "2.00 reached", "2.00 MISSED", "  60 reached", "  60 MISSED"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not once in the report:\n%s", want, text)
		}
	}
}

// TestStopIsBounded: a server that ends by itself is stopped without an error.
func TestStopIsBounded(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := start(context.Background(), "bare", dir, self, bareCommand, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := net.SplitHostPort(s.address); err != nil {
		t.Errorf("address %s", strconv.Quote(s.address))
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
