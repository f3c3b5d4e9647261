package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// backupTimeout is how long a backup may take when --timeout says nothing.
const backupTimeout = 30 * time.Minute

// backupCommands are the commands of this part.
func (a *app) backupCommands() []*cobra.Command {
	return []*cobra.Command{a.group("backup", "Make backups of the appliance's state, look at them, and restore them",
		a.backupCreateCommand(), a.backupListCommand(), a.backupRehearseCommand(), a.backupDownloadCommand(), a.backupScheduleCommand(),
		a.backupRestoreCommand(),
	)}
}

// patiently asks with a bound that leaves room for a large state, and tells people that it takes a while.
func patiently[T any](cmd *cobra.Command, a *app, doing string, request func(context.Context, *client.Client) (T, error)) (T, error) {
	if !cmd.Flags().Changed("timeout") {
		a.timeout = backupTimeout
	}
	began := time.Now()
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.note("%s, for %s by now", doing, time.Since(began).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return ask(cmd.Context(), a, request)
}

func (a *app) backupCreateCommand() *cobra.Command {
	var req wire.CreateBackupRequest
	cmd := &cobra.Command{
		Use:     "create",
		Short:   "Make a backup now",
		Long:    "Make a backup of the whole replicated state now, and tell its id. The roles operator\nand backup may do it. Audit logs are in no backup.",
		Example: "  cryptoserve backup create --target offsite",
		Args:    usageArgs(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&req.Target, "target", "", "`name` of the place, from the node's configuration (default the only one, or the schedule's)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		run, err := patiently(cmd, a, "the backup is being written", func(ctx context.Context, c *client.Client) (wire.BackupRun, error) {
			return c.CreateBackup(ctx, req)
		})
		if err != nil {
			return err
		}
		return a.show(&streamSink{out: a.stdout}, run, func(w io.Writer) error {
			return rows(w, [2]string{"backup", run.Backup}, [2]string{"target", run.Target}, [2]string{"bytes", strconv.FormatInt(run.Bytes, 10)},
				[2]string{"log index", strconv.FormatUint(run.Index, 10)}, [2]string{"took", strconv.FormatInt(run.TookMS, 10) + " ms"})
		})
	}
	return cmd
}

func (a *app) backupListCommand() *cobra.Command {
	var runs bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the backups, or with --runs how they were made",
		Long: `List the backups in the targets of the node that is asked, the newest first. With --runs,
list the newest backups, rehearsals and restores that were made or tried, and why they
failed.`,
		Example: "  cryptoserve backup list\n  cryptoserve backup list --runs",
		Args:    usageArgs(cobra.NoArgs),
	}
	cmd.Flags().BoolVar(&runs, "runs", false, "list what was made or tried")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := patiently(cmd, a, "the targets are being read", func(ctx context.Context, c *client.Client) (wire.Backups, error) {
			return c.Backups(ctx)
		})
		if err != nil {
			return err
		}
		for _, t := range list.Targets {
			if t.Problem != "" {
				a.note("target %s: %s", printable(t.Name), printable(t.Problem))
			}
		}
		return a.show(&streamSink{out: a.stdout}, list, func(w io.Writer) error {
			if runs {
				return backupRunsTable(w, list.Runs)
			}
			return backupsTable(w, list.Backups)
		})
	}
	return cmd
}

func backupsTable(w io.Writer, list []wire.Backup) error {
	var lines [][]string
	for _, b := range list {
		made, index, cluster := "", "", ""
		if b.Manifest != nil {
			made, index, cluster = b.Manifest.CreatedAt, strconv.FormatUint(b.Manifest.Index, 10), b.Manifest.ClusterID
		}
		rehearsed := b.RehearsedAt
		if b.RehearsalFailed != "" {
			rehearsed = "failed: " + b.RehearsalFailed
		}
		lines = append(lines, []string{b.ID, b.Target, made, strconv.FormatInt(b.Bytes, 10), index, cluster, rehearsed, b.Problem})
	}
	return columns(w, []string{"ID", "TARGET", "MADE", "BYTES", "INDEX", "CLUSTER", "REHEARSED", "PROBLEM"}, lines)
}

