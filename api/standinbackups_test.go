package api_test

import (
	"bytes"
	"context"
	"io"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
)

const backupID = "backup_20260101t000000z_0123456789abcdef"

func fixedManifest() backup.Manifest {
	return backup.Manifest{
		ID: backupID, Cluster: "cluster_1", Node: "node_1", CreatedAt: time.UnixMilli(newYear), Index: 7, Term: 2, Records: 9,
		StateDigest: bytes.Repeat([]byte{0xab}, 32), MasterKCV: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Program: "1.0.0", Commands: 2,
	}
}

func fixedRun() *directory.BackupRun {
	return &directory.BackupRun{
		ID: "run_1", Backup: backupID, Target: "local", Node: "node_1", At: newYear, Took: 12, Bytes: 100, Index: 7,
	}
}

func fixedSchedule() *directory.BackupSchedule {
	return &directory.BackupSchedule{
		EveryMinutes: 60, Target: "local", Keep: 3, Days: 4, Weeks: 5, Months: 6, RehearseMinutes: 120, Revision: 2,
	}
}

func fixedStateReport() engine.StateReport {
	return engine.StateReport{
		Records: 9, Tables: []engine.TableCount{{Name: "tenants", Records: 2}}, Problems: []string{"a does not fit b"}, Found: 1,
	}
}

func (s *standIn) CreateBackup(_ context.Context, c *engine.Call, target string) (*directory.BackupRun, error) {
	return with(s, c, "to "+target, fixedRun())
}

func (s *standIn) ListBackups(_ context.Context, c *engine.Call) (*engine.BackupList, error) {
	m := fixedManifest()
	failed, running := fixedRun(), fixedRun()
	failed.ID, failed.Rehearse, failed.Failed = "run_2", true, "it is damaged"
	running.ID, running.Restore, running.Pending, running.Scheduled = "run_3", true, true, true
	return with(s, c, nil, &engine.BackupList{
		Targets: []engine.TargetInfo{{Name: "local", Place: "directory /b", Problem: "it is not there"}},
		Backups: []engine.BackupInfo{
			{ID: backupID, Target: "local", Bytes: 100, Stored: time.UnixMilli(newYear), Manifest: &m, Rehearsed: failed},
			{ID: "backup_2", Target: "local", Bytes: 1, Stored: time.UnixMilli(newYear), Problem: "it is damaged"},
		},
		Runs: []*directory.BackupRun{fixedRun(), failed, running}, Schedule: fixedSchedule(),
	})
}

func (s *standIn) ReadBackup(
	_ context.Context, c *engine.Call, id, _ string, begin func(int64) (io.Writer, error),
) error {
	if err := s.note(c, id); err != nil {
		return err
	}
	w, err := begin(4)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "file"); err != nil {
		return err
	}
	return s.streamFailure
}

func (s *standIn) RehearseBackup(_ context.Context, c *engine.Call, id, target string) (*engine.Rehearsal, error) {
	return with(s, c, []any{id, target}, &engine.Rehearsal{Run: fixedRun(), Manifest: fixedManifest(), Report: fixedStateReport()})
}

func (s *standIn) RestoreBackup(_ context.Context, c *engine.Call, id string, in engine.RestoreSpec) (*engine.Restored, error) {
	c.Start = time.Now()
	return with(s, c, []any{id, in}, &engine.Restored{
		Manifest: fixedManifest(), Report: fixedStateReport(), Before: "backup_before", Replaced: 5,
	})
}

func (s *standIn) BackupSchedule(_ context.Context, c *engine.Call) (*directory.BackupSchedule, error) {
	return with(s, c, nil, fixedSchedule())
}

func (s *standIn) SetBackupSchedule(_ context.Context, c *engine.Call, in directory.BackupSchedule) (*directory.BackupSchedule, error) {
	return with(s, c, in, &in)
}
