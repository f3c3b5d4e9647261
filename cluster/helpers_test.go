package cluster

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/secret"
)

const testTimeout = 20 * time.Second // for what takes well below a second

// Names that must never be readable on disk or in a log.
const (
	secretContext     = "zebra-context"
	secretApplication = "walrus-application"
)

func testConfig(t testing.TB, dir string) Config {
	t.Helper()
	return Config{
		Dir: dir, NodeID: "node-1", ClusterID: "cls_0123456789abcdef", StorageKey: secret.New(bytes.Repeat([]byte{7}, 32)),
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// testWriter shows the log when a test fails, and fails it when a name stands in the log.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(secretContext)) || bytes.Contains(p, []byte(secretApplication)) {
		w.t.Errorf("a name stands in the log: %s", p)
	}
	w.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func mustOpen(t testing.TB, cfg Config) *Node {
	t.Helper()
	n, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func mustClose(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustPropose(t testing.TB, n *Node, commands ...command.Command) {
	t.Helper()
	for _, c := range commands {
		if _, err := n.Propose(testContext(t), c); err != nil {
			t.Fatalf("%T: %v", c, err)
		}
	}
}

// openFails returns the error of an Open that must fail.
func openFails(t testing.TB, cfg Config) error {
	t.Helper()
	n, err := Open(testContext(t), cfg)
	if err == nil {
		_ = n.Close()
		t.Fatal("it opened")
	}
	return err
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

func fill(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func keyID(context string, n int) string { return fmt.Sprintf("key_%s_%016x", context, n) }

func newCluster() command.CreateCluster {
	return command.CreateCluster{Cluster: directory.Cluster{
		ID: "cls_0123456789abcdef", CreatedAt: 1, MasterKCV: fill(8, 1), CACertificate: fill(40, 2), CAKey: fill(48, 3),
	}}
}

func newTenant(id string) command.CreateTenant {
	return command.CreateTenant{Tenant: directory.Tenant{ID: id, Name: "name of " + id, Status: directory.Enabled, CreatedAt: 2}}
}

func newVersion(tenant, context string, number uint32, id string) keys.Version {
	return keys.Version{
		ID: id, Tenant: tenant, Context: context, Number: number, State: keys.Active, Algorithm: algs.AES256GCM, Bits: 256,
		Salt: fill(keys.SaltBytes, byte(number)), CreatedAt: int64(number) * 1000,
	}
}

func newContext(tenant, name, key string) command.CreateContext {
	return command.CreateContext{
		Context: directory.Context{
			Tenant: tenant, Name: name, Algorithm: algs.AES256GCM, Format: 4, Derivation: directory.Salted,
			Status: directory.Enabled, ActiveKey: key, Versions: 1, CreatedAt: 1000,
		},
		Version: newVersion(tenant, name, 1, key),
	}
}

func newApplication(tenant, id string, contexts ...string) command.CreateApplication {
	a := directory.Application{
		ID: id, Tenant: tenant, Name: "name of " + id, Status: directory.Enabled, KeyID: "kid", PublicKey: fill(32, 6), CreatedAt: 3,
	}
	for _, c := range contexts {
		a.Grants = append(a.Grants, directory.Grant{Context: c, Encrypt: true, Decrypt: true})
	}
	return command.CreateApplication{Application: a}
}

func newUser(tenant, id string) command.CreateUser {
	return command.CreateUser{User: directory.User{
		ID: id, Tenant: tenant, Name: "name of " + id, Roles: []directory.Role{directory.Owner}, Status: directory.Enabled, CreatedAt: 4,
	}}
}

func newSession(tenant, user string, hash byte, from, to int64) command.CreateSession {
	return command.CreateSession{Session: directory.Session{
		Hash: [32]byte(fill(32, hash)), User: user, Tenant: tenant, CreatedAt: from, ExpiresAt: to,
	}}
}

func newRefresh(tenant, application, id string, hash byte, from, to int64) command.CreateRefresh {
	return command.CreateRefresh{Family: directory.RefreshFamily{
		ID: id, Tenant: tenant, Application: application, Hash: [32]byte(fill(32, hash)), CreatedAt: from, ExpiresAt: to,
	}}
}

// seed is a small state without records of keys and of what people do; everything has one in every table.
func seed() []command.Command {
	app := newApplication("ten-a", "app-1", secretContext)
	app.Application.Name = secretApplication
	return []command.Command{
		newCluster(), newTenant("ten-a"), newTenant("ten-b"),
		newContext("ten-a", secretContext, keyID(secretContext, 1)),
		newContext("ten-b", secretContext, keyID(secretContext, 2)),
		newContext("ten-a", "apple", keyID("apple", 3)),
		app, newUser("ten-a", "usr-1"), newSession("ten-a", "usr-1", 1, 10, 20), newRefresh("ten-a", "app-1", "ref-1", 1, 10, 20),
	}
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// databaseBytes returns a copy of the database file.
func databaseBytes(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// faultyLogs is a log store below ours in which writes can be made to fail or to hang.
type faultyLogs struct {
	raft.LogStore
	store func(next func() error) error // around each write
}

func (f *faultyLogs) StoreLogs(logs []*raft.Log) error {
	return f.store(func() error { return f.LogStore.StoreLogs(logs) })
}
