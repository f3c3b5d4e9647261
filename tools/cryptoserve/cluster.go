package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// clusterCommands are the commands of this part.
func (a *app) clusterCommands() []*cobra.Command {
	return []*cobra.Command{a.group("cluster", "Show the nodes of the cluster, let nodes join, and remove them, as an operator",
		a.clusterStatusCommand(), a.clusterMembersCommand(), a.clusterInviteCommand(), a.clusterInvitationsCommand(),
		a.clusterUninviteCommand(), a.clusterJoinsCommand(), a.clusterApproveCommand(), a.clusterDenyCommand(), a.clusterRemoveCommand(),
		a.clusterTransferCommand(), a.clusterDigestCommand(), a.clusterFinaliseCommand(),
	)}
}

func (a *app) clusterStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the cluster is, and how many nodes may fail",
		Long: `Show how the cluster is, as the node that is asked sees it: which node leads, how each of
them is, how long its lease still lasts, and how many may fail.

The exit code is 4 when so many nodes are away that nothing can be written.`,
		Example: "  cryptoserve cluster status",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Cluster, error) { return c.Cluster(ctx) })
			if err != nil {
				return err
			}
			err = a.show(&streamSink{out: a.stdout}, status, func(w io.Writer) error { return clusterTable(w, status) })
			if err == nil && status.CanFail < 0 {
				err = &hintError{err: fmt.Errorf("%w: too few nodes answer", errNotReady), hint: "start the others again"}
			}
			return err
		},
	}
}

func clusterTable(w io.Writer, s wire.Cluster) error {
	leader := s.Leader
	if leader == "" {
		leader = "none now"
	}
	err := rows(w,
		[2]string{"fault tolerance", s.FaultTolerance}, [2]string{"cluster", s.ID}, [2]string{"leader", leader},
		[2]string{"asked", s.Node}, [2]string{"commands", "version " + strconv.FormatUint(uint64(s.CommandVersion), 10)},
		[2]string{"master key", "check value " + s.MasterKCV}, [2]string{"cluster CA", "SHA-256 " + s.CAFingerprint},
	)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return membersTable(w, s, false)
}

// membersTable shows the nodes; those that were removed only when all are wanted.
func membersTable(w io.Writer, s wire.Cluster, all bool) error {
	var lines [][]string
	for _, m := range s.Members {
		switch {
		case m.Now != nil:
			n := m.Now
			lines = append(lines, []string{
				m.ID, m.Name, memberState(n), m.Address, leaseText(n.LeaseMS), strconv.FormatUint(n.Applied, 10),
				strconv.FormatUint(uint64(m.CommandVersion), 10), n.Reason,
			})
		case all:
			lines = append(lines, []string{m.ID, m.Name, m.Status, m.Address, "", "", "", "removed at " + m.RemovedAt})
		}
	}
	return columns(w, []string{"ID", "NAME", "STATE", "ADDRESS", "LEASE", "APPLIED", "COMMANDS", "REASON"}, lines)
}

func memberState(n *wire.MemberState) string {
	switch {
	case !n.Reachable:
		return "away"
	case !n.Healthy:
		return "not healthy"
	case n.Leader:
		return "leads"
	case !n.Voter:
		return "catching up"
	default:
		return "follows"
	}
}

func leaseText(ms int64) string {
	switch {
	case ms < 0:
		return "without end"
	case ms == 0:
		return "none"
	default:
		return fmt.Sprintf("%d ms", ms)
	}
}

func (a *app) clusterMembersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "members",
		Short:   "List the nodes of the cluster, and those that were removed",
		Long:    "List the nodes of the cluster with their leases, and those that were removed.",
		Example: "  cryptoserve cluster members --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Cluster, error) {
				return c.Cluster(ctx)
			}, func(w io.Writer, s wire.Cluster) error { return membersTable(w, s, true) })
		},
	}
}

