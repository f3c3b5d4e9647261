package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// settingsCommands are the commands of this part.
func (a *app) settingsCommands() []*cobra.Command {
	return []*cobra.Command{
		a.group("settings", "Show and change the limits and approvals of a tenant", a.settingsShowCommand(), a.settingsSetCommand()),
		a.group("approval", "Decide on acts that need more than one person", a.approvalListCommand(), a.approvalShowCommand(),
			a.approvalDecideCommand("approve", true), a.approvalDecideCommand("reject", false), a.approvalCancelCommand()),
	}
}

func (a *app) settingsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the limits and approvals of the tenant",
		Long: `Show the limits and approvals of the tenant. With --output json it is what
'cryptoserve settings set' takes.`,
		Example: "  cryptoserve settings show --output json > settings.json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Settings, error) {
				return c.Settings(ctx)
			}, settingsTable)
		},
	}
}

func settingsTable(w io.Writer, s wire.Settings) error {
	rate := func(r wire.Rate) string {
		if r.PerSecond == 0 {
			return "no limit"
		}
		return fmt.Sprintf("%d a second, %d at once", r.PerSecond, r.Burst)
	}
	budget := "no limit"
	if b := s.DecryptBudget; b != nil {
		budget = fmt.Sprintf("%d records and %d bytes in %d seconds (0 is no limit)", b.Records, b.Bytes, b.Seconds)
	}
	approvals := "none"
	if len(s.Approvals) > 0 {
		var list []string
		for _, r := range s.Approvals {
			list = append(list, fmt.Sprintf("%s (%d)", r.Act, r.Approvers))
		}
		approvals = strings.Join(list, ", ")
	}
	wait := s.DestroyWaitDays
	if wait == 0 {
		wait = 7
	}
	return rows(w,
		[2]string{"each address", rate(s.AddressRate)}, [2]string{"each subject", rate(s.SubjectRate)},
		[2]string{"each context", rate(s.ContextRate)}, [2]string{"decryption", budget},
		[2]string{"need approval", approvals}, [2]string{"destruction waits", strconv.Itoa(wait) + " days"},
		[2]string{"revision", strconv.FormatUint(uint64(s.Revision), 10)},
	)
}

func (a *app) settingsSetCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "set [FILE]",
		Short: "Replace the limits and approvals of the tenant",
		Long: `Replace the limits and approvals of the tenant by those in a file, or on standard input,
in the form that 'cryptoserve settings show --output json' gives. The revision in it says
which settings the change is based on: if somebody changed them since, it is refused.`,
		Example: "  cryptoserve settings set settings.json --reason 'two approvers from now on'",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, as `text`, for those who must approve it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := a.input(cmd.Context(), args)
		if err != nil {
			return err
		}
		req := wire.ChangeSettingsRequest{Reason: reason}
		if err := json.Unmarshal(text, &req.Settings); err != nil {
			return fmt.Errorf("the settings are not JSON as 'cryptoserve settings show --output json' gives it: %w", err)
		}
		return showChanged(cmd.Context(), a, func(ctx context.Context, c *client.Client) (client.Changed[wire.Settings], error) {
			return c.ChangeSettings(ctx, req)
		}, settingsTable)
	}
	return cmd
}

// showChanged asks for an act that may need approval and shows its result, or the approval that it waits for.
func showChanged[T any](
	ctx context.Context, a *app, request func(context.Context, *client.Client) (client.Changed[T], error), table func(io.Writer, T) error,
) error {
	answer, err := ask(ctx, a, request)
	if err != nil {
		return err
	}
	if waiting := answer.Approval; waiting != nil {
		_, _ = fmt.Fprintf(a.stderr, "nothing has changed yet: this needs the approval of %d others\n", waiting.Required)
		return a.show(&streamSink{out: a.stdout}, waiting, func(w io.Writer) error { return approvalTable(w, *waiting) })
	}
	return a.show(&streamSink{out: a.stdout}, answer.Result, func(w io.Writer) error { return table(w, answer.Result) })
}

func (a *app) approvalListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the acts that wait for approval, and what became of others",
		Long:    "List the acts that wait for approval, and what became of others.",
		Example: "  cryptoserve approval list",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Approval, error) {
				return c.Approvals(ctx)
			}, func(w io.Writer, list []wire.Approval) error {
				var lines [][]string
				for _, p := range list {
					lines = append(lines, []string{p.ID, p.Act, p.Resource, p.State, given(p), p.Requester, p.ExpiresAt, p.Reason})
				}
				return columns(w, []string{"ID", "ACT", "RESOURCE", "STATE", "APPROVED", "WANTED BY", "EXPIRES", "REASON"}, lines)
			})
		},
	}
}

// given tells how many approvals of how many there are.
func given(p wire.Approval) string {
	n := 0
	for _, d := range p.Decisions {
		if d.Approve {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, p.Required)
}

func approvalTable(w io.Writer, p wire.Approval) error {
	list := [][2]string{
		{"id", p.ID}, {"act", p.Act}, {"resource", p.Resource}, {"state", p.State}, {"approved", given(p)},
		{"wanted by", p.Requester}, {"reason", p.Reason}, {"expires", p.ExpiresAt},
	}
	for _, line := range p.Details {
		list = append(list, [2]string{"it", line})
	}
	for _, d := range p.Decisions {
		said := "rejected"
		if d.Approve {
			said = "approved"
		}
		list = append(list, [2]string{said + " by", d.User + " at " + d.At + " " + d.Reason})
	}
	return rows(w, list...)
}

func (a *app) approvalShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show one act that waits for approval",
		Long:    "Show one act that waits for approval, or what became of it.",
		Example: "  cryptoserve approval show approval_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Approval, error) {
				return c.Approval(ctx, args[0])
			}, approvalTable)
		},
	}
}

func (a *app) approvalDecideCommand(name string, approve bool) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   name + " ID",
		Short: strings.ToUpper(name[:1]) + name[1:] + " an act that somebody else wants",
		Long: strings.ToUpper(name[:1]) + name[1:] + ` an act that somebody else wants. The approval that completes a request carries
the act out; one rejection ends it.`,
		Example: "  cryptoserve approval " + name + " approval_0123456789abcdef --reason 'agreed on Monday'",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, as `text`, for the record")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Approval, error) {
			return c.Decide(ctx, args[0], approve, reason)
		}, approvalTable)
	}
	return cmd
}

func (a *app) approvalCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "cancel ID",
		Short:   "Withdraw a request of your own",
		Long:    "Withdraw a request of your own that waits for approval.",
		Example: "  cryptoserve approval cancel approval_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Approval, error) {
				return c.CancelApproval(ctx, args[0])
			}, approvalTable)
		},
	}
}
