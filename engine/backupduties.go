package engine

import (
	"context"
	"errors"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

const (
	// backupRetry is how long a scheduled run rests that failed.
	backupRetry = 5 * time.Minute
	// backupLimit bounds a scheduled run. One that is pending for longer ended with its node.
	backupLimit = 2 * time.Hour
)

// backupDuties begins with the scheduled backup or rehearsal that is due, on the leader. It does not wait for it.
func (e *Engine) backupDuties(now time.Time) {
	s := e.schedule()
	if e.archive == nil || s == nil {
		return
	}
	runs := e.ledger.View().BackupRuns()
	backUp, rehearse := due(runs, false, s.EveryMinutes, now), due(runs, true, s.RehearseMinutes, now)
	if !backUp && !rehearse {
		return
	}
	place, err := e.target(s.Target)
	if err != nil {
		e.log.Error("scheduled backups have no place on this node", "target", s.Target, "error", err)
		return
	}
	if !e.backups.busy.TryLock() {
		return // another time
	}
	e.background.Go(func() {
		defer e.backups.busy.Unlock()
		ctx, cancel := context.WithTimeout(e.backups.ctx, backupLimit)
		defer cancel()
		if backUp {
			e.scheduledBackup(ctx, place, s)
		}
		if rehearse {
			e.scheduledRehearsal(ctx, place)
		}
	})
}

// due reports whether a run of a kind is due: so many minutes after the last good one, and not right after one that failed.
func due(runs []*directory.BackupRun, rehearse bool, minutes uint32, now time.Time) bool {
	if minutes == 0 {
		return false
	}
	var good, tried, pending int64
	for _, r := range runs {
		if r.Rehearse != rehearse || r.Restore {
			continue
		}
		tried = max(tried, r.At)
		switch {
		case r.Pending:
			pending = max(pending, r.At)
		case r.Good():
			good = max(good, r.At)
		}
	}
	at := now.UnixMilli()
	return at-good >= int64(minutes)*time.Minute.Milliseconds() && at-tried >= min(backupRetry.Milliseconds(), int64(minutes)*time.Minute.Milliseconds()) &&
		at-pending >= backupLimit.Milliseconds()
}

// claim notes that a scheduled run begins. It fails when another node was first.
func (e *Engine) claim(ctx context.Context, run *directory.BackupRun) error {
	follows := ""
	for _, r := range e.ledger.View().BackupRuns() {
		if r.Scheduled && r.Rehearse == run.Rehearse {
			follows = r.ID
		}
	}
	run.Pending, run.Scheduled = true, true
	_, err := e.ledger.Propose(ctx, command.RecordBackup{Run: *run, Follows: follows})
	return err
}

// duty carries out a scheduled run with its records in the audit log.
func (e *Engine) duty(ctx context.Context, action policy.Action, run *directory.BackupRun, work func(r *audit.Record) error) {
	if err := e.claim(ctx, run); err != nil {
		if !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.NotLeader) {
			e.log.Warn("a scheduled backup or rehearsal could not begin", "error", err)
		}
		return
	}
	c := e.dutyCall("")
	r := c.begin(action)
	r.Resource = run.Backup
	c.lease = settled // the appliance itself uses no right
	if err := e.steps(c, &r, func() error { return work(&r) }); err != nil {
		e.log.Error("a scheduled backup or rehearsal failed", "action", string(action), "error", err)
	}
}

func (e *Engine) scheduledBackup(ctx context.Context, place *BackupTarget, s *directory.BackupSchedule) {
	run := e.newRun(place)
	e.duty(ctx, policy.CreateBackup, run, func(r *audit.Record) error {
		_, err := e.backUp(ctx, place, run)
		r.Resource = run.Backup
		if err == nil {
			e.prune(ctx, place, s)
		}
		return err
	})
}

// scheduledRehearsal rehearses the newest backup of this cluster.
func (e *Engine) scheduledRehearsal(ctx context.Context, place *BackupTarget) {
	run := e.newRun(place)
	run.Rehearse = true
	e.duty(ctx, policy.RehearseBackup, run, func(r *audit.Record) error {
		items, err := place.Place.List(ctx)
		if err == nil && len(items) == 0 {
			err = errNoBackup
		}
		if err != nil {
			return e.ended(ctx, run, err)
		}
		id := backup.IDOf(items[len(items)-1].Name)
		r.Resource = id
		_, err = e.rehearse(ctx, place, id, run)
		return err
	})
}

// prune deletes the backups that the schedule does not keep. What cannot be deleted is deleted another time.
func (e *Engine) prune(ctx context.Context, place *BackupTarget, s *directory.BackupSchedule) {
	key, err := e.backupKey(ctx)
	if err != nil {
		e.log.Warn("old backups were not deleted", "error", err)
		return
	}
	defer key.Destroy()
	found, err := e.stored(ctx, place, key)
	if err != nil {
		e.log.Warn("old backups were not deleted", "target", place.Name, "error", err)
		return
	}
	view := e.ledger.View()
	runs := view.BackupRuns()
	list := make([]backup.Stored, 0, len(found))
	for _, b := range found {
		rehearsed := rehearsalOf(runs, b.ID)
		list = append(list, backup.Stored{
			Name: backup.FileName(b.ID), Manifest: b.Manifest, Good: b.Problem == "" && (rehearsed == nil || rehearsed.Good()),
		})
	}
	keep := backup.Retention{Newest: int(s.Keep), Daily: int(s.Days), Weekly: int(s.Weeks), Monthly: int(s.Months)}
	for _, name := range backup.Prune(view.Cluster().ID, list, keep) {
		if err := place.Place.Delete(ctx, name); err != nil && !errors.Is(err, backup.ErrNotFound) {
			e.log.Warn("an old backup could not be deleted", "backup", backup.IDOf(name), "target", place.Name, "error", err)
			continue
		}
		e.log.Info("an old backup was deleted", "backup", backup.IDOf(name), "target", place.Name)
	}
}
