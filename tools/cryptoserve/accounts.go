package main

import (
	"bytes"
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

// accountCommands are the commands of this part.
func (a *app) accountCommands() []*cobra.Command {
	return []*cobra.Command{
		a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.approveLoginCommand(), a.sessionCommand(), a.userCommand(),
		a.roleCommand(), a.invitationCommand(),
	}
}

func joined(list []string) string { return strings.Join(list, ", ") }

func (a *app) userCommand() *cobra.Command {
	return a.group("user", "Make and manage users",
		a.userCreateCommand(), a.userListCommand(), a.userRolesCommand(),
		a.userStatusCommand("disable", "Disable a user and end his sessions", (*client.Client).DisableUser),
		a.userStatusCommand("enable", "Enable a disabled user", (*client.Client).EnableUser),
		a.userDeleteCommand(), a.userResetCommand())
}

const aboutUsers = "USER is a name or an id. Only who may give a role can change a user who has it."

func userTable(w io.Writer, u wire.User) error {
	return rows(w,
		[2]string{"id", u.ID}, [2]string{"name", u.Name}, [2]string{"email", u.Email}, [2]string{"roles", joined(u.Roles)},
		[2]string{"status", u.Status}, [2]string{"password", yesNo(u.HasPassword)}, [2]string{"identity provider", u.Issuer},
		[2]string{"created", u.CreatedAt},
	)
}

// userID returns the id of a user who is named by it or by his name.
func userID(ctx context.Context, c *client.Client, named string) (string, error) {
	if strings.HasPrefix(named, "user_") {
		return named, nil
	}
	list, err := c.Users(ctx)
	if err != nil {
		return "", err
	}
	for _, u := range list {
		if u.Name == named {
			return u.ID, nil
		}
	}
	return "", &hintError{err: fmt.Errorf("there is no user %q", named), hint: "see 'cryptoserve user list'"}
}

func (a *app) userCreateCommand() *cobra.Command {
	var req wire.CreateUserRequest
	var file string
	cmd := &cobra.Command{
		Use:   "create NAME --role ROLE",
		Short: "Make a user",
		Long: `Make a user. With --password-file he gets the password in it, of 12 to 1024 bytes;
without it he cannot sign in until 'cryptoserve user reset-password' gives him one. An
invitation lets him choose it himself.`,
		Example: `  cryptoserve user create alice --role developer --email alice@example.org
  cryptoserve user create bob --role viewer --role developer --password-file secret.txt`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringSliceVar(&req.Roles, "role", nil, "`name` of a role, see 'cryptoserve role list'; can be repeated (required)")
	cmd.Flags().StringVar(&req.Email, "email", "", "his `address`")
	cmd.Flags().StringVar(&file, "password-file", "", "`file` with the password, - for standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(req.Roles) == 0 {
			return wrongUse(cmd, "--role ROLE is needed")
		}
		req.Name = args[0]
		if file != "" {
			var err error
			if req.Password, err = a.password(cmd.Context(), file, true); err != nil {
				return err
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.User, error) {
			return c.CreateUser(ctx, req)
		}, userTable)
	}
	return cmd
}

func (a *app) userListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the users of the tenant",
		Long:    "List the users of the tenant, in order of name.",
		Example: "  cryptoserve user list --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.User, error) {
				return c.Users(ctx)
			}, func(w io.Writer, list []wire.User) error {
				var lines [][]string
				for _, u := range list {
					lines = append(lines, []string{u.Name, u.ID, joined(u.Roles), u.Status, yesNo(u.HasPassword), u.Email})
				}
				return columns(w, []string{"NAME", "ID", "ROLES", "STATUS", "PASSWORD", "EMAIL"}, lines)
			})
		},
	}
}

func (a *app) userRolesCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "roles USER ROLE...",
		Short:   "Replace the roles of a user",
		Long:    "Replace the roles of a user.\n" + aboutUsers + "\nThe last owner of a tenant stays one.",
		Example: "  cryptoserve user roles alice developer admin",
		Args:    usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withUser(cmd.Context(), args[0], func(ctx context.Context, c *client.Client, id string) (wire.User, error) {
				return c.SetUserRoles(ctx, id, wire.RolesRequest{Roles: args[1:]})
			})
		},
	}
}

// withUser changes a user and shows him.
func (a *app) withUser(
	ctx context.Context, named string, request func(context.Context, *client.Client, string) (wire.User, error),
) error {
	return inquire(ctx, a, func(ctx context.Context, c *client.Client) (wire.User, error) {
		id, err := userID(ctx, c, named)
		if err != nil {
			return wire.User{}, err
		}
		return request(ctx, c, id)
	}, userTable)
}

func (a *app) userStatusCommand(
	name, short string, request func(*client.Client, context.Context, string) (wire.User, error),
) *cobra.Command {
	return &cobra.Command{
		Use:     name + " USER",
		Short:   short,
		Long:    short + ".\n" + aboutUsers,
		Example: "  cryptoserve user " + name + " alice",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withUser(cmd.Context(), args[0], func(ctx context.Context, c *client.Client, id string) (wire.User, error) {
				return request(c, ctx, id)
			})
		},
	}
}

func (a *app) userDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "delete USER",
		Short:   "Delete a user and his sessions",
		Long:    "Delete a user and his sessions.\n" + aboutUsers,
		Example: "  cryptoserve user delete alice",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd.Context(), "deleted", func(ctx context.Context, c *client.Client) error {
				id, err := userID(ctx, c, args[0])
				if err != nil {
					return err
				}
				return c.DeleteUser(ctx, id)
			})
		},
	}
}

