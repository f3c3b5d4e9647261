package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// nullWriter takes an answer as the HTTP server does, without the network.
type nullWriter struct {
	header http.Header
	status int
}

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) WriteHeader(status int)      { w.status = status }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }

func benchmark(b *testing.B, path, field string) {
	for _, size := range []int{32, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			serve(b, path, `{"`+field+`":"`+base64.StdEncoding.EncodeToString(make([]byte, size))+`","context":"user-pii"}`)
		})
	}
}

func serve(b *testing.B, path, text string) {
	s := echoServer(b)
	body := []byte(text)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		reader := bytes.NewReader(body)
		r := httptest.NewRequest(http.MethodPost, path, reader)
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("Content-Type", "application/json")
		r.Body = io.NopCloser(reader)
		w := &nullWriter{header: http.Header{}}
		for pb.Next() {
			reader.Reset(body)
			clear(w.header)
			s.router.ServeHTTP(w, r)
			if w.status != http.StatusOK {
				b.Fatal(w.status)
			}
		}
	})
}

// The engine of these benchmarks copies: what they measure is the API alone.

func BenchmarkEncrypt(b *testing.B) { benchmark(b, "/api/v1/crypto/encrypt", "plaintext") }
func BenchmarkDecrypt(b *testing.B) { benchmark(b, "/api/v1/crypto/decrypt", "ciphertext") }

func benchmarkBatch(b *testing.B, path, field string) {
	const count = 100
	for _, size := range []int{32, 1 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			item := `{"` + field + `":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"}`
			b.SetBytes(int64(count * size))
			serve(b, path, `{"context":"user-pii","items":[`+strings.Repeat(item+",", count-1)+item+`]}`)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/item")
		})
	}
}

func BenchmarkEncryptBatch(b *testing.B) {
	benchmarkBatch(b, "/api/v1/crypto/batch/encrypt", "plaintext")
}
func BenchmarkDecryptBatch(b *testing.B) {
	benchmarkBatch(b, "/api/v1/crypto/batch/decrypt", "ciphertext")
}
