package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/cluster"
	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm"
)

// token is a SoftHSM2 token that all tests of this package share: a process can have one.
var token *hsm.Token

func TestMain(m *testing.M) {
	code, err := withToken(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withToken(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "engine-test")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	library, err := softhsm.Library()
	if err != nil {
		return 0, err
	}
	store, err := softhsm.Create(dir)
	if err != nil {
		return 0, err
	}
	if err := store.Use(); err != nil {
		return 0, err
	}
	pin := secret.Copy([]byte("123456"))
	if err := hsm.InitToken(library, "engine", secret.Copy([]byte("12345678")), pin); err != nil {
		return 0, err
	}
	ctx := context.Background()
	token, err = hsm.Open(ctx, hsm.Config{Module: library, TokenLabel: "engine", PIN: pin})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, token.Close(ctx)) }()
	if err := token.Provision(ctx); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

var errDown = fault.New(fault.HSMUnavailable, "test", "the token is away")

// vault is the real token with a count of its calls and a switch that makes it unreachable.
type vault struct {
	*hsm.Token
	calls atomic.Int64
	down  atomic.Pointer[time.Time]
	// kept counts the token objects of imported deployments.
	kept atomic.Int64
	// onExpand, if set, sees each derived key.
	onExpand func(info []byte, key secret.Bytes)
}

func (v *vault) Expand(ctx context.Context, info []byte, n int) (secret.Bytes, error) {
	v.calls.Add(1)
	if v.down.Load() != nil {
		return secret.Bytes{}, errDown
	}
	key, err := v.Token.Expand(ctx, info, n)
	if err == nil && v.onExpand != nil {
		v.onExpand(info, key)
	}
	return key, err
}

func (v *vault) KeepLegacy(ctx context.Context, number uint32, kcv, pair, wrapped []byte) error {
	v.kept.Add(1)
	return v.Token.KeepLegacy(ctx, number, kcv, pair, wrapped)
}

func (v *vault) Random(ctx context.Context, n int) ([]byte, error) {
	v.calls.Add(1)
	if v.down.Load() != nil {
		return nil, errDown
	}
	return v.Token.Random(ctx, n)
}

func (v *vault) DownSince() (time.Time, bool) {
	if t := v.down.Load(); t != nil {
		return *t, true
	}
	return time.Time{}, false
}

// ledger is a real Raft node with a count of its writes.
type ledger struct {
	*cluster.Node
	writes atomic.Int64
	// onPropose, if set, runs before each write and may refuse it.
	onPropose func(command.Command) error
	// afterPropose, if set, runs after each write that was applied, with the context it was proposed under.
	afterPropose func(context.Context, command.Command)
}

func (l *ledger) Propose(ctx context.Context, c command.Command) (command.Outcome, error) {
	l.writes.Add(1)
	if l.onPropose != nil {
		if err := l.onPropose(c); err != nil {
			return command.Outcome{}, err
		}
	}
	out, err := l.Node.Propose(ctx, c)
	if err == nil && l.afterPropose != nil {
		l.afterPropose(ctx, c)
	}
	return out, err
}

func (l *ledger) View() engine.View { return view{l.Node.View()} }

type view struct{ *cluster.View }

func (v view) Tenant(id string) engine.TenantView { return v.View.Tenant(id) }

// auditLog is a real audit log that can be made to fail, and remembers the last record.
type auditLog struct {
	*audit.Log
	fail atomic.Bool
	last atomic.Pointer[audit.Record]
	all  atomic.Int64
	// onAppend, if set, sees a copy of each record.
	onAppend func(*audit.Record)
}

func (a *auditLog) Append(r *audit.Record) (audit.Receipt, error) {
	if a.fail.Load() {
		return audit.Receipt{}, errors.New("disk full")
	}
	copied := *r
	a.last.Store(&copied)
	if a.onAppend != nil {
		a.onAppend(&copied)
	}
	a.all.Add(1)
	return a.Log.Append(r)
}

// world is an engine with everything around it, one tenant with contexts, and an application that may use some.
type world struct {
	t      testing.TB
	engine *engine.Engine
	vault  *vault
	ledger *ledger
	audit  *auditLog
	dir    string
	tenant string
	app    *directory.Application
	clock  atomic.Int64 // offset in nanoseconds
	frozen atomic.Int64 // a time to stand still at, in Unix nanoseconds; 0 runs
}

