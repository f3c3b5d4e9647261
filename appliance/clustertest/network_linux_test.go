package clustertest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echoes starts a toy on each host of a network and returns them.
func echoes(t *testing.T, n *Network) []*Process {
	t.Helper()
	var list []*Process
	logs := t.TempDir()
	for _, h := range n.Hosts() {
		p := NewProcess(t, Spec{
			Name: h.Name, Path: self(t), Args: []string{"toy", "--listen", h.Addr.String() + ":7000", "--dir", t.TempDir()}, Host: h, Logs: logs,
		})
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// reaches tells whether a host, nil for the test itself, can open a connection to another one within a time, and bytes come back on it.
func reaches(t *testing.T, from, to *Host, within time.Duration) bool {
	t.Helper()
	var space *namespace
	if from != nil {
		space = from.space
	}
	err := onOwnThread(func() error {
		if err := space.enter(); err != nil {
			t.Error(err)
		}
		c, err := net.DialTimeout("tcp", to.Addr.String()+":7000", within)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(within)); err != nil {
			return err
		}
		if _, err := fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		_, err = bufio.NewReader(c).ReadByte()
		return err
	})
	return err == nil
}

func TestNetworkCuts(t *testing.T) {
	needNetwork(t)
	n := NewNetwork(t, "a", "b", "c")
	echoes(t, n)
	a, b, c := n.Host("a"), n.Host("b"), n.Host("c")
	want := func(what string, open ...string) {
		t.Helper()
		var all sync.WaitGroup
		defer all.Wait()
		for _, from := range n.Hosts() {
			all.Go(func() {
				if !reaches(t, nil, from, patience) {
					t.Errorf("%s: the test does not reach %s", what, from.Name)
				}
			})
			for _, to := range n.Hosts() {
				expected, within := from == to || slices.Contains(open, from.Name+to.Name), patience
				if !expected {
					within = 200 * time.Millisecond
				}
				all.Go(func() {
					if is := reaches(t, from, to, within); is != expected {
						t.Errorf("%s: %s to %s works: %v, want %v", what, from.Name, to.Name, is, expected)
					}
				})
			}
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want("whole", "ab", "ac", "ba", "bc", "ca", "cb")
	do(n.Partition(a, b, false))
	want("a and b cut", "ac", "ca", "bc", "cb")
	do(n.Isolate(c))
	want("all cut")
	do(n.Rejoin(a, b))
	want("c alone", "ab", "ba")
	do(n.Heal())
	want("healed", "ab", "ac", "ba", "bc", "ca", "cb")
}

// TestOneWayCut sends datagrams, which need no answers: b does not hear a, but a hears b.
func TestOneWayCut(t *testing.T) {
	needNetwork(t)
	n := NewNetwork(t, "a", "b")
	a, b := n.Host("a"), n.Host("b")
	if err := n.Partition(a, b, true); err != nil {
		t.Fatal(err)
	}
	hears := func(from, to *Host) bool {
		heard := make(chan error, 1)
		listening := make(chan struct{})
		go func() {
			heard <- onOwnThread(func() error {
				defer close(listening)
				if err := to.space.enter(); err != nil {
					return err
				}
				l, err := net.ListenPacket("udp", to.Addr.String()+":7001")
				if err != nil {
					return err
				}
				defer l.Close()
				listening <- struct{}{}
				if err := l.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
					return err
				}
				_, _, err = l.ReadFrom(make([]byte, 8))
				return err
			})
		}()
		<-listening
		if err := onOwnThread(func() error {
			if err := from.space.enter(); err != nil {
				return err
			}
			c, err := net.Dial("udp", to.Addr.String()+":7001")
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("x"))
			return err
		}); err != nil {
			t.Error(err)
		}
		return <-heard == nil
	}
	if hears(a, b) {
		t.Error("b hears a")
	}
	if !hears(b, a) {
		t.Error("a does not hear b")
	}
}

func TestFlapEndsJoined(t *testing.T) {
	needNetwork(t)
	n := NewNetwork(t, "a", "b")
	echoes(t, n)
	a, b := n.Host("a"), n.Host("b")
	stop := n.Flap(a, 600*time.Millisecond)
	open, closed := false, false
	for end := time.Now().Add(patience); time.Now().Before(end) && (!open || !closed); {
		if reaches(t, a, b, 200*time.Millisecond) {
			open = true
		} else {
			closed = true
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if !open || !closed {
		t.Errorf("open %v, closed %v", open, closed)
	}
	if !reaches(t, a, b, patience) {
		t.Error("the link is cut after the flapping")
	}
}

// TestNetworkRefusals names what is missing.
func TestNetworkRefusals(t *testing.T) {
	needNetwork(t)
	if _, err := newNetwork(nil); err == nil {
		t.Error("a network without hosts is made")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := Available(); err == nil || !strings.Contains(err.Error(), "ip and iptables") || !strings.Contains(err.Error(), "make netdeps") {
		t.Errorf("without any program: %v", err)
	}
	for _, link := range []string{"ip", "iptables"} {
		target := ip
		if link == "iptables" {
			target = "/bin/false" // there, but of no use with this kernel
		}
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newNetwork([]string{"a"}); err == nil || !strings.Contains(err.Error(), "no iptables works here") {
		t.Errorf("with an iptables that does nothing: %v", err)
	}
}

// TestNothingStaysBehind ends a test with a network, a process and a mounted disk in the ways that leave it no time for cleanups.
func TestNothingStaysBehind(t *testing.T) {
	needNetwork(t)
	for _, end := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "disk")
			cmd := exec.Command(self(t), "behind", dir)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var link string
			var pid int
			if _, err := fmt.Fscan(out, &link, &pid); err != nil {
				t.Fatal(err)
			}
			if _, err := net.InterfaceByName(link); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			gone := func() string {
				if _, err := net.InterfaceByName(link); err == nil {
					return "the link " + link
				}
				if state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && !strings.Contains(string(state), ") Z ") {
					return "the process " + strconv.Itoa(pid)
				}
				mounts, err := os.ReadFile("/proc/self/mounts")
				if err != nil || strings.Contains(string(mounts), dir) {
					return "the disk " + dir
				}
				return ""
			}
			if end == syscall.SIGKILL {
				// The next one that needs a disk takes away what nobody uses any more.
				defer sweepDisks()
				sweepDisks()
			}
			left := gone()
			for until := time.Now().Add(5 * time.Second); left != "" && time.Now().Before(until); left = gone() {
				time.Sleep(10 * time.Millisecond)
			}
			if left != "" {
				t.Errorf("%s is still there", left)
			}
		})
	}
}

// runBehind is the program of that test.
func runBehind(dir string) error {
	if _, err := NewSmallDisk(dir, 1<<20); err != nil {
		return err
	}
	n, err := newNetwork([]string{"a"})
	if err != nil {
		return err
	}
	path, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := newProcess(Spec{
		Name: "p", Path: path, Args: []string{"toy", "--listen", "127.0.0.1:7000"}, Host: n.Host("a"), Logs: filepath.Dir(dir),
	})
	if err != nil {
		return err
	}
	if err := p.Start(context.Background()); err != nil {
		return err
	}
	fmt.Println(n.link, p.PID())
	time.Sleep(time.Minute)
	return nil
}
