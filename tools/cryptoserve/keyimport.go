package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keywrap"
)

// keyFileBytes is the largest file of a key: keywrap.MaxKey bytes as PEM, with some text around.
const keyFileBytes = 16 << 10

func (a *app) keyImportCommand() *cobra.Command {
	var o keyOptions
	var publicFile string
	cmd := &cobra.Command{
		Use:   "import NAME FILE --context CONTEXT --algorithm ALGORITHM",
		Short: "Bring a key that was made elsewhere",
		Long: `Bring a key that was made elsewhere. FILE ("-" for standard input) holds a private key as
PKCS#8, in DER or PEM and not encrypted, or the bytes of a secret key. If the key NAME
exists already, it gets another version.

The key is wrapped on this machine with a new AES-256 key for an RSA key of the node
(with --protection hsm: of its token), so only that one can read it. Elliptic-curve
keys for the token need their public half too: it is computed from FILE, or read as PEM
from --public.`,
		Example: `  openssl genpkey -algorithm ED25519 | cryptoserve key import signer - --context general --algorithm Ed25519
  cryptoserve key import old-mac secret.bin --context general --algorithm HMAC-SHA256 --protection hsm`,
		Args: usageArgs(cobra.ExactArgs(2)),
	}
	o.register(cmd)
	cmd.Flags().StringVar(&publicFile, "public", "", "PEM `file` with the public half of an elliptic-curve key for the token")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		o.Name = args[0]
		var public []byte
		if publicFile != "" {
			var err error
			if public, err = readFile(publicFile, keyFileBytes); err != nil {
				return fmt.Errorf("read the public key from %s: %w", publicFile, err)
			}
		}
		return inquire(cmd.Context(), a, func(ctx context.Context, c *client.Client) (wire.Key, error) {
			return a.importKey(ctx, c, o.CreateKeyRequest, args[1], string(public))
		}, keyTable)
	}
	return cmd
}

func (a *app) importKey(ctx context.Context, c *client.Client, spec wire.CreateKeyRequest, file, public string) (wire.Key, error) {
	key, err := a.secretFile(ctx, file, keyFileBytes)
	if err != nil {
		return wire.Key{}, fmt.Errorf("read the key from %s: %w", file, err)
	}
	defer clear(key)
	key, err = pkcs8(key)
	if err != nil {
		return wire.Key{}, err
	}
	if public == "" && spec.Protection == protectionHSM {
		public = publicPEM(key)
	}
	pair, err := c.CreateImport(ctx, wire.CreateImportRequest{Protection: spec.Protection})
	if err != nil {
		return wire.Key{}, err
	}
	wrapped, err := wrapFor(pair, key)
	if err != nil {
		return wire.Key{}, err
	}
	return c.ImportKey(ctx, pair.ImportID, wire.ImportKeyRequest{CreateKeyRequest: spec, WrappedKey: wrapped, PublicKey: public})
}

// secretFile reads a file or, for "-", standard input into memory of which no copies stay behind.
func (a *app) secretFile(ctx context.Context, name string, limit int) ([]byte, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, withoutPath(err)
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	type result struct {
		n   int
		err error
	}
	buffer := make([]byte, limit+1)
	done := make(chan result, 1)
	go func() {
		n, err := io.ReadFull(in, buffer)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		switch {
		case errors.Is(r.err, io.EOF):
			return nil, errors.New("it is empty")
		case errors.Is(r.err, io.ErrUnexpectedEOF):
			return buffer[:r.n], nil
		}
		clear(buffer)
		if r.err != nil {
			return nil, withoutPath(r.err)
		}
		return nil, tooMuch(int64(limit))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// pkcs8 returns the bytes of a key file: those within a PEM block in place of the PEM text, or the file's own.
func pkcs8(file []byte) ([]byte, error) {
	block, _ := pem.Decode(file)
	switch {
	case block == nil && bytes.Contains(file, []byte("-----BEGIN ")):
		return nil, errors.New("the key file is no whole PEM")
	case block == nil:
		return file, nil
	case block.Type != "PRIVATE KEY":
		clear(block.Bytes)
		return nil, &hintError{
			err:  fmt.Errorf("the key file holds a PEM block %q, not a PKCS#8 private key", printable(block.Type)),
			hint: "convert it with 'openssl pkcs8 -topk8 -nocrypt', and remove the result afterwards",
		}
	}
	n := copy(file, block.Bytes)
	clear(file[n:])
	clear(block.Bytes)
	return file[:n], nil
}

// publicPEM returns the public half of an elliptic-curve key in PKCS#8, empty if it holds none.
func publicPEM(key []byte) string {
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return ""
	}
	var public crypto.PublicKey
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		public = k.Public()
	case *ecdh.PrivateKey:
		public = k.Public()
	case ed25519.PrivateKey:
		public = k.Public()
	default:
		return ""
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
}

// wrapFor wraps a key for the pair of an import.
func wrapFor(pair wire.ImportResponse, key []byte) ([]byte, error) {
	block, _ := pem.Decode([]byte(pair.PublicKey))
	if block == nil {
		return nil, fmt.Errorf("%w: the public key of the import is no PEM", client.ErrAnswer)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: the public key of the import is no RSA key", client.ErrAnswer)
	}
	wrapped, err := keywrap.Wrap(public, algs.Name(pair.OAEPHash), key)
	if err != nil {
		return nil, &hintError{err: fmt.Errorf("wrap the key: %w", detail(err)), hint: "check that the file holds the key and nothing else"}
	}
	return wrapped, nil
}

// detail returns what an error of the engine's packages says to a caller.
func detail(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Detail != "" {
		return errors.New(f.Detail)
	}
	return err
}
