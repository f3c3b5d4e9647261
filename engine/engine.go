package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/password"
	"cryptoserve/engine/secret"
	"cryptoserve/engine/signature"
)

// Vault is the token as the engine needs it. Its errors carry fault.HSMUnavailable when the token cannot be used now.
type Vault interface {
	// Expand returns n bytes of HKDF-Expand-SHA256 (RFC 5869 section 2.3) with the master key as PRK, computed in the
	// token. n is 1 to 8160.
	Expand(ctx context.Context, info []byte, n int) (secret.Bytes, error)
	// Random returns n bytes of the token's random generator.
	Random(ctx context.Context, n int) ([]byte, error)
	// Supports reports whether keys of an algorithm can be made and used in the token; the error says why not.
	Supports(name algs.Name) error
	// GenerateKey makes a key in the token and returns its public half (SubjectPublicKeyInfo in DER, nil for a secret key)
	// and the key as a blob that only tokens of this cluster open. The following calls use such blobs.
	GenerateKey(ctx context.Context, name algs.Name) (public, blob []byte, err error)
	// SignDigest signs a digest: r || s for ECDSA, the block for RSA.
	SignDigest(ctx context.Context, name algs.Name, blob, public []byte, hash algs.Name, digest []byte) ([]byte, error)
	// Agree returns the raw shared secret with a peer's public key, an uncompressed point.
	Agree(ctx context.Context, name algs.Name, blob, peer []byte) (secret.Bytes, error)
	DecryptOAEP(ctx context.Context, name algs.Name, blob, ciphertext, label []byte) ([]byte, error)
	// EncryptGCM returns nonce (12) || ciphertext || tag (16).
	EncryptGCM(ctx context.Context, blob, plaintext, associated []byte) ([]byte, error)
	DecryptGCM(ctx context.Context, blob, sealed, associated []byte) ([]byte, error)
	MAC(ctx context.Context, name algs.Name, blob, message []byte) ([]byte, error)
	// ImportPair makes an RSA pair that receives wrapped keys (PKCS#11 v3.0 CKM_RSA_AES_KEY_WRAP), and tells the hash of
	// its OAEP. ImportWrapped turns a wrapped key into a blob.
	ImportPair(ctx context.Context) (public, blob []byte, hash algs.Name, err error)
	ImportWrapped(ctx context.Context, pair []byte, name algs.Name, wrapped, public []byte) (spki, blob []byte, err error)
	// UnwrapLegacy turns a wrapped secret into a blob and leaves nothing behind; KeepLegacy makes it the token object
	// cs-legacy-<number>; LegacyExpand expands it, by the object or the blob, as Expand does the master key.
	UnwrapLegacy(ctx context.Context, pair, wrapped []byte) (blob, kcv []byte, err error)
	KeepLegacy(ctx context.Context, number uint32, kcv, pair, wrapped []byte) error
	LegacyExpand(ctx context.Context, number uint32, blob, kcv, info []byte, n int) (secret.Bytes, error)
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
	// ApplicationByCertificate, Invitation, Device and DeviceByUserCode likewise; all hashes are SHA-256.
	ApplicationByCertificate(hash [32]byte) *directory.Application
	Invitation(hash [32]byte) *directory.Invitation
	Device(hash [32]byte) *directory.Device
	DeviceByUserCode(code string) *directory.Device
	// Tenants returns all tenants in order of id.
	Tenants() []*directory.Tenant
	TenantNamed(name string) *directory.Tenant
	// LegacyMasters counts the imported master keys of all tenants; they are numbered from 1.
	LegacyMasters() int
	// Tenant returns the tenant's own view: everything else is reached through it only.
	Tenant(id string) TenantView

	// Cluster returns the record about the cluster, Members its nodes, removed ones too, in order of id.
	Cluster() *directory.Cluster
	Members() []*directory.Member
	Member(id string) *directory.Member
	JoinInvitations() []*directory.JoinInvitation // in order of id
	JoinInvitation(hash [32]byte) *directory.JoinInvitation
	Join(id string) *directory.Join
	Joins() []*directory.Join // in order of id
	// BackupRuns are the newest ones, the oldest of them first.
	BackupRuns() []*directory.BackupRun
}

