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
	return a.group("context", "Make, list and rotate contexts", a.contextCreateCommand(), a.contextListCommand(), a.contextRotateCommand())
}

func (a *app) contextCreateCommand() *cobra.Command {
	var req wire.CreateContextRequest
	var p wire.AlgorithmPolicy
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a context with a first key version",
		Long: `Make a context with a first key version. Only its name is needed.

Without --algorithm it encrypts with AES-256-GCM, or with --require-quantum-safe with a
hybrid. --enforcement says what happens when a request names another algorithm than
--allow, --minimum-bits and --require-quantum-safe tell: none, warn or enforce.`,
		Example: `  cryptoserve context create invoices --description "what customers owe"
  cryptoserve context create archive --require-quantum-safe --enforcement enforce
  cryptoserve context create cards --allow AES-256-GCM --minimum-bits 256 --enforcement enforce`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Description, "description", "", "what it is for, as `text`")
	flags.StringVar(&req.Algorithm, "algorithm", "", "`name` of its algorithm, see 'cryptoserve algorithms'")
	flags.IntVar(&req.Format, "format", 0, "ciphertext `format`, 3 or 4 (default 4)")
	flags.StringVar(&req.Derivation, "derivation", "", "`salted` (default) or deterministic")
	flags.StringVar(&p.Enforcement, "enforcement", "none", "`none, warn or enforce`")
	flags.StringSliceVar(&p.AllowedAlgorithms, "allow", nil, "`name` of an algorithm that requests may choose; can be repeated")
	flags.IntVar(&p.MinimumBits, "minimum-bits", 0, "least `bits` of security")
	flags.BoolVar(&p.RequireQuantumSafe, "require-quantum-safe", false, "only algorithms that withstand quantum computers")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Name = args[0]
		for _, name := range []string{"enforcement", "allow", "minimum-bits", "require-quantum-safe"} {
			if cmd.Flags().Changed(name) {
				p.AllowedAlgorithms = append([]string{}, p.AllowedAlgorithms...) // never null
				req.AlgorithmPolicy = &p
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Context, error) {
			return c.CreateContext(ctx, req)
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
