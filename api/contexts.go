package api

import (
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
)

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
		CreatedAt: timestamp(time.UnixMilli(c.CreatedAt)),
	}
	if v := info.Version; v != nil {
		out.KeyID, out.Version = v.ID, v.Number
	}
	return out
}

// rotateContext takes no body, or an empty object.
func (s *Server) rotateContext(x *exchange) error {
	if len(x.body) > 0 {
		if err := x.json.object(x.body, nil); err != nil {
			return err
		}
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
	body, err := json.Marshal(v)
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
