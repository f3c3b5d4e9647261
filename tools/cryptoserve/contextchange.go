package main

import (
	"bytes"
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

// layersFileBytes bounds a file of layers.
const layersFileBytes = 64 << 10

// contextOptions are what a context can be made with and changed to.
type contextOptions struct {
	description, algorithm string
	format                 int
	policy                 wire.AlgorithmPolicy
	layersFile             string
	rotationDays           int
	rotateAfter            uint32
	selfService            bool
	consistency            string
}

func (o *contextOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.description, "description", "", "what it is for, as `text`")
	flags.StringVar(&o.algorithm, "algorithm", "", "`name` of its algorithm, see 'cryptoserve algorithms'")
	flags.IntVar(&o.format, "format", 0, "ciphertext `format`, 3 or 4 (default 4)")
	flags.StringVar(&o.policy.Enforcement, "enforcement", "none", "`none, warn or enforce`")
	flags.StringSliceVar(&o.policy.AllowedAlgorithms, "allow", nil, "`name` of an algorithm that requests may choose; can be repeated")
	flags.StringSliceVar(&o.policy.AllowedCiphers, "allow-cipher", nil, "`cipher` of algorithms that requests may choose: AES, ChaCha20; can be repeated")
	flags.StringSliceVar(&o.policy.AllowedModes, "allow-mode", nil, "`mode` of such algorithms: gcm, gcm-siv, ccm, cbc, ctr, poly1305; can be repeated")
	flags.IntVar(&o.policy.MinimumBits, "minimum-bits", 0, "least `bits` of security")
	flags.BoolVar(&o.policy.RequireQuantumSafe, "require-quantum-safe", false, "only algorithms that withstand quantum computers")
	flags.StringVar(&o.layersFile, "layers", "", "what its data is, as JSON in a `file`")
	flags.IntVar(&o.rotationDays, "rotation-days", 0, "rotate by itself after so many `days`; 0 never (default: as the layers ask)")
	flags.Uint32Var(&o.rotateAfter, "rotate-after", 0, "rotate by itself after so many `messages`; 0 never")
	flags.BoolVar(&o.selfService, "self-service", false, "developers may grant it to applications of their own")
	flags.StringVar(&o.consistency, "consistency", "lease", "`lease or strict`: strict asks the cluster before each answer")
}

// policyFlags are the flags that make an algorithm policy.
var policyFlags = []string{"enforcement", "allow", "allow-cipher", "allow-mode", "minimum-bits", "require-quantum-safe"}

// readLayers reads what data is from a file.
func readLayers(name string) (*wire.Layers, error) {
	text, err := readFile(name, layersFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read the layers from %s: %w", name, err)
	}
	var layers wire.Layers
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&layers); err != nil {
		return nil, &hintError{
			err:  fmt.Errorf("%s holds no layers: %w", name, err),
			hint: "see 'cryptoserve context explain --help' for an example",
		}
	}
	return &layers, nil
}

func (a *app) contextShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a context, and what follows from its layers",
		Long:    "Show a context, its versions, newest first, and what follows from its layers and why.",
		Example: "  cryptoserve context show user-pii",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.ContextDetail, error) {
				return c.Context(ctx, args[0])
			}, contextTable)
		},
	}
}

func (a *app) contextChangeCommand() *cobra.Command {
	var o contextOptions
	cmd := &cobra.Command{
		Use:   "change NAME",
		Short: "Change what a context is",
		Long: `Change what a context is: only what an option names. If somebody else changed it in
between, nothing happens and the exit code is 5.

A new algorithm or format makes a new key version. What was encrypted before stays
readable.`,
		Example: `  cryptoserve context change invoices --rotation-days 90
  cryptoserve context change invoices --layers invoices.json --enforcement enforce`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	o.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var layers *wire.Layers
		if o.layersFile != "" {
			var err error
			if layers, err = readLayers(o.layersFile); err != nil {
				return err
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.ContextDetail, error) {
			now, err := c.Context(ctx, args[0])
			if err != nil {
				return now, err
			}
			changed, err := c.ChangeContext(ctx, args[0], o.changeOf(cmd, &now.Context, layers))
			a.warn(changed.Warnings)
			return changed, err
		}, contextTable)
	}
	return cmd
}