// TenantView is one tenant's part of a View: it finds nothing that belongs to another.
type TenantView interface {
	Record() *directory.Tenant
	Context(name string) *directory.Context
	// Contexts returns the tenant's contexts in order of name.
	Contexts() []*directory.Context
	Version(keyID string) *keys.Version
	Object(name string) *keys.Object
	// Objects returns the tenant's key objects in order of name, ObjectVersions the versions of one in no order.
	Objects() []*keys.Object
	ObjectVersions(name string) []*keys.Version
	Import(id string) *keys.Import
	LegacyKey(keyID string) *keys.LegacyKey
	LegacyMaster(number uint32) *keys.LegacyMaster
	LegacyMasters() []*keys.LegacyMaster
	User(id string) *directory.User
	UserNamed(name string) *directory.User
	UserIdentified(issuer, subject string) *directory.User
	Users() []*directory.User // in order of name
	// Sessions lists the sessions of a user, RefreshFamilies those of an application; both in no order.
	Sessions(user string) []*directory.Session
	RefreshFamilies(application string) []*directory.RefreshFamily
	Invitations() []*directory.Invitation
	Application(id string) *directory.Application
	// ApplicationOf finds what a user made under a name in an environment.
	ApplicationOf(user, name, environment string) *directory.Application
	Applications() []*directory.Application // in order of id
	// ContextVersions lists the versions of a context's own key, Versions all of the tenant; both in no order.
	ContextVersions(context string) []*keys.Version
	Versions() []*keys.Version
	Usage(keyID string) *keys.Usage
	Policy(name string) *directory.Policy
	Policies() []*directory.Policy // in order of name
	Approval(id string) *directory.Approval
	Approvals() []*directory.Approval // in order of id
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
	// Leads reports whether this node leads the cluster, as far as it knows: two can think so for a moment.
	Leads() bool
	// Compact removes what destroyed keys left on this node's disk. It does nothing when no key was destroyed since.
	Compact(ctx context.Context) error

	// Lease returns until when this node may answer from its state, on a clock of its own: math.MaxInt64 for a cluster of one, 0
	// when it may not. It is one atomic load. Expired reads that clock. Whoever uses a right reads the lease, then the records,
	// then asks Expired, and answers only if it has not: DESIGN section 6.
	Lease() int64
	Expired(lease int64) bool
	// Barrier returns once this node has applied all that was committed anywhere before the call.
	Barrier(ctx context.Context) error
}

// Fleet is the nodes of the cluster as the engine needs them.
type Fleet interface {
	// Nodes returns how each active member is now, this one too, in order of id. One that does not answer in time is not reachable.
	Nodes(ctx context.Context) []directory.NodeStatus
	// Digests returns the digest of each member's state at one index, where they can agree on one in time.
	Digests(ctx context.Context) []directory.NodeDigest
	// TransferLeadership hands the leadership to a member, or to any that is up to date when the id is empty.
	TransferLeadership(ctx context.Context, to string) error
}

