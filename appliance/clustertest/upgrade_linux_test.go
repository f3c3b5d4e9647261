package clustertest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/cluster/command"
)

// rolling is a cluster whose nodes change their program one at a time.
type rolling struct {
	*testing.T
	*realCluster

	right, key string
	sealed     []Ciphertext // by every program, on every node
}

// run has a node go on with a program, and wants the cluster to serve and to change things then.
func (r *rolling) run(n *Node, program string) {
	r.Helper()
	ctx := r.Context()
	if err := n.Process.Stop(ctx); err != nil {
		r.Fatal(err)
	}
	n.Process.SetPath(program)
	if err := n.Process.Start(ctx); err != nil {
		r.Fatal(err)
	}
	if err := r.settled(ctx, len(r.nodes)); err != nil {
		r.Fatal(err)
	}
	r.serves()
}

// serves wants every node to read what any node ever encrypted, to encrypt, and to change things.
func (r *rolling) serves() {
	r.Helper()
	ctx := r.Context()
	for _, n := range r.nodes {
		if a := r.Rotate(ctx, n, r.key); a.Outcome != OK {
			r.Fatalf("rotate on %s: %+v", n.Name, a)
		}
		c, a := r.Encrypt(ctx, n, r.right)
		if a.Outcome != OK {
			r.Fatalf("encrypt on %s: %+v", n.Name, a)
		}
		r.sealed = append(r.sealed, c)
	}
	for _, n := range r.nodes {
		if bad, err := r.Unreadable(ctx, n, r.sealed); err != nil || len(bad) > 0 {
			r.Fatalf("%s cannot read %d of %d: %v", n.Name, len(bad), len(r.sealed), err)
		}
	}
}

// known waits until each node has said which commands its program knows.
func (r *rolling) known(versions ...uint32) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	for {
		s, err := r.status(ctx, r.nodes[0])
		right := err == nil && len(s.Members) == len(versions)
		for _, m := range s.Members {
			for i, n := range r.nodes {
				right = right && (n.Name != m.Name || m.CommandVersion == versions[i])
			}
		}
		if right {
			return
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			r.Fatalf("the nodes know other versions than %v: %+v, %v", versions, s.Members, err)
		}
	}
}

// schedule writes a command of version 2.
func (r *rolling) schedule() Reply {
	return r.send(r.Context(), r.nodes[1], http.MethodPut, "/api/v1/backup-schedule", r.Admin,
		wire.BackupSchedule{EveryMinutes: 60, Keep: 3})
}

func (r *rolling) finalise(version uint32) Reply {
	return r.send(r.Context(), r.nodes[2], http.MethodPost, "/api/v1/cluster/finalise", r.Admin, wire.FinaliseRequest{Version: version})
}

func (r *rolling) refused(reply Reply, text string) {
	r.Helper()
	if reply.Status != http.StatusConflict || !strings.Contains(string(reply.Body), text) {
		r.Fatalf("%d %s %v; want a conflict that says %q", reply.Status, reply.Body, reply.Err, text)
	}
}

// TestRollingUpgrade replaces the program of one node after the other by one that knows newer commands, takes one of them back,
// finalises, and then tries the old program again.
func TestRollingUpgrade(t *testing.T) {
	if command.Newest() != 2 {
		t.Fatal("the programs of this test are those of versions 1 and 2; there is a newer one")
	}
	c := prepareCluster(t, 3)
	before := program(t, "-ldflags", "-X cryptoserve/cluster/command.newest=1")
	for _, n := range c.nodes {
		n.Process.SetPath(before)
	}
	c.first(t)
	c.join(t, 1)
	c.join(t, 2)
	if err := c.settled(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	r := &rolling{T: t, realCluster: c, right: "upgraded"}
	var err error
	if r.key, err = c.NewKey(t.Context(), c.nodes[0]); err != nil {
		t.Fatal(err)
	}
	if a := c.Create(t.Context(), c.nodes[0], r.right); a.Outcome != OK {
		t.Fatalf("%+v", a)
	}
	r.serves()
	r.known(1, 1, 1)

	r.run(c.nodes[0], c.binary)
	r.run(c.nodes[1], c.binary)
	r.known(2, 2, 1)
	r.refused(r.schedule(), "finalise version 2")
	r.refused(r.finalise(2), "n3 knows commands up to version 1")
	r.run(c.nodes[1], before) // the way back
	r.known(2, 1, 1)
	r.run(c.nodes[1], c.binary)
	r.run(c.nodes[2], c.binary)
	r.known(2, 2, 2)
	r.refused(r.schedule(), "finalise version 2")

	if reply := r.finalise(2); reply.Status != http.StatusOK {
		t.Fatalf("finalise: %d %s %v", reply.Status, reply.Body, reply.Err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, n := range r.nodes { // the others learn of it a moment later
		for s, err := r.status(ctx, n); err != nil || s.CommandVersion != 2; s, err = r.status(ctx, n) {
			if sleep(ctx, 20*time.Millisecond) != nil {
				t.Fatalf("%s: %+v, %v", n.Name, s, err)
			}
		}
	}
	if reply := r.schedule(); reply.Status != http.StatusOK {
		t.Fatalf("schedule: %d %s %v", reply.Status, reply.Body, reply.Err)
	}
	r.serves()
	// There is no way back now: the old program stops, says why, and has done no harm.
	last := c.nodes[2]
	if err := last.Process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	last.Process.SetPath(before)
	ended := last.Process.Exits()
	if err := last.Process.Launch(); err != nil {
		t.Fatal(err)
	}
	for wait := time.Now().Add(20 * time.Second); last.Process.Exits() == ended; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(wait) || last.URL() != "" {
			t.Fatal("a program that does not know the commands of the cluster goes on")
		}
	}
	if tail := last.Process.LogTail(32 << 10); !strings.Contains(tail, "needs a newer program") {
		t.Errorf("the old program does not say what to do: %s", tail)
	}
	r.run(last, c.binary)
	if err := converged(t.Context(), c); err != nil {
		t.Error(err)
	}
}
