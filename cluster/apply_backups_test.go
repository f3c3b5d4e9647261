package cluster

import (
	"fmt"
	"strings"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

func newSchedule(revision uint32) command.SetBackupSchedule {
	return command.SetBackupSchedule{Schedule: directory.BackupSchedule{EveryMinutes: 60, Target: "local", Keep: 3, Revision: revision}}
}

func newRun(n int) command.RecordBackup {
	return command.RecordBackup{Run: directory.BackupRun{
		ID: fmt.Sprintf("run_%04d", n), Backup: "backup", Target: "local", Node: "node-1", At: int64(n),
	}}
}

func TestBackupSchedule(t *testing.T) {
	db := world(t)
	mustApply(t, db, newSchedule(1), newSchedule(2))
	if s := newView(db, 0).Cluster().Backups; s == nil || s.Revision != 2 || s.EveryMinutes != 60 {
		t.Fatalf("%+v", s)
	}
	edits := map[string]func(*directory.BackupSchedule){
		"no target":     func(s *directory.BackupSchedule) { s.Target = "" },
		"keeps none":    func(s *directory.BackupSchedule) { s.Keep = 0 },
		"keeps endless": func(s *directory.BackupSchedule) { s.Weeks = directory.BackupKeepMax + 1 },
		"too seldom":    func(s *directory.BackupSchedule) { s.EveryMinutes = directory.BackupMinutesMax + 1 },
		"long target":   func(s *directory.BackupSchedule) { s.Target = strings.Repeat("x", 65) },
	}
	for name, change := range edits {
		c := newSchedule(3)
		change(&c.Schedule)
		if out := applyAll(t, db, c)[0]; out.Refused != fault.Malformed {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if out := applyAll(t, db, newSchedule(2))[0]; out.Refused != fault.Conflict {
		t.Errorf("an old revision: %+v", out)
	}
	if applyAll(t, db, newSchedule(3))[0].Refused != 0 {
		t.Error("the next revision was refused")
	}
}

func TestBackupRuns(t *testing.T) {
	db := newState()
	mustApply(t, db, newCluster())
	for n := range directory.BackupRunsKept + 10 {
		mustApply(t, db, newRun(n+1))
	}
	runs := newView(db, 0).BackupRuns()
	if len(runs) != directory.BackupRunsKept || runs[0].ID != "run_0011" || runs[len(runs)-1].ID != "run_0210" {
		t.Fatalf("%d runs from %s", len(runs), runs[0].ID)
	}
	if out := applyAll(t, db, newRun(210))[0]; out.Refused != fault.Conflict {
		t.Errorf("twice: %+v", out)
	}
	long := newRun(300)
	long.Run.Failed = strings.Repeat("x", directory.BackupTextMax+1)
	if out := applyAll(t, db, long)[0]; out.Refused != fault.Malformed {
		t.Errorf("a long reason: %+v", out)
	}
}

// TestScheduledRunOnce: of two leaders that begin with what is due, one is refused, and the run of the other ends once.
func TestScheduledRunOnce(t *testing.T) {
	db := newState()
	mustApply(t, db, newCluster())
	pending := func(n int, follows string, rehearse bool) command.RecordBackup {
		c := newRun(n)
		c.Run.Pending, c.Run.Scheduled, c.Run.Rehearse, c.Follows = true, true, rehearse, follows
		return c
	}
	mustApply(t, db, pending(1, "", false))
	if out := applyAll(t, db, pending(2, "", false))[0]; out.Refused != fault.Conflict {
		t.Fatalf("a second leader: %+v", out)
	}
	mustApply(t, db, pending(3, "", true)) // a rehearsal is another thing
	ended := newRun(1)
	ended.Run.Scheduled = true
	mustApply(t, db, ended)
	if out := applyAll(t, db, ended)[0]; out.Refused != fault.Conflict {
		t.Fatalf("ended twice: %+v", out)
	}
	mustApply(t, db, pending(4, "run_0001", false))
	if runs := newView(db, 0).BackupRuns(); len(runs) != 3 || !runs[0].Good() || runs[1].Good() {
		t.Fatalf("%+v", runs)
	}
}
