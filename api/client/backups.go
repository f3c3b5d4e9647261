package client

import (
	"context"
	"net/http"

	"cryptoserve/api/wire"
)

const (
	backupsPath        = "/api/v1/backups"
	backupSchedulePath = "/api/v1/backup-schedule"
)

// Backups lists what is in the targets of the node, and the runs that made it.
func (c *Client) Backups(ctx context.Context) (wire.Backups, error) {
	return get[wire.Backups](ctx, c, backupsPath)
}

// CreateBackup makes a backup. It takes as long as the state is large: Config.Timeout must leave room for it.
func (c *Client) CreateBackup(ctx context.Context, req wire.CreateBackupRequest) (wire.BackupRun, error) {
	return change[wire.BackupRun](ctx, c, backupsPath, req)
}

// RehearseBackup reads a backup as a restore does, and changes nothing.
func (c *Client) RehearseBackup(ctx context.Context, id string, req wire.RehearseBackupRequest) (wire.BackupReport, error) {
	return withPath("backups", id, func(path string) (wire.BackupReport, error) {
		return change[wire.BackupReport](ctx, c, path+"/rehearse", req)
	})
}

// RestoreBackup puts the state of a backup in the place of the present one. The session that asks for it is gone afterwards.
func (c *Client) RestoreBackup(ctx context.Context, id string, req wire.RestoreBackupRequest) (wire.BackupReport, error) {
	return withPath("backups", id, func(path string) (wire.BackupReport, error) {
		return change[wire.BackupReport](ctx, c, path+"/restore", req)
	})
}

// DownloadBackup returns the file of a backup as a stream, which the caller closes. It is whole when Read gave io.EOF.
func (c *Client) DownloadBackup(ctx context.Context, id string) (*Stream, error) {
	return withPath("backups", id, func(path string) (*Stream, error) {
		from := &source{r: http.NoBody, ended: true}
		return c.tryStream(ctx, operation{method: http.MethodGet, path: path, authenticated: true}, nil, from)
	})
}

// BackupSchedule returns when backups are made by themselves. Its revision is 0 before there is a schedule.
func (c *Client) BackupSchedule(ctx context.Context) (wire.BackupSchedule, error) {
	return get[wire.BackupSchedule](ctx, c, backupSchedulePath)
}

// SetBackupSchedule replaces the schedule whose revision the caller saw.
func (c *Client) SetBackupSchedule(ctx context.Context, s wire.BackupSchedule) (wire.BackupSchedule, error) {
	return act[wire.BackupSchedule](ctx, c, http.MethodPut, backupSchedulePath, s)
}
