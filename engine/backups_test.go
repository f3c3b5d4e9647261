package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"cryptoserve/cluster"
	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
)

// archive is a node's state, as the appliance gives it to the engine.
type archive struct {
	ledger *ledger
	// onTake, if set, runs before the state is taken.
	onTake func() error
}

func (a *archive) Take() (*engine.StateBackup, error) {
	if a.onTake != nil {
		if err := a.onTake(); err != nil {
			return nil, err
		}
	}
	b, err := a.ledger.Backup()
	if err != nil {
		return nil, err
	}
	return &engine.StateBackup{Cluster: b.Cluster, Index: b.Index, Term: b.Term, Digest: b.Digest, Records: b.Records, Write: b.Write}, nil
}

func (a *archive) Read(r io.Reader) (engine.BackedState, error) {
	s, err := cluster.ReadBackup(r)
	return &backed{a.ledger, s}, err
}

type backed struct {
	ledger *ledger
	state  *cluster.BackupState
}

func (b *backed) Report() engine.StateReport {
	f := b.state.Report()
	return engine.StateReport{Cluster: f.Cluster, Index: f.Index, Term: f.Term, Digest: f.Digest, Records: f.Records, Problems: f.Problems, Found: f.Found}
}
func (b *backed) Losses() int { return b.state.Losses(b.ledger.Node.View()) }
func (b *backed) Restore(ctx context.Context, at int64) error {
	return b.ledger.Restore(ctx, b.state, at)
}

// kept is a world with backups in a directory and in a bucket.
type kept struct {
	*world
	archive *archive
	targets []engine.BackupTarget
	path    string // of the directory
}

