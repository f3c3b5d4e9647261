package api

import (
	"cryptoserve/api/wire"
	"cryptoserve/engine"
)

// Encapsulation, agreement and encryption with key objects.

func (s *Server) encapsulate(x *exchange) error {
	var in wire.EncapsulateRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.Encapsulate(x.r.Context(), &x.call, in.Key)
	if err != nil {
		return err
	}
	m := x.object(len(res.Ciphertext) + len(res.SharedSecret))
	m.binary("ciphertext", res.Ciphertext)
	m.secret("shared_secret", res.SharedSecret)
	m.text("key_id", res.KeyID)
	m.text("algorithm", res.Algorithm)
	m.warnings(res.Warnings)
	x.out = m.end()
	return nil
}

func (s *Server) decapsulate(x *exchange) error {
	var in wire.DecapsulateRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.Decapsulate(x.r.Context(), &x.call, engine.KeyUse{Key: in.Key, KeyID: in.KeyID}, in.Ciphertext)
	return x.answerSecret("shared_secret", &res, err)
}

func (s *Server) agree(x *exchange) error {
	var in wire.AgreeRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.Agree(x.r.Context(), &x.call, &engine.AgreeRequest{
		KeyUse: engine.KeyUse{Key: in.Key, KeyID: in.KeyID}, Peer: in.PeerPublicKey, PeerPEM: in.PeerPublicKeyPEM,
		Salt: in.Salt, Info: in.Info, Bytes: in.Bytes,
	})
	return x.answerSecret("derived_key", &res, err)
}

func (s *Server) keyEncrypt(x *exchange) error {
	var in wire.KeyEncryptRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.KeyEncrypt(x.r.Context(), &x.call, &engine.KeyEncryptRequest{
		Key: in.Key, Plaintext: in.Plaintext, Info: in.Info, AssociatedData: in.AssociatedData,
	})
	if err != nil {
		return err
	}
	return x.answer(wire.KeyEncryptResponse{
		Ciphertext: res.Ciphertext, KeyID: res.KeyID, Algorithm: res.Algorithm, Warnings: res.Warnings,
	})
}

func (s *Server) keyDecrypt(x *exchange) error {
	var in wire.KeyDecryptRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := s.config.Engine.KeyDecrypt(x.r.Context(), &x.call, &engine.KeyDecryptRequest{
		Key: in.Key, KeyID: in.KeyID, Ciphertext: in.Ciphertext, Info: in.Info, AssociatedData: in.AssociatedData,
	})
	return x.answerSecret("plaintext", &res, err)
}

// answerSecret appends the answer that carries a secret under a name: wire.DecapsulateResponse, wire.AgreeResponse and
// wire.KeyDecryptResponse.
func (x *exchange) answerSecret(name string, res *engine.SecretResult, err error) error {
	if err != nil {
		return err
	}
	m := x.object(len(res.Secret))
	m.secret(name, res.Secret)
	m.text("key_id", res.KeyID)
	m.text("algorithm", res.Algorithm)
	m.warnings(res.Warnings)
	x.out = m.end()
	return nil
}
