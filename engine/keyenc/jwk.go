package keyenc

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

const maxKid = 1024

// members are those of a public JWK, in the order in which they are written. A thumbprint takes those without omission that
// RFC 7638 section 3.2 names, in lexicographic order, which is the order here.
type members struct {
	Alg string `json:"alg,omitzero"`
	Crv string `json:"crv,omitzero"`
	E   string `json:"e,omitzero"`
	Kty string `json:"kty"`
	N   string `json:"n,omitzero"`
	Pub string `json:"pub,omitzero"`
	X   string `json:"x,omitzero"`
	Y   string `json:"y,omitzero"`
	Kid string `json:"kid,omitzero"`
	Use string `json:"use,omitzero"`
}

// JWK returns a canonical public key as a JSON Web Key (RFC 7517 section 4), with "kid" unless it is empty, and "use".
// Algorithms without a registered form, what is not a key of the algorithm, and a kid that is not UTF-8 or longer than 1024
// bytes are fault.Malformed.
func JWK(name algs.Name, kid string, public []byte) ([]byte, error) {
	const op = "keyenc.JWK"
	m, err := required(op, name, public)
	if err != nil {
		return nil, err
	}
	if len(kid) > maxKid || !utf8.ValidString(kid) {
		return nil, malformed(op, "kid", "is not UTF-8 of at most 1024 bytes")
	}
	m.Kid, m.Use = kid, "enc"
	if _, signs := algs.Of(name, algs.ClassSignature); signs {
		m.Use = "sig"
	}
	return encode(op, m)
}

// Thumbprint returns the SHA-256 thumbprint of a key in base64url: RFC 7638, RFC 8037 section 2, RFC 9964 for AKP. Errors are
// those of JWK.
func Thumbprint(name algs.Name, public []byte) (string, error) {
	const op = "keyenc.Thumbprint"
	m, err := required(op, name, public)
	if err != nil {
		return "", err
	}
	text, err := encode(op, m)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(digest[:]), nil
}

func encode(op string, m members) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return text, nil
}

// required returns the members that make up the key, which are also those of its thumbprint.
func required(op string, name algs.Name, public []byte) (members, error) {
	k, err := find(op, name)
	if err != nil {
		return members{}, err
	}
	switch {
	case k.family == familyUnshaped:
		return members{}, malformed(op, "format", "does not exist for the algorithm, whose public keys have the raw form only")
	case k.family == familyHashes || k.family == familyLattice && k.alg == "":
		return members{}, malformed(op, "format", "is not registered for the algorithm, whose public keys have the raw form and PEM")
	}
	if err := k.check(name, public); err != nil {
		return members{}, malformed(op, "public_key", err.Error())
	}
	text := base64.RawURLEncoding.EncodeToString
	switch k.family {
	case familyOctet:
		return members{Kty: "OKP", Crv: k.crv, X: text(public)}, nil
	case familyEC:
		half := 1 + (len(public)-1)/2
		return members{Kty: "EC", Crv: k.crv, X: text(public[1:half]), Y: text(public[half:])}, nil
	case familyRSA:
		key, err := x509.ParsePKCS1PublicKey(public)
		if err != nil {
			return members{}, fault.Wrap(fault.Internal, op, "", err)
		}
		return members{Kty: "RSA", N: text(key.N.Bytes()), E: text(big.NewInt(int64(key.E)).Bytes())}, nil
	default:
		return members{Kty: "AKP", Alg: k.alg, Pub: text(public)}, nil
	}
}