func (a *app) clusterInviteCommand() *cobra.Command {
	var req wire.InviteMemberRequest
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Print a code with which one node may ask to join",
		Long: `Print a code with which one node may ask to join. It is good once, for an hour or
--expires-minutes, and is not shown again. On the new node: cryptoserved join --config FILE
CODE. Whoever has the code can ask, and nobody joins before 'cryptoserve cluster approve'.`,
		Example: "  cryptoserve cluster invite --expires-minutes 15",
		Args:    usageArgs(cobra.NoArgs),
	}
	cmd.Flags().IntVar(&req.ExpiresMinutes, "expires-minutes", 0, "how many `minutes` the code is good (default 60, at most 1440)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("expires-minutes") && req.ExpiresMinutes < 1 {
			return wrongUse(cmd, "--expires-minutes must be 1 to 1440")
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.InvitedMember, error) {
			return c.InviteMember(ctx, req)
		}, func(w io.Writer, i wire.InvitedMember) error {
			// The code stands alone on its line: tables break long cells, and people copy lines.
			_, err := fmt.Fprintf(w, "%s\n", printable(i.Code))
			if err == nil {
				a.note("invitation %s, good until %s; on the new node: cryptoserved join --config FILE CODE", printable(i.ID), printable(i.ExpiresAt))
			}
			return err
		})
	}
	return cmd
}

func (a *app) clusterInvitationsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "invitations",
		Short:   "List the invitations to join that can still be used",
		Long:    "List the invitations to join that can still be used. Their codes are not shown again.",
		Example: "  cryptoserve cluster invitations",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.JoinInvitation, error) {
				return c.JoinInvitations(ctx)
			}, func(w io.Writer, list []wire.JoinInvitation) error {
				var lines [][]string
				for _, i := range list {
					lines = append(lines, []string{i.ID, i.CreatedBy, i.CreatedAt, i.ExpiresAt})
				}
				return columns(w, []string{"ID", "MADE BY", "MADE", "EXPIRES"}, lines)
			})
		},
	}
}

func (a *app) clusterUninviteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "uninvite INVITATION",
		Short:   "Take an invitation to join back",
		Long:    "Take an invitation to join back. It is named by its id, not by its code.",
		Example: "  cryptoserve cluster uninvite joincode_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (struct{}, error) {
				return struct{}{}, c.DropJoinInvitation(ctx, args[0])
			})
			return err
		},
	}
}

func (a *app) clusterJoinsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "joins",
		Short: "List the nodes that asked to join",
		Long: `List the nodes that asked to join, with their fingerprints. Approve one only when the
fingerprint is the one that the new node itself shows.`,
		Example: "  cryptoserve cluster joins",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Join, error) {
				return c.Joins(ctx)
			}, func(w io.Writer, list []wire.Join) error {
				var lines [][]string
				for _, j := range list {
					lines = append(lines, []string{j.ID, j.Name, j.State, j.Address, j.Method, j.ExpiresAt, j.Fingerprint})
				}
				return columns(w, []string{"ID", "NAME", "STATE", "ADDRESS", "METHOD", "EXPIRES", "FINGERPRINT"}, lines)
			})
		},
	}
}

func joinTable(w io.Writer, j wire.Join) error {
	list := [][2]string{
		{"id", j.ID}, {"name", j.Name}, {"node", j.Node}, {"state", j.State}, {"fingerprint", j.Fingerprint}, {"address", j.Address},
		{"method", j.Method}, {"expires", j.ExpiresAt},
	}
	if j.DecidedBy != "" {
		list = append(list, [2]string{"decided by", j.DecidedBy + " at " + j.DecidedAt})
	}
	return rows(w, list...)
}

func (a *app) clusterApproveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "approve JOIN FINGERPRINT",
		Short: "Let a node join whose fingerprint you have compared",
		Long: `Let a node join. FINGERPRINT is what the new node itself shows, not what
'cryptoserve cluster joins' shows: all of it, or at least its first 16 hexadecimal
digits. Blanks do not count.

With the method wrap a token of the cluster wraps its keys for the token of the node.
Nothing proves that the key for which they are wrapped is in a token.`,
		Example: "  cryptoserve cluster approve join_0123456789abcdef 0123 4567 89ab cdef",
		Args:    usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			join, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Join, error) {
				return c.ApproveJoin(ctx, args[0], strings.Join(args[1:], " "))
			})
			if err != nil {
				return err
			}
			a.warn(join.Warnings)
			return a.show(&streamSink{out: a.stdout}, join, func(w io.Writer) error { return joinTable(w, join) })
		},
	}
}

