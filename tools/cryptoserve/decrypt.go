package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

func (a *app) decryptCommand() *cobra.Command {
	var o cryptoOptions
	var span string
	cmd := &cobra.Command{
		Use:   "decrypt --context NAME [FILE]",
		Short: "Decrypt a file or standard input",
		Long: `Decrypt FILE, or standard input if there is none or it is "-".

The input is what encrypt wrote: base64, line breaks allowed, or a binary frame or
stream. Its first bytes tell which; --raw says that it is binary in any case. The
result is the plaintext, byte for byte. With --output json it is the key id and the
plaintext in base64.

A binary input may have any size and takes little memory. With --out the file appears
when all of it is there and authentic; a stream that is cut leaves no file. On standard
output a plaintext of more than 8 MiB begins to appear before its end is known: each
byte is authentic, but only exit code 0 says that nothing is missing (in a shell, set
-o pipefail).

--range A-B gives the bytes A to B of the plaintext, counted from 0 and both included,
A- all from A. It says nothing about what follows the range.`,
		Example: `  cryptoserve decrypt --context user-pii letter.enc -o letter.txt
  cryptoserve decrypt --context general folder.tar.enc | tar x
  cryptoserve decrypt --context general --range 0-1023 film.enc -o beginning
  cryptoserve decrypt --context payment-data --aad order-17 < card.enc`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
	}
	o.register(cmd, "the input is binary, whatever its first bytes look like")
	cmd.Flags().StringVar(&span, "range", "", "give only the bytes `A-B` of the plaintext")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		part, err := parseRange(span)
		if err != nil {
			return wrongUse(cmd, "%w", err)
		}
		j, err := a.newJob(cmd.Context(), &o, args, inputBytes)
		if err != nil {
			return err
		}
		defer j.close()
		return a.decrypt(cmd.Context(), j, &o, part)
	}
	return cmd
}

// byteRange is the bytes first to last of a plaintext, last -1 for its end. A nil one is all of it.
type byteRange struct{ first, last int64 }

func parseRange(s string) (*byteRange, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // all of it
	}
	from, to, dash := strings.Cut(s, "-")
	first, err := strconv.ParseUint(from, 10, 62)
	last := uint64(0)
	if err == nil && to != "" {
		last, err = strconv.ParseUint(to, 10, 62)
	}
	switch {
	case err != nil || !dash:
		return nil, errors.New("--range must be A-B or A-, with the numbers of bytes counted from 0")
	case to == "":
		return &byteRange{int64(first), -1}, nil
	case last < first:
		return nil, errors.New("--range must not end before it begins")
	default:
		return &byteRange{int64(first), int64(last)}, nil
	}
}

// binary reports whether an input is a ciphertext frame or stream itself: the length of its header in two bytes, and a header
// of JSON that begins with the version.
func binary(head []byte) bool { return len(head) > 2 && bytes.HasPrefix(head[2:], []byte(`{"v":`)) }

func (a *app) decrypt(ctx context.Context, j *job, o *cryptoOptions, part *byteRange) error {
	if o.raw || binary(j.input.head) {
		if part != nil && j.input.size < 0 {
			return &hintError{
				err:  errors.New("a range of a large ciphertext cannot be taken from a pipe, for where it ends is not known"),
				hint: "name a FILE",
			}
		}
		src, err := j.input.reader()
		if err != nil {
			return fmt.Errorf("read the input: %w", err)
		}
		return a.decryptStream(ctx, j, o, src, part)
	}
	if !j.input.whole {
		return &hintError{
			err:  fmt.Errorf("the input is no binary ciphertext, and as base64 it has more than the %d bytes allowed", inputBytes),
			hint: "check that it is what encrypt wrote; large data is encrypted as a stream",
		}
	}
	ciphertext, err := decodeText(j.input.head)
	if err != nil {
		return err
	}
	if part != nil {
		return a.decryptStream(ctx, j, o, bytes.NewReader(ciphertext), part)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	answer, err := j.client.Decrypt(ctx, wire.DecryptRequest{
		Ciphertext: ciphertext, Context: o.context, AssociatedData: j.aad,
	})
	if err != nil {
		return err
	}
	return a.showPlaintext(j, answer)
}

func (a *app) decryptStream(ctx context.Context, j *job, o *cryptoOptions, src io.Reader, part *byteRange) error {
	s, err := openPlaintext(ctx, j, o.context, src, part)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the copy tells
	if a.output != outputJSON {
		a.noteRewrap(s.Rewrap)
		return a.copyStream(j, s, "decrypting", o.quiet)
	}
	plaintext, err := readAtMost(s, inputBytes)
	if err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	return a.showPlaintext(j, wire.DecryptResponse{Plaintext: plaintext, KeyID: s.KeyID, Rewrap: s.Rewrap})
}

func openPlaintext(ctx context.Context, j *job, name string, src io.Reader, part *byteRange) (*client.Stream, error) {
	if part == nil {
		return j.client.DecryptStream(ctx, name, j.aad, src)
	}
	return j.client.DecryptRange(ctx, name, j.aad, src, part.first, part.last)
}

func (a *app) showPlaintext(j *job, answer wire.DecryptResponse) error {
	a.noteRewrap(answer.Rewrap)
	return a.show(j.out, answer, func(w io.Writer) error {
		_, err := w.Write(answer.Plaintext)
		return err
	})
}

func (a *app) noteRewrap(older bool) {
	if older {
		a.note("this ciphertext is under an older key version; rewrap or encrypt the data again to move it to the present one")
	}
}
