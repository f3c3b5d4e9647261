package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

func (a *app) hashCommand() *cobra.Command {
	var o resultOption
	var req wire.HashRequest
	cmd := &cobra.Command{
		Use:     "hash [FILE]",
		Short:   "Compute a digest",
		Long:    "Compute the digest of FILE, or of standard input. It is shown in hex, as sha256sum does.",
		Example: "  cryptoserve hash letter.txt\n  cryptoserve hash --algorithm SHAKE256 --bytes 64 letter.txt",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	cmd.Flags().StringVar(&req.Algorithm, "algorithm", "", "`name` of the hash function (default SHA-256)")
	cmd.Flags().IntVar(&req.OutputBytes, "bytes", 0, "length of the digest in `bytes` (SHAKE)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(a, cmd); err != nil {
			return err
		}
		if req.OutputBytes < 0 {
			return wrongUse(cmd, "--bytes must not be negative")
		}
		if err := a.fill(cmd.Context(), args, &req.Data); err != nil {
			return err
		}
		name := "-"
		if len(args) > 0 {
			name = args[0]
		}
		out, err := a.openSink(o.out)
		if err != nil {
			return err
		}
		defer out.Discard()
		answer, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.HashResponse, error) {
			return c.Hash(ctx, req)
		})
		if err != nil {
			return err
		}
		a.warn(answer.Warnings)
		return a.show(out, answer, func(w io.Writer) error {
			value := answer.Digest
			if !o.raw {
				value = fmt.Appendf(nil, "%s  %s\n", hex.EncodeToString(answer.Digest), printable(name))
			}
			_, err := w.Write(value)
			return err
		})
	}
	return cmd
}

// mostRandom is the most random bytes of one request.
const mostRandom = 65536

func (a *app) randomCommand() *cobra.Command {
	var o resultOption
	var asHex bool
	cmd := &cobra.Command{
		Use:     "random N",
		Short:   "Get random bytes of the token",
		Long:    "Get N random bytes (1 to 65536) of the node's token, in base64, or with --hex or --raw.",
		Example: "  cryptoserve random 32 --raw -o key.bin",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&asHex, "hex", false, "write hex instead of base64")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > mostRandom {
			return wrongUse(cmd, "N must be a number from 1 to %d", mostRandom)
		}
		if err := o.check(a, cmd); err != nil {
			return err
		}
		if asHex && (o.raw || a.output == outputJSON) {
			return wrongUse(cmd, "--hex cannot be used together with --raw or --output json")
		}
		out, err := a.openSink(o.out)
		if err != nil {
			return err
		}
		defer out.Discard()
		value, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) ([]byte, error) { return c.Random(ctx, n) })
		if err != nil {
			return err
		}
		return a.show(out, wire.RandomResponse{Random: value}, func(w io.Writer) error {
			text := o.encode(value)
			if asHex {
				text = append(hex.AppendEncode(nil, value), '\n')
			}
			_, err := w.Write(text)
			return err
		})
	}
	return cmd
}

func (a *app) kdfCommand() *cobra.Command {
	var o resultOption
	var req wire.KDFRequest
	var cost wire.KDFCost
	var secretFile string
	var salt, info, label, kdfContext bytesOption
	cmd := &cobra.Command{
		Use:   "kdf --algorithm NAME --bytes N --secret-file FILE",
		Short: "Derive a key from a secret or a password",
		Long: `Derive a key. The secret is read from a file ("-" for standard input), byte for byte.

  HKDF      takes --salt and --info
  KBKDF     takes --label and --kdf-context
  PBKDF2    takes --salt and --iterations
  Argon2id  takes --salt, --memory-kib, --time and --parallelism
  scrypt    takes --salt, --scrypt-n, --scrypt-r and --scrypt-p

Of a cost give all options or none.`,
		Example: `  cryptoserve kdf --algorithm HKDF-SHA256 --bytes 32 --secret-file shared.bin --info session -o key.b64`,
		Args:    usageArgs(cobra.NoArgs),
	}
	o.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&req.Algorithm, "algorithm", "", "`name` of the function (required)")
	flags.IntVar(&req.OutputBytes, "bytes", 0, "length of the key in `bytes` (required)")
	flags.StringVar(&secretFile, "secret-file", "", "`file` with the secret or password (required)")
	salt.register(cmd, "salt", "salt", "")
	info.register(cmd, "info", "info", "")
	label.register(cmd, "label", "label", "")
	kdfContext.register(cmd, "kdf-context", "context", "")
	flags.IntVar(&cost.Iterations, "iterations", 0, "`number` of iterations of PBKDF2")
	flags.IntVar(&cost.MemoryKiB, "memory-kib", 0, "memory of Argon2id in `KiB`")
	flags.IntVar(&cost.Time, "time", 0, "`number` of passes of Argon2id")
	flags.IntVar(&cost.Parallelism, "parallelism", 0, "`number` of lanes of Argon2id")
	flags.IntVar(&cost.N, "scrypt-n", 0, "`N` of scrypt")
	flags.IntVar(&cost.R, "scrypt-r", 0, "`r` of scrypt")
	flags.IntVar(&cost.P, "scrypt-p", 0, "`p` of scrypt")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if req.OutputBytes < 1 {
			return wrongUse(cmd, "--bytes N is needed, at least 1")
		}
		if err := firstError(
			required(cmd, req.Algorithm, "--algorithm NAME"), required(cmd, secretFile, "--secret-file FILE"), o.check(a, cmd),
			salt.check(cmd), info.check(cmd), label.check(cmd), kdfContext.check(cmd),
		); err != nil {
			return err
		}
		err := a.fill(cmd.Context(), []string{secretFile}, &req.Secret,
			field{&req.Salt, &salt}, field{&req.Info, &info}, field{&req.Label, &label}, field{&req.Context, &kdfContext})
		if err != nil {
			return err
		}
		defer clear(req.Secret)
		if cost != (wire.KDFCost{}) {
			req.Cost = &cost
		}
		return produce(cmd.Context(), a, o, func(ctx context.Context, c *client.Client) (wire.KDFResponse, error) {
			return c.DeriveKey(ctx, req)
		}, func(r wire.KDFResponse) ([]byte, []string) { return r.Key, r.Warnings })
	}
	return cmd
}
