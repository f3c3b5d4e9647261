package api

import (
	_ "embed"
	"net/http"

	"cryptoserve/api/wire"
)

// live tells that the process answers. Nothing is asked of anything else: a node whose HSM is away must not be restarted
// for it.
func (s *Server) live(x *exchange) error { return x.answer(wire.Health{Status: "ok"}) }

// ready tells whether requests should be sent here.
func (s *Server) ready(x *exchange) error {
	if s.draining.Load() || s.config.Ready() != nil {
		x.status = http.StatusServiceUnavailable
		x.w.Header()["Retry-After"] = retryAfter
		return x.answer(wire.Health{Status: "unavailable"})
	}
	return x.answer(wire.Health{Status: "ok"})
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
