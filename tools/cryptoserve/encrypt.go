package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

const (
	// frameBytes is the largest input that becomes one frame; larger ones become streams.
	frameBytes = 8 << 20
	// requestBytes is the largest plaintext that goes into one request: 16 MiB of JSON, less a third for base64.
	requestBytes = 11 << 20
)

// cryptoOptions are the options that encrypt and decrypt share.
type cryptoOptions struct {
	resultOption

	context string
	aad     bytesOption
	quiet   bool
	// For encrypting one frame: what is asked for instead of the context's own algorithm.
	algorithm, usage string
}

func (o *cryptoOptions) register(cmd *cobra.Command, rawUsage string) {
	flags := cmd.Flags()
	flags.StringVar(&o.context, "context", "", "`name` of the context (required)")
	o.aad.register(cmd, "aad", "associated data", "; decrypt needs the same as encrypt")
	o.registerOut(cmd)
	flags.BoolVar(&o.raw, "raw", false, rawUsage)
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
}

// check finds what is wrong with the options before anything is read or sent.
func (o *cryptoOptions) check(cmd *cobra.Command) error {
	if o.context == "" {
		return wrongUse(cmd, "no context is named: add --context NAME")
	}
	return o.aad.check(cmd)
}

// job is what encrypt and decrypt have ready before they ask the server.
type job struct {
	client *client.Client
	aad    []byte
	out    sink
	input  *material
}

func (a *app) newJob(ctx context.Context, o *cryptoOptions, args []string, limit int64) (_ *job, err error) {
	var j job
	if j.client, err = a.client(true); err != nil {
		return nil, err
	}
	if j.aad, err = o.aad.value(); err != nil {
		return nil, err
	}
	if j.out, err = a.openSink(o.out); err != nil {
		return nil, err
	}
	if j.input, err = a.open(ctx, args, limit); err != nil {
		j.out.Discard()
		return nil, err
	}
	return &j, nil
}

func (j *job) close() {
	j.out.Discard()
	j.input.close()
}

// copyStream writes a stream to the output, commits it when it is whole, and shows how far it is.
func (a *app) copyStream(j *job, s *client.Stream, what string, quiet bool) error {
	size := s.Length
	if size < 0 {
		size = j.input.size
	}
	bar := a.newMeter(quiet, what, size)
	_, err := io.Copy(io.MultiWriter(j.out, bar), s)
	bar.end()
	if err == nil {
		return j.out.Commit()
	}
	if held, ok := j.out.(*streamSink); ok && held.began {
		return fmt.Errorf("what was written is not the whole: %w", withoutPath(err))
	}
	return fmt.Errorf("nothing was written: %w", withoutPath(err))
}

func (a *app) encryptCommand() *cobra.Command {
	var o cryptoOptions
	var stream bool
	cmd := &cobra.Command{
		Use:   "encrypt --context NAME [FILE]",
		Short: "Encrypt a file or standard input",
		Long: `Encrypt FILE, or standard input if there is none or it is "-", in a context.

An input of up to 8 MiB becomes one ciphertext frame: a line of base64, or with --raw
the frame itself. With --output json it is the server's whole answer, with algorithm
and key id.

A larger input, and any with --stream, becomes a stream. It is binary, may have any
size and takes little memory. decrypt tells the forms apart by itself. With --out the
file appears when all of it is there; on standard output only exit code 0 says that
nothing is missing. --timeout then bounds how long the server may do nothing.

Contexts whose key is a pair (hybrid algorithms) make no streams: up to 11 MiB become
one frame instead, unless --stream asks for a stream.`,
		Example: `  cryptoserve encrypt --context user-pii letter.txt -o letter.enc
  tar c folder | cryptoserve encrypt --context general --stream > folder.tar.enc
  cryptoserve encrypt --context payment-data --aad order-17 < card.txt > card.enc`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd, "write the binary frame instead of base64")
	cmd.Flags().BoolVar(&stream, "stream", false, "make a stream, however small the input is")
	cmd.Flags().StringVar(&o.algorithm, "algorithm", "", "`name` of the algorithm to use instead of the context's own, if its policy allows it")
	cmd.Flags().StringVar(&o.usage, "usage", "", "what the data is for: `at_rest`, in_transit, in_use or streaming")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(o.check(cmd), o.resultOption.check(a, cmd)); err != nil {
			return err
		}
		if stream && a.output == outputJSON {
			return wrongUse(cmd, "--stream and --output json cannot be used together")
		}
		if stream && (o.algorithm != "" || o.usage != "") {
			return wrongUse(cmd, "a stream is always AES-256-GCM: leave --algorithm and --usage away")
		}
		j, err := a.newJob(cmd.Context(), &o, args, requestBytes)
		if err != nil {
			return err
		}
		defer j.close()
		if !stream && j.input.whole && len(j.input.head) <= frameBytes {
			return a.encryptFrame(cmd.Context(), j, &o)
		}
		return a.encryptStream(cmd, j, &o, stream)
	}
	return cmd
}

func (a *app) encryptFrame(ctx context.Context, j *job, o *cryptoOptions) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	answer, err := j.client.Encrypt(ctx, wire.EncryptRequest{
		Plaintext: j.input.head, Context: o.context, AssociatedData: j.aad, Algorithm: o.algorithm, Usage: o.usage,
	})
	if err != nil {
		return err
	}
	a.warn(answer.Warnings)
	return a.show(j.out, answer, func(w io.Writer) error {
		_, err := w.Write(o.encode(answer.Ciphertext))
		return err
	})
}

func (a *app) encryptStream(cmd *cobra.Command, j *job, o *cryptoOptions, asked bool) error {
	if a.output == outputJSON {
		return wrongUse(cmd, "an input of more than 8 MiB becomes a stream, which has no JSON form: leave --output json away")
	}
	if o.algorithm != "" || o.usage != "" {
		return wrongUse(cmd, "an input of more than 8 MiB becomes a stream, which is always AES-256-GCM: leave --algorithm and --usage away")
	}
	if o.out == "" && terminal(a.stdout) {
		return wrongUse(cmd, "the result is a binary stream, which is not for a terminal: add --out FILE")
	}
	src, err := j.input.reader()
	if err != nil {
		return fmt.Errorf("read the input: %w", err)
	}
	s, err := j.client.EncryptStream(cmd.Context(), o.context, j.aad, src)
	if code(err) == "algorithm-disallowed" {
		if !asked && j.input.whole {
			return a.encryptFrame(cmd.Context(), j, o)
		}
		hint := "contexts whose key is a pair make no streams: choose another context, or encrypt parts of at most 11 MiB"
		if j.input.whole {
			hint = "contexts whose key is a pair make no streams: leave --stream away, or choose another context"
		}
		return &hintError{err: err, hint: hint}
	}
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the copy tells
	a.warn(s.Warnings)
	return a.copyStream(j, s, "encrypting", o.quiet)
}

// code returns the code of a problem that the server sent, empty for any other error.
func code(err error) string {
	var problem *client.Error
	if errors.As(err, &problem) {
		return problem.Code
	}
	return ""
}
