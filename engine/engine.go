package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/secret"
)

// Vault is the token as the engine needs it. Its errors carry fault.HSMUnavailable when the token cannot be used now.
type Vault interface {
	// Expand returns n bytes of HKDF-Expand-SHA256 (RFC 5869 section 2.3) with the master key as PRK, computed in the
	// token. n is 1 to 8160.
	Expand(ctx context.Context, info []byte, n int) (secret.Bytes, error)
	// Random returns n bytes of the token's random generator.
	Random(ctx context.Context, n int) ([]byte, error)
	// DownSince tells since when the token has not answered; down is false while it answers. It makes no call to the
	// token.
	DownSince() (since time.Time, down bool)
}

// View is replicated state at one moment. Records are immutable; a missing one is nil.
type View interface {
	// Application, RefreshFamily and Session look up what a credential names, before its tenant is known.
	Application(id string) *directory.Application
	RefreshFamily(id string) *directory.RefreshFamily
	Session(hash [32]byte) *directory.Session
	// Tenant returns the tenant's own view: everything else is reached through it only.
	Tenant(id string) TenantView
}

// TenantView is one tenant's part of a View: it finds nothing that belongs to another.
type TenantView interface {
	Record() *directory.Tenant
	Context(name string) *directory.Context
	// Contexts returns the tenant's contexts in order of name.
	Contexts() []*directory.Context
	Version(keyID string) *keys.Version
	User(id string) *directory.User
}

// Ledger is replicated state as the engine needs it.
type Ledger interface {
	// Propose makes the command part of the log and returns its outcome once this node has applied it. A refused outcome
	// comes back as an error of that kind. Errors of kind LedgerUnavailable leave it open whether the command was applied.
	Propose(ctx context.Context, c command.Command) (command.Outcome, error)
	// View returns the newest applied state.
	View() View
	// Epoch changes whenever an applied command may have changed a right, a context or a key version's state. It is read
	// on every operation and costs one atomic load.
	Epoch() uint64
}

// AuditLog is the tamper-evident record of operations. Append returns when the record is durable (or, with relaxed
// durability, handed over); its errors carry fault.AuditUnavailable.
type AuditLog interface {
	Append(r *audit.Record) (audit.Receipt, error)
}

// Config holds what an Engine works with. Vault, Ledger and Audit are required.
type Config struct {
	Vault  Vault
	Ledger Ledger
	Audit  AuditLog
	Log    *slog.Logger // nil discards
	// Grace is how long cached keys serve after the token stopped answering; 0 refuses at once.
	Grace time.Duration
	// CachedKeys bounds the data keys held in memory (0 means 10,000); CacheIdle is how long an unused one stays (0 means
	// 15 minutes).
	CachedKeys int
	CacheIdle  time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Engine carries out the use cases. All methods may be called by many goroutines at once.
type Engine struct {
	vault  Vault
	ledger Ledger
	audit  AuditLog
	log    *slog.Logger
	now    func() time.Time
	deks   *dekCache
	plans  *otter.Cache[planKey, *plan]
	meters meters
}

// New returns an Engine.
func New(c Config) (*Engine, error) {
	if c.Vault == nil || c.Ledger == nil || c.Audit == nil {
		return nil, errors.New("engine: vault, ledger and audit log are required")
	}
	if c.Grace < 0 || c.CachedKeys < 0 || c.CacheIdle < 0 {
		return nil, errors.New("engine: grace, number of cached keys and idle time must not be negative")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	plans, err := otter.New(&otter.Options[planKey, *plan]{
		MaximumSize: maxPlans,
		// A plan keeps the state it was compiled from alive.
		ExpiryCalculator: otter.ExpiryAccessing[planKey, *plan](defaultCacheIdle),
	})
	if err != nil {
		return nil, err
	}
	e := &Engine{vault: c.Vault, ledger: c.Ledger, audit: c.Audit, log: c.Log, now: c.Now, plans: plans}
	e.deks, err = newDEKCache(c)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Close drops every cached key and overwrites it. Operations that run meanwhile finish with the keys they hold.
func (e *Engine) Close() { e.deks.drop() }
