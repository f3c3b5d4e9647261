package hsm

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

// operations is every call to the token that a caller can make, for tests that hold for all of them.
func operations(r *rig, node, wrapped crypto.Signer) map[string]func(context.Context) error {
	digest := sha256.Sum256([]byte("message"))
	ops := map[string]func(context.Context) error{
		"Expand":          func(ctx context.Context) error { _, err := r.Expand(ctx, nil, 64); return err },
		"Random":          func(ctx context.Context) error { _, err := r.Random(ctx, 16); return err },
		"Reader":          func(ctx context.Context) error { _, err := r.Reader(ctx).Read(make([]byte, 16)); return err },
		"GenerateWrapped": func(ctx context.Context) error { _, _, err := r.GenerateWrapped(ctx); return err },
		"Provisioned":     func(ctx context.Context) error { _, err := r.Provisioned(ctx); return err },
		"GenerateKey":     func(ctx context.Context) error { _, _, err := r.GenerateKey(ctx, algs.HMACSHA256); return err },
		"Load":            r.Load,
		"NodeSigner": func(context.Context) error {
			_, err := node.Sign(rand.Reader, digest[:], crypto.SHA256)
			return err
		},
	}
	if wrapped != nil {
		ops["WrappedSigner"] = func(context.Context) error {
			_, err := wrapped.Sign(rand.Reader, digest[:], crypto.SHA256)
			return err
		}
	}
	return ops
}

// tokenFiles returns the files of the objects in the store's only token, and those of the token itself.
func tokenFiles(tb testing.TB, r *rig) (objects, tokens []string) {
	tb.Helper()
	all, err := filepath.Glob(filepath.Join(r.store.Tokens(), "*", "*.object"))
	if err != nil || len(all) == 0 {
		tb.Fatalf("no token files: %v", err)
	}
	for _, file := range all {
		if filepath.Base(file) == "token.object" {
			tokens = append(tokens, file)
		} else {
			objects = append(objects, file)
		}
	}
	return objects, tokens
}

// relabel gives the token with the old label that of the test's token, by writing its file, as a cloned disk would.
func relabel(tb testing.TB, r *rig, old string) {
	tb.Helper()
	_, tokens := tokenFiles(tb, r)
	pad := func(s string) string { return s + strings.Repeat(" ", maxLabel-len(s)) }
	changed := 0
	for _, file := range tokens {
		b, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		if !strings.Contains(string(b), pad(old)) {
			continue
		}
		changed++
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(b), pad(old), pad(testLabel))), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	if changed != 1 {
		tb.Fatalf("%d tokens have the label %q", changed, old)
	}
}
