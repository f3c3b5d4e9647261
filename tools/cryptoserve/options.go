package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
)

// bytesOption is a byte string that comes as --NAME TEXT or, for bytes of any kind, as --NAME-file FILE.
type bytesOption struct{ name, what, text, file string }

func (o *bytesOption) register(cmd *cobra.Command, name, what, more string) {
	o.name, o.what = name, what
	cmd.Flags().StringVar(&o.text, name, "", what+" as `text`"+more)
	cmd.Flags().StringVar(&o.file, name+"-file", "", what+" from a `file`")
}

func (o *bytesOption) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed(o.name) && cmd.Flags().Changed(o.name+"-file") {
		return wrongUse(cmd, "--%s and --%s-file cannot be used together", o.name, o.name)
	}
	return nil
}

func (o *bytesOption) value() ([]byte, error) {
	if o.file == "" {
		return []byte(o.text), nil
	}
	data, err := readFile(o.file, inputBytes)
	if err != nil {
		return nil, fmt.Errorf("read the %s from %s: %w", o.what, o.file, err)
	}
	return data, nil
}

// resultOption says where a byte string goes, and in which form.
type resultOption struct {
	out string
	raw bool
}

func (o *resultOption) register(cmd *cobra.Command) {
	o.registerOut(cmd)
	cmd.Flags().BoolVar(&o.raw, "raw", false, "write the bytes themselves instead of base64")
}

func (o *resultOption) registerOut(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.out, "out", "o", "",
		"write the result to a `file` (mode 0600, replaced in one step) instead of standard output")
}

// check finds what is wrong with the options before anything is read or sent.
func (o *resultOption) check(a *app, cmd *cobra.Command) error {
	if o.raw && a.output == outputJSON {
		return wrongUse(cmd, "--raw and --output json cannot be used together")
	}
	return nil
}

// encode gives bytes the form they are written in.
func (o *resultOption) encode(data []byte) []byte {
	if o.raw {
		return data
	}
	return append(base64.StdEncoding.AppendEncode(nil, data), '\n')
}

// wrongUse is a command line that cannot be carried out; the next step is the command's help.
func wrongUse(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), command: cmd.CommandPath()}
}

// required refuses a command line without an option.
func required(cmd *cobra.Command, value, option string) error {
	if value == "" {
		return wrongUse(cmd, "%s is needed", option)
	}
	return nil
}

// firstError returns the first of some checks that failed.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ask has one request answered within --timeout.
func ask[T any](ctx context.Context, a *app, request func(context.Context, *client.Client) (T, error)) (T, error) {
	c, err := a.client(true)
	if err != nil {
		var none T
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var fenced time.Duration
	answer, err := request(client.WithFence(ctx, &fenced), c)
	if fenced > 0 {
		a.note("no node honours it any more (took %s)", inMilliseconds(fenced))
	}
	return answer, err
}

// inMilliseconds writes a short time as people read it.
func inMilliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}

// inquire asks for something and shows the answer.
func inquire[T any](
	ctx context.Context, a *app, request func(context.Context, *client.Client) (T, error), table func(io.Writer, T) error,
) error {
	answer, err := ask(ctx, a, request)
	if err != nil {
		return err
	}
	return a.show(&streamSink{out: a.stdout}, answer, func(w io.Writer) error { return table(w, answer) })
}

// produce asks for a byte string and writes it. The output is prepared before the server is asked.
func produce[T any](
	ctx context.Context, a *app, o resultOption, request func(context.Context, *client.Client) (T, error),
	result func(T) (value []byte, warnings []string),
) error {
	out, err := a.openSink(o.out)
	if err != nil {
		return err
	}
	defer out.Discard()
	answer, err := ask(ctx, a, request)
	if err != nil {
		return err
	}
	value, warnings := result(answer)
	defer clear(value)
	a.warn(warnings)
	return a.show(out, answer, func(w io.Writer) error {
		_, err := w.Write(o.encode(value))
		return err
	})
}

// show writes an answer, as JSON or as the command has it otherwise, and commits it.
func (a *app) show(out sink, answer any, otherwise func(io.Writer) error) error {
	var err error
	if a.output == outputJSON {
		err = writeJSON(out, answer)
	} else {
		err = otherwise(out)
	}
	if err != nil {
		return fmt.Errorf("write the result: %w", withoutPath(err))
	}
	return out.Commit()
}

func (a *app) warn(warnings []string) {
	for _, warning := range warnings {
		a.note("the server warns: %s", printable(warning))
	}
}

// rows writes names and values in two columns.
func rows(w io.Writer, list ...[2]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range list {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", row[0], printable(row[1])) // Flush tells
	}
	return table.Flush()
}

// columns writes a table with a head. Nothing is written of an empty one but its head.
func columns(w io.Writer, head []string, lines [][]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range append([][]string{head}, lines...) {
		for i, cell := range line {
			end := "\t"
			if i == len(line)-1 {
				end = "\n"
			}
			_, _ = fmt.Fprint(table, printable(cell)+end) // Flush tells
		}
	}
	return table.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// decodeText decodes base64 and ignores blanks and line breaks in it.
func decodeText(text []byte) ([]byte, error) {
	packed := bytes.Join(bytes.Fields(text), nil)
	if len(packed) == 0 {
		return nil, &hintError{err: errors.New("the input is empty"), hint: "give the text that was written for it"}
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(packed)))
	n, err := base64.StdEncoding.Strict().Decode(data, packed)
	if err != nil {
		return nil, &hintError{
			err:  errors.New("the input is not base64"),
			hint: "add --raw if it is binary, and check that it is complete",
		}
	}
	return data[:n], nil
}

// encoded reads a small file that holds base64, or with raw the bytes themselves.
func (a *app) encoded(ctx context.Context, name, what string, raw bool) ([]byte, error) {
	data, err := a.input(ctx, []string{name})
	if err == nil && !raw {
		data, err = decodeText(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return data, nil
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
