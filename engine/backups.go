package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// Archive takes the replicated state out, and puts it back.
type Archive interface {
	// Take returns the newest state of this node.
	Take() (*StateBackup, error)
	// Read reads what StateBackup.Write wrote, to its end, into a state of its own.
	Read(r io.Reader) (BackedState, error)
}

// StateBackup is a state that is to be written.
type StateBackup struct {
	Cluster string
	Index   uint64 // of the newest entry in it
	Term    uint64
	Digest  [32]byte
	Records uint64
	Write   func(io.Writer) error
}

// BackedState is a state that was read from a backup, whole and with its digest proved.
type BackedState interface {
	// Report looks at everything in it.
	Report() StateReport
	// Losses counts the records of the present state that a restore would change or drop.
	Losses() int
	// Restore puts it in the place of the present state, on the node that leads. At is in Unix milliseconds.
	Restore(ctx context.Context, at int64) error
}

// StateReport is what is in a backup.
type StateReport struct {
	Cluster  string
	Index    uint64
	Term     uint64
	Digest   [32]byte
	Records  uint64
	Tables   []TableCount
	Problems []string // what does not fit together, by ids; the first hundred
	Found    int      // how many problems there are
}

// TableCount is how many records of a kind there are.
type TableCount struct {
	Name    string
	Records uint64
}

// BackupTarget is a place for backups with its name.
type BackupTarget struct {
	Name  string
	Place backup.Target
}

// BackupInfo is one backup in a target.
type BackupInfo struct {
	ID       string
	Target   string
	Bytes    int64
	Stored   time.Time
	Manifest *backup.Manifest // nil when it could not be read; see Authentic
	Problem  string           // why it cannot be restored here
	// Rehearsed is the newest rehearsal of it that is known.
	Rehearsed *directory.BackupRun
}

// TargetInfo is a place for backups, and why it could not be looked at.
type TargetInfo struct {
	Name, Place, Problem string
}

// BackupList is all that is known of backups.
type BackupList struct {
	Targets  []TargetInfo
	Backups  []BackupInfo // the newest first
	Runs     []*directory.BackupRun
	Schedule *directory.BackupSchedule // nil is never
}

const opBackup = "engine.backup"

var errNoArchive = fault.New(fault.Unavailable, opBackup,
	"this node has no place for backups: name one in its configuration (backup.targets), and start it again")

// Retries of what is written to the log about backups.
const (
	recordLimit  = 15 * time.Second
	listParallel = 8
)

// backupWork is what goes on with backups: one at a time on this node.
type backupWork struct {
	busy   sync.Mutex // held during a backup, rehearsal or restore
	ctx    context.Context
	cancel context.CancelFunc
}

func (w *backupWork) stop() { w.cancel() }

// target returns the target of a name. Empty is that of the schedule, or the only one.
func (e *Engine) target(name string) (*BackupTarget, error) {
	if e.archive == nil || len(e.targets) == 0 {
		return nil, errNoArchive
	}
	if name == "" {
		if len(e.targets) == 1 {
			return &e.targets[0], nil
		}
		if s := e.schedule(); s != nil {
			name = s.Target
		}
	}
	var names []string
	for i := range e.targets {
		if e.targets[i].Name == name {
			return &e.targets[i], nil
		}
		names = append(names, e.targets[i].Name)
	}
	return nil, malformedField("target", "must be one of the targets in the node's configuration: "+strings.Join(names, ", "))
}

func (e *Engine) schedule() *directory.BackupSchedule {
	if c := e.ledger.View().Cluster(); c != nil {
		return c.Backups
	}
	return nil
}

// backupKey returns the key of all backups under this master key, which the caller destroys.
func (e *Engine) backupKey(ctx context.Context) (secret.Bytes, error) {
	return e.vault.Expand(ctx, PurposeInfo(PurposeBackup), derivedBytes)
}

// alone has one backup, rehearsal or restore at a time on this node.
func (e *Engine) alone(work func() error) error {
	if !e.backups.busy.TryLock() {
		return &fault.Error{
			Kind: fault.Conflict, Op: opBackup, Detail: "this node makes, rehearses or restores a backup already: try again when it is done",
			RetryAfter: 5 * time.Second,
		}
	}
	defer e.backups.busy.Unlock()
	return work()
}

