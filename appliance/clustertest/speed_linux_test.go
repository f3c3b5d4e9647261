package clustertest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// median and worst report a list of times.
func report(b *testing.B, name string, times []time.Duration) {
	b.Helper()
	if len(times) == 0 {
		b.Fatal("nothing was measured: " + name)
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2].Seconds()*1000, name+"-median-ms")
	b.ReportMetric(times[len(times)-1].Seconds()*1000, name+"-worst-ms")
}

// rightsOf makes rights to take away.
func rightsOf(b *testing.B, c *realCluster, n int) []string {
	b.Helper()
	var names []string
	for i := range n {
		name := fmt.Sprintf("right-%d-%d", i, time.Now().UnixNano())
		if a := c.Create(context.Background(), c.nodes[0], name); a.Outcome != OK {
			b.Fatalf("create %s: %+v", name, a)
		}
		names = append(names, name)
	}
	return names
}

// BenchmarkFailover kills the leader again and again: write is the time until a write succeeds on a survivor, pause the longest time
// between two encrypts that succeeded on a survivor, and failed counts encrypts there that did not.
func BenchmarkFailover(b *testing.B) {
	c := startCluster(b, 3)
	ctx := context.Background()
	right := rightsOf(b, c, 3)[0] // by application
	key, err := c.NewKey(ctx, c.nodes[0])
	if err != nil {
		b.Fatal(err)
	}
	var writes, pauses []time.Duration
	failed, done := 0, 0
	for range max(b.N, 1) {
		leader, err := c.Leader(ctx)
		if err != nil {
			b.Fatal(err)
		}
		var survivors []*Node
		for _, n := range c.nodes {
			if n != leader {
				survivors = append(survivors, n)
			}
		}
		var stop atomic.Bool
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, n := range survivors {
			wg.Go(func() {
				last := time.Now()
				for !stop.Load() {
					_, a := c.Encrypt(ctx, n, right)
					mu.Lock()
					done++
					if a.Outcome != OK {
						failed++
						b.Logf("%s: %+v", n.Name, a)
					} else {
						pauses = append(pauses, time.Since(last))
						last = time.Now()
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(300 * time.Millisecond)
		if err := leader.Process.Kill(); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for {
			if a := c.Rotate(ctx, survivors[0], key); a.Outcome == OK {
				break
			}
		}
		writes = append(writes, time.Since(began))
		time.Sleep(500 * time.Millisecond)
		stop.Store(true)
		wg.Wait()
		if err := leader.Process.Launch(); err != nil {
			b.Fatal(err)
		}
		wait, cancel := context.WithTimeout(ctx, time.Minute)
		err = c.Settle(wait)
		cancel()
		if err != nil {
			b.Fatal(err)
		}
	}
	report(b, "write", writes)
	report(b, "pause", pauses)
	b.ReportMetric(float64(failed), "failed")
	b.ReportMetric(float64(done), "encrypts")
}

// BenchmarkRevoke takes rights away while all is well, and while one node is paused.
func BenchmarkRevoke(b *testing.B) {
	c := startCluster(b, 3)
	ctx := context.Background()
	var healthy, paused []time.Duration
	take := func(name string, times *[]time.Duration) {
		began := time.Now()
		if a := c.Revoke(ctx, c.nodes[0], name); a.Outcome != OK {
			b.Fatalf("revoke %s: %+v", name, a)
		}
		*times = append(*times, time.Since(began))
	}
	for _, name := range rightsOf(b, c, 30) {
		take(name, &healthy)
	}
	names := rightsOf(b, c, 5)
	var follower *Node
	leader, err := c.Leader(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range c.nodes[1:] {
		if n != leader {
			follower = n
		}
	}
	for _, name := range names {
		if err := follower.Process.Pause(); err != nil {
			b.Fatal(err)
		}
		take(name, &paused)
		if err := follower.Process.Resume(); err != nil {
			b.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	report(b, "healthy", healthy)
	report(b, "paused", paused)
}

// BenchmarkWrites has many clients of all three nodes rotate keys, each its own.
func BenchmarkWrites(b *testing.B) {
	const clients, lasts = 96, 20 * time.Second
	c := startCluster(b, 3)
	keys := make([]string, clients)
	for i := range keys {
		var err error
		if keys[i], err = c.NewKey(context.Background(), c.nodes[i%len(c.nodes)]); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	var writes, others atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i, key := range keys {
		all.Go(func() {
			for ctx.Err() == nil {
				if a := c.Rotate(ctx, c.nodes[i%len(c.nodes)], key); a.Outcome == OK {
					writes.Add(1)
				} else if ctx.Err() == nil && others.Add(1) < 4 {
					b.Logf("%+v", a)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(writes.Load())/time.Since(began).Seconds(), "writes/s")
	b.ReportMetric(float64(others.Load()), "failed")
}

// BenchmarkFollowerCost encrypts on a follower and compares the processor time of the leader with that of the follower.
func BenchmarkFollowerCost(b *testing.B) {
	c := startCluster(b, 3)
	ctx := context.Background()
	right := rightsOf(b, c, 1)[0]
	leader, err := c.Leader(ctx)
	if err != nil {
		b.Fatal(err)
	}
	follower := c.nodes[slices.IndexFunc(c.nodes, func(n *Node) bool { return n != leader })]
	idle0 := cpu(b, leader)
	time.Sleep(5 * time.Second)
	idle := cpu(b, leader) - idle0
	before, beforeF := cpu(b, leader), cpu(b, follower)
	until := time.Now().Add(5 * time.Second)
	var wg sync.WaitGroup
	var ok atomic.Int64
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(until) {
				if _, a := c.Encrypt(ctx, follower, right); a.Outcome == OK {
					ok.Add(1)
				}
			}
		})
	}
	wg.Wait()
	l, f := cpu(b, leader)-before, cpu(b, follower)-beforeF
	b.ReportMetric(float64(ok.Load())/5, "encrypts/s")
	b.ReportMetric(100*float64(l-idle)/float64(f), "leader-%-of-follower")
	b.ReportMetric(100*float64(idle)/500, "leader-idle-%-of-a-processor")
}

// cpu returns the processor time of a node, in hundredths of a second: fields 14 and 15 of proc_pid_stat(5).
func cpu(b *testing.B, n *Node) int64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Process.PID()))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var sum int64
	for _, f := range fields[11:13] {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += v
	}
	return sum
}
