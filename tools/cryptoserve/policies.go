package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// policyCommands are the commands of this part.
func (a *app) policyCommands() []*cobra.Command {
	return []*cobra.Command{a.group("policy", "Make, test and manage rules that operations must meet",
		a.policyCreateCommand(), a.policyListCommand("list", "List the policies", (*client.Client).Policies),
		a.policyShowCommand(), a.policyChangeCommand(),
		a.deleteCommand("policy", "Delete a policy", "From then on nothing has to meet it.",
			func(ctx context.Context, c *client.Client, name string) error { return c.DeletePolicy(ctx, name) }),
		a.policyTestCommand(),
		a.policyListCommand("defaults", "List policies to begin with; none is in force until it is created", (*client.Client).PolicyDefaults),
	)}
}

// policyOptions are what a policy can be made with and changed to.
type policyOptions struct {
	wire.PolicySpec

	disabled bool
}

func (o *policyOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.Expression, "expression", "", "the rule in `CEL`: true lets an operation pass")
	flags.StringVar(&o.Enforcement, "enforcement", "enforce", "`none, warn or enforce`")
	flags.StringVar(&o.Message, "message", "", "one line of `text` that callers read when it is not met")
	flags.StringVar(&o.Description, "description", "", "what it is for, as `text`")
	flags.StringSliceVar(&o.Contexts, "context", nil, "`name` of a context that it is for (default all); can be repeated")
	flags.StringSliceVar(&o.Operations, "operation", nil, "`action` that it is for, such as crypto.encrypt, or protect or process (default all); can be repeated")
	flags.BoolVar(&o.disabled, "disabled", false, "save it without putting it in force")
}

func (a *app) policyCreateCommand() *cobra.Command {
	var o policyOptions
	var from string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a policy that operations must meet",
		Long: `Make a policy that operations must meet from now on. Its rule is an expression in CEL
(https://cel.dev) over the algorithm in use, the context, the application, the operation,
data.size and now; it is checked before it is saved. --default takes one of
'cryptoserve policy defaults', with the options that are given changed.`,
		Example: `  cryptoserve policy create strong --expression 'algorithm.key_bits >= 256'
  cryptoserve policy create no-legacy-algorithms --default no-legacy-algorithms
  cryptoserve policy create office-hours --enforcement warn --expression 'now.getHours() < 20'`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	o.register(cmd)
	cmd.Flags().StringVar(&from, "default", "", "`name` of a default to begin with")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if from == "" {
			if err := required(cmd, o.Expression, "--expression CEL"); err != nil {
				return err
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Policy, error) {
			base := wire.Policy{Enforcement: "enforce", Enabled: true}
			if from != "" {
				var err error
				if base, err = defaultPolicy(ctx, c, from); err != nil {
					return base, err
				}
			}
			return c.CreatePolicy(ctx, wire.CreatePolicyRequest{Name: args[0], PolicySpec: o.over(cmd, &base)})
		}, policyTable)
	}
	return cmd
}

func defaultPolicy(ctx context.Context, c *client.Client, name string) (wire.Policy, error) {
	list, err := c.PolicyDefaults(ctx)
	if err != nil {
		return wire.Policy{}, err
	}
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	return wire.Policy{}, &hintError{err: errors.New("there is no such default"), hint: "see 'cryptoserve policy defaults'"}
}

// over returns a policy with what the options name in place of what it has.
func (o *policyOptions) over(cmd *cobra.Command, p *wire.Policy) wire.PolicySpec {
	set := cmd.Flags().Changed
	enabled := p.Enabled
	spec := wire.PolicySpec{
		Description: p.Description, Expression: p.Expression, Message: p.Message, Enforcement: p.Enforcement,
		Contexts: p.Contexts, Operations: p.Operations, Enabled: &enabled,
	}
	for name, value := range map[string]struct{ to, from *string }{
		"expression": {&spec.Expression, &o.Expression}, "enforcement": {&spec.Enforcement, &o.Enforcement},
		"message": {&spec.Message, &o.Message}, "description": {&spec.Description, &o.Description},
	} {
		if set(name) {
			*value.to = *value.from
		}
	}
	if set("context") {
		spec.Contexts = o.Contexts
	}
	if set("operation") {
		spec.Operations = o.Operations
	}
	if set("disabled") {
		enabled = !o.disabled
	}
	return spec
}

