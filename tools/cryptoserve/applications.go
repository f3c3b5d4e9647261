package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// applicationCommands are the commands of this part.
func (a *app) applicationCommands() []*cobra.Command {
	return []*cobra.Command{a.group("app", "Make applications, say what they may do, and manage their tokens",
		a.appListCommand(), a.appCreateCommand(), a.appRegisterCommand(), a.appShowCommand(), a.appGrantCommand(),
		a.appRevokeGrantCommand(),
		a.appChangeCommand("disable", "Take every right of an application",
			"Nothing is lost: 'cryptoserve app enable' gives them back.", (*client.Client).DisableApplication),
		a.appChangeCommand("enable", "Give a disabled application its rights back",
			"Its tokens are as they were before.", (*client.Client).EnableApplication),
		a.appEndCommand("delete", "Delete an application and its tokens",
			"What it has encrypted stays readable for others that are granted the context.", "deleted", (*client.Client).DeleteApplication),
		a.appTokensCommand(), a.appRotateCommand(),
		a.appEndCommand("revoke", "End all tokens of an application",
			"Its key and its certificate stay. 'cryptoserve app rotate' gives it another key and new\ntokens.", "without tokens",
			(*client.Client).RevokeTokens),
	)}
}

func (a *app) appListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the applications of the tenant",
		Long:    "List the applications of the tenant, in order of id.",
		Example: "  cryptoserve app list --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Application, error) {
				return c.Applications(ctx)
			}, func(w io.Writer, list []wire.Application) error {
				var lines [][]string
				for _, p := range list {
					lines = append(lines, []string{p.ID, p.Name, p.Team, p.Environment, p.Status, strings.Join(granted(p), " ")})
				}
				return columns(w, []string{"ID", "NAME", "TEAM", "ENVIRONMENT", "STATUS", "CONTEXTS"}, lines)
			})
		},
	}
}

func granted(p wire.Application) []string {
	var names []string
	for _, g := range p.Grants {
		names = append(names, g.Context)
	}
	return names
}

func (a *app) appShowCommand() *cobra.Command {
	return a.appChangeCommand("show", "Show an application and what it may do",
		"With what it authenticates, and up to when its tokens were revoked.", (*client.Client).Application)
}

func (a *app) appChangeCommand(
	act, short, long string, change func(c *client.Client, ctx context.Context, id string) (wire.Application, error),
) *cobra.Command {
	return &cobra.Command{
		Use:     act + " APP-ID",
		Short:   short,
		Long:    short + ".\n" + long,
		Example: "  cryptoserve app " + act + " app_shop_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Application, error) {
				return change(c, ctx, args[0])
			}, applicationTable)
		},
	}
}

// appEndCommand is an act that has nothing to show but that it is done.
func (a *app) appEndCommand(
	act, short, long, done string, end func(c *client.Client, ctx context.Context, id string) error,
) *cobra.Command {
	return &cobra.Command{
		Use:     act + " APP-ID",
		Short:   short,
		Long:    short + ".\n" + long,
		Example: "  cryptoserve app " + act + " app_shop_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (map[string]string, error) {
				return map[string]string{"id": args[0], "status": done}, end(c, ctx, args[0])
			}, func(w io.Writer, answer map[string]string) error {
				return rows(w, [2]string{"id", answer["id"]}, [2]string{"status", answer["status"]})
			})
		},
	}
}

func applicationTable(w io.Writer, p wire.Application) error { return rows(w, applicationRows(p)...) }

func applicationRows(p wire.Application) [][2]string {
	list := [][2]string{
		{"id", p.ID}, {"name", p.Name}, {"team", p.Team}, {"environment", p.Environment}, {"description", p.Description},
		{"status", p.Status}, {"key id", p.KeyID}, {"authenticates with", authenticates(p)}, {"created", p.CreatedAt},
		{"created by", p.CreatedBy},
	}
	if p.TokensRevokedAt != "" {
		list = append(list, [2]string{"tokens revoked", p.TokensRevokedAt})
	}
	for _, g := range p.Grants {
		list = append(list, [2]string{"grant", grantText(g)})
	}
	return list
}

func authenticates(p wire.Application) string {
	var list []string
	switch {
	case p.KeptHere:
		list = append(list, "tokens of the appliance")
	case len(p.PublicKey) > 0:
		list = append(list, "tokens of its own")
	}
	if p.CertificateKey != "" {
		list = append(list, "client certificate of key "+p.CertificateKey)
	}
	return strings.Join(list, ", ")
}

func grantText(g wire.Grant) string {
	words := []string{g.Context + ":"}
	for _, right := range []struct {
		has  bool
		name string
	}{{g.Encrypt, "encrypt"}, {g.Decrypt, "decrypt"}, {g.Compromised, "compromised"}} {
		if right.has {
			words = append(words, right.name)
		}
	}
	if b := g.Budget; b != nil {
		words = append(words, fmt.Sprintf("(%d records, %d bytes in %d s)", b.Records, b.Bytes, b.Seconds))
	}
	return strings.Join(words, " ")
}

