package main

import (
	"context"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// macOptions are the options that mac and mac-verify share.
type macOptions struct {
	req           wire.MACRequest
	customization bytesOption
}

func (o *macOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.req.Key, "key", "", "`name` of the key (required)")
	cmd.Flags().IntVar(&o.req.OutputBytes, "bytes", 0, "length of the code in `bytes`, where the algorithm leaves a choice")
	o.customization.register(cmd, "customization", "customization", " (KMAC)")
}

func (o *macOptions) check(cmd *cobra.Command) error {
	if o.req.OutputBytes < 0 {
		return wrongUse(cmd, "--bytes must not be negative")
	}
	return firstError(required(cmd, o.req.Key, "--key NAME"), o.customization.check(cmd))
}

func (a *app) macCommand() *cobra.Command {
	var o macOptions
	var result resultOption
	cmd := &cobra.Command{
		Use:     "mac --key NAME [FILE]",
		Short:   "Compute a message authentication code",
		Long:    "Compute the authentication code of FILE, or of standard input, under a key of purpose mac.",
		Example: "  cryptoserve mac --key sessions cookie.txt -o cookie.mac",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	result.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(o.check(cmd), result.check(a, cmd)); err != nil {
			return err
		}
		if err := a.fill(cmd.Context(), args, &o.req.Message, field{&o.req.Customization, &o.customization}); err != nil {
			return err
		}
		return produce(cmd.Context(), a, result, func(ctx context.Context, c *client.Client) (wire.MACResponse, error) {
			return c.MAC(ctx, o.req)
		}, func(r wire.MACResponse) ([]byte, []string) { return r.MAC, r.Warnings })
	}
	return cmd
}

func (a *app) macVerifyCommand() *cobra.Command {
	var o macOptions
	var code, keyID string
	var raw bool
	cmd := &cobra.Command{
		Use:   "mac-verify --key NAME --mac FILE [FILE]",
		Short: "Verify a message authentication code",
		Long: `Verify the authentication code of FILE, or of standard input. The exit code is 0 only when
the code is valid, and 1 when it is not.`,
		Example: "  cryptoserve mac-verify --key sessions --mac cookie.mac cookie.txt",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&code, "mac", "", "`file` with the code (required)")
	flags.BoolVar(&raw, "raw", false, "the code is binary instead of base64")
	flags.StringVar(&keyID, "key-id", "", "`id` of the key version (default: try each, newest first)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(o.check(cmd), required(cmd, code, "--mac FILE"), oneStdin(cmd, code, args)); err != nil {
			return err
		}
		req := wire.MACVerifyRequest{KeyID: keyID}
		var err error
		if req.MAC, err = a.encoded(cmd.Context(), code, "authentication code", raw); err != nil {
			return err
		}
		if err := a.fill(cmd.Context(), args, &o.req.Message, field{&o.req.Customization, &o.customization}); err != nil {
			return err
		}
		req.MACRequest = o.req
		return a.judge(cmd.Context(), "authentication code", func(ctx context.Context, c *client.Client) (wire.VerifyResponse, error) {
			return c.VerifyMAC(ctx, req)
		})
	}
	return cmd
}