func backupRunsTable(w io.Writer, list []wire.BackupRun) error {
	var lines [][]string
	for _, r := range list {
		by := "asked for"
		if r.Scheduled {
			by = "scheduled"
		}
		lines = append(lines, []string{r.At, r.Kind, r.State, by, r.Target, r.Backup, r.Node, strconv.FormatInt(r.TookMS, 10) + " ms", r.Reason})
	}
	return columns(w, []string{"AT", "KIND", "STATE", "BY", "TARGET", "BACKUP", "NODE", "TOOK", "REASON"}, lines)
}

func (a *app) backupRehearseCommand() *cobra.Command {
	var req wire.RehearseBackupRequest
	cmd := &cobra.Command{
		Use:   "rehearse BACKUP",
		Short: "Read a backup as a restore does, and change nothing",
		Long: `Read a backup to its end as a restore does, prove every byte of it, compute the digest of
the state again, and look whether everything fits together. Nothing is changed.

The exit code is 1 when something in it does not fit together.`,
		Example: "  cryptoserve backup rehearse backup_20260304t050607z_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&req.Target, "target", "", "`name` of the place (default looks in all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		report, err := patiently(cmd, a, "the backup is being read", func(ctx context.Context, c *client.Client) (wire.BackupReport, error) {
			return c.RehearseBackup(ctx, args[0], req)
		})
		if err != nil {
			return err
		}
		err = a.show(&streamSink{out: a.stdout}, report, func(w io.Writer) error { return backupReportTable(w, report) })
		if err == nil && report.ProblemsFound > 0 {
			err = fmt.Errorf("%d records do not fit together", report.ProblemsFound)
		}
		return err
	}
	return cmd
}

func backupReportTable(w io.Writer, r wire.BackupReport) error {
	m := r.Manifest
	list := [][2]string{
		{"backup", r.Backup}, {"cluster", m.ClusterID}, {"made", m.CreatedAt + " by " + m.NodeID}, {"log index", strconv.FormatUint(m.Index, 10)},
		{"state", "SHA-256 " + m.StateDigest}, {"master key", "check value " + m.MasterKCV},
		{"program", m.ProgramVersion + ", commands of version " + strconv.FormatUint(uint64(m.CommandVersion), 10)},
		{"records", strconv.FormatUint(r.Records, 10)},
	}
	for _, t := range r.Tables {
		if t.Records > 0 {
			list = append(list, [2]string{"  " + t.Name, strconv.FormatUint(t.Records, 10)})
		}
	}
	list = append(list, [2]string{"problems", strconv.Itoa(r.ProblemsFound)})
	for _, p := range r.Problems {
		list = append(list, [2]string{"", p})
	}
	if r.Before != "" {
		list = append(list, [2]string{"state before", "is in " + r.Before}, [2]string{"replaced", strconv.Itoa(r.Replaced) + " records"})
	}
	return rows(w, append(list, [2]string{"took", strconv.FormatInt(r.TookMS, 10) + " ms"})...)
}

func (a *app) backupDownloadCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "download BACKUP",
		Short: "Copy a backup to a file",
		Long: `Copy a backup to a file, as the role backup. It stays sealed: only a token with the master
key opens it. The file appears when all of it has come.`,
		Example: "  cryptoserve backup download backup_20260304t050607z_0123456789abcdef --out /mnt/safe/b.csbackup",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "`file` to write")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := required(cmd, out, "--out"); err != nil {
			return err
		}
		c, err := a.client(true)
		if err != nil {
			return err
		}
		sink, err := newFileSink(out)
		if err != nil {
			return err
		}
		defer sink.Discard()
		from, err := c.DownloadBackup(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		n, err := io.Copy(sink, from)
		_ = from.Close() // what it says is known
		if err == nil {
			err = sink.Commit()
		}
		if err == nil {
			a.note("%d bytes in %s", n, out)
		}
		return err
	}
	return cmd
}