// changeGrants reads the grants of an application, edits them and writes them back. What somebody else changed in between
// makes it a conflict.
func (a *app) changeGrants(cmd *cobra.Command, id string, edit func([]wire.Grant) ([]wire.Grant, error)) error {
	return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Application, error) {
		p, err := c.Application(ctx, id)
		if err != nil {
			return p, err
		}
		grants, err := edit(slices.Clone(p.Grants))
		if err != nil {
			return p, err
		}
		return c.ChangeApplication(ctx, id, wire.ChangeApplicationRequest{
			Team: p.Team, Description: p.Description, Grants: append([]wire.Grant{}, grants...), PreviousGrants: &p.Grants,
		})
	}, applicationTable)
}

func (a *app) appGrantCommand() *cobra.Command {
	var g wire.Grant
	var budget wire.GrantBudget
	cmd := &cobra.Command{
		Use:   "grant APP-ID CONTEXT",
		Short: "Let an application use a context",
		Long: `Let an application use a context: to encrypt and to decrypt, unless one of --encrypt and
--decrypt is given. It replaces what the application was granted there before. Budgets and
--compromised are for administrators to give.`,
		Example: `  cryptoserve app grant app_shop_0123456789abcdef user-pii --encrypt
  cryptoserve app grant app_shop_0123456789abcdef cards --budget-records 1000 --budget-seconds 3600`,
		Args: usageArgs(cobra.ExactArgs(2)),
	}
	flags := cmd.Flags()
	flags.BoolVar(&g.Encrypt, "encrypt", false, "to encrypt, and not to decrypt unless that is named too")
	flags.BoolVar(&g.Decrypt, "decrypt", false, "to decrypt, and not to encrypt unless that is named too")
	flags.BoolVar(&g.Compromised, "compromised", false, "to decrypt with key versions that are marked as compromised")
	flags.Uint64Var(&budget.Records, "budget-records", 0, "decrypt at most `n` records in --budget-seconds")
	flags.Uint64Var(&budget.Bytes, "budget-bytes", 0, "decrypt at most `n` bytes in --budget-seconds")
	flags.Uint32Var(&budget.Seconds, "budget-seconds", 0, "length of the window in `seconds`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (budget.Records != 0 || budget.Bytes != 0) != (budget.Seconds != 0) {
			return wrongUse(cmd, "a budget needs --budget-seconds, and --budget-records or --budget-bytes")
		}
		if budget.Seconds != 0 {
			g.Budget = &budget
		}
		if !g.Encrypt && !g.Decrypt {
			g.Encrypt, g.Decrypt = true, true
		}
		g.Context = args[1]
		return a.changeGrants(cmd, args[0], func(list []wire.Grant) ([]wire.Grant, error) {
			if i := indexOfGrant(list, g.Context); i >= 0 {
				list[i] = g
				return list, nil
			}
			return append(list, g), nil
		})
	}
	return cmd
}

func (a *app) appRevokeGrantCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke-grant APP-ID CONTEXT",
		Short:   "Take a context away from an application",
		Long:    "Take a context away from an application, at once and on every node.",
		Example: "  cryptoserve app revoke-grant app_shop_0123456789abcdef user-pii",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeGrants(cmd, args[0], func(list []wire.Grant) ([]wire.Grant, error) {
				i := indexOfGrant(list, args[1])
				if i < 0 {
					return nil, &hintError{
						err:  fmt.Errorf("the application has no grant for the context %s", args[1]),
						hint: "'cryptoserve app show' lists its grants",
					}
				}
				return slices.Delete(list, i, i+1), nil
			})
		},
	}
}

func indexOfGrant(list []wire.Grant, context string) int {
	return slices.IndexFunc(list, func(g wire.Grant) bool { return g.Context == context })
}

func (a *app) appTokensCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "tokens APP-ID",
		Short:   "Tell of the tokens of an application what is not secret",
		Long:    "Tell of the tokens of an application what is not secret: how long they live, and which\nrefresh tokens can be used.",
		Example: "  cryptoserve app tokens app_shop_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.TokensResponse, error) {
				return c.ApplicationTokens(ctx, args[0])
			}, func(w io.Writer, t wire.TokensResponse) error {
				list := [][2]string{
					{"algorithm", t.Algorithm}, {"key id", t.KeyID}, {"key kept here", yesNo(t.KeptHere)},
					{"access tokens live", fmt.Sprintf("%d s", t.AccessSeconds)}, {"refresh tokens live", fmt.Sprintf("%d s", t.RefreshSeconds)},
				}
				if t.TokensRevokedAt != "" {
					list = append(list, [2]string{"tokens revoked", t.TokensRevokedAt})
				}
				for _, f := range t.RefreshFamilies {
					list = append(list, [2]string{
						"refresh token", fmt.Sprintf("since %s, until %s, refreshed %d times", f.CreatedAt, f.ExpiresAt, f.Refreshed),
					})
				}
				return rows(w, list...)
			})
		},
	}
}
