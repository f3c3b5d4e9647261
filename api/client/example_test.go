package client_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

// node answers like a node of the appliance, so that the example runs by itself.
func node(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/v1/crypto/encrypt":
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ciphertext":"AAEC","algorithm":"AES-256-GCM","key_id":"key_user-pii_0001","format":4,"warnings":[]}`)
	default:
		w.Header().Set("Content-Type", client.ProblemType)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"status":400,"code":"decrypt-failed","title":"Decryption failed","request_id":"42","retryable":false}`)
	}
}

func Example() {
	server := httptest.NewTLSServer(http.HandlerFunc(node))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})

	c, err := client.New(client.Config{
		Server: server.URL, // such as https://node-1:8443
		CA:     ca,         // the bytes of ca.pem
		Token:  client.StaticToken("eyJhbGciOiJFZERTQSJ9.e30.c2ln"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	sealed, err := c.Encrypt(ctx, wire.EncryptRequest{
		Plaintext:      []byte("hello"),
		Context:        "user-pii",
		AssociatedData: []byte("row 17"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sealed.Algorithm, sealed.KeyID)

	_, err = c.Decrypt(ctx, wire.DecryptRequest{
		Ciphertext:     sealed.Ciphertext,
		Context:        "user-pii",
		AssociatedData: []byte("row 18"), // not the one it was sealed with
	})
	var problem *client.Error
	if errors.As(err, &problem) {
		fmt.Println(problem.Code, problem.Retryable)
	}
	// Output:
	// AES-256-GCM key_user-pii_0001
	// decrypt-failed false
}