func (a *app) clusterDenyCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "deny JOIN",
		Short:   "Refuse a node that asked to join",
		Long:    "Refuse a node that asked to join. It gets no keys; to ask again it needs a new code.",
		Example: "  cryptoserve cluster deny join_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Join, error) {
				return c.DenyJoin(ctx, args[0])
			}, joinTable)
		},
	}
}

func (a *app) clusterRemoveCommand() *cobra.Command {
	var req wire.RemoveMemberRequest
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove NODE --yes",
		Short: "Remove a node from the cluster for good",
		Long: `Remove a node, named by its id, from the cluster for good. The answer comes when no node
honours it any more. It comes back only as a new node, with a new code and new keys.

It is refused for the last node, and when the rest could not write then. With --force only
the last node is refused: use it when the others never come back.`,
		Example: "  cryptoserve cluster remove node_0123456789abcdef --yes --reason 'its disk is dead'",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "even if the rest cannot write then")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, as `text`, for the log of the node")
	cmd.Flags().BoolVar(&yes, "yes", false, "it is meant (asked for where there is a terminal)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes {
			if err := a.confirm(cmd, "Remove the node "+printable(args[0])+" for good?"); err != nil {
				return err
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.ClusterMember, error) {
			return c.RemoveMember(ctx, args[0], req)
		}, func(w io.Writer, m wire.ClusterMember) error {
			return rows(w, [2]string{"id", m.ID}, [2]string{"name", m.Name}, [2]string{"status", m.Status}, [2]string{"removed", m.RemovedAt})
		})
	}
	return cmd
}

func (a *app) clusterTransferCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "transfer [NODE]",
		Short: "Have another node lead",
		Long: `Have another node lead: the one that is named by its id, or any that is up to date. Do it
before work on the node that leads; a clean stop does it by itself.`,
		Example: "  cryptoserve cluster transfer node_0123456789abcdef",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := ""
			if len(args) > 0 {
				to = args[0]
			}
			_, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (struct{}, error) {
				return struct{}{}, c.TransferLeadership(ctx, to)
			})
			return err
		},
	}
}

var errDifferent = errors.New("nodes have different states at one index")

func (a *app) clusterDigestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "digest",
		Short: "Compare the states of the nodes",
		Long: `Compare the states of the nodes by their digests at one index. Different ones must never be:
then the exit code is 1. Unknown means that not all nodes told theirs at one index.`,
		Example: "  cryptoserve cluster digest",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.ClusterDigest, error) {
				return c.ClusterDigest(ctx)
			})
			if err != nil {
				return err
			}
			err = a.show(&streamSink{out: a.stdout}, answer, func(w io.Writer) error {
				lines := [][]string{}
				for _, d := range answer.Nodes {
					lines = append(lines, []string{d.ID, strconv.FormatUint(d.Applied, 10), d.Digest, d.Reason})
				}
				if err := rows(w, [2]string{"digests", answer.Agreement}); err != nil {
					return err
				}
				return columns(w, []string{"ID", "APPLIED", "DIGEST", "REASON"}, lines)
			})
			if err == nil && answer.Agreement == "different" {
				err = &hintError{err: errDifferent, hint: "remove the node that differs, and let it join anew"}
			}
			return err
		},
	}
}

func (a *app) clusterFinaliseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "finalise VERSION",
		Short: "Let the cluster write commands of a new version after an upgrade",
		Long: `Let the cluster write commands of a new version, which the programs of all nodes must know:
'cryptoserve cluster status' shows what they know. Until then every node can go back to
the program before; afterwards none can.`,
		Example: "  cryptoserve cluster finalise 2",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil {
				return wrongUse(cmd, "VERSION must be a number such as 2")
			}
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.FinaliseResponse, error) {
				now, err := c.FinaliseVersion(ctx, uint32(version)) //nolint:gosec // 32 bits were parsed
				return wire.FinaliseResponse{CommandVersion: now}, err
			}, func(w io.Writer, r wire.FinaliseResponse) error {
				return rows(w, [2]string{"commands", "version " + strconv.FormatUint(uint64(r.CommandVersion), 10)})
			})
		},
	}
}
