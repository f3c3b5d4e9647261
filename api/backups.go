package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// BackupEngine makes backups of the replicated state, and restores them.
type BackupEngine interface {
	CreateBackup(ctx context.Context, call *engine.Call, target string) (*directory.BackupRun, error)
	ListBackups(ctx context.Context, call *engine.Call) (*engine.BackupList, error)
	ReadBackup(ctx context.Context, call *engine.Call, id, target string, begin func(bytes int64) (io.Writer, error)) error
	RehearseBackup(ctx context.Context, call *engine.Call, id, target string) (*engine.Rehearsal, error)
	RestoreBackup(ctx context.Context, call *engine.Call, id string, in engine.RestoreSpec) (*engine.Restored, error)
	BackupSchedule(ctx context.Context, call *engine.Call) (*directory.BackupSchedule, error)
	SetBackupSchedule(ctx context.Context, call *engine.Call, s directory.BackupSchedule) (*directory.BackupSchedule, error)
}

const (
	backupsPath        = "/api/v1/backups"
	backupSchedulePath = "/api/v1/backup-schedule"
	// backupTimeout bounds what walks the whole state. It stands for the timeouts of the connection too.
	backupTimeout = 30 * time.Minute
)

// backupRoutes are its routes.
func backupRoutes(l Limits) []route {
	list := lasting(reading(l, backupsPath, policy.ListBackups, (*Server).backups))
	return []route{
		list,
		lasting(changing(l, http.MethodPost, backupsPath, policy.CreateBackup, (*Server).createBackup)),
		{
			method: http.MethodGet, path: backupsPath + "/:backup", action: policy.ReadBackup, access: subjects,
			handle: (*Server).readBackup, streams: true,
		},
		lasting(changing(l, http.MethodPost, backupsPath+"/:backup/rehearse", policy.RehearseBackup, (*Server).rehearseBackup)),
		lasting(changing(l, http.MethodPost, backupsPath+"/:backup/restore", policy.RestoreBackup, (*Server).restoreBackup)),
		reading(l, backupSchedulePath, policy.ListBackups, (*Server).backupSchedule),
		changing(l, http.MethodPut, backupSchedulePath, policy.SetBackupSchedule, (*Server).setBackupSchedule),
	}
}

// lasting gives a row as long as a backup may take.
func lasting(r route) route {
	handle := r.handle
	r.timeout = backupTimeout
	r.handle = func(s *Server, x *exchange) error {
		control, end := http.NewResponseController(x.w), time.Now().Add(backupTimeout)
		// Errors come from writers of tests, which have no deadlines.
		_ = control.SetReadDeadline(end)
		_ = control.SetWriteDeadline(end.Add(time.Minute))
		return handle(s, x)
	}
	return r
}

