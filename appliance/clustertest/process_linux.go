package clustertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Spec says how to run a program.
type Spec struct {
	Name string
	Path string
	Args []string
	Env  []string // besides that of the test
	Host *Host    // if nil, the program runs where the test does
	Disk *Disk    // if nil, its disk cannot be made slow
	Logs string   // directory of its log, NAME.log
	// Restarts is how often the program is started again, after RestartDelay, when it ends by itself: so many times within
	// RestartWindow, as StartLimitBurst of systemd counts. 0 means never.
	Restarts int
}

const (
	// RestartDelay is how long a program stays down that ended by itself: RestartSec of systemd.
	RestartDelay = 100 * time.Millisecond
	// RestartWindow is the time in which restarts are counted.
	RestartWindow = 10 * time.Second

	readyPrefix = "ready "
	// stopTimeout is far above what a clean stop takes: it ends a test that hangs.
	stopTimeout = 30 * time.Second
)

// Process keeps one program running, the way a service manager does, and takes it through faults. Its signals go to the program and
// its children alike, except SIGTERM. Goroutines may share it.
type Process struct {
	logs *os.File

	mu       sync.Mutex
	spec     Spec
	run      *run
	held     bool // down on purpose: not started again by itself
	paused   bool
	restarts []time.Time // within the window
	exits    int         // by itself, in all
	err      error       // why it is not started again any more
}

// run is one life of the program.
type run struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when url is set
	url   string
	ended chan struct{} // closed when err is set
	err   error
	gone  bool // it has ended, and its process id will be another one's; under the lock of Process
}

// NewProcess prepares a program. It is killed when the test ends, and the end of its log is shown when the test failed.
func NewProcess(tb testing.TB, spec Spec) *Process {
	tb.Helper()
	p, err := newProcess(spec)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Close()
		if tb.Failed() {
			tb.Logf("end of the log of %s:\n%s", spec.Name, p.LogTail(32<<10))
		}
	})
	return p
}

func newProcess(spec Spec) (*Process, error) {
	if spec.Name == "" || spec.Path == "" || spec.Logs == "" {
		return nil, errors.New("clustertest: a process needs a name, a path and a directory for its log")
	}
	logs, err := os.OpenFile(filepath.Join(spec.Logs, spec.Name+".log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &Process{spec: spec, logs: logs, held: true}, nil
}

// SetArgs replaces the arguments from the next start on.
func (p *Process) SetArgs(args ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spec.Args = args
}

// SetPath replaces the program from the next start on.
func (p *Process) SetPath(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spec.Path = path
}

// Launch starts the program, unless it runs, and does not wait for it.
func (p *Process) Launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.err, p.restarts = false, nil, nil
	if p.run != nil {
		return nil
	}
	return p.launch()
}

// Start starts the program, unless it runs, and waits until it says that it is ready.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	return p.WaitReady(ctx)
}

// launch is called with the lock held.
func (p *Process) launch() error {
	p.note("start %s %s", p.spec.Path, strings.Join(p.spec.Args, " "))
	r := &run{ready: make(chan struct{}), ended: make(chan struct{})}
	r.cmd = exec.Command(p.spec.Path, p.spec.Args...) // #nosec G204 -- of the test
	r.cmd.Env = append(os.Environ(), p.spec.Env...)
	r.cmd.Stderr = p.logs
	// A group of its own, to pause and kill it whole. It dies with this process, however that ends.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	host, disk := p.spec.Host, p.spec.Disk
	started := make(chan error, 1)
	go func() {
		err := onOwnThread(func() error {
			err := begin(r, host, disk)
			started <- err
			if err != nil {
				return err
			}
			r.read(out)
			p.bury(r)
			return r.cmd.Wait() // Pdeathsig comes when this thread ends, so it outlives the program
		})
		p.end(r, err)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("clustertest: start %s: %w", p.spec.Name, err)
	}
	p.run, p.paused = r, false
	return nil
}

// begin starts a program from its own thread.
func begin(r *run, host *Host, disk *Disk) error {
	if host != nil {
		if err := host.space.enter(); err != nil {
			return err
		}
	}
	if disk != nil {
		fd, err := disk.filter()
		if err != nil {
			return err
		}
		go disk.serve(fd, r.ended)
	}
	return r.cmd.Start()
}

// read takes standard output in until the program closes it.
func (r *run) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	told := false
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), readyPrefix); ok && !told {
			told, r.url = true, url
			close(r.ready)
		}
	}
	// A line too long for the scanner is none of ours: the program must not stall because of it.
	_, _ = io.Copy(io.Discard, out)
}

