package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

func (a *app) keyCommand() *cobra.Command {
	return a.group("key", "Make, import and manage key objects, and encrypt to them", append(a.keyLifeCommands(),
		a.keyCreateCommand(), a.keyListCommand(), a.keyShowCommand(),
		a.keyChangeCommand("rotate", "Give a key a new version, which protects from now on",
			"What older versions signed or encrypted can still be verified and decrypted.",
			func(ctx context.Context, c *client.Client, name string) (wire.Key, error) {
				return c.RotateKey(ctx, name)
			}),
		a.keyChangeCommand("disable", "Make a key serve nothing until it is enabled",
			"It neither protects nor processes then. Nothing is lost.",
			func(ctx context.Context, c *client.Client, name string) (wire.Key, error) {
				return c.DisableKey(ctx, name)
			}),
		a.keyChangeCommand("enable", "Make a disabled key serve again",
			"Its versions are as they were before it was disabled.",
			func(ctx context.Context, c *client.Client, name string) (wire.Key, error) {
				return c.EnableKey(ctx, name)
			}),
		a.keyPublicCommand(), a.keyImportCommand(), a.keyEncryptCommand(), a.keyDecryptCommand())...)
}

// keyOptions are the options of a key object to be made.
type keyOptions struct{ wire.CreateKeyRequest }

func (o *keyOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.Context, "context", "", "`name` of the context that grants its use (required)")
	flags.StringVar(&o.Algorithm, "algorithm", "", "`name` of its algorithm, see 'cryptoserve algorithms' (required)")
	flags.StringVar(&o.Purpose, "purpose", "", "`sign, mac, kem, agree or encrypt` (default: what the algorithm is for)")
	flags.StringVar(&o.Protection, "protection", "", "where it is used: `host or hsm` (default host)")
	flags.StringVar(&o.Description, "description", "", "what it is for, as `text`")
}

func (o *keyOptions) check(cmd *cobra.Command) error {
	if o.Protection != "" && o.Protection != protectionHost && o.Protection != protectionHSM {
		return wrongUse(cmd, "--protection must be host or hsm")
	}
	return firstError(required(cmd, o.Context, "--context NAME"), required(cmd, o.Algorithm, "--algorithm NAME"))
}

const (
	protectionHost = "host"
	protectionHSM  = "hsm"
)

func (a *app) keyCreateCommand() *cobra.Command {
	var o keyOptions
	cmd := &cobra.Command{
		Use:   "create NAME --context CONTEXT --algorithm ALGORITHM",
		Short: "Make a key object with a new key",
		Long: `Make a key object with a new key: to sign, for authentication codes, to encapsulate, to
agree on keys, or to be encrypted to. The private or secret half never leaves the
appliance. With --protection hsm it never leaves the token.`,
		Example: `  cryptoserve key create invoices --context general --algorithm ML-DSA-65
  cryptoserve key create web-tokens --context general --algorithm ECDSA-P256 --protection hsm`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	o.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		o.Name = args[0]
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Key, error) {
			return c.CreateKey(ctx, o.CreateKeyRequest)
		}, keyTable)
	}
	return cmd
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the keys that the token may use",
		Long:    "List the keys that the token may use, in order of name.",
		Example: "  cryptoserve key list --output json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]wire.Key, error) {
				return c.Keys(ctx)
			}, func(w io.Writer, list []wire.Key) error {
				var lines [][]string
				for _, k := range list {
					lines = append(lines, []string{
						k.Name, k.Context, k.Purpose, k.Algorithm, k.Protection, k.Status, strconv.Itoa(len(k.Versions)), k.Description,
					})
				}
				return columns(w, []string{"NAME", "CONTEXT", "PURPOSE", "ALGORITHM", "PROTECTION", "STATUS", "VERSIONS", "DESCRIPTION"}, lines)
			})
		},
	}
}

func (a *app) keyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a key and its versions",
		Long:    "Show a key and its versions, newest first.",
		Example: "  cryptoserve key show invoices",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Key, error) {
				return c.Key(ctx, args[0])
			}, keyTable)
		},
	}
}

func (a *app) keyChangeCommand(
	act, short, long string, change func(ctx context.Context, c *client.Client, name string) (wire.Key, error),
) *cobra.Command {
	return &cobra.Command{
		Use:     act + " NAME",
		Short:   short,
		Long:    short + ".\n" + long,
		Example: "  cryptoserve key " + act + " invoices",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Key, error) {
				return change(ctx, c, args[0])
			}, keyTable)
		},
	}
}

func keyTable(w io.Writer, k wire.Key) error {
	list := [][2]string{
		{"name", k.Name}, {"context", k.Context}, {"description", k.Description}, {"purpose", k.Purpose}, {"algorithm", k.Algorithm},
		{"protection", k.Protection}, {"status", k.Status}, {"key id", k.KeyID}, {"created", k.CreatedAt},
		{"approved algorithm", k.FIPS.ApprovedAlgorithm}, {"runs in", k.FIPS.RunsIn}, {"validated module", yesNo(k.FIPS.ValidatedModule)},
	}
	for _, v := range k.Versions {
		origin := "made here"
		if v.Imported {
			origin = "imported"
		}
		list = append(list, [2]string{
			fmt.Sprintf("version %d", v.Version), fmt.Sprintf("%s, %s, %s, %s", v.KeyID, v.State, origin, v.CreatedAt),
		})
	}
	return rows(w, list...)
}

func (a *app) keyPublicCommand() *cobra.Command {
	var o resultOption
	var format string
	var version uint32
	formats := []string{"pem", "jwk", "raw"}
	cmd := &cobra.Command{
		Use:   "public NAME",
		Short: "Write the public half of a key",
		Long: `Write the public half of a key: as PEM (SubjectPublicKeyInfo), as a JSON Web Key, or raw
as the algorithm's standard has it. Some algorithms have no PEM or JWK form.`,
		Example: `  cryptoserve key public invoices -o invoices.pem
  cryptoserve key public invoices --format jwk --version 1`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	o.registerOut(cmd)
	cmd.Flags().StringVar(&format, "format", "pem", "`pem, jwk or raw`")
	cmd.Flags().Uint32Var(&version, "version", 0, "`number` of the version (default: the one that protects)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, format) {
			return wrongUse(cmd, "--format must be pem, jwk or raw")
		}
		out, err := a.openSink(o.out)
		if err != nil {
			return err
		}
		defer out.Discard()
		answer, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.PublicKeyResponse, error) {
			return c.PublicKey(ctx, args[0], version)
		})
		if err != nil {
			return err
		}
		value, err := publicForm(answer, format)
		if err != nil && a.output != outputJSON {
			return err
		}
		return a.show(out, answer, func(w io.Writer) error {
			_, err := w.Write(value)
			return err
		})
	}
	return cmd
}

func publicForm(k wire.PublicKeyResponse, format string) ([]byte, error) {
	switch {
	case format == "pem" && k.PEM != "":
		return []byte(k.PEM), nil
	case format == "jwk" && k.JWK != nil:
		text, err := json.MarshalIndent(k.JWK, "", "  ")
		return append(text, '\n'), err
	case format == "raw":
		return k.PublicKey, nil
	default:
		return nil, &hintError{
			err: fmt.Errorf("public keys of %s have no %s form", printable(k.Algorithm), format), hint: "try another --format: pem, jwk or raw",
		}
	}
}
