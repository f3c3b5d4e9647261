package api

import (
	"encoding/base64"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
)

// The fields of the crypto bodies, and their places in decoder.values. The shapes are wire.EncryptRequest and
// wire.DecryptRequest.
const (
	dataField = iota
	contextField
	associatedDataField
	usageField
	algorithmField
)

// longestName bounds usages and names of algorithms.
const longestName = 64

var encryptFields = []field{
	dataField:           {name: "plaintext", kind: binary, required: true},
	contextField:        {name: "context", kind: text, required: true, max: directory.ContextNameMax},
	associatedDataField: {name: "associated_data", kind: binary},
	usageField:          {name: "usage", kind: text, max: longestName},
	algorithmField:      {name: "algorithm", kind: text, max: longestName},
}

var decryptFields = []field{
	dataField:           {name: "ciphertext", kind: binary, required: true},
	contextField:        {name: "context", kind: text, required: true, max: directory.ContextNameMax},
	associatedDataField: {name: "associated_data", kind: binary},
}

// overhead is room for all of an answer or a frame but its data, so that neither is moved while it grows.
const overhead = 1 << 10

// The answers of encrypt, decrypt and of batches are appended by hand: they are most of what this server does, and their
// base64 goes straight to where it is sent from. Tests hold them equal to what wire's types encode to.

func (s *Server) encrypt(x *exchange) error {
	if err := x.json.object(x.body, encryptFields); err != nil {
		return err
	}
	v := &x.json.values
	x.result = grow(x.result, len(v[dataField].bytes)+overhead)
	x.encrypt = engine.EncryptRequest{
		Context:        v[contextField].text,
		Plaintext:      v[dataField].bytes,
		AssociatedData: v[associatedDataField].bytes,
		Algorithm:      v[algorithmField].text,
		Usage:          v[usageField].text,
		Dst:            x.result,
	}
	res, err := s.config.Engine.Encrypt(x.r.Context(), &x.call, &x.encrypt)
	if err != nil {
		return err
	}
	x.answerFrame(&res)
	return nil
}

// answerFrame appends the answer that carries a frame: wire.EncryptResponse.
func (x *exchange) answerFrame(res *engine.EncryptResult) {
	x.result = res.Ciphertext
	out := grow(x.out, base64.StdEncoding.EncodedLen(len(res.Ciphertext))+overhead)
	out = append(out, `{"ciphertext":"`...)
	out = base64.StdEncoding.AppendEncode(out, res.Ciphertext)
	out = append(out, `","algorithm":`...)
	out = appendQuoted(out, res.Algorithm)
	out = append(out, `,"key_id":`...)
	out = appendQuoted(out, res.KeyID)
	out = append(out, `,"format":`...)
	out = strconv.AppendInt(out, int64(res.Format), 10)
	out = append(out, `,"warnings":`...)
	x.out = append(appendTexts(out, res.Warnings), '}')
}

// rewrap takes what decrypt takes and answers as encrypt does.
func (s *Server) rewrap(x *exchange) error {
	if err := x.json.object(x.body, decryptFields); err != nil {
		return err
	}
	v := &x.json.values
	x.result = grow(x.result, len(v[dataField].bytes)+overhead)
	res, err := s.config.Engine.Rewrap(x.r.Context(), &x.call, &engine.RewrapRequest{
		Context: v[contextField].text, Ciphertext: v[dataField].bytes, AssociatedData: v[associatedDataField].bytes, Dst: x.result,
	})
	if err != nil {
		return err
	}
	x.answerFrame(&res)
	return nil
}

func (s *Server) dataKey(x *exchange) error { return x.dataKey(true) }

func (s *Server) dataKeyWrapped(x *exchange) error { return x.dataKey(false) }

func (x *exchange) dataKey(plaintext bool) error {
	var in wire.DataKeyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	res, err := x.server.config.Engine.DataKey(x.r.Context(), &x.call, &engine.DataKeyRequest{
		Context: in.Context, AssociatedData: in.AssociatedData, Bytes: in.Bytes,
	}, plaintext)
	if err != nil {
		return err
	}
	m := x.object(len(res.Plaintext) + len(res.Wrapped.Ciphertext))
	if plaintext {
		m.secret("plaintext", res.Plaintext)
	}
	m.binary("ciphertext", res.Wrapped.Ciphertext)
	m.text("algorithm", res.Wrapped.Algorithm)
	m.text("key_id", res.Wrapped.KeyID)
	m.number("format", res.Wrapped.Format)
	m.warnings(res.Wrapped.Warnings)
	x.out = m.end()
	return nil
}

func (s *Server) decrypt(x *exchange) error {
	if err := x.json.object(x.body, decryptFields); err != nil {
		return err
	}
	v := &x.json.values
	x.result = grow(x.result, len(v[dataField].bytes))
	x.decrypt = engine.DecryptRequest{
		Context:        v[contextField].text,
		Ciphertext:     v[dataField].bytes,
		AssociatedData: v[associatedDataField].bytes,
		Dst:            x.result,
	}
	res, err := s.config.Engine.Decrypt(x.r.Context(), &x.call, &x.decrypt)
	if err != nil {
		return err
	}
	x.result = res.Plaintext
	out := grow(x.out, base64.StdEncoding.EncodedLen(len(res.Plaintext))+overhead)
	out = append(out, `{"plaintext":"`...)
	out = base64.StdEncoding.AppendEncode(out, res.Plaintext)
	out = append(out, `","key_id":`...)
	out = appendQuoted(out, res.KeyID)
	out = append(out, `,"rewrap":`...)
	out = strconv.AppendBool(out, res.Rewrap)
	x.out = append(out, '}')
	return nil
}

// appendQuoted appends s as a JSON string. What is not UTF-8 in it becomes U+FFFD.
func appendQuoted(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
