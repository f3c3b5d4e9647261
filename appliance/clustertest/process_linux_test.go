package clustertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// toyAt starts one toy outside of any network.
func toyAt(t *testing.T, spec Spec, more ...string) *Process {
	t.Helper()
	spec.Name, spec.Path, spec.Logs = "p", self(t), t.TempDir()
	spec.Args = append([]string{"toy", "--listen", "127.0.0.1:0"}, more...)
	p := NewProcess(t, spec)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// ask tells whether a toy answers in a time.
func answers(p *Process, within time.Duration) bool {
	c := NewCaller(nil, within)
	defer c.Close()
	return c.Do(context.Background(), "POST", p.URL(), "", toyRequest{Op: "digest"}).Status == 200
}

func TestPauseAndResume(t *testing.T) {
	p := toyAt(t, Spec{})
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if !p.Paused() || !stopped(p.PID()) || answers(p, 200*time.Millisecond) {
		t.Error("a paused process works on")
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if p.Paused() || !answers(p, 2*time.Second) {
		t.Error("a resumed process does not work")
	}
	// What is paused can be killed.
	if err := errors.Join(p.Pause(), p.Kill()); err != nil || p.PID() != 0 || p.Paused() {
		t.Errorf("killed while paused: %v, process %d", err, p.PID())
	}
	if err := p.Start(t.Context()); err != nil || !answers(p, 2*time.Second) {
		t.Errorf("started again: %v", err)
	}
}

func TestStopIsClean(t *testing.T) {
	p := toyAt(t, Spec{Restarts: 5})
	if err := p.Stop(t.Context()); err != nil || p.PID() != 0 || p.URL() != "" {
		t.Errorf("stopped: %v, process %d at %q", err, p.PID(), p.URL())
	}
	time.Sleep(2 * RestartDelay)
	if p.PID() != 0 || p.Exits() != 0 {
		t.Error("what was stopped came up again")
	}
}

// TestRestartsWithALimit kills a process behind the back of its manager.
func TestRestartsWithALimit(t *testing.T) {
	p := toyAt(t, Spec{Restarts: 2})
	for i := range 2 {
		old := p.PID()
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for p.PID() == old {
			time.Sleep(time.Millisecond)
		}
		if err := p.WaitReady(t.Context()); err != nil || p.PID() == old || p.Exits() != i+1 {
			t.Fatalf("not started again: %v, process %d, exits %d", err, p.PID(), p.Exits())
		}
	}
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for p.PID() != 0 {
		time.Sleep(time.Millisecond)
	}
	if err := p.WaitReady(t.Context()); err == nil || !strings.Contains(err.Error(), "3 times within") {
		t.Errorf("after the last restart: %v", err)
	}
	// A person may start it again.
	if err := p.Start(t.Context()); err != nil {
		t.Error(err)
	}
	if log := p.LogTail(1 << 20); strings.Count(log, "ended: signal: killed") != 3 || !strings.Contains(log, "not started again") {
		t.Errorf("the log does not tell it:\n%s", log)
	}
}

func TestProcessThatNeverGetsReady(t *testing.T) {
	p := NewProcess(t, Spec{Name: "p", Path: "/bin/sleep", Args: []string{"60"}, Logs: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("answer %v", err)
	}
	gone := NewProcess(t, Spec{Name: "q", Path: "/bin/false", Logs: t.TempDir()})
	if err := gone.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("a process that ends before it is ready: %v", err)
	}
	none := NewProcess(t, Spec{Name: "r", Path: "/nowhere", Logs: t.TempDir()})
	if err := none.Start(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// TestDiskSlows makes the syncs of a process slow, hang and fail, and lets them through again.
func TestDiskSlows(t *testing.T) {
	needNetwork(t)
	disk := &Disk{}
	p := toyAt(t, Spec{Disk: disk}, "--dir", t.TempDir())
	c := NewCaller(nil, 10*time.Second)
	defer c.Close()
	number := 0
	create := func() (time.Duration, int) {
		number++
		from := time.Now()
		r := c.Do(t.Context(), "POST", p.URL(), "", toyRequest{Op: "create", Object: fmt.Sprint(number)})
		return time.Since(from), r.Status
	}
	if took, status := create(); status != 200 || took > time.Second || disk.Syncs() != 1 {
		t.Errorf("at first: %v, status %d, %d syncs", took, status, disk.Syncs())
	}
	disk.Slow(150 * time.Millisecond)
	if took, status := create(); status != 200 || took < 150*time.Millisecond {
		t.Errorf("slow: %v, status %d", took, status)
	}
	disk.Hang()
	time.AfterFunc(400*time.Millisecond, disk.Heal)
	if took, status := create(); status != 200 || took < 400*time.Millisecond || took > 5*time.Second {
		t.Errorf("hung and healed: %v, status %d", took, status)
	}
	disk.Fail(syscall.EIO)
	if took, status := create(); status != 503 {
		t.Errorf("failing: %v, status %d", took, status)
	}
	if !strings.Contains(p.LogTail(1<<20), "input/output error") {
		t.Error("the process has not met the error")
	}
	disk.Heal()
	if took, status := create(); status != 200 || took > time.Second {
		t.Errorf("healed: %v, status %d", took, status)
	}
	// A process that hangs in a sync can be killed.
	disk.Hang()
	go create()
	time.Sleep(50 * time.Millisecond)
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}

func TestSmallDiskFills(t *testing.T) {
	needNetwork(t)
	dir := filepath.Join(t.TempDir(), "disk")
	s, err := NewSmallDisk(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	write := func() error { return os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600) }
	if err := errors.Join(write(), os.Remove(filepath.Join(dir, "x")), s.Fill()); err != nil {
		t.Fatal(err)
	}
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing on a full disk: %v", err)
	}
	if err := errors.Join(s.Free(), s.Free(), write()); err != nil {
		t.Errorf("after the space was given back: %v", err)
	}
	if err := s.Remove(); err != nil {
		t.Error(err)
	}
	if err := write(); err != nil {
		t.Errorf("after the disk was taken away, in the directory below: %v", err)
	}
}

// BenchmarkSync compares a write that the disk makes durable with and without a Disk before it.
func BenchmarkSync(b *testing.B) {
	for _, disk := range []*Disk{nil, {}} {
		name := "bare"
		if disk != nil {
			name = "watched"
		}
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			b.ResetTimer()
			if err := onOwnThread(func() error {
				f, err := os.Create(filepath.Join(dir, "x"))
				if err != nil {
					return err
				}
				defer f.Close()
				if disk != nil {
					fd, err := disk.filter()
					if err != nil {
						return err
					}
					ended := make(chan struct{})
					defer close(ended)
					go disk.serve(fd, ended)
				}
				for range b.N {
					if _, err := f.WriteAt([]byte("x"), 0); err != nil {
						return err
					}
					if err := f.Sync(); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		})
	}
}
