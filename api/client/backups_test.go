package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"cryptoserve/api/wire"
)

// backupRoutes are the methods of backups.go, for TestRoutes.
var backupRoutes = []routeTest{
	{"backups", func(ctx context.Context, c *Client) (any, error) { return c.Backups(ctx) },
		`GET /api/v1/backups `, `{"backups":[{"id":"b"}]}`, true},
	{"create a backup", func(ctx context.Context, c *Client) (any, error) {
		return c.CreateBackup(ctx, wire.CreateBackupRequest{Target: "t"})
	}, `POST /api/v1/backups {"target":"t"}`, `{"id":"r"}`, false},
	{"rehearse a backup", func(ctx context.Context, c *Client) (any, error) {
		return c.RehearseBackup(ctx, "b", wire.RehearseBackupRequest{})
	}, `POST /api/v1/backups/b/rehearse {}`, `{"backup":"b"}`, false},
	{"restore a backup", func(ctx context.Context, c *Client) (any, error) {
		return c.RestoreBackup(ctx, "b/1", wire.RestoreBackupRequest{Force: true, NewCluster: true, Reason: "r"})
	}, `POST /api/v1/backups/b%2F1/restore {"force":true,"new_cluster":true,"reason":"r"}`, `{"backup":"b"}`, false},
	{"backup schedule", func(ctx context.Context, c *Client) (any, error) { return c.BackupSchedule(ctx) },
		`GET /api/v1/backup-schedule `, `{"keep":1}`, true},
	{"set the backup schedule", func(ctx context.Context, c *Client) (any, error) {
		return c.SetBackupSchedule(ctx, wire.BackupSchedule{EveryMinutes: 1, Target: "t", Keep: 2, Revision: 3})
	}, `PUT /api/v1/backup-schedule {"every_minutes":1,"target":"t","keep":2,"days":0,"weeks":0,"months":0,"rehearse_minutes":0,"revision":3}`,
		`{"keep":2}`, false},
}

// TestDownloadBackup: a download is whole only when the server says so behind it.
func TestDownloadBackup(t *testing.T) {
	for status, whole := range map[string]bool{"complete": true, "": false} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/api/v1/backups/b" || r.ContentLength != 0 {
				t.Errorf("%s %s with %d bytes", r.Method, r.URL.Path, r.ContentLength)
			}
			w.Header().Set("Trailer", "X-Stream-Status")
			w.Header().Set("Content-Type", streamType)
			_, _ = io.WriteString(w, "file")
			w.Header().Set("X-Stream-Status", status)
		})
		s, err := c.DownloadBackup(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(s)
		if string(data) != "file" || (err == nil) != whole || !whole && !errors.Is(err, ErrCut) {
			t.Errorf("%q: %q, %v", status, data, err)
		}
		_ = s.Close()
	}
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	if _, err := c.DownloadBackup(t.Context(), ""); err == nil {
		t.Error("a download of nothing")
	}
}
