package cluster

import (
	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

func setBackupSchedule(txn *memdb.Txn, c command.SetBackupSchedule) command.Outcome {
	cluster := first[directory.Cluster](txn, tableCluster, indexID, "")
	var revision uint32
	if cluster.Backups != nil {
		revision = cluster.Backups.Revision
	}
	switch {
	case c.Schedule.Validate() != nil:
		return refused(fault.Malformed, "the schedule of backups is not valid")
	case c.Schedule.Revision != revision+1:
		return refused(fault.Conflict, "the schedule of backups was changed meanwhile: look at it again")
	}
	next := *cluster
	next.Backups = &c.Schedule
	put(txn, tableCluster, &next)
	return done
}

func recordBackup(txn *memdb.Txn, c command.RecordBackup) command.Outcome {
	r := c.Run
	before := first[directory.BackupRun](txn, tableBackupRuns, indexID, r.ID)
	switch {
	case !validKey(r.ID) || r.At <= 0 || len(r.ID) > directory.BackupNameMax || len(r.Failed) > directory.BackupTextMax:
		return refused(fault.Malformed, "the run has no valid id, time or reason")
	case len(r.Backup) > directory.BackupNameMax || len(r.Target) > directory.BackupNameMax:
		return refused(fault.Malformed, "the run has no valid backup or target")
	case before != nil && (!before.Pending || r.Pending || r.Rehearse != before.Rehearse):
		return refused(fault.Conflict, "the run was recorded already")
	}
	runs := all[directory.BackupRun](txn, tableBackupRuns, indexID)
	if r.Pending && r.Scheduled && newestScheduled(runs, r.Rehearse) != c.Follows {
		return refused(fault.Conflict, "another node has begun with it")
	}
	put(txn, tableBackupRuns, &r)
	if before == nil {
		for _, old := range runs[:max(0, len(runs)+1-directory.BackupRunsKept)] {
			drop(txn, tableBackupRuns, old)
		}
	}
	return done
}

// newestScheduled returns the id of the last scheduled run of a kind, empty when there is none. Ids sort by time.
func newestScheduled(runs []*directory.BackupRun, rehearse bool) (id string) {
	for _, r := range runs {
		if r.Scheduled && r.Rehearse == rehearse {
			id = r.ID
		}
	}
	return id
}
