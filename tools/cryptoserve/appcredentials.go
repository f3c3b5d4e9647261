package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// appCredentials is the file of an application's tokens: specification section 13.2.
type appCredentials struct {
	AppID        string `json:"app_id"`
	AppName      string `json:"app_name"`
	Environment  string `json:"environment"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
}

// credentialsOption says where tokens of an application go. They are printed if nothing is said.
type credentialsOption struct {
	dir  string
	save bool
}

func (o *credentialsOption) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.dir, "out-dir", "", "write the tokens to APP-ID.json (mode 0600) in a `folder` instead of printing them")
	cmd.Flags().BoolVar(&o.save, "save", false, "the same in ~/.cryptoserve/apps, or apps in the folder of CRYPTOSERVE_HOME")
}

// open gets the file ready before the server is asked, so that no tokens are made that cannot be kept; nil prints them. Its
// name is known when the application is.
func (o *credentialsOption) open(a *app, cmd *cobra.Command) (*fileSink, error) {
	dir := o.dir
	switch {
	case o.dir != "" && o.save:
		return nil, wrongUse(cmd, "--out-dir and --save cannot be used together")
	case o.dir == "" && !o.save:
		return nil, nil
	case o.save:
		if a.home() == "" {
			return nil, errNoHome
		}
		dir = filepath.Join(a.home(), "apps")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder %s: %w", dir, withoutPath(err))
	}
	const others = 0o077
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&others != 0 {
		a.note("others may look into %s; the files in it are for its owner only", dir)
	}
	return newFileSink(filepath.Join(dir, "new.json"))
}

// The form of an application's id, which becomes the name of a file.
var applicationID = regexp.MustCompile(`^app_[a-z0-9-]*_[0-9a-f]{16}$`)

// keepApp writes the tokens to the file, and shows the answer without them.
func (a *app) keepApp(to *fileSink, c appCredentials) error {
	if !applicationID.MatchString(c.AppID) {
		return fmt.Errorf("%w: it names no application", client.ErrAnswer)
	}
	to.name = filepath.Join(filepath.Dir(to.name), c.AppID+".json")
	if err := writeJSON(to, c); err != nil {
		return fmt.Errorf("write %s: %w", to.name, withoutPath(err))
	}
	if err := to.Commit(); err != nil {
		return err
	}
	a.note("the tokens are in %s", to.name)
	return nil
}

func (a *app) appCreateCommand() *cobra.Command {
	var req wire.CreateApplicationRequest
	var to credentialsOption
	var key ownKeyOption
	var grants, encrypts, decrypts []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an application",
		Long: `Make an application and print its tokens, which are not shown again. With --public-key it
signs its own tokens, and with --certificate it needs none: then there are no tokens here.`,
		Example: `  cryptoserve app create shop --team web --environment production --grant user-pii --save
  cryptoserve app create intake --encrypt user-pii --public-key intake.pem`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Team, "team", "", "`name` of the team it belongs to")
	flags.StringVar(&req.Environment, "environment", "", "`name` of where it runs, such as production")
	flags.StringVar(&req.Description, "description", "", "what it is for, as `text`")
	flags.StringSliceVar(&grants, "grant", nil, "`name` of a context that it may use; can be repeated")
	flags.StringSliceVar(&encrypts, "encrypt", nil, "`name` of a context that it may only encrypt in; can be repeated")
	flags.StringSliceVar(&decrypts, "decrypt", nil, "`name` of a context that it may only decrypt in; can be repeated")
	key.register(cmd)
	to.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Name = args[0]
		for _, name := range grants {
			req.Grants = append(req.Grants, wire.Grant{Context: name, Encrypt: true, Decrypt: true})
		}
		for _, name := range encrypts {
			req.Grants = append(req.Grants, wire.Grant{Context: name, Encrypt: true})
		}
		for _, name := range decrypts {
			req.Grants = append(req.Grants, wire.Grant{Context: name, Decrypt: true})
		}
		var err error
		if req.ApplicationKey, err = key.read(); err != nil {
			return err
		}
		return a.issue(cmd, &to, func(ctx context.Context, c *client.Client) (wire.IssuedApplication, error) {
			return c.CreateApplication(ctx, req)
		})
	}
	return cmd
}

// ownKeyOption is what an application authenticates with that keeps its key itself.
type ownKeyOption struct{ public, certificate string }

func (o *ownKeyOption) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.public, "public-key", "", "`file` with the Ed25519 key that verifies the tokens it signs itself (PEM)")
	cmd.Flags().StringVar(&o.certificate, "certificate", "", "`file` with the client certificate it authenticates with (PEM)")
}

func (o *ownKeyOption) read() (key wire.ApplicationKey, err error) {
	for _, f := range []struct {
		name, what string
		to         *string
	}{{o.public, "public key", &key.PublicKey}, {o.certificate, "certificate", &key.ClientCertificate}} {
		if f.name == "" {
			continue
		}
		text, err := readFile(f.name, caFileBytes)
		if err != nil {
			return key, fmt.Errorf("read the %s from %s: %w", f.what, f.name, err)
		}
		*f.to = string(text)
	}
	return key, nil
}

// issue asks for an application with its tokens, and prints them or writes them to their file.
func (a *app) issue(
	cmd *cobra.Command, o *credentialsOption, request func(context.Context, *client.Client) (wire.IssuedApplication, error),
) error {
	to, err := o.open(a, cmd)
	if err != nil {
		return err
	}
	if to != nil {
		defer to.Discard()
	}
	answer, err := ask(cmd.Context(), a, request)
	if err != nil {
		return err
	}
	switch p := answer.Application; {
	case to != nil && answer.AccessToken != "":
		err = a.keepApp(to, appCredentials{
			AppID: p.ID, AppName: p.Name, Environment: p.Environment, AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken,
		})
		answer.AccessToken, answer.RefreshToken = "", ""
	case to != nil:
		a.note("there are no tokens: the application is disabled, or keeps its key itself")
	}
	if err != nil {
		return err
	}
	return a.show(&streamSink{out: a.stdout}, answer, func(w io.Writer) error {
		return rows(w, append(applicationRows(answer.Application), tokenRows(answer.AccessToken, answer.RefreshToken)...)...)
	})
}

func tokenRows(access, refresh string) [][2]string {
	if access == "" {
		return nil
	}
	return [][2]string{{"access token", access}, {"refresh token", refresh}}
}

func (a *app) appRotateCommand() *cobra.Command {
	var to credentialsOption
	var key ownKeyOption
	cmd := &cobra.Command{
		Use:   "rotate APP-ID",
		Short: "Give an application another key and new tokens",
		Long: `Give an application another key, so that all tokens that it has end at once, and print new
ones. An application that keeps its key itself needs --public-key or --certificate.`,
		Example: "  cryptoserve app rotate app_shop_0123456789abcdef --save",
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	key.register(cmd)
	to.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		own, err := key.read()
		if err != nil {
			return err
		}
		return a.issue(cmd, &to, func(ctx context.Context, c *client.Client) (wire.IssuedApplication, error) {
			return c.RotateTokens(ctx, args[0], own)
		})
	}
	return cmd
}

func (a *app) appRegisterCommand() *cobra.Command {
	var req wire.RegisterRequest
	var o credentialsOption
	cmd := &cobra.Command{
		Use:   "register NAME",
		Short: "Find or make the application that a program of yours is",
		Long: `Find the application that you have made under this name in the environment, or make it, and
print new tokens. The tokens that it has go on working. One that exists gets no further
contexts.`,
		Example: `  cryptoserve app register my-service --context user-pii --save`,
		Args:    usageArgs(cobra.ExactArgs(1)),
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Team, "team", "", "`name` of the team it belongs to (default \"default\")")
	flags.StringVar(&req.Environment, "environment", "", "`name` of where it runs (default \"development\")")
	flags.StringSliceVar(&req.Contexts, "context", nil, "`name` of a context that it uses; can be repeated (default \"default\")")
	flags.StringVar(&req.Description, "description", "", "what it is for, as `text`")
	o.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.AppName = args[0]
		to, err := o.open(a, cmd)
		if err != nil {
			return err
		}
		if to != nil {
			defer to.Discard()
		}
		answer, err := ask(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.RegisterResponse, error) {
			return c.Register(ctx, req)
		})
		if err != nil {
			return err
		}
		a.note("%s", printable(answer.Message))
		if to != nil {
			if err := a.keepApp(to, appCredentials{
				AppID: answer.AppID, AppName: answer.AppName, Environment: answer.Environment, AccessToken: answer.AccessToken,
				RefreshToken: answer.RefreshToken,
			}); err != nil {
				return err
			}
			answer.AccessToken, answer.RefreshToken = "", ""
		}
		return a.show(&streamSink{out: a.stdout}, answer, func(w io.Writer) error {
			list := [][2]string{{"id", answer.AppID}, {"name", answer.AppName}, {"environment", answer.Environment}, {"new", yesNo(answer.IsNew)}}
			for _, name := range answer.Contexts {
				list = append(list, [2]string{"context", name})
			}
			return rows(w, append(list, tokenRows(answer.AccessToken, answer.RefreshToken)...)...)
		})
	}
	return cmd
}