type option func(*engine.Config)

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), vault: &vault{Token: token}, ledger: &ledger{}, audit: &auditLog{}}
	ctx := t.Context()
	key, err := token.Expand(ctx, engine.PurposeInfo(engine.PurposeStorage, t.Name()), 32)
	if err != nil {
		t.Fatal(err)
	}
	w.ledger.Node, err = cluster.Open(ctx, cluster.Config{Dir: filepath.Join(w.dir, "raft"), NodeID: "node_1", ClusterID: "cluster_1", StorageKey: key,
		ElectionTimeout: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	w.audit.Log, err = audit.Open(audit.Config{Dir: filepath.Join(w.dir, "audit"), Node: "node_1", SegmentBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.audit.Close(); err != nil {
			t.Error(err)
		}
	})
	config := engine.Config{
		Vault: w.vault, Ledger: w.ledger, Audit: w.audit, Grace: time.Minute,
		Now: w.now,
	}
	for _, o := range options {
		o(&config)
	}
	w.engine, err = engine.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.engine.Close)
	if err := w.engine.CreateCluster(ctx, w.appliance(""), directory.Cluster{ID: "cluster_1", MasterKCV: token.MasterKCV()}); err != nil {
		t.Fatal(err)
	}
	w.tenant = w.newTenant("first")
	w.newContext(w.tenant, engine.ContextSpec{Name: "user-pii"})
	w.newContext(w.tenant, engine.ContextSpec{Name: "payment-data"})
	w.newContext(w.tenant, engine.ContextSpec{Name: "legacy", Format: 3})
	w.newContext(w.tenant, engine.ContextSpec{Name: "closed"})
	w.app = w.newApplication(w.tenant, "demo", "user-pii", "payment-data", "legacy")
	return w
}

func (w *world) appliance(tenant string) *engine.Call { return w.engine.ApplianceCall("test", tenant) }

func (w *world) newTenant(name string) string {
	w.t.Helper()
	tenant, err := w.engine.CreateTenant(w.t.Context(), w.appliance(""), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return tenant.ID
}

func (w *world) newContext(tenant string, spec engine.ContextSpec) {
	w.t.Helper()
	if _, err := w.engine.CreateContext(w.t.Context(), w.appliance(tenant), spec); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) newApplication(tenant, name string, contexts ...string) *directory.Application {
	w.t.Helper()
	var grants []directory.Grant
	for _, c := range contexts {
		grants = append(grants, directory.Grant{Context: c, Encrypt: true, Decrypt: true})
	}
	app, err := w.engine.CreateApplication(w.t.Context(), w.appliance(tenant), engine.ApplicationSpec{Name: name, Grants: grants})
	if err != nil {
		w.t.Fatal(err)
	}
	return app
}

func subject(app *directory.Application) *policy.Subject {
	return &policy.Subject{Kind: policy.KindApplication, ID: app.ID, Tenant: app.Tenant, Credential: app.KeyID}
}

// call returns a call of the world's application.
func (w *world) call() *engine.Call { return callOf(subject(w.app)) }

func callOf(s *policy.Subject) *engine.Call {
	return &engine.Call{Subject: s, RequestID: "r1", Source: "127.0.0.1:1", Start: time.Now()}
}

func (w *world) encrypt(context, plaintext, aad string) (engine.EncryptResult, error) {
	return w.engine.Encrypt(w.t.Context(), w.call(), &engine.EncryptRequest{Context: context, Plaintext: []byte(plaintext), AssociatedData: []byte(aad)})
}

func (w *world) decrypt(context string, frame []byte, aad string) (engine.DecryptResult, error) {
	return w.engine.Decrypt(w.t.Context(), w.call(), &engine.DecryptRequest{Context: context, Ciphertext: frame, AssociatedData: []byte(aad)})
}

func (w *world) mustEncrypt(context, plaintext, aad string) engine.EncryptResult {
	w.t.Helper()
	out, err := w.encrypt(context, plaintext, aad)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) rotate(context string) engine.RotateResult {
	w.t.Helper()
	out, err := w.engine.RotateContext(w.t.Context(), w.appliance(w.tenant), context)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}
