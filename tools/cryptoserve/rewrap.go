package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

func (a *app) rewrapCommand() *cobra.Command {
	var o batchOptions
	var aad bytesOption
	var keep bool
	cmd := &cobra.Command{
		Use:   "rewrap --context NAME [FILE]",
		Short: "Move ciphertexts to the present key version",
		Long: `Encrypt anew, under the present key version of a context, what the ciphertexts in FILE or
standard input hold. The plaintexts do not leave the appliance.

Each line is one ciphertext in base64, and the output has a line for each. Or the input
is one binary frame, and the output another. Streams are not taken: decrypt and encrypt
those.

If a line cannot be rewrapped, nothing is written and the exit code is 1. With
--keep-failed such lines stay as they are, and the others are written.`,
		Example: `  cryptoserve rewrap --context user-pii column.enc -o column.new
  cryptoserve rewrap --context user-pii letter.enc -o letter.enc`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	aad.register(cmd, "aad", "associated data", " of every ciphertext")
	cmd.Flags().BoolVar(&keep, "keep-failed", false, "write lines that cannot be rewrapped as they are")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := firstError(required(cmd, o.context, "--context NAME"), aad.check(cmd)); err != nil {
			return err
		}
		if a.output == outputJSON {
			return wrongUse(cmd, "rewrap has no --output json: its result is ciphertexts")
		}
		c, err := a.client(true)
		if err != nil {
			return err
		}
		associated, err := aad.value()
		if err != nil {
			return err
		}
		r := &rewrapping{app: a, client: c, context: o.context, aad: associated, keep: keep}
		return r.run(cmd.Context(), &o, args)
	}
	return cmd
}

// rewrapping is one run of rewrap.
type rewrapping struct {
	app     *app
	client  *client.Client
	context string
	aad     []byte
	keep    bool

	out    sink
	count  tally
	failed []string // what to tell about the first failures
}

// shownFailures is how many failed lines are told about.
const shownFailures = 10

func (r *rewrapping) run(ctx context.Context, o *batchOptions, args []string) error {
	a := r.app
	out, err := a.openSink(o.out)
	if err != nil {
		return err
	}
	defer out.Discard()
	r.out = out
	if len(args) > 0 && args[0] != "-" {
		if done, err := r.frame(ctx, args[0]); done || err != nil {
			return err
		}
	}
	bar := a.newMeter(o.quiet, "rewrapping", -1)
	err = a.lines(ctx, args, bar, func(first int, group [][]byte) error { return r.group(ctx, first, group) })
	bar.end()
	if err != nil {
		return err
	}
	for _, line := range r.failed {
		a.note("%s", line)
	}
	if more := r.count.failed - len(r.failed); more > 0 {
		a.note("and %d more", more)
	}
	if r.count.failed > 0 && !r.keep {
		return &hintError{
			err:  fmt.Errorf("nothing was written: %d of %d lines failed", r.count.failed, r.count.failed+r.count.succeeded),
			hint: "mend or take out those lines, or add --keep-failed",
		}
	}
	if err := r.out.Commit(); err != nil {
		return err
	}
	if r.count.failed > 0 {
		return fmt.Errorf("%d of %d lines failed and are as they were", r.count.failed, r.count.failed+r.count.succeeded)
	}
	return nil
}

// frame rewraps a file that is one binary frame, and reports whether it was one.
func (r *rewrapping) frame(ctx context.Context, name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, withoutPath(err))
	}
	defer func() { _ = f.Close() }() // only read
	head := make([]byte, headBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, fmt.Errorf("read %s: %w", name, withoutPath(err))
	}
	if !binary(head[:n]) {
		return false, nil
	}
	rest, err := readAtMost(f, requestBytes)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.app.timeout)
	defer cancel()
	answer, err := r.client.Rewrap(ctx, wire.RewrapRequest{
		Ciphertext: append(head[:n:n], rest...), Context: r.context, AssociatedData: r.aad,
	})
	if err != nil {
		return false, err
	}
	r.app.warn(answer.Warnings)
	return true, r.app.show(r.out, answer, writing(answer.Ciphertext))
}

// group rewraps some lines and writes what becomes of them. Empty lines stay.
func (r *rewrapping) group(ctx context.Context, first int, group [][]byte) error {
	req := wire.BatchDecryptRequest{Context: r.context}
	bad := map[int]string{}
	for i, line := range group {
		text := bytes.TrimSpace(line)
		if len(text) == 0 {
			continue
		}
		frame, err := base64.StdEncoding.Strict().DecodeString(string(text))
		if err != nil {
			bad[i] = "it is not base64"
			continue
		}
		req.Items = append(req.Items, wire.BatchDecryptItem{Ciphertext: frame, AssociatedData: r.aad})
	}
	var answer wire.BatchEncryptResponse
	if len(req.Items) > 0 {
		ctx, cancel := context.WithTimeout(ctx, r.app.timeout)
		defer cancel()
		var err error
		if answer, err = r.client.RewrapBatch(ctx, req); err != nil {
			return fmt.Errorf("lines from %d: %w", first, err)
		}
		r.app.warn(answer.Warnings)
	}
	next := 0
	for i, line := range group {
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case bad[i] != "":
			r.fail(first+i, bad[i])
		default:
			result := answer.Results[next]
			next++
			if result.Error != nil {
				r.fail(first+i, fmt.Sprintf("%s (%s)", printable(result.Error.Detail), printable(result.Error.Code)))
				break
			}
			r.count.succeeded++
			line = base64.StdEncoding.AppendEncode(nil, result.Ciphertext)
		}
		if _, err := r.out.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write the result: %w", withoutPath(err))
		}
	}
	return nil
}

func (r *rewrapping) fail(number int, why string) {
	r.count.failed++
	if len(r.failed) < shownFailures {
		r.failed = append(r.failed, fmt.Sprintf("line %d: %s", number, why))
	}
}
