package systemtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tourTimeout is far above what the tour takes.
const tourTimeout = 3 * time.Minute

// freePorts returns the first of six free ports in a row.
func freePorts(t *testing.T) int {
	t.Helper()
next:
	for first := 21000 + os.Getpid()%5000*6%9000; first < 32000; first += 6 {
		for p := first; p < first+6; p++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				continue next
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return first
	}
	t.Fatal("no six ports in a row are free")
	return 0
}

// TestClusterTour runs the script that the README shows: three nodes with three tokens, a ciphertext that another node reads, a
// leader that is killed while the others encrypt without a failure, and a right that a paused node does not honour any more.
func TestClusterTour(t *testing.T) {
	bin := filepath.Dir(binary)
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "cryptoserve"), "cryptoserve/tools/cryptoserve")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the command line: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), tourTimeout)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "nodes")
	c := exec.CommandContext(ctx, "../../tools/cluster.sh", dir)
	c.Env = append(os.Environ(), "CRYPTOSERVE_BIN="+bin, fmt.Sprintf("CLUSTER_PORT=%d", freePorts(t)), "CLUSTER_EXEC=tools/cluster-tour.sh "+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The script stops its nodes when it is told to end; a kill would leave them.
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = 20 * time.Second
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "every promise was kept") {
		t.Error("the tour did not come to its end")
	}
}
