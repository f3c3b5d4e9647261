package signature

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cryptoserve/engine/algs"
)

const (
	maxJWS = 64 << 10 // of a detached JWS; the longest that is written, of ML-DSA-87, has about 7.5 KiB
	maxKid = 1024
)

// base64url is that of RFC 7515 section 2: no padding, and no bits left over.
var base64url = base64.RawURLEncoding.Strict()

// jwsAlgorithm is what an "alg" means with keys of one algorithm.
type jwsAlgorithm struct {
	alg  string
	hash algs.Name // empty where the algorithm chooses its own
}

var (
	jwsPSS   = []jwsAlgorithm{{"PS256", algs.SHA256}, {"PS384", algs.SHA384}, {"PS512", algs.SHA512}}
	jwsPKCS1 = []jwsAlgorithm{{"RS256", algs.SHA256}, {"RS384", algs.SHA384}, {"RS512", algs.SHA512}}
)

// jwsAlgorithms tells the "alg" values of each algorithm, the one to write first among those of one hash: RFC 7518 section
// 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2 ("Ed25519") and RFC 9964 (ML-DSA). What is not here has no "alg".
var jwsAlgorithms = map[algs.Name][]jwsAlgorithm{
	algs.Ed25519:      {{alg: "EdDSA"}, {alg: "Ed25519"}},
	algs.ECDSAP256:    {{"ES256", algs.SHA256}},
	algs.ECDSAP384:    {{"ES384", algs.SHA384}},
	algs.ECDSAP521:    {{"ES512", algs.SHA512}},
	algs.RSAPSS2048:   jwsPSS,
	algs.RSAPSS3072:   jwsPSS,
	algs.RSAPSS4096:   jwsPSS,
	algs.RSAPKCS12048: jwsPKCS1,
	algs.RSAPKCS13072: jwsPKCS1,
	algs.RSAPKCS14096: jwsPKCS1,
	algs.MLDSA44:      {{alg: "ML-DSA-44"}},
	algs.MLDSA65:      {{alg: "ML-DSA-65"}},
	algs.MLDSA87:      {{alg: "ML-DSA-87"}},
}

// SignJWS returns a JWS with detached payload, header || ".." || signature: RFC 7515 appendix F. The header is
// {"alg":A,"kid":K}, without kid when it is empty. hash may be empty for the default. Algorithms and hashes that JWS has no
// name for (SLH-DSA, the hybrid, SHA-3) and a kid that is not UTF-8 or longer than 1024 bytes are fault.Malformed.
func SignJWS(key *PrivateKey, hash algs.Name, kid string, payload []byte) (string, error) {
	input, o, err := JWSInput(key.name, hash, kid, payload)
	if err != nil {
		return "", err
	}
	signature, err := key.Sign(input, o)
	if err != nil {
		return "", err
	}
	return AssembleJWS(input, signature), nil
}

// JWSInput returns the bytes that SignJWS signs (RFC 7515 section 5.1) and the options to sign them with, for a key that is
// elsewhere. AssembleJWS makes a JWS of them and the signature.
func JWSInput(name algs.Name, hash algs.Name, kid string, payload []byte) (input []byte, o Options, err error) {
	const op = "signature.JWSInput"
	c, err := find(op, name)
	if err != nil {
		return nil, o, err
	}
	candidates := jwsAlgorithms[name]
	if len(candidates) == 0 {
		return nil, o, malformed(op, "algorithm", "has no registered name in JWS")
	}
	o = Options{Hash: hash, Format: FormatRaw}
	s, err := c.settle(op, o)
	if err != nil {
		return nil, o, err
	}
	o.Hash = hashName(s.hash)
	alg := ""
	for _, candidate := range candidates {
		if candidate.hash == o.Hash {
			alg = candidate.alg
			break
		}
	}
	if alg == "" {
		return nil, o, malformed(op, "hash", "has no name in JWS with this algorithm")
	}
	if len(kid) > maxKid || !utf8.ValidString(kid) {
		return nil, o, malformed(op, "kid", "is not UTF-8 of at most 1024 bytes")
	}
	header := append([]byte(`{"alg":"`), alg...)
	header = append(header, '"')
	if kid != "" {
		header = append(header, `,"kid":`...)
		if header, err = jsontext.AppendQuote(header, kid); err != nil {
			return nil, o, malformed(op, "kid", "is not UTF-8 of at most 1024 bytes")
		}
	}
	header = append(header, '}')
	return signingInput(base64url.AppendEncode(nil, header), payload), o, nil
}

