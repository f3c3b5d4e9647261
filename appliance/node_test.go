package appliance

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// firstRunNode returns a node that has just been provisioned in a directory of its own.
func firstRunNode(t *testing.T) *node {
	t.Helper()
	config, err := DevConfig{Dir: filepath.Join(t.TempDir(), "D"), Listen: "127.0.0.1:0"}.config()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{config: config, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.lock(); err != nil {
		t.Fatal(err)
	}
	if err := n.firstRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// running counts the loops of serve that run.
func running() (n int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, loop := range []string{"hsm.(*Token).Run(", "appliance.(*certificates).run(", "appliance.(*node).tend(", "appliance.(*node).duties("} {
		n += strings.Count(string(stacks), loop)
	}
	return n
}

// TestServeLeavesNothingRunning ends serve in different ways. Once it has returned, its listener is closed and none of its loops
// runs, so that the parts may be closed.
func TestServeLeavesNothingRunning(t *testing.T) {
	n := firstRunNode(t)
	failure := errors.New("the files of the hand-over cannot be written")
	cases := map[string]struct {
		ready func(stop context.CancelFunc) error
		want  error
	}{
		"stopped":          {func(stop context.CancelFunc) error { stop(); return nil }, nil},
		"ready that fails": {func(context.CancelFunc) error { return failure }, failure},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var address net.Addr
			err := n.serve(ctx, func(a net.Addr) error {
				address = a
				for running() < 4 { // all loops have begun, and are found
					runtime.Gosched()
				}
				return c.ready(stop)
			})
			if !errors.Is(err, c.want) {
				t.Errorf("serve returned %v, want %v", err, c.want)
			}
			if n := running(); n > 0 {
				t.Errorf("%d loops still run", n)
			}
			conn, err := net.DialTimeout("tcp", address.String(), time.Second)
			if err == nil {
				_ = conn.Close()
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("after serve: connect to the listener: %v", err)
			}
		})
	}
}

func TestWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks sync.WaitGroup
		ended := false
		tasks.Go(func() {
			<-time.After(3 * time.Second)
			ended = true
		})
		if err := waitFor(&tasks, time.Minute); err != nil || !ended {
			t.Errorf("the task has ended: %v, %v", ended, err)
		}
		release := make(chan struct{})
		tasks.Go(func() { <-release })
		if err := waitFor(&tasks, time.Minute); err == nil {
			t.Error("a task that does not end is not reported")
		}
		close(release)
	})
}
