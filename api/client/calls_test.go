package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cryptoserve/api/wire"
)

// routeTest is one method of the client.
type routeTest struct {
	name       string
	call       func(context.Context, *Client) (any, error)
	request    string // method, path and body
	answer     string
	repeatable bool
}

// TestRoutes checks for each method which route it asks for, with which body, and whether it is asked again when the node
// could not serve. An operation that changes something must not be.
func TestRoutes(t *testing.T) {
	tests := []routeTest{
		{"rewrap", func(ctx context.Context, c *Client) (any, error) {
			return c.Rewrap(ctx, wire.RewrapRequest{Context: "x"})
		},
			`POST /api/v1/crypto/rewrap {"ciphertext":"","context":"x"}`, `{}`, true},
		{"batch encrypt", func(ctx context.Context, c *Client) (any, error) {
			return c.EncryptBatch(ctx, wire.BatchEncryptRequest{Context: "x", Items: []wire.BatchEncryptItem{{Reference: "r"}}})
		}, `POST /api/v1/crypto/batch/encrypt {"context":"x","items":[{"reference":"r","plaintext":""}]}`, `{"results":[{}]}`, true},
		{"batch decrypt", func(ctx context.Context, c *Client) (any, error) {
			return c.DecryptBatch(ctx, wire.BatchDecryptRequest{Context: "x", Items: []wire.BatchDecryptItem{{}}})
		}, `POST /api/v1/crypto/batch/decrypt {"context":"x","items":[{"ciphertext":""}]}`, `{"results":[{}]}`, true},
		{"batch rewrap", func(ctx context.Context, c *Client) (any, error) {
			return c.RewrapBatch(ctx, wire.BatchDecryptRequest{Context: "x", Items: []wire.BatchDecryptItem{{}}})
		}, `POST /api/v1/crypto/batch/rewrap {"context":"x","items":[{"ciphertext":""}]}`, `{"results":[{}]}`, true},
		{"data key", func(ctx context.Context, c *Client) (any, error) {
			return c.DataKey(ctx, wire.DataKeyRequest{Context: "x"})
		},
			`POST /api/v1/crypto/datakey {"context":"x"}`, `{}`, true},
		{"wrapped data key", func(ctx context.Context, c *Client) (any, error) {
			return c.WrappedDataKey(ctx, wire.DataKeyRequest{Context: "x", Bytes: 16})
		}, `POST /api/v1/crypto/datakey/wrapped {"context":"x","bytes":16}`, `{}`, true},
		{"sign", func(ctx context.Context, c *Client) (any, error) { return c.Sign(ctx, wire.SignRequest{Key: "k"}) },
			`POST /api/v1/crypto/sign {"key":"k","message":""}`, `{}`, true},
		{"verify", func(ctx context.Context, c *Client) (any, error) {
			return c.Verify(ctx, wire.VerifyRequest{SignRequest: wire.SignRequest{Key: "k"}, JWS: "a..b"})
		}, `POST /api/v1/crypto/verify {"key":"k","message":"","jws":"a..b"}`, `{}`, true},
		{"mac", func(ctx context.Context, c *Client) (any, error) { return c.MAC(ctx, wire.MACRequest{Key: "k"}) },
			`POST /api/v1/crypto/mac {"key":"k","message":""}`, `{}`, true},
		{"mac verify", func(ctx context.Context, c *Client) (any, error) {
			return c.VerifyMAC(ctx, wire.MACVerifyRequest{MACRequest: wire.MACRequest{Key: "k"}})
		}, `POST /api/v1/crypto/mac/verify {"key":"k","message":"","mac":""}`, `{}`, true},
		{"hash", func(ctx context.Context, c *Client) (any, error) { return c.Hash(ctx, wire.HashRequest{}) },
			`POST /api/v1/crypto/hash {"data":""}`, `{}`, true},
		{"kdf", func(ctx context.Context, c *Client) (any, error) {
			return c.DeriveKey(ctx, wire.KDFRequest{Algorithm: "HKDF-SHA256", OutputBytes: 32})
		}, `POST /api/v1/crypto/kdf {"algorithm":"HKDF-SHA256","secret":"","output_bytes":32}`, `{}`, true},
		{"random", func(ctx context.Context, c *Client) (any, error) { return c.Random(ctx, 3) },
			`POST /api/v1/crypto/random {"bytes":3}`, `{"random":"AAEC"}`, true},
		{"password hash", func(ctx context.Context, c *Client) (any, error) {
			return c.HashPassword(ctx, wire.PasswordHashRequest{Password: "p"})
		}, `POST /api/v1/crypto/password/hash {"password":"p"}`, `{}`, true},
		{"password verify", func(ctx context.Context, c *Client) (any, error) {
			return c.VerifyPassword(ctx, wire.PasswordVerifyRequest{Password: "p", Hash: "h"})
		}, `POST /api/v1/crypto/password/verify {"password":"p","hash":"h"}`, `{}`, true},
		{"encapsulate", func(ctx context.Context, c *Client) (any, error) { return c.Encapsulate(ctx, "k") },
			`POST /api/v1/crypto/kem/encapsulate {"key":"k"}`, `{}`, true},
		{"decapsulate", func(ctx context.Context, c *Client) (any, error) {
			return c.Decapsulate(ctx, wire.DecapsulateRequest{Key: "k"})
		}, `POST /api/v1/crypto/kem/decapsulate {"key":"k","ciphertext":""}`, `{}`, true},
		{"agree", func(ctx context.Context, c *Client) (any, error) { return c.Agree(ctx, wire.AgreeRequest{Key: "k"}) },
			`POST /api/v1/crypto/agree {"key":"k"}`, `{}`, true},
		{"key encrypt", func(ctx context.Context, c *Client) (any, error) {
			return c.EncryptWithKey(ctx, wire.KeyEncryptRequest{Key: "k"})
		}, `POST /api/v1/crypto/key/encrypt {"key":"k","plaintext":""}`, `{}`, true},
		{"key decrypt", func(ctx context.Context, c *Client) (any, error) {
			return c.DecryptWithKey(ctx, wire.KeyDecryptRequest{Key: "k"})
		}, `POST /api/v1/crypto/key/decrypt {"key":"k","ciphertext":""}`, `{}`, true},
		{"algorithms", func(ctx context.Context, c *Client) (any, error) { return c.Algorithms(ctx) },
			`GET /api/v1/algorithms `, `{"algorithms":[{}]}`, true},
		{"fips", func(ctx context.Context, c *Client) (any, error) { return c.FIPS(ctx) }, `GET /api/v1/system/fips `, `{}`, true},
		{"keys", func(ctx context.Context, c *Client) (any, error) { return c.Keys(ctx) }, `GET /api/v1/keys `, `{"keys":[{}]}`, true},
		{"key", func(ctx context.Context, c *Client) (any, error) { return c.Key(ctx, "a/b") }, `GET /api/v1/keys/a%2Fb `, `{}`, true},
		{"public key", func(ctx context.Context, c *Client) (any, error) { return c.PublicKey(ctx, "k", 0) },
			`GET /api/v1/keys/k/public `, `{}`, true},
		{"public key of a version", func(ctx context.Context, c *Client) (any, error) { return c.PublicKey(ctx, "k", 2) },
			`GET /api/v1/keys/k/public?version=2 `, `{}`, true},
		{"create context", func(ctx context.Context, c *Client) (any, error) {
			return c.CreateContext(ctx, wire.CreateContextRequest{Name: "x"})
		}, `POST /api/v1/contexts {"name":"x"}`, `{}`, false},
		{"create key", func(ctx context.Context, c *Client) (any, error) {
			return c.CreateKey(ctx, wire.CreateKeyRequest{Name: "k", Context: "x", Algorithm: "Ed25519"})
		}, `POST /api/v1/keys {"name":"k","context":"x","algorithm":"Ed25519"}`, `{}`, false},
		{"rotate key", func(ctx context.Context, c *Client) (any, error) { return c.RotateKey(ctx, "k") },
			`POST /api/v1/keys/k/rotate `, `{}`, false},
		{"disable key", func(ctx context.Context, c *Client) (any, error) { return c.DisableKey(ctx, "k") },
			`POST /api/v1/keys/k/disable `, `{}`, false},
		{"enable key", func(ctx context.Context, c *Client) (any, error) { return c.EnableKey(ctx, "k") },
			`POST /api/v1/keys/k/enable `, `{}`, false},
		{"create import", func(ctx context.Context, c *Client) (any, error) {
			return c.CreateImport(ctx, wire.CreateImportRequest{Protection: "hsm"})
		}, `POST /api/v1/key-imports {"protection":"hsm"}`, `{}`, false},
		{"import key", func(ctx context.Context, c *Client) (any, error) {
			return c.ImportKey(ctx, "i/1", wire.ImportKeyRequest{WrappedKey: []byte{0}})
		}, `POST /api/v1/key-imports/i%2F1 {"name":"","context":"","algorithm":"","wrapped_key":"AA=="}`, `{}`, false},
		{"import legacy", func(ctx context.Context, c *Client) (any, error) {
			return c.ImportLegacy(ctx, wire.LegacyImportRequest{Master: 1})
		}, `POST /api/v1/legacy-imports {"master":1}`, `{}`, false},
	}
	for _, tt := range slices.Concat(tests, lifecycleRoutes, clusterRoutes, backupRoutes) {
		t.Run(tt.name, func(t *testing.T) {
			var away atomic.Bool
			var tries atomic.Int32
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				path := r.URL.EscapedPath()
				if r.URL.RawQuery != "" {
					path += "?" + r.URL.RawQuery
				}
				if got := r.Method + " " + path + " " + string(body); got != tt.request {
					t.Errorf("got  %s\nwant %s", got, tt.request)
				}
				if r.Header.Get("Authorization") != "Bearer "+testToken {
					t.Error("without the token")
				}
				if away.Load() {
					refuse(t, w, 503, "hsm-unavailable", true)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				if !tt.repeatable {
					w.WriteHeader(http.StatusCreated)
				}
				_, _ = io.WriteString(w, tt.answer)
			})
			if got, err := tt.call(t.Context(), c); err != nil {
				t.Errorf("got %v, %v", got, err)
			}
			away.Store(true)
			tries.Store(0)
			_, err := tt.call(t.Context(), c)
			var problem *Error
			if !errors.As(err, &problem) || problem.Code != "hsm-unavailable" {
				t.Errorf("got %v", err)
			}
			want := int32(1)
			if tt.repeatable {
				want = 4
			}
			if tries.Load() != want {
				t.Errorf("%d tries, want %d", tries.Load(), want)
			}
		})
	}
}