// AssembleJWS returns the detached JWS of what JWSInput gave and its signature.
func AssembleJWS(input, signature []byte) string {
	header, _, _ := bytes.Cut(input, []byte{'.'})
	jws := make([]byte, 0, len(header)+2+base64url.EncodedLen(len(signature)))
	jws = append(append(jws, header...), ".."...)
	return string(base64url.AppendEncode(jws, signature))
}

// VerifyJWS returns nil when the detached JWS is one of the payload under the key that find returns for its kid, which is
// empty when the header has none. An error of find is returned as it is, and nil instead of a key
// is ErrInvalid.
//
// What is no detached JWS is fault.Malformed: more than 64 KiB, base64url that is not strict, a payload inside, a header with
// repeated members, with "crit" (no extension is understood) or with a "b64" other than true (RFC 7797). A JWS that does not
// verify is ErrInvalid, also when its "alg" is not one of the key, such as "none". Keys in the header are not used.
func VerifyJWS(find func(kid string) (*PublicKey, error), jws string, payload []byte) error {
	parsed, err := parseJWS(jws)
	if err != nil {
		return err
	}
	key, err := find(parsed.kid)
	if err != nil {
		return err
	}
	if key == nil {
		return ErrInvalid
	}
	for _, candidate := range jwsAlgorithms[key.name] {
		if candidate.alg == parsed.alg {
			o := Options{Hash: candidate.hash, Format: FormatRaw}
			return key.Verify(signingInput(parsed.header, payload), parsed.signature, o)
		}
	}
	return ErrInvalid
}

// Only returns a find for VerifyJWS that gives one key, whatever the kid.
func Only(key *PublicKey) func(kid string) (*PublicKey, error) {
	return func(string) (*PublicKey, error) { return key, nil }
}

func signingInput(header, payload []byte) []byte {
	input := make([]byte, 0, len(header)+1+base64url.EncodedLen(len(payload)))
	input = append(append(input, header...), '.')
	return base64url.AppendEncode(input, payload)
}

// detached is a JWS without its payload.
type detached struct {
	header    []byte // as it is written, in base64url
	alg, kid  string
	signature []byte
}

func parseJWS(jws string) (d detached, err error) {
	const op = "signature.VerifyJWS"
	refuse := func(detail string) (detached, error) { return detached{}, malformed(op, "jws", detail) }
	if len(jws) > maxJWS {
		return refuse("is longer than 64 KiB")
	}
	header, rest, _ := bytes.Cut([]byte(jws), []byte{'.'})
	payload, signature, dots := bytes.Cut(rest, []byte{'.'})
	switch {
	case !dots || bytes.IndexByte(signature, '.') >= 0:
		return refuse("does not have the three parts of a compact JWS")
	case len(payload) != 0:
		return refuse("has its payload inside: give a detached one")
	}
	text, ok := decodeBase64url(header)
	if !ok {
		return refuse("has a header that is not strict base64url")
	}
	if d.signature, ok = decodeBase64url(signature); !ok {
		return refuse("has a signature that is not strict base64url")
	}
	d.header = header
	// Repeated members, other than UTF-8 and trailing data are errors of this decoder.
	var members map[string]jsontext.Value
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		return refuse("has a header that is not a JSON object with distinct members")
	}
	if _, ok := members["crit"]; ok {
		return refuse("has a crit header: no extension is understood")
	}
	if b64, ok := members["b64"]; ok && string(b64) != "true" {
		return refuse("has an unencoded payload (b64), which is not supported")
	}
	if d.alg, ok = memberString(members, "alg"); !ok || d.alg == "" {
		return refuse("has no alg header that is a string")
	}
	if d.kid, ok = memberString(members, "kid"); !ok || len(d.kid) > maxKid {
		return refuse("has a kid header that is not a string of at most 1024 bytes")
	}
	return d, nil
}

// decodeBase64url refuses the line breaks that encoding/base64 skips.
func decodeBase64url(text []byte) ([]byte, bool) {
	if bytes.ContainsAny(text, "\r\n") {
		return nil, false
	}
	b, err := base64url.AppendDecode(nil, text)
	return b, err == nil
}

// memberString returns a member that must be a string; one that is absent is empty.
func memberString(members map[string]jsontext.Value, name string) (string, bool) {
	v, ok := members[name]
	if !ok {
		return "", true
	}
	if v.Kind() != '"' {
		return "", false
	}
	s, err := jsontext.AppendUnquote(nil, v)
	return string(s), err == nil
}
