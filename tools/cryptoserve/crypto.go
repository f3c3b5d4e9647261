package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// cryptoOptions are the options that encrypt and decrypt share.
type cryptoOptions struct {
	context string
	aad     string
	aadFile string
	out     string
	raw     bool
}

func (o *cryptoOptions) register(cmd *cobra.Command, rawUsage string) {
	flags := cmd.Flags()
	flags.StringVar(&o.context, "context", "", "`name` of the context (required)")
	flags.StringVar(&o.aad, "aad", "", "associated data as `text`; decrypt needs the same as encrypt")
	flags.StringVar(&o.aadFile, "aad-file", "", "associated data from a `file`")
	flags.StringVarP(&o.out, "out", "o", "", "write the result to a `file` (mode 0600, replaced in one step) instead of standard output")
	flags.BoolVar(&o.raw, "raw", false, rawUsage)
}

// check finds what is wrong with the options before anything is read or sent.
func (o *cryptoOptions) check(cmd *cobra.Command) error {
	if o.context == "" {
		return &usageError{err: errors.New("no context is named: add --context NAME"), command: cmd.CommandPath()}
	}
	if cmd.Flags().Changed("aad") && cmd.Flags().Changed("aad-file") {
		return &usageError{err: errors.New("--aad and --aad-file cannot be used together"), command: cmd.CommandPath()}
	}
	return nil
}

func (o *cryptoOptions) associatedData() ([]byte, error) {
	if o.aadFile == "" {
		return []byte(o.aad), nil
	}
	data, err := readFile(o.aadFile, inputBytes)
	if err != nil {
		return nil, fmt.Errorf("read the associated data from %s: %w", o.aadFile, err)
	}
	return data, nil
}

func (a *app) encryptCommand() *cobra.Command {
	var o cryptoOptions
	cmd := &cobra.Command{
		Use:   "encrypt --context NAME [FILE]",
		Short: "Encrypt a file or standard input",
		Long: `Encrypt FILE, or standard input if there is none or it is "-", in a context.

The result is one line of base64, or with --raw the ciphertext frame itself.
With --output json it is the server's whole answer, with algorithm and key id.`,
		Example: `  cryptoserve encrypt --context user-pii letter.txt -o letter.enc
  tar c folder | cryptoserve encrypt --context general --raw > folder.tar.enc
  cryptoserve encrypt --context payment-data --aad order-17 < card.txt > card.enc`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd, "write the binary frame instead of base64")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		if o.raw && a.output == outputJSON {
			return &usageError{err: errors.New("--raw and --output json cannot be used together"), command: cmd.CommandPath()}
		}
		return a.encrypt(cmd.Context(), o, args)
	}
	return cmd
}

// operation asks the server for one input. It returns the whole answer, and the result in it as a file gets it.
type operation func(ctx context.Context, c *client.Client, input, associatedData []byte) (answer any, result []byte, err error)

// process does what encrypt and decrypt share: it reads the input, has the operation done and writes the result.
func (a *app) process(ctx context.Context, o cryptoOptions, args []string, operate operation) error {
	c, err := a.client(true)
	if err != nil {
		return err
	}
	aad, err := o.associatedData()
	if err != nil {
		return err
	}
	out, err := a.openSink(o.out)
	if err != nil {
		return err
	}
	defer out.Discard()
	input, err := a.input(ctx, args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout) // the input may come from a person
	defer cancel()
	answer, result, err := operate(ctx, c, input, aad)
	if err != nil {
		return err
	}
	if a.output == outputJSON {
		err = writeJSON(out, answer)
	} else {
		_, err = out.Write(result)
	}
	if err != nil {
		return fmt.Errorf("write the result: %w", withoutPath(err))
	}
	return out.Commit()
}

func (a *app) encrypt(ctx context.Context, o cryptoOptions, args []string) error {
	return a.process(ctx, o, args, func(ctx context.Context, c *client.Client, plaintext, aad []byte) (any, []byte, error) {
		answer, err := c.Encrypt(ctx, wire.EncryptRequest{Plaintext: plaintext, Context: o.context, AssociatedData: aad})
		if err != nil {
			return nil, nil, err
		}
		for _, warning := range answer.Warnings {
			a.note("the server warns: %s", printable(warning))
		}
		if o.raw {
			return answer, answer.Ciphertext, nil
		}
		return answer, append(base64.StdEncoding.AppendEncode(nil, answer.Ciphertext), '\n'), nil
	})
}

func (a *app) decryptCommand() *cobra.Command {
	var o cryptoOptions
	cmd := &cobra.Command{
		Use:   "decrypt --context NAME [FILE]",
		Short: "Decrypt a file or standard input",
		Long: `Decrypt FILE, or standard input if there is none or it is "-".

The input is base64 as encrypt writes it, line breaks allowed, or with --raw the
ciphertext frame itself. The result is the plaintext, byte for byte. With --output
json it is the server's whole answer, with the plaintext in base64.`,
		Example: `  cryptoserve decrypt --context user-pii letter.enc -o letter.txt
  cryptoserve decrypt --context general --raw folder.tar.enc | tar x
  cryptoserve decrypt --context payment-data --aad order-17 < card.enc`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd, "read the binary frame instead of base64")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		return a.decrypt(cmd.Context(), o, args)
	}
	return cmd
}

func (a *app) decrypt(ctx context.Context, o cryptoOptions, args []string) error {
	return a.process(ctx, o, args, func(ctx context.Context, c *client.Client, ciphertext, aad []byte) (any, []byte, error) {
		if !o.raw {
			var err error
			if ciphertext, err = decodeText(ciphertext); err != nil {
				return nil, nil, err
			}
		}
		answer, err := c.Decrypt(ctx, wire.DecryptRequest{Ciphertext: ciphertext, Context: o.context, AssociatedData: aad})
		if err != nil {
			return nil, nil, err
		}
		if answer.Rewrap {
			a.note("this ciphertext is under an older key version; encrypt the data again to move it to the present one")
		}
		return answer, answer.Plaintext, nil
	})
}

// decodeText decodes base64 and ignores blanks and line breaks in it.
func decodeText(text []byte) ([]byte, error) {
	packed := bytes.Join(bytes.Fields(text), nil)
	if len(packed) == 0 {
		return nil, &hintError{err: errors.New("the input is empty"), hint: "give the ciphertext that encrypt wrote"}
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(packed)))
	n, err := base64.StdEncoding.Strict().Decode(data, packed)
	if err != nil {
		return nil, &hintError{
			err:  errors.New("the input is not base64"),
			hint: "add --raw if it is a binary ciphertext, and check that it is complete",
		}
	}
	return data[:n], nil
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
