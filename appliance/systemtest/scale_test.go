//go:build !race

package systemtest

import (
	"context"
	"crypto/ed25519"

	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster"
	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm"
)

// How much there is in the large state.
const (
	scaleApplications = 100_000
	scaleContexts     = 10_000
	scalePolicies     = 100
)

// BenchmarkScale compares a node with 100,000 applications, 10,000 contexts and 100 policies with one that has what dev makes:
// encryptions a second, interleaved; and tells how long the large one takes to start and what memory it holds.
func BenchmarkScale(b *testing.B) {
	small, large := filepath.Join(b.TempDir(), "small"), filepath.Join(b.TempDir(), "large")
	for _, dir := range []string{small, large} {
		dev(b, dir, "--audit", "relaxed").stop()
	}
	fillState(b, large)
	begun := time.Now()
	big := dev(b, large, "--audit", "relaxed")
	started := time.Since(begun)
	few := dev(b, small, "--audit", "relaxed")
	for _, d := range []*daemon{few, big} { // keys into memory
		encrypting(b, d, time.Second)
	}
	var ratios []float64
	for b.Loop() {
		one := encrypting(b, few, 2*time.Second)
		many := encrypting(b, big, 2*time.Second)
		again := encrypting(b, few, 2*time.Second)
		ratios = append(ratios, float64(many)/(float64(one+again)/2))
	}
	sum := 0.0
	for _, r := range ratios {
		sum += r
	}
	b.ReportMetric(sum/float64(len(ratios)), "ratio")
	b.ReportMetric(started.Seconds(), "start-s")
	b.ReportMetric(residentMiB(b, big), "MiB")
	b.ReportMetric(residentMiB(b, few), "MiB-small")
}

// encrypting counts the encryptions of 32 bytes in a context under the load of 16 connections.
func encrypting(b *testing.B, d *daemon, how time.Duration) int {
	b.Helper()
	transport := d.transport()
	transport.MaxIdleConnsPerHost = 16
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	token := d.file("app.token")
	end := time.Now().Add(how)
	counts := make([]int, 16)
	var all sync.WaitGroup
	for i := range counts {
		all.Go(func() {
			for time.Now().Before(end) {
				if _, err := encryptOnce(client, d.url, token, strings.Repeat("p", 32), nil); err != nil {
					b.Error(err)
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// residentMiB is the memory that a process holds now.
func residentMiB(b *testing.B, d *daemon) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}

// fillState writes the large state into the Raft log of a node that does not run, by the commands that its API would propose.
func fillState(b *testing.B, dir string) {
	b.Helper()
	ctx := b.Context()
	var id struct {
		ClusterID string `json:"cluster_id"`
		NodeID    string `json:"node_id"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "node.json"))
	must(b, err)
	must(b, json.Unmarshal(raw, &id))
	store, err := softhsm.Open(filepath.Join(dir, "token"))
	must(b, err)
	must(b, store.Use())
	library, err := softhsm.Library()
	must(b, err)
	pin, err := os.ReadFile(filepath.Join(dir, "token.pin"))
	must(b, err)
	token, err := hsm.Open(ctx, hsm.Config{Module: library, TokenLabel: "cryptoserve", PIN: secret.Copy([]byte(strings.TrimSpace(string(pin))))})
	must(b, err)
	defer func() { must(b, token.Close(ctx)) }()
	must(b, token.Load(ctx))
	key, err := token.Expand(ctx, engine.PurposeInfo(engine.PurposeStorage, id.ClusterID), 32)
	must(b, err)
	node, err := cluster.Open(ctx, cluster.Config{Dir: filepath.Join(dir, "raft"), NodeID: id.NodeID, ClusterID: id.ClusterID, StorageKey: key})
	must(b, err)
	defer func() { must(b, node.Close()) }()
	tenant := node.View().Tenants()[0].ID
	now := time.Now().UnixMilli()

	proposeAll(ctx, b, node, scaleContexts, func(i int) command.Command {
		name := fmt.Sprintf("context-%05d", i)
		v := keys.Version{
			ID: keys.NewID(name, number(i)), Tenant: tenant, Context: name, Number: 1, State: keys.Active, Algorithm: algs.AES256GCM,
			Bits: keys.DEKBits, Salt: make([]byte, keys.SaltBytes), CreatedAt: now,
		}
		return command.CreateContext{Version: v, Context: directory.Context{
			Tenant: tenant, Name: name, Algorithm: algs.AES256GCM, Format: 4, Derivation: directory.Salted, Status: directory.Enabled,
			ActiveKey: v.ID, Versions: 1, CreatedAt: now,
		}}
	})
	public, _, err := ed25519.GenerateKey(nil)
	must(b, err)
	proposeAll(ctx, b, node, scaleApplications, func(i int) command.Command {
		return command.CreateApplication{Application: directory.Application{
			ID: fmt.Sprintf("app_bench_%016x", i), Tenant: tenant, Name: fmt.Sprintf("bench %d", i), Team: "bench", Environment: "production",
			Status: directory.Enabled, KeyID: fmt.Sprintf("appkey_%016x", i), PublicKey: public, SealedKey: make([]byte, 61), CreatedAt: now,
			Grants: []directory.Grant{{Context: fmt.Sprintf("context-%05d", i%scaleContexts), Encrypt: true, Decrypt: true}},
		}}
	})
	proposeAll(ctx, b, node, scalePolicies, func(i int) command.Command {
		return command.PutPolicy{Create: true, Policy: directory.Policy{
			Tenant: tenant, Name: fmt.Sprintf("policy-%03d", i), Status: directory.Enabled, CreatedAt: now, UpdatedAt: now,
			Expression: fmt.Sprintf("context.sensitivity != 'critical' || algorithm.key_bits >= 256 && identity.team != 'team-%d'", i),
		}}
	})
}

func number(i int) (b [8]byte) {
	copy(b[:], fmt.Sprintf("%08d", i))
	return b
}

// proposeAll proposes n commands from many goroutines, so that the log takes them in batches.
func proposeAll(ctx context.Context, b *testing.B, node *cluster.Node, n int, make func(int) command.Command) {
	b.Helper()
	next := func() func() int {
		var mu sync.Mutex
		i := -1
		return func() int {
			mu.Lock()
			defer mu.Unlock()
			i++
			return i
		}
	}()
	var all sync.WaitGroup
	for range 256 {
		all.Go(func() {
			for i := next(); i < n; i = next() {
				if _, err := node.Propose(ctx, make(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
