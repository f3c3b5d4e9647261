package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// connect returns a client of a server that answers like a node, so that the examples run by themselves.
func connect(handler http.HandlerFunc) (*client.Client, func()) {
	server := httptest.NewTLSServer(handler)
	c, err := client.New(client.Config{
		Server: server.URL,
		CA:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		Token:  client.StaticToken("eyJhbGciOiJFZERTQSJ9.e30.c2ln"),
	})
	if err != nil {
		panic(err)
	}
	return c, server.Close
}

func ExampleClient_Sign() {
	c, stop := connect(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api/v1/crypto/sign" {
			_, _ = io.WriteString(w, `{"signature":"AAEC","key_id":"key_general_0002","version":2,"algorithm":"ML-DSA-65","warnings":[]}`)
			return
		}
		_, _ = io.WriteString(w, `{"valid":true,"key_id":"key_general_0002","algorithm":"ML-DSA-65","warnings":[]}`)
	})
	defer stop()

	ctx := context.Background()
	bill := wire.SignRequest{Key: "bills", Message: []byte("you owe us 17 euros")}
	signed, err := c.Sign(ctx, bill)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(signed.Algorithm, "version", signed.Version)

	checked, err := c.Verify(ctx, wire.VerifyRequest{SignRequest: bill, Signature: signed.Signature})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("valid:", checked.Valid) // a nil error alone does not mean that it is
	// Output:
	// ML-DSA-65 version 2
	// valid: true
}

// A file of any size is encrypted in constant memory. What is written gets its name only when all of it is there.
func ExampleClient_EncryptTo() {
	c, stop := connect(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Key-Id", "key_general_0001")
		w.Header().Set("Trailer", "X-Stream-Status")
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Stream-Status", "complete")
	})
	defer stop()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	film := filepath.Join(dir, "film")
	if err := os.WriteFile(film, bytes.Repeat([]byte("frame "), 1000), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	err = func() error {
		in, err := os.Open(film)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }() // only read
		out, err := os.CreateTemp(dir, "film.enc.*")
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(out.Name()) }() // does nothing after the rename
		info, n, err := c.EncryptTo(context.Background(), out, "general", []byte("film 17"), in)
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		fmt.Println(n, "bytes under", info.KeyID)
		return os.Rename(out.Name(), film+".enc")
	}()
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 6000 bytes under key_general_0001
}

func ExampleClient_EncryptBatch() {
	c, stop := connect(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"results":[{"reference":"row 1","ciphertext":"AAEC","key_id":"key_user-pii_0001"},`+
			`{"reference":"row 2","error":{"code":"too-large","detail":"the plaintext is too large"}}],"succeeded":1,"failed":1,"warnings":[]}`)
	})
	defer stop()

	answer, err := c.EncryptBatch(context.Background(), wire.BatchEncryptRequest{
		Context: "user-pii",
		Items: []wire.BatchEncryptItem{
			{Reference: "row 1", Plaintext: []byte("Ada Lovelace")},
			{Reference: "row 2", Plaintext: []byte("Charles Babbage")},
		},
	})
	if err != nil { // nothing was encrypted
		fmt.Println(err)
		return
	}
	for _, result := range answer.Results {
		if result.Error != nil {
			fmt.Println(result.Reference, "failed:", result.Error.Detail)
			continue
		}
		fmt.Println(result.Reference, len(result.Ciphertext), "bytes")
	}
	// Output:
	// row 1 3 bytes
	// row 2 failed: the plaintext is too large
}

// wrap stands for CKM_RSA_AES_KEY_WRAP of PKCS#11 v3.0, which the standard library has not: RSA-OAEP of a new AES-256 key,
// then AES-KWP (RFC 5649) of the key under that one. The command 'cryptoserve key import' does all of this.
func wrap(public *rsa.PublicKey, key []byte) []byte { return make([]byte, public.Size()+len(key)+8) }

func ExampleClient_ImportKey() {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		fmt.Println(err)
		return
	}
	spki, err := x509.MarshalPKIXPublicKey(pair.Public())
	if err != nil {
		fmt.Println(err)
		return
	}
	c, stop := connect(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		if r.URL.Path == "/api/v1/key-imports" {
			_ = json.NewEncoder(w).Encode(wire.ImportResponse{
				ImportID: "import_17", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})), OAEPHash: "SHA-256",
			})
			return
		}
		_, _ = io.WriteString(w, `{"name":"sessions","algorithm":"HMAC-SHA256","protection":"hsm","versions":[{"version":1,"imported":true}]}`)
	})
	defer stop()

	ctx := context.Background()
	key := make([]byte, 32) // made elsewhere
	begun, err := c.CreateImport(ctx, wire.CreateImportRequest{Protection: "hsm"})
	if err != nil {
		fmt.Println(err)
		return
	}
	block, _ := pem.Decode([]byte(begun.PublicKey))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		fmt.Println(err)
		return
	}
	imported, err := c.ImportKey(ctx, begun.ImportID, wire.ImportKeyRequest{
		CreateKeyRequest: wire.CreateKeyRequest{Name: "sessions", Context: "general", Algorithm: "HMAC-SHA256", Protection: "hsm"},
		WrappedKey:       wrap(public.(*rsa.PublicKey), key),
	})
	clear(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(imported.Name, imported.Protection, "imported:", imported.Versions[0].Imported)
	// Output:
	// sessions hsm imported: true
}
