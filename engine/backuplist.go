package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// ListBackups tells what is in the targets of this node, and how the runs went that made it. A target that does not answer is named
// and does not hide the others.
func (e *Engine) ListBackups(ctx context.Context, c *Call) (*BackupList, error) {
	r := c.begin(policy.ListBackups)
	_, err := e.authorizeChange(c, policy.ListBackups)
	if err == nil && (e.archive == nil || len(e.targets) == 0) {
		err = errNoArchive
	}
	list := &BackupList{}
	if err == nil {
		err = cmp.Or(e.listBackups(ctx, list), e.still(c, policy.ListBackups))
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

func (e *Engine) listBackups(ctx context.Context, list *BackupList) error {
	key, err := e.backupKey(ctx)
	if err != nil {
		return err
	}
	defer key.Destroy()
	list.Schedule, list.Runs = e.schedule(), e.ledger.View().BackupRuns()
	for i := range e.targets {
		t := &e.targets[i]
		info := TargetInfo{Name: t.Name, Place: t.Place.String()}
		found, err := e.stored(ctx, t, key)
		if err != nil {
			info.Problem = describe(storageFault(err))
		}
		list.Targets, list.Backups = append(list.Targets, info), append(list.Backups, found...)
	}
	for i := range list.Backups {
		list.Backups[i].Rehearsed = rehearsalOf(list.Runs, list.Backups[i].ID)
	}
	slices.SortStableFunc(list.Backups, func(a, b BackupInfo) int { return strings.Compare(b.ID, a.ID) })
	return nil
}

// rehearsalOf returns the newest rehearsal of a backup that has ended, nil for none.
func rehearsalOf(runs []*directory.BackupRun, id string) (found *directory.BackupRun) {
	for _, r := range runs {
		if r.Rehearse && !r.Pending && r.Backup == id {
			found = r
		}
	}
	return found
}

// stored reads the manifests of a target, in order of name.
func (e *Engine) stored(ctx context.Context, t *BackupTarget, key secret.Bytes) ([]BackupInfo, error) {
	items, err := t.Place.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]BackupInfo, len(items))
	places := make(chan struct{}, listParallel)
	var wait sync.WaitGroup
	for i, item := range items {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			list[i] = BackupInfo{ID: backup.IDOf(item.Name), Target: t.Name, Bytes: item.Bytes, Stored: item.Modified}
			m, err := readManifest(ctx, t.Place, item.Name, key)
			if m.ID != "" {
				list[i].Manifest = &m
			}
			if err != nil {
				list[i].Problem = describe(storageFault(err))
			}
		})
	}
	wait.Wait()
	return list, nil
}

// readManifest returns the manifest, proved; with an error and unproved when it was made under another key.
func readManifest(ctx context.Context, place backup.Target, name string, key secret.Bytes) (m backup.Manifest, err error) {
	m, err = withBackup(ctx, place, name, func(from *backupFile) (backup.Manifest, error) {
		m, _, err := backup.Open(from, key)
		return m, err
	})
	if !errors.Is(err, backup.ErrWrongKey) {
		return m, err
	}
	claimed, again := withBackup(ctx, place, name, func(from *backupFile) (backup.Manifest, error) { return backup.ReadManifest(from) })
	if again != nil {
		return backup.Manifest{}, err
	}
	return claimed, err
}

// backupFile reads from a target.
type backupFile struct {
	read func([]byte) (int, error)
}

func (f *backupFile) Read(p []byte) (int, error) { return f.read(p) }

// withBackup opens a backup for as long as work runs.
func withBackup[T any](ctx context.Context, place backup.Target, name string, work func(*backupFile) (T, error)) (T, error) {
	from, err := place.Get(ctx, name)
	if err != nil {
		var none T
		return none, err
	}
	got, err := work(&backupFile{from.Read})
	_ = from.Close() // only read from
	return got, err
}
