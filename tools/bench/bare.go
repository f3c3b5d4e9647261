package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cryptoserve/api/wire"
)

// bareCommand is the hidden first argument that makes this program the bare server.
const bareCommand = "bare"

// serveBare runs the server to compare with: it leaves its CA as ca.pem in dir, prints `ready https://ADDR` like the
// daemon and serves until the context ends.
func serveBare(ctx context.Context, dir string, stdout io.Writer) error {
	certificate, err := selfSigned(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	aead, err := bareAEAD()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+encryptPath, byType(sealJSON(aead), sealStream(aead)))
	mux.Handle("POST "+decryptPath, openStream(aead))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate},
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // Serve tells
	defer stop()
	if _, err := fmt.Fprintf(stdout, "ready https://%s\n", listener.Addr()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// bareAEAD returns AES-256-GCM under a new key in memory: it seals to nonce(12) || ciphertext || tag(16).
func bareAEAD() (cipher.AEAD, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealJSON does the product's cryptography and nothing else of it: JSON in, one seal, JSON out.
func sealJSON(aead cipher.AEAD) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req wire.EncryptRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&req); err != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		body, err := json.Marshal(wire.EncryptResponse{
			Ciphertext: aead.Seal(nil, nil, req.Plaintext, req.AssociatedData), //nolint:gosec // this AEAD makes its nonces itself
			Algorithm:  "AES-256-GCM",
			KeyID:      "key_bench_0000000000000001",
			Format:     4,
			Warnings:   []string{},
		})
		if err != nil {
			http.Error(w, "internal", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // the client counts what it got
	})
}

// selfSigned makes a P-256 certificate for 127.0.0.1 and writes it to a file.
func selfSigned(file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "bench"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