// changeOf returns the change that makes of a context what the options say, and leaves all else.
func (o *contextOptions) changeOf(cmd *cobra.Command, now *wire.Context, layers *wire.Layers) wire.ChangeContextRequest {
	set := cmd.Flags().Changed
	req := wire.ChangeContextRequest{
		Revision: now.Revision, Description: now.Description, Algorithm: o.algorithm, Format: o.format,
		AlgorithmPolicy: &now.AlgorithmPolicy, Layers: now.Layers, RotationDays: &now.RotationDays,
		RotateAfter: uint32(min(now.RotateAfter, 1<<32-1)), SelfService: now.SelfService, Consistency: now.Consistency,
	}
	if set("description") {
		req.Description = o.description
	}
	p := req.AlgorithmPolicy
	if set("enforcement") {
		p.Enforcement = o.policy.Enforcement
	}
	if set("allow") {
		p.AllowedAlgorithms = append([]string{}, o.policy.AllowedAlgorithms...)
	}
	if set("allow-cipher") {
		p.AllowedCiphers = o.policy.AllowedCiphers
	}
	if set("allow-mode") {
		p.AllowedModes = o.policy.AllowedModes
	}
	if set("minimum-bits") {
		p.MinimumBits = o.policy.MinimumBits
	}
	if set("require-quantum-safe") {
		p.RequireQuantumSafe = o.policy.RequireQuantumSafe
	}
	if layers != nil {
		req.Layers = layers
	}
	if set("rotation-days") {
		req.RotationDays = &o.rotationDays
	}
	if set("rotate-after") {
		req.RotateAfter = o.rotateAfter
	}
	if set("self-service") {
		req.SelfService = o.selfService
	}
	if set("consistency") {
		req.Consistency = o.consistency
	}
	return req
}

func (a *app) contextSwitchCommand(
	act, short, long string, change func(ctx context.Context, c *client.Client, name string) (wire.ContextDetail, error),
) *cobra.Command {
	return &cobra.Command{
		Use:     act + " NAME",
		Short:   short,
		Long:    short + ".\n" + long,
		Example: "  cryptoserve context " + act + " invoices",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.ContextDetail, error) {
				return change(ctx, c, args[0])
			}, contextTable)
		},
	}
}

func (a *app) contextDeleteCommand() *cobra.Command {
	return a.deleteCommand("context", "Delete a context that is empty",
		`Empty means that every version of its key is destroyed, that it has no key and that no
application may use it.`,
		func(ctx context.Context, c *client.Client, name string) error { return c.DeleteContext(ctx, name) })
}

// deleteCommand deletes something by its name, when --yes confirms it.
func (a *app) deleteCommand(
	what, short, long string, drop func(ctx context.Context, c *client.Client, name string) error,
) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete NAME --yes",
		Short:   short,
		Long:    short + ".\n" + long,
		Example: "  cryptoserve " + what + " delete invoices --yes",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm that it is to be deleted (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes {
			return wrongUse(cmd, "--yes is needed to delete the %s %s", what, args[0])
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (struct{}, error) {
			return struct{}{}, drop(ctx, c, args[0])
		}, func(w io.Writer, _ struct{}) error {
			return rows(w, [2]string{"deleted", args[0]})
		})
	}
	return cmd
}

func (a *app) contextExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain FILE",
		Short: "Tell what layers resolve to, without making a context",
		Long: `Tell what layers resolve to and why, without making a context. The file holds JSON:

  {"data_identity": {"category": "health", "sensitivity": "critical", "phi": true},
   "regulatory": {"frameworks": ["HIPAA"]},
   "threat_model": {"adversaries": ["nation_state"], "protection_lifetime_days": 9125},
   "access_patterns": {"frequency": "medium"}}`,
		Example: "  cryptoserve context explain layers.json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			layers, err := readLayers(args[0])
			if err != nil {
				return err
			}
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.ExplainResponse, error) {
				return c.ExplainContext(ctx, *layers)
			}, func(w io.Writer, r wire.ExplainResponse) error {
				return rows(w, append([][2]string{{"algorithm", r.Algorithm}}, derivedRows(&r.Derived)...)...)
			})
		},
	}
}

func contextTable(w io.Writer, c wire.ContextDetail) error {
	list := [][2]string{
		{"name", c.Name}, {"description", c.Description}, {"algorithm", c.Algorithm}, {"format", strconv.Itoa(c.Format)},
		{"derivation", c.Derivation}, {"status", c.Status}, {"enforcement", c.AlgorithmPolicy.Enforcement},
		{"key id", c.KeyID}, {"rotation days", strconv.Itoa(c.RotationDays)}, {"self-service", yesNo(c.SelfService)},
		{"consistency", c.Consistency},
		{"revision", strconv.FormatUint(uint64(c.Revision), 10)},
	}
	if c.Grants != nil {
		list = append(list, [2]string{"applications", strconv.Itoa(*c.Grants)})
	}
	for _, v := range c.Versions {
		list = append(list, [2]string{
			fmt.Sprintf("version %d", v.Version), strings.Join([]string{v.KeyID, v.State, v.Algorithm, v.CreatedAt}, ", "),
		})
	}
	if c.Derived != nil {
		list = append(list, derivedRows(c.Derived)...)
	}
	return rows(w, list...)
}

func derivedRows(d *wire.Derived) [][2]string {
	list := [][2]string{
		{"layers ask for", d.Algorithm}, {"bits", strconv.Itoa(d.MinimumSecurityBits)}, {"quantum-resistant", yesNo(d.QuantumResistant)},
		{"new keys every", strconv.FormatUint(uint64(d.RotationDays), 10) + " days"}, {"audit level", d.AuditLevel},
		{"other keys", strings.Join([]string{d.Suite.Signing, d.Suite.MAC, d.Suite.KDF, d.Suite.Hash}, ", ")},
	}
	for _, line := range d.Rationale {
		list = append(list, [2]string{"because", line})
	}
	return list
}
