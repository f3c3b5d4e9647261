package api

import (
	"encoding/hex"

	"cryptoserve/api/wire"
	"cryptoserve/engine/kdf"
)

// What follows uses no key of the appliance: it computes with what the request holds.

func (s *Server) hash(x *exchange) error {
	var in wire.HashRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.Hash(x.r.Context(), &x.call, in.Algorithm, in.Data, in.OutputBytes)
	if err != nil {
		return err
	}
	return x.answer(wire.HashResponse{
		Digest: res.Value, Hex: hex.EncodeToString(res.Value), Algorithm: res.Algorithm, Warnings: res.Warnings,
	})
}

func (s *Server) deriveKey(x *exchange) error {
	var in wire.KDFRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	params := kdf.Params{
		Secret: in.Secret, Salt: in.Salt, Info: in.Info, Label: in.Label, Context: in.Context, OutputBytes: in.OutputBytes,
	}
	if c := in.Cost; c != nil {
		params.Cost = kdf.Cost{
			Iterations: c.Iterations, MemoryKiB: c.MemoryKiB, Time: c.Time, Parallelism: c.Parallelism, N: c.N, R: c.R, P: c.P,
		}
	}
	res, err := s.config.Engine.DeriveKey(x.r.Context(), &x.call, in.Algorithm, &params)
	if err != nil {
		return err
	}
	m := x.object(len(res.Value))
	m.secret("key", res.Value)
	m.text("algorithm", res.Algorithm)
	m.warnings(res.Warnings)
	x.out = m.end()
	return nil
}

func (s *Server) random(x *exchange) error {
	var in wire.RandomRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.Random(x.r.Context(), &x.call, in.Bytes)
	if err != nil {
		return err
	}
	m := x.object(len(res))
	m.secret("random", res)
	x.out = m.end()
	return nil
}

// longestStoredPassword is the longest string that a password is stored as, in bytes.
const longestStoredPassword = 1 << 10

// The fields of the password bodies, and their places. The shapes are wire.PasswordHashRequest and
// wire.PasswordVerifyRequest, whose strings nobody could overwrite.
const (
	passwordField = iota
	passwordAlgorithmField
	passwordHashField = passwordAlgorithmField
)

var (
	passwordHashFields = []field{
		passwordField:          {name: "password", kind: hidden, required: true, max: kdf.MaxPasswordBytes},
		passwordAlgorithmField: {name: "algorithm", kind: text, max: longestName},
	}
	passwordVerifyFields = []field{
		passwordField:     {name: "password", kind: hidden, required: true, max: kdf.MaxPasswordBytes},
		passwordHashField: {name: "hash", kind: text, required: true, max: longestStoredPassword},
	}
)

func (s *Server) hashPassword(x *exchange) error {
	if err := x.json.object(x.body, passwordHashFields); err != nil {
		return err
	}
	v := &x.json.values
	res, err := s.config.Engine.HashPassword(x.r.Context(), &x.call, v[passwordAlgorithmField].text, v[passwordField].bytes)
	if err != nil {
		return err
	}
	return x.answer(wire.PasswordHashResponse{Hash: res.Hash, Algorithm: res.Algorithm, Warnings: res.Warnings})
}

func (s *Server) verifyPassword(x *exchange) error {
	if err := x.json.object(x.body, passwordVerifyFields); err != nil {
		return err
	}
	v := &x.json.values
	res, err := s.config.Engine.VerifyPassword(x.r.Context(), &x.call, v[passwordHashField].text, v[passwordField].bytes)
	if err != nil {
		return err
	}
	return x.answer(wire.PasswordVerifyResponse{
		Valid: res.Valid, NeedsRehash: res.NeedsRehash, Algorithm: res.Algorithm, Warnings: res.Warnings,
	})
}
