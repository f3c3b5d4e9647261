package main

import (
	"context"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

func (a *app) keyEncryptCommand() *cobra.Command {
	var o resultOption
	var info, aad bytesOption
	cmd := &cobra.Command{
		Use:   "encrypt NAME [FILE]",
		Short: "Encrypt to a key of purpose encrypt",
		Long: `Encrypt FILE, or standard input, to a key of purpose encrypt. The result is in the form of
the algorithm's standard (HPKE, ECIES or RSA-OAEP). Who has the public half can do the
same without the appliance.`,
		Example: "  cryptoserve key encrypt letters --info order-17 letter.txt -o letter.enc",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
	}
	o.register(cmd)
	info.register(cmd, "info", "info", " (HPKE and ECIES)")
	aad.register(cmd, "aad", "associated data", "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(o.check(a, cmd), info.check(cmd), aad.check(cmd)); err != nil {
			return err
		}
		req := wire.KeyEncryptRequest{Key: args[0]}
		if err := a.fill(cmd.Context(), args[1:], &req.Plaintext, field{&req.Info, &info}, field{&req.AssociatedData, &aad}); err != nil {
			return err
		}
		return produce(cmd.Context(), a, o, func(ctx context.Context, c *client.Client) (wire.KeyEncryptResponse, error) {
			return c.EncryptWithKey(ctx, req)
		}, func(r wire.KeyEncryptResponse) ([]byte, []string) { return r.Ciphertext, r.Warnings })
	}
	return cmd
}

func (a *app) keyDecryptCommand() *cobra.Command {
	var out resultOption
	var raw bool
	var info, aad bytesOption
	var keyID string
	cmd := &cobra.Command{
		Use:   "decrypt NAME [FILE]",
		Short: "Decrypt what was encrypted to a key",
		Long: `Decrypt FILE, or standard input, which was encrypted to a key of purpose encrypt, here or
elsewhere. The input is base64, or with --raw the ciphertext itself; the result is the
plaintext, byte for byte.`,
		Example: "  cryptoserve key decrypt letters --info order-17 letter.enc",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
	}
	out.registerOut(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "the input is binary instead of base64")
	cmd.Flags().StringVar(&keyID, "key-id", "", "`id` of the key version (default: try each, newest first)")
	info.register(cmd, "info", "info", " (HPKE and ECIES)")
	aad.register(cmd, "aad", "associated data", "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(info.check(cmd), aad.check(cmd)); err != nil {
			return err
		}
		req := wire.KeyDecryptRequest{Key: args[0], KeyID: keyID}
		if err := a.fill(cmd.Context(), args[1:], &req.Ciphertext, field{&req.Info, &info}, field{&req.AssociatedData, &aad}); err != nil {
			return err
		}
		if !raw {
			var err error
			if req.Ciphertext, err = decodeText(req.Ciphertext); err != nil {
				return err
			}
		}
		out.raw = true
		return produce(cmd.Context(), a, out, func(ctx context.Context, c *client.Client) (wire.KeyDecryptResponse, error) {
			return c.DecryptWithKey(ctx, req)
		}, func(r wire.KeyDecryptResponse) ([]byte, []string) { return r.Plaintext, r.Warnings })
	}
	return cmd
}

// field is a field of a request with the option that it comes from.
type field struct {
	to   *[]byte
	from *bytesOption
}

// fill reads the input and the options of a request.
func (a *app) fill(ctx context.Context, args []string, input *[]byte, fields ...field) error {
	for _, f := range fields {
		var err error
		if *f.to, err = f.from.value(); err != nil {
			return err
		}
	}
	var err error
	*input, err = a.input(ctx, args)
	return err
}
