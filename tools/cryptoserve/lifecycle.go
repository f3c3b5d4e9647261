package main

import (
	"bufio"
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

// lifecycleCommands are the commands of this part that stand by themselves: all of them are parts of key and context.
func (a *app) lifecycleCommands() []*cobra.Command { return nil }

// keyLifeCommands move key versions through their life.
func (a *app) keyLifeCommands() []*cobra.Command {
	return []*cobra.Command{
		a.keyVersionsCommand(), a.keyUsageCommand(),
		a.versionCommandOf("suspend", "Stop every use of a key version until it is resumed",
			"It neither protects nor processes. What it encrypted cannot be read meanwhile.", false, (*client.Client).SuspendVersion),
		a.versionCommandOf("resume", "Let a suspended key version serve again",
			"It protects again only if no other version came to protect meanwhile.", false, (*client.Client).ResumeVersion),
		a.versionCommandOf("deactivate", "End the protection with a key version",
			"What it protected can still be processed. If it was the active version, rotate next:\nuntil then nothing protects.",
			false, (*client.Client).DeactivateVersion),
		a.versionCommandOf("compromise", "Mark a key version as known to others, for good",
			"It protects nothing any more, and processes only for applications that may use\ncompromised versions.",
			true, (*client.Client).CompromiseVersion),
		a.keyDestroyCommand(),
		a.versionCommandOf("cancel-destroy", "Take back the destruction of a key version that still waits",
			"It serves again as before.", false, (*client.Client).CancelDestruction),
		a.keyMinimumCommand(), a.keyRotationCommand(),
	}
}

func (a *app) keyVersionsCommand() *cobra.Command {
	var contextName, key string
	cmd := &cobra.Command{
		Use:   "versions --context NAME | --key NAME",
		Short: "List the versions of a context's key, or of a key, with their state and use",
		Long: `List the versions of a context's key, or of a key, newest first, with their state and
use. Counts are of all nodes and lag behind by a minute or so.`,
		Example: `  cryptoserve key versions --context user-pii
  cryptoserve key versions --key invoices --output json`,
		Args: usageArgs(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&contextName, "context", "", "`name` of a context")
	cmd.Flags().StringVar(&key, "key", "", "`name` of a key")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if (contextName == "") == (key == "") {
			return wrongUse(cmd, "one of --context NAME and --key NAME is needed")
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Version, error) {
			if key != "" {
				return c.KeyVersions(ctx, key)
			}
			return c.ContextVersions(ctx, contextName)
		}, versionsTable)
	}
	return cmd
}

func (a *app) keyUsageCommand() *cobra.Command {
	var contextName string
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Tell which old key versions are still used",
		Long: `Tell which old key versions are still used: those that another one replaced and that
processed something since. 'cryptoserve rewrap' moves data to the active version.`,
		Example: "  cryptoserve key usage --context user-pii",
		Args:    usageArgs(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&contextName, "context", "", "only this context, by `name`, and the keys in it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Version, error) {
			return c.KeyUsage(ctx, contextName)
		}, versionsTable)
	}
	return cmd
}

func versionsTable(w io.Writer, list []wire.Version) error {
	var lines [][]string
	for i := range list {
		v := &list[i]
		lines = append(lines, []string{
			v.KeyID, strconv.FormatUint(uint64(v.Version), 10), firstOf(v.Key, "-"), stateOfVersion(v), strconv.FormatUint(v.Protected, 10),
			strconv.FormatUint(v.Processed, 10), firstOf(max(v.LastProtectedAt, v.LastProcessedAt), "never"), v.CreatedAt,
		})
	}
	return columns(w, []string{"KEY ID", "VERSION", "KEY", "STATE", "PROTECTED", "PROCESSED", "LAST USE", "CREATED"}, lines)
}

// stateOfVersion is the state with what it will become.
func stateOfVersion(v *wire.Version) string {
	if v.DestroyAt != "" {
		return v.State + ", destroyed at " + v.DestroyAt
	}
	return v.State
}

func versionTable(w io.Writer, v *wire.Version) error {
	list := [][2]string{
		{"key id", v.KeyID}, {"version", strconv.FormatUint(uint64(v.Version), 10)}, {"context", v.Context}, {"key", v.Key},
		{"state", v.State}, {"protects", yesNo(v.Active)}, {"algorithm", v.Algorithm}, {"created", v.CreatedAt},
		{"deactivated", v.DeactivatedAt}, {"to be destroyed", v.DestroyAt}, {"destroyed", v.DestroyedAt}, {"reason", v.Reason},
		{"protected", strconv.FormatUint(v.Protected, 10)}, {"processed", strconv.FormatUint(v.Processed, 10)},
		{"last use", max(v.LastProtectedAt, v.LastProcessedAt)}, {"can be shredded", yesNo(v.Shreddable)},
	}
	return rows(w, list...)
}