// CreateBackup writes the state to a target.
func (e *Engine) CreateBackup(ctx context.Context, c *Call, target string) (*directory.BackupRun, error) {
	r := c.begin(policy.CreateBackup)
	_, err := e.authorizeChange(c, policy.CreateBackup)
	var place *BackupTarget
	if err == nil {
		place, err = e.target(target)
	}
	if err != nil {
		return nil, e.finish(c, &r, err)
	}
	r.Administrative = true
	var run *directory.BackupRun
	err = e.steps(c, &r, func() error {
		return e.alone(func() (err error) {
			run, err = e.backUp(ctx, place, e.newRun(place))
			r.Resource = run.Backup
			return cmp.Or(err, e.still(c, policy.CreateBackup))
		})
	})
	if err != nil {
		return nil, err
	}
	return run, nil
}

// still looks at the rights once more after work that may have taken longer than a lease.
func (e *Engine) still(c *Call, action policy.Action) error {
	c.lease = 0
	_, err := e.authorizeChange(c, action)
	return err
}

// newRun returns a run that begins now. Ids of runs sort by time.
func (e *Engine) newRun(place *BackupTarget) *directory.BackupRun {
	now := e.now().UTC()
	return &directory.BackupRun{
		ID: "run_" + now.Format("20060102t150405.000z") + "_" + randomID(), Target: place.Name, Node: e.nodeID, At: now.UnixMilli(),
	}
}

// backUp makes a backup and records how it went.
func (e *Engine) backUp(ctx context.Context, place *BackupTarget, run *directory.BackupRun) (*directory.BackupRun, error) {
	var random [8]byte
	rand.Read(random[:])
	run.Backup = backup.NewID(e.now(), random)
	m, err := e.write(ctx, place, run.Backup)
	if err == nil {
		run.Bytes, run.Index, run.Digest = m.Bytes, m.Index, [32]byte(m.StateDigest)
	}
	return run, e.ended(ctx, run, err)
}

// ended notes the end of a run. That it cannot be noted does not undo it.
func (e *Engine) ended(ctx context.Context, run *directory.BackupRun, err error) error {
	err = storageFault(err)
	run.Pending, run.Took = false, max(1, e.now().UnixMilli()-run.At)
	if err != nil {
		run.Failed = clip(describe(err), directory.BackupTextMax)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	if _, noted := e.ledger.Propose(ctx, command.RecordBackup{Run: *run}); noted != nil {
		e.log.Warn("a run of backups could not be noted", "run", run.ID, "backup", run.Backup, "error", noted)
	}
	if err != nil {
		e.log.Error("a backup, rehearsal or restore failed", "run", run.ID, "backup", run.Backup, "target", run.Target, "error", err)
	}
	return err
}

func (e *Engine) write(ctx context.Context, place *BackupTarget, id string) (backup.Manifest, error) {
	state, err := e.archive.Take()
	if err != nil {
		return backup.Manifest{}, err
	}
	cluster := e.ledger.View().Cluster()
	if cluster == nil {
		return backup.Manifest{}, errNoCluster
	}
	key, err := e.backupKey(ctx)
	if err != nil {
		return backup.Manifest{}, err
	}
	defer key.Destroy()
	m := backup.Manifest{
		ID: id, Cluster: state.Cluster, Node: e.nodeID, CreatedAt: e.now().UTC().Truncate(time.Millisecond), Index: state.Index,
		Term: state.Term, StateDigest: state.Digest[:], Records: state.Records, MasterKCV: cluster.MasterKCV, Program: e.program,
		Commands: cluster.Commands(),
	}
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		var err error
		m, err = backup.Write(to, key, m, state.Write)
		_ = to.CloseWithError(err) // it returns nil
		written <- err
	}()
	err = place.Place.Put(ctx, backup.FileName(id), from)
	_ = from.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // it returns nil
	if wrote := <-written; err == nil {
		err = wrote
	}
	return m, err
}

var errNoCluster = fault.New(fault.Unavailable, opBackup, "this node has not learned of its cluster yet: try again")

// locate finds a backup in a target, or in all when none is named.
func (e *Engine) locate(ctx context.Context, id, target string) (*BackupTarget, error) {
	if !backup.ValidID(id) {
		return nil, errNoBackup
	}
	if target != "" || len(e.targets) == 1 {
		return e.target(target)
	}
	if _, err := e.target(e.firstTarget()); err != nil {
		return nil, err
	}
	var failed error
	for i := range e.targets {
		items, err := e.targets[i].Place.List(ctx)
		failed = errors.Join(failed, err)
		if slices.ContainsFunc(items, func(item backup.Item) bool { return item.Name == backup.FileName(id) }) {
			return &e.targets[i], nil
		}
	}
	if failed != nil {
		return nil, storageFault(failed)
	}
	return nil, errNoBackup
}

