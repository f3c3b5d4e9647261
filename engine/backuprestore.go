package engine

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// Rehearsal is what a rehearsal found.
type Rehearsal struct {
	Run      *directory.BackupRun
	Manifest backup.Manifest
	Report   StateReport
}

// RehearseBackup reads a backup as a restore does, to its end, and changes nothing.
func (e *Engine) RehearseBackup(ctx context.Context, c *Call, id, target string) (*Rehearsal, error) {
	r := c.begin(policy.RehearseBackup)
	r.Resource = id
	_, err := e.authorizeChange(c, policy.RehearseBackup)
	var place *BackupTarget
	if err == nil {
		place, err = e.locate(ctx, id, target)
	}
	if err != nil {
		return nil, e.finish(c, &r, err)
	}
	r.Administrative = true
	var found *Rehearsal
	err = e.steps(c, &r, func() error {
		return e.alone(func() (err error) {
			found, err = e.rehearse(ctx, place, id, e.newRun(place))
			return cmp.Or(err, e.still(c, policy.RehearseBackup))
		})
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// rehearse reads a backup and records how that went. One in which something does not fit together has failed.
func (e *Engine) rehearse(ctx context.Context, place *BackupTarget, id string, run *directory.BackupRun) (*Rehearsal, error) {
	run.Rehearse, run.Backup = true, id
	found := &Rehearsal{Run: run}
	m, _, report, err := e.openBackup(ctx, place, id)
	if err == nil {
		found.Manifest, found.Report = m, report
		run.Bytes, run.Index, run.Digest = m.Bytes, m.Index, report.Digest
		if report.Found > 0 {
			run.Failed = clip(fmt.Sprintf("%d records do not fit together, the first: %s", report.Found, report.Problems[0]), directory.BackupTextMax)
		}
	}
	return found, e.ended(ctx, run, err)
}

// openBackup reads a whole backup: the manifest is proved, the state has the digest that the manifest tells.
func (e *Engine) openBackup(ctx context.Context, place *BackupTarget, id string) (m backup.Manifest, state BackedState, report StateReport, err error) {
	key, err := e.backupKey(ctx)
	if err != nil {
		return m, nil, report, err
	}
	defer key.Destroy()
	state, err = withBackup(ctx, place.Place, backup.FileName(id), func(from *backupFile) (BackedState, error) {
		counted := &countedReader{from: from}
		var body *backup.Reader
		var err error
		if m, body, err = backup.Open(counted, key); err != nil {
			return nil, err
		}
		if m.Commands > command.Newest() {
			return nil, fault.New(fault.Conflict, opBackup, fmt.Sprintf("the backup needs commands of version %d, and this program knows "+
				"version %d: use cryptoserved %s or later", m.Commands, command.Newest(), m.Program))
		}
		s, err := e.archive.Read(body)
		m.Bytes = counted.n
		return s, err
	})
	if err != nil {
		return m, nil, report, err
	}
	report = state.Report()
	if m.ID != id || report.Digest != [32]byte(m.StateDigest) || report.Index != m.Index || report.Term != m.Term || report.Cluster != m.Cluster {
		return m, nil, report, fmt.Errorf("%w: its manifest is that of another state; use another copy of it", backup.ErrDamaged)
	}
	return m, state, report, nil
}

type countedReader struct {
	from *backupFile
	n    int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// RestoreSpec says how a backup is restored.
type RestoreSpec struct {
	Target string
	// Force restores a backup although the present state is newer, it was restored before, or something in it does not fit together.
	Force bool
	// NewCluster says that the backup is of another cluster, which does not exist any more.
	NewCluster bool
	Reason     string // for the node's log
}

// Restored is what a restore did.
type Restored struct {
	Manifest backup.Manifest
	Report   StateReport
	// Before is the backup of the state that was there, empty when it held no tenant. Replaced is how many records of that state
	// were changed or dropped.
	Before   string
	Replaced int
}

// RestoreBackup puts the state of a backup in the place of the present one, on all nodes. It runs on the node that leads. The whole
// backup is read and proved before anything changes, and a state that holds tenants is backed up to the same target first.
func (e *Engine) RestoreBackup(ctx context.Context, c *Call, id string, in RestoreSpec) (*Restored, error) {
	r := c.begin(policy.RestoreBackup)
	r.Resource = id
	_, err := e.authorizeChange(c, policy.RestoreBackup)
	var place *BackupTarget
	switch {
	case err != nil:
	case len(in.Reason) > directory.ReasonMax:
		err = malformedField("reason", "is too long")
	case !e.ledger.Leads():
		err = fault.New(fault.NotLeader, opBackup, "only the node that leads restores a backup: ask that one (see the status of the cluster)")
	default:
		place, err = e.locate(ctx, id, in.Target)
	}
	if err != nil {
		return nil, e.finish(c, &r, err)
	}
	r.Administrative = true
	if in.Force {
		r.Cause = "forced"
	}
	var done *Restored
	err = e.steps(c, &r, func() error {
		return e.alone(func() (err error) {
			done, err = e.restore(ctx, c, place, id, in)
			return storageFault(err)
		})
	})
	if err != nil {
		return nil, err
	}
	e.log.Warn("a backup was restored", "backup", id, "cluster", done.Manifest.Cluster, "index", done.Manifest.Index, "before", done.Before,
		"replaced", done.Replaced, "forced", in.Force, "reason", in.Reason, "request", c.RequestID)
	return done, nil
}

func (e *Engine) restore(ctx context.Context, c *Call, place *BackupTarget, id string, in RestoreSpec) (*Restored, error) {
	run := e.newRun(place)
	run.Restore, run.Backup = true, id
	m, state, report, err := e.openBackup(ctx, place, id)
	if err != nil {
		return nil, err
	}
	out := &Restored{Manifest: m, Report: report, Replaced: state.Losses()}
	if err := e.mayRestore(m, report, out.Replaced, in); err != nil {
		return nil, err
	}
	if len(e.ledger.View().Tenants()) > 0 {
		before, err := e.backUp(ctx, place, e.newRun(place))
		if err != nil {
			return nil, fault.Wrap(fault.Of(err), opBackup, "nothing was restored: the present state could not be backed up first: "+describe(err), err)
		}
		out.Before = before.Backup
		// What changed while that backup was made is not in it, and not to be lost unseen.
		if now := state.Losses(); now != out.Replaced && !in.Force {
			return nil, fault.New(fault.Conflict, opBackup, "the state changed while it was backed up: stop those who change it, and try again")
		}
	}
	if _, err := e.authorizeChange(c, policy.RestoreBackup); err != nil { // reading took a while
		return nil, err
	}
	if err := state.Restore(ctx, e.now().UnixMilli()); err != nil {
		return nil, err
	}
	c.lease = settled // the caller is the one who knows; his session is gone with the old state
	e.dropKeys()
	run.Bytes, run.Index, run.Digest = m.Bytes, m.Index, report.Digest
	return out, e.ended(ctx, run, nil)
}

// mayRestore refuses what an operator would regret. Each refusal says how to go on.
func (e *Engine) mayRestore(m backup.Manifest, report StateReport, losses int, in RestoreSpec) error {
	view := e.ledger.View()
	cluster := view.Cluster()
	no := func(format string, args ...any) error {
		return fault.New(fault.Conflict, opBackup, fmt.Sprintf(format, args...))
	}
	switch {
	case cluster == nil:
		return errNoCluster
	case kcvText(m.MasterKCV) != kcvText(cluster.MasterKCV):
		return no("the backup belongs to the master key with the check value %s, and this cluster has %s: use a token with the right one",
			kcvText(m.MasterKCV), kcvText(cluster.MasterKCV))
	case m.Commands > cluster.Commands():
		return no("the backup needs commands of version %d, and this cluster is finalised at %d: finalise version %d first", m.Commands,
			cluster.Commands(), m.Commands)
	case m.Cluster != cluster.ID && !in.NewCluster:
		return no("the backup is of the cluster %s, and this is %s: if that one is gone and this one was made in its place, say so (new_cluster)",
			m.Cluster, cluster.ID)
	case m.Cluster == cluster.ID && in.NewCluster:
		return no("the backup is of this cluster: leave new_cluster out")
	case in.Force:
		return nil
	case report.Found > 0:
		return no("%d records of the backup do not fit together, the first: %s; use another backup, or force it", report.Found, report.Problems[0])
	}
	for _, r := range view.BackupRuns() {
		if r.Restore && r.Good() && r.Backup == m.ID {
			return no("the backup was restored already, at %s: what came after that would be lost; force it to restore it again",
				time.UnixMilli(r.At).UTC().Format(time.RFC3339))
		}
	}
	if m.Cluster == cluster.ID && losses > 0 {
		return no("the backup of %s is older than what is there: %d records would be changed or dropped; force it if that is meant",
			m.CreatedAt.Format(time.RFC3339), losses)
	}
	if m.Cluster != cluster.ID {
		for _, t := range view.Tenants() {
			if v := view.Tenant(t.ID); len(v.Applications())+len(v.Objects()) > 0 {
				return no("this cluster is in use: tenant %s has applications or keys that are newer than the backup and would be lost; "+
					"force it if that is meant", t.Name)
			}
		}
	}
	return nil
}