func newTargets(t *testing.T) ([]engine.BackupTarget, string) {
	t.Helper()
	path := t.TempDir()
	dir, err := backup.NewDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	s3, err := backup.NewS3(backup.S3Config{
		Endpoint: server.URL, Bucket: "backups", AccessKey: "AKIDTEST", SecretKey: secret.New([]byte("walrus-secret-key")), PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []engine.BackupTarget{{Name: "local", Place: dir}, {Name: "bucket", Place: s3}}, path
}

func newKept(t *testing.T, targets []engine.BackupTarget, path string) *kept {
	k := &kept{archive: &archive{}, targets: targets, path: path}
	k.world = newWorld(t, func(c *engine.Config) {
		k.archive.ledger = c.Ledger.(*ledger)
		c.Archive, c.Targets, c.Program, c.NodeID = k.archive, k.targets, "1.0.0", "node_1"
	})
	return k
}

func (k *kept) operatorCall() *engine.Call {
	return k.userNamed("operator-"+time.Now().Format("150405.000000000"), directory.Operator)
}

func (k *kept) create(target string) *directory.BackupRun {
	k.t.Helper()
	run, err := k.engine.CreateBackup(k.t.Context(), k.operatorCall(), target)
	if err != nil {
		k.t.Fatal(err)
	}
	return run
}

func (k *kept) restore(id string, in engine.RestoreSpec) (*engine.Restored, error) {
	return k.engine.RestoreBackup(k.t.Context(), k.operatorCall(), id, in)
}

// opens wants a ciphertext of "hello" to open with a new token of the application.
func (k *kept) opens(ciphertext []byte, aad string) {
	k.t.Helper()
	s := subject(k.app)
	s.IssuedAt = k.now().Unix() + 2
	out, err := k.engine.Decrypt(k.t.Context(), callOf(s), &engine.DecryptRequest{Context: "user-pii", Ciphertext: ciphertext, AssociatedData: []byte(aad)})
	if err != nil || string(out.Plaintext) != "hello" {
		k.t.Fatalf("%q, %v", out.Plaintext, err)
	}
}

// refused wants a refusal of a kind that says something, and nothing changed.
func (k *kept) refused(err error, kind fault.Kind, says string) {
	k.t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
		k.t.Errorf("%v, want %v with %q", err, kind, says)
	}
}

func TestBackupCreateListRehearse(t *testing.T) {
	targets, path := newTargets(t)
	k := newKept(t, targets, path)
	for _, name := range []string{"local", "bucket"} {
		run := k.create(name)
		if !run.Good() || run.Bytes == 0 || run.Target != name {
			t.Fatalf("%+v", run)
		}
		found, err := k.engine.RehearseBackup(t.Context(), k.operatorCall(), run.Backup, "")
		if err != nil || found.Report.Found != 0 || found.Report.Digest != run.Digest || !found.Manifest.Authentic {
			t.Fatalf("%+v, %v", found, err)
		}
		var copied bytes.Buffer
		err = k.engine.ReadBackup(t.Context(), k.userNamed("b-"+name, directory.Backup), run.Backup, "", func(n int64) (io.Writer, error) {
			copied.Grow(int(n))
			return &copied, nil
		})
		if m, cerr := backup.Check(&copied); err != nil || cerr != nil || m.ID != run.Backup {
			t.Fatalf("%v, %v", err, cerr)
		}
	}
	list, err := k.engine.ListBackups(t.Context(), k.userNamed("auditor", directory.Auditor))
	if err != nil || len(list.Backups) != 2 || len(list.Targets) != 2 || len(list.Runs) != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, b := range list.Backups {
		if b.Problem != "" || b.Manifest == nil || !b.Manifest.Authentic || b.Rehearsed == nil || !b.Rehearsed.Good() {
			t.Errorf("%+v", b)
		}
	}
	_, err = k.engine.CreateBackup(t.Context(), k.operatorCall(), "elsewhere")
	k.refused(err, fault.Malformed, "")
	_, err = k.engine.CreateBackup(t.Context(), k.userNamed("owner", directory.Owner), "local")
	k.refused(err, fault.Forbidden, "")
	err = k.engine.ReadBackup(t.Context(), k.operatorCall(), list.Backups[0].ID, "", nil)
	k.refused(err, fault.Forbidden, "")
}

// TestBackupFailureIsRecorded: a backup that fails leaves nothing in the target and a run that tells why.
func TestBackupFailureIsRecorded(t *testing.T) {
	targets, path := newTargets(t)
	k := newKept(t, targets, path)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	_, err := k.engine.CreateBackup(t.Context(), k.operatorCall(), "local")
	k.refused(err, fault.Unavailable, "does not exist")
	runs := k.ledger.View().BackupRuns()
	if len(runs) != 1 || runs[0].Good() || !strings.Contains(runs[0].Failed, "does not exist") {
		t.Fatalf("%+v", runs)
	}
	list, err := k.engine.ListBackups(t.Context(), k.operatorCall())
	if err != nil || list.Targets[0].Problem == "" || list.Targets[1].Problem != "" {
		t.Fatalf("%+v, %v", list, err)
	}
}

// TestRestoreSameCluster: what came after the backup is gone, which must be forced, and the state before is backed up.
func TestRestoreSameCluster(t *testing.T) {
	targets, path := newTargets(t)
	k := newKept(t, targets, path)
	sealed := k.mustEncrypt("user-pii", "hello", "")
	run := k.create("bucket")
	k.newTenant("late")
	_, err := k.restore(run.Backup, engine.RestoreSpec{})
	k.refused(err, fault.Conflict, "older than what is there")
	_, err = k.restore(run.Backup, engine.RestoreSpec{NewCluster: true, Force: true})
	k.refused(err, fault.Conflict, "of this cluster")
	if k.ledger.View().TenantNamed("late") == nil {
		t.Fatal("a refused restore changed something")
	}
	done, err := k.restore(run.Backup, engine.RestoreSpec{Force: true, Reason: "test"})
	if err != nil || done.Before == "" || done.Replaced == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if k.ledger.View().TenantNamed("late") != nil {
		t.Fatal("the newer tenant is still there")
	}
	if _, err := k.decrypt("user-pii", sealed.Ciphertext, ""); !errors.Is(err, fault.Unauthenticated) {
		t.Fatalf("with a token from before the restore: %v", err)
	}
	k.opens(sealed.Ciphertext, "")
	_, err = k.restore(run.Backup, engine.RestoreSpec{})
	k.refused(err, fault.Conflict, "restored already")
	// The state before can be had back.
	if _, err = k.restore(done.Before, engine.RestoreSpec{Force: true}); err != nil || k.ledger.View().TenantNamed("late") == nil {
		t.Fatalf("the state before did not come back: %v", err)
	}
}

// TestRestoreNewCluster: the data directory is lost, and a new cluster with the same master key reads what the old one wrote.
func TestRestoreNewCluster(t *testing.T) {
	targets, path := newTargets(t)
	old := newKept(t, targets, path)
	sealed := old.mustEncrypt("user-pii", "hello", "aad")
	app := old.app
	run := old.create("bucket")
	key, err := token.Expand(t.Context(), engine.PurposeInfo(engine.PurposeStorage, "new"), 32)
	if err != nil {
		t.Fatal(err)
	}
	next := newWorldOf(t, "cluster_2", key, targets)
	_, err = next.restore(run.Backup, engine.RestoreSpec{})
	next.refused(err, fault.Conflict, "cluster_1")
	if _, err = next.restore(run.Backup, engine.RestoreSpec{NewCluster: true}); err != nil {
		t.Fatal(err)
	}
	next.app, next.tenant = app, old.tenant
	next.opens(sealed.Ciphertext, "aad")
	if id := next.ledger.View().Cluster().ID; id != "cluster_2" {
		t.Fatalf("the cluster is %s now", id)
	}
	_, err = next.restore(run.Backup, engine.RestoreSpec{NewCluster: true})
	next.refused(err, fault.Conflict, "restored already")
}

// newWorldOf is a new cluster without tenants of its own.
func newWorldOf(t *testing.T, id string, key secret.Bytes, targets []engine.BackupTarget) *kept {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), vault: &vault{Token: token}, ledger: &ledger{}, audit: &auditLog{}}
	var err error
	w.audit.Log, err = audit.Open(audit.Config{Dir: filepath.Join(w.dir, "audit"), Node: "node_9", SegmentBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.audit.Close(); err != nil {
			t.Error(err)
		}
	})
	w.ledger.Node, err = cluster.Open(t.Context(), cluster.Config{
		Dir: filepath.Join(w.dir, "raft"), NodeID: "node_9", ClusterID: id, StorageKey: key, ElectionTimeout: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	k := &kept{world: w, archive: &archive{ledger: w.ledger}, targets: targets}
	w.engine, err = engine.New(engine.Config{
		Vault: w.vault, Ledger: w.ledger, Audit: w.audit, Now: w.now, Archive: k.archive, Targets: targets, Program: "1.0.0", NodeID: "node_9",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.engine.Close)
	if err := w.engine.CreateCluster(t.Context(), w.appliance(""), directory.Cluster{ID: id, MasterKCV: token.MasterKCV()}); err != nil {
		t.Fatal(err)
	}
	w.tenant = w.newTenant("operators")
	return k
}

// TestRestoreRefusals: another master key, an edited, a cut and a foreign file, and commands that the cluster does not write yet.
func TestRestoreRefusals(t *testing.T) {
	targets, path := newTargets(t)
	k := newKept(t, targets, path)
	run := k.create("local")
	file := filepath.Join(path, backup.FileName(run.Backup))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	force := engine.RestoreSpec{Force: true, Target: "local"}
	edited := bytes.Clone(whole)
	edited[len(edited)-100] ^= 1
	replace(edited)
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "damaged")
	replace(whole[:len(whole)-200])
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "damaged")
	replace([]byte("something else"))
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "not a backup")
	replace(bytes.Replace(whole, []byte("cryptoserve-backup/1 "), []byte("cryptoserve-backup/2 "), 1))
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "newer program")

	state, err := k.archive.Take()
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(key secret.Bytes, change func(*backup.Manifest)) {
		m := backup.Manifest{
			ID: run.Backup, Cluster: state.Cluster, Node: "node_1", CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Index: state.Index,
			Term: state.Term, StateDigest: state.Digest[:], Records: state.Records, MasterKCV: token.MasterKCV(), Program: "9.0.0", Commands: 1,
		}
		change(&m)
		var out bytes.Buffer
		if _, err := backup.Write(&out, key, m, state.Write); err != nil {
			t.Fatal(err)
		}
		replace(out.Bytes())
	}
	rewrite(secret.New(bytes.Repeat([]byte{7}, 32)), func(m *backup.Manifest) { m.MasterKCV = backup.Hex{1, 2, 3, 4, 5, 6, 7, 8} })
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "0102030405060708")
	key, err := token.Expand(t.Context(), engine.PurposeInfo(engine.PurposeBackup), 32)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(key, func(m *backup.Manifest) { m.Commands = command.Newest() + 1 })
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "9.0.0")
	rewrite(key, func(m *backup.Manifest) { m.MasterKCV = backup.Hex{1, 2, 3, 4, 5, 6, 7, 8} })
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "0102030405060708")
	rewrite(key, func(m *backup.Manifest) { m.StateDigest = bytes.Repeat([]byte{1}, 32) })
	_, err = k.restore(run.Backup, force)
	k.refused(err, fault.Conflict, "another state")
	_, err = k.restore("backup_20260101t000000z_0123456789abcdef", force)
	k.refused(err, fault.NotFound, "")
	for _, r := range k.ledger.View().BackupRuns() {
		if r.Restore {
			t.Errorf("a restore took place: %+v", r)
		}
	}
	_, err = k.engine.RestoreBackup(t.Context(), k.userNamed("b", directory.Backup), run.Backup, force)
	k.refused(err, fault.Forbidden, "")
}

