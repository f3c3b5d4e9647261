package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// tenantCommands are the commands of this part.
func (a *app) tenantCommands() []*cobra.Command {
	return []*cobra.Command{a.group("tenant", "Make, disable and delete tenants, as an operator",
		a.tenantListCommand(), a.tenantCreateCommand(), a.tenantInviteCommand(),
		a.tenantChangeCommand("disable", "Take every right of the users and applications of a tenant",
			"Nothing is lost: 'cryptoserve tenant enable' gives all of it back.", (*client.Client).DisableTenant),
		a.tenantChangeCommand("enable", "Give a disabled tenant its rights back",
			"A tenant that waits for its deletion must be restored first.", (*client.Client).EnableTenant),
		a.tenantDeleteCommand(),
		a.tenantChangeCommand("restore", "Take the deletion of a tenant back",
			"The tenant stays disabled until 'cryptoserve tenant enable'.", (*client.Client).RestoreTenant),
	)}
}

func (a *app) tenantListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List all tenants",
		Long:    "List all tenants, in order of id.",
		Example: "  cryptoserve tenant list --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Tenant, error) {
				return c.Tenants(ctx)
			}, func(w io.Writer, list []wire.Tenant) error {
				var lines [][]string
				for _, t := range list {
					lines = append(lines, []string{t.Name, t.ID, t.Status, t.CreatedAt, t.DeleteAt})
				}
				return columns(w, []string{"NAME", "ID", "STATUS", "CREATED", "DELETED AT"}, lines)
			})
		},
	}
}

func (a *app) tenantCreateCommand() *cobra.Command {
	var req wire.CreateTenantRequest
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a tenant and invite its first owner",
		Long: `Make a tenant and print the code that lets its first owner in. The code is good once, for
seven days, and is not shown again.`,
		Example: "  cryptoserve tenant create acme --owner-email owner@acme.example",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&req.OwnerEmail, "owner-email", "", "`address` of whom the code is for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Name = args[0]
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.InvitedTenant, error) {
			return c.CreateTenant(ctx, req)
		}, invitedTable)
	}
	return cmd
}

func (a *app) tenantInviteCommand() *cobra.Command {
	var req wire.InviteOwnerRequest
	cmd := &cobra.Command{
		Use:   "invite TENANT",
		Short: "Invite the first owner of a tenant once more",
		Long: `Print another code for the first owner of a tenant, named by its name or id. A tenant that
has an owner invites by itself.`,
		Example: "  cryptoserve tenant invite acme",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&req.OwnerEmail, "owner-email", "", "`address` of whom the code is for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.InvitedTenant, error) {
			return c.InviteOwner(ctx, args[0], req)
		}, invitedTable)
	}
	return cmd
}

func invitedTable(w io.Writer, t wire.InvitedTenant) error {
	return rows(w, append(tenantRows(t.Tenant),
		[2]string{"invitation code", t.InvitationCode}, [2]string{"good until", t.InvitationExpiresAt})...)
}

func tenantTable(w io.Writer, t wire.Tenant) error { return rows(w, tenantRows(t)...) }

func tenantRows(t wire.Tenant) [][2]string {
	list := [][2]string{{"name", t.Name}, {"id", t.ID}, {"status", t.Status}, {"created", t.CreatedAt}}
	if t.DeleteAt != "" {
		list = append(list, [2]string{"deleted at", t.DeleteAt})
	}
	return list
}

func (a *app) tenantChangeCommand(
	act, short, long string, change func(c *client.Client, ctx context.Context, tenant string) (wire.Tenant, error),
) *cobra.Command {
	return &cobra.Command{
		Use:     act + " TENANT",
		Short:   short,
		Long:    short + ", named by its name or id.\n" + long,
		Example: "  cryptoserve tenant " + act + " acme",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Tenant, error) {
				return change(c, ctx, args[0])
			}, tenantTable)
		},
	}
}

func (a *app) tenantDeleteCommand() *cobra.Command {
	var req wire.DeleteTenantRequest
	var days uint32
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete TENANT --yes",
		Short: "Disable a tenant and have it deleted after a waiting period",
		Long: `Disable a tenant, named by its name or id, and have it deleted with all its keys after 30
days or --wait-days. What its keys have encrypted cannot be read by anybody then. Until the
end of the waiting period 'cryptoserve tenant restore' takes it back. Where the tenant wants
approval, a request for it is printed and nothing changes yet.`,
		Example: "  cryptoserve tenant delete acme --yes --reason 'the contract has ended'",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, as `text`")
	cmd.Flags().Uint32Var(&days, "wait-days", 0, "length of the waiting period in `days` (default 30)")
	cmd.Flags().BoolVar(&yes, "yes", false, "it is meant (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes {
			return wrongUse(cmd, "this ends all keys of the tenant: add --yes if it is meant")
		}
		if cmd.Flags().Changed("wait-days") {
			req.WaitDays = &days
		}
		return showChanged(cmd.Context(), a, func(ctx context.Context, c *client.Client) (client.Changed[wire.Tenant], error) {
			return c.DeleteTenant(ctx, args[0], req)
		}, tenantTable)
	}
	return cmd
}
