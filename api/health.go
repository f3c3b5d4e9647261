package api

import (
	_ "embed"
	"errors"
	"net/http"

	"cryptoserve/api/wire"
	"cryptoserve/engine/fault"
)

// live tells that the process answers. Nothing is asked of anything else: a node whose HSM is away must not be restarted
// for it.
func (s *Server) live(x *exchange) error { return x.answer(wire.Health{Status: "ok"}) }

// ready tells whether requests should be sent here.
func (s *Server) ready(x *exchange) error {
	err := s.config.Ready()
	if err == nil && !s.draining.Load() {
		return x.answer(wire.Health{Status: "ok"})
	}
	answer := wire.Health{Status: "unavailable"}
	var why *fault.Error
	switch {
	case errors.As(err, &why):
		answer.Reason = why.Detail
	case err == nil:
		answer.Reason = "the node is shutting down"
	}
	x.status = http.StatusServiceUnavailable
	x.w.Header()["Retry-After"] = retryAfter
	return x.answer(answer)
}

// state tells a person what the node is, why, and what to do about it.
func (s *Server) state(x *exchange) error {
	state := s.config.State()
	if state.Reasons == nil {
		state.Reasons = []wire.Reason{}
	}
	return x.answer(state)
}

//go:embed openapi.yaml
var openAPIDocument []byte

// OpenAPI returns the document that describes this API, in YAML. The caller must not change it.
func OpenAPI() []byte { return openAPIDocument }

func (s *Server) openAPI(x *exchange) error {
	x.out = append(grow(x.out, len(openAPIDocument)), openAPIDocument...)
	x.contentType = applicationYAML
	return nil
}
