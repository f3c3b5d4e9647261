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

// client returns a client of the server that the options name. Without a token it can only ask for the state.
func (a *app) client(withToken bool) (*client.Client, error) {
	server := firstOf(a.server, a.getenv("CRYPTOSERVE_SERVER"))
	if server == "" {
		return nil, &hintError{
			err:  usagef("no server is named"),
			hint: "add --server https://HOST:8443, or set CRYPTOSERVE_SERVER",
		}
	}
	cfg := client.Config{Server: server, UserAgent: "cryptoserve/" + version, Timeout: a.timeout}
	if name := firstOf(a.caFile, a.getenv("CRYPTOSERVE_CA")); name != "" {
		pem, err := readFile(name, caFileBytes)
		if err != nil {
			return nil, fmt.Errorf("read the CA file %s: %w", name, err)
		}
		cfg.CA = pem
	}
	if withToken {
		token, err := a.token()
		if err != nil {
			return nil, err
		}
		cfg.Token = token
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
