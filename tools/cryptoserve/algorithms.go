package main

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
	"cryptoserve/engine/algs"
)

// classNames lists the classes of algorithms, as --class takes them.
func classNames() []string {
	var names []string
	for c := algs.ClassAEAD; c.String() != algs.ClassUnknown.String(); c++ {
		names = append(names, c.String())
	}
	return names
}

func (a *app) algorithmsCommand() *cobra.Command {
	var class string
	cmd := &cobra.Command{
		Use:   "algorithms",
		Short: "List the algorithms of a node and what its FIPS mode allows",
		Long: `List the algorithms of a node.

  approved     the algorithm, whoever computes it, is an approved one (FIPS 140-3):
               yes, process (to decrypt and verify only) or no
  runs in      what computes it: module (the Go Cryptographic Module) or library
  validated    that module, as it runs on this node, is a validated one
  token        keys can also be made and used in this node's token
  protect,     the FIPS mode of this node allows it to encrypt and sign,
  process      and to decrypt and verify`,
		Example: `  cryptoserve algorithms --class signature
  cryptoserve algorithms --output json | jq '.[] | select(.quantum_safe) | .name'`,
		Args: usageArgs(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&class, "class", "", "only those of a `class`: "+strings.Join(classNames(), ", "))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if class != "" && !slices.Contains(classNames(), class) {
			return wrongUse(cmd, "--class must be one of %s", strings.Join(classNames(), ", "))
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Algorithm, error) {
			list, err := c.Algorithms(ctx)
			if class != "" {
				list = slices.DeleteFunc(list, func(row wire.Algorithm) bool { return row.Class != class })
			}
			return list, err
		}, algorithmTable)
	}
	return cmd
}

func algorithmTable(w io.Writer, list []wire.Algorithm) error {
	head := []string{
		"NAME", "CLASS", "BITS", "QUANTUM-SAFE", "APPROVED", "RUNS IN", "VALIDATED", "TOKEN", "PROTECT", "PROCESS", "SOURCE",
	}
	var lines [][]string
	for _, r := range list {
		lines = append(lines, []string{
			r.Name, r.Class, strconv.Itoa(r.SecurityBits), yesNo(r.QuantumSafe), r.ApprovedAlgorithm, r.RunsIn,
			yesNo(r.ValidatedModule), yesNo(r.TokenKeys), yesNo(r.Protect), yesNo(r.Process), r.Source,
		})
	}
	return columns(w, head, lines)
}

func (a *app) fipsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fips",
		Short: "Show the FIPS mode of a node and what is behind it",
		Long: `Show the FIPS mode of a node, which cryptographic module it runs, whether that one is
validated, and which approved algorithms are computed outside of it.`,
		Example: "  cryptoserve fips --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.FIPSResponse, error) {
				return c.FIPS(ctx)
			}, fipsTable)
		},
	}
}

func fipsTable(w io.Writer, f wire.FIPSResponse) error {
	outside := strings.Join(f.OutsideModule, ", ")
	if outside == "" {
		outside = "none"
	}
	return rows(w,
		[2]string{"mode", f.Mode}, [2]string{"module", f.Module}, [2]string{"module enabled", yesNo(f.ModuleEnabled)},
		[2]string{"module enforced", yesNo(f.ModuleEnforced)}, [2]string{"validated module", yesNo(f.ValidatedModule)},
		[2]string{"approved algorithms", strconv.Itoa(f.ApprovedAlgorithms) + " of " + strconv.Itoa(f.Algorithms)},
		[2]string{"approved, outside the module", outside}, [2]string{"token", f.Token},
	)
}
