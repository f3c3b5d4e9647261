package clustertest

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// daemonCluster is a cluster of one real node: nothing is replicated, and everything else is what it is in larger ones.
type daemonCluster struct {
	*REST
	node   *Node
	binary string
	dir    string
}

func startDaemon(t *testing.T) *daemonCluster {
	t.Helper()
	needNetwork(t)
	c := &daemonCluster{binary: filepath.Join(t.TempDir(), "cryptoserved"), dir: filepath.Join(t.TempDir(), "node")}
	build := exec.Command("go", "build", "-o", c.binary, "cryptoserve/appliance/cmd/cryptoserved")
	build.Env = append(os.Environ(), "GOFIPS140=v1.0.0") // as the release is built
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the daemon: %v\n%s", err, out)
	}
	network := NewNetwork(t, "n1")
	h := network.Host("n1")
	small, err := NewSmallDisk(c.dir, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := small.Remove(); err != nil {
			t.Error(err)
		}
	})
	c.node = &Node{Name: "n1", Network: network, Host: h, Disk: &Disk{}, Small: small, TokenDir: filepath.Join(c.dir, "token")}
	args := []string{"dev", "--dir", c.dir, "--listen", h.Addr.String() + ":8443"}
	c.node.Process = NewProcess(t, Spec{
		Name: "n1", Path: c.binary, Args: args, Host: h, Disk: c.node.Disk, Logs: t.TempDir(), Restarts: 20,
	})
	if err := c.node.Process.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.REST = &REST{Caller: NewCaller(c.roots(t), 5*time.Second), Admin: c.read(t, "owner.token"), Strict: true}
	t.Cleanup(c.Caller.Close)
	return c
}

func (c *daemonCluster) read(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func (c *daemonCluster) roots(t testing.TB) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.read(t, "ca.pem"))) {
		t.Fatal("ca.pem holds no certificate")
	}
	return pool
}

func (c *daemonCluster) Nodes() []*Node                        { return []*Node{c.node} }
func (c *daemonCluster) Leader(context.Context) (*Node, error) { return c.node, nil }

func (c *daemonCluster) Settle(ctx context.Context) error {
	for {
		r := c.send(ctx, c.node, http.MethodGet, "/health/ready", "", nil)
		if r.Status == http.StatusOK {
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("the node is not ready: %s: %w", r.detail(), err)
		}
	}
}

// Digests has nothing to compare on one node.
func (c *daemonCluster) Digests(context.Context) ([]Digest, error) {
	return []Digest{{Node: "n1", Index: 1, Sum: "alone"}}, nil
}

func (c *daemonCluster) VerifyAudit(ctx context.Context) error {
	if err := c.node.Process.Stop(ctx); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, c.binary, "audit", "verify", filepath.Join(c.dir, "audit")).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("audit verify: %w: %s", err, out)
	}
	return errors.Join(err, c.node.Process.Start(ctx))
}

// How long and with which seed the tests TestChaosOn... run. `make chaos` sets both.
var (
	seed    = flag.Uint64("seed", 1, "decides which faults come when; 0 takes another one each time")
	minutes = flag.Float64("minutes", 5.0/60, "how long faults are injected")
)

// TestChaosOnARealNode takes the daemon through the faults that a single node can have.
func TestChaosOnARealNode(t *testing.T) {
	t.Parallel()
	c := startDaemon(t)
	r, err := Run(t.Context(), c, Options{
		Seed: *seed, Duration: time.Duration(*minutes * float64(time.Minute)), Reads: true, Log: t.Logf,
		Lease: 500 * time.Millisecond, Quiet: 300 * time.Millisecond,
		Faults: []Fault{KillLeader, StopLeader, PauseLeader, SlowDisk, HungDisk, FullDisk, LostToken}, Artifacts: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r)
	if r.Fence == porcupine.Unknown || r.Rights == porcupine.Unknown {
		t.Error("the history has too many unknown outcomes to be judged")
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	for k := range kinds {
		if c := r.Counts[Kind(k)]; k > 0 && (c == nil || c.OK == 0) {
			t.Errorf("%v: %+v", Kind(k), c)
		}
	}
}