// TestRestoreInUse: a new cluster that is in use already is not overwritten without force.
func TestRestoreInUse(t *testing.T) {
	targets, path := newTargets(t)
	old := newKept(t, targets, path)
	run := old.create("local")
	key, err := token.Expand(t.Context(), engine.PurposeInfo(engine.PurposeStorage, "in use"), 32)
	if err != nil {
		t.Fatal(err)
	}
	next := newWorldOf(t, "cluster_2", key, targets)
	next.newContext(next.tenant, engine.ContextSpec{Name: "user-pii"})
	next.newApplication(next.tenant, "demo", "user-pii")
	_, err = next.restore(run.Backup, engine.RestoreSpec{NewCluster: true})
	next.refused(err, fault.Conflict, "in use")
}

// TestScheduledBackups: backups are made, rehearsed and pruned by themselves; a failure is tried again, not at once.
func TestScheduledBackups(t *testing.T) {
	targets, path := newTargets(t)
	k := newKept(t, targets, path)
	_, err := k.engine.SetBackupSchedule(t.Context(), k.operatorCall(), directory.BackupSchedule{
		EveryMinutes: 60, RehearseMinutes: 120, Target: "local", Keep: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.engine.SetBackupSchedule(t.Context(), k.operatorCall(), directory.BackupSchedule{EveryMinutes: 60, Target: "local", Keep: 2})
	k.refused(err, fault.Conflict, "changed meanwhile")
	var fails atomic.Bool
	k.archive.onTake = func() error {
		if fails.Load() {
			return errors.New("no")
		}
		return nil
	}
	round := func(after time.Duration) (backups, rehearsals, failed int) {
		k.clock.Add(int64(after))
		if err := k.engine.RunDuties(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.engine.WaitBackground()
		for _, r := range k.ledger.View().BackupRuns() {
			switch {
			case r.Pending:
				t.Errorf("still pending: %+v", r)
			case !r.Good():
				failed++
			case r.Rehearse:
				rehearsals++
			default:
				backups++
			}
		}
		return backups, rehearsals, failed
	}
	want := func(after time.Duration, b, r, f int) {
		t.Helper()
		if gb, gr, gf := round(after); gb != b || gr != r || gf != f {
			t.Fatalf("%d backups, %d rehearsals, %d failed; want %d, %d, %d", gb, gr, gf, b, r, f)
		}
	}
	want(0, 1, 1, 0)
	want(time.Minute, 1, 1, 0)
	want(time.Hour, 2, 1, 0)
	fails.Store(true)
	want(time.Hour, 2, 2, 1)
	want(time.Minute, 2, 2, 1) // it rests
	fails.Store(false)
	want(backupRest, 3, 2, 1)
	want(time.Hour, 4, 2, 1)
	names, err := filepath.Glob(filepath.Join(path, "*"+backup.Extension))
	if err != nil || len(names) != 2 {
		t.Fatalf("%d backups are kept: %v, %v", len(names), names, err)
	}
}

const backupRest = 5 * time.Minute