func (a *app) policyChangeCommand() *cobra.Command {
	var o policyOptions
	cmd := &cobra.Command{
		Use:   "change NAME",
		Short: "Change a policy",
		Long:  "Change a policy: only what an option names. --disabled=false puts it in force again.",
		Example: `  cryptoserve policy change strong --enforcement warn
  cryptoserve policy change strong --disabled`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	o.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Policy, error) {
			now, err := c.Policy(ctx, args[0])
			if err != nil {
				return now, err
			}
			changed, err := c.ChangePolicy(ctx, args[0], o.over(cmd, &now))
			a.warn(changed.Warnings)
			return changed, err
		}, policyTable)
	}
	return cmd
}

func (a *app) policyListCommand(
	name, short string, list func(*client.Client, context.Context) ([]wire.Policy, error),
) *cobra.Command {
	return &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    short + ".",
		Example: "  cryptoserve policy " + name,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Policy, error) {
				return list(c, ctx)
			}, func(w io.Writer, list []wire.Policy) error {
				var lines [][]string
				for _, p := range list {
					lines = append(lines, []string{p.Name, p.Enforcement, yesNo(p.Enabled), allOr(p.Contexts), allOr(p.Operations), p.Description})
				}
				return columns(w, []string{"NAME", "ENFORCEMENT", "ENABLED", "CONTEXTS", "OPERATIONS", "DESCRIPTION"}, lines)
			})
		},
	}
}

func allOr(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ",")
}

func (a *app) policyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a policy",
		Long:    "Show a policy with its expression.",
		Example: "  cryptoserve policy show strong",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Policy, error) {
				return c.Policy(ctx, args[0])
			}, policyTable)
		},
	}
}

func policyTable(w io.Writer, p wire.Policy) error {
	return rows(w,
		[2]string{"name", p.Name}, [2]string{"description", p.Description}, [2]string{"expression", p.Expression},
		[2]string{"message", p.Message}, [2]string{"enforcement", p.Enforcement}, [2]string{"contexts", allOr(p.Contexts)},
		[2]string{"operations", allOr(p.Operations)}, [2]string{"enabled", yesNo(p.Enabled)},
	)
}

func (a *app) policyTestCommand() *cobra.Command {
	var req wire.PolicyTestRequest
	cmd := &cobra.Command{
		Use:   "test --context CONTEXT --operation ACTION",
		Short: "Explain what policies would make of an operation",
		Long: `Explain what policies would make of an operation. Nothing is encrypted or signed.

The exit code is 0 when the operation would be allowed and 3 when it would not.`,
		Example: `  cryptoserve policy test --context user-pii --operation crypto.encrypt --bytes 1000
  cryptoserve policy test --context user-pii --operation crypto.encrypt --expression 'data.size < 100'`,
		Args: usageArgs(cobra.NoArgs),
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Context, "context", "", "`name` of the context (required)")
	flags.StringVar(&req.Operation, "operation", "", "`action`, such as crypto.encrypt (required)")
	flags.StringVar(&req.Application, "application", "", "`id` of the application; without it grants do not count")
	flags.StringVar(&req.Algorithm, "algorithm", "", "`name` of an algorithm instead of the context's own")
	flags.StringVar(&req.Expression, "expression", "", "a rule in `CEL` to try that is not saved")
	flags.IntVar(&req.Bytes, "bytes", 0, "`size` of the data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := firstError(required(cmd, req.Context, "--context NAME"), required(cmd, req.Operation, "--operation ACTION")); err != nil {
			return err
		}
		var answer wire.PolicyTestResponse
		err := inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (_ wire.PolicyTestResponse, err error) {
			answer, err = c.TestPolicy(ctx, req)
			return answer, err
		}, verdictTable)
		if err == nil && !answer.Allowed {
			return &hintError{err: errDenied, hint: "the table shows which policy is not met, or the reason"}
		}
		return err
	}
	return cmd
}

// errDenied is the outcome of a test that found an operation refused.
var errDenied = errors.New("the operation would be refused")

func verdictTable(w io.Writer, v wire.PolicyTestResponse) error {
	list := [][2]string{{"allowed", yesNo(v.Allowed)}, {"algorithm", v.Algorithm}}
	if v.Reason != "" {
		list = append(list, [2]string{"reason", v.Reason})
	}
	for _, d := range v.Decisions {
		said := "met"
		if !d.Met {
			said = "not met: " + d.Message
		}
		if d.Error != "" {
			said += " (" + d.Error + ")"
		}
		list = append(list, [2]string{"policy " + d.Policy, fmt.Sprintf("%s, %s", d.Enforcement, said)})
	}
	for _, warning := range v.Warnings {
		list = append(list, [2]string{"warning", warning})
	}
	return rows(w, list...)
}
