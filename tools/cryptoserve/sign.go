package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// errInvalid is a signature, code or password that is not the right one: exit code 1.
var errInvalid = errors.New("not valid")

const formatJWS = "jws"

// signOptions are the options that sign and verify share.
type signOptions struct {
	req     wire.SignRequest
	context bytesOption
}

func (o *signOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.req.Key, "key", "", "`name` of the key (required)")
	flags.BoolVar(&o.req.Prehashed, "prehashed", false, "the input is the digest of the message; say of which hash with --hash")
	flags.StringVar(&o.req.Hash, "hash", "", "`name` of the hash function, where the algorithm leaves a choice")
	flags.StringVar(&o.req.SignatureFormat, "format", "", "form of the signature: `der or raw` (ECDSA), or jws")
	o.context.register(cmd, "signature-context", "signature context", " (ML-DSA and SLH-DSA)")
}

func (o *signOptions) check(cmd *cobra.Command) error {
	if !slices.Contains([]string{"", "der", "raw", formatJWS}, o.req.SignatureFormat) {
		return wrongUse(cmd, "--format must be der, raw or jws")
	}
	return firstError(required(cmd, o.req.Key, "--key NAME"), o.context.check(cmd))
}

func (a *app) signCommand() *cobra.Command {
	var o signOptions
	var result resultOption
	cmd := &cobra.Command{
		Use:   "sign --key NAME [FILE]",
		Short: "Sign a file or standard input",
		Long: `Sign FILE, or standard input, with a key of purpose sign. The result is the signature in
base64, or with --raw itself; with --format jws it is a detached JSON Web Signature.

Up to 11 MiB are sent to the appliance. For more, compute the digest yourself and sign it
with --prehashed, where the algorithm knows that.`,
		Example: `  cryptoserve sign --key invoices invoice.pdf -o invoice.sig
  sha256sum -b big | xxd -r -p | cryptoserve sign --key web --prehashed --hash SHA-256 > big.sig`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	result.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(o.check(cmd), result.check(a, cmd)); err != nil {
			return err
		}
		if err := a.fill(cmd.Context(), args, &o.req.Message, field{&o.req.SignatureContext, &o.context}); err != nil {
			return err
		}
		out, err := a.openSink(result.out)
		if err != nil {
			return err
		}
		defer out.Discard()
		answer, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.SignResponse, error) {
			return c.Sign(ctx, o.req)
		})
		if err != nil {
			return err
		}
		a.warn(answer.Warnings)
		return a.show(out, answer, func(w io.Writer) error {
			value := result.encode(answer.Signature)
			if answer.JWS != "" {
				value = []byte(printable(answer.JWS) + "\n")
			}
			_, err := w.Write(value)
			return err
		})
	}
	return cmd
}

func (a *app) verifyCommand() *cobra.Command {
	var o signOptions
	var signature, keyID string
	var raw bool
	cmd := &cobra.Command{
		Use:   "verify --key NAME --signature FILE [FILE]",
		Short: "Verify a signature",
		Long: `Verify the signature of FILE, or of standard input. The signature is as sign wrote it: in
base64, or with --raw itself, or with --format jws a detached JSON Web Signature.

The exit code is 0 only when the signature is valid, and 1 when it is not.`,
		Example: "  cryptoserve verify --key invoices --signature invoice.sig invoice.pdf && echo paid",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&signature, "signature", "", "`file` with the signature (required)")
	flags.BoolVar(&raw, "raw", false, "the signature is binary instead of base64")
	flags.StringVar(&keyID, "key-id", "", "`id` of the key version (default: try each, newest first)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(o.check(cmd), required(cmd, signature, "--signature FILE"), oneStdin(cmd, signature, args)); err != nil {
			return err
		}
		req := wire.VerifyRequest{KeyID: keyID}
		jws := o.req.SignatureFormat == formatJWS
		proof, err := a.encoded(cmd.Context(), signature, "signature", raw || jws)
		if err != nil {
			return err
		}
		if jws {
			req.JWS = strings.TrimSpace(string(proof))
		} else {
			req.Signature = proof
		}
		if err := a.fill(cmd.Context(), args, &o.req.Message, field{&o.req.SignatureContext, &o.context}); err != nil {
			return err
		}
		req.SignRequest = o.req
		return a.judge(cmd.Context(), "signature", func(ctx context.Context, c *client.Client) (wire.VerifyResponse, error) {
			return c.Verify(ctx, req)
		})
	}
	return cmd
}

// oneStdin refuses standard input in two places.
func oneStdin(cmd *cobra.Command, option string, args []string) error {
	if option == "-" && (len(args) == 0 || args[0] == "-") {
		return wrongUse(cmd, "standard input cannot be both: name a FILE")
	}
	return nil
}

// judge has something verified, shows the answer and fails when it is not valid.
func (a *app) judge(
	ctx context.Context, what string, request func(context.Context, *client.Client) (wire.VerifyResponse, error),
) error {
	answer, err := ask(ctx, a, request)
	if err != nil {
		return err
	}
	a.warn(answer.Warnings)
	if !answer.Valid && a.output != outputJSON {
		return invalid(what)
	}
	err = a.show(&streamSink{out: a.stdout}, answer, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "valid (%s, %s)\n", printable(answer.KeyID), printable(answer.Algorithm))
		return err
	})
	if err == nil && !answer.Valid {
		return invalid(what)
	}
	return err
}

func invalid(what string) error {
	return &hintError{
		err:  fmt.Errorf("the %s is %w", what, errInvalid),
		hint: "do not trust the data; check first that key, options and file are those it was made with",
	}
}
