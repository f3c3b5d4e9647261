package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// codeFileBytes is the longest file with the code of an invitation.
const codeFileBytes = 1024

func (a *app) loginCommand() *cobra.Command {
	var req wire.LoginRequest
	var stdin bool
	cmd := &cobra.Command{
		Use:   "login [--user NAME]",
		Short: "Sign in, for this and all later commands",
		Long: `Sign in, for this and all later commands. With --user it asks for the password on the
terminal, or reads it from standard input with --password-stdin. Without --user it
shows a code and waits until somebody who is signed in approves it, in a browser or
with 'cryptoserve approve-login'.

The session, the server and the CA are kept in ~/.cryptoserve/credentials.json, which
only you can read. CRYPTOSERVE_HOME names another folder.`,
		Example: `  cryptoserve login --user alice --server https://node-1:8443 --ca ca.pem
  cryptoserve login --user alice --tenant payments --password-stdin < secret.txt
  cryptoserve login`,
		Args: usageArgs(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&req.Username, "user", "", "`name` of the user")
	cmd.Flags().StringVar(&req.Tenant, "tenant", "", "`name` of the user's tenant (default: default)")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if req.Username == "" && (stdin || req.Tenant != "") {
			return wrongUse(cmd, "--tenant and --password-stdin need --user NAME")
		}
		return a.signIn(cmd.Context(), func(ctx context.Context, c *client.Client) (wire.SessionResponse, error) {
			if req.Username == "" {
				return a.deviceLogin(ctx, c)
			}
			file := ""
			if stdin {
				file = "-"
			}
			var err error
			if req.Password, err = a.password(ctx, file, false); err != nil {
				return wire.SessionResponse{}, err
			}
			return limited(ctx, a, func(ctx context.Context) (wire.SessionResponse, error) { return c.Login(ctx, req) })
		})
	}
	return cmd
}

// limited bounds a request by --timeout.
func limited[T any](ctx context.Context, a *app, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return request(ctx)
}

// signIn makes a session and keeps it. That there is a place for it is seen before it is made.
func (a *app) signIn(ctx context.Context, request func(context.Context, *client.Client) (wire.SessionResponse, error)) error {
	if a.home() == "" {
		return errNoHome
	}
	to, err := a.connection(false)
	if err != nil {
		return err
	}
	c, err := a.connect(to)
	if err != nil {
		return err
	}
	s, err := request(ctx, c)
	if err != nil {
		return err
	}
	if err := a.keep(to.server, string(to.ca), s); err != nil {
		return err
	}
	shown := struct {
		User      wire.User `json:"user"`
		ExpiresAt string    `json:"expires_at"`
	}{s.User, s.ExpiresAt}
	return a.show(&streamSink{out: a.stdout}, shown, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "signed in as %s until %s\n", printable(s.User.Name), printable(s.ExpiresAt))
		return err
	})
}

// slowerBy is how much longer a program waits that was told to slow down (RFC 8628 section 3.5).
const slowerBy = 5 * time.Second

// deviceLogin shows a code and waits until somebody approves it.
func (a *app) deviceLogin(ctx context.Context, c *client.Client) (wire.SessionResponse, error) {
	var none wire.SessionResponse
	name := "cryptoserve"
	if host, err := os.Hostname(); err == nil && len(host) <= 48 {
		name += " on " + host
	}
	d, err := limited(ctx, a, func(ctx context.Context) (wire.DeviceResponse, error) {
		return c.CreateDevice(ctx, wire.DeviceRequest{Client: name})
	})
	if err != nil {
		return none, err
	}
	a.note("to sign in, run where you are signed in already: cryptoserve approve-login %s", printable(d.UserCode))
	interval := time.Duration(max(d.Interval, 0)) * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(d.ExpiresIn)*time.Second, errors.New("nobody approved the sign-in in time"))
	defer cancel()
	for {
		timer := time.NewTimer(interval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return none, context.Cause(ctx)
		}
		s, err := limited(ctx, a, func(ctx context.Context) (wire.SessionResponse, error) {
			return c.RedeemDevice(ctx, wire.DeviceTokenRequest{DeviceCode: d.DeviceCode})
		})
		var problem *client.Error
		switch {
		case err == nil:
			return s, nil
		case errors.As(err, &problem) && problem.Code == client.CodeDevicePending:
		case errors.As(err, &problem) && problem.Code == client.CodeSlowDown:
			interval += slowerBy
		default:
			return none, err
		}
	}
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "End the session and forget it",
		Long: `End the session on the server, then forget what 'cryptoserve login' kept. A session that
has ended already is forgotten too.`,
		Example: "  cryptoserve logout",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			to, err := a.connection(true)
			if err != nil {
				return err
			}
			c, err := a.connect(to)
			if err != nil {
				return err
			}
			_, err = limited(cmd.Context(), a, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.Logout(ctx) })
			var problem *client.Error
			if over := errors.As(err, &problem) && problem.Status == http.StatusUnauthorized; err != nil && (!over || !to.saved) {
				return err
			}
			if to.saved {
				if err := a.forget(); err != nil {
					return fmt.Errorf("remove the credentials: %w", err)
				}
			}
			return a.acted("signed out")
		},
	}
}