func (s *Server) backups(x *exchange) error {
	list, err := s.config.Engine.ListBackups(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.Backups{
		Targets: make([]wire.BackupTarget, 0, len(list.Targets)), Backups: make([]wire.Backup, 0, len(list.Backups)),
		Runs: make([]wire.BackupRun, 0, len(list.Runs)),
	}
	for _, t := range list.Targets {
		answer.Targets = append(answer.Targets, wire.BackupTarget(t))
	}
	for i := range list.Backups {
		answer.Backups = append(answer.Backups, wireBackup(&list.Backups[i]))
	}
	for _, r := range list.Runs {
		answer.Runs = append(answer.Runs, wireBackupRun(r))
	}
	if list.Schedule != nil {
		schedule := wireSchedule(list.Schedule)
		answer.Schedule = &schedule
	}
	return x.answer(answer)
}

func wireBackup(b *engine.BackupInfo) wire.Backup {
	out := wire.Backup{ID: b.ID, Target: b.Target, Bytes: b.Bytes, StoredAt: milliseconds(b.Stored.UnixMilli()), Problem: b.Problem}
	if b.Manifest != nil {
		m := wireManifest(b.Manifest)
		out.Manifest = &m
	}
	if b.Rehearsed != nil {
		out.RehearsedAt, out.RehearsalFailed = milliseconds(b.Rehearsed.At), b.Rehearsed.Failed
	}
	return out
}

func wireManifest(m *backup.Manifest) wire.BackupManifest {
	return wire.BackupManifest{
		ClusterID: m.Cluster, NodeID: m.Node, CreatedAt: milliseconds(m.CreatedAt.UnixMilli()), Index: m.Index, Term: m.Term,
		Records: m.Records, StateDigest: m.StateDigest.String(), MasterKCV: m.MasterKCV.String(), ProgramVersion: m.Program,
		CommandVersion: m.Commands,
	}
}

func wireBackupRun(r *directory.BackupRun) wire.BackupRun {
	out := wire.BackupRun{
		ID: r.ID, Kind: "backup", State: "done", Backup: r.Backup, Target: r.Target, Node: r.Node, At: milliseconds(r.At), TookMS: r.Took,
		Bytes: r.Bytes, Index: r.Index, Scheduled: r.Scheduled, Reason: r.Failed,
	}
	switch {
	case r.Restore:
		out.Kind = "restore"
	case r.Rehearse:
		out.Kind = "rehearsal"
	}
	switch {
	case r.Pending:
		out.State = "running"
	case r.Failed != "":
		out.State = "failed"
	}
	return out
}

func (s *Server) createBackup(x *exchange) error {
	var in wire.CreateBackupRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	run, err := s.config.Engine.CreateBackup(x.r.Context(), &x.call, in.Target)
	if err != nil {
		return err
	}
	x.created(backupsPath + "/" + run.Backup)
	return x.answer(wireBackupRun(run))
}

// readBackup answers with the file. Whether it is whole stands behind it, as with streams.
func (s *Server) readBackup(x *exchange) error {
	if !x.r.ProtoAtLeast(1, 1) {
		return errOldHTTP
	}
	if err := x.readBody(); err != nil { // there is none
		return err
	}
	release, err := x.takeStream()
	if err != nil {
		return err
	}
	defer release()
	t := &transfer{x: x, control: http.NewResponseController(x.w), idle: s.config.Limits.StreamIdle, ended: true}
	x.transfer = t
	return s.config.Engine.ReadBackup(x.r.Context(), &x.call, x.params.ByName("backup"), "", func(int64) (io.Writer, error) {
		h := x.w.Header()
		h["Trailer"] = streamTrailer
		x.contentType = applicationOctetStream
		x.setHeaders(h, make([]string, 1))
		t.begun = true
		t.arm()
		x.w.WriteHeader(x.status)
		return t, t.control.Flush()
	})
}

func (s *Server) rehearseBackup(x *exchange) error {
	var in wire.RehearseBackupRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	found, err := s.config.Engine.RehearseBackup(x.r.Context(), &x.call, x.params.ByName("backup"), in.Target)
	if err != nil {
		return err
	}
	answer := wireReport(&found.Manifest, &found.Report)
	answer.TookMS = found.Run.Took
	return x.answer(answer)
}

func wireReport(m *backup.Manifest, r *engine.StateReport) wire.BackupReport {
	out := wire.BackupReport{
		Backup: m.ID, Manifest: wireManifest(m), Records: r.Records, Tables: make([]wire.BackupTable, 0, len(r.Tables)),
		ProblemsFound: r.Found, Problems: append([]string{}, r.Problems...),
	}
	for _, t := range r.Tables {
		out.Tables = append(out.Tables, wire.BackupTable(t))
	}
	return out
}

func (s *Server) restoreBackup(x *exchange) error {
	var in wire.RestoreBackupRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	done, err := s.config.Engine.RestoreBackup(x.r.Context(), &x.call, x.params.ByName("backup"), engine.RestoreSpec{
		Target: in.Target, Force: in.Force, NewCluster: in.NewCluster, Reason: in.Reason,
	})
	if err != nil {
		return err
	}
	answer := wireReport(&done.Manifest, &done.Report)
	answer.Before, answer.Replaced, answer.TookMS = done.Before, done.Replaced, time.Since(x.call.Start).Milliseconds()
	return x.answer(answer)
}

func wireSchedule(s *directory.BackupSchedule) wire.BackupSchedule {
	return wire.BackupSchedule{
		EveryMinutes: s.EveryMinutes, Target: s.Target, Keep: s.Keep, Days: s.Days, Weeks: s.Weeks, Months: s.Months,
		RehearseMinutes: s.RehearseMinutes, Revision: s.Revision,
	}
}

// backupSchedule answers a schedule of nothing before there is one.
func (s *Server) backupSchedule(x *exchange) error {
	schedule, err := s.config.Engine.BackupSchedule(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	if schedule == nil {
		schedule = &directory.BackupSchedule{}
	}
	return x.answer(wireSchedule(schedule))
}

func (s *Server) setBackupSchedule(x *exchange) error {
	var in wire.BackupSchedule
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	set, err := s.config.Engine.SetBackupSchedule(x.r.Context(), &x.call, directory.BackupSchedule{
		EveryMinutes: in.EveryMinutes, Target: in.Target, Keep: in.Keep, Days: in.Days, Weeks: in.Weeks, Months: in.Months,
		RehearseMinutes: in.RehearseMinutes, Revision: in.Revision,
	})
	if err != nil {
		return err
	}
	return x.answer(wireSchedule(set))
}
