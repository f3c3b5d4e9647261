package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const rootHelp = `Encrypt, sign and manage keys with a CryptoServe Appliance, and see how it is.

Each option can come from the environment instead:

  --server       CRYPTOSERVE_SERVER
  --ca           CRYPTOSERVE_CA
  --token-file   CRYPTOSERVE_TOKEN_FILE, or the token itself in CRYPTOSERVE_TOKEN

What neither names comes from the last 'cryptoserve login', which is kept in
~/.cryptoserve, or in the folder that CRYPTOSERVE_HOME names.

Exit codes: 0 done, 1 error, 2 wrong use of the command line, 3 denied,
4 sealed, not ready or not reachable, 5 conflict.`

const rootExample = `  export CRYPTOSERVE_SERVER=https://127.0.0.1:8443
  export CRYPTOSERVE_CA=.dev/ca.pem CRYPTOSERVE_TOKEN_FILE=.dev/app.token
  cryptoserve status
  echo -n hello | cryptoserve encrypt --context user-pii > hello.enc
  cryptoserve decrypt --context user-pii hello.enc`

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// app is what the commands share: the streams, the environment and the global options.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	server, caFile, tokenFile string
	output                    string
	timeout                   time.Duration
}

// run carries out one command line and returns the exit code of the process.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	report(stderr, err)
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "cryptoserve",
		Short:         "The command line of the CryptoServe Appliance",
		Long:          rootHelp,
		Example:       rootExample,
		Args:          usageArgs(noSuchCommand),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains([]string{outputTable, outputJSON}, a.output) {
				return usagef("--output must be table or json, not %q", a.output)
			}
			if a.timeout <= 0 {
				return usagef("--timeout must be more than 0, such as 30s")
			}
			return nil
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err: err, command: cmd.CommandPath()}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "", "base `URL` of a node, such as https://node-1:8443")
	flags.StringVar(&a.caFile, "ca", "", "PEM `file` with the CA of the node's certificate (default: the system's CAs)")
	flags.StringVar(&a.tokenFile, "token-file", "", "`file` with the access token")
	flags.StringVar(&a.output, "output", outputTable, "how to show the result: `table or json`")
	flags.DurationVar(&a.timeout, "timeout", time.Minute, "give up after this `time`, tries again included")
	for _, g := range a.commandGroups() {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, cmd := range g.commands {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	return root
}

// commandGroup is a part of the list of commands that --help shows.
type commandGroup struct {
	title    string
	commands []*cobra.Command
}

func (a *app) commandGroups() []commandGroup {
	return []commandGroup{
		{"Data under a context", []*cobra.Command{
			a.encryptCommand(), a.decryptCommand(), a.batchCommand(), a.rewrapCommand(), a.datakeyCommand(),
		}},
		{"With a key", []*cobra.Command{
			a.signCommand(), a.verifyCommand(), a.macCommand(), a.macVerifyCommand(), a.kemCommand(), a.agreeCommand(),
		}},
		{"Without a key", []*cobra.Command{a.hashCommand(), a.kdfCommand(), a.passwordCommand(), a.randomCommand()}},
		{"Management", []*cobra.Command{
			a.contextCommand(), a.keyCommand(), a.importLegacyCommand(), a.algorithmsCommand(), a.fipsCommand(), a.statusCommand(),
			a.versionCommand(),
		}},
		{"Access", slices.Concat(
			a.tenantCommands(), a.applicationCommands(), a.accountCommands(),
			a.policyCommands(), a.lifecycleCommands(), a.settingsCommands(),
		)},
		{"The appliance", append(a.clusterCommands(), a.backupCommands()...)},
	}
}

// usageArgs marks what a check of the arguments finds as wrong use.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err: err, command: cmd.CommandPath()}
		}
		return nil
	}
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(message)
}
