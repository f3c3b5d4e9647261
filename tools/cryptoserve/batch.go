package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

const (
	// batchItems and batchBytes bound one request of a batch: the server takes 1,000 items and 16 MiB.
	batchItems = 1000
	batchBytes = 8 << 20
	// lineBytes is the longest line: the largest frame that a request can hold.
	lineBytes = 15 << 20
)

// batchOptions are the options of the commands that go through lines.
type batchOptions struct {
	context, out string
	quiet        bool
}

func (o *batchOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.context, "context", "", "`name` of the context (required)")
	flags.StringVarP(&o.out, "out", "o", "", "write the results to a `file` (mode 0600, replaced in one step) instead of standard output")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
}

// lines goes through the lines of an input in groups that fit into one request. handle gets the number of the group's first
// line, counted from 1.
func (a *app) lines(ctx context.Context, args []string, bar *meter, handle func(first int, group [][]byte) error) error {
	in, name := a.stdin, "standard input"
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return fmt.Errorf("read %s: %w", args[0], withoutPath(err))
		}
		defer func() { _ = f.Close() }() // only read
		in, name = f, args[0]
	}
	scanner := bufio.NewScanner(&stopping{ctx: ctx, r: io.TeeReader(in, bar)})
	scanner.Buffer(make([]byte, 0, 64<<10), lineBytes)
	var group [][]byte
	size, first, number := 0, 1, 0
	for scanner.Scan() {
		number++
		if len(group) == batchItems || len(group) > 0 && size+len(scanner.Bytes()) > batchBytes {
			if err := handle(first, group); err != nil {
				return err
			}
			group, size, first = nil, 0, number
		}
		group = append(group, bytes.Clone(scanner.Bytes()))
		size += len(scanner.Bytes())
	}
	if err := scanner.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("line %d has more than %d bytes", number+1, lineBytes)
		}
		return fmt.Errorf("read %s: %w", name, withoutPath(err))
	}
	if len(group) == 0 {
		return nil
	}
	return handle(first, group)
}

// stopping ends a reader with its context, also while nothing comes.
type stopping struct {
	ctx context.Context //nolint:containedctx // of one command
	r   io.Reader
	buf []byte // of the read under way, which nobody may wait for any more
}

