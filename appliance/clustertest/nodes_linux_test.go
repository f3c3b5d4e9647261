package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"cryptoserve/api/wire"
)

// realCluster is three daemons, each with a token and a disk of its own in a network namespace of its own, joined as an operator
// would.
type realCluster struct {
	*REST
	nodes  []*Node
	dirs   []string
	binary string
}

func startCluster(t testing.TB, size int) *realCluster {
	t.Helper()
	c := prepareCluster(t, size)
	c.first(t)
	for i := 1; i < size; i++ {
		c.join(t, i)
	}
	if err := c.settled(context.Background(), size); err != nil {
		t.Fatal(err)
	}
	return c
}

// prepareCluster makes the machines and starts nothing. The environment is that of each daemon, besides the test's.
func prepareCluster(t testing.TB, size int, env ...string) *realCluster {
	t.Helper()
	needNetwork(t)
	c := &realCluster{binary: program(t)}
	var names []string
	for i := range size {
		names = append(names, fmt.Sprintf("n%d", i+1))
	}
	network := NewNetwork(t, names...)
	logs := t.TempDir()
	if kept := os.Getenv("CHAOS_LOGS"); kept != "" {
		logs = kept
	}
	for _, name := range names {
		dir := filepath.Join(t.TempDir(), name)
		small, err := NewSmallDisk(dir, 256<<20)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := small.Remove(); err != nil {
				t.Error(err)
			}
		})
		h := network.Host(name)
		n := &Node{Name: name, Network: network, Host: h, Disk: &Disk{}, Small: small, TokenDir: filepath.Join(dir, "token")}
		n.Process = NewProcess(t, Spec{
			Name: name, Path: c.binary, Args: c.args(dir, n, ""), Env: env, Host: h, Disk: n.Disk, Logs: logs, Restarts: 50,
		})
		c.nodes, c.dirs = append(c.nodes, n), append(c.dirs, dir)
	}
	return c
}

// program builds a daemon.
func program(t testing.TB, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cryptoserved")
	build := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, "cryptoserve/appliance/cmd/cryptoserved")...)
	build.Env = append(os.Environ(), "GOFIPS140=v1.0.0") // as the release is built
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the daemon: %v\n%s", err, out)
	}
	return path
}

func (c *realCluster) args(dir string, n *Node, code string) []string {
	args := []string{
		"dev", "--dir", dir, "--listen", n.Host.Addr.String() + ":8443", "--cluster", n.Host.Addr.String() + ":8444", "--name", n.Name,
		"--log-level", "info",
	}
	if code != "" {
		args = append(args, "--join", code)
	}
	return args
}

// first starts the node that makes the cluster.
func (c *realCluster) first(t testing.TB, more ...string) {
	t.Helper()
	c.nodes[0].Process.SetArgs(append(c.args(c.dirs[0], c.nodes[0], ""), more...)...)
	if err := c.nodes[0].Process.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	one := &daemonCluster{dir: c.dirs[0]}
	c.REST = &REST{Caller: NewCaller(one.roots(t), 5*time.Second), Admin: one.read(t, "owner.token")}
	t.Cleanup(c.Caller.Close)
}

// join starts a node with an invitation and approves it.
func (c *realCluster) join(t testing.TB, i int) {
	t.Helper()
	n, ctx := c.nodes[i], context.Background()
	invited, a := created[wire.InvitedMember](ctx, c.REST, c.nodes[0], "/api/v1/cluster/invitations", wire.InviteMemberRequest{})
	if a.Outcome != OK {
		t.Fatalf("invite %s: %+v", n.Name, a)
	}
	n.Process.SetArgs(c.args(c.dirs[i], n, invited.Code)...)
	if err := n.Process.Launch(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for approved := false; !approved; {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not ask to join", n.Name)
		}
		time.Sleep(50 * time.Millisecond)
		list, err := Read[wire.JoinsResponse](c.send(ctx, c.nodes[0], http.MethodGet, "/api/v1/cluster/joins", c.Admin, nil))
		if err != nil {
			continue
		}
		for _, j := range list.Joins {
			if j.Name != n.Name || j.State != "waiting" {
				continue
			}
			_, a := created[wire.Join](ctx, c.REST, c.nodes[0], "/api/v1/cluster/joins/"+j.ID+"/approve",
				wire.ApproveJoinRequest{Fingerprint: j.Fingerprint})
			if a.Outcome != OK {
				t.Fatalf("approve %s: %+v", n.Name, a)
			}
			approved = true
		}
	}
	if err := n.Process.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	n.Process.SetArgs(c.args(c.dirs[i], n, "")...)
}

