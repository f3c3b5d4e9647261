package main

import (
	"crypto/cipher"
	"errors"
	"io"
	"net/http"
)

// The bare server's streams: pieces of pieceBytes of plaintext, the last one shorter, each sealed on its own.
const (
	pieceBytes  = 64 << 10
	streamType  = "application/octet-stream"
	jsonType    = "application/json"
	bareExpands = 12 + 16 // nonce and tag of a piece
)

// byType serves streams and JSON at one path.
func byType(other, stream http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") == streamType {
			stream.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}

// sealStream answers with the body's pieces, sealed.
func sealStream(aead cipher.AEAD) http.Handler {
	return pieces(pieceBytes, func(dst, piece []byte) ([]byte, error) {
		return aead.Seal(dst, nil, piece, nil), nil //nolint:gosec // this AEAD makes its nonces itself
	})
}

// openStream undoes it.
func openStream(aead cipher.AEAD) http.Handler {
	return pieces(pieceBytes+bareExpands, func(dst, piece []byte) ([]byte, error) { return aead.Open(dst, nil, piece, nil) })
}

// pieces reads a body in pieces of a size and answers with what f makes of them while it still comes.
func pieces(size int, f func(dst, piece []byte) ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1.1 can
		w.Header().Set("Content-Type", streamType)
		in, out := make([]byte, size), make([]byte, 0, size+bareExpands)
		for {
			n, err := io.ReadFull(r.Body, in)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				panic(http.ErrAbortHandler) // the client is gone
			}
			if n > 0 {
				piece, failed := f(out, in[:n])
				if failed != nil {
					panic(http.ErrAbortHandler) // the client misses the end
				}
				if _, failed = w.Write(piece); failed != nil {
					panic(http.ErrAbortHandler)
				}
			}
			if err != nil {
				return
			}
		}
	})
}
