package api

import (
	"crypto/fips140"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keyenc"
	"cryptoserve/engine/keys"
)

const keysPath = "/api/v1/keys"

func (s *Server) keys(x *exchange) error {
	list, err := s.config.Engine.Keys(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.KeysResponse{Keys: make([]wire.Key, 0, len(list))}
	for i := range list {
		answer.Keys = append(answer.Keys, wireKey(&list[i]))
	}
	return x.answer(answer)
}

func (s *Server) key(x *exchange) error {
	info, err := s.config.Engine.Key(x.r.Context(), &x.call, x.params.ByName("key"))
	return x.answerKey(&info, err)
}

func (s *Server) createKey(x *exchange) error {
	var in wire.CreateKeyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	spec, err := keySpec(&in)
	if err != nil {
		return err
	}
	info, err := s.config.Engine.CreateKey(x.r.Context(), &x.call, spec)
	return x.answerNewKey(&info, err)
}

func (s *Server) rotateKey(x *exchange) error {
	if err := x.nothing(); err != nil {
		return err
	}
	info, err := s.config.Engine.RotateKey(x.r.Context(), &x.call, x.params.ByName("key"))
	return x.answerKey(&info, err)
}

func (s *Server) disableKey(x *exchange) error { return x.setKeyDisabled(true) }

func (s *Server) enableKey(x *exchange) error { return x.setKeyDisabled(false) }

func (x *exchange) setKeyDisabled(disabled bool) error {
	if err := x.nothing(); err != nil {
		return err
	}
	info, err := x.server.config.Engine.SetKeyDisabled(x.r.Context(), &x.call, x.params.ByName("key"), disabled)
	return x.answerKey(&info, err)
}

// keySpec reads what a new key is to be.
func keySpec(in *wire.CreateKeyRequest) (engine.KeySpec, error) {
	spec := engine.KeySpec{
		Name: in.Name, Context: in.Context, Description: in.Description, Algorithm: in.Algorithm,
		Purpose: keys.ParsePurpose(in.Purpose), Protection: keys.ParseProtection(in.Protection),
	}
	switch {
	case in.Purpose != "" && spec.Purpose == keys.PurposeUnknown:
		return spec, malformedField("purpose", "is none of sign, mac, kem, agree, encrypt")
	case in.Protection != "" && spec.Protection == keys.ProtectionUnknown:
		return spec, errProtection()
	}
	return spec, nil
}

func errProtection() error { return malformedField("protection", "is neither host nor hsm") }

func (x *exchange) answerKey(info *engine.KeyInfo, err error) error {
	if err != nil {
		return err
	}
	return x.answer(wireKey(info))
}

func (x *exchange) answerNewKey(info *engine.KeyInfo, err error) error {
	if err != nil {
		return err
	}
	x.created(keysPath + "/" + info.Record.Name)
	return x.answer(wireKey(info))
}

func wireKey(info *engine.KeyInfo) wire.Key {
	o := info.Record
	out := wire.Key{
		Name: o.Name, Context: o.Context, Description: o.Description, Purpose: o.Purpose.String(), Algorithm: string(o.Algorithm),
		Protection: o.Protection.String(), Status: "active", KeyID: o.ActiveKey, CreatedAt: milliseconds(o.CreatedAt),
		FIPS: keyFIPS(o), Versions: make([]wire.KeyVersion, 0, len(info.Versions)),
	}
	if o.Disabled {
		out.Status = "disabled"
	}
	for _, v := range info.Versions {
		out.Versions = append(out.Versions, wire.KeyVersion{
			KeyID: v.ID, Version: v.Number, State: v.State.String(), Imported: v.Imported, CreatedAt: milliseconds(v.CreatedAt),
			PublicKey: v.Public,
		})
	}
	return out
}

// keyFIPS tells apart what is approved and what computes. Of a token nobody here can tell whether it is validated.
func keyFIPS(o *keys.Object) wire.KeyFIPS {
	row, _ := algs.Lookup(o.Algorithm)
	f := wire.KeyFIPS{ApprovedAlgorithm: row.Approval.String(), RunsIn: row.Runs.String()}
	if o.Protection == keys.Token {
		f.RunsIn = "token"
		return f
	}
	f.ValidatedModule = row.Validated(fips140.Enabled(), fips140.Version())
	return f
}

// publicKey answers with the public half of the version that protects, or of the one that the query names.
func (s *Server) publicKey(x *exchange) error {
	number, err := versionOf(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	info, err := s.config.Engine.Key(x.r.Context(), &x.call, x.params.ByName("key"))
	if err != nil {
		return err
	}
	for _, v := range info.Versions {
		if v.Number == number || number == 0 && v.ID == info.Record.ActiveKey {
			return x.answerPublic(v)
		}
	}
	return fault.New(fault.NotFound, "api.key", "the key has no such version")
}

// versionOf reads the query of publicKey: nothing, or version=N. It is 0 for the version that protects.
func versionOf(query string) (uint32, error) {
	if query == "" {
		return 0, nil
	}
	values, err := url.ParseQuery(query)
	given := values["version"]
	if err != nil || len(values) != 1 || len(given) != 1 {
		return 0, malformedQuery("version=N and nothing else")
	}
	n, err := strconv.ParseUint(given[0], 10, 32)
	if err != nil || n == 0 || given[0][0] == '0' {
		return 0, &fault.Error{
			Kind: fault.Malformed, Op: "api.query", Detail: "a parameter of the query is not valid",
			Fields: []fault.Field{{Name: "version", Detail: "is not the number of a version"}},
		}
	}
	return uint32(n), nil
}

func malformedQuery(takes string) error {
	return fault.New(fault.Malformed, "api.query", "the query of this route is "+takes)
}

func (x *exchange) answerPublic(v *keys.Version) error {
	if len(v.Public) == 0 {
		return fault.New(fault.NotFound, "api.key", "the key is secret: it has no public half")
	}
	answer := wire.PublicKeyResponse{KeyID: v.ID, Version: v.Number, Algorithm: string(v.Algorithm), PublicKey: v.Public}
	// Both say fault.Malformed of an algorithm that has no such form.
	text, err := keyenc.PEM(v.Algorithm, v.Public)
	if err != nil && fault.Of(err) != fault.Malformed {
		return err
	}
	answer.PEM = string(text)
	jwk, err := keyenc.JWK(v.Algorithm, v.ID, v.Public)
	switch {
	case err == nil:
		err = json.Unmarshal(jwk, &answer.JWK)
	case fault.Of(err) == fault.Malformed:
		err = nil
	}
	if err != nil {
		return err
	}
	return x.answer(answer)
}

// created makes the answer one of a thing that is new, and tells where it is.
func (x *exchange) created(path string) {
	x.status = http.StatusCreated
	x.w.Header()["Location"] = []string{path}
}

// nothing reads the body of a route that takes none, or an empty object.
func (x *exchange) nothing() error {
	if len(x.body) == 0 {
		return nil
	}
	return x.json.object(x.body, nil)
}

func milliseconds(unix int64) string { return timestamp(time.UnixMilli(unix)) }
