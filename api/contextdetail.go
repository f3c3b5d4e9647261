package api

import (
	"math"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
)

func (s *Server) context(x *exchange) error {
	detail, err := s.config.Engine.Context(x.r.Context(), &x.call, x.params.ByName("context"))
	return x.answerContext(&detail, err)
}

func (s *Server) changeContext(x *exchange) error {
	var in wire.ChangeContextRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	change := engine.ContextChange{Revision: in.Revision}
	spec := &change.ContextSpec
	spec.Description, spec.Algorithm, spec.Layers = in.Description, algs.Name(in.Algorithm), layersOf(in.Layers)
	spec.RotateAfter, spec.SelfService = uint64(in.RotateAfter), in.SelfService
	if err := formatAndRotation(spec, in.Format, in.RotationDays); err != nil {
		return err
	}
	if err := consistency(spec, in.Consistency); err != nil {
		return err
	}
	if err := algorithmPolicy(spec, in.AlgorithmPolicy); err != nil {
		return err
	}
	detail, err := s.config.Engine.ChangeContext(x.r.Context(), &x.call, x.params.ByName("context"), change)
	return x.answerContext(&detail, err)
}

func (s *Server) deleteContext(x *exchange) error {
	if err := s.config.Engine.DeleteContext(x.r.Context(), &x.call, x.params.ByName("context")); err != nil {
		return err
	}
	return x.answer(struct{}{})
}

func (s *Server) disableContext(x *exchange) error { return x.setContextDisabled(true) }

func (s *Server) enableContext(x *exchange) error { return x.setContextDisabled(false) }

func (x *exchange) setContextDisabled(disabled bool) error {
	if err := x.nothing(); err != nil {
		return err
	}
	detail, err := x.server.config.Engine.SetContextDisabled(x.r.Context(), &x.call, x.params.ByName("context"), disabled)
	return x.answerContext(&detail, err)
}

func (s *Server) explainContext(x *exchange) error {
	var in wire.ExplainRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.ExplainContext(x.r.Context(), &x.call, layersOf(&in.Layers))
	if err != nil {
		return err
	}
	return x.answer(wire.ExplainResponse{Algorithm: string(res.Algorithm), Derived: wireDerived(&res.Derived)})
}

func (x *exchange) answerContext(detail *engine.ContextDetail, err error) error {
	if err != nil {
		return err
	}
	out := wire.ContextDetail{
		Context: wireContext(detail.ContextInfo), Versions: make([]wire.ContextVersion, 0, len(detail.Versions)),
	}
	out.Warnings = detail.Warnings
	if detail.Derived != nil {
		d := wireDerived(detail.Derived)
		out.Derived = &d
	}
	for _, v := range detail.Versions {
		out.Versions = append(out.Versions, wire.ContextVersion{
			KeyID: v.ID, Version: v.Number, State: v.State.String(), Algorithm: string(v.Algorithm), CreatedAt: milliseconds(v.CreatedAt),
		})
	}
	if detail.Grants >= 0 {
		out.Grants = &detail.Grants
	}
	return x.answer(out)
}

// formatAndRotation reads numbers of a context that have bounds.
func formatAndRotation(spec *engine.ContextSpec, format int, days *int) error {
	switch format {
	case 0, 3, 4:
		spec.Format = uint8(format)
	default:
		return malformedField("format", "is neither 3 nor 4")
	}
	if days == nil {
		return nil
	}
	if *days < 0 || *days > engine.MaxRotationDays {
		return malformedField("rotation_days", "is out of range")
	}
	n := uint16(*days)
	spec.RotationDays = &n
	return nil
}

// algorithmPolicy reads what a context allows. What the names and numbers mean together is the engine's decision.
func algorithmPolicy(spec *engine.ContextSpec, p *wire.AlgorithmPolicy) error {
	if p == nil {
		return nil
	}
	var err error
	if spec.Enforcement, err = enforcement("algorithm_policy.enforcement", p.Enforcement); err != nil {
		return err
	}
	if p.MinimumBits < 0 || p.MinimumBits > math.MaxUint16 {
		return malformedField("algorithm_policy.minimum_bits", "is out of range")
	}
	spec.MinimumBits, spec.QuantumSafe = uint16(p.MinimumBits), p.RequireQuantumSafe
	spec.Ciphers, spec.Modes = p.AllowedCiphers, p.AllowedModes
	for _, name := range p.AllowedAlgorithms {
		spec.Allowed = append(spec.Allowed, algs.Name(name))
	}
	return nil
}

func enforcement(field, name string) (directory.Enforcement, error) {
	e, known := directory.ParseEnforcement(name)
	if !known {
		return e, malformedField(field, "is none of none, warn, enforce")
	}
	return e, nil
}