// versionCommandOf is a command that changes one version.
func (a *app) versionCommandOf(
	act, short, long string, reasonNeeded bool,
	change func(c *client.Client, ctx context.Context, keyID, reason string) (wire.Version, error),
) *cobra.Command {
	var reason string
	use, example := act+" VERSION", "  cryptoserve key "+act+" key_user-pii_0123456789abcdef"
	if reasonNeeded {
		use, example = use+" --reason TEXT", example+" --reason 'found in a dump'"
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Long: short + ".\n" + long, Example: example, Args: usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, as `text`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if reasonNeeded {
			if err := required(cmd, reason, "--reason TEXT"); err != nil {
				return err
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Version, error) {
			return change(c, ctx, args[0], reason)
		}, func(w io.Writer, v wire.Version) error { return versionTable(w, &v) })
	}
	return cmd
}

func (a *app) keyDestroyCommand() *cobra.Command {
	req := wire.DestroyRequest{}
	var days int
	var yes bool
	cmd := &cobra.Command{
		Use:   "destroy VERSION --reason TEXT",
		Short: "Destroy a key version when its waiting period is over",
		Long: `Destroy a key version when its waiting period is over. What it encrypted and nobody has
moved to another version is lost then, for good. It is not used any more from now on,
so that whoever needs it notices; 'cryptoserve key cancel-destroy' takes it back.

It asks first, on a terminal, and needs --yes elsewhere.`,
		Example: "  cryptoserve key destroy key_user-pii_0123456789abcdef --reason 'customer left' --wait-days 30",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, as `text` (required)")
	cmd.Flags().IntVar(&days, "wait-days", 0, "waiting period in `days` (default: that of the tenant's settings)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := required(cmd, req.Reason, "--reason TEXT"); err != nil {
			return err
		}
		if cmd.Flags().Changed("wait-days") {
			req.WaitDays = &days
		}
		if !yes {
			if err := a.confirm(cmd, "Destroy "+printable(args[0])+"? What only it can decrypt will be lost."); err != nil {
				return err
			}
		}
		return a.destroyVersion(cmd.Context(), args[0], req)
	}
	return cmd
}

func (a *app) destroyVersion(ctx context.Context, keyID string, req wire.DestroyRequest) error {
	return showChanged(ctx, a, func(ctx context.Context, c *client.Client) (client.Changed[wire.DestroyResponse], error) {
		answer, err := c.DestroyVersion(ctx, keyID, req)
		a.warn(answer.Result.Warnings)
		return answer, err
	}, func(w io.Writer, r wire.DestroyResponse) error { return versionTable(w, &r.Version) })
}

// confirm asks on the terminal and takes nothing but yes for one. Where there is no terminal, --yes is needed.
func (a *app) confirm(cmd *cobra.Command, question string) error {
	if !terminal(a.stdin) {
		return wrongUse(cmd, "--yes is needed where nobody can be asked")
	}
	return a.askYes(cmd.Context(), question)
}

var errNotConfirmed = errors.New("not confirmed: nothing was changed")

// askYes asks and reads a line. An interrupt ends it.
func (a *app) askYes(ctx context.Context, question string) error {
	_, _ = fmt.Fprint(a.stderr, question+" Type yes: ") // who does not see it can type all the same
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(io.LimitReader(a.stdin, 64)).ReadString('\n') // an error is no yes
		line <- text
	}()
	select {
	case text := <-line:
		if strings.TrimSpace(text) == "yes" {
			return nil
		}
		return errNotConfirmed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// minimumCommand is the command that closes old versions of a context, or of a key.
func (a *app) minimumCommand(of string, set func(c *client.Client, ctx context.Context, name string, version uint32) (wire.MinimumVersion, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "minimum-version NAME VERSION",
		Short: "Close the versions of a " + of + " with lower numbers",
		Long: "Close the versions of a " + of + " with lower numbers: they process nothing until the minimum\n" +
			"is lowered again. 0 closes none. 'cryptoserve key usage' tells who would notice.",
		Example: "  cryptoserve " + of + " minimum-version invoices 3",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil {
				return wrongUse(cmd, "VERSION must be the number of a version, or 0")
			}
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.MinimumVersion, error) {
				return set(c, ctx, args[0], uint32(version)) //nolint:gosec // read as one of 32 bits
			}, func(w io.Writer, m wire.MinimumVersion) error {
				return rows(w, [2]string{"minimum version", strconv.FormatUint(uint64(m.Version), 10)})
			})
		},
	}
}

func (a *app) keyMinimumCommand() *cobra.Command {
	return a.minimumCommand("key", (*client.Client).SetKeyMinimum)
}

func (a *app) contextMinimumCommand() *cobra.Command {
	return a.minimumCommand("context", (*client.Client).SetContextMinimum)
}

func (a *app) keyRotationCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotation NAME DAYS",
		Short: "Set at which age a key is rotated by itself",
		Long: `Set at which age in days a key is rotated by itself. 0 is never. What older versions
protected can still be verified and decrypted.`,
		Example: "  cryptoserve key rotation invoices 90",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			days, err := strconv.Atoi(args[1])
			if err != nil || days < 0 {
				return wrongUse(cmd, "DAYS must be a number of days, or 0")
			}
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.KeyRotation, error) {
				return c.SetKeyRotation(ctx, args[0], days)
			}, func(w io.Writer, r wire.KeyRotation) error {
				return rows(w, [2]string{"rotated every days", firstOf(strings.TrimPrefix(strconv.Itoa(r.Days), "0"), "never")})
			})
		},
	}
}
