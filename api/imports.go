package api

import (
	"encoding/pem"
	"net/http"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/keys"
)

const importsPath = "/api/v1/key-imports"

// createImport takes an empty body as it takes an empty object.
func (s *Server) createImport(x *exchange) error {
	var in wire.CreateImportRequest
	if len(x.body) > 0 {
		if err := x.json.into(x.body, &in); err != nil {
			return err
		}
	}
	protection := keys.Host
	if in.Protection != "" {
		if protection = keys.ParseProtection(in.Protection); protection == keys.ProtectionUnknown {
			return errProtection()
		}
	}
	pair, err := s.config.Engine.CreateImport(x.r.Context(), &x.call, protection)
	if err != nil {
		return err
	}
	x.created(importsPath + "/" + pair.ID)
	return x.answer(wire.ImportResponse{
		ImportID: pair.ID, Protection: pair.Protection.String(), OAEPHash: string(pair.Hash),
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pair.Public})),
		ExpiresAt: milliseconds(pair.ExpiresAt),
	})
}

func (s *Server) importKey(x *exchange) error {
	var in wire.ImportKeyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	spec, err := keySpec(&in.CreateKeyRequest)
	if err != nil {
		return err
	}
	info, err := s.config.Engine.ImportKey(x.r.Context(), &x.call, spec, engine.ImportRequest{
		Import: x.params.ByName("import"), Wrapped: in.WrappedKey, Public: in.PublicKey,
	})
	return x.answerNewKey(&info, err)
}

func (s *Server) importLegacy(x *exchange) error {
	var in wire.LegacyImportRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	request := engine.LegacyRequest{Import: in.ImportID, Wrapped: in.WrappedMaster, Master: in.Master}
	for _, k := range in.Keys {
		request.Versions = append(request.Versions, engine.LegacyVersion{
			KeyID: k.KeyID, Context: k.Context, Tenant: k.Tenant, Number: k.Version,
		})
	}
	for _, p := range in.HybridKeys {
		request.Pairs = append(request.Pairs, engine.LegacyPair{
			KeyID: p.KeyID, Context: p.Context, Algorithm: p.Algorithm, Nonce: p.Nonce, Encrypted: p.EncryptedPrivateKey,
			WrapInfo: p.WrapInfo,
		})
	}
	res, err := s.config.Engine.ImportLegacy(x.r.Context(), &x.call, &request)
	if err != nil {
		return err
	}
	x.status = http.StatusCreated
	return x.answer(wire.LegacyImportResponse{Master: res.Master, Keys: res.Keys})
}