func TestBatchResults(t *testing.T) {
	const answers = `{"results":[{"reference":"a","ciphertext":"AAEC","plaintext":"AAEC"},{"error":{"code":"decrypt-failed","detail":"d"}}],` +
		`"succeeded":1,"failed":1}`
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answers)
	})
	items := []wire.BatchDecryptItem{{Reference: "a", Ciphertext: []byte("1")}, {Ciphertext: []byte("2")}}
	got, err := c.DecryptBatch(t.Context(), wire.BatchDecryptRequest{Context: "x", Items: items})
	if err != nil || got.Failed != 1 || string(got.Results[0].Plaintext) != "\x00\x01\x02" || got.Results[1].Error.Code != "decrypt-failed" {
		t.Errorf("got %+v, %v", got, err)
	}
	// An answer that has not a result for each item would put results to the wrong items.
	_, err = c.DecryptBatch(t.Context(), wire.BatchDecryptRequest{Context: "x", Items: items[:1]})
	if !errors.Is(err, ErrAnswer) {
		t.Errorf("decrypt: got %v", err)
	}
	_, err = c.RewrapBatch(t.Context(), wire.BatchDecryptRequest{Context: "x", Items: items[:1]})
	if !errors.Is(err, ErrAnswer) {
		t.Errorf("rewrap: got %v", err)
	}
	_, err = c.EncryptBatch(t.Context(), wire.BatchEncryptRequest{Context: "x", Items: make([]wire.BatchEncryptItem, 3)})
	if !errors.Is(err, ErrAnswer) {
		t.Errorf("encrypt: got %v", err)
	}
}

// TestNamesAreNeeded checks what would otherwise ask for another route.
func TestNamesAreNeeded(t *testing.T) {
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	ctx := t.Context()
	calls := map[string]func() error{
		"key":        func() error { _, err := c.Key(ctx, ""); return err },
		"rotate":     func() error { _, err := c.RotateKey(ctx, ""); return err },
		"public":     func() error { _, err := c.PublicKey(ctx, "", 0); return err },
		"import":     func() error { _, err := c.ImportKey(ctx, "", wire.ImportKeyRequest{}); return err },
		"stream":     func() error { _, err := c.EncryptStream(ctx, "", nil, strings.NewReader("x")); return err },
		"no source":  func() error { _, err := c.EncryptStream(ctx, "x", nil, nil); return err },
		"bad range":  func() error { _, err := c.DecryptRange(ctx, "x", nil, strings.NewReader("x"), 2, 1); return err },
		"range -2":   func() error { _, err := c.DecryptRange(ctx, "x", nil, strings.NewReader("x"), 2, -2); return err },
		"range pipe": func() error { _, err := c.DecryptRange(ctx, "x", nil, io.MultiReader(), 0, 1); return err },
	}
	for name, call := range calls {
		if call() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