func (s *stopping) Read(p []byte) (int, error) {
	if len(s.buf) < len(p) {
		s.buf = make([]byte, len(p))
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func(buf []byte) {
		n, err := s.r.Read(buf)
		done <- result{n, err}
	}(s.buf[:len(p)])
	select {
	case r := <-done:
		return copy(p, s.buf[:r.n]), r.err
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	}
}

// tally counts what became of the items of all groups.
type tally struct{ succeeded, failed int }

// end says that some items failed. Their results are written all the same.
func (t *tally) end() error {
	if t.failed == 0 {
		return nil
	}
	return &hintError{
		err:  fmt.Errorf("%d of %d items failed", t.failed, t.succeeded+t.failed),
		hint: "the results say which and why; send those again",
	}
}

const batchHelp = `The input has a JSON object on each line, and the output one for each, in the same order:

`

func (a *app) batchCommand() *cobra.Command {
	return a.group("batch", "Encrypt and decrypt many items", a.batchEncryptCommand(), a.batchDecryptCommand())
}

func (a *app) batchEncryptCommand() *cobra.Command {
	var o batchOptions
	cmd := &cobra.Command{
		Use:   "encrypt --context NAME [FILE]",
		Short: "Encrypt a plaintext on each line",
		Long: `Encrypt each item of FILE, or of standard input, in a context.

` + batchHelp + `  in   {"reference":"row 17","plaintext":"BASE64","associated_data":"BASE64"}
  out  {"reference":"row 17","ciphertext":"BASE64","algorithm":"...","key_id":"...",
        "format":4}
       {"reference":"row 18","error":{"code":"...","detail":"..."}}

Only plaintext is needed. Items go to the server up to 1000 at once, any number in all.
The exit code is 1 when an item failed; the others are written all the same.`,
		Example: `  cryptoserve batch encrypt --context user-pii rows.jsonl -o rows.enc.jsonl
  jq -c '{reference: .id, plaintext: (.name | @base64)}' people.json | cryptoserve batch encrypt --context user-pii`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runBatch(cmd, a, &o, args, func(ctx context.Context, c *client.Client, items []wire.BatchEncryptItem) (int, []any, error) {
			answer, err := c.EncryptBatch(ctx, wire.BatchEncryptRequest{Context: o.context, Items: items})
			a.warn(answer.Warnings)
			return answer.Failed, anyOf(answer.Results), err
		})
	}
	return cmd
}

func (a *app) batchDecryptCommand() *cobra.Command {
	var o batchOptions
	cmd := &cobra.Command{
		Use:   "decrypt --context NAME [FILE]",
		Short: "Decrypt a ciphertext on each line",
		Long: `Decrypt each item of FILE, or of standard input, in a context.

` + batchHelp + `  in   {"reference":"row 17","ciphertext":"BASE64","associated_data":"BASE64"}
  out  {"reference":"row 17","plaintext":"BASE64","key_id":"..."}
       {"reference":"row 18","error":{"code":"decrypt-failed","detail":"..."}}

Only ciphertext is needed, so what batch encrypt wrote can be the input. Items go to the
server up to 1000 at once, any number in all. The exit code is 1 when an item failed; the
others are written all the same.`,
		Example: "  cryptoserve batch decrypt --context user-pii rows.enc.jsonl | jq -r '.plaintext | @base64d'",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runBatch(cmd, a, &o, args, func(ctx context.Context, c *client.Client, items []wire.BatchDecryptItem) (int, []any, error) {
			answer, err := c.DecryptBatch(ctx, wire.BatchDecryptRequest{Context: o.context, Items: items})
			results := make([]any, len(answer.Results))
			for i, r := range answer.Results {
				results[i] = r
				if r.Error == nil {
					results[i] = decrypted{Reference: r.Reference, Plaintext: append([]byte{}, r.Plaintext...), KeyID: r.KeyID, Rewrap: r.Rewrap}
				}
			}
			return answer.Failed, results, err
		})
	}
	return cmd
}

// decrypted is a wire.BatchDecryptResult whose plaintext is there also when it is empty.
type decrypted struct {
	Reference string `json:"reference,omitempty"`
	Plaintext []byte `json:"plaintext"`
	KeyID     string `json:"key_id,omitempty"`
	Rewrap    bool   `json:"rewrap,omitempty"`
}

func anyOf[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// runBatch reads items from lines, sends them in groups and writes a line for each result.
func runBatch[T any](
	cmd *cobra.Command, a *app, o *batchOptions, args []string,
	send func(context.Context, *client.Client, []T) (failed int, results []any, err error),
) error {
	if err := required(cmd, o.context, "--context NAME"); err != nil {
		return err
	}
	c, err := a.client(true)
	if err != nil {
		return err
	}
	out, err := a.openSink(o.out)
	if err != nil {
		return err
	}
	defer out.Discard()
	var count tally
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	bar := a.newMeter(o.quiet, "batch", -1)
	err = a.lines(cmd.Context(), args, bar, func(first int, group [][]byte) error {
		items, err := parseItems[T](first, group)
		if err != nil || len(items) == 0 {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
		defer cancel()
		failed, results, err := send(ctx, c, items)
		if err != nil {
			return fmt.Errorf("lines from %d: %w", first, err)
		}
		count.failed += failed
		count.succeeded += len(results) - failed
		for _, result := range results {
			if err := encoder.Encode(result); err != nil {
				return fmt.Errorf("write the result: %w", withoutPath(err))
			}
		}
		return nil
	})
	bar.end()
	if err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	return count.end()
}

// parseItems reads a JSON object from each line and leaves out empty lines. Members that an item does not have are ignored:
// the results of one command are the items of another.
func parseItems[T any](first int, group [][]byte) ([]T, error) {
	var items []T
	for i, line := range group {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var item T
		if err := json.Unmarshal(line, &item); err != nil {
			return nil, &hintError{
				err:  fmt.Errorf("line %d is not a JSON object with its byte strings in base64", first+i),
				hint: "see 'cryptoserve batch encrypt --help' for the form of a line",
			}
		}
		items = append(items, item)
	}
	return items, nil
}
