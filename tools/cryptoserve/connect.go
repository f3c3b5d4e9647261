package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"cryptoserve/api/client"
)

const (
	tokenFileBytes = 64 << 10
	caFileBytes    = 1 << 20
)

// connection is which server is meant, whom its certificate is checked against, and which token it gets.
type connection struct {
	server string
	ca     []byte // PEM; nil means the system's
	token  client.StaticToken
	saved  bool // the token is that of the last login
}

// connection finds it in the options, the environment and the credentials of the last login, in this order. The saved token and
// CA are for the saved server only.
func (a *app) connection(withToken bool) (connection, error) {
	c := connection{server: firstOf(a.server, a.getenv("CRYPTOSERVE_SERVER"))}
	caFile := firstOf(a.caFile, a.getenv("CRYPTOSERVE_CA"))
	var saved *credentials
	if c.server == "" || caFile == "" || withToken && !a.namesToken() {
		var err error
		if saved, err = a.saved(); err != nil {
			return c, err
		}
	}
	if c.server == "" && saved != nil {
		c.server = saved.Server
	}
	if c.server == "" {
		return c, &hintError{
			err:  usagef("no server is named"),
			hint: "add --server https://HOST:8443, or set CRYPTOSERVE_SERVER",
		}
	}
	if saved != nil && !sameServer(saved.Server, c.server) {
		saved = nil
	}
	switch {
	case caFile != "":
		pem, err := readFile(caFile, caFileBytes)
		if err != nil {
			return c, fmt.Errorf("read the CA file %s: %w", caFile, err)
		}
		c.ca = pem
	case saved != nil && saved.CA != "":
		c.ca = []byte(saved.CA)
	}
	if !withToken {
		return c, nil
	}
	if saved != nil && !a.namesToken() {
		c.token, c.saved = client.StaticToken(saved.Token), true
		return c, nil
	}
	var err error
	c.token, err = a.token()
	return c, err
}

// client returns a client of the server that is meant. Without a token it can only do what needs none.
func (a *app) client(withToken bool) (*client.Client, error) {
	c, err := a.connection(withToken)
	if err != nil {
		return nil, err
	}
	return a.connect(c)
}

func (a *app) connect(to connection) (*client.Client, error) {
	cfg := client.Config{Server: to.server, CA: to.ca, UserAgent: "cryptoserve/" + version, Timeout: a.timeout}
	if to.token != "" {
		cfg.Token = to.token
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, &usageError{err: errors.New(strings.TrimPrefix(err.Error(), "client: "))}
	}
	return c, nil
}

// token finds the access token: --token-file, then CRYPTOSERVE_TOKEN, then CRYPTOSERVE_TOKEN_FILE. No error names the
// file, for it may be a token that was put in the wrong place.
func (a *app) token() (client.StaticToken, error) {
	name, from := a.tokenFile, "--token-file"
	if name == "" {
		if token := strings.TrimSpace(a.getenv("CRYPTOSERVE_TOKEN")); token != "" {
			return client.StaticToken(token), nil
		}
		name, from = a.getenv("CRYPTOSERVE_TOKEN_FILE"), "CRYPTOSERVE_TOKEN_FILE"
	}
	if name == "" {
		return "", client.ErrNoToken
	}
	text, err := readFile(name, tokenFileBytes)
	if err != nil {
		return "", fmt.Errorf("read the file that %s names: %w", from, err)
	}
	token := client.StaticToken(strings.TrimSpace(string(text)))
	if token == "" {
		return "", fmt.Errorf("the file that %s names is empty", from)
	}
	return token, nil
}

// readFile reads a file of at most limit bytes. Its errors do not hold the name.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = f.Close() }() // only read
	return readAtMost(f, limit)
}

// readAtMost reads to the end and fails when there are more than limit bytes.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if int64(len(data)) > limit {
		return nil, tooMuch(limit)
	}
	return data, nil
}

func tooMuch(limit int64) error { return fmt.Errorf("there are more than the %d bytes allowed", limit) }

func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
