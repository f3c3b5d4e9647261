package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cryptoserve/appliance"
	"cryptoserve/engine/audit"
)

func newRoot(out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "cryptoserved",
		Short:         "The daemon of the CryptoServe appliance",
		Long:          "cryptoserved keeps a master key in a PKCS#11 token and serves cryptographic operations over REST.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, c.CommandPath())}
	})
	config := &cobra.Command{Use: "config", Short: "Work with the config file"}
	config.AddCommand(configCheck())
	hsm := &cobra.Command{Use: "hsm", Short: "Work with the token"}
	hsm.AddCommand(hsmProbe(), hsmTrustKey())
	auditCommand := &cobra.Command{Use: "audit", Short: "Work with audit logs, off line"}
	auditCommand.AddCommand(auditVerify())
	cluster := &cobra.Command{Use: "cluster", Short: "Work with the cluster's data on this node, off line"}
	cluster.AddCommand(forceNew())
	root.AddCommand(serve(), dev(), join(), cluster, config, hsm, auditCommand, version())
	for _, group := range []*cobra.Command{root, cluster, config, hsm, auditCommand} {
		group.Args = noSuchCommand
		group.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	return root
}

// noSuchCommand refuses what is left of a command line when no command was found in it.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("there is no command %q; see '%s --help'", c.CommandPath()+" "+args[0], c.CommandPath())}
}

// exactly wants n arguments and names them when they are not there.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("got %d arguments, want %d: %s", len(args), n, c.UseLine())}
		}
		return nil
	}
}

// withConfig gives a command the flag --config, which it requires, and runs it with what the file says.
func withConfig(c *cobra.Command, run func(c *cobra.Command, config appliance.Config) error) *cobra.Command {
	var file string
	c.Flags().StringVar(&file, "config", "", "the config `FILE`")
	c.Args = exactly(0)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if file == "" {
			return usageError{errors.New("--config FILE is required")}
		}
		config, err := appliance.Load(file)
		if err != nil {
			return err
		}
		return run(c, config)
	}
	return c
}

func serve() *cobra.Command {
	return withConfig(&cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serve a node that exists",
		Long: `Serve the node of the config file's data directory until SIGTERM or SIGINT. Requests that run are answered
before it ends. It prints the line "ready https://ADDRESS" once it answers; its log goes to standard error.`,
		Example: "  cryptoserved serve --config /etc/cryptoserve/config.yaml",
	}, func(c *cobra.Command, config appliance.Config) error {
		log, err := appliance.NewLog(c.ErrOrStderr(), config.Log.Level)
		if err != nil {
			return err
		}
		return appliance.Serve(c.Context(), config, c.OutOrStdout(), log)
	})
}

func dev() *cobra.Command {
	var d appliance.DevConfig
	var level string
	c := &cobra.Command{
		Use:   "dev --dir DIR [--listen ADDR]",
		Short: "Run one node with a SoftHSM2 token in a directory of its own",
		Long: `Run one node for development and tests. The first start provisions it: a SoftHSM2 token, a cluster with the contexts
default, user-pii, payment-data and general, an application and an owner. It also writes DIR/config.yaml.
Later starts go on with the data in DIR and with what you change in that file; --listen, and --audit where it is given, count
for the one run.

Each start writes into DIR, before the line "ready https://ADDR":
  ca.pem       the CA of the API certificate
  app.token    an access token of the application, good for one hour
  app.refresh  a refresh token for it, good for 30 days
  owner.token  a session of the owner, good for 7 days

With --cluster other nodes can join this one. With --join the first start makes it a node of another's cluster: it prints a
fingerprint and waits until it is approved, see 'cryptoserved join --help'.

Not for production: the PIN of the token lies beside the token.`,
		Example: `  cryptoserved dev --dir .dev --listen 127.0.0.1:8443
  cryptoserved dev --dir .dev2 --listen 127.0.0.1:8445 --cluster 127.0.0.1:8446 --join csj1_...`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if d.Dir == "" {
				return usageError{errors.New("--dir DIR is required")}
			}
			log, err := appliance.NewLog(c.ErrOrStderr(), level)
			if err != nil {
				return usageError{err}
			}
			return appliance.Dev(c.Context(), d, c.OutOrStdout(), log)
		},
	}
	c.Flags().StringVar(&d.Dir, "dir", "", "the `DIR`ectory that holds everything")
	c.Flags().StringVar(&d.Listen, "listen", "127.0.0.1:8443", "the `ADDR`ess of the API, host:port")
	c.Flags().StringVar(&d.Audit, "audit", "", "audit durability: strict, or relaxed (a power cut can lose 50 ms); empty means as in config.yaml")
	c.Flags().StringVar(&d.Cluster, "cluster", "", "the `ADDR`ess of the cluster port, host:port; without it no other node can join")
	c.Flags().StringVar(&d.Name, "name", "", "what people call this node; the name of the host when empty")
	c.Flags().StringVar(&d.Join, "join", "", "on the first start, join the cluster of this invitation `CODE` instead of making one")
	c.Flags().BoolVar(&d.AdoptToken, "adopt-token", false, "on the first start, use the provisioned token in DIR/token, with its PINs in "+
		"DIR/token.pin and DIR/token.so-pin, instead of making one")
	c.Flags().StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	return c
}

