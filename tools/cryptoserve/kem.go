package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// pairOptions say where a secret and the ciphertext that belongs to it go.
type pairOptions struct{ secretOut, ciphertextOut string }

func (o *pairOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.secretOut, "secret-out", "", "write the secret, as it is, to a `file` (mode 0600) instead of standard output")
	cmd.Flags().StringVar(&o.ciphertextOut, "ciphertext-out", "", "write the ciphertext in base64 to a `file` instead of standard output")
}

// check finds what is wrong with the options before anything is sent.
func (o *pairOptions) check(a *app, cmd *cobra.Command) error {
	if a.output == outputJSON && (o.secretOut != "" || o.ciphertextOut != "") {
		return wrongUse(cmd, "--output json goes to standard output: leave --secret-out and --ciphertext-out away")
	}
	if o.secretOut != "" && o.secretOut == o.ciphertextOut {
		return wrongUse(cmd, "--secret-out and --ciphertext-out must name two files")
	}
	return nil
}

// writePair asks for a secret with its ciphertext and writes each where it belongs: the ciphertext first, for without it the
// secret is of little use.
func writePair[T any](
	ctx context.Context, a *app, o pairOptions, request func(context.Context, *client.Client) (T, error),
	parts func(T) (secret, ciphertext []byte, warnings []string),
) error {
	ciphertextSink, err := a.openSink(o.ciphertextOut)
	if err != nil {
		return err
	}
	defer ciphertextSink.Discard()
	secretSink, err := a.openSink(o.secretOut)
	if err != nil {
		return err
	}
	defer secretSink.Discard()
	answer, err := ask(ctx, a, request)
	if err != nil {
		return err
	}
	secret, ciphertext, warnings := parts(answer)
	defer clear(secret)
	a.warn(warnings)
	if a.output == outputJSON {
		return a.show(&streamSink{out: a.stdout}, answer, nil)
	}
	line := base64.StdEncoding.EncodeToString(ciphertext) + "\n"
	if o.ciphertextOut == "" {
		line = "ciphertext  " + line
	}
	if err := a.show(ciphertextSink, answer, writing([]byte(line))); err != nil || secret == nil {
		return err
	}
	if o.secretOut != "" {
		return a.show(secretSink, answer, writing(secret))
	}
	return a.show(secretSink, answer, writing([]byte("secret      "+base64.StdEncoding.EncodeToString(secret)+"\n")))
}

func writing(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func (a *app) kemCommand() *cobra.Command {
	return a.group("kem", "Encapsulate and decapsulate shared secrets", a.encapsulateCommand(), a.decapsulateCommand())
}

func (a *app) encapsulateCommand() *cobra.Command {
	var o pairOptions
	cmd := &cobra.Command{
		Use:   "encapsulate KEY",
		Short: "Make a shared secret for the owner of a key",
		Long: `Make a shared secret for the owner of a key of purpose kem, and the ciphertext that the
owner gets it back from.`,
		Example: "  cryptoserve kem encapsulate session --secret-out secret.bin --ciphertext-out secret.kem",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	o.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(a, cmd); err != nil {
			return err
		}
		return writePair(cmd.Context(), a, o, func(ctx context.Context, c *client.Client) (wire.EncapsulateResponse, error) {
			return c.Encapsulate(ctx, args[0])
		}, func(r wire.EncapsulateResponse) ([]byte, []byte, []string) {
			return r.SharedSecret, r.Ciphertext, r.Warnings
		})
	}
	return cmd
}

func (a *app) decapsulateCommand() *cobra.Command {
	var o resultOption
	var keyID string
	var binaryInput bool
	cmd := &cobra.Command{
		Use:   "decapsulate KEY [FILE]",
		Short: "Get the shared secret of a ciphertext",
		Long: `Get the shared secret of a ciphertext that was encapsulated for a key. FILE, or standard
input, holds it in base64, or with --raw-input itself. A ciphertext that was not made
for the key gives a secret that nobody else has, and no error.`,
		Example: "  cryptoserve kem decapsulate session secret.kem --raw -o secret.bin",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&binaryInput, "raw-input", false, "the ciphertext is binary instead of base64")
	cmd.Flags().StringVar(&keyID, "key-id", "", "`id` of the key version (default: the one that protects)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(a, cmd); err != nil {
			return err
		}
		ciphertext, err := a.encoded(cmd.Context(), argument(args, 1), "ciphertext", binaryInput)
		if err != nil {
			return err
		}
		req := wire.DecapsulateRequest{Key: args[0], KeyID: keyID, Ciphertext: ciphertext}
		return produce(cmd.Context(), a, o, func(ctx context.Context, c *client.Client) (wire.DecapsulateResponse, error) {
			return c.Decapsulate(ctx, req)
		}, func(r wire.DecapsulateResponse) ([]byte, []string) { return r.SharedSecret, r.Warnings })
	}
	return cmd
}