func (a *app) userResetCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "reset-password USER",
		Short:   "Give another user a password and end his sessions",
		Long:    "Give another user a password, of 12 to 1024 bytes, and end his sessions.\n" + aboutUsers + "\n\n" + passwordHelp,
		Example: "  cryptoserve user reset-password alice",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&file, "password-file", "", "`file` with the password, - for standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		password, err := a.password(cmd.Context(), file, true)
		if err != nil {
			return err
		}
		return a.do(cmd.Context(), "the password is set", func(ctx context.Context, c *client.Client) error {
			id, err := userID(ctx, c, args[0])
			if err != nil {
				return err
			}
			return c.ResetPassword(ctx, id, wire.PasswordRequest{Password: password})
		})
	}
	return cmd
}

func (a *app) roleCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the roles and how much each allows",
		Long:    "List the roles and how much each allows; with --output json, every action.",
		Example: "  cryptoserve role list --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Role, error) {
				return c.Roles(ctx)
			}, func(w io.Writer, list []wire.Role) error {
				var lines [][]string
				for _, r := range list {
					lines = append(lines, []string{r.Role, strconv.Itoa(len(r.Actions))})
				}
				return columns(w, []string{"ROLE", "ACTIONS"}, lines)
			})
		},
	}
	return a.group("role", "List the roles", list)
}

func (a *app) invitationCommand() *cobra.Command {
	return a.group("invitation", "Invite people to become users",
		a.invitationCreateCommand(), a.invitationListCommand(), a.invitationDropCommand(), a.invitationAcceptCommand())
}

func (a *app) invitationCreateCommand() *cobra.Command {
	var req wire.CreateInvitationRequest
	var o resultOption
	cmd := &cobra.Command{
		Use:   "create --role ROLE",
		Short: "Invite somebody and show the code for him",
		Long: `Invite somebody. The code is shown once: who has it becomes a user with these roles,
within seven days.`,
		Example: `  cryptoserve invitation create --role developer --email alice@example.org
  cryptoserve invitation create --role viewer -o code.txt`,
		Args: usageArgs(cobra.NoArgs),
	}
	cmd.Flags().StringSliceVar(&req.Roles, "role", nil, "`name` of a role, see 'cryptoserve role list'; can be repeated (required)")
	cmd.Flags().StringVar(&req.Email, "email", "", "whom it is for, as an `address`; it is a note, nothing is sent")
	o.registerOut(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(req.Roles) == 0 {
			return wrongUse(cmd, "--role ROLE is needed")
		}
		out, err := a.openSink(o.out)
		if err != nil {
			return err
		}
		defer out.Discard()
		i, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.InvitationResponse, error) {
			return c.CreateInvitation(ctx, req)
		})
		if err != nil {
			return err
		}
		a.note("invitation %s, until %s", printable(i.ID), printable(i.ExpiresAt))
		return a.show(out, i, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, printable(i.Code))
			return err
		})
	}
	return cmd
}

func (a *app) invitationListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the invitations that can still be accepted",
		Long:    "List the invitations that can still be accepted, without their codes.",
		Example: "  cryptoserve invitation list",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Invitation, error) {
				return c.Invitations(ctx)
			}, func(w io.Writer, list []wire.Invitation) error {
				var lines [][]string
				for _, i := range list {
					lines = append(lines, []string{i.ID, joined(i.Roles), i.Email, i.CreatedBy, i.ExpiresAt})
				}
				return columns(w, []string{"ID", "ROLES", "EMAIL", "BY", "UNTIL"}, lines)
			})
		},
	}
}

func (a *app) invitationDropCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "drop ID",
		Short:   "Withdraw an invitation",
		Long:    "Withdraw an invitation: its code is good for nothing any more.",
		Example: "  cryptoserve invitation drop invitation_0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd.Context(), "withdrawn", func(ctx context.Context, c *client.Client) error {
				return c.DropInvitation(ctx, args[0])
			})
		},
	}
}

func (a *app) invitationAcceptCommand() *cobra.Command {
	var codeFile, passwordFile string
	cmd := &cobra.Command{
		Use:   "accept NAME",
		Short: "Become a user with the code of an invitation, and sign in",
		Long: `Become a user under NAME with the code of an invitation, and sign in. The code and the
password, of 12 to 1024 bytes, are asked for on the terminal, or read from files; they
are never arguments, for those can be seen by other users.`,
		Example: `  cryptoserve invitation accept alice --server https://node-1:8443 --ca ca.pem
  cryptoserve invitation accept alice --code-file code.txt --password-file secret.txt`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&codeFile, "code-file", "", "`file` with the code")
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "`file` with the password, - for standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.signIn(cmd.Context(), func(ctx context.Context, c *client.Client) (wire.SessionResponse, error) {
			code, err := a.inviteCode(ctx, codeFile)
			if err != nil {
				return wire.SessionResponse{}, err
			}
			password, err := a.password(ctx, passwordFile, true)
			if err != nil {
				return wire.SessionResponse{}, err
			}
			return limited(ctx, a, func(ctx context.Context) (wire.SessionResponse, error) {
				return c.AcceptInvitation(ctx, wire.AcceptInvitationRequest{Code: code, Name: args[0], Password: password})
			})
		})
	}
	return cmd
}

// inviteCode asks for the code of an invitation, or reads it from a file.
func (a *app) inviteCode(ctx context.Context, file string) (string, error) {
	if file == "" {
		if !terminal(a.stdin) {
			return "", &hintError{err: errors.New("the code of the invitation is needed"), hint: "name a file that holds it with --code-file"}
		}
		return a.prompt(ctx, "Code of the invitation: ")
	}
	data, err := readFile(file, codeFileBytes)
	if err != nil {
		return "", fmt.Errorf("read the code from %s: %w", file, err)
	}
	defer clear(data)
	return string(bytes.TrimSpace(data)), nil
}
