package api

import (
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
)

const contextsPath = "/api/v1/contexts"

func (s *Server) contexts(x *exchange) error {
	list, err := s.config.Engine.Contexts(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.ContextsResponse{Contexts: make([]wire.Context, 0, len(list))}
	for _, info := range list {
		answer.Contexts = append(answer.Contexts, wireContext(info))
	}
	return x.answer(answer)
}

func wireContext(info engine.ContextInfo) wire.Context {
	c := info.Record
	out := wire.Context{
		Name: c.Name, Description: c.Description, Algorithm: string(c.Algorithm), Format: int(c.Format),
		Derivation: c.Derivation.String(), Status: c.Status.String(), KeyID: c.ActiveKey, Version: c.Versions,
		CreatedAt: milliseconds(c.CreatedAt),
		AlgorithmPolicy: wire.AlgorithmPolicy{
			Enforcement: c.Enforcement.String(), AllowedAlgorithms: make([]string, 0, len(c.Allowed)),
			MinimumBits: int(c.MinimumBits), RequireQuantumSafe: c.QuantumSafe, AllowedCiphers: c.Ciphers, AllowedModes: c.Modes,
		},
		Layers: wireLayers(c.Layers), RotationDays: int(c.RotationDays), RotateAfter: c.RotateAfter, SelfService: c.SelfService,
		MinimumVersion: c.MinimumVersion, Revision: c.Revision, Consistency: c.Consistency.String(),
	}
	for _, name := range c.Allowed {
		out.AlgorithmPolicy.AllowedAlgorithms = append(out.AlgorithmPolicy.AllowedAlgorithms, string(name))
	}
	if v := info.Version; v != nil {
		out.KeyID, out.Version = v.ID, v.Number
	}
	return out
}

func (s *Server) createContext(x *exchange) error {
	var in wire.CreateContextRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	spec, err := contextSpec(&in)
	if err != nil {
		return err
	}
	record, err := s.config.Engine.CreateContext(x.r.Context(), &x.call, spec)
	if err != nil {
		return err
	}
	x.created(contextsPath + "/" + record.Name)
	answer := wireContext(engine.ContextInfo{Record: record})
	answer.Warnings = engine.ContextAdvice(record)
	return x.answer(answer)
}

// contextSpec reads what a new context is to be. What the names and numbers mean together is the engine's decision.
func contextSpec(in *wire.CreateContextRequest) (engine.ContextSpec, error) {
	spec := engine.ContextSpec{
		Name: in.Name, Description: in.Description, Algorithm: algs.Name(in.Algorithm), Layers: layersOf(in.Layers),
		RotateAfter: uint64(in.RotateAfter), SelfService: in.SelfService,
	}
	if err := formatAndRotation(&spec, in.Format, in.RotationDays); err != nil {
		return spec, err
	}
	switch in.Derivation {
	case "", directory.Salted.String():
		spec.Derivation = directory.Salted
	case directory.Deterministic.String():
		spec.Derivation = directory.Deterministic
	default:
		return spec, malformedField("derivation", "is neither salted nor deterministic")
	}
	if err := consistency(&spec, in.Consistency); err != nil {
		return spec, err
	}
	return spec, algorithmPolicy(&spec, in.AlgorithmPolicy)
}

func consistency(spec *engine.ContextSpec, name string) error {
	var known bool
	if spec.Consistency, known = directory.ParseConsistency(name); !known {
		return malformedField("consistency", "is neither lease nor strict")
	}
	return nil
}

// rotateContext takes no body, or an empty object.
func (s *Server) rotateContext(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	res, err := s.config.Engine.RotateContext(x.r.Context(), &x.call, x.params.ByName("context"))
	if err != nil {
		return err
	}
	return x.answer(wire.RotateResponse{
		Context: res.Context, KeyID: res.Version.ID, Version: res.Version.Number, Previous: res.Previous,
	})
}

// answer makes a wire type the body of the answer.
func (x *exchange) answer(v any) error {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	x.out = append(grow(x.out, len(body)), body...)
	if x.route.secretAnswer {
		clear(body)
	}
	return nil
}

// timestamp is how the API writes a time: RFC 3339 in UTC.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
