package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// passwordBytes is the longest password.
const passwordBytes = 4096

const passwordHelp = `The password is asked for on the terminal without showing it, or read from
--password-file or standard input, of which one line break at the end is left out. It
is never an argument, for those can be seen by other users.`

func (a *app) passwordCommand() *cobra.Command {
	return a.group("password", "Hash and verify passwords", a.passwordHashCommand(), a.passwordVerifyCommand())
}

func (a *app) passwordHashCommand() *cobra.Command {
	var algorithm, file string
	var o resultOption
	cmd := &cobra.Command{
		Use:   "hash",
		Short: "Make the string to store for a password",
		Long: `Make the string to store for a password, in the PHC string format.

` + passwordHelp,
		Example: `  cryptoserve password hash
  cryptoserve password hash --algorithm PBKDF2-SHA256 --password-file secret.txt -o stored`,
		Args: usageArgs(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", "", "`name`: Argon2id, scrypt, PBKDF2-SHA256 or PBKDF2-SHA512 (default: the node's)")
	cmd.Flags().StringVar(&file, "password-file", "", "`file` with the password, - for standard input")
	o.registerOut(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := a.openSink(o.out)
		if err != nil {
			return err
		}
		defer out.Discard()
		password, err := a.password(cmd.Context(), file, true)
		if err != nil {
			return err
		}
		answer, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.PasswordHashResponse, error) {
			return c.HashPassword(ctx, wire.PasswordHashRequest{Password: password, Algorithm: algorithm})
		})
		if err != nil {
			return err
		}
		a.warn(answer.Warnings)
		return a.show(out, answer, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, printable(answer.Hash))
			return err
		})
	}
	return cmd
}

func (a *app) passwordVerifyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "verify HASHFILE",
		Short: "Tell whether a password is the one of a stored string",
		Long: `Tell whether a password is the one of the stored string in HASHFILE. The exit code is 0
only when it is, and 1 when it is not.

` + passwordHelp,
		Example: "  cryptoserve password verify stored",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&file, "password-file", "", "`file` with the password, - for standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "-" {
			return wrongUse(cmd, "the stored string is read from a file: standard input is for the password")
		}
		stored, err := readFile(args[0], passwordBytes)
		if err != nil {
			return fmt.Errorf("read the stored string from %s: %w", args[0], err)
		}
		password, err := a.password(cmd.Context(), file, false)
		if err != nil {
			return err
		}
		answer, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.PasswordVerifyResponse, error) {
			return c.VerifyPassword(ctx, wire.PasswordVerifyRequest{Password: password, Hash: string(bytes.TrimSpace(stored))})
		})
		if err != nil {
			return err
		}
		a.warn(answer.Warnings)
		if answer.Valid && answer.NeedsRehash {
			a.note("the stored string is of an older kind: make it anew with 'cryptoserve password hash'")
		}
		if answer.Valid || a.output == outputJSON {
			err = a.show(&streamSink{out: a.stdout}, answer, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "valid (%s)\n", printable(answer.Algorithm))
				return err
			})
		}
		if err == nil && !answer.Valid {
			err = &hintError{err: fmt.Errorf("the password is %w", errInvalid), hint: "try again, or check that the stored string is the right one"}
		}
		return err
	}
	return cmd
}

// password asks a person, or reads a file or standard input.
func (a *app) password(ctx context.Context, file string, repeat bool) (string, error) {
	if file == "" && terminal(a.stdin) {
		return a.promptPassword(ctx, repeat)
	}
	if file == "" {
		file = "-"
	}
	data, err := a.secretFile(ctx, file, passwordBytes)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	defer clear(data)
	return string(withoutLineBreak(data)), nil
}

// withoutLineBreak leaves out one line break at the end.
func withoutLineBreak(data []byte) []byte {
	if line, found := bytes.CutSuffix(data, []byte("\n")); found {
		return bytes.TrimSuffix(line, []byte("\r"))
	}
	return data
}

func (a *app) promptPassword(ctx context.Context, repeat bool) (string, error) {
	first, err := a.prompt(ctx, "Password: ")
	if err != nil || !repeat {
		return first, err
	}
	second, err := a.prompt(ctx, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", &hintError{err: errors.New("the two passwords differ"), hint: "try again"}
	}
	return first, nil
}

// prompt reads a line from the terminal without showing it. An interrupt ends it, and the terminal shows letters again.
func (a *app) prompt(ctx context.Context, text string) (string, error) {
	f, ok := a.stdin.(*os.File)
	if !ok {
		return "", errors.New("standard input is no terminal")
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	_, _ = fmt.Fprint(a.stderr, text) // who does not see it can type all the same
	type result struct {
		line []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		done <- result{line, err}
	}()
	select {
	case r := <-done:
		_, _ = fmt.Fprintln(a.stderr)
		defer clear(r.line)
		switch {
		case r.err != nil:
			return "", fmt.Errorf("read the password: %w", r.err)
		case len(r.line) > passwordBytes:
			return "", fmt.Errorf("read the password: %w", tooMuch(passwordBytes))
		}
		return string(r.line), nil
	case <-ctx.Done():
		_ = term.Restore(fd, before) // nothing better can be done
		_, _ = fmt.Fprintln(a.stderr)
		return "", fmt.Errorf("read the password: %w", context.Cause(ctx))
	}
}