// acted tells that an act that gives nothing back is done.
func (a *app) acted(what string) error {
	return a.show(&streamSink{out: a.stdout}, struct{}{}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, what)
		return err
	})
}

// do asks for an act that gives nothing back.
func (a *app) do(ctx context.Context, what string, request func(context.Context, *client.Client) error) error {
	_, err := ask(ctx, a, func(ctx context.Context, c *client.Client) (struct{}, error) { return struct{}{}, request(ctx, c) })
	if err != nil {
		return err
	}
	return a.acted(what)
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "whoami",
		Short:   "Show who is signed in and what he may do",
		Long:    "Show who is signed in, since when and from where, and with --output json what he may do.",
		Example: "  cryptoserve whoami --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.WhoAmIResponse, error) {
				return c.WhoAmI(ctx)
			}, func(w io.Writer, me wire.WhoAmIResponse) error {
				return rows(w,
					[2]string{"user", me.User.Name}, [2]string{"id", me.User.ID}, [2]string{"roles", joined(me.User.Roles)},
					[2]string{"tenant", me.Tenant}, [2]string{"signed in by", me.Session.Provider}, [2]string{"from", me.Session.Source},
					[2]string{"since", me.Session.CreatedAt}, [2]string{"until", me.Session.ExpiresAt},
				)
			})
		},
	}
}

func (a *app) approveLoginCommand() *cobra.Command {
	var deny bool
	cmd := &cobra.Command{
		Use:   "approve-login CODE",
		Short: "Let a program sign in as you that shows a code",
		Long: `Let a program sign in as you that shows a code, such as 'cryptoserve login' on another
machine. It tells first what asks and from where. Approve only a login that you began
yourself; --deny ends one that you did not.`,
		Example: `  cryptoserve approve-login BCDF-GHJK
  cryptoserve approve-login BCDF-GHJK --deny`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&deny, "deny", false, "end it instead")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Device, error) {
			d, err := c.Device(ctx, args[0])
			if err != nil {
				return d, err
			}
			a.note("%s asks from %s since %s", printable(firstOf(d.Client, "a program")), printable(d.Source), printable(d.CreatedAt))
			return c.DecideDevice(ctx, wire.DecideDeviceRequest{UserCode: args[0], Approve: !deny})
		}, func(w io.Writer, d wire.Device) error {
			return rows(w, [2]string{"code", d.UserCode}, [2]string{"program", d.Client}, [2]string{"from", d.Source}, [2]string{"state", d.State})
		})
	}
	return cmd
}

func (a *app) sessionCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List your sessions",
		Long:    "List your sessions, the newest first. The one in use is marked.",
		Example: "  cryptoserve session list",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Session, error) {
				return c.Sessions(ctx)
			}, func(w io.Writer, list []wire.Session) error {
				var lines [][]string
				for _, s := range list {
					lines = append(lines, []string{s.ID, s.Provider, s.Source, s.CreatedAt, s.LastSeenAt, s.ExpiresAt, yesNo(s.Current)})
				}
				return columns(w, []string{"ID", "SIGNED IN BY", "FROM", "SINCE", "LAST SEEN", "UNTIL", "CURRENT"}, lines)
			})
		},
	}
	end := &cobra.Command{
		Use:     "end ID",
		Short:   "End one of your sessions",
		Long:    "End one of your sessions: whoever has its token cannot use it any more.",
		Example: "  cryptoserve session end 0123456789abcdef",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd.Context(), "ended", func(ctx context.Context, c *client.Client) error { return c.EndSession(ctx, args[0]) })
		},
	}
	return a.group("session", "List and end your sessions", list, end)
}