// bury waits until the program has ended, and only then lets its id be given to others.
func (p *Process) bury(r *run) {
	for {
		err := unix.Waitid(unix.P_PID, r.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.gone = true
}

// end notes the end of a life and begins the next one.
func (p *Process) end(r *run, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.err = err
	close(r.ended)
	if p.run != r {
		return // it never started
	}
	p.run, p.paused = nil, false
	p.note("ended: %v", err)
	if p.held {
		return
	}
	p.exits++
	now := time.Now()
	for len(p.restarts) > 0 && now.Sub(p.restarts[0]) > RestartWindow {
		p.restarts = p.restarts[1:]
	}
	if len(p.restarts) >= p.spec.Restarts {
		if err == nil {
			err = errors.New("exit status 0")
		}
		p.err = fmt.Errorf("%s ended by itself, %d times within %v: %w", p.spec.Name, len(p.restarts)+1, RestartWindow, err)
		p.note("not started again")
		return
	}
	p.restarts = append(p.restarts, now)
	time.AfterFunc(RestartDelay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held || p.run != nil {
			return
		}
		if err := p.launch(); err != nil {
			p.err = err
		}
	})
}

// WaitReady waits until the program says that it is ready, over restarts.
func (p *Process) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		r, held, err := p.run, p.held, p.err
		p.mu.Unlock()
		if err != nil {
			return err
		}
		if held {
			return fmt.Errorf("clustertest: %s was stopped while somebody waits for it", p.spec.Name)
		}
		var ready chan struct{}
		if r != nil {
			ready = r.ready
		}
		select {
		case <-ready:
			return nil
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("clustertest: %s is not ready: %w", p.spec.Name, ctx.Err())
		}
	}
}

// URL is what the program said after "ready", empty as long as it has not.
func (p *Process) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return ""
	}
	select {
	case <-p.run.ready:
		return p.run.url
	default:
		return ""
	}
}

// PID is the program's process id, 0 when it does not run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return 0
	}
	return p.run.cmd.Process.Pid
}

// Exits counts how often the program ended by itself.
func (p *Process) Exits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exits
}

// Kill ends the program the way a power cut does, as far as a process goes. It stays down until it is started.
func (p *Process) Kill() error {
	r, err := p.signal(true, syscall.SIGKILL)
	if r == nil {
		return err
	}
	<-r.ended
	return err
}

// Stop ends the program with SIGTERM and wants it to end well. It stays down until it is started.
func (p *Process) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	p.mu.Lock()
	p.held = true
	r := p.run
	p.mu.Unlock()
	if r == nil {
		return nil
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-r.ended:
		if r.err != nil {
			return fmt.Errorf("clustertest: %s ended with %w", p.spec.Name, r.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("clustertest: %s does not stop: %w", p.spec.Name, ctx.Err())
	}
}

// Pause stops the program where it is (SIGSTOP) and returns when none of its threads runs any more.
func (p *Process) Pause() error {
	r, err := p.signal(false, syscall.SIGSTOP)
	if err != nil || r == nil {
		return err
	}
	p.mu.Lock()
	p.paused = true
	p.mu.Unlock()
	for range 1000 {
		select {
		case <-r.ended:
			return nil
		default:
		}
		if stopped(r.cmd.Process.Pid) {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("clustertest: %s does not pause", p.spec.Name)
}

// Resume lets a paused program go on (SIGCONT).
func (p *Process) Resume() error {
	p.mu.Lock()
	p.paused = false
	p.mu.Unlock()
	_, err := p.signal(false, syscall.SIGCONT)
	return err
}

// Paused tells whether the program was paused and has not been resumed or killed.
func (p *Process) Paused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}

// signal sends a signal to the program and its children. It returns nil when it does not run.
func (p *Process) signal(hold bool, s syscall.Signal) (*run, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = p.held || hold
	if p.run == nil || p.run.gone {
		return p.run, nil
	}
	if err := syscall.Kill(-p.run.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return p.run, fmt.Errorf("clustertest: send %v to %s: %w", s, p.spec.Name, err)
	}
	return p.run, nil
}

// Close kills the program.
func (p *Process) Close() {
	_ = p.Kill()
}

// LogTail returns the end of the log, at most so many bytes.
func (p *Process) LogTail(most int64) string {
	info, err := p.logs.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(0, info.Size()-most)
	raw, err := io.ReadAll(io.NewSectionReader(p.logs, from, info.Size()-from))
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// note writes a line of the harness into the log.
func (p *Process) note(format string, args ...any) {
	// The log is for people who look for the cause of a failure: a line less fails nothing.
	_, _ = fmt.Fprintf(p.logs, "---- %s %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// stopped tells whether every thread of a process is stopped.
func stopped(pid int) bool {
	states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, name := range states {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		// proc_pid_stat(5): the name of the program, in parentheses, may hold anything.
		_, rest, _ := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')'):]), " ")
		if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "t") {
			return false
		}
	}
	return true
}