func (e *Engine) firstTarget() string {
	if len(e.targets) == 0 {
		return ""
	}
	return e.targets[0].Name
}

var errNoBackup = fault.New(fault.NotFound, opBackup, "there is no such backup in the targets of this node")

// storageFault gives the errors of files and targets a kind, and what the caller may read.
func storageFault(err error) error {
	if err == nil || fault.Of(err) != fault.Internal && fault.Of(err) != fault.Unknown {
		return err
	}
	kind, detail := fault.Unavailable, "the place for backups does not answer as it should: look into the node's log"
	switch {
	case errors.Is(err, backup.ErrNotFound):
		return errNoBackup
	case errors.Is(err, backup.ErrWrongKey), errors.Is(err, backup.ErrDamaged), errors.Is(err, backup.ErrNewer), errors.Is(err, backup.ErrNotBackup):
		kind, detail = fault.Conflict, plain(err)
	case errors.Is(err, backup.ErrNoTarget), errors.Is(err, backup.ErrCredentials), errors.Is(err, backup.ErrFull), errors.Is(err, backup.ErrExists):
		detail = plain(err)
	}
	return fault.Wrap(kind, opBackup, detail, err)
}

// plain is an error of package backup without the names of operations before it.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"backup: open: ", "backup: read: ", "backup: check: ", "backup: read manifest: ", "cluster: read backup: "} {
		if i := strings.Index(text, prefix); i >= 0 {
			text = text[i+len(prefix):]
		}
	}
	return text
}

// describe is what a run says of why it failed.
func describe(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Detail != "" {
		return f.Detail
	}
	return err.Error()
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// ReadBackup copies a backup as it stands in its target: sealed, so that it can be kept elsewhere. Begin is called with its length
// before the first byte. An error after that means that the copy is not whole.
func (e *Engine) ReadBackup(ctx context.Context, c *Call, id, target string, begin func(bytes int64) (io.Writer, error)) error {
	r := c.begin(policy.ReadBackup)
	r.Resource = id
	_, err := e.authorizeChange(c, policy.ReadBackup)
	var place *BackupTarget
	if err == nil {
		place, err = e.locate(ctx, id, target)
	}
	if err == nil {
		if err = storageFault(e.copyBackup(ctx, place, id, begin)); err == nil {
			err = e.still(c, policy.ReadBackup)
		}
	}
	return e.finish(c, &r, err)
}

func (e *Engine) copyBackup(ctx context.Context, place *BackupTarget, id string, begin func(int64) (io.Writer, error)) (err error) {
	items, err := place.Place.List(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(items, func(item backup.Item) bool { return item.Name == backup.FileName(id) })
	if i < 0 {
		return errNoBackup
	}
	from, err := place.Place.Get(ctx, backup.FileName(id))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := begin(items[i].Bytes)
	if err != nil {
		return err
	}
	n, err := io.Copy(to, from)
	if err == nil && n != items[i].Bytes {
		err = fmt.Errorf("%d of %d bytes could be read", n, items[i].Bytes)
	}
	return err
}

// SetBackupSchedule says when backups are made by themselves, and which are kept. The revision of the schedule is the one that the
// caller saw, 0 for none; the new one has the next.
func (e *Engine) SetBackupSchedule(ctx context.Context, c *Call, s directory.BackupSchedule) (*directory.BackupSchedule, error) {
	r := c.begin(policy.SetBackupSchedule)
	r.Resource = s.Target
	err := e.changeAs(ctx, c, &r, policy.SetBackupSchedule, func(*directory.User) (command.Command, error) {
		if s.Target == "" && len(e.targets) == 1 {
			s.Target = e.targets[0].Name
		}
		if _, err := e.target(s.Target); err != nil {
			return nil, err
		}
		if err := s.Validate(); err != nil {
			return nil, fault.New(fault.Malformed, opBackup, err.Error())
		}
		s.Revision++
		return command.SetBackupSchedule{Schedule: s}, nil
	})
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// BackupSchedule returns when backups are made by themselves; nil is never.
func (e *Engine) BackupSchedule(_ context.Context, c *Call) (*directory.BackupSchedule, error) {
	r := c.begin(policy.ListBackups)
	_, err := e.authorizeChange(c, policy.ListBackups)
	var s *directory.BackupSchedule
	if err == nil {
		s = e.schedule()
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return s, nil
}

// kcvText is a key check value as people compare it.
func kcvText(kcv []byte) string { return hex.EncodeToString(kcv) }
