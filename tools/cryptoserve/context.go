package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// group is a command that only holds others.
func (a *app) group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    short + ".",
		Example: commands[0].Example,
		Args:    usageArgs(noSuchCommand),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(commands...)
	return cmd
}

func (a *app) contextCommand() *cobra.Command {
	return a.group("context", "Make, list, change and rotate contexts",
		a.contextCreateCommand(), a.contextListCommand(), a.contextRotateCommand(),
		a.contextShowCommand(), a.contextChangeCommand(),
		a.contextSwitchCommand("disable", "Make a context serve nothing until it is enabled",
			"Nothing is encrypted or decrypted in it then. Nothing is lost.",
			func(ctx context.Context, c *client.Client, name string) (wire.ContextDetail, error) {
				return c.DisableContext(ctx, name)
			}),
		a.contextSwitchCommand("enable", "Make a disabled context serve again",
			"Its key versions are as they were before it was disabled.",
			func(ctx context.Context, c *client.Client, name string) (wire.ContextDetail, error) {
				return c.EnableContext(ctx, name)
			}),
		a.contextMinimumCommand(), a.contextDeleteCommand(), a.contextExplainCommand())
}

func (a *app) contextCreateCommand() *cobra.Command {
	var req wire.CreateContextRequest
	var o contextOptions
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a context with a first key version",
		Long: `Make a context with a first key version. Only its name is needed.

Without --algorithm it encrypts with what the file of --layers resolves to, else with
AES-256-GCM, or with --require-quantum-safe with a hybrid. --enforcement says what happens
when a request names an algorithm other than --allow, --allow-cipher, --allow-mode,
--minimum-bits and --require-quantum-safe tell: none, warn or enforce.`,
		Example: `  cryptoserve context create invoices --description "what customers owe"
  cryptoserve context create archive --require-quantum-safe --enforcement enforce
  cryptoserve context create cards --allow AES-256-GCM --minimum-bits 256 --enforcement enforce`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	o.register(cmd)
	cmd.Flags().StringVar(&req.Derivation, "derivation", "", "`salted` (default) or deterministic")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Name, req.Description, req.Algorithm, req.Format = args[0], o.description, o.algorithm, o.format
		req.RotateAfter, req.SelfService = o.rotateAfter, o.selfService
		for _, name := range policyFlags {
			if cmd.Flags().Changed(name) {
				p := o.policy
				p.AllowedAlgorithms = append([]string{}, p.AllowedAlgorithms...) // never null
				req.AlgorithmPolicy = &p
			}
		}
		if cmd.Flags().Changed("consistency") {
			req.Consistency = o.consistency
		}
		if cmd.Flags().Changed("rotation-days") {
			req.RotationDays = &o.rotationDays
		}
		if o.layersFile != "" {
			var err error
			if req.Layers, err = readLayers(o.layersFile); err != nil {
				return err
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Context, error) {
			made, err := c.CreateContext(ctx, req)
			a.warn(made.Warnings)
			return made, err
		}, func(w io.Writer, c wire.Context) error {
			return rows(w,
				[2]string{"name", c.Name}, [2]string{"description", c.Description}, [2]string{"algorithm", c.Algorithm},
				[2]string{"format", strconv.Itoa(c.Format)}, [2]string{"derivation", c.Derivation}, [2]string{"status", c.Status},
				[2]string{"enforcement", c.AlgorithmPolicy.Enforcement}, [2]string{"key id", c.KeyID},
			)
		})
	}
	return cmd
}

func (a *app) contextListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the contexts that the token may use",
		Long:    "List the contexts that the token may use, in order of name.",
		Example: "  cryptoserve context list --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Context, error) {
				return c.Contexts(ctx)
			}, func(w io.Writer, list []wire.Context) error {
				var lines [][]string
				for _, c := range list {
					lines = append(lines, []string{
						c.Name, c.Algorithm, strconv.Itoa(c.Format), c.Status, strconv.FormatUint(uint64(c.Version), 10), c.KeyID, c.Description,
					})
				}
				return columns(w, []string{"NAME", "ALGORITHM", "FORMAT", "STATUS", "VERSION", "KEY ID", "DESCRIPTION"}, lines)
			})
		},
	}
}

func (a *app) contextRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make a new key version protect in a context",
		Long: `Make a new key version protect in a context. What was encrypted before stays readable;
'cryptoserve rewrap' moves it to the new version.`,
		Example: "  cryptoserve context rotate user-pii",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.RotateResponse, error) {
				return c.Rotate(ctx, args[0])
			}, func(w io.Writer, r wire.RotateResponse) error {
				return rows(w,
					[2]string{"context", r.Context}, [2]string{"version", strconv.FormatUint(uint64(r.Version), 10)},
					[2]string{"key id", r.KeyID}, [2]string{"previous key id", r.Previous},
				)
			})
		},
	}
}