// settled waits until all nodes are voters and healthy.
func (c *realCluster) settled(ctx context.Context, size int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		s, err := c.status(ctx, c.nodes[0])
		if err == nil && s.Voters == size && s.Healthy == size {
			return nil
		}
		if serr := sleep(ctx, 50*time.Millisecond); serr != nil {
			return fmt.Errorf("not all nodes vote: %+v: %w", s, errors.Join(err, serr))
		}
	}
}

func (c *realCluster) status(ctx context.Context, n *Node) (wire.Cluster, error) {
	return Read[wire.Cluster](c.send(ctx, n, http.MethodGet, "/api/v1/cluster", c.Admin, nil))
}

// Nodes are all nodes.
func (c *realCluster) Nodes() []*Node { return c.nodes }

// Leader asks the nodes in turn.
func (c *realCluster) Leader(ctx context.Context) (*Node, error) {
	for _, asked := range c.nodes {
		if asked.Process.Paused() {
			continue
		}
		s, err := c.status(ctx, asked)
		if err != nil {
			continue
		}
		for _, m := range s.Members {
			if m.ID != s.Leader {
				continue
			}
			for _, n := range c.nodes {
				if n.Name == m.Name {
					return n, nil
				}
			}
		}
	}
	return nil, errors.New("no node knows a leader")
}

// Settle waits until each node is ready and all vote.
func (c *realCluster) Settle(ctx context.Context) error {
	for _, n := range c.nodes {
		for {
			r := c.send(ctx, n, http.MethodGet, "/health/ready", "", nil)
			if r.Status == http.StatusOK {
				break
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return fmt.Errorf("%s is not ready: %s: %w", n.Name, r.detail(), err)
			}
		}
	}
	return c.settled(ctx, len(c.nodes))
}

// Digests has one node ask all.
func (c *realCluster) Digests(ctx context.Context) ([]Digest, error) {
	d, err := Read[wire.ClusterDigest](c.send(ctx, c.nodes[0], http.MethodGet, "/api/v1/cluster/digest", c.Admin, nil))
	if err != nil {
		return nil, err
	}
	var all []Digest
	for _, n := range d.Nodes {
		if n.Digest == "" {
			return nil, fmt.Errorf("the digest of %s is not known: %s", n.ID, n.Reason)
		}
		all = append(all, Digest{Node: n.ID, Index: n.Applied, Sum: n.Digest})
	}
	return all, nil
}

// VerifyAudit verifies the log of each node, stopped for it.
func (c *realCluster) VerifyAudit(ctx context.Context) error {
	var errs []error
	for i, n := range c.nodes {
		if err := n.Process.Stop(ctx); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, c.binary, "audit", "verify", filepath.Join(c.dirs[i], "audit")).CombinedOutput()
		if err != nil {
			errs = append(errs, fmt.Errorf("audit of %s: %w: %s", n.Name, err, strings.TrimSpace(string(out))))
		}
		if err := n.Process.Launch(); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// TestChaosOnARealCluster takes three daemons through every fault that the machine can make.
func TestChaosOnARealCluster(t *testing.T) {
	c := startCluster(t, 3)
	r, err := Run(context.Background(), c, Options{
		Seed: *seed, Duration: time.Duration(*minutes * float64(time.Minute)), Lease: 2 * time.Second, Log: t.Logf, Artifacts: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if r.Fence != porcupine.Ok {
		t.Errorf("the fence was judged %v", r.Fence)
	}
}