// argument returns an argument, "-" if it is not there.
func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return "-"
}

func (a *app) agreeCommand() *cobra.Command {
	var o resultOption
	var req wire.AgreeRequest
	var salt, info bytesOption
	cmd := &cobra.Command{
		Use:   "agree KEY PEERFILE",
		Short: "Agree on a key with a peer",
		Long: `Agree on a key with a peer: HKDF-SHA256 over the shared secret of a key of purpose agree
and the peer's public key. PEERFILE ("-" for standard input) holds that one as PEM, or
in base64 as the curve's standard has it.`,
		Example: "  cryptoserve agree exchange peer.pem --info session-17 --bytes 32 -o key.b64",
		Args:    usageArgs(cobra.ExactArgs(2)),
	}
	o.register(cmd)
	cmd.Flags().StringVar(&req.KeyID, "key-id", "", "`id` of the key version (default: the one that protects)")
	cmd.Flags().IntVar(&req.Bytes, "bytes", 0, "length of the key in `bytes` (default 32)")
	salt.register(cmd, "salt", "salt", "")
	info.register(cmd, "info", "info", "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if req.Bytes < 0 {
			return wrongUse(cmd, "--bytes must not be negative")
		}
		if err := firstError(o.check(a, cmd), salt.check(cmd), info.check(cmd)); err != nil {
			return err
		}
		var peer []byte
		err := a.fill(cmd.Context(), args[1:], &peer, field{&req.Salt, &salt}, field{&req.Info, &info})
		if err != nil {
			return err
		}
		req.Key = args[0]
		if bytes.Contains(peer, []byte("-----BEGIN ")) {
			req.PeerPublicKeyPEM = string(peer)
		} else if req.PeerPublicKey, err = decodeText(peer); err != nil {
			return err
		}
		return produce(cmd.Context(), a, o, func(ctx context.Context, c *client.Client) (wire.AgreeResponse, error) {
			return c.Agree(ctx, req)
		}, func(r wire.AgreeResponse) ([]byte, []string) { return r.DerivedKey, r.Warnings })
	}
	return cmd
}

func (a *app) datakeyCommand() *cobra.Command {
	var o pairOptions
	var req wire.DataKeyRequest
	var aad bytesOption
	var wrapped bool
	cmd := &cobra.Command{
		Use:   "datakey --context NAME",
		Short: "Make a random key, in clear and encrypted",
		Long: `Make a random key, in clear and encrypted in a context. Encrypt your own data with the
clear key, keep the ciphertext beside it and forget the key; 'cryptoserve decrypt' gives
it back. With --wrapped only the ciphertext is given.`,
		Example: "  cryptoserve datakey --context general --secret-out key.bin --ciphertext-out key.enc",
		Args:    usageArgs(cobra.NoArgs),
	}
	o.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&req.Context, "context", "", "`name` of the context (required)")
	flags.IntVar(&req.Bytes, "bytes", 0, "length of the key in `bytes`: 16, 24, 32 or 64 (default 32)")
	flags.BoolVar(&wrapped, "wrapped", false, "give only the encrypted form")
	aad.register(cmd, "aad", "associated data", "; decrypt needs the same")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := firstError(required(cmd, req.Context, "--context NAME"), aad.check(cmd), o.check(a, cmd)); err != nil {
			return err
		}
		if wrapped && o.secretOut != "" {
			return wrongUse(cmd, "--wrapped gives no secret: leave --secret-out away")
		}
		var err error
		if req.AssociatedData, err = aad.value(); err != nil {
			return err
		}
		return writePair(cmd.Context(), a, o, func(ctx context.Context, c *client.Client) (wire.DataKeyResponse, error) {
			if wrapped {
				return c.WrappedDataKey(ctx, req)
			}
			return c.DataKey(ctx, req)
		}, func(r wire.DataKeyResponse) ([]byte, []byte, []string) { return r.Plaintext, r.Ciphertext, r.Warnings })
	}
	return cmd
}