// KeyGiver hands the keys of the token to the token of a joining node.
type KeyGiver interface {
	// TransferKeys wraps the master key and the wrapping keys for a join key, SubjectPublicKeyInfo DER, with RSA-OAEP by that hash.
	TransferKeys(ctx context.Context, joinKey []byte, oaepHash algs.Name) (directory.KeyTransfer, error)
	// KeyCheckValues tells which keys the token has.
	KeyCheckValues() directory.KeyCheckValues
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
	// NodeID is this node's id; Fleet and Keys are needed for a cluster that others can join.
	NodeID string
	Fleet  Fleet
	Keys   KeyGiver
	// Archive and Targets are needed for backups; the names of targets are different. Program is the version of the program.
	Archive Archive
	Targets []BackupTarget
	Program string
	// FIPS is how algorithms that are not approved are treated; the zero Mode restricts nothing.
	FIPS algs.Mode
	// Grace is how long cached keys serve after the token stopped answering; 0 refuses at once.
	Grace time.Duration
	// CachedKeys bounds the data keys held in memory (0 means 10,000); CacheIdle is how long an unused one stays (0 means
	// 15 minutes).
	CachedKeys int
	CacheIdle  time.Duration
	// DestroyMinimum is the least waiting period of the destruction of a key version: 0 means seven days, and a negative one
	// that there is none, which is for development.
	DestroyMinimum time.Duration
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
	// nodeID is this node; fleet and giver are nil where no other node can join.
	nodeID string
	fleet  Fleet
	giver  KeyGiver
	// archive is nil where there are no backups.
	archive Archive
	targets []BackupTarget
	program string
	backups backupWork
	fips    algs.Mode
	plans   *otter.Cache[planKey, *plan]
	meters  meters
	uses    uses
	// second is the time that uses are stamped with, in Unix milliseconds: tick sets it every second or so.
	second atomic.Int64
	duties duties
	sweeps sweeps
	// leastWait is Config.DestroyMinimum in milliseconds.
	leastWait int64
	// rulebooks holds the policies of tenants, compiled.
	rulebooks *rulebooks
	// Keys in memory by the id of their version: secret keys, and private keys that sign and that open.
	deks    *keyCache[secret.Bytes]
	signers *keyCache[*signature.PrivateKey]
	openers *keyCache[*kem.PrivateKey]
	decoys  map[algs.Name]decapsulator
	// slow holds a token for each computation that takes a processor for long: there are fewer than processors, so that
	// everything else goes on.
	slow   chan struct{}
	limits *limits
	// registrations bounds how often a user registers applications.
	registrations *limit.Buckets[string]
	// guests are the limits of those who have not signed in yet, or guess.
	guests guests
	// verify compares a password with a stored string.
	verify verifyPassword
	// decoy is a stored password that nobody has.
	decoy string
	// background are the writes that nobody waits for.
	background sync.WaitGroup
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
	if c.DestroyMinimum == 0 {
		c.DestroyMinimum = directory.DefaultDestroyWait * time.Millisecond
	}
	plans, err := otter.New(&otter.Options[planKey, *plan]{
		MaximumSize: maxPlans,
		// A plan keeps the state it was compiled from alive.
		ExpiryCalculator: otter.ExpiryAccessing[planKey, *plan](defaultCacheIdle),
	})
	if err != nil {
		return nil, err
	}
	books, err := newRulebooks()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		vault: c.Vault, ledger: c.Ledger, audit: c.Audit, log: c.Log, now: c.Now, fips: c.FIPS, plans: plans, rulebooks: books,
		nodeID: c.NodeID, fleet: c.Fleet, giver: c.Keys,
		archive: c.Archive, targets: c.Targets, program: c.Program,
	}
	e.backups.ctx, e.backups.cancel = context.WithCancel(context.Background())
	e.limits = newLimits()
	e.leastWait = max(0, c.DestroyMinimum.Milliseconds())
	e.duties.rest = map[string]time.Time{}
	e.tick()
	e.registrations = limit.NewBuckets[string](maxRegistrants)
	e.guests, e.verify = newGuests(), password.Verify
	e.decoy = password.Decoy(c.FIPS.Choose(algs.Argon2id))
	e.slow = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	var errs [4]error
	e.deks, errs[0] = newKeyCache[secret.Bytes](c)
	e.signers, errs[1] = newKeyCache[*signature.PrivateKey](c)
	e.openers, errs[2] = newKeyCache[*kem.PrivateKey](c)
	e.decoys, errs[3] = newDecoys()
	return e, errors.Join(errs[:]...)
}

// Close drops every cached key and overwrites it. Operations that run meanwhile finish with the keys they hold. What FlushUsage
// was not called for is forgotten.
func (e *Engine) Close() {
	e.backups.stop()
	e.background.Wait()
	e.dropKeys()
}
