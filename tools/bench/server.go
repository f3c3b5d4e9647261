package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit = 60 * time.Second
	stopLimit  = 15 * time.Second
	// ticksPerSecond is the unit of the times in /proc/PID/stat: USER_HZ, 100 on every Linux that Go runs on.
	ticksPerSecond = 100
)

// server is a process under measurement.
type server struct {
	name    string
	cmd     *exec.Cmd
	address string // host:port
	tls     *tls.Config
	token   string
	owner   string        // a session's token of the user who may make keys
	started time.Duration // from exec to the ready line
	exited  chan struct{} // closed when the process has ended
	log     *tail
}

// start runs a program that prints `ready https://ADDR` once it serves and leaves ca.pem, and app.token and owner.token if
// it wants them, in dir.
func start(ctx context.Context, name, dir, program string, args ...string) (*server, error) {
	s := &server{name: name, exited: make(chan struct{}), log: &tail{}}
	s.cmd = exec.Command(program, args...) //nolint:gosec // the program that is to be measured
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if address, found := strings.CutPrefix(lines.Text(), "ready https://"); found {
				select {
				case ready <- address:
				default: // said before
				}
			}
		}
		_ = s.cmd.Wait() // how it ended does not matter once it was measured
		close(s.exited)
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case s.address = <-ready:
		s.started = time.Since(begin)
	case <-s.exited:
		return nil, fmt.Errorf("%s ended before it was ready:\n%s", name, s.log)
	case <-limit.C:
		return nil, errors.Join(fmt.Errorf("%s was not ready within %v:\n%s", name, startLimit, s.log), s.stop())
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), s.stop())
	}
	if err := s.readFiles(dir); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) readFiles(dir string) error {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s: ca.pem holds no certificate", s.name)
	}
	host, _, err := net.SplitHostPort(s.address)
	if err != nil {
		return err
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: host}
	for name, token := range map[string]*string{"app.token": &s.token, "owner.token": &s.owner} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		*token = strings.TrimSpace(string(content))
	}
	return nil
}

// stop ends the process with SIGTERM, and with SIGKILL if that takes too long.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-s.exited:
		return nil
	case <-limit.C:
		_ = s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("%s did not stop within %v and was killed", s.name, stopLimit)
	}
}

// cpu returns the processor time that the process has used, in steps of 10 ms.
func (s *server) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parseStat(stat)
}

// parseStat reads utime and stime, fields 14 and 15 of /proc/PID/stat (proc(5)). Field 2 is a name in brackets that may
// itself hold blanks and brackets.
func parseStat(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// rss returns the resident memory of the process in bytes.
func (s *server) rss() (int64, error) { return s.memory("VmRSS") }

// peak returns the most resident memory that the process had since resetPeak, in bytes.
func (s *server) peak() (int64, error) { return s.memory("VmHWM") }

// resetPeak begins a new measurement of the peak (proc(5), clear_refs). It takes the right to trace the process.
func (s *server) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0)
}

func (s *server) memory(field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parseStatus(status, field)
}

// parseStatus reads a field of /proc/PID/status that is in units of 1024 bytes.
func parseStatus(status []byte, field string) (int64, error) {
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("/proc/PID/status has no " + field)
}

// tail keeps the last 4 KiB of a process's log for an error message.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if excess := len(t.data) - 4096; excess > 0 {
		t.data = append(t.data[:0], t.data[excess:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
