package client

import (
	"encoding/json"
	"net/http/httptest"

	"cryptoserve/api/wire"
)

// recorder writes answers for an http.RoundTripper.
type recorder struct{ *httptest.ResponseRecorder }

func newRecorder() recorder { return recorder{httptest.NewRecorder()} }

func (r recorder) json(body any) { r.write(200, "application/json", body) }

func (r recorder) problem(status int) {
	r.write(status, ProblemType, wire.Problem{Status: status, Code: "code", Retryable: status == 503})
}

func (r recorder) write(status int, media string, body any) {
	r.Header().Set("Content-Type", media)
	r.WriteHeader(status)
	_ = json.NewEncoder(r).Encode(body) // into memory, of a type that encodes
}
