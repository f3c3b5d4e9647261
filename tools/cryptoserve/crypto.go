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

func (a *app) encrypt(ctx context.Context, o cryptoOptions, args []string) error {
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
	plaintext, err := a.input(ctx, args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout) // the input may come from a person
	defer cancel()
	answer, err := c.Encrypt(ctx, wire.EncryptRequest{Plaintext: plaintext, Context: o.context, AssociatedData: aad})
	if err != nil {
		return err
	}
	for _, warning := range answer.Warnings {
		a.note("the server warns: %s", printable(warning))
	}
	switch {
	case a.output == outputJSON:
		err = writeJSON(out, answer)
	case o.raw:
		_, err = out.Write(answer.Ciphertext)
	default:
		_, err = fmt.Fprintln(out, base64.StdEncoding.EncodeToString(answer.Ciphertext))
	}
	if err != nil {
		return fmt.Errorf("write the ciphertext: %w", withoutPath(err))
	}
	return out.Commit()
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
	ciphertext, err := a.input(ctx, args)
	if err != nil {
		return err
	}
	if !o.raw {
		if ciphertext, err = decodeText(ciphertext); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout) // the input may come from a person
	defer cancel()
	answer, err := c.Decrypt(ctx, wire.DecryptRequest{Ciphertext: ciphertext, Context: o.context, AssociatedData: aad})
	if err != nil {
		return err
	}
	if answer.Rewrap {
		a.note("this ciphertext is under an older key version; encrypt the data again to move it to the present one")
	}
	if a.output == outputJSON {
		err = writeJSON(out, answer)
	} else {
		_, err = out.Write(answer.Plaintext)
	}
	if err != nil {
		return fmt.Errorf("write the plaintext: %w", withoutPath(err))
	}
	return out.Commit()
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
