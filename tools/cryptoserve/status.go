package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"cryptoserve/api/wire"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what state a node is in, and what to do about it",
		Long: `Show what state a node is in, why, and what to do about it. It needs no token.

The exit code is 0 when the node serves (operational or degraded) and 4 when it does
not serve or cannot be reached.`,
		Example: `  cryptoserve status --server https://node-1:8443 --ca ca.pem
  cryptoserve status --output json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context()) },
	}
}

func (a *app) status(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := a.client(false)
	if err != nil {
		return err
	}
	state, err := c.State(ctx)
	if err != nil {
		return err
	}
	out := &streamSink{out: a.stdout}
	if a.output == outputJSON {
		err = writeJSON(out, state)
	} else {
		err = stateTable(out, state)
	}
	if err == nil {
		err = out.Commit()
	}
	if err != nil {
		return err
	}
	switch state.State {
	case "operational", "degraded":
		return nil
	default:
		return &hintError{
			err:  fmt.Errorf("%w: its state is %s", errNotReady, printable(state.State)),
			hint: "follow the next step of each reason above, or read the node's log",
		}
	}
}

func stateTable(w io.Writer, state wire.State) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"state", state.State}, {"node", state.Node}, {"cluster", state.Cluster}, {"version", state.Version},
	} {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", row[0], printable(row[1])) // Flush tells
	}
	for _, reason := range state.Reasons {
		_, _ = fmt.Fprintf(table, "reason\t%s: %s\n", printable(reason.Code), printable(reason.Detail))
		if reason.NextStep != "" {
			_, _ = fmt.Fprintf(table, "next step\t%s\n", printable(reason.NextStep))
		}
	}
	return table.Flush()
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this program",
		Long:    "Show the version of this program, and of what it was built with.",
		Example: "  cryptoserve version --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			out := &streamSink{out: a.stdout}
			about := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if a.output == outputJSON {
				if err := writeJSON(out, about); err != nil {
					return err
				}
			} else if _, err := fmt.Fprintf(out, "cryptoserve %s (%s, %s)\n", about.Version, about.Go, about.Platform); err != nil {
				return err
			}
			return out.Commit()
		},
	}
}

// note tells the user something that is no error and no result.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, "cryptoserve: "+format+"\n", args...) // a lost note does not spoil the result
}

// printable drops from a text of the server's what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}
