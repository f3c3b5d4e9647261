package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"cryptoserve/api/wire"
)

// credentialsBytes is the longest file of credentials: a CA and a token.
const credentialsBytes = caFileBytes + tokenFileBytes

// credentials are what a login leaves for later commands: specification section 13.2.
type credentials struct {
	Server    string `json:"server"`
	CA        string `json:"ca,omitempty"` // PEM; empty means the system's
	Token     string `json:"token"`
	User      string `json:"user"`
	ExpiresAt string `json:"expires_at"`
}

// home returns the folder of the credentials, empty if there is none to be had.
func (a *app) home() string {
	if dir := a.getenv("CRYPTOSERVE_HOME"); dir != "" {
		return dir
	}
	if dir := a.getenv("HOME"); dir != "" {
		return filepath.Join(dir, ".cryptoserve")
	}
	return ""
}

const credentialsName = "credentials.json"

var errNoHome = &hintError{
	err: errors.New("there is no folder for the credentials"), hint: "set CRYPTOSERVE_HOME to a folder of your own",
}

// saved returns the credentials of the last login; nil when there are none.
func (a *app) saved() (*credentials, error) {
	dir := a.home()
	if dir == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	name := filepath.Join(dir, credentialsName)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is no error
	}
	var data []byte
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, &hintError{
			err: fmt.Errorf("%s is open to others (mode %04o)", name, info.Mode().Perm()), hint: "run 'chmod 600' on it, or log in anew",
		}
	}
	if err == nil {
		data, err = readFile(name, credentialsBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, withoutPath(err))
	}
	defer clear(data)
	var c credentials
	if json.Unmarshal(data, &c) != nil || c.Server == "" || c.Token == "" {
		return nil, &hintError{err: fmt.Errorf("%s holds no credentials", name), hint: "log in anew"}
	}
	return &c, nil
}

// keep stores a new session in the place of the last one. Nobody else can read it.
func (a *app) keep(server, ca string, s wire.SessionResponse) error {
	dir := a.home()
	if dir == "" {
		return errNoHome
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder %s: %w", dir, withoutPath(err))
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // G302: a folder
		return fmt.Errorf("make the folder %s: %w", dir, withoutPath(err))
	}
	out, err := newFileSink(filepath.Join(dir, credentialsName))
	if err != nil {
		return err
	}
	defer out.Discard()
	c := credentials{Server: server, CA: ca, Token: s.Token, User: s.User.Name, ExpiresAt: s.ExpiresAt}
	if err := writeJSON(out, c); err != nil {
		return fmt.Errorf("write the credentials: %w", withoutPath(err))
	}
	return out.Commit()
}

// forget removes the credentials.
func (a *app) forget() error {
	err := os.Remove(filepath.Join(a.home(), credentialsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return withoutPath(err)
}

// namesToken reports whether the command line or the environment name a token.
func (a *app) namesToken() bool {
	return firstOf(a.tokenFile, strings.TrimSpace(a.getenv("CRYPTOSERVE_TOKEN")), a.getenv("CRYPTOSERVE_TOKEN_FILE")) != ""
}

// sameServer reports whether two base URLs are of one server. A token goes to the server that gave it, and to no other.
func sameServer(a, b string) bool {
	x, errX := url.Parse(strings.TrimSuffix(a, "/"))
	y, errY := url.Parse(strings.TrimSuffix(b, "/"))
	return errX == nil && errY == nil && x.Scheme == y.Scheme && strings.EqualFold(x.Host, y.Host)
}