func join() *cobra.Command {
	var file, method, level string
	c := &cobra.Command{
		Use:   "join --config FILE CODE",
		Short: "Make this machine a node of a cluster",
		Long: `Make the node of the config file's data directory, which must be empty, a member of the cluster that an invitation
code is of ('cryptoserve cluster invite' prints one). It makes this node's own keys in its token, asks to join and prints a
fingerprint; an operator compares it and approves ('cryptoserve cluster approve'). Then the keys of the cluster come into the
token, wrapped for it by the token of a member: no host ever sees them. Cut off, run it again with the same code.

The methods: wrap (the default); shared, when all nodes use one partition of a network HSM; preloaded, when the vendor's cloning
has put the keys into the token.`,
		Example: "  cryptoserved join --config /etc/cryptoserve/config.yaml csj1_...",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if file == "" {
				return usageError{errors.New("--config FILE is required")}
			}
			config, err := appliance.Load(file)
			if err != nil {
				return err
			}
			log, err := appliance.NewLog(c.ErrOrStderr(), level)
			if err != nil {
				return usageError{err}
			}
			return appliance.Join(c.Context(), config, method, args[0], c.OutOrStdout(), log)
		},
	}
	c.Flags().StringVar(&file, "config", "", "the config `FILE`")
	c.Flags().StringVar(&method, "method", "wrap", "how the keys come into the token: wrap, shared or preloaded")
	c.Flags().StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	return c
}

func forceNew() *cobra.Command {
	var credential string
	c := withConfig(&cobra.Command{
		Use:   "force-new --config FILE --credential FILE",
		Short: "Go on with this node alone after the cluster has lost its quorum for good",
		Long: `Make a cluster of one out of the data of this node, which must be stopped. Only for a cluster whose majority is gone and
will not come back.

What may be lost: every change that this node had not received, such as a key made, a right taken away or granted, on the nodes
that are gone. What may appear: a change that was never acknowledged to its caller. Data encrypted with a key version that this
node does not know cannot be decrypted by it. Destroy the data directories of the other nodes before they start again: they would
go on as the old cluster. It takes the credential that was written when the cluster was made.`,
		Example: "  cryptoserved cluster force-new --config /etc/cryptoserve/config.yaml --credential /media/usb/force-new.credential",
	}, func(c *cobra.Command, config appliance.Config) error {
		if credential == "" {
			return usageError{errors.New("--credential FILE is required")}
		}
		log, err := appliance.NewLog(c.ErrOrStderr(), config.Log.Level)
		if err != nil {
			return err
		}
		return appliance.ForceNew(c.Context(), config, credential, c.OutOrStdout(), log)
	})
	c.Flags().StringVar(&credential, "credential", "", "the `FILE` with the credential for going on alone")
	return c
}

func configCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a config file",
		Long: `Read a config file as 'serve' would. It reports every wrong value at once, and whether the module, the directory of
tokens and the PIN file can be used; of unknown keys and wrong types, the first with its line. Nothing is changed and no PIN
is tried.`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := appliance.Check(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), args[0]+": ok")
			return err
		},
	}
}

func hsmProbe() *cobra.Command {
	return withConfig(&cobra.Command{
		Use:   "probe --config FILE",
		Short: "Report what the token can do",
		Long: `Open the token named in the config file, with one login, and report its library, limits, mechanisms and the
appliance's objects on it. Nothing on the token changes. Stop the node that uses a SoftHSM2 token first.`,
	}, func(c *cobra.Command, config appliance.Config) error {
		return appliance.ProbeToken(c.Context(), config, c.OutOrStdout())
	})
}

// hsmTrustKey is for the daemon itself, which runs it as a child.
func hsmTrustKey() *cobra.Command {
	return &cobra.Command{
		Use:    "trust-key",
		Short:  "Mark a join key as trusted, by an order on standard input",
		Hidden: true,
		Args:   exactly(0),
		RunE:   func(c *cobra.Command, _ []string) error { return appliance.ServeTrustKey(c.InOrStdin()) },
	}
}

func auditVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Verify the audit log of a node",
		Long: `Walk the audit segments in DIR and report each record that was changed, removed, swapped or added. It needs no token
and works on a copy or on the folder of a running node. A hash chain does not show records cut off at its end.`,
		Example: "  cryptoserved audit verify .dev/audit",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			report, err := audit.Verify(args[0])
			if err != nil {
				return err
			}
			if _, err := io.WriteString(c.OutOrStdout(), report.String()); err != nil {
				return err
			}
			if len(report.Findings) > 0 {
				return fmt.Errorf("the audit log in %s was changed: %d findings", args[0], len(report.Findings))
			}
			return nil
		},
	}
}

func version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "cryptoserved", appliance.Version)
			return err
		},
	}
}
