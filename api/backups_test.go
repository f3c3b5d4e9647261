package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
)

const backupsPath = "/api/v1/backups"

// backupCases are the use cases of backups.go that answer with JSON, and what they can fail with.
func backupCases(*fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	manifest := wire.BackupManifest{
		ClusterID: "cluster_1", NodeID: "node_1", CreatedAt: newYearText("00"), Index: 7, Term: 2, Records: 9,
		StateDigest: strings.Repeat("ab", 32), MasterKCV: "0102030405060708", ProgramVersion: "1.0.0", CommandVersion: 2,
	}
	run := wire.BackupRun{
		ID: "run_1", Kind: "backup", State: "done", Backup: backupID, Target: "local", Node: "node_1", At: newYearText("00"), TookMS: 12,
		Bytes: 100, Index: 7,
	}
	failed, running := run, run
	failed.ID, failed.Kind, failed.State, failed.Reason = "run_2", "rehearsal", "failed", "it is damaged"
	running.ID, running.Kind, running.State, running.Scheduled = "run_3", "restore", "running", true
	schedule := wire.BackupSchedule{
		EveryMinutes: 60, Target: "local", Keep: 3, Days: 4, Weeks: 5, Months: 6, RehearseMinutes: 120, Revision: 2,
	}
	report := wire.BackupReport{
		Backup: backupID, Manifest: manifest, Records: 9, Tables: []wire.BackupTable{{Name: "tenants", Records: 2}}, ProblemsFound: 1,
		Problems: []string{"a does not fit b"}, TookMS: 12,
	}
	restored := report
	restored.Before, restored.Replaced, restored.TookMS = "backup_before", 5, 0
	const one = backupsPath + "/" + backupID
	cases = map[string]useCase{
		"listBackups": {"GET", backupsPath, nil, nil, 200, "", wire.Backups{
			Targets: []wire.BackupTarget{{Name: "local", Place: "directory /b", Problem: "it is not there"}},
			Backups: []wire.Backup{
				{
					ID: backupID, Target: "local", Bytes: 100, StoredAt: newYearText("00"), Manifest: &manifest, RehearsedAt: newYearText("00"),
					RehearsalFailed: "it is damaged",
				},
				{ID: "backup_2", Target: "local", Bytes: 1, StoredAt: newYearText("00"), Problem: "it is damaged"},
			},
			Runs: []wire.BackupRun{run, failed, running}, Schedule: &schedule,
		}},
		"createBackup":   {"POST", backupsPath, wire.CreateBackupRequest{Target: "local"}, "to local", 201, one, run},
		"rehearseBackup": {"POST", one + "/rehearse", wire.RehearseBackupRequest{Target: "local"}, []any{backupID, "local"}, 200, "", report},
		"restoreBackup": {
			"POST", one + "/restore", wire.RestoreBackupRequest{Target: "local", Force: true, NewCluster: true, Reason: "lost"},
			[]any{backupID, engine.RestoreSpec{Target: "local", Force: true, NewCluster: true, Reason: "lost"}}, 200, "", restored,
		},
		"readBackupSchedule": {"GET", "/api/v1/backup-schedule", nil, nil, 200, "", schedule},
		"setBackupSchedule":  {"PUT", "/api/v1/backup-schedule", schedule, *fixedSchedule(), 200, "", schedule},
	}
	fail = map[string]map[int]fault.Kind{
		"listBackups": reading, "createBackup": changing, "rehearseBackup": changingOne, "restoreBackup": changingOne,
		"readBackupSchedule": reading, "setBackupSchedule": changing, "readBackup": finding,
	}
	return cases, fail
}

// TestDownloadBackup: the file comes as it is, with a trailer that says that it is whole, and without one when it broke off.
func TestDownloadBackup(t *testing.T) {
	f := newFixture(t)
	a := f.do(t, "GET", backupsPath+"/"+backupID, "")
	if a.StatusCode != http.StatusOK || string(a.body) != "file" || a.Trailer.Get("X-Stream-Status") != "complete" ||
		a.Header.Get("Content-Type") != octetStream || a.Trailer.Get("Audit-Receipt") == "" {
		t.Fatalf("%s: %s %v %v", a.Status, a.body, a.Header, a.Trailer)
	}
	if f.engine.got != backupID {
		t.Errorf("the engine was asked for %v", f.engine.got)
	}
	f.engine.streamFailure = errors.New("the disk broke")
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+f.address+backupsPath+"/"+backupID, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := f.client.Do(r)
	if err != nil {
		return // it broke off before anything came
	}
	defer resp.Body.Close()
	buffer := make([]byte, 64)
	for err == nil {
		_, err = resp.Body.Read(buffer)
	}
	if resp.Trailer.Get("X-Stream-Status") == "complete" {
		t.Error("a download that broke off says that it is complete")
	}
}

func TestCreateBackupWithoutBody(t *testing.T) {
	f := newFixture(t)
	if a := f.do(t, "POST", backupsPath, ""); a.StatusCode != http.StatusCreated || f.engine.got != "to " {
		t.Errorf("%s: %v", a.Status, f.engine.got)
	}
}
