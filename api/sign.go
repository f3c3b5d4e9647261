package api

import (
	"cryptoserve/api/wire"
	"cryptoserve/engine"
)

func signRequest(in *wire.SignRequest) engine.SignRequest {
	return engine.SignRequest{
		Key: in.Key, Message: in.Message, Prehashed: in.Prehashed, Hash: in.Hash, Format: in.SignatureFormat,
		Context: in.SignatureContext,
	}
}

func (s *Server) sign(x *exchange) error {
	var in wire.SignRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	request := signRequest(&in)
	res, err := s.config.Engine.Sign(x.r.Context(), &x.call, &request)
	if err != nil {
		return err
	}
	return x.answer(wire.SignResponse{
		Signature: res.Signature, JWS: res.JWS, KeyID: res.KeyID, Version: res.Version, Algorithm: res.Algorithm,
		Warnings: res.Warnings,
	})
}

func (s *Server) verify(x *exchange) error {
	var in wire.VerifyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.Verify(x.r.Context(), &x.call, &engine.VerifyRequest{
		SignRequest: signRequest(&in.SignRequest), Signature: in.Signature, JWS: in.JWS, KeyID: in.KeyID,
	})
	if err != nil {
		return err
	}
	return x.answer(verifyResponse(&res))
}

func verifyResponse(res *engine.VerifyResult) wire.VerifyResponse {
	return wire.VerifyResponse{Valid: res.Valid, KeyID: res.KeyID, Algorithm: res.Algorithm, Warnings: res.Warnings}
}

func macRequest(in *wire.MACRequest) engine.MACRequest {
	return engine.MACRequest{Key: in.Key, Message: in.Message, Customization: in.Customization, OutputBytes: in.OutputBytes}
}

func (s *Server) mac(x *exchange) error {
	var in wire.MACRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	request := macRequest(&in)
	res, err := s.config.Engine.MAC(x.r.Context(), &x.call, &request)
	if err != nil {
		return err
	}
	return x.answer(wire.MACResponse{
		MAC: res.MAC, KeyID: res.KeyID, Version: res.Version, Algorithm: res.Algorithm, Warnings: res.Warnings,
	})
}

func (s *Server) verifyMAC(x *exchange) error {
	var in wire.MACVerifyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.VerifyMAC(x.r.Context(), &x.call, &engine.MACVerifyRequest{
		MACRequest: macRequest(&in.MACRequest), MAC: in.MAC, KeyID: in.KeyID,
	})
	if err != nil {
		return err
	}
	return x.answer(verifyResponse(&res))
}