func (a *app) backupScheduleCommand() *cobra.Command {
	var s wire.BackupSchedule
	var every, rehearse time.Duration
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Show or change when backups are made by themselves",
		Long: `Without options, show when backups are made by themselves and which are kept. With
options, change what they name. --every 0 ends it. The newest good backup always stays,
and what cannot be read, or is of another cluster, is never deleted.`,
		Example: "  cryptoserve backup schedule --every 1h --target offsite --keep 24 --days 7 --months 12 --rehearse 24h",
		Args:    usageArgs(cobra.NoArgs),
	}
	flags := cmd.Flags()
	flags.DurationVar(&every, "every", 0, "how often, in whole minutes; 0 is never")
	flags.DurationVar(&rehearse, "rehearse", 0, "how often the newest is rehearsed, in whole minutes; 0 is never")
	flags.StringVar(&s.Target, "target", "", "`name` of the place, from the nodes' configuration")
	for name, field := range map[string]*uint32{"keep": &s.Keep, "days": &s.Days, "weeks": &s.Weeks, "months": &s.Months} {
		flags.Uint32Var(field, name, 0, map[string]string{
			"keep": "how many of the newest stay", "days": "of how many days one stays", "weeks": "of how many weeks one stays",
			"months": "of how many months one stays",
		}[name])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if every%time.Minute != 0 || rehearse%time.Minute != 0 || every < 0 || rehearse < 0 {
			return wrongUse(cmd, "--every and --rehearse must be whole minutes, such as 90m")
		}
		s.EveryMinutes, s.RehearseMinutes = uint32(every/time.Minute), uint32(rehearse/time.Minute) //nolint:gosec // the server bounds them
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.BackupSchedule, error) {
			now, err := c.BackupSchedule(ctx)
			if err != nil || !changesSchedule(cmd, &now, &s) {
				return now, err
			}
			return c.SetBackupSchedule(ctx, now)
		}, scheduleTable)
	}
	return cmd
}

// changesSchedule puts what the options name into the present schedule.
func changesSchedule(cmd *cobra.Command, now, given *wire.BackupSchedule) (changed bool) {
	set := func(option string, put func()) {
		if cmd.Flags().Changed(option) {
			put()
			changed = true
		}
	}
	if now.Revision == 0 {
		now.Keep = 7
	}
	set("every", func() { now.EveryMinutes = given.EveryMinutes })
	set("rehearse", func() { now.RehearseMinutes = given.RehearseMinutes })
	set("target", func() { now.Target = given.Target })
	set("keep", func() { now.Keep = given.Keep })
	set("days", func() { now.Days = given.Days })
	set("weeks", func() { now.Weeks = given.Weeks })
	set("months", func() { now.Months = given.Months })
	return changed
}

func scheduleTable(w io.Writer, s wire.BackupSchedule) error {
	often := func(minutes uint32) string {
		if minutes == 0 {
			return "never"
		}
		return "every " + strings.TrimSuffix((time.Duration(minutes)*time.Minute).String(), "0s")
	}
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	return rows(w, [2]string{"backups", often(s.EveryMinutes)}, [2]string{"rehearsals", often(s.RehearseMinutes)}, [2]string{"target", s.Target},
		[2]string{"kept", number(s.Keep) + " newest, one of " + number(s.Days) + " days, " + number(s.Weeks) + " weeks and " + number(s.Months) + " months"})
}

var errRestoreNeeds = errors.New("a restore replaces everything: repeat the command with --confirm and the same backup's id")

func (a *app) backupRestoreCommand() *cobra.Command {
	var req wire.RestoreBackupRequest
	var confirm string
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Put the state of a backup in the place of the present one",
		Long: `Put the state of a backup in the place of the present one, on all nodes. Ask the node that
leads. The whole backup is proved first, and the state that is there is backed up first.

Everybody signs in again afterwards, also who asked for it, with the accounts of the
backup. Key versions that were destroyed since stay destroyed. --new-cluster is for a
cluster that was made in the place of one that is gone: its token must hold the same keys.`,
		Example: "  cryptoserve backup restore B --confirm B --reason 'the data centre burnt' --new-cluster",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Target, "target", "", "`name` of the place (default looks in all)")
	flags.StringVar(&req.Reason, "reason", "", "`why`, for the node's log (required)")
	flags.StringVar(&confirm, "confirm", "", "the `id` of the backup once more (required)")
	flags.BoolVar(&req.Force, "force", false, "also over a newer state, a second time, or with problems")
	flags.BoolVar(&req.NewCluster, "new-cluster", false, "the backup is of another cluster, which is gone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := required(cmd, req.Reason, "--reason"); err != nil {
			return err
		}
		if confirm != args[0] {
			return wrongUse(cmd, "%w", errRestoreNeeds)
		}
		report, err := patiently(cmd, a, "the backup is being restored", func(ctx context.Context, c *client.Client) (wire.BackupReport, error) {
			return c.RestoreBackup(ctx, args[0], req)
		})
		if err != nil {
			return err
		}
		a.note("restored; sign in again with an account of the backup")
		return a.show(&streamSink{out: a.stdout}, report, func(w io.Writer) error { return backupReportTable(w, report) })
	}
	return cmd
}
